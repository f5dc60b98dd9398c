"""The references of experiments, between text and records. Pure. Implements docs/spec/experiments.md, section 1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kist.errors import InputError

ROOT = "refs/exps/"
APPLY_STASH = "refs/exps/apply/stash"
APPLY_HEAD = "refs/exps/apply/ORIG_HEAD"

_REF = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38}(?:[0-9a-f]{24})?)/([^/]+)")
# Source: git-check-ref-format(1), for one component.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\/]|\.\.|@\{")


class BadNameError(InputError):
    """Git allows no such name in a reference. The person takes another one."""

    code = "experiment-name-invalid"
    exit_code = 255


class Experiment(NamedTuple):
    """One experiment: its name, the commit that it was begun from, and its own."""

    name: str
    baseline: str
    sha: str

    @property
    def ref(self) -> str:
        """Its reference."""
        return ref_of(self.baseline, self.name)


def ref_of(baseline: str, name: str) -> str:
    """Returns the reference of an experiment."""
    return f"{ROOT}{baseline[:2]}/{baseline[2:]}/{name}"


def under(baseline: str) -> str:
    """Returns what the references of all experiments of one commit begin with."""
    return ref_of(baseline, "")


def parse_refs(refs: Mapping[str, str]) -> list[Experiment]:
    """Returns the experiments among references (full name -> commit), in their order; others are left out."""
    found = []
    for ref, sha in refs.items():
        match = _REF.fullmatch(ref)
        if match is not None:
            found.append(Experiment(match[3], match[1] + match[2], sha))
    return found


def by_baseline(experiments: Iterable[Experiment]) -> dict[str, list[Experiment]]:
    """Returns experiments by the commit that they were begun from, both in their order."""
    found: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        found.setdefault(experiment.baseline, []).append(experiment)
    return found


def check_name(name: str) -> None:
    """Raises BadNameError if an experiment cannot be called so."""
    is_bad = not name or name.startswith((".", "-")) or name.endswith((".", ".lock")) or name == "@"
    if is_bad or _FORBIDDEN.search(name):
        raise BadNameError(
            f"cannot call an experiment '{name}': Git allows no such name",
            hint="use letters, digits, '-', '_' and '.'",
        )
