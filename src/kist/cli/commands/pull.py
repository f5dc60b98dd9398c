"""`kist pull`: brings data from a remote and checks it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `pull`."""
    from kist.cli.parser import add_limit
    from kist.cli.transfer_options import add_json, add_remote_options, add_run_cache, add_target_options

    add_target_options(parser)
    add_remote_options(parser)
    add_limit(parser)
    add_json(parser)
    add_run_cache(parser, verb="bring")
    parser.add_argument("-f", "--force", action="store_true", help="Drop changes that are stored nowhere.")
    parser.add_argument("--allow-missing", action="store_true", help="Missing data is no failure.")
    parser.add_argument("--glob", action="store_true", help="Targets are patterns.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the workspace is complete."""
    from kist.cli.changes import changes_json, counted, print_changes, sentence, summary_parts
    from kist.cli.transfer_options import print_objects, report_failures, scope_of
    from kist.repo.checkout import CheckoutOptions
    from kist.repo.pull import pull

    repository = context.repository()
    result = pull(
        repository,
        args.targets,
        remote=args.remote,
        jobs=args.jobs,
        scope=scope_of(args),
        use_glob=args.glob,
        with_runs=args.run_cache,
        options=CheckoutOptions(args.force, False, args.allow_missing, args.with_deps, args.recursive),
        is_detailed=context.as_json,
    )
    for note in result.notes:
        context.console.note(note)
    if result.checkout.refused is not None:
        raise result.checkout.refused
    if context.as_json:
        print_objects(context, repository, result.transfer)
        document = changes_json(repository, result.checkout)
        document["fetched"] = result.transfer.moved
        document["bytes"] = result.transfer.size_bytes
        document["failed"] = [list(failure) for failure in result.transfer.failed]
        context.console.data_json(document)
    else:
        print_changes(context, repository, result.checkout)
        parts = [f"{counted(result.transfer.moved)} fetched"] if result.transfer.moved else []
        parts += summary_parts(result.checkout)
        if parts or not (result.transfer.failed or result.transfer.absent):
            context.console.info(sentence(parts) or "Everything is up to date.")
    if not args.allow_missing:
        report_failures(repository, result.transfer, "pull")
    error = result.checkout.error(repository, allow_missing=args.allow_missing)
    if error is not None:
        raise error
    return 0
