"""Makes an experiment of what is in the workspace: its tree, its commit, its reference.

Not here: running stages (exp_run). Implements docs/spec/experiments.md, sections 1.2 to 1.4 and 2.3 to 2.5.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.experiments.names import new_name
from kist.experiments.refs import Experiment, check_name, ref_of
from kist.git.plumbing import RefChange
from kist.repo.beside_git import offset_of
from kist.repo.collect import LOCK_FILE, PIPELINE_FILE, Stage, WorkspaceSource, read_stages
from kist.repo.exp_refs import Place
from kist.repo.targets import dependencies

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class NameTakenError(InputError):
    """There is an experiment of this name. The person takes another, or `--force`."""

    code = "experiment-name-taken"
    exit_code = 255


class Naming(NamedTuple):
    """What an experiment is to be called.

    Attributes:
        replaces: the commit that its reference names now; None where there is none.
    """

    name: str
    baseline: str
    replaces: str | None


class Snapshot(NamedTuple):
    """The stages of the workspace, and the files that belong to an experiment, relative to the root.

    Attributes:
        metafiles: metafiles, lock files, and the `.gitignore` beside outputs.
        files: those, and what a run reads and writes that Git may have.
    """

    stages: list[Stage]
    metafiles: set[str]
    files: set[str]


def choose_name(
    place: Place, baseline: str, name: str | None, *, force: bool, again: Sequence[str]
) -> Naming:
    """Returns the name of a new experiment.

    Args:
        name: None: one is made up.
        force: one of this name is replaced.
        again: the command that would replace it.

    Raises: BadNameError, NameTakenError.
    """
    prefix = ref_of(baseline, "")
    taken = {ref[len(prefix) :]: sha for ref, sha in place.plumbing.refs(prefix).items()}
    if name is None:
        return Naming(new_name(taken), baseline, None)
    check_name(name)
    if name in taken and not force:
        raise NameTakenError(
            f"cannot call an experiment '{name}': there is one of this commit already",
            hint=shell_line(*again, "--force", "--name", name),
        )
    return Naming(name, baseline, taken.get(name))


def look(repository: Repository) -> Snapshot:
    """Returns the stages of the workspace, and what of them belongs to an experiment.

    Raises: FormatError.
    """
    source = WorkspaceSource(repository)
    stages: list[Stage] = []
    metafiles: set[str] = set()
    files: set[str] = set()
    for path in source.metafiles():
        found = read_stages(source, path)
        for stage in found:
            for out in stage.outs:
                if out.is_inside:
                    source.prune(out.path)
            metafiles.update(_beside(stage))
            files.update(_files_of(stage))
        metafiles.add(path)
        if posixpath.basename(path) == PIPELINE_FILE:
            files.update(_top_files(source.read(path) or b"", path))
        stages += found
    metafiles = {path for path in metafiles if os.path.lexists(repository.abspath(path))}
    # What one stage reads and another one makes is data, whether or not a line keeps it out of Git.
    data = tuple(out.path for stage in stages for out in stage.outs if out.output.use_cache)
    files = {path for path in files if not _is_at_or_below(path, data)}
    files = {path for path in files if os.path.lexists(repository.abspath(path))}
    return Snapshot(stages, metafiles, metafiles | files)


def _is_at_or_below(path: str, places: Collection[str]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in places)


def _beside(stage: Stage) -> Iterator[str]:
    if stage.name is not None:
        yield posixpath.join(posixpath.dirname(stage.file), LOCK_FILE)
    for out in stage.outs:
        if out.is_inside:
            yield posixpath.join(posixpath.dirname(out.path), ".gitignore")


def _files_of(stage: Stage) -> Iterator[str]:
    for out in stage.outs:
        if out.is_inside and not out.output.use_cache:
            yield out.path
    if stage.resolved is not None:
        yield from (path for path in map(stage.resolved.rooted, stage.resolved.params) if _is_inside(path))
        yield from dependencies(stage)


def _top_files(data: bytes, path: str) -> Iterator[str]:
    """Yields what the top of a `dvc.yaml` names: parameters, metrics, plots."""
    from kist.formats.dvcyaml import parse_dvcyaml  # many repositories have no pipeline

    pipeline = parse_dvcyaml(data, name=path)
    names: list[Any] = [*pipeline.params, *pipeline.metrics]
    for plot in pipeline.plots:
        for name, options in (plot if isinstance(plot, dict) else {plot: None}).items():
            written = options.get("y") if isinstance(options, dict) else None
            names += list(written) if isinstance(written, dict) else [name]
    for name in names:
        if isinstance(name, str) and "://" not in name:
            found = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
            if _is_inside(found):
                yield found


def _is_inside(path: str) -> bool:
    return not path.startswith(("../", "/")) and path not in ("", ".", "..") and "://" not in path


def record(
    repository: Repository,
    place: Place,
    naming: Naming,
    *,
    files: Collection[str],
    entries: dict[str, Any],
    message: str | None,
    untracked: Iterable[str] = (),
    made: Callable[[str], None] | None = None,
) -> Experiment:
    """Makes the commit and its reference. The caller holds the lock.

    Args:
        files: of `look`.
        entries: what the message's hash is of: stage -> its entry of the lock.
        untracked: paths relative to the root that belong to it even where Git ignores them.
        made: told of the commit before a reference names it.

    Raises: NameTakenError, GitFailedError.

    Holds: the reference is there with all that it names, or it is not there.
    """
    offset = offset_of(repository, place.git)
    with place.plumbing.index() as index:
        index.take_changes()
        index.add(offset + path for path in files)
        index.add((offset + path for path in untracked), ignored=True)
        tree = index.write()
    sha = place.plumbing.commit(tree, [naming.baseline], message or message_of(entries))
    if made is not None:
        made(sha)
    ref = ref_of(naming.baseline, naming.name)
    place.plumbing.change_refs([RefChange(ref, sha, naming.replaces or "")])
    return Experiment(naming.name, naming.baseline, sha)


def message_of(entries: dict[str, Any]) -> str:
    """Returns the message of an experiment that nobody described. Source: DVC 3.67.1."""
    import json

    text = json.dumps(entries, sort_keys=True, default=str)
    return f"dvc: commit experiment {hashlib.sha256(text.encode()).hexdigest()}"


def lock_entries(stages: Iterable[Stage]) -> dict[str, Any]:
    """Returns the entries of the lock by the names of stages."""
    from kist.formats.lockfile import stage_value

    return {
        stage.name: stage_value(stage.locked)
        for stage in stages
        if stage.name is not None and stage.locked is not None
    }
