"""Whether other repositories have newer commits than those that data was imported from; nothing is brought.

Not here: taking them (update). Implements docs/spec/imports.md, section 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.registry.addresses import shown
from kist.repo.collect import Stage
from kist.repo.import_data import Named, open_named

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def moved_repository(repository: Repository, stage: Stage) -> dict[str, str]:
    """Returns {"PATH (URL)": "update available"} where the revision is another commit there now, else {}.

    Raises: as `open_named`: the repository cannot be reached, or its revision is no more.
    """
    assert stage.metafile is not None
    named = Named.of(stage.metafile.deps[0])
    other, _ = open_named(repository, named, rev=named.rev, folders=[repository.abspath(stage.wdir)])
    if other.commit == named.rev_lock:
        return {}
    return {f"{named.path} ({shown(named.url)})": "update available"}
