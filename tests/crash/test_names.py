"""File names that break programs: each makes the whole round byte for byte, or is refused cleanly (F57-F60)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import unicodedata

import pytest

from . import worlds
from .harness import Arena, remove_tree

pytestmark = pytest.mark.timeout(180)

NAMES = [
    b"two words", b" leading", b"trailing ", b"'single'", b'"double"', b"`back`", b"tab\there", b"star*", b"what?",
    b"[brackets]", b"[a-z]", b"#hash", b"!bang", b"$(touch pwned)", b"$HOME", b"50%2F50", b"a:b", b"-dash", b"--help",
    b"...", b".hidden", b"~", b"~root", "\N{SNAKE}.txt".encode(), unicodedata.normalize("NFC", "é").encode(),
    unicodedata.normalize("NFD", "ö").encode(), "\u202eabc".encode(), "a\u200db".encode(), b"a\\b",
    b"{a: b}", b"- item",
    b"null", b"1e3", b"&anchor", b"*alias", b"a,b;c|d&e", b"x" * 255, "\uff5e wide".encode(), b"key: value # not",
    b"end.", b"con", b"=", b"@at", b"%TAG", b"'", b"<<<<<<< HEAD",
]  # fmt: skip
REFUSABLE = [b"new\nline", b"carriage\rreturn", b"bell\x07", b"escape\x1b[31m", b"not\xffutf8"]
SINGLES = [name for name in NAMES if len(name) < 240]


def write(path: bytes, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content)


def tree(folder: str) -> dict[bytes, bytes]:
    found = {}
    root = os.fsencode(folder)
    for where, _, names in os.walk(root):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, root)] = stream.read()
    return found


def clone(arena: Arena) -> str:
    """Commits, clones with git, and returns the clone's folder."""
    arena.git("add", "-A")
    arena.git("commit", "-q", "-m", "data")
    target = os.path.join(arena.work, "clone")
    arena.git("clone", "-q", arena.repo, target)
    return target


def ignored(arena: Arena, rel: bytes) -> bool:
    """Says whether git ignores a path: asks git itself."""
    asked = subprocess.run(
        ["git", "check-ignore", "-q", "--", rel], cwd=arena.repo, env=arena.environment(), check=False
    )
    return asked.returncode == 0


def test_a_folder_of_torture_names_makes_the_whole_round(arena: Arena) -> None:
    worlds.empty(arena)
    data = os.fsencode(arena.path("data"))
    for name in NAMES:
        write(os.path.join(data, name), b"content of " + name)
        if len(name) < 100:
            write(os.path.join(data, b"below " + name, name), b"below " + name)
    before = tree(arena.path("data"))
    for command in (("add", "data"), ("status",), ("push",)):
        assert arena.kist(*command).status == 0, command
    target = clone(arena)
    result = arena.kist("pull", cwd=target)
    assert result.status == 0, result
    assert tree(os.path.join(target, "data")) == before
    assert "up to date" in arena.must("status", cwd=target).out
    assert not os.path.exists(arena.path("pwned"))


def test_torture_names_as_single_files_are_ignored_by_git_and_make_the_whole_round(arena: Arena) -> None:
    worlds.empty(arena)
    top = os.fsencode(arena.repo)
    for name in SINGLES:
        write(os.path.join(top, name), b"content of " + name)
    result = arena.kist("add", "--", *(os.fsdecode(name) for name in SINGLES))
    assert result.status == 0, result
    assert [name for name in SINGLES if not ignored(arena, name)] == []
    assert [name for name in SINGLES if ignored(arena, name + b".dvc")] == []
    assert arena.kist("push").status == 0
    target = clone(arena)
    assert arena.kist("pull", cwd=target).status == 0
    here, there = tree(arena.repo), tree(target)
    assert {name: there.get(name) for name in SINGLES} == {name: here[name] for name in SINGLES}


@pytest.mark.parametrize("name", REFUSABLE)
def test_a_name_with_control_characters_makes_the_round_or_is_refused_in_one_line(
    arena: Arena, name: bytes
) -> None:
    worlds.empty(arena)
    write(os.path.join(os.fsencode(arena.path("data")), name), b"odd")
    write(os.path.join(os.fsencode(arena.path("data")), b"plain"), b"plain")
    before = tree(arena.path("data"))
    added = arena.kist("add", "data")
    assert not added.crashed()
    assert tree(arena.path("data")) == before
    if added.status != 0:
        assert not os.path.exists(arena.path("data.dvc"))
        assert "\x1b[31m" not in added.err
        assert "\x07" not in added.err
        return
    assert arena.kist("push").status == 0
    target = clone(arena)
    assert arena.kist("pull", cwd=target).status == 0
    assert tree(os.path.join(target, "data")) == before


@pytest.mark.parametrize("name", REFUSABLE)
def test_a_single_file_with_control_characters_is_ignored_by_git_or_refused(
    arena: Arena, name: bytes
) -> None:
    worlds.empty(arena)
    write(os.path.join(os.fsencode(arena.repo), name), b"odd")
    added = arena.kist("add", "--", os.fsdecode(name))
    assert not added.crashed()
    if added.status == 0:
        assert ignored(arena, name)
        assert arena.kist("status").status == 0
    else:
        assert not os.path.exists(os.fsencode(arena.repo) + b"/" + name + b".dvc")
        assert len(added.err.strip().splitlines()) <= 2


