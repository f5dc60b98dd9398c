"""`metrics show` and `metrics diff`: the metrics of versions.

Reads only. Not here: comparing and tabulating (compare.values), layout on the screen (cli).
Implements docs/spec/metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.compare.values import compare_files, measured
from kist.errors import FormatError, KistError, MissingError
from kist.repo.declared import Declarations, Declared
from kist.repo.views import WORKSPACE, View, Views, has_history, named_revisions

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_MEMORY = 10_000
"""Files whose values are remembered for other versions that have them too."""


class Failure(NamedTuple):
    """Why a file or a version has no values: the name of DVC's error of this kind, for programs, and a sentence."""

    kind: str
    message: str


class FileValues(NamedTuple):
    """What one file says; `failure` is None where it could be read."""

    values: Any = None
    failure: Failure | None = None


class VersionValues(NamedTuple):
    """The files of one version, by path relative to the root; without files where the version itself failed."""

    files: dict[str, FileValues]
    failure: Failure | None = None

    @property
    def has_failed(self) -> bool:
        """Says whether anything of it could not be read."""
        return self.failure is not None or any(file.failure is not None for file in self.files.values())

    def readable(self) -> dict[str, Any]:
        """Returns path -> values of the files that could be read."""
        return {path: file.values for path, file in self.files.items() if file.failure is None}


class Difference(NamedTuple):
    """How two versions differ.

    Attributes:
        changes: path -> dotted name -> {"old", "new", "diff"}.
        failed: names of the versions of which something could not be read.
    """

    changes: dict[str, dict[str, dict[str, Any]]]
    failed: list[str]


class Reader:
    """Reads files of values, each content once.

    Args: keep: what of the values counts.
    """

    def __init__(self, keep: Callable[[Any], Any] | None = None) -> None:
        self._keep = keep
        self._known: dict[tuple[str, str], FileValues] = {}

    def read(self, view: View, path: str) -> FileValues:
        """Returns what a file says."""
        key = view.key(path)
        if key is None:
            return self._read(view, path)
        known = self._known.get((path, key))
        if known is None:
            if len(self._known) > _MEMORY:
                self._known.clear()
            known = self._known[path, key] = self._read(view, path)
        return known

    def _read(self, view: View, path: str) -> FileValues:
        from kist.formats.params import parse_values

        try:
            data = view.read(path)
            if data is None:
                message = f"cannot read '{path}': there is no such file, and the cache has none"
                return FileValues(failure=Failure("FileNotFoundError", message))
            values = parse_values(data, name=path)
        except (KistError, OSError) as error:
            return FileValues(failure=failure_of(error))
        return FileValues(values if self._keep is None else self._keep(values))


def collect_metrics(
    view: View,
    declared: Iterable[Declared],
    reader: Reader,
    *,
    targets: Sequence[str] = (),
) -> dict[str, FileValues]:
    """Returns the metrics of one version: path -> values, those of stages before those at the top of `dvc.yaml`.

    Args:
        declared: of the view.
        reader: made by `metrics_reader`; shared by all versions.
        targets: only these files or folders, relative to the root, whether they are declared or not.
    """
    paths = list(targets)
    if not paths:
        known = list(declared)
        paths = [path for one in known for path in one.metrics]
        paths += [path for one in known for path in one.top_metrics]
    return {path: reader.read(view, path) for path in expanded(view, paths)}


def metrics_reader() -> Reader:
    """Returns a reader that keeps what of a file are metrics."""
    return Reader(measured)


def expanded(view: View, paths: Iterable[str]) -> list[str]:
    """Returns paths, each once, with the files below a folder in its place."""
    found: dict[str, None] = {}
    for path in paths:
        found.update(dict.fromkeys(view.files_below(path) if view.is_folder(path) else [path]))
    return list(found)


