"""The promised interface for Python: names and meanings of `dvc.api`, and running pipelines.

    import kist.api

    with kist.api.open("data/train.csv", rev="v1.0") as stream:
        ...

An edge, as the command line is: the environment and the current folder are looked at in each call. Nothing is printed.
Not here: the work itself (kist.repo). Implements docs/spec/api.md.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from kist.errors import FormatError, InputError, MissingError

if TYPE_CHECKING:
    from kist.repo.elsewhere import OtherRepository
    from kist.repo.metrics import FileValues
    from kist.repo.reading import Reader
    from kist.repo.repository import Repository
    from kist.repo.repro import ReproResult
    from kist.repo.views import View

__all__ = [
    "add",
    "all_branches",
    "all_commits",
    "all_tags",
    "exp_save",
    "fetch",
    "get_url",
    "metrics_show",
    "open",
    "params_show",
    "pull",
    "push",
    "read",
    "repro",
]

Config = Mapping[str, Any] | str | None
"""Settings on top of the repository's: section -> option -> value, or the path of a file with them."""
Targets = str | Sequence[str]


class BadModeError(InputError, ValueError):
    """A file of a repository can be opened for reading only: `r`, `rt` or `rb`."""

    code = "bad-mode"


class ValuesMissingError(MissingError, FileNotFoundError):
    """A file of parameters or metrics is not there. The message says which."""

    code = "values-missing"


class ValuesUnreadableError(FormatError):
    """A file of parameters or metrics cannot be understood. The message says which and why."""

    code = "values-unreadable"


class TransferFailedError(InputError):
    """Some objects could not be moved; the message names the first. Those that could, are where they belong."""

    code = "transfer-failed"


def open(  # noqa: A001 - the name that dvc.api has
    path: str,
    repo: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    mode: str = "r",
    encoding: str | None = None,
    config: Config = None,
    remote_config: Mapping[str, Any] | None = None,
) -> IO[Any]:
    """Returns a file of a repository, open for reading: from disk, Git, the cache, or streamed from a remote.

    Args:
        path: relative to the root; without `rev`, and in the repository's own folders, to the current folder.
        repo: a path, or an address of Git; None for the repository around the current folder.
        rev: None for the files as they are.
        remote: the remote to ask for what the cache lacks; None for the default one.
        mode: `r`, `rt` or `rb`.
        encoding: of a text; UTF-8 by default.
        config, remote_config: settings on top of the repository's, and of the remote.

    Raises: BadModeError, NoSuchFileError, IsADirError, DataMissingError; reading raises ObjectCorruptError at the end
        of an object whose hash is another.
    """
    if mode not in ("r", "rt", "rb"):
        raise BadModeError(f"cannot open '{path}': mode '{mode}' is not for reading", hint="use `r` or `rb`")
    with _reader(path, repo, rev, remote, config, remote_config) as (reader, inside):
        stream = reader.open(inside)
    if mode == "rb":
        return stream
    return io.TextIOWrapper(stream, encoding=encoding or "utf-8")


def read(
    path: str,
    repo: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    mode: str = "r",
    encoding: str | None = None,
    config: Config = None,
    remote_config: Mapping[str, Any] | None = None,
) -> Any:
    """Returns the content of a file, a text, or with mode `rb` bytes. Args, Raises: as `open`; ObjectCorruptError."""
    with open(path, repo, rev, remote, mode, encoding, config, remote_config) as stream:
        return stream.read()


def get_url(
    path: str,
    repo: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    config: Config = None,
    remote_config: Mapping[str, Any] | None = None,
) -> str:
    """Returns where tracked data lies in its remote, whether it is there or not; of a directory its list of files.

    Raises: NoSuchFileError, NotTrackedError, NoRemoteError, UnknownRemoteError.
    """
    with _reader(path, repo, rev, remote, config, remote_config) as (reader, inside):
        return reader.url(inside)


def all_branches(repo: str | None = None) -> list[str]:
    """Returns the names of all branches."""
    with _opened(repo) as repository:
        return list(repository.git.branches()) if repository.git is not None else []


def all_tags(repo: str | None = None) -> list[str]:
    """Returns the names of all tags."""
    with _opened(repo) as repository:
        return list(repository.git.tags()) if repository.git is not None else []


def all_commits(repo: str | None = None) -> list[str]:
    """Returns the ids of all commits that a branch or tag leads to."""
    with _opened(repo) as repository:
        return repository.git.all_commits() if repository.git is not None else []


