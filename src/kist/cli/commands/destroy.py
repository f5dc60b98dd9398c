"""`kist destroy`: takes the repository's metafiles and cache away, and keeps the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.errors import UnsavedError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


class NotConfirmedError(UnsavedError):
    """The person did not agree, or there was nobody to ask. Nothing was touched."""

    code = "not-confirmed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's option of `destroy`."""
    parser.add_argument("-f", "--force", action="store_true", help="Do not ask.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when everything is gone."""
    from kist.repo.destroy import destroy, loss

    repository = context.repository()
    if not args.force:
        from kist.cli.render_progress import human_size

        lost = loss(repository)
        context.console.note(
            f"This removes {lost.metafiles} metafiles, the configuration, and the cache below '.dvc' with "
            f"{lost.objects} objects ({human_size(lost.size_bytes)}); other versions of the data go with it."
        )
        if not context.console.confirm("Are you sure you want to continue?"):
            raise NotConfirmedError(
                "cannot destroy the repository: not confirmed", hint="kist destroy --force"
            )
    destroy(repository)
    return 0
