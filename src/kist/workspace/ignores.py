"""Which paths are ignored: nested `.dvcignore` or `.gitignore` files, asked during a walk from the top down.

Not here: what a pattern means (kist.formats.ignore) and the walk itself. Implements docs/spec/ignore.md.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from kist.base.shell import shell_line
from kist.errors import FormatError, StorageError
from kist.formats.ignore import (
    DVC,
    DVC_NESTED,
    GIT,
    IgnorePattern,
    IgnoreRules,
    NameRules,
    State,
    compile_patterns,
    parse_ignore,
)
from kist.git.locate import find_paths

DVCIGNORE = ".dvcignore"
GITIGNORE = ".gitignore"
MAX_IGNORE_BYTES = 16 * 1024 * 1024
"""An ignore file above this size is a mistake, and would cost minutes and gigabytes to compile."""

_DVC_BUILT_IN = {".git": True, ".hg": False, ".dvc": False}
"""Names that are always excluded; the value says whether a file of that name is excluded too."""
_GIT_BUILT_IN = {".git": True}

_MEMORY_LIMIT = 4096


class IgnoreFileTooLargeError(FormatError):
    """An ignore file is larger than any person writes. Exit as the command decides; a retry does not help."""

    code = "ignore-file-too-large"


class IgnoreFileUnreadableError(StorageError):
    """The operating system refuses to read an ignore file, so nobody knows what it excludes."""

    code = "ignore-file-unreadable"


class _Layer:
    """One ignore file as it stands in one directory."""

    __slots__ = ("names", "rules", "source", "state")

    def __init__(self, rules: IgnoreRules, state: State, source: str) -> None:
        self.rules = rules
        self.state = state
        self.source = source
        self.names: NameRules | None = rules.names(state)

    def moved(self, name: str) -> _Layer:
        """Returns the layer as it stands in the child directory `name`."""
        state = self.rules.descend(self.state, self.rules.text(name))
        return self if state == self.state else _Layer(self.rules, state, self.source)


class IgnoreMatch(NamedTuple):
    """Why a path is ignored, or taken back in.

    Attributes:
        is_ignored: what the match says.
        pattern: as written; of a nested repository, its name.
        source: the ignore file, relative to the root; "" for what is built in.
        line: its line there, from 1; 0 for what is built in.
        label: all this in the words of `check-ignore --details`.
    """

    is_ignored: bool
    pattern: str
    source: str
    line: int
    label: str


class DirectoryMatcher:
    """Answers for the names directly in one directory. Made by `IgnoreTree.enter` or by `child`.

    Attributes:
        rel_dir: the directory, relative to the root, "" for the root.
        is_excluded: the directory itself is ignored, and with it everything below.
        is_trivial: no line of an ignore file can match here: only names with a dot in front (and, among
            directories, nested repositories) need to be asked about.
    """

    __slots__ = ("_layers", "_names", "_tree", "is_excluded", "is_trivial", "rel_dir")

    def __init__(self, tree: IgnoreTree, rel_dir: str, layers: tuple[_Layer, ...], is_excluded: bool) -> None:
        self._tree = tree
        self.rel_dir = rel_dir
        self.is_excluded = is_excluded
        self._layers = layers  # the deepest file first: it has the first word
        self._names = tuple((layer.rules, layer.names) for layer in layers if layer.names is not None)
        self.is_trivial = not self._names and not is_excluded

    def is_ignored(self, name: str, is_dir: bool) -> bool:
        """Says whether the child `name` is ignored; a directory also is when it is a repository of its own."""
        if self.is_excluded:
            return True
        built_in = self._tree.built_in.get(name)
        if built_in is not None and (built_in or is_dir):
            return True
        if is_dir and self._tree.is_nested_repository(self.join(name)):
            return True
        for rules, names in self._names:
            verdict = names.verdict(rules.text(name), is_dir)
            if verdict is not None:
                return verdict
        return False

    def child(self, name: str) -> DirectoryMatcher:
        """Returns the matcher of the child directory `name`, which the caller knows not to be ignored."""
        return self._tree.below(self, self._layers, name, is_excluded=self.is_excluded)

    def join(self, name: str) -> str:
        """Returns the path of the child `name`, relative to the root."""
        return f"{self.rel_dir}/{name}" if self.rel_dir else name

    def explain(self, name: str, is_dir: bool) -> IgnoreMatch | None:
        """Returns what decides about the child `name`, None when nothing matches. Slow: for explanations only.

        Among neighbouring lines that say the same, DVC names the first that matches; git names the last.
        """
        if is_dir and self._tree.is_nested_repository(self.join(name)):
            return IgnoreMatch(True, name, "", 0, f"in sub_repo:{name}")
        for layer in self._layers:
            if self.is_excluded and layer.rules.own_exclusion is not None:
                return _match(layer, layer.rules.own_exclusion)
        built_in = self._tree.built_in_layer()
        match = self._decisive((*self._layers, built_in), name, is_dir)
        if match is not None and not match.is_ignored:
            return self._decisive((built_in,), name, is_dir) or match
        return match

    def _decisive(self, layers: tuple[_Layer, ...], name: str, is_dir: bool) -> IgnoreMatch | None:
        found: tuple[_Layer, IgnorePattern] | None = None
        needs_dir = is_open = False  # of what was found; whether a better one may follow in the same run
        kind: tuple[bool, bool] | None = None
        for layer in reversed(layers):
            matching = {} if layer.names is None else layer.names.matching(layer.rules.text(name), is_dir)
            for index, pattern in enumerate(layer.rules.patterns):
                previous, kind = kind, (pattern.is_negated, pattern.text.endswith("/"))
                if kind != previous or pattern.is_negated or self._tree.kind == GITIGNORE:
                    is_open = False
                if index in matching and (not is_open or (needs_dir and not matching[index])):
                    found, needs_dir, is_open = (layer, pattern), matching[index], True
        return found and _match(*found)


def _match(layer: _Layer, pattern: IgnorePattern) -> IgnoreMatch:
    if not layer.source:
        return IgnoreMatch(True, pattern.text, "", 0, f":{pattern.text}")
    label = f"{layer.source}:{pattern.line}:{pattern.text}"
    return IgnoreMatch(not pattern.is_negated, pattern.text, layer.source, pattern.line, label)


class IgnoreTree:
    """The ignore files below one root directory, read when a walk first enters their directory.

    Holds: what was read is not read again; make a new tree after ignore files have changed.
    """

    def __init__(
        self,
        root: str,
        *,
        kind: str = DVCIGNORE,
        weaker_files: Sequence[str] = (),
        reads_git_exclude: bool = True,
    ) -> None:
        """Args:
        root: absolute path; paths asked about are relative to it, with `/` between components.
        kind: name of the ignore files, DVCIGNORE or GITIGNORE.
        weaker_files: absolute paths of files that apply to the whole tree, the weakest first (for git the one
            that `core.excludesFile` names).
        reads_git_exclude: with GITIGNORE, also read `info/exclude` of the repository whose top `root` is.
        """
        self.root = root
        self.kind = kind
        self.built_in = _DVC_BUILT_IN if kind == DVCIGNORE else _GIT_BUILT_IN
        self._weaker_files = list(weaker_files)
        if kind == GITIGNORE and reads_git_exclude:
            found = find_paths(root)
            if found is not None and found.top == root:
                self._weaker_files.append(os.path.join(found.common_dir, "info", "exclude"))
        self._remembered: dict[str, DirectoryMatcher] = {}
        self._top: DirectoryMatcher | None = None

    def enter(self, rel_dir: str) -> DirectoryMatcher:
        """Returns the matcher for the children of `rel_dir`, "" for the root.

        Raises:
            IgnoreFileTooLargeError, IgnoreFileUnreadableError: from any ignore file on the way.
        """
        if not rel_dir:
            return self._root_matcher()
        known = self._remembered.get(rel_dir)
        if known is None:
            parent, _, name = rel_dir.rpartition("/")
            above = self.enter(parent)
            known = (
                DirectoryMatcher(self, rel_dir, (), is_excluded=True)
                if above.is_ignored(name, is_dir=True)
                else above.child(name)
            )
            if len(self._remembered) >= _MEMORY_LIMIT:
                self._remembered.clear()
            self._remembered[rel_dir] = known
        return known

    def is_path_ignored(self, rel_path: str, is_dir: bool) -> bool:
        """Says whether `rel_path` or a directory above it is ignored. The root itself never is."""
        if not rel_path:
            return False
        parent, _, name = rel_path.rpartition("/")
        return self.enter(parent).is_ignored(name, is_dir)

    def explain(self, rel_path: str, is_dir: bool) -> IgnoreMatch | None:
        """Returns what decides about `rel_path`: a match of the first ignored directory above it, or its own."""
        if not rel_path:
            return None
        matcher = self._root_matcher()
        *parents, name = rel_path.split("/")
        for parent in parents:
            if matcher.is_ignored(parent, is_dir=True):
                return matcher.explain(parent, is_dir=True)
            matcher = matcher.child(parent)
        return matcher.explain(name, is_dir)

    def built_in_layer(self) -> _Layer:
        """Returns the names that are always excluded, as lines weaker than those of any file."""
        lines = [".hg/", ".git/", ".git", ".dvc/"] if self.kind == DVCIGNORE else [".git"]
        rules = compile_patterns(lines, flavour=DVC)
        return _Layer(rules, rules.start, "")

    def is_nested_repository(self, rel_dir: str) -> bool:
        """Says whether the directory `rel_dir` is a DVC repository of its own, which is not looked into."""
        return self.kind == DVCIGNORE and os.path.exists(os.path.join(self.root, rel_dir, ".dvc"))

    def below(
        self, parent: DirectoryMatcher, layers: tuple[_Layer, ...], name: str, *, is_excluded: bool
    ) -> DirectoryMatcher:
        """Returns the matcher of the directory `name` in the directory of `parent`, which has `layers`."""
        rel_dir = parent.join(name)
        moved = tuple(layer.moved(name) for layer in layers)
        if is_excluded:
            return DirectoryMatcher(self, rel_dir, moved, is_excluded=True)
        return self._with_own_file(DirectoryMatcher(self, rel_dir, moved, is_excluded=False), moved)

    def _root_matcher(self) -> DirectoryMatcher:
        if self._top is None:
            layers: tuple[_Layer, ...] = ()
            for path in self._weaker_files:
                data = _read(path, follows_links=True)
                if data is not None:
                    rules = parse_ignore(data, flavour=GIT if self.kind == GITIGNORE else DVC)
                    layers = (_Layer(rules, rules.start, os.path.relpath(path, self.root)), *layers)
            self._top = self._with_own_file(DirectoryMatcher(self, "", layers, is_excluded=False), layers)
        return self._top

    def _with_own_file(self, matcher: DirectoryMatcher, layers: tuple[_Layer, ...]) -> DirectoryMatcher:
        is_dvc = self.kind == DVCIGNORE
        if is_dvc and not matcher.is_trivial and matcher.is_ignored(self.kind, is_dir=False):
            return matcher  # as DVC: a `.dvcignore` that is ignored itself says nothing
        source = matcher.join(self.kind)
        # git does not follow a symbolic link here, so that a clone cannot name files outside of it.
        data = _read(os.path.join(self.root, source), follows_links=is_dvc)
        if data is None:
            return matcher
        if is_dvc and matcher.rel_dir:
            if not _matches_itself(matcher.rel_dir):
                return matcher
            rules = parse_ignore(data, flavour=DVC_NESTED)
        else:
            rules = parse_ignore(data, flavour=DVC if is_dvc else GIT)
        if not rules.patterns:
            return matcher
        above = (_Layer(rules, rules.start, source), *layers)
        return DirectoryMatcher(self, matcher.rel_dir, above, is_excluded=rules.own_exclusion is not None)


def _matches_itself(rel_dir: str) -> bool:
    """Says whether DVC, which puts `rel_dir` in front of patterns as it is, still means that directory by it."""
    if rel_dir.startswith(("#", "!")):
        return False
    if not any(character in rel_dir for character in "*?[\\"):
        return True
    return compile_patterns([f"/{rel_dir}/x"], flavour=DVC).verdict(f"{rel_dir}/x", is_dir=False) is not None


def _read(path: str, *, follows_links: bool) -> bytes | None:
    """Returns the content of an ignore file, None where there is no regular file of that name."""
    # O_NONBLOCK: opening a named pipe must not wait for a writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follows_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise IgnoreFileUnreadableError(
            f"cannot read '{path}': {os.strerror(error.errno or errno.EIO)}",
            hint=shell_line("chmod", "u+r", path),
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > MAX_IGNORE_BYTES:
            raise IgnoreFileTooLargeError(
                f"cannot use '{path}': {status.st_size} bytes are more than the limit of {MAX_IGNORE_BYTES}",
                hint=f"put fewer patterns into it; `{shell_line('wc', '-l', path)}` counts them",
            )
        chunks = []
        while chunk := os.read(descriptor, 1 << 20):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)
