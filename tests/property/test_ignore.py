"""Ignore rules beside git itself and pathspec, on random patterns; `.gitignore` upkeep on random names."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from kist.formats.gitignore import add_entry, remove_entry
from kist.formats.ignore import DVC, DVC_NESTED, GIT, compile_patterns, parse_ignore
from kist.workspace.ignores import GITIGNORE, IgnoreTree

ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C",
}

NAMES = [
    "a",
    "b",
    "ab",
    "foo",
    "a.txt",
    "#h",
    "!e",
    "s p",
    "t ",
    "ü",
    "A",
    "-",
    "]",
    "a[b]",
    "*",
    "\\",
    "b\\c",
    "1",
]
PIECES = [
    *"ab*?",
    "foo",
    ".txt",
    "*.txt",
    "[ab]",
    "[!a]",
    "[a-c]",
    "[^b]",
    "[]a]",
    "[b-]",
    "[[:alpha:]]",
    "[[:digit:]",
]
PIECES += [
    "\\*",
    "\\a",
    "\\ ",
    " ",
    "ü",
    "[",
    "\\",
    "!",
    "#",
    "[a/b]",
    "[\\]]",
    "[!!]",
    "[z-a]",
    "\\\\",
    "[[:no:]]",
    "*?*",
]

components = st.one_of(
    st.sampled_from(["*", "**", "a", "b", "***", *NAMES]),
    # git lets two stars in the middle of a component cross directories, against its manual (docs/spec/ignore.md).
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=3)
    .map("".join)
    .filter(lambda text: "**" not in text),
)
patterns = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "", "!", "#", " "]),
    st.sampled_from(["", "", "/"]),
    st.lists(components, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "", "/", " ", "\r"]),
)
files = st.lists(patterns, min_size=1, max_size=4).map("\n".join)


@pytest.fixture(scope="module")
def grove() -> Iterator[str]:
    """A repository whose directories all hold the same few names, down to the third level."""
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["git", "init", "--quiet", root], env=ENVIRON, check=True, timeout=60)
        directories = [
            "a",
            "b",
            "foo",
            "s p",
            "ü",
            "*",
            "a/b",
            "a/a",
            "b/a[b]",
            "a/b/ab",
            "#h",
            "!e",
            "foo/a",
        ]
        for directory in directories:
            os.makedirs(os.path.join(root, directory), exist_ok=True)
        for directory in ["", *directories]:
            for name in NAMES:
                path = os.path.join(root, directory, name)
                if not os.path.exists(path):
                    with open(path, "wb"):
                        pass
        yield root


def paths_below(root: str) -> list[tuple[str, bool]]:
    found = []
    for directory, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        rel = os.path.relpath(directory, root)
        prefix = "" if rel == "." else rel + "/"
        found += [(prefix + name, True) for name in folders]
        found += [(prefix + name, False) for name in names if name != ".gitignore"]
    return found


@settings(max_examples=120, deadline=None)
@given(outer=files, inner=files, place=st.sampled_from(["a", "a/b", "s p", "b/a[b]"]))
def test_every_path_is_ignored_exactly_when_git_ignores_it(
    grove: str, outer: str, inner: str, place: str
) -> None:
    own = os.path.join(grove, ".gitignore")
    deeper = os.path.join(grove, place, ".gitignore")
    try:
        for path, text in ((own, outer), (deeper, inner)):
            with open(path, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
        everything = paths_below(grove)
        asked = "\0".join(path for path, _ in everything).encode()
        done = subprocess.run(
            ["git", "check-ignore", "--no-index", "--stdin", "-z"],
            cwd=grove,
            env=ENVIRON,
            input=asked,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode in (0, 1), done.stderr
        by_git = set(done.stdout.decode().split("\0")) - {""}
        tree = IgnoreTree(grove, kind=GITIGNORE)
        by_us = {path for path, is_dir in everything if tree.is_path_ignored(path, is_dir)}
        assert by_us == by_git
    finally:
        os.unlink(own)
        if os.path.exists(deeper):
            os.unlink(deeper)


# What pathspec and git (and so Kist) read alike; the rest of pathspec's reading is compared in tests/compat.
SHARED = ["a", "b", "foo", "*", "?", "*.txt", "[ab]", "[a-c]", ".b", "\\*", "\\a", "ü", "x"]
shared_patterns = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(
        st.lists(st.sampled_from(SHARED), min_size=1, max_size=3).map("".join), min_size=1, max_size=3
    ).map(lambda pieces: "/".join(piece.replace("**", "*") for piece in pieces)),
    st.sampled_from(["", "", "/"]),
)
shared_paths = st.lists(
    st.sampled_from([*"abx", "foo", "a.b", "foo.txt", "ü", "*", "ab"]), min_size=1, max_size=4
)


@settings(max_examples=400, deadline=None)
@given(lines=st.lists(shared_patterns, min_size=1, max_size=4), path=shared_paths.map("/".join))
def test_a_dvcignore_reads_each_line_as_pathspec_does(lines: list[str], path: str) -> None:
    expected = None
    for line in lines:
        made = GitIgnoreSpecPattern(line)
        if made.include is not None and not line.endswith("/") and made.regex.match(path):
            expected = made.include
    assert compile_patterns(lines, flavour=DVC).verdict(path, is_dir=False) == expected


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=60), path=st.text(max_size=12), flavour=st.sampled_from([GIT, DVC, DVC_NESTED])
)
def test_any_bytes_make_rules_and_any_name_gets_an_answer(data: bytes, path: str, flavour: str) -> None:
    name = path.encode("utf-8", "replace").decode()
    rules = parse_ignore(data, flavour=flavour)
    for is_dir in (False, True):
        assert rules.verdict(name, is_dir) in (True, False, None)


file_names = (
    st.one_of(
        st.text(alphabet=" \t\r*?[]#!\\/.ab\u00fc\u20ac", min_size=1, max_size=8),
        st.binary(min_size=1, max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    )
    .map(lambda name: name.replace("/", "-").replace("\n", "-").replace("\0", "-"))
    .filter(lambda name: name not in (".", ".."))
)


@settings(max_examples=300, deadline=None)
@given(
    name=file_names, other=file_names, before=st.lists(st.sampled_from(["a", "#x", "", "/b"])).map("\n".join)
)
def test_an_added_line_hides_exactly_its_name(name: str, other: str, before: str) -> None:
    data = add_entry(b"", name)
    rules = parse_ignore(data)
    for is_dir in (False, True):
        assert rules.verdict(name, is_dir) is True
        assert rules.verdict(f"d/{name}", is_dir) is None
        assert rules.verdict(other, is_dir) is (True if other == name else None)
    start = before.encode() + (b"\n" if before else b"")
    added = add_entry(start, name)
    assert parse_ignore(added).verdict(name, False) is True
    assert add_entry(added, name) == added
    if remove_entry(start, name) == start:
        assert remove_entry(added, name) == (start or None)


@settings(max_examples=60, deadline=None)
@given(names=st.lists(file_names, min_size=1, max_size=10, unique=True))
def test_git_ignores_every_name_that_was_added(grove: str, names: list[str]) -> None:
    data = b""
    for name in names:
        data = add_entry(data, name)
    own = os.path.join(grove, "foo", ".gitignore")
    try:
        with open(own, "wb") as stream:
            stream.write(data)
        asked = [b"foo/" + os.fsencode(name) for name in names]
        done = subprocess.run(
            ["git", "check-ignore", "--no-index", "--stdin", "-z"],
            cwd=grove,
            env=ENVIRON,
            input=b"\0".join(asked),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert set(done.stdout.split(b"\0")) - {b""} == set(asked)
    finally:
        os.unlink(own)
