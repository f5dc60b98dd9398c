"""`exp branch`, `remove`, `rename`, `clean`: references of experiments come, go, and change names.

Not here: running, applying, sending. Implements docs/spec/experiments.md, section 4.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.experiments.refs import Experiment, check_name, ref_of
from kist.git.plumbing import RefChange
from kist.git.porcelain import Porcelain
from kist.repo.exp_record import NameTakenError
from kist.repo.exp_refs import Place, Range, experiments_of, find_experiment, in_range, place_of

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class BranchExistsError(InputError):
    """There is a branch of this name. The person takes another one."""

    code = "experiment-branch-exists"
    exit_code = 255


class NothingChosenError(InputError):
    """Nothing says which experiments are meant."""

    code = "experiment-not-chosen"
    exit_code = 255


def branch_experiment(repository: Repository, name: str, branch: str | None) -> tuple[Experiment, str]:
    """Makes a branch of an experiment; returns both. Without a name it is the experiment's with `-branch`.

    Raises: ExperimentMissingError, BadTagNameError, BranchExistsError.
    """
    place = place_of(repository, "make a branch")
    found = find_experiment(place, experiments_of(place), name)
    branch = branch or f"{found.name}-branch"
    porcelain = Porcelain(place.git, repository.environ, inside="exp")
    porcelain.check_name(branch, "heads")
    ref = f"refs/heads/{branch}"
    if porcelain.has_commit(ref) is not None:
        raise BranchExistsError(
            f"cannot make branch '{branch}': there is one already",
            hint=shell_line("kist", "exp", "branch", found.name, "NAME"),
        )
    place.plumbing.change_refs([RefChange(ref, found.sha, "")])
    return found, branch


def remove_experiments(
    repository: Repository,
    names: Sequence[str],
    *,
    chosen: Range | None = None,
    keep: bool = False,
    remote: str | None = None,
) -> list[Experiment]:
    """Removes experiments, all or none; returns them.

    Args:
        chosen: those of these baselines; with `keep`, or without names.
        keep: all but those that are named.
        remote: of a Git remote.

    Raises: ExperimentMissingError, NothingChosenError, GitFailedError, GitRefusedError.
    """
    place = place_of(repository, "remove experiments")
    present = experiments_of(place, remote)
    gone = _chosen(place, present, names, chosen, keep=keep)
    if remote is not None:
        if gone:
            place.plumbing.push(remote, [f":{one.ref}" for one in gone])
        return gone
    with repository.lock():
        place.plumbing.change_refs(RefChange(one.ref, None, one.sha) for one in gone)
    return gone


def _chosen(
    place: Place, present: Sequence[Experiment], names: Sequence[str], chosen: Range | None, *, keep: bool
) -> list[Experiment]:
    named = list(dict.fromkeys(find_experiment(place, present, name) for name in names))
    if chosen is not None:
        ranged = [one for own in in_range(place, present, chosen).values() for one in own]
        if keep:
            return [one for one in present if one not in ranged and one not in named]
        return list(dict.fromkeys([*named, *ranged]))
    if not names:
        raise NothingChosenError(
            "cannot remove experiments: none are named", hint="kist exp remove --all-commits"
        )
    return [one for one in present if one not in named] if keep else named


def rename_experiment(
    repository: Repository, old: str, new: str, *, force: bool = False, remote: str | None = None
) -> Experiment:
    """Gives an experiment another name; returns it as it was.

    Raises: ExperimentMissingError, BadNameError, NameTakenError.
    """
    place = place_of(repository, "rename an experiment")
    check_name(new)
    present = experiments_of(place, remote)
    found = find_experiment(place, present, old)
    if found.name == new:
        return found
    other = next((one for one in present if one.baseline == found.baseline and one.name == new), None)
    if other is not None and not force:
        raise NameTakenError(
            f"cannot call experiment '{old}' '{new}': there is one of this name",
            hint=shell_line("kist", "exp", "rename", "--force", old, new),
        )
    ref = ref_of(found.baseline, new)
    if remote is not None:
        _fetch_missing(place, remote, [found])
        place.plumbing.push(remote, [f"+{found.sha}:{ref}", f":{found.ref}"])
        return found
    with repository.lock():
        place.plumbing.change_refs(
            [
                RefChange(ref, found.sha, other.sha if other is not None else ""),
                RefChange(found.ref, None, found.sha),
            ]
        )
    return found


def _fetch_missing(place: Place, remote: str, experiments: Iterable[Experiment]) -> None:
    wanted = list(experiments)
    known: Collection[str] = place.plumbing.known(one.sha for one in wanted)
    missing = [one.ref for one in wanted if one.sha not in known]
    if missing:
        place.plumbing.fetch(remote, missing)


def clean_experiments(repository: Repository) -> None:
    """Removes temporary files of experiments that nobody uses any more."""
    place_of(repository, "clean up")
    folder = os.path.join(repository.dvc_dir, "tmp", "kist", "index")
    with repository.lock():
        shutil.rmtree(folder, ignore_errors=True)
