"""Whether other repositories have newer data than what was imported from them; nothing is brought.

Not here: taking it (update). Implements docs/spec/imports.md, section 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.registry.addresses import shown
from kist.repo.collect import Stage
from kist.repo.import_data import Named, find_named
from kist.repo.listing import PathMissingError
from kist.repo.sources import same_content

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def moved_repository(repository: Repository, stage: Stage) -> dict[str, str]:
    """Returns {"PATH (URL)": "update available"} where the path has other content there now, else {}.

    Raises: as `find_named`: the repository cannot be reached, or its revision is no more.
    """
    assert stage.metafile is not None
    named = Named.of(stage.metafile.deps[0])
    label = f"{named.path} ({shown(named.url)})"
    now = find_named(repository, named, rev=named.rev, stage=stage)
    if now.commit == named.rev_lock:
        return {}
    if named.rev_lock is None:
        return {label: "update available"}
    try:
        then = find_named(repository, named, rev=named.rev_lock, stage=stage)
    except PathMissingError:
        return {label: "update available"}
    return {} if same_content(then, now) else {label: "update available"}
