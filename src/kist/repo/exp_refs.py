"""Which experiments there are, and which one a person means.

Reads only. Not here: the form of references (experiments.refs). Implements docs/spec/experiments.md, section 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.errors import InputError, MissingError
from kist.experiments.refs import ROOT, Experiment, by_baseline, parse_refs
from kist.git.plumbing import Plumbing
from kist.git.repository import CommitWords, GitRepository
from kist.repo.beside_git import need_git

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class NoCommitError(InputError):
    """Git has no commit yet that an experiment could be begun from."""

    code = "no-commit"
    exit_code = 255


class ExperimentMissingError(MissingError):
    """No experiment has this name."""

    code = "experiment-missing"
    exit_code = 255


class AmbiguousExperimentError(InputError):
    """Experiments of several commits have this name; the person names the commit's id or the reference."""

    code = "experiment-ambiguous"
    exit_code = 255


class Range(NamedTuple):
    """Which baselines are meant.

    Attributes:
        revs: revisions; none means HEAD.
        num: from each so many commits by first parents; negative: all.
        everything: all that have experiments.
    """

    revs: Sequence[str] = ()
    num: int = 1
    everything: bool = False


class Place(NamedTuple):
    """What the verbs of experiments work with."""

    git: GitRepository
    plumbing: Plumbing


def place_of(repository: Repository, doing: str) -> Place:
    """Returns the Git repository and its plumbing.

    Args: doing: what cannot be done without one.

    Raises: NoGitError.
    """
    git = need_git(repository, doing)
    scratch = os.path.join(repository.dvc_dir, "tmp", "kist", "index")
    return Place(git, Plumbing(git, repository.environ, scratch=scratch))


def need_head(git: GitRepository, doing: str) -> str:
    """Returns the commit that is checked out.

    Raises: NoCommitError.
    """
    head = git.head_sha()
    if head is None:
        raise NoCommitError(
            f"cannot {doing}: Git has no commit yet", hint="git add -A && git commit -m 'first commit'"
        )
    return head


def experiments_of(place: Place, remote: str | None = None) -> list[Experiment]:
    """Returns the experiments here, or of a Git remote, by baseline and name."""
    if remote is not None:
        return parse_refs(place.plumbing.remote_refs(remote, ROOT))
    return parse_refs(place.plumbing.refs(ROOT))


def in_range(place: Place, experiments: Iterable[Experiment], chosen: Range) -> dict[str, list[Experiment]]:
    """Returns baseline -> its experiments, as the range names them; baselines without any are left out.

    Raises: NoCommitError, RevisionMissingError.
    """
    found = by_baseline(experiments)
    if not chosen.everything:
        wanted = baselines(place.git, chosen)
        return {sha: found[sha] for sha in wanted if sha in found}
    known = place.plumbing.known(found)  # of a remote's experiments, or in a shallow clone, some are not here
    order = place.git.newest_first(sha for sha in found if sha in known)
    return {sha: found[sha] for sha in [*order, *(sha for sha in found if sha not in known)]}


def baselines(git: GitRepository, chosen: Range) -> list[str]:
    """Returns the commits that a range names.

    Raises: NoCommitError, RevisionMissingError.
    """
    starts = [git.resolve(rev) for rev in chosen.revs] or [need_head(git, "look for experiments")]
    return starts if chosen.num == 1 else git.first_parents(starts, chosen.num)


def find_experiment(place: Place, experiments: Sequence[Experiment], text: str) -> Experiment:
    """Returns the experiment that a person means: by name, reference, or the beginning of its commit's id.

    Raises: ExperimentMissingError, AmbiguousExperimentError.
    """
    matches = [one for one in experiments if text in (one.name, one.ref)]
    if len(matches) > 1:
        head = place.git.head_sha()
        matches = [one for one in matches if one.baseline == head] or matches
    if not matches and re.fullmatch(r"[0-9a-f]{4,64}", text):
        matches = [one for one in experiments if one.sha.startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        known = ", ".join(one.ref for one in matches)
        raise AmbiguousExperimentError(
            f"cannot tell which experiment '{text}' is: there is one of several commits",
            hint=f"name one of {known}",
        )
    near = closest(text, [one.name for one in experiments])
    raise ExperimentMissingError(
        f"cannot find experiment '{text}': there is none of this name",
        hint=f"did you mean `{near}`?" if near else shell_line("kist", "exp", "list", "-A"),
    )


def names_of(git: GitRepository, shas: Iterable[str]) -> dict[str, str]:
    """Returns what commits are called: a branch (the one that is checked out first) or a tag; others are left out."""
    wanted = set(shas)
    found: dict[str, str] = {}
    for refs in (git.branches(), git.tags()):
        for name, sha in refs.items():
            if sha in wanted and sha not in found:
                found[sha] = name
    branch, head = git.current_branch(), git.head_sha()
    if branch is not None and head in wanted:
        assert head is not None
        found[head] = branch
    return found


def newest_first(experiments: Iterable[Experiment], words: Mapping[str, CommitWords]) -> list[Experiment]:
    """Returns experiments by the time of their commits, the newest first."""

    def age(one: Experiment) -> tuple[int, str]:
        known = words.get(one.sha)
        return (-known.committed_s if known is not None else 0, one.name)

    return sorted(experiments, key=age)
