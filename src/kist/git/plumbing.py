"""Commits and references made without the person's index, HEAD or work tree; and references on Git remotes.

Not here: what stands in them. Source: git 2.25 or newer; git-update-ref(1), git-commit-tree(1), git-read-tree(1),
git-checkout-index(1).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from kist.base import atomic
from kist.git.porcelain import refused
from kist.git.process import GitProgram
from kist.git.repository import GitRepository, TreeItem


class RefChange(NamedTuple):
    """A reference that is to change.

    Attributes:
        new: the commit that it names then; None: it goes.
        old: what it must name before; "" where it must not exist; None: whatever it names.
    """

    ref: str
    new: str | None
    old: str | None = None


class FileChange(NamedTuple):
    """A file, relative to the top, as two trees have it; None where one does not."""

    path: str
    before: TreeItem | None
    after: TreeItem | None


class Plumbing:
    """Git's plumbing for one working tree, with files of our own below `scratch`."""

    def __init__(self, repository: GitRepository, environ: Mapping[str, str], *, scratch: str) -> None:
        """Args: scratch: a folder for index files that nobody else sees; made if needed."""
        self._repository = repository
        self._git = GitProgram(repository.top, environ)
        self._environ = environ
        self._scratch = scratch

    # References

    def refs(self, prefix: str) -> dict[str, str]:
        """Returns references whose names begin with a folder's name: full name -> object."""
        found = os.fsdecode(self._git.run(["for-each-ref", "--format=%(objectname) %(refname)", prefix]))
        return {line[line.index(" ") + 1 :]: line[: line.index(" ")] for line in found.splitlines()}

    def reflog(self, ref: str) -> list[tuple[str, str]]:
        """Returns (commit, message) of what a reference named, the newest first; nothing where it is not there."""
        if not self._repository.may_have(ref):
            return []
        words = ["log", "--walk-reflogs", "--no-show-signature", "--format=%H %gs", ref]
        lines = self._git.run(words, accepted=(0, 128)).decode("utf-8", "replace").splitlines()
        return [(line[: line.index(" ")], line[line.index(" ") + 1 :]) for line in lines]

    def change_refs(self, changes: Iterable[RefChange], *, reason: str | None = None) -> None:
        """Changes references, all of them or none.

        Args: reason: with one, the change goes into the references' log, which is made if needed.

        Raises: GitFailedError: one of them was not what it had to be, or another process changes it.
        """
        lines = []
        for change in changes:
            if change.new is None:
                lines.append(f"delete {change.ref}\0{change.old or ''}\0")
            elif change.old == "":
                lines.append(f"create {change.ref}\0{change.new}\0")
            else:
                lines.append(f"update {change.ref}\0{change.new}\0{change.old or ''}\0")
        if lines:
            words = ["update-ref", "--stdin", "-z"]
            if reason is not None:
                words += ["-m", reason, "--create-reflog"]
            self._git.run(words, data=os.fsencode("".join(lines)), writes=True)

    def remote_refs(self, remote: str, prefix: str) -> dict[str, str]:
        """Returns the references of a Git remote below a folder.

        Raises: GitRefusedError: it cannot be reached.
        """
        said = self._git.run_as_typed(["ls-remote", "--", remote, prefix + "*"], extra={})
        if said.status != 0:
            raise refused(f"ask the Git remote '{remote}'", said)
        pairs = [line.split("\t", 1) for line in said.text.splitlines() if "\t" in line]
        return {ref: sha for sha, ref in pairs if ref.startswith(prefix)}

    def push(self, remote: str, specs: Sequence[str]) -> None:
        """Sends or removes references of a Git remote (`git push`), all or none where the remote can.

        Raises: GitRefusedError.
        """
        said = self._git.run_as_typed(["push", "--no-verify", "--quiet", "--", remote, *specs], extra={})
        if said.status != 0:
            raise refused(f"push to the Git remote '{remote}'", said)

    def fetch(self, remote: str, specs: Sequence[str]) -> None:
        """Brings references of a Git remote (`git fetch`).

        Raises: GitRefusedError.
        """
        words = ["fetch", "--quiet", "--no-tags", "--", remote, *specs]
        said = self._git.run_as_typed(words, extra={})
        if said.status != 0:
            raise refused(f"fetch from the Git remote '{remote}'", said)

    def known(self, commits: Iterable[str]) -> set[str]:
        """Returns those of the objects that are in this clone."""
        feed = "".join(f"{sha}\n" for sha in commits).encode("ascii")
        if not feed:
            return set()
        lines = self._git.run(["cat-file", "--batch-check=%(objectname)"], data=feed).decode("ascii")
        return {line for line in lines.splitlines() if " " not in line}

    def remotes(self) -> list[str]:
        """Returns the names of the Git remotes."""
        return os.fsdecode(self._git.run(["remote"])).split()

    # Work trees

    def add_worktree(self, path: str, head: str, content: str) -> None:
        """Makes another work tree: HEAD is one commit, files and index are those of another. No hook runs.

        Raises: GitFailedError.
        """
        words = ["worktree", "add", "--quiet", "--detach", "--no-checkout", path, head]
        self._git.run(words, writes=True)
        GitProgram(path, self._environ).run(["read-tree", "--reset", "-u", content], writes=True)

    def drop_worktree(self, path: str) -> None:
        """Removes another work tree, and what Git knows of it.

        Holds: work trees of the person stay known, also where their disk is not mounted now (`prune` forgets those).
        """
        shutil.rmtree(path, ignore_errors=True)
        # Git ends with 128 where it does not know the work tree, or no more.
        self._git.run(["worktree", "remove", "--force", "--force", path], accepted=(0, 128), writes=True)

    # Trees and commits

    @contextmanager
    def index(self, base: str | None = None) -> Iterator[WorkIndex]:
        """Yields an index of our own: what the person's holds, or the files of a commit or tree, `base`."""
        os.makedirs(self._scratch, exist_ok=True)
        _sweep(self._scratch)
        folder = os.path.join(self._scratch, atomic.temp_name())
        os.mkdir(folder)
        try:
            index = WorkIndex(self._git, os.path.join(folder, "index"))
            own = os.path.join(self._repository.git_dir, "index")
            if base is None and os.path.exists(own):
                shutil.copy2(
                    own, index.path
                )  # with the sizes and times that it knows: nothing is hashed again
            else:
                index.read(base or "HEAD")
            yield index
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, tree: str, parents: Sequence[str], message: str) -> str:
        """Returns the id of a new commit that nothing names yet.

        Raises: GitFailedError.
        """
        words = ["commit-tree", tree]
        for parent in parents:
            words += ["-p", parent]
        data = message.encode("utf-8", "surrogateescape")
        return self._git.run(words, data=data, writes=True).decode("ascii").strip()

    def blob(self, data: bytes) -> str:
        """Returns the id of a new blob."""
        return self._git.run(["hash-object", "-w", "--stdin"], data=data, writes=True).decode("ascii").strip()

    def tree_of(self, commit: str) -> str:
        """Returns the tree of a commit."""
        return self._git.run(["rev-parse", "--verify", commit + "^{tree}"]).decode("ascii").strip()

    def items(self, tree: str, paths: Sequence[str]) -> dict[str, TreeItem]:
        """Returns what a tree or commit has at paths, those that it lacks left out."""
        wanted = set(paths)
        output = os.fsdecode(self._git.run(["ls-tree", "-r", "-z", "--full-tree", tree]))
        found = {}
        for record in output.split("\0"):
            head, tab, path = record.partition("\t")
            if tab and path in wanted:
                mode, _, sha = head.split(" ")
                found[path] = TreeItem(mode, sha)
        return found

    def differing(self, old: str, new: str) -> list[FileChange]:
        """Returns the files that differ between two trees or commits."""
        output = os.fsdecode(self._git.run(["diff-tree", "-r", "-z", "--no-renames", "--raw", old, new]))
        fields = iter(output.split("\0"))
        found = []
        for field in fields:
            if field.startswith(":"):
                old_mode, new_mode, old_sha, new_sha, kind = field[1:].split(" ")
                before = None if kind == "A" else TreeItem(old_mode, old_sha)
                after = None if kind == "D" else TreeItem(new_mode, new_sha)
                found.append(FileChange(next(fields), before, after))
        return found


