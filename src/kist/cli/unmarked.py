"""Commands that also work in a folder that is no repository of ours: `metrics`, `params`, `plots`, as in DVC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.errors import NotARepositoryError

if TYPE_CHECKING:
    from kist.cli.context import Context
    from kist.repo.repository import Repository


def repository_or_folder(context: Context) -> Repository:
    """Returns the repository around the current folder; without one, that of Git or the folder itself as if it were.

    Reading it is all that may be done then.
    """
    try:
        return context.repository()
    except NotARepositoryError:
        from kist.git.locate import find_paths
        from kist.repo.repository import Repository

        paths = find_paths(context.cwd)
        root = paths.top if paths is not None else context.cwd
        return Repository(
            root,
            cwd=context.cwd,
            config_paths=context.config_paths(),
            progress=context.progress,
            environ=context.environ,
        )