def params_show(
    *targets: str,
    repo: str | None = None,
    stages: Targets | None = None,
    rev: str | None = None,
    deps: bool = False,
    config: Config = None,
) -> dict[str, Any]:
    """Returns the parameters of all files in one mapping; a name that several files have is `file:name` for each.

    Args:
        targets: only these files, relative to the root.
        stages: only what these stages name.
        deps: only what some stage names.

    Raises: ValuesMissingError, ValuesUnreadableError.
    """
    from kist.repo.declared import Declarations
    from kist.repo.params import collect_params, params_reader
    from kist.repo.reading import named_params

    wanted = None if stages is None else set(_listed(stages))

    def look(view: View) -> dict[str, FileValues]:
        declared = [] if targets else Declarations().of(view)
        if wanted is not None:
            declared = named_params(view, wanted)
        return collect_params(
            view, declared, params_reader(), targets=targets, only_of_stages=deps or wanted is not None
        )

    return _merged(look, repo, rev, config, is_shown=False)


def metrics_show(
    *targets: str, repo: str | None = None, rev: str | None = None, config: Config = None
) -> dict[str, Any]:
    """Returns the metrics of all files in one mapping; a name that several files have is `file:name` for each.

    Args: targets: only these files, relative to the root.

    Raises: ValuesMissingError, ValuesUnreadableError.
    """
    from kist.repo.declared import Declarations
    from kist.repo.metrics import collect_metrics, metrics_reader

    def look(view: View) -> dict[str, FileValues]:
        declared = [] if targets else Declarations().of(view)
        return collect_metrics(view, declared, metrics_reader(), targets=targets)

    return _merged(look, repo, rev, config, is_shown=True)


def _merged(
    look: Callable[[View], dict[str, FileValues]],
    repo: str | None,
    rev: str | None,
    config: Config,
    *,
    is_shown: bool,
) -> dict[str, Any]:
    """Args: is_shown: files are named as one would type them here, as DVC names those of metrics."""
    from collections import Counter

    from kist.repo.views import Views, named_revisions

    with _opened(repo, rev=rev, config=config) as repository, Views(repository) as views:
        wanted = repository.commit or rev
        if wanted is None:
            found = look(views.workspace())
        else:
            found = {}
            for view in views.commits(list(named_revisions(repository, [wanted]))):
                found = look(view)
    for path, file in found.items():
        if file.failure is not None:
            if file.failure.kind == "FileNotFoundError":
                raise ValuesMissingError(f"cannot show the values of '{path}': {file.failure.message}")
            raise ValuesUnreadableError(f"cannot show the values of '{path}': {file.failure.message}")
    base = os.path.relpath(os.path.realpath(os.getcwd()), os.path.realpath(repository.root))
    is_here = is_shown and repo is None and not base.startswith("..")
    files = {
        os.path.relpath(path, base) if is_here else path: file.values
        for path, file in found.items()
        if isinstance(file.values, dict)
    }
    counts = Counter(name for values in files.values() for name in values)
    return {
        name if counts[name] == 1 else f"{path}:{name}": value
        for path, values in files.items()
        for name, value in values.items()
    }


def exp_save(name: str | None = None, force: bool = False, include_untracked: Targets | None = None) -> str:
    """Makes an experiment of the workspace as it is; returns its name.

    Args:
        force: replace an experiment of this name.
        include_untracked: paths that belong to it although Git does not track them.
    """
    from kist.repo.exp_run import save_experiment

    with _here(None) as repository:
        untracked = _listed(include_untracked or ())
        return save_experiment(repository, (), name=name, force=force, untracked=untracked).name


def repro(
    targets: Targets = (),
    *,
    repo: str | None = None,
    force: bool = False,
    downstream: bool = False,
    single: bool = False,
    pull: bool = False,
    allow_missing: bool = False,
    keep_going: bool = False,
    dry: bool = False,
) -> ReproResult:
    """Runs the stages that changed, as `kist repro`; returns what ran and what did not have to.

    Args:
        targets: stages, metafiles or outputs; none: all stages of `dvc.yaml` at the root.
        force: run stages that did not change too.
        downstream: the targets, and all that depends on them.
        single: only the targets, without what they depend on.
        pull: fetch data that is missing.
        allow_missing: data that is merely missing is no change.
        keep_going: after a failure go on with what does not depend on it.
        dry: run nothing.

    Raises: ReproError: a stage failed. And what speaks against the targets or the metafiles.
    """
    from kist.repo.repro import KEEP_GOING, STOP, ReproOptions
    from kist.repo.repro import repro as run
    from kist.repo.repro_plan import Scope

    options = ReproOptions(
        scope=Scope(single=single, downstream=downstream),
        force=force,
        allow_missing=allow_missing,
        pull=pull,
        on_error=KEEP_GOING if keep_going else STOP,
        dry=dry,
    )
    with _here(repo) as repository:
        result = run(repository, _listed(targets), options, lambda event: None)
    if result.error is not None:
        raise result.error
    return result


