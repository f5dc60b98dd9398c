"""One git repository, asked through the `git` program.

Not here: starting the program (kist.git.process), finding the repository without it (kist.git.locate), and what the
history means for data. Reading takes no lock, runs no hook and writes nothing; `stage` alone changes the index.
Source: git 2.25 or newer; git-cat-file(1), git-log(1), git-diff-tree(1), git-status(1), gitrepository-layout(5).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kist.errors import MissingError
from kist.git.locate import find_paths, read_small_file
from kist.git.process import BlobReader, GitProgram

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ARGUMENT_BYTES = 64 * 1024
"""Paths on one command line: half of the smallest limit among the systems that we run on."""
_REF_GROUPS = ("--all", "--branches", "--tags", "--remotes")
_FILE_MODES = ("100644", "100755")
_EXPERIMENTS = "refs/exps/*"
_ORDER = "--date-order"
"""By time, but no parent before its children, whatever the clocks of those who committed said."""


class RevisionMissingError(MissingError):
    """A name is no branch, tag or commit of the repository. The user mends the name, or fetches."""

    code = "revision-missing"


class GitObjectMissingError(MissingError):
    """An object that the history names is not there: a shallow or damaged clone. `git fetch` can help."""

    code = "git-object-missing"


class TreeItem(NamedTuple):
    """One file of a commit: `mode` as six octal digits in text, `sha` of the blob (or of a submodule's commit)."""

    mode: str
    sha: str


class PathStatus(NamedTuple):
    """One path that differs from the last commit.

    Attributes:
        path: relative to the top; an untracked directory ends in `/`.
        staged: letter of the staged change (A, M, D, R, C, T, U), "?" for untracked, " " for none.
        unstaged: letter of the other change, likewise.
        source: the old path of a rename or copy.
    """

    path: str
    staged: str
    unstaged: str
    source: str | None = None


class CommitChange(NamedTuple):
    """What one commit changed against one parent (an empty tree for a root): path -> new blob, None when deleted."""

    commit: str
    blobs: dict[str, str | None]

    def apply_to(self, tree: dict[str, str]) -> None:
        """Turns the tree that the change starts from into the commit's."""
        for path, sha in self.blobs.items():
            if sha is None:
                tree.pop(path, None)
            else:
                tree[path] = sha


class CommitWords(NamedTuple):
    """What a commit says of itself: `date` is the author's, ISO 8601 with its zone; `committed_s` the committer's."""

    parents: list[str]
    author: str
    email: str
    date: str
    subject: str
    committed_s: int = 0


class GitRepository:
    """A working tree and its repository.

    Attributes:
        top: absolute path of the directory that holds `.git`.
        git_dir: this working tree's own git directory.
        common_dir: the git directory that all working trees share.
    """

    def __init__(
        self,
        top: str,
        git_dir: str,
        *,
        common_dir: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Args: environ: the environment of the spawned git; without PATH git is looked for in the system's places."""
        self.top = top
        self.git_dir = git_dir
        self.common_dir = common_dir or git_dir
        self._git = GitProgram(top, environ or {})

    @classmethod
    def find(cls, start: str, *, environ: Mapping[str, str] | None = None) -> GitRepository | None:
        """Returns the repository whose working tree holds the absolute path `start`, or None. Starts no process."""
        paths = find_paths(start)
        if paths is None:
            return None
        return cls(paths.top, paths.git_dir, common_dir=paths.common_dir, environ=environ)

    # Revisions

    def head_sha(self) -> str | None:
        """Returns the commit that is checked out, None before the first commit. Usually starts no process."""
        text = read_small_file(os.path.join(self.git_dir, "HEAD"))
        for _ in range(5):  # symbolic references to symbolic references; git's own limit
            if text is None:
                break
            text = text.rstrip("\n")
            if _SHA.fullmatch(text):
                return text
            if not text.startswith("ref: "):
                break
            name = text.removeprefix("ref: ").strip()
            text = read_small_file(os.path.join(self.common_dir, name)) or self._packed(name)
        # Left over: an unborn branch, references in another format (reftable), and names per working tree.
        found = self._git.run(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], accepted=(0, 1))
        sha = found.decode("ascii", "replace").strip()
        return sha if _SHA.fullmatch(sha) else None

    def has_commits(self) -> bool:
        """Says whether anything is checked out: False in a repository without a first commit."""
        return self.head_sha() is not None

    def resolve(self, rev: str) -> str:
        """Returns the commit that `rev` names.

        Raises:
            RevisionMissingError: no commit has this name, or it looks like an option.
            GitFailedError: git refuses the whole repository.
        """
        if rev == "HEAD" or _SHA.fullmatch(rev):
            head = self.head_sha()
            if head is not None and rev in ("HEAD", head):
                return head
        if rev and not rev.startswith("-") and "\0" not in rev and "\n" not in rev:
            found = self._git.run(
                ["rev-parse", "--verify", "--quiet", "--end-of-options", rev + "^{commit}"],
                accepted=(0, 1, 128),
            )
            sha = found.decode("ascii", "replace").strip().rpartition("\n")[2]
            if _SHA.fullmatch(sha):
                return sha
            self._git.run(["rev-parse", "--git-dir"])  # a repository that git refuses is not a missing name
        raise RevisionMissingError(
            f"cannot find revision '{rev}': no branch, tag or commit has this name",
            hint="see `git branch --all` and `git tag`, or run `git fetch --all --tags`",
        )

    def branches(self) -> dict[str, str]:
        """Returns local branches: name -> commit, sorted by name."""
        return self._refs("refs/heads/")

    def tags(self) -> dict[str, str]:
        """Returns tags: name -> commit, sorted by name; tags of other things than commits are left out."""
        return self._refs("refs/tags/")

    def all_commits(self, *, experiments: bool = False, reflogs: bool = False) -> list[str]:
        """Returns every commit that a reference or HEAD reaches: children before parents, the newest first.

        Args:
            experiments: those of `refs/exps/` too.
            reflogs: those that one of them reached once, too, as far as Git remembers.
        """
        left_out = [] if experiments else [f"--exclude={_EXPERIMENTS}"]
        heads = ["HEAD"] if self.has_commits() else []
        more = ["--reflog"] if reflogs else []
        words = ["rev-list", _ORDER, *left_out, "--all", *more, *heads]
        return self._git.run(words).decode("ascii").split()

    def named_commits(self) -> list[str]:
        """Returns every commit that a branch, a tag, a remote's branch or HEAD reaches, ordered as `all_commits`."""
        heads = ["HEAD"] if self.has_commits() else []
        groups = ["--branches", "--tags", "--remotes"]
        return self._git.run(["rev-list", _ORDER, *groups, *heads]).decode("ascii").split()

    def current_branch(self) -> str | None:
        """Returns the name of the branch that is checked out; None on a detached HEAD. Starts no process."""
        text = read_small_file(os.path.join(self.git_dir, "HEAD")) or ""
        prefix = "ref: refs/heads/"
        return text.removeprefix(prefix).strip() if text.startswith(prefix) else None

    def dated_commits(self) -> list[tuple[str, int]]:
        """Returns what `all_commits` does, each with the time it was committed, in seconds since 1970."""
        heads = ["HEAD"] if self.has_commits() else []
        words = ["rev-list", _ORDER, "--timestamp", f"--exclude={_EXPERIMENTS}", "--all", *heads]
        text = self._git.run(words)
        lines = [line.split(" ") for line in text.decode("ascii").splitlines()]
        return [(sha, int(time_s)) for time_s, sha in lines]

    def newest_first(self, commits: Iterable[str]) -> list[str]:
        """Returns commits, named by their whole ids: children before parents, the newest first."""
        wanted = set(commits)
        feed = "".join(f"{sha}\n" for sha in wanted).encode("ascii")
        if not feed:
            return []
        # A walk through all that they reach: git sorts single commits by their time alone, which several may share.
        found = self._git.run(["rev-list", _ORDER, "--stdin"], data=feed).decode("ascii").split()
        return [sha for sha in found if sha in wanted]

    def first_parents(self, commits: Iterable[str], count: int) -> list[str]:
        """Returns up to `count` commits from each of `commits`, by first parents, itself included; all if negative."""
        starts = list(dict.fromkeys(commits))
        parents = self._first_parents(starts)
        found: dict[str, None] = {}
        for start in starts:
            here: str | None = start
            left = count
            while here is not None and left != 0:
                found[here] = None
                here = parents.get(here)
                left -= 1
        return list(found)

    def experiment_commits(self) -> list[str]:
        """Returns the commits of experiments, without those that they were begun from."""
        if not self.may_have("refs/exps/"):
            return []
        refs = self._refs("refs/exps/")
        starts: dict[str, str] = {}
        for name, sha in refs.items():
            parts = name.split("/")
            if len(parts) == 3 and _SHA.fullmatch(parts[0] + parts[1]):
                starts[sha] = parts[0] + parts[1]
        parents = self._first_parents(starts)
        found: dict[str, None] = {}
        for sha, baseline in starts.items():
            here: str | None = sha
            while here is not None and here != baseline:
                found[here] = None
                here = parents.get(here)
        return list(found)

    def stash_commits(self) -> list[str]:
        """Returns the commits of every entry of the stash: what was in the work tree, the index, and untracked."""
        if not self.may_have("refs/stash"):
            return []
        text = self._git.run(["log", "--walk-reflogs", "--format=%H %P", "refs/stash"], accepted=(0, 128))
        found: dict[str, None] = {}
        for line in text.decode("ascii").splitlines():
            words = line.split(" ")
            found.update(dict.fromkeys([words[0], *words[2:]]))  # the second is what HEAD was
        return list(found)

    def headings(self, commits: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Returns commit -> (day it was committed, `YYYY-MM-DD`; first line of its message)."""
        feed = "".join(f"{sha}\n" for sha in commits).encode("ascii")
        if not feed:
            return {}
        form = "--format=%H%x00%cs%x00%s"
        text = self._git.run(["log", "--no-walk=unsorted", "--stdin", form], data=feed)
        lines = [line.split("\0") for line in text.decode("utf-8", "replace").splitlines()]
        return {words[0]: (words[1], words[2]) for words in lines if len(words) == 3}

    def _first_parents(self, starts: Iterable[str]) -> dict[str, str]:
        feed = "".join(f"{sha}\n" for sha in starts).encode("ascii")
        if not feed:
            return {}
        text = self._git.run(["rev-list", "--first-parent", "--parents", "--stdin"], data=feed).decode(
            "ascii"
        )
        lines = [line.split(" ") for line in text.splitlines()]
        return {words[0]: words[1] for words in lines if len(words) > 1}

    # Trees and blobs

    def list_tree(self, rev: str, suffixes: Sequence[str] = (), *, under: str = "") -> dict[str, TreeItem]:
        """Returns the files of a commit: path relative to the top -> item.

        Args:
            suffixes: only paths that end in one of these; empty for all.
            under: only this directory, relative to the top, and what is below.
        """
        arguments = ["ls-tree", "-r", "-z", "--full-tree", self.resolve(rev)]
        if under:
            arguments += ["--", under]
        tree: dict[str, TreeItem] = {}
        wanted = tuple(suffixes)
        for record in os.fsdecode(self._git.run(arguments)).split("\0"):
            if not record:
                continue
            head, path = record.split("\t", 1)
            if wanted and not path.endswith(wanted):
                continue
            mode, _, sha = head.split(" ")
            tree[path] = TreeItem(mode, sha)
        return tree

    def read_blobs(self, shas: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields (sha, content) in the order of `shas`, from one process.

        Raises:
            GitObjectMissingError: an object is not there.
        """
        wanted = list(shas)
        if not wanted:
            return
        feed = "".join(f"{sha}\n" for sha in wanted).encode("ascii")
        with self._git.stream(["cat-file", "--batch", "--buffer"], feed) as stream:
            for sha in wanted:
                fields = stream.output.readline().split()
                if not fields:
                    raise stream.fail()
                if len(fields) != 3 or fields[1] != b"blob":
                    raise GitObjectMissingError(
                        f"cannot read git object '{sha}': it is not in this clone",
                        hint="run `git fetch --unshallow` in a shallow clone, or `git fsck`",
                    )
                content = stream.output.read(int(fields[2]) + 1)
                yield sha, content[:-1]

    def read_file(self, rev: str, path: str) -> bytes | None:
        """Returns the content of `path`, relative to the top, in a commit; None when it is no file there."""
        item = self.list_tree(rev, under=path).get(path)
        if item is None or item.mode not in _FILE_MODES:
            return None
        return next(self.read_blobs([item.sha]))[1]

    def trees(self, commits: Iterable[str], suffixes: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
        """Yields (commit, its files with these suffixes as path -> blob), each commit once, in the order given.

        The mapping is the caller's own.
        """
        tree: dict[str, str] = {}
        for change in self.tree_changes(commits, suffixes):
            change.apply_to(tree)
            yield change.commit, dict(tree)

    def tree_changes(self, commits: Iterable[str], suffixes: Sequence[str] = ()) -> Iterator[CommitChange]:
        """Yields each commit once, in the order given, as the change from the one before it in this order.

        The first one brings all its files. Two processes in all.

        Args:
            suffixes: only paths that end in one of these; empty for all.
        """
        wanted = list(dict.fromkeys(commits))
        if not wanted:
            return
        ends = tuple(suffixes)
        first = self.list_tree(wanted[0], ends)
        yield CommitChange(
            wanted[0], {path: item.sha for path, item in first.items() if item.mode in _FILE_MODES}
        )
        if len(wanted) == 1:
            return
        feed = "".join(f"{new} {old}\n" for old, new in itertools.pairwise(wanted)).encode("ascii")
        arguments = ["diff-tree", "--stdin", "-r", "--raw", "-z", "--always", "--no-renames", "--no-abbrev"]
        with self._git.stream([*arguments, "--", *_globs(ends)], feed) as stream:
            changes = parse_raw_log(stream.records())
            for commit in wanted[1:]:
                change = next(changes, None)
                if change is None:
                    raise stream.fail()
                yield CommitChange(commit, change.blobs)

    def blob_reader(self) -> BlobReader:
        """Returns a reader of single blobs, for those who learn only from one what the next one is; close it."""
        return BlobReader(self._git)

    def history(self, revs: Sequence[str], suffixes: Sequence[str]) -> Iterator[CommitChange]:
        """Yields what each commit that `revs` reach changed among paths with these suffixes, the newest first.

        A merge is yielded once a parent. Commits that change no such path may be left out.

        Args:
            revs: revisions, or any of "--all", "--branches", "--tags", "--remotes".
            suffixes: ends of paths, such as ".dvc", "dvc.lock".
        """
        groups = [rev for rev in revs if rev in _REF_GROUPS]
        commits = [self.resolve(rev) for rev in revs if rev not in groups]
        if not groups and not commits:
            return
        # Commits come over the standard input: there may be more than fit on a command line.
        feed = "".join(f"{sha}\n" for sha in commits).encode("ascii")
        arguments = ["log", "--raw", "-z", "--no-renames", "--no-abbrev", "-m", "--root", "--format=%H"]
        arguments += ["--no-show-signature", *groups, "--stdin", "--", *_globs(suffixes)]
        with self._git.stream(arguments, feed) as stream:
            yield from parse_raw_log(stream.records())

    def unpushed(self, remote: str) -> list[str]:
        """Returns the commits that HEAD reaches and no branch of a Git remote that is known here, the newest first."""
        found = self._git.run(["rev-list", "HEAD", "--not", f"--remotes={remote}"])
        return found.decode("ascii").split()

    def describe(self, commits: Iterable[str]) -> dict[str, CommitWords]:
        """Returns what commits say of themselves, from one process."""
        feed = "".join(f"{sha}\n" for sha in commits).encode("ascii")
        if not feed:
            return {}
        form = "--format=%H%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%ct%x1f%s"
        arguments = [
            "log",
            "--no-walk=unsorted",
            "--stdin",
            "-z",
            "--no-show-signature",
            "--encoding=UTF-8",
            form,
        ]
        output = self._git.run(arguments, data=feed).decode("utf-8", "replace")
        found = {}
        for record in output.split("\0"):
            if record:
                sha, parents, author, email, date, committed, subject = record.split("\x1f", 6)
                found[sha] = CommitWords(parents.split(), author, email, date, subject, int(committed))
        return found

    def graph(self, revs: Sequence[str], paths: Sequence[str]) -> list[tuple[str, str]]:
        """Returns the lines of git's drawing of the commits that touch paths: (drawing, commit or "").

        Args:
            revs: as of `history`. paths: relative to the top, as they are.
        """
        commits = [rev if rev in _REF_GROUPS else self.resolve(rev) for rev in revs]
        specs = [f":(top,literal){path}" for path in paths]
        arguments = [
            "log",
            "--graph",
            "--no-color",
            "--format=%x1f%H",
            "--no-show-signature",
            *commits,
            "--",
            *specs,
        ]
        lines = []
        for line in self._git.run(arguments).decode("ascii", "replace").splitlines():
            drawing, _, sha = line.partition("\x1f")
            lines.append((drawing.rstrip(), sha))
        return lines

    def changed_paths(self, old: str, new: str) -> set[str]:
        """Returns the paths, relative to the top, that differ between two commits."""
        arguments = ["diff-tree", "-r", "--name-only", "-z", "--no-renames", old, new]
        return {path for path in os.fsdecode(self._git.run(arguments)).split("\0") if path}

    def is_tracked(self, paths: Iterable[str]) -> set[str]:
        """Returns those of `paths` that are in the index, or are directories with files in it.

        Args:
            paths: absolute, or relative to the top; they come back as they were given.
        """
        wanted = {self._inside(path): path for path in paths}
        tracked: set[str] = set()
        for batch in _batches([f":(top,literal){path}" for path in wanted]):
            found = os.fsdecode(self._git.run(["ls-files", "-z", "--full-name", "--", *batch]))
            for path in found.split("\0"):
                tracked.update(_with_parents(path))
        return {given for path, given in wanted.items() if path in tracked}

    def status(self, *, untracked: bool = False, ignored: bool = False) -> list[PathStatus]:
        """Returns the paths that differ from the last commit, or from the index, sorted by path.

        Args:
            untracked: also single untracked files.
            ignored: also ignored ones, their letters being "!".
        """
        arguments = ["status", "--porcelain=v1", "-z", f"--untracked-files={'all' if untracked else 'no'}"]
        if ignored:
            arguments.append("--ignored=traditional")
        return parse_status(os.fsdecode(self._git.run(arguments)))

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Returns those of `paths` that git ignores, as git itself sees it; what it tracks it does not ignore.

        Slower than kist.workspace.ignores, which needs no process.

        Args: as of `is_tracked`.
        """
        wanted = {self._inside(path): path for path in paths}
        data = b"".join(os.fsencode(path) + b"\0" for path in wanted)
        if not data:
            return set()
        found = os.fsdecode(self._git.run(["check-ignore", "--stdin", "-z"], data=data, accepted=(0, 1)))
        return {wanted[path] for path in found.split("\0") if path}

    def settings_below(self, prefix: str) -> list[tuple[str, str]]:
        """Returns (rest of the name, value) of the settings whose name begins with `prefix`, the last one of each.

        Raises: GitError.
        """
        pattern = "^" + prefix.replace(".", "[.]")
        found = self._git.run(["config", "--null", "--get-regexp", pattern], accepted=(0, 1))
        items = [
            item.partition("\n") for item in found.decode("utf-8", "surrogateescape").split("\0") if item
        ]
        return list({name[len(prefix) :]: value for name, _, value in items}.items())

    def stage(self, paths: Iterable[str]) -> None:
        """Puts the present content of `paths` into the index; a file that is gone is taken out.

        Args: as of `is_tracked`.

        Holds: only the index changes, by git's own lock and rename.

        Raises:
            GitFailedError: git refuses, for example because another process holds the index.
        """
        present: list[str] = []
        gone: list[str] = []
        for path in map(self._inside, paths):
            (present if os.path.lexists(os.path.join(self.top, path)) else gone).append(path)
        self._stage(["add"], present)
        self._stage(["rm", "--cached", "--quiet", "--ignore-unmatch"], gone)

    def _stage(self, command: Sequence[str], paths: Sequence[str]) -> None:
        if paths:
            data = b"".join(os.fsencode(path) + b"\0" for path in paths)
            from_input = ["--pathspec-from-file=-", "--pathspec-file-nul"]
            self._git.run(["--literal-pathspecs", *command, *from_input], data=data, writes=True)

    def _inside(self, path: str) -> str:
        return os.path.relpath(path, self.top) if os.path.isabs(path) else path

    def _refs(self, prefix: str) -> dict[str, str]:
        form = "%(refname)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)"
        refs: dict[str, str] = {}
        for line in os.fsdecode(self._git.run(["for-each-ref", f"--format={form}", prefix])).splitlines():
            name, kind, sha, peeled_kind, peeled = line.split("\0")
            if kind == "commit":
                refs[name.removeprefix(prefix)] = sha
            elif peeled_kind == "commit":
                refs[name.removeprefix(prefix)] = peeled
        return refs

    def may_have(self, name: str) -> bool:
        """Says whether a reference, or a folder of them, may exist; starts no process."""
        common = self.common_dir
        if os.path.exists(os.path.join(common, name)) or os.path.exists(os.path.join(common, "reftable")):
            return True
        try:
            with open(os.path.join(common, "packed-refs"), "rb") as stream:
                return b" " + name.encode() in stream.read()
        except FileNotFoundError:
            return False

    def _packed(self, name: str) -> str | None:
        try:
            with open(
                os.path.join(self.common_dir, "packed-refs"), encoding="utf-8", errors="surrogateescape"
            ) as file:
                for line in file:
                    sha, _, found = line.rstrip("\n").partition(" ")
                    if found == name:
                        return sha
        except OSError:
            pass
        return None


def parse_raw_log(records: Iterable[bytes]) -> Iterator[CommitChange]:
    """Yields the commits in the NUL-separated output of `git log --raw -z --format=%H` or `git diff-tree --stdin`."""
    commit = ""
    blobs: dict[str, str | None] = {}
    iterator = iter(records)
    for record in iterator:
        # A line feed stands between the name of a commit and its first change, in one of the two programs.
        text = record.strip(b"\n")
        if text.startswith(b":"):
            new_mode, sha = os.fsdecode(text).split(" ")[1:4:2]
            path = os.fsdecode(next(iterator))
            if new_mode in _FILE_MODES:
                blobs[path] = sha
            else:
                blobs[path] = None  # deleted, or a symbolic link or submodule now
        elif text:
            if commit:
                yield CommitChange(commit, blobs)
            commit, blobs = text.decode("ascii"), {}
    if commit:
        yield CommitChange(commit, blobs)


def parse_status(output: str) -> list[PathStatus]:
    """Returns the records of `git status --porcelain=v1 -z`."""
    found: list[PathStatus] = []
    fields = iter(output.split("\0"))
    for field in fields:
        if field:
            index, worktree, path = field[0], field[1], field[3:]
            has_source = index in "RC" or worktree in "RC"
            found.append(PathStatus(path, index, worktree, next(fields) if has_source else None))
    return sorted(found)


def _globs(suffixes: Sequence[str]) -> list[str]:
    return [f":(top,glob)**/*{suffix}" for suffix in suffixes]


def _batches(arguments: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for argument in arguments:
        length = len(os.fsencode(argument)) + 1
        if batch and size + length > _ARGUMENT_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(argument)
        size += length
    if batch:
        yield batch


def _with_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
