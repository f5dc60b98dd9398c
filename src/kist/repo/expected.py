"""What a remote is expected to have: the objects that versions of data name, and that `push` sends there.

Not here: what versions there are (named), looking whether it has them (fsck). Implements docs/spec/fsck.md, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.errors import FormatError
from kist.formats.records import LEGACY_MD5, MD5
from kist.repo.named import Scope, named

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def expected_in(repository: Repository, remote: str, *, is_workspace_only: bool) -> dict[str, set[str]]:
    """Returns the files and manifests, without their members, that a remote should have: algorithm -> ids.

    What names no remote of its own belongs to the default one, and to those that no output has as its own: these are
    for copies of all. What `push` leaves out, such as data of other repositories, belongs nowhere.

    Args: is_workspace_only: what only commits name may have been removed on purpose.
    """
    items = list(named(repository, Scope(commits=not is_workspace_only), on_damage=_ignore))
    default = repository.settings.default_remote()
    is_for_all = (default is not None and default.name == remote) or all(
        item.home != remote for item in items
    )
    found: dict[str, set[str]] = {MD5: set(), LEGACY_MD5: set()}
    for item in items:
        if item.home == remote or (item.home == "" and is_for_all):
            found[item.digest.algorithm].add(item.digest.value)
    return found


def _ignore(name: str, error: FormatError) -> None:
    """Takes no notice: what cannot be read names nothing here."""
