"""`exp diff`: how the metrics and parameters of two experiments or revisions differ.

Reads only. Not here: reading and comparing (metrics, params, compare.values).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.experiments.refs import Experiment
from kist.repo.exp_refs import ExperimentMissingError, Place, experiments_of, find_experiment, place_of
from kist.repo.metrics import Difference, diff_metrics
from kist.repo.params import diff_params
from kist.repo.views import WORKSPACE

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class ExperimentDifference(NamedTuple):
    """How two versions differ."""

    metrics: Difference
    params: Difference


def diff_experiments(
    repository: Repository,
    old: str | None,
    new: str | None,
    *,
    everything: bool = False,
    only_of_stages: bool = False,
) -> ExperimentDifference:
    """Returns how two versions differ: experiments or revisions; without names HEAD and the workspace.

    Args:
        everything: also what is equal.
        only_of_stages: only parameters that stages name.

    Raises: NoGitError, RevisionMissingError.
    """
    place = place_of(repository, "compare experiments")
    present = experiments_of(place) if old is not None or new is not None else []
    first = _revision(place, present, old or "HEAD")
    second = _revision(place, present, new or WORKSPACE)
    return ExperimentDifference(
        diff_metrics(repository, first, second, everything=everything),
        diff_params(repository, first, second, everything=everything, only_of_stages=only_of_stages),
    )


def _revision(place: Place, present: Sequence[Experiment], text: str) -> str:
    if text in ("HEAD", WORKSPACE):
        return text
    try:
        return find_experiment(place, present, text).sha
    except ExperimentMissingError:
        return place.git.resolve(text)
