"""What stages ask of Kist in `meta: {kist: ...}`, which DVC passes over, and how much there is of what they need.

Not here: who waits for whom (pipeline.schedule). Implements docs/spec/repro.md, section 6,
and docs/spec/each.md, section 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.errors import FormatError, InputError

if TYPE_CHECKING:
    from kist.pipeline.resolve import ResolvedStage
    from kist.repo.repository import Repository

NAME = re.compile(r"[a-z][a-z0-9-]*")
_KEYS = ("needs", "each")
_NONE: Mapping[str, int] = {}


class KistMetaError(FormatError):
    """`meta: {kist: ...}` of a stage asks for something that there is not. The person edits `dvc.yaml`."""

    code = "stage-meta"


class CapacityError(InputError):
    """How much there is of a resource is no whole number of at least 0. The person corrects Git's configuration."""

    code = "capacity-invalid"
    exit_code = 255


class Asked(NamedTuple):
    """What a stage asks for.

    Attributes:
        needs: how much of what it takes while it runs.
        each: the dependency, as written, whose items its command takes one by one.
    """

    needs: Mapping[str, int] = _NONE
    each: str | None = None


def asked_of(resolved: ResolvedStage | None) -> Asked:
    """Returns what a stage asks for.

    Raises: KistMetaError.
    """
    meta = resolved.meta if resolved is not None else None
    own = meta.get("kist") if isinstance(meta, dict) else None
    if resolved is None or own is None:
        return Asked()
    if not isinstance(own, dict):
        raise _wrong(
            resolved, "`meta: kist:` is no mapping", "write meta: {kist: {needs: {gpu: 1}}} into dvc.yaml"
        )
    for key in own:
        if key not in _KEYS:
            guess = closest(str(key), _KEYS)
            raise _wrong(resolved, f"`meta: kist:` has no key '{key}'", f"write `{guess or 'needs'}`")
    each = own.get("each")
    if each is not None and each not in resolved.deps:
        raise _wrong(
            resolved, f"`each` names '{each}', which is no dependency", f"add '{each}' to the stage's `deps`"
        )
    return Asked(_needs(resolved, own.get("needs", {})), each)


def _needs(resolved: ResolvedStage, value: Any) -> Mapping[str, int]:
    hint = "write meta: {kist: {needs: {gpu: 1}}} into dvc.yaml"
    if not isinstance(value, dict):
        raise _wrong(resolved, "`needs` is no mapping", hint)
    for name, count in value.items():
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            raise _wrong(
                resolved, f"a resource cannot be called '{name}'", "use small letters, digits and '-'"
            )
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise _wrong(resolved, f"it needs {count!r} of '{name}', which is no whole number", hint)
    return value


def _wrong(resolved: ResolvedStage, cause: str, hint: str) -> KistMetaError:
    return KistMetaError(f"cannot use '{resolved.address}': {cause}", hint=hint)


def capacities(repository: Repository, given: Mapping[str, int]) -> dict[str, int]:
    """Returns how much there is of each resource that has a number: `kist.needs.NAME` of Git, or what was given.

    Raises: CapacityError, GitError.
    """
    found: dict[str, int] = {}
    git = repository.git
    for name, text in git.settings_below("kist.needs.") if git is not None else ():
        if not text.isdecimal():
            raise CapacityError(
                f"cannot use Git's setting 'kist.needs.{name}': '{text}' is no whole number",
                hint=shell_line("git", "config", f"kist.needs.{name}", "1"),
            )
        found[name] = int(text)
    return {**found, **given}
