"""The packed layout: many small files to an S3 server beside DVC's loose push, edits, insertions, versions.

The server is SeaweedFS, made by `make peers` (KIST_PEERS); without it folders take its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.main_table import settle
from benchmarks.measure import Measurement, measure
from benchmarks.other_workloads import Context
from benchmarks.results import Check
from benchmarks.sandbox import DVC, KIST, Program, Sandbox

FILES = 100_000
LARGE_BYTES = 1 << 30
VERSIONS = 20
PUSH_FLOOR = 10
OBJECTS_LIMIT = 150
EDIT_LIMIT = 1.3
INSERT_LIMIT = 0.02
MEMORY_LIMIT = 300


def packed(context: Context, *, files: int = FILES, large: int = LARGE_BYTES) -> list[Check]:
    """Returns how the packed layout does."""
    kist = context.program(KIST)
    if kist is None:
        return []
    checks: list[Check] = []
    with _service(context) as endpoint:
        checks += _small_files(context, kist, files, endpoint)
    return checks + _edits(context, kist, files) + _insertion(context, kist, large) + _versions(context, kist)


@contextlib.contextmanager
def _service(context: Context) -> Iterator[dict[str, str]]:
    """Gives the options of an S3 server with a bucket `bench`; none where there is no server."""
    if not os.environ.get("KIST_PEERS"):
        yield {}
        return
    from tests.peers import servers

    with servers.seaweedfs(Path(context.workdir) / "seaweedfs") as peer:
        servers.make_bucket(peer, "bench")
        yield {
            "endpointurl": peer.endpoint,
            "access_key_id": peer.key_id,
            "secret_access_key": peer.secret,
        }


def _noise(seed: str, size: int) -> bytes:
    """Returns bytes that cannot be compressed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def _size_of(number: int) -> int:
    return 4096 + int.from_bytes(hashlib.sha256(b"%d" % number).digest()[:4], "little") % 12_289


def _make_files(root: str, files: int) -> int:
    total = 0
    for number in range(files):
        folder = os.path.join(root, f"{number % 100:02d}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{number}.bin"), "wb") as stream:
            total += stream.write(_noise(f"file {number}", _size_of(number)))
    return total


def _prepared(
    context: Context, program: Program, name: str, options: dict[str, str], *, is_packed: bool
) -> Sandbox:
    box = Sandbox(program, os.path.join(context.workdir, name))
    box.make_repository(box.repo, with_remote=False)
    url = f"s3://bench/{name}" if options else box.remote
    box.run("remote", "add", "-q", "-d", "storage", url, cwd=box.repo)
    for option, value in options.items():
        box.run("remote", "modify", "-q", "--local", "storage", option, value, cwd=box.repo)
    if is_packed:
        box.run("remote", "init", "--packed", cwd=box.repo)
    return box


def _timed(context: Context, box: Sandbox, *words: str) -> Measurement:
    settle(box)
    return measure([*box.program.argv, *words], cwd=box.repo, env=box.env, terminal=context.terminal)


def _objects(folder: str) -> tuple[int, int]:
    """Returns how many values a folder holds, and their bytes."""
    sizes = [
        os.path.getsize(os.path.join(where, name))
        for where, _, names in os.walk(folder)
        if os.path.basename(where) != "runs"
        for name in names
    ]
    return len(sizes), sum(sizes)


def _small_files(context: Context, kist: Program, files: int, options: dict[str, str]) -> list[Check]:
    found: dict[str, list[Measurement]] = {KIST: [], DVC: []}
    for number in range(context.rounds):
        for program in (kist, context.program(DVC)):
            if program is None:
                continue
            name = f"small-{number}-{program.kind}"
            box = _prepared(context, program, name, options, is_packed=program.kind == KIST)
            _make_files(os.path.join(box.repo, "data"), files)
            box.run("add", "-q", "data", cwd=box.repo)
            found[program.kind].append(_timed(context, box, "push"))
            shutil.rmtree(os.path.join(box.repo, "data"))
    ours = found[KIST]
    where = "S3" if options else "a folder"
    seconds = statistics.median([one.wall_s for one in ours])
    detail = f"Kist {seconds:.1f} s, CPU {statistics.median([one.cpu_s for one in ours]):.1f} s"
    peak = max(one.memory_bytes for one in ours) / 1e6
    checks = [
        Check(
            f"packed push of {files:,} small files to {where}: memory",
            peak,
            MEMORY_LIMIT,
            False,
            "MB",
            detail,
        )
    ]
    if found[DVC]:
        ratios = [theirs.wall_s / mine.wall_s for theirs, mine in zip(found[DVC], ours, strict=True)]
        theirs = statistics.median([one.wall_s for one in found[DVC]])
        title = f"packed push of {files:,} small files to {where}: DVC's loose push / Kist"
        checks.append(
            Check(title, statistics.median(ratios), PUSH_FLOOR, True, "x", f"{detail}, DVC {theirs:.1f} s")
        )
    return checks


