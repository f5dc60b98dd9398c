"""`exp push` and `exp pull`: experiments go to and come from a Git remote, their data to and from a remote of ours.

Not here: objects (transfers), references (git.plumbing). Implements docs/spec/experiments.md, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.experiments.refs import Experiment
from kist.repo.beside_git import noting
from kist.repo.collect import collect_commits
from kist.repo.exp_refs import Place, Range, experiments_of, find_experiment, in_range, place_of
from kist.repo.targets import all_outputs
from kist.repo.transfers import TransferResult, transfer

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class DivergedError(InputError):
    """The other side has another experiment of this name. The person says which one counts."""

    code = "experiment-diverged"
    exit_code = 255


class ShareOptions(NamedTuple):
    """What is to travel besides the references.

    Attributes:
        remote: of ours; None: the default one.
        with_data: False with `--no-cache`.
        with_runs: the history of runs too.
        force: replace other experiments of the same name.
    """

    remote: str | None = None
    with_data: bool = True
    with_runs: bool = False
    force: bool = False
    jobs: int | None = None


class Shared(NamedTuple):
    """What travelled.

    Attributes:
        moved: experiments that the other side did not have.
        same: those that it had.
        data: None where no data was to travel.
        notes: lines to tell the person.
    """

    moved: list[Experiment]
    same: list[Experiment]
    data: TransferResult | None
    notes: list[str]


def push_experiments(
    repository: Repository, git_remote: str, names: Sequence[str], chosen: Range, options: ShareOptions
) -> Shared:
    """Sends experiments: those that are named, else those of the range.

    Raises: ExperimentMissingError, DivergedError, GitRefusedError, and what a remote raises.

    Holds: a reference on the Git remote has its data on the remote (without `--no-cache`).
    """
    place = place_of(repository, "push experiments")
    wanted = _chosen(place, experiments_of(place), names, chosen)
    there = {one.ref: one.sha for one in experiments_of(place, git_remote)} if wanted else {}
    moved, same = _sorted(wanted, there, options, "push", git_remote)
    data, notes = _transfer(repository, wanted, options, is_push=True)
    if moved and (data is None or not data.failed):
        mark = "+" if options.force else ""
        place.plumbing.push(git_remote, [f"{mark}{one.sha}:{one.ref}" for one in moved])
    return Shared(moved if data is None or not data.failed else [], same, data, notes)


def pull_experiments(
    repository: Repository, git_remote: str, names: Sequence[str], chosen: Range, options: ShareOptions
) -> Shared:
    """Brings experiments: those that are named, else those of the range; then their data into the cache.

    Raises: as `push_experiments`.
    """
    place = place_of(repository, "pull experiments")
    wanted = _chosen(place, experiments_of(place, git_remote), names, chosen)
    here = {one.ref: one.sha for one in experiments_of(place)}
    moved, same = _sorted(wanted, here, options, "pull", git_remote)
    if moved:
        mark = "+" if options.force else ""
        place.plumbing.fetch(git_remote, [f"{mark}{one.ref}:{one.ref}" for one in moved])
    data, notes = _transfer(repository, wanted, options, is_push=False)
    return Shared(moved, same, data, notes)


def _chosen(
    place: Place, present: Sequence[Experiment], names: Sequence[str], chosen: Range
) -> list[Experiment]:
    if names:
        return list(dict.fromkeys(find_experiment(place, present, name) for name in names))
    return [one for own in in_range(place, present, chosen).values() for one in own]


def _sorted(
    wanted: Sequence[Experiment],
    there: dict[str, str],
    options: ShareOptions,
    verb: str,
    git_remote: str,
) -> tuple[list[Experiment], list[Experiment]]:
    """Returns what the other side lacks, and what it has."""
    other = [one for one in wanted if there.get(one.ref, one.sha) != one.sha]
    if other and not options.force:
        listed = ", ".join(f"'{one.name}'" for one in other)
        names = ["--force", git_remote, *(one.name for one in other)]
        side = f"Git remote '{git_remote}'" if verb == "push" else "repository"
        raise DivergedError(
            f"cannot {verb} {listed}: the {side} has another experiment of this name",
            hint=shell_line("kist", "exp", "push", *names)
            if verb == "push"
            else shell_line("kist", "exp", "pull", *names),
        )
    moved = [one for one in wanted if there.get(one.ref) != one.sha]
    return moved, [one for one in wanted if there.get(one.ref) == one.sha]


def _transfer(
    repository: Repository, experiments: Sequence[Experiment], options: ShareOptions, *, is_push: bool
) -> tuple[TransferResult | None, list[str]]:
    if not options.with_data or not experiments:
        return None, repository.take_notes()
    with repository.lock():
        revs = list(dict.fromkeys(one.sha for one in experiments))
        items = all_outputs(collect_commits(repository, revs, on_damage=noting(repository)))
        unique = {(item.path, item.out.output.digest): item for item in items}
        kept = [item for item in unique.values() if item.out.output.digest is not None]
        if not kept and not options.with_runs:
            return None, repository.take_notes()
        result, notes = transfer(repository, kept, remote=options.remote, is_push=is_push, jobs=options.jobs)
        if options.with_runs:
            from kist.repo.runcache import copy_runs  # few ask for it

            copy_runs(repository, options.remote, is_push=is_push)
        return result, notes