def test_twins_long_paths_and_names_of_our_own_files_make_the_whole_round(arena: Arena) -> None:
    worlds.empty(arena)
    long = b"/".join([b"d" * 180] * 7)
    files = {
        b"Case": b"upper", b"case": b"lower", b"CASE/x": b"folder",
        "é".encode(): b"composed", unicodedata.normalize("NFD", "é").encode(): b"decomposed",
        b"%s/deep" % long: b"deep", b".gitignore": b"/nothing\n", b"x.dvc": b"outs: []\n",
        b"dvc.yaml": b"stages: {}\n", b"dvc.lock": b"schema: '2.0'\n", b"sub/.gitignore": b"*\n", b"sub/kept": b"kept",
        b"sub/y.dvc": b"{}\n", b"data.dvc": b"outs: []\n", b".kist-looks-like-a-temp.tmp": b"mine",
        b"cache/files/md5/ab/cdef": b"looks like an object",
    }  # fmt: skip
    for rel, content in files.items():
        write(os.path.join(os.fsencode(arena.path("data")), rel), content)
    for command in (("add", "data"), ("status",), ("push",)):
        result = arena.kist(*command)
        assert result.status == 0, result
    target = clone(arena)
    assert arena.kist("pull", cwd=target).status == 0
    assert tree(os.path.join(target, "data")) == files


def test_what_lies_in_a_tracked_folder_is_data_whatever_its_name(arena: Arena) -> None:
    worlds.added(arena)
    files = {b"x.dvc": b"not a metafile: [", b"dvc.yaml": b"stages: {", b"dvc.lock": b"}{", b"sub/y.dvc": b""}
    for rel, content in files.items():
        write(os.path.join(os.fsencode(arena.path("data")), rel), content)
    before = tree(arena.path("data"))
    for command in (("status",), ("add", "data"), ("push",), ("status",)):
        result = arena.kist(*command)
        assert result.status == 0, (command, result)
    target = clone(arena)
    assert arena.kist("pull", cwd=target).status == 0
    assert tree(os.path.join(target, "data")) == before


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_empty_files_and_folders_and_odd_line_ends_make_the_whole_round(arena: Arena, link: str) -> None:
    worlds.empty(arena, link)
    files = {
        b"empty": b"", b"zeros/1": b"", b"zeros/2": b"", b"crlf": b"a\r\nb\r\n",
        b"bom": b"\xef\xbb\xbfx", b"cr": b"a\rb",
        b"no end": b"a\nb",
    }  # fmt: skip
    for rel, content in files.items():
        write(os.path.join(os.fsencode(arena.path("data")), rel), content)
    os.makedirs(arena.path("data/nothing"))
    os.makedirs(arena.path("hollow"))
    write(os.fsencode(arena.path("void")), b"")
    for command in (("add", "data", "hollow", "void"), ("push",)):
        result = arena.kist(*command)
        assert result.status == 0, result
    target = clone(arena)
    shutil.copy(arena.path(".dvc/config"), os.path.join(target, ".dvc/config"))
    assert arena.kist("pull", cwd=target).status == 0
    assert tree(os.path.join(target, "data")) == files
    assert os.listdir(os.path.join(target, "hollow")) == []
    assert os.path.getsize(os.path.join(target, "void")) == 0
    with open(os.path.join(target, "data/empty"), "wb") as stream:
        stream.write(b"writable")
    again = arena.kist("status", cwd=target)
    assert "data" in again.out
    assert tree(os.path.join(target, "data"))[b"zeros/1"] == b"", "empty files are not links of one another"


SPECIALS = ["dangling", "loop", "parent", "fifo", "socket"]


def make_special(arena: Arena, kind: str, rel: str) -> None:
    path = arena.path(rel)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if kind == "dangling":
        os.symlink("nowhere", path)
    elif kind == "loop":
        os.symlink(os.path.basename(path), path)
    elif kind == "parent":
        os.symlink("..", path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        bound = socket.socket(socket.AF_UNIX)
        with bound:
            here = os.open(os.path.dirname(path), os.O_RDONLY)
            bound.bind(f"/proc/self/fd/{here}/{os.path.basename(path)}")
            os.close(here)


@pytest.mark.parametrize("kind", SPECIALS)
def test_what_is_no_file_is_named_and_nothing_hangs(arena: Arena, kind: str) -> None:
    worlds.empty(arena)
    arena.write("data/good", b"good")
    make_special(arena, kind, "data/odd")
    result = arena.kist("add", "data")
    assert result.status != 0
    assert "odd" in result.err
    assert not result.crashed()
    assert not os.path.exists(arena.path("data.dvc"))
    os.unlink(arena.path("data/odd"))
    assert arena.kist("add", "data").status == 0
    make_special(arena, kind, "data/odd")
    looked = arena.kist("status")
    assert not looked.crashed()
    assert looked.status != 0 or "up to date" not in looked.out


@pytest.mark.parametrize("kind", SPECIALS)
def test_a_target_that_is_no_file_is_named(arena: Arena, kind: str) -> None:
    worlds.empty(arena)
    make_special(arena, kind, "odd")
    result = arena.kist("add", "odd")
    assert result.status != 0
    assert "odd" in result.err
    assert not result.crashed()
    assert not os.path.exists(arena.path("odd.dvc"))


def test_a_tracked_file_that_became_a_fifo_does_not_hang_checkout(arena: Arena) -> None:
    worlds.added(arena)
    os.unlink(arena.path("model.bin"))
    os.mkfifo(arena.path("model.bin"))
    assert "up to date" not in arena.kist("status").out
    assert arena.kist("checkout").status != 0
    assert arena.kist("checkout", "--force").status == 0
    remove_tree(arena.path("data"))
    assert os.path.isfile(arena.path("model.bin"))
