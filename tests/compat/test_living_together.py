"""One repository, one cache and one remote used by both tools: neither is in the other's way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kist.base.locks import FileLock

from .helpers import DVC, KIST, RealDvc, Result, World, git, write

pytestmark = pytest.mark.compat

# The lock as DVC takes it, held until standard input ends.
_HOLD = """\
import sys
from dvc.lock import make_lock
with make_lock(sys.argv[1], tmp_dir=sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def world(tmp_path: Path, real_dvc: RealDvc, templates: Callable[[str], str]) -> World:
    """A repository of DVC: `file.txt` and `data` are tracked, committed and pushed."""
    shutil.copytree(templates("pushed"), tmp_path / "world", symlinks=True)
    return World(str(tmp_path / "world"), KIST, real_dvc)


def sound(world: World, store: str) -> set[str]:
    """Returns the names of what are objects in a cache or remote."""
    base = world.path(store, "files", "md5")
    names = (
        os.path.relpath(os.path.join(folder, name), base).replace("/", "")
        for folder, _, files in os.walk(base)
        for name in files
    )
    return {name for name in names if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", name)}


def must(world: World, line: str, *, by: str = KIST) -> Result:
    done = world.run(line.split(), "repo", by=by)
    assert done.code == 0, (by, line, done)
    return done


def files_below(folder: str) -> dict[str, tuple[bytes, int]]:
    """Returns path -> (bytes, time of the last change) of all files below a folder."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, folder)] = (stream.read(), os.stat(path).st_mtime_ns)
    return found


def test_what_dvc_leaves_in_a_cache_and_a_remote_is_no_object(world: World) -> None:
    oid = min(sound(world, "remote"))
    strange = [
        f"{store}/{name}"
        for store in ("remote", "repo/.dvc/cache")
        for name in (
            "files/md5/.Hq7cVxk3mZ9pT2wLsYd1Ab.tmp",
            f"files/md5/{oid[:2]}/{oid[2:]}.unpacked",
            ".state/state.db",
            "fs/local/ab/cd",
            "runs/notes",
        )
    ]
    for name in strange:
        write(name, "left by somebody\n", cwd=".")(world)
    write("file.txt", "two\n")(world)
    for line in ("add file.txt", "push", "status -c", "fetch", "checkout", "gc -w -c -f", "pull"):
        must(world, line)
    assert sound(world, "remote") == sound(world, "repo/.dvc/cache")
    assert [name for name in strange if not os.path.exists(world.path(name))] == []


def test_what_kist_leaves_in_a_cache_and_a_remote_does_not_disturb_dvc(world: World) -> None:
    must(world, "remote add -d fresh ../fresh")
    must(world, "push")
    for store in ("repo/.dvc/cache", "fresh"):
        damaged = world.path(store, "files", "md5", "5b", "bf5a52328e7439ae6e719dfe712200")
        os.chmod(damaged, 0o644)
        with open(damaged, "ab") as stream:
            stream.write(b"rot")
        world.run(("fsck", "-r", "fresh"), "repo")
    extra = [
        os.path.relpath(os.path.join(folder, name), world.root)
        for store in ("repo/.dvc/cache", "fresh")
        for folder, _, names in os.walk(world.path(store))
        for name in names
        if "/files/md5/" not in f"{folder}/"
    ]
    assert "fresh/README-kist.md" in extra
    assert {name.split("/kist-bad/")[0] for name in extra if "/kist-bad/" in name} == {
        "repo/.dvc/cache",
        "fresh",
    }
    for line in ("status -c", "push", "fetch", "gc -w -c -f", "checkout", "pull"):
        must(world, line, by=DVC)
    assert [name for name in extra if not os.path.exists(world.path(name))] == []
    assert must(world, "status -c", by=DVC).stdout == "Cache and remote 'fresh' are in sync.\n"


def test_the_lock_of_either_keeps_the_other_out(world: World) -> None:
    tmp = world.path("repo", ".dvc", "tmp")
    write("file.txt", "two\n")(world)
    with FileLock(os.path.join(tmp, "lock")):
        refused = world.run(("add", "file.txt"), "repo", by=DVC)
        assert refused.code == 1 and "lock" in refused.stderr
    must(world, "add file.txt", by=DVC)
    write("file.txt", "three\n")(world)
    with open(os.environ["KIST_DVC"], "rb") as stream:
        interpreter = stream.readline().decode()[2:].strip()
    holder = subprocess.Popen(
        [interpreter, "-c", _HOLD, os.path.join(tmp, "lock"), tmp],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=world.env,
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        answer = world.run(("add", "file.txt"), "repo")
        assert answer.code == 1
        assert "lock" in answer.stderr and str(holder.pid) in answer.stderr
        must(world, "status")
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
    must(world, "add file.txt")


def test_the_private_state_of_dvc_stays_as_it_is(world: World) -> None:
    write(".dvc/tmp/rwlock", '{"write": {"/gone": {"pid": 999999999, "cmd": "dvc repro"}}}')(world)
    must(world, "status", by=DVC)
    site = files_below(world.path("home", "site-cache"))
    private = {
        name: entry
        for name, entry in files_below(world.path("repo", ".dvc", "tmp")).items()
        if name != "lock" and not name.startswith("kist/")
    }
    assert site and {"btime", "rwlock"} <= private.keys()
    write("data/new.txt", "new\n")(world)
    for line in ("status", "add data", "push", "checkout", "gc -w -f", "data status"):
        must(world, line)
    assert files_below(world.path("home", "site-cache")) == site
    now = files_below(world.path("repo", ".dvc", "tmp"))
    assert {name: now.get(name) for name in private} == private
    assert must(world, "status", by=DVC).stdout == "Data and pipelines are up to date.\n"


def test_a_metafile_that_git_ignores_is_none(world: World) -> None:
    write("hidden.dvc", "outs:\n- md5: 00000000000000000000000000000000\n  hash: md5\n  path: hidden\n")(
        world
    )
    write(".gitignore", "/file.txt\n/data\n/hidden.dvc\n")(world)
    git("add .gitignore")(world)
    for line in ("status --json", "data status --json", "list . --dvc-only --json", "status -c --json"):
        theirs, ours = (must(world, line, by=tool).stdout for tool in (DVC, KIST))
        assert "hidden" not in ours and "hidden" not in theirs, line
    for line in ("push", "fetch", "checkout"):
        must(world, line)
