"""Targets inside of tracked directories that the directories do not have: asked for, and not done (rule R10).

Not here: what targets mean (targets). Implements docs/spec/targets.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.errors import FormatError, MissingError
from kist.formats.manifest import parse_manifest
from kist.store.loose import ObjectCorruptError, ObjectMissingError
from kist.transfer.plan import part

if TYPE_CHECKING:
    from kist.repo.repository import Repository
    from kist.repo.targets import Selected


class PartMissingError(MissingError):
    """A target is inside of a tracked directory, and no such file or folder is in its list of files."""

    code = "target-part-missing"


def absent_parts(repository: Repository, items: Iterable[Selected]) -> list[tuple[str, str]]:
    """Returns (path, the directory's path) of targets that none of the versions that are meant has.

    What cannot be told, for a manifest cannot be read, is left to those who report that.
    """
    found: dict[tuple[str, str], bool] = {}
    for item in items:
        digest = item.out.output.digest
        if not item.inner or digest is None or not digest.is_dir:
            continue
        try:
            data = repository.store_for(digest.algorithm).read(digest.value)
            is_there = bool(part(parse_manifest(data, name=digest.value), item.inner).folders)
        except (ObjectMissingError, ObjectCorruptError, FormatError):
            is_there = True
        key = (item.path, item.out.path)
        found[key] = found.get(key, False) or is_there
    return [key for key, is_there in found.items() if not is_there]


def absence(repository: Repository, absent: Sequence[tuple[str, str]], verb: str) -> PartMissingError:
    """Returns the error for targets that are absent; at least one."""
    path, directory = absent[0]
    more = f", and {len(absent) - 1} more" if len(absent) > 1 else ""
    shown = repository.shown(directory)
    return PartMissingError(
        f"cannot {verb} '{repository.shown(path)}': '{shown}' has no such file or folder{more}",
        hint=shell_line("kist", "list", ".", shown),
    )
