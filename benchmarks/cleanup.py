"""The workloads of clean-up: `gc -A` over a long history with nothing to do, and `gc` of a few objects of many."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator

from benchmarks.main_table import settle
from benchmarks.measure import CommandFailed, Measurement, measure
from benchmarks.other_workloads import Context
from benchmarks.results import Check
from benchmarks.sandbox import DVC, KIST, Sandbox

COMMITS = 500
DATA_COMMITS = 100
FILES = 1_000
OBJECTS = 100_000
GARBAGE = 1_000


def history(context: Context, *, commits: int = COMMITS, data_commits: int = DATA_COMMITS) -> list[Check]:
    """Returns how `gc -A` that finds nothing to remove compares, over commits of which a few touch data."""
    title = f"gc -A, nothing to do, {commits} commits, {data_commits} of them touch data: DVC / Kist"
    return _compare(
        context, "history", title, 40, lambda box: make_history(box, commits, data_commits), ("-A",)
    )


def removal(context: Context, *, objects: int = OBJECTS, garbage: int = GARBAGE) -> list[Check]:
    """Returns how `gc -w` that removes a few objects of many compares."""
    title = f"gc -w of {garbage} of {objects} objects: DVC / Kist"
    return _compare(context, "removal", title, 25, lambda box: make_garbage(box, objects, garbage), ("-w",))


def _compare(
    context: Context,
    name: str,
    title: str,
    floor: float,
    make: Callable[[Sandbox], str],
    scope: tuple[str, ...],
) -> list[Check]:
    found: dict[str, list[Measurement]] = {DVC: [], KIST: []}
    for number in range(context.rounds):
        for kind in (DVC, KIST) if number % 2 else (KIST, DVC):
            program = context.program(kind)
            if program is None:
                return []
            box = Sandbox(program, os.path.join(context.workdir, f"{name}-{number}-{kind}"))
            says = make(box)
            settle()
            # The first run of either tool in a repository also fills its records.
            result = measure(
                [*program.argv, "gc", *scope, "-f"], cwd=box.repo, env=box.env, terminal=context.terminal
            )
            if says not in result.output:
                raise CommandFailed(f"{name}: {kind} did not say {says!r}: {result.output}")
            found[kind].append(result)
    ratios = [dvc.wall_s / kist.wall_s for dvc, kist in zip(found[DVC], found[KIST], strict=True)]
    detail = " · ".join(
        f"DVC {dvc.wall_s:.2f} s, Kist {kist.wall_s:.3f} s; {kist.memory_bytes / 1e6:.0f} MB"
        for dvc, kist in zip(found[DVC], found[KIST], strict=True)
    )
    return [Check(title, statistics.median(ratios), floor, True, "x", detail)]


def make_history(box: Sandbox, commits: int, data_commits: int) -> str:
    """Makes a repository whose history touches a directory of 1,000 files now and then; returns what gc must say.

    Written directly, as the tools would write it: a thousand commands by hand would take an hour.
    """
    box.make_repository(box.repo, with_remote=False)
    contents = {f"file-{number:04d}": b"0 %d\n" % number for number in range(FILES)}
    every = max(1, commits // data_commits)

    def versions() -> Iterator[bytes]:
        for number in range(commits):
            files = [(f"src/{number % 20}.py", b"# %d\n" % number)]
            if number % every == 0:
                changed = {
                    f"file-{(number * 7 + step) % FILES:04d}": b"%d %d\n" % (number + 1, step)
                    for step in range(10)
                }
                contents.update(changed)
                _store_files(box, contents.values() if number == 0 else changed.values())
                files.append(("data.dvc", _metafile(box, "data", contents)))
            yield _commit(number, files)

    stream = b"".join(versions())
    subprocess.run(["git", "fast-import", "--quiet"], cwd=box.repo, env=box.env, input=stream, check=True)
    box.git("reset", "-q", "--hard", cwd=box.repo)
    return "No unused 'repo' cache to remove."


def make_garbage(box: Sandbox, objects: int, garbage: int) -> str:
    """Makes a repository with a directory of many files whose first version had some more; returns what gc must say."""
    box.make_repository(box.repo, with_remote=False)
    kept = {
        f"{number % 100:02d}/file-{number:06d}": b"%d\n" % number for number in range(objects - garbage - 2)
    }
    gone = {f"gone/file-{number:06d}": b"gone %d\n" % number for number in range(garbage - 1)}
    _store_files(box, kept.values())
    _store_files(box, gone.values())
    for message, files in (("first", kept | gone), ("second", kept)):
        with open(os.path.join(box.repo, "data.dvc"), "wb") as stream:
            stream.write(_metafile(box, "data", files))
        box.commit(message, cwd=box.repo)
    return f"Removed {garbage} objects from repo cache."


def _commit(number: int, files: list[tuple[str, bytes]]) -> bytes:
    message = b"change %d" % number
    parts = [
        b"commit refs/heads/main\n",
        b"committer Ada <ada@example.invalid> %d +0000\n" % (1_700_000_000 + number * 3600),
        b"data %d\n%s\n" % (len(message), message),
        b"" if number else b"from refs/heads/main^0\n",
    ]
    parts += [b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data) for path, data in files]
    return b"".join(parts)


def _store_files(box: Sandbox, contents: Iterable[bytes]) -> None:
    for data in contents:
        _store(box, _md5(data), data)


def _metafile(box: Sandbox, path: str, files: dict[str, bytes]) -> bytes:
    """Stores the manifest of a directory, and returns its `.dvc` file."""
    entries = [{"md5": _md5(files[relpath]), "relpath": relpath} for relpath in sorted(files)]
    manifest = json.dumps(entries, sort_keys=True).encode()
    oid = _md5(manifest) + ".dir"
    _store(box, oid, manifest)
    size = sum(len(data) for data in files.values())
    text = f"outs:\n- md5: {oid}\n  size: {size}\n  nfiles: {len(files)}\n  hash: md5\n  path: {path}\n"
    return text.encode()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _store(box: Sandbox, oid: str, data: bytes) -> None:
    path = os.path.join(box.repo, ".dvc", "cache", "files", "md5", oid[:2], oid[2:])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path):
        with open(path, "wb") as stream:
            stream.write(data)
        os.chmod(path, 0o444)