def add(targets: Targets, *, repo: str | None = None) -> list[str]:
    """Tracks files or directories and stores them in the cache, as `kist add`; returns the files for `git add`."""
    from kist.repo.add import AddOptions
    from kist.repo.add import add as run

    with _here(repo) as repository:
        return list(run(repository, _listed(targets), AddOptions()).to_stage)


def push(targets: Targets = (), *, repo: str | None = None, remote: str | None = None) -> int:
    """Sends data to a remote, as `kist push`; returns how many objects went. Raises: TransferFailedError."""
    from kist.repo.push import push as run

    with _here(repo) as repository:
        return _moved("push", run(repository, _listed(targets), remote=remote)[0])


def fetch(targets: Targets = (), *, repo: str | None = None, remote: str | None = None) -> int:
    """Gets data into the cache, as `kist fetch`; returns how many objects came. Raises: TransferFailedError."""
    from kist.repo.fetch import fetch as run

    with _here(repo) as repository:
        return _moved("fetch", run(repository, _listed(targets), remote=remote)[0])


def pull(targets: Targets = (), *, repo: str | None = None, remote: str | None = None) -> int:
    """Gets data into the workspace, as `kist pull`; returns how many objects came.

    Raises: TransferFailedError, and what speaks against checking out.
    """
    from kist.repo.pull import pull as run

    with _here(repo) as repository:
        result = run(repository, _listed(targets), remote=remote)
        moved = _moved("pull", result.transfer)
        error = result.checkout.error(repository)
        if error is not None:
            raise error
        return moved


def _moved(verb: str, result: Any) -> int:
    if result.failed:
        path, oid, cause = result.failed[0]
        more = f", and {len(result.failed) - 1} more" if len(result.failed) > 1 else ""
        raise TransferFailedError(
            f"cannot {verb} '{path}': object '{oid}' is {cause}{more}",
            hint="run `kist fsck -c` to see what the remote lacks",
        )
    return int(result.moved)


def _listed(targets: Targets) -> list[str]:
    return [targets] if isinstance(targets, str) else list(targets)


@contextmanager
def _here(repo: str | None) -> Iterator[Repository]:
    """Gives the repository at a path, to be changed; targets are relative to its root."""
    from kist.repo.config_files import config_paths
    from kist.repo.repository import Repository, find_root

    start = os.path.abspath(repo or os.getcwd())
    root = find_root(start)
    environ = os.environ
    repository = Repository.find(root or start, config_paths=config_paths(environ, root), environ=environ)
    try:
        yield repository
    finally:
        repository.close()


@contextmanager
def _opened(
    repo: str | None,
    *,
    rev: str | None = None,
    remote: str | None = None,
    config: Config = None,
    remote_config: Mapping[str, Any] | None = None,
) -> Iterator[OtherRepository]:
    """Gives a repository to be read."""
    from kist.base.progress import SilentProgress
    from kist.repo.config_files import config_paths
    from kist.repo.elsewhere import open_repository

    cwd = os.getcwd()
    repository = open_repository(
        repo or ".",
        cwd=cwd,
        inside=None,
        user_config=config_paths(os.environ, None),
        progress=SilentProgress(),
        environ=os.environ,
        rev=rev,
    )
    if isinstance(config, str):
        with builtins.open(config, "rb") as stream:
            repository.extra = ((config, stream.read()),)
    elif config:
        repository.extra = (("config", _config_bytes(config)),)
    repository.default_remote = remote
    repository.remote_config = {name: _text(value) for name, value in (remote_config or {}).items()}
    try:
        yield repository
    finally:
        repository.close()


@contextmanager
def _reader(
    path: str,
    repo: str | None,
    rev: str | None,
    remote: str | None,
    config: Config,
    remote_config: Mapping[str, Any] | None,
) -> Iterator[tuple[Reader, str]]:
    from kist.repo.listing import path_inside
    from kist.repo.reading import Reader

    with _opened(repo, rev=rev, remote=remote, config=config, remote_config=remote_config) as repository:
        is_rev = rev is not None or repository.commit is not None
        inside = path_inside(repository.root, path, cwd=os.getcwd(), is_rev=is_rev)
        yield Reader(repository, rev=repository.commit or rev, remote=remote), inside


def _config_bytes(config: Mapping[str, Any]) -> bytes:
    """Returns a mapping in the form of a configuration file; `{"remote": {"x": {...}}}` names the remote x."""
    lines: list[str] = []
    for section, options in config.items():
        plain = {name: value for name, value in options.items() if not isinstance(value, Mapping)}
        named = {name: value for name, value in options.items() if isinstance(value, Mapping)}
        if plain:
            lines += [f"[{section}]", *(f"{name} = {_text(value)}" for name, value in plain.items())]
        for name, values in named.items():
            lines += [
                f"['{section} \"{name}\"']",
                *(f"{key} = {_text(value)}" for key, value in values.items()),
            ]
    return ("\n".join(lines) + "\n").encode()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