def show_metrics(
    repository: Repository,
    targets: Sequence[str] = (),
    *,
    branches: bool = False,
    tags: bool = False,
    commits: bool = False,
) -> dict[str, VersionValues]:
    """Returns the metrics of versions by name, the workspace first; its name is "" if it is the only one.

    With other versions, it is left out where it says what the branch that is checked out says.

    Args:
        targets: files or folders, as the person writes them.
        branches, tags, commits: all of them.

    Raises: OutsideRepositoryError.
    """
    wanted = [repository.rel(target) for target in targets]
    reader, declarations = metrics_reader(), Declarations()

    def look(view: View) -> dict[str, FileValues]:
        return collect_metrics(view, () if wanted else declarations.of(view), reader, targets=wanted)

    with Views(repository) as views:
        if not (branches or tags or commits):
            return {"": version_values(look, views.workspace())}
        revisions: dict[str, list[str]] = {}
        if repository.git is not None:
            revisions = named_revisions(repository, branches=branches, tags=tags, commits=commits)
        found = {WORKSPACE: version_values(look, views.workspace())}
        for view in views.commits(list(revisions)):
            found[",".join(revisions[view.name])] = version_values(look, view)
    git = repository.git
    branch = git.current_branch() if git is not None else None
    if branch is not None and not found[WORKSPACE].has_failed and found.get(branch) == found[WORKSPACE]:
        del found[WORKSPACE]
    return found


def diff_metrics(
    repository: Repository, old: str, new: str, *, targets: Sequence[str] = (), everything: bool = False
) -> Difference:
    """Returns how the metrics of two versions differ.

    Args:
        old, new: revisions, or "workspace".
        everything: also what is equal.

    Raises: NoGitError, RevisionMissingError, OutsideRepositoryError.
    """
    wanted = [repository.rel(target) for target in targets]
    reader, declarations = metrics_reader(), Declarations()

    def look(view: View) -> dict[str, FileValues]:
        return collect_metrics(view, () if wanted else declarations.of(view), reader, targets=wanted)

    return difference(repository, old, new, look, everything=everything)


def difference(
    repository: Repository,
    old: str,
    new: str,
    look: Callable[[View], dict[str, FileValues]],
    *,
    everything: bool,
) -> Difference:
    """Returns how two versions differ by what `look` finds in each; without any commit nothing does.

    Raises: NoGitError, RevisionMissingError.
    """
    if not has_history(repository):
        return Difference({}, [])
    found = {name: version_values(look, view) for name, view in _two(repository, old, new)}
    changes = compare_files(found[old].readable(), found[new].readable(), everything=everything)
    return Difference(changes, [name for name in dict.fromkeys((old, new)) if found[name].has_failed])


def _two(repository: Repository, old: str, new: str) -> Iterator[tuple[str, View]]:
    revisions = named_revisions(repository, [old, new])
    with Views(repository) as views:
        if WORKSPACE in (old, new):
            yield WORKSPACE, views.workspace()
        for view in views.commits(list(revisions)):
            for name in revisions[view.name]:
                yield name, view


def version_values(look: Callable[[View], dict[str, FileValues]], view: View) -> VersionValues:
    """Returns what `look` finds in a version, or why it finds nothing."""
    try:
        return VersionValues(look(view))
    except (FormatError, MissingError, OSError) as error:
        return VersionValues({}, failure_of(error))


def failure_of(error: KistError | OSError) -> Failure:
    """Returns an error as data, under the name of DVC's error of this kind."""
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else ""
        return Failure(type(error).__name__, f"{error.strerror}: '{name}'" if name else str(error.strerror))
    return Failure(_kind(error), error.message)


def _kind(error: KistError) -> str:
    code = error.code
    if isinstance(error.__cause__, UnicodeDecodeError):
        return "EncodingError"
    if code == "params":
        for end, kind in ((".json'", "JSON"), (".toml'", "TOML"), (".py'", "Python")):
            if end in error.message:
                return f"{kind}FileCorruptedError"
        return "ParseError"
    if code == "yaml":
        name = getattr(error, "name", "")
        is_metafile = name.endswith((".dvc", "dvc.yaml", "dvc.lock"))
        return "YAMLSyntaxError" if is_metafile else "YAMLFileCorruptedError"
    return {"pipeline-resolve": "ResolveError", "pipeline-file": "YAMLValidationError"}.get(
        code, "DvcException"
    )
