"""`kist commit`: stores changes of tracked data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `commit`."""
    from kist.cli.transfer_options import add_target_options

    add_target_options(parser, targets="Outputs, metafiles or stages.")
    parser.add_argument(
        "-f", "--force", action="store_true", help="Do not ask; also take changed dependencies."
    )
    parser.add_argument(
        "--no-relink", dest="relink", action="store_false", help="Leave workspace files as they are."
    )
    parser.add_argument(
        "--relink", dest="relink", action="store_true", help="Link them to the cache (the default)."
    )
    parser.set_defaults(relink=True)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when all targets are stored."""
    from kist.cli.hints import print_tracking_hint
    from kist.repo.commit import commit

    repository = context.repository()
    to_stage = commit(
        repository,
        args.targets,
        force=args.force,
        with_deps=args.with_deps,
        recursive=args.recursive,
        relink=args.relink,
        confirm=context.console.confirm,
    )
    for note in repository.take_notes():
        context.console.warn(note)
    if context.as_json:
        context.console.data_json({"to_stage": [repository.shown(path) for path in to_stage]})
    else:
        print_tracking_hint(context, [repository.shown(path) for path in to_stage])
    return 0