class WorkIndex:
    """An index file that is not the person's."""

    def __init__(self, program: GitProgram, path: str) -> None:
        self._git = program
        self.path = path

    def _run(self, words: Sequence[str], data: bytes = b"", accepted: Sequence[int] = (0,)) -> bytes:
        extra = {"GIT_INDEX_FILE": self.path}
        return self._git.run(words, data=data, writes=True, extra=extra, accepted=accepted)

    def read(self, base: str) -> None:
        """Takes the files of a commit or tree."""
        self._run(["read-tree", base])

    def take_changes(self) -> None:
        """Takes the present content of all files that it knows."""
        self._run(["add", "--update", "--", ":/"])

    def add(self, paths: Iterable[str], *, ignored: bool = False) -> None:
        """Takes files that are there, relative to the top; those that Git ignores only with `ignored`."""
        wanted = sorted(set(paths))
        if wanted and not ignored:
            data = b"".join(os.fsencode(path) + b"\0" for path in wanted)
            found = self._run(["check-ignore", "--stdin", "-z"], data, accepted=(0, 1))
            wanted = [path for path in wanted if path not in set(os.fsdecode(found).split("\0"))]
        if wanted:
            data = b"".join(os.fsencode(path) + b"\0" for path in wanted)
            words = ["add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"]
            self._run(["--literal-pathspecs", *words], data)

    def add_hidden(self) -> list[str]:
        """Takes files that it was told not to look at (`--assume-unchanged`, `--skip-worktree`) and that are there.

        Returns their paths, relative to the top, whether or not they changed.
        """
        lines = os.fsdecode(self._run(["ls-files", "-v", "-z"])).split("\0")
        # Source: git-ls-files(1): "S" for skip-worktree, a small letter for assume-unchanged.
        marked = (line[2:] for line in lines if line and (line[0] == "S" or line[0].islower()))
        found = [path for path in marked if os.path.lexists(os.path.join(self._git.directory, path))]
        if found:
            data = b"".join(os.fsencode(path) + b"\0" for path in found)
            self._run(["update-index", "--force-remove", "-z", "--stdin"], data)
            self._run(["update-index", "--add", "-z", "--stdin"], data)
        return found

    def set(self, path: str, blob: str) -> None:
        """Puts a plain file in, relative to the top."""
        self._run(["update-index", "--add", "--cacheinfo", f"100644,{blob},{path}"])

    def write(self) -> str:
        """Returns the tree of all that it holds.

        Raises: GitFailedError: there are conflicts.
        """
        return self._run(["write-tree"]).decode("ascii").strip()

    def put(self, paths: Iterable[str]) -> None:
        """Writes files of it into the work tree, over what is there; paths relative to the top."""
        data = b"".join(os.fsencode(path) + b"\0" for path in paths)
        if data:
            self._run(["checkout-index", "--force", "--quiet", "--stdin", "-z"], data)


def _sweep(scratch: str) -> None:
    """Removes what killed processes left."""
    now = time.time()
    for name in os.listdir(scratch):
        path = os.path.join(scratch, name)
        if atomic.is_temp_name(name) and atomic.is_stale_temp(name, now, now):
            shutil.rmtree(path, ignore_errors=True)
