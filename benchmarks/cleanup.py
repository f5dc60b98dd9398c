"""The workloads of clean-up: `gc -A` and `log` over a long history, `gc` of a few objects of many, `fsck` of all.

`log` stands here because it reads what `gc -A` reads; DVC has none, so it is held against DVC's `gc -A`.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from benchmarks import workload
from benchmarks.main_table import settle
from benchmarks.measure import CommandFailed, Measurement, measure
from benchmarks.other_workloads import Context
from benchmarks.results import Check
from benchmarks.sandbox import DVC, KIST, Sandbox

DATA_COMMITS_SHARE = 5
"""One of so many commits touches data."""
FILES = 1_000
GARBAGE_SHARE = 100
"""One of so many objects is garbage."""
HISTORY_FLOOR = 40
REMOVAL_FLOOR = 25
FSCK_LIMIT = 1.2
MEMORY_LIMIT_BYTES = 150 * 10**6


class Run(NamedTuple):
    """One way to do the work: by which tool, with which words, and what it must say as a proof that it did it."""

    kind: str
    words: tuple[str, ...]
    says: str


def history(context: Context, *, commits: int) -> list[Check]:
    """Returns how `gc -A` that finds nothing to remove, and `log --all`, compare with DVC's `gc -A`."""
    data_commits = max(2, commits // DATA_COMMITS_SHARE)
    says = "No unused 'repo' cache to remove."
    dvc = Run(DVC, ("gc", "-A", "-f"), says)
    gc = Run(KIST, ("gc", "-A", "-f"), says)
    log = Run(KIST, ("log", "--all"), "10 files changed")
    found = _measured(
        context, "history", (dvc, gc, log), lambda box: make_history(box, commits, data_commits)
    )
    what = f"{commits} commits, {data_commits} touch data"
    return [
        *_checks(f"gc -A, nothing to do, {what}", HISTORY_FLOOR, found[dvc], found[gc]),
        *_checks(f"log --all, {what}, beside DVC's gc -A", HISTORY_FLOOR, found[dvc], found[log]),
    ]


def removal(context: Context, *, objects: int) -> list[Check]:
    """Returns how `gc -w` that removes a few objects of many compares."""
    garbage = max(2, objects // GARBAGE_SHARE)
    runs = [
        Run(kind, ("gc", "-w", "-f"), f"Removed {garbage} objects from repo cache.") for kind in (DVC, KIST)
    ]
    found = _measured(context, "removal", runs, lambda box: make_garbage(box, objects, garbage))
    return _checks(
        f"gc -w of {garbage:,} of {objects:,} objects", REMOVAL_FLOOR, found[runs[0]], found[runs[1]]
    )


def verification(context: Context, *, objects: int) -> list[Check]:
    """Returns how `fsck` of a cache compares with md5sum over the same files on both cores."""
    kist = context.program(KIST)
    if kist is None:
        return []
    box = Sandbox(kist, os.path.join(context.workdir, "verification"))
    box.make_repository(box.repo, with_remote=False)
    workload.make_tree(os.path.join(box.repo, "data"), workload.small_files(objects))
    box.run("add", "-q", "data", cwd=box.repo)
    store = os.path.join(box.repo, ".dvc", "cache", "files", "md5")
    ways = {
        "md5sum": (
            ["sh", "-c", "find . -type f -print0 | xargs -0 -n 1000 -P 2 md5sum | wc -l"],
            store,
            f"{objects + 1}\n",
        ),
        "fsck": ([*kist.argv, "fsck"], box.repo, f"{objects + 1} objects verified"),
    }
    found: dict[str, list[Measurement]] = {name: [] for name in ways}
    for number in range(context.rounds):
        for name in sorted(ways, reverse=bool(number % 2)):
            argv, cwd, says = ways[name]
            settle(box)
            result = measure(argv, cwd=cwd, env=box.env, terminal=context.terminal)
            if says not in result.output:
                raise CommandFailed(f"{name} did not say {says!r}: {result.output[-400:]}")
            found[name].append(result)
    pairs = list(zip(found["fsck"], found["md5sum"], strict=True))
    title = f"fsck of {objects:,} objects"
    detail = " · ".join(f"fsck {one.wall_s:.2f} s, md5sum {two.wall_s:.2f} s" for one, two in pairs)
    ratio = statistics.median(one.wall_s / two.wall_s for one, two in pairs)
    return [
        Check(f"{title}: over md5sum on both cores", ratio, FSCK_LIMIT, False, "x", detail),
        memory_check(title, found["fsck"]),
    ]


def memory_check(title: str, found: Sequence[Measurement]) -> Check:
    """Returns the highest peak of memory, held against the limit of these workloads."""
    peak = max(one.memory_bytes for one in found) / 1e6
    return Check(f"{title}: memory", peak, MEMORY_LIMIT_BYTES / 1e6, False, "MB", "")


def _measured(
    context: Context, name: str, runs: Sequence[Run], make: Callable[[Sandbox], None]
) -> dict[Run, list[Measurement]]:
    """Returns what each run cost, round by round; each has a repository of its own, made by `make`."""
    found: dict[Run, list[Measurement]] = {run: [] for run in runs}
    for number in range(context.rounds):
        for run in runs if number % 2 else reversed(runs):
            program = context.program(run.kind)
            if program is None:
                continue
            folder = f"{name}-{number}-{run.kind}-{run.words[0]}"
            box = Sandbox(program, os.path.join(context.workdir, folder))
            make(box)
            settle(box)
            # The first run of either tool in a repository also fills its records.
            result = measure(
                [*program.argv, *run.words], cwd=box.repo, env=box.env, terminal=context.terminal
            )
            if run.says not in result.output:
                raise CommandFailed(f"{name}: {run.kind} did not say {run.says!r}: {result.output[-400:]}")
            found[run].append(result)
    return found


def _checks(title: str, floor: float, dvc: Sequence[Measurement], kist: Sequence[Measurement]) -> list[Check]:
    """Returns the ratio where both tools ran, and Kist's memory where it did."""
    checks = []
    if dvc and kist:
        pairs = list(zip(dvc, kist, strict=True))
        detail = " · ".join(f"DVC {one.wall_s:.2f} s, Kist {two.wall_s:.3f} s" for one, two in pairs)
        ratio = statistics.median(one.wall_s / two.wall_s for one, two in pairs)
        checks.append(Check(f"{title}: DVC / Kist", ratio, floor, True, "x", detail))
    return [*checks, memory_check(title, kist)] if kist else checks


def make_history(box: Sandbox, commits: int, data_commits: int) -> None:
    """Makes a repository whose history touches a directory of 1,000 files now and then.

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


def make_garbage(box: Sandbox, objects: int, garbage: int) -> None:
    """Makes a repository with a directory of many files whose first version had some more."""
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
