"""`exp run` in the workspace, and `exp save`: an experiment of what is there.

Not here: running stages (repro), the commit (exp_record). Implements docs/spec/experiments.md, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from kist.experiments.refs import Experiment
from kist.repo.exp_params import write_params
from kist.repo.exp_record import Naming, choose_name, lock_entries, look, record
from kist.repo.exp_refs import need_head, place_of
from kist.repo.repro import ReproOptions, ReproResult, repro
from kist.repo.repro_events import Tell
from kist.repo.targets import shown_stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from kist.experiments.overrides import Override
    from kist.repo.repository import Repository


class RunRequest(NamedTuple):
    """What an experiment is to be.

    Attributes:
        overrides: parameters that change first.
        force: replace one of the same name.
    """

    name: str | None = None
    overrides: Sequence[Override] = ()
    message: str | None = None
    force: bool = False


class RunResult(NamedTuple):
    """What came of it; `experiment` is None with `--dry`."""

    experiment: Experiment | None
    repro: ReproResult


def run_experiment(
    repository: Repository,
    targets: Sequence[str],
    request: RunRequest,
    options: ReproOptions,
    tell: Tell,
    named: Callable[[str], None],
) -> RunResult:
    """Runs an experiment in the workspace.

    Args: named: told what it is called, before anything changes.

    Raises: KistError, OSError: there is no new experiment then; what finished is recorded as by `repro`.

    Holds: docs/spec/experiments.md, section 2.
    """
    place = place_of(repository, "run an experiment")
    baseline = need_head(place.git, "run an experiment")
    if not options.dry:
        check_identity(repository)
    again = ["kist", "exp", "run"]
    naming = choose_name(place, baseline, request.name, force=request.force, again=again)
    named(naming.name)
    if request.overrides:
        with repository.lock():
            write_params(repository, request.overrides)
    with telling(repository, naming):
        result = repro(repository, targets, options, tell)
    if options.dry or result.error is not None:
        return RunResult(None, result)
    with repository.lock():
        snapshot = look(repository)
        ran = [stage for stage in snapshot.stages if shown_stage(repository, stage) in set(result.ran)]
        experiment = record(
            repository,
            place,
            naming,
            files=snapshot.files,
            entries=lock_entries(ran),
            message=request.message,
        )
    return RunResult(experiment, result)


@contextmanager
def telling(repository: Repository, naming: Naming) -> Iterator[None]:
    """While entered, commands of stages see which experiment they are part of."""
    before = repository.environ
    own = {"DVC_EXP_NAME": naming.name, "DVC_EXP_BASELINE_REV": naming.baseline}
    repository.environ = {**before, **own}
    try:
        yield
    finally:
        repository.environ = before


def check_identity(repository: Repository) -> None:
    """Raises IdentityMissingError if Git does not know who makes the commit; better now than after hours of work."""
    from kist.git.porcelain import Porcelain  # looking needs none

    assert repository.git is not None
    Porcelain(repository.git, repository.environ, inside="exp").check_identity()


def save_experiment(
    repository: Repository,
    targets: Sequence[str],
    *,
    name: str | None = None,
    force: bool = False,
    recursive: bool = False,
    untracked: Sequence[str] = (),
    message: str | None = None,
) -> Experiment:
    """Makes an experiment of the workspace as it is; outputs are stored as by `commit --force`.

    Args: untracked: paths that belong to it although Git does not track them.

    Raises: KistError, OSError.
    """
    from kist.repo.commit import commit

    place = place_of(repository, "save an experiment")
    baseline = need_head(place.git, "save an experiment")
    check_identity(repository)
    naming = choose_name(place, baseline, name, force=force, again=["kist", "exp", "save"])
    commit(repository, targets, force=True, recursive=recursive, relink=False, confirm=lambda question: True)
    with repository.lock():
        snapshot = look(repository)
        return record(
            repository,
            place,
            naming,
            files=snapshot.metafiles,
            entries=lock_entries(snapshot.stages),
            message=message,
            untracked=[repository.rel(path) for path in untracked],
        )