def _edits(context: Context, kist: Program, files: int) -> list[Check]:
    """Returns objects in a packed folder, and what is sent when 1 % of the files got other bytes."""
    box = _prepared(context, kist, "edits", {}, is_packed=True)
    data = os.path.join(box.repo, "data")
    _make_files(data, files)
    box.run("add", "-q", "data", cwd=box.repo)
    box.run("push", "-q", cwd=box.repo)
    count, size = _objects(box.remote)
    changed = 0
    for number in range(0, files, 100):
        path = os.path.join(data, f"{number % 100:02d}", f"{number}.bin")
        os.unlink(path)
        with open(path, "wb") as stream:
            changed += stream.write(_noise(f"edit {number}", _size_of(number)))
    box.run("add", "-q", "data", cwd=box.repo)
    box.run("push", "-q", cwd=box.repo)
    sent = _objects(box.remote)[1] - size
    detail = f"{sent:,} bytes sent, {changed:,} changed"
    return [
        Check(f"objects of {files:,} small files", count, OBJECTS_LIMIT, False, "", f"{size:,} bytes"),
        Check(
            f"1 % of {files:,} files edited: sent over changed",
            sent / changed,
            EDIT_LIMIT,
            False,
            "x",
            detail,
        ),
    ]


def _insertion(context: Context, kist: Program, large: int) -> list[Check]:
    """Returns what is sent of a large file when 1 MB is put into its middle."""
    box = _prepared(context, kist, "insertion", {}, is_packed=True)
    path = os.path.join(box.repo, "large")
    block = 64 << 20
    sizes = []
    for has_more in (False, True):
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "wb") as stream:
            for number in range(0, large, block):
                if has_more and number <= large // 2 < number + block:
                    stream.write(_noise("inserted", 1 << 20))
                stream.write(_noise(f"block {number}", min(block, large - number)))
        box.run("add", "-q", "large", cwd=box.repo)
        box.run("push", "-q", cwd=box.repo)
        sizes.append(_objects(box.remote)[1])
    share = (sizes[1] - sizes[0]) / large
    title = f"1 MB put into the middle of {large >> 20:,} MiB: share that is sent"
    return [Check(title, share, INSERT_LIMIT, False, "", f"{sizes[1] - sizes[0]:,} bytes")]


def _versions(context: Context, kist: Program) -> list[Check]:
    """Returns the bytes of 20 versions of a table of 100 MB, each with some rows changed, beside one version."""
    box = _prepared(context, kist, "versions", {}, is_packed=True)
    path = os.path.join(box.repo, "table.csv")
    rows = [f"{number},{_noise(f'row {number}', 20).hex()}\n" for number in range(2_000_000)]
    first = 0
    for version in range(VERSIONS):
        for number in range(version * 1000, version * 1000 + 5):
            rows[number] = f"{number},{_noise(f'version {version} {number}', 20).hex()}\n"
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "w") as stream:
            stream.writelines(rows)
        box.run("add", "-q", "table.csv", cwd=box.repo)
        box.run("push", "-q", cwd=box.repo)
        first = first or _objects(box.remote)[1]
    stored, one = _objects(box.remote)[1], os.path.getsize(path)
    detail = f"{stored:,} bytes; the loose layout has {VERSIONS * one:,}; one version packed {first:,}"
    return [
        Check(
            f"{VERSIONS} versions of a table of 100 MB: stored over one version",
            stored / one,
            1.3,
            False,
            "x",
            detail,
        )
    ]
