"""Sends what is at an address straight to a remote: neither the cache nor the workspace gets it.

Not here: metafiles (add_from, importing, update).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.repo.at_address import There, bring_there
from kist.repo.members import staging_path
from kist.repo.sources import Brought, Carrier
from kist.repo.transfers import open_remote
from kist.store.ingest import FileChangedError
from kist.store.loose import LooseStore, remove_staging
from kist.transfer import plan

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def send_to_remote(
    repository: Repository, there: There, carrier: Carrier, *, remote: str | None, label: str
) -> Brought:
    """Returns what was at an address, now that a remote has it.

    Args: remote: its name; None for the default.

    Raises: as `bring_there`, and what speaks against the remote.

    Holds: a manifest is on the remote only when its files are; a kill leaves a folder that the next command removes.
    """
    target, note = open_remote(repository, remote, jobs=carrier.jobs, writes=True)
    repository.notes += [note] if note else []
    passing = LooseStore(staging_path(repository))
    try:
        brought = bring_there(there, carrier._replace(store=passing, records=[]))
        done = plan.push(
            [plan.Need(label, brought.digest)],
            passing,
            target,
            workers=carrier.workers,
            progress=carrier.progress,
        )
    finally:
        remove_staging(passing.base)
        target.close()
    if done.failed:
        raise FileChangedError(
            f"cannot store '{label}' on remote '{target.name}': object {done.failed[0][1]} changed on its way",
            hint="try again",
        )
    return brought
