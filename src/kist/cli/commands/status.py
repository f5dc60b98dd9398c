"""`kist status`: what changed in the workspace, or between cache and remote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context

_NOTHING_TRACKED = "There are no data or pipelines tracked in this project yet."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `status`."""
    from kist.cli.transfer_options import add_remote_options, add_target_options

    add_target_options(parser)
    parser.add_argument("-c", "--cloud", action="store_true", help="Compare the cache with a remote.")
    add_remote_options(parser)
    parser.add_argument("--json", action="store_true", help="Print JSON, in DVC's shape.")
    parser.add_argument("--explain", action="store_true", help="Say of each stage why it would run or not.")
    parser.add_argument(
        "--no-updates", action="store_true", help="Do not look whether imported data changed there."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0; with `--quiet` 1 when something changed."""
    from kist.cli.transfer_options import scope_of
    from kist.repo.status import cloud_status, is_anything_tracked, status

    repository = context.repository()
    console = context.console
    is_cloud = args.cloud or args.remote or args.all_branches or args.all_tags or args.all_commits
    if is_cloud:
        if args.no_updates:
            raise UsageError("--no-updates does not go with --cloud", hint="leave one of them out")
        flat, names, notes = cloud_status(
            repository,
            args.targets,
            remote=args.remote,
            scope=scope_of(args),
            with_deps=args.with_deps,
            recursive=args.recursive,
        )
        for note in notes:
            console.note(note)
        if context.as_json:
            console.data_json(flat)
        elif flat:
            for path in sorted(flat):
                console.info(f"\t{flat[path] + ':':<20}{path}")
        elif not names:
            _say_nothing_tracked(context)
        else:
            console.info(f"Cache and remote '{', '.join(names)}' are in sync.")
        return 1 if context.quiet and flat else 0
    if args.explain:
        return _explain(args, context)
    _warn_unfinished(context)
    found, looked_at = status(
        repository,
        args.targets,
        with_deps=args.with_deps,
        recursive=args.recursive,
        check_updates=not args.no_updates,
    )
    if context.as_json:
        console.data_json(found)
    elif found:
        for name, changes in found.items():
            console.info(f"{name}:")
            for change in changes:
                _print_change(context, change)
    elif not looked_at and not is_anything_tracked(repository):
        _say_nothing_tracked(context)
    else:
        console.info("Data and pipelines are up to date.")
    return 1 if context.quiet and found else 0


def _explain(args: argparse.Namespace, context: Context) -> int:
    from kist.cli.explained import print_explained  # few ask
    from kist.repo.explain import explain
    from kist.repo.repro_plan import Scope

    scope = Scope(everything=not args.targets, single=not args.with_deps, recursive=args.recursive)
    found = explain(context.repository(), args.targets, scope)
    print_explained(context, found)
    return 1 if context.quiet and any(item.runs for item in found) else 0


def _say_nothing_tracked(context: Context) -> None:
    context.console.info(_NOTHING_TRACKED)
    context.console.hint("kist add FILE_OR_FOLDER")


def _warn_unfinished(context: Context) -> None:
    from kist.repo.merging import unfinished, unfinished_words

    repository = context.repository()
    paths = unfinished(repository)
    if paths:
        context.console.warn(unfinished_words(repository, paths))
        context.console.hint("kist resolve")


def _print_change(context: Context, change: Any) -> None:
    if isinstance(change, str):
        context.console.info(f"\t{change}")
        return
    for title, entries in change.items():
        context.console.info(f"\t{title}:")
        for name, what in entries.items():
            if isinstance(what, str):
                context.console.info(f"\t\t{what + ':':<20}{name}")
                continue
            context.console.info(f"\t\t{name}:")
            for key, word in what.items():
                context.console.info(f"\t\t\t{word + ':':<20}{key}")
