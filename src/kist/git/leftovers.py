"""Puts right what a killed git left: lock files that nobody holds, and files that it had begun to write.

Only what git wrote is touched: a file is put back when its content is one side's, the other's, the beginning of
either, or an object that git has; anything else is somebody's work. No hook runs.
Not here: when this is called for (kist.repo.recover). Implements docs/spec/save-switch-sync.md, section 3.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kist.git.porcelain import INSIDE
from kist.git.process import GitProgram
from kist.git.repository import GitRepository

_QUIET_S = 1.0
"""So long a lock must not have changed: libraries that are not the `git` program hold theirs for milliseconds."""
_SLACK_S = 2.0
"""File systems and clocks may disagree by this much."""
_CHANGING = frozenset(
    (b"add", b"checkout-index", b"commit", b"merge", b"rebase", b"rm", b"switch", b"tag", b"update-index")
)
_SUBMODULE = "160000"
_NOTHING = "000000"


class _Side(NamedTuple):
    """One path in two commits: modes of git ("000000" where it is missing) and blobs."""

    old_mode: str
    new_mode: str
    old: str
    new: str


def remove_dead_locks(repository: GitRepository, *, since_s: float) -> list[str]:
    """Removes git's lock files that a killed command left, and returns their paths.

    Only ours to judge: made after `since_s`, by this user, on a system that shows its processes, with no git at work in
    this repository. Others stay, and git names them when they are in the way.
    """
    locks = [path for path in _locks(repository) if _is_ours(path, since_s)]
    if not locks or not os.path.isdir("/proc/self/fd"):
        return []
    newest = max((_mtime(path) for path in locks), default=0.0)
    wait_s = min(_QUIET_S, newest + _QUIET_S - time.time())
    if wait_s > 0:
        time.sleep(wait_s)
    if git_is_at_work(repository):
        return []
    removed = []
    for path in locks:
        if _mtime(path) <= newest:
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue  # its holder was quicker
            removed.append(path)
    return removed


def _locks(repository: GitRepository) -> list[str]:
    found = []
    for folder in dict.fromkeys((repository.git_dir, repository.common_dir)):
        with os.scandir(folder) as entries:
            found += [entry.path for entry in entries if entry.name.endswith(".lock")]
    for folder, _, names in os.walk(os.path.join(repository.common_dir, "refs")):
        found += [os.path.join(folder, name) for name in names if name.endswith(".lock")]
    return found


def _is_ours(path: str, since_s: float) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return found.st_mtime >= since_s - _SLACK_S and found.st_uid == os.getuid()


def _mtime(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def git_is_at_work(repository: GitRepository) -> bool:
    """Says whether a git of this user runs in the repository: its directory is in the working tree or in `.git`."""
    return any(True for _ in _gits(repository))


def wait_for_orphans(repository: GitRepository, *, wait_s: float) -> bool:
    """Waits for git commands that outlived the command of ours which started them; says whether none is left."""
    deadline = time.monotonic() + wait_s
    while any(_is_orphan(pid) for pid in _gits(repository)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _gits(repository: GitRepository) -> Iterator[str]:
    """Yields the process ids of this user's gits in the repository; none where the system does not show processes."""
    tops = [os.path.realpath(path) for path in (repository.top, repository.git_dir, repository.common_dir)]
    try:
        names = [name for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb") as stream:
                program, _, rest = stream.read().partition(b"(")[2].rpartition(b")")
            if not program.startswith(b"git") or rest.split()[0] == b"Z":
                continue
            where = os.readlink(f"/proc/{name}/cwd")
        except OSError:
            continue  # it has ended, or is another user's, who cannot hold a lock of ours
        if any(where == top or where.startswith(top + os.sep) for top in tops):
            yield name


def _is_orphan(pid: str) -> bool:
    """Says whether a git was started by a command of ours, and may still change what people see."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            is_ours = stream.read().find(f"{INSIDE}=".encode("ascii")) >= 0
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            words = stream.read().split(b"\0")
    except OSError:
        return False
    return is_ours and not _CHANGING.isdisjoint(words)


def undo(
    repository: GitRepository, environ: Mapping[str, str], *, before: str, other: str
) -> tuple[list[str], list[str]]:
    """Puts back, in index and working tree, the files of `before` that git was turning into those of `other`.

    Returns: the paths put back, and those left alone because somebody worked on them; relative to the top.
    """
    return _Undo(repository, environ, before, other).run()


def edits(repository: GitRepository, environ: Mapping[str, str], *, before: str, other: str) -> list[str]:
    """Returns the tracked files that somebody worked on: neither as the index has them, nor written by git."""
    work = _Undo(repository, environ, before, other)
    return sorted(path for path in work.unlike_index() if not work.is_gits(path))


class _Undo:
    """One look at a repository between two commits."""

    def __init__(
        self, repository: GitRepository, environ: Mapping[str, str], before: str, other: str
    ) -> None:
        self._repository = repository
        self._git = GitProgram(repository.top, environ)
        self._before = before
        self._sides = self._differences("diff-tree", "-r", before, other)
        self._git.run(["update-index", "-q", "--refresh"], accepted=(0, 1), writes=True)

    def run(self) -> tuple[list[str], list[str]]:
        """Returns what was put back and what was left alone."""
        staged = self._differences("diff-index", "--cached", self._before)
        doubtful = set(staged) | self.unlike_index()
        indexed = self._indexed([path for path, side in self._sides.items() if side.old_mode == _NOTHING])
        back: list[str] = []
        kept: list[str] = []
        for path, side in sorted(self._sides.items()):
            is_new = side.old_mode == _NOTHING and path not in indexed and self._is_there(path)
            if (path in doubtful or is_new) and _SUBMODULE not in (side.old_mode, side.new_mode):
                (back if self.is_gits(path) else kept).append(path)
        self._put_back(back)
        return back, kept

    def unlike_index(self) -> set[str]:
        """Returns the tracked files that are not as the index has them."""
        return set(self._differences("diff-files"))

    def is_gits(self, path: str) -> bool:
        """Says whether git has, or was writing, what is on the disk at `path`."""
        absolute = os.path.join(self._repository.top, path)
        if not os.path.lexists(absolute):
            return True
        side = self._sides.get(path)
        blobs = [blob for blob in (side.old, side.new) if blob.strip("0")] if side is not None else []
        if os.path.islink(absolute):
            target = os.fsencode(os.readlink(absolute))
            return any(target == content for _, content in self._repository.read_blobs(blobs))
        if os.path.isdir(absolute):
            return any(
                other.startswith(path + "/") for other in self._sides
            )  # what is in it is judged by itself
        if not os.path.isfile(absolute):
            return False
        found = self._git.run(["hash-object", "--", path])
        oid = found.decode("ascii").strip()
        if oid in blobs or self._has_object(oid):
            return True
        with open(absolute, "rb") as stream:
            content = stream.read()
        return any(whole.startswith(content) for _, whole in self._repository.read_blobs(blobs))

    def _has_object(self, oid: str) -> bool:
        answer = self._git.run(["cat-file", "--batch-check"], data=oid.encode("ascii") + b"\n")
        return not answer.rstrip().endswith(b"missing")

    def _differences(self, *words: str) -> dict[str, _Side]:
        arguments = [words[0], "--raw", "-z", "--no-renames", "--no-abbrev", *words[1:]]
        fields = iter(os.fsdecode(self._git.run(arguments)).split("\0"))
        found = {}
        for field in fields:
            if field.startswith(":"):
                old_mode, new_mode, old, new, _ = field[1:].split(" ")
                found[next(fields)] = _Side(old_mode, new_mode, old, new)
        return found

    def _indexed(self, paths: Sequence[str]) -> set[str]:
        return self._repository.is_tracked(paths) if paths else set()

    def _is_there(self, path: str) -> bool:
        return os.path.lexists(os.path.join(self._repository.top, path))

    def _is_folder(self, path: str) -> bool:
        absolute = os.path.join(self._repository.top, path)
        return os.path.isdir(absolute) and not os.path.islink(absolute)

    def _put_back(self, paths: Iterable[str]) -> None:
        entries: list[str] = []
        restored: list[str] = []
        for path in paths:
            side = self._sides[path]
            entries.append(f"{side.old_mode if side.old_mode != _NOTHING else '0'} {side.old}\t{path}\0")
            if side.old_mode != _NOTHING:
                restored.append(path)
                continue
            absolute = os.path.join(self._repository.top, path)
            if os.path.lexists(absolute):
                os.unlink(absolute)
            self._remove_empty_above(absolute)
        if entries:
            data = os.fsencode("".join(entries))
            self._git.run(["update-index", "-z", "--index-info"], data=data, writes=True)
        # A folder that is left has somebody's files in it.
        restored = [path for path in restored if not self._is_folder(path)]
        if restored:
            data = b"".join(os.fsencode(path) + b"\0" for path in restored)
            self._git.run(["checkout-index", "--force", "--stdin", "-z", "-u"], data=data, writes=True)

    def _remove_empty_above(self, path: str) -> None:
        folder = os.path.dirname(path)
        while folder != self._repository.top:
            try:
                os.rmdir(folder)
            except OSError:
                return  # not empty, or gone
            folder = os.path.dirname(folder)
