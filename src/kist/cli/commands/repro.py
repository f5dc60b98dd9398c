"""`kist repro`: runs the stages of pipelines that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.repro import ReproOptions, ReproResult

_FLAGS = (
    (("-f", "--force"), "Also run stages that did not change."),
    (("-i", "--interactive"), "Ask before each stage."),
    (("-s", "--single-item"), "Only the targets, without what they depend on."),
    (("-p", "--pipeline"), "All stages that are connected with the targets."),
    (("-P", "--all-pipelines"), "All stages of the repository."),
    (("-R", "--recursive"), "Folders mean all stages below them."),
    (("--downstream",), "The targets, and all that depends on them."),
    (("--force-downstream",), "Run all that depends on a stage that ran."),
    (("--pull",), "Fetch data and the history of runs where they are missing."),
    (("--allow-missing",), "Data that is merely missing is no change."),
    (("--dry",), "Only show the commands that would run."),
    (("--glob",), "Targets are patterns of stage names."),
    (("--no-commit",), "Do not store outputs in the cache."),
    (("--no-run-cache",), "Run commands even if the same run was done before."),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `repro`, and Kist's own."""
    from kist.cli.parser import number_above_0  # argparse

    parser.add_argument(
        "targets", nargs="*", help="Stages, metafiles or outputs; default: all stages of dvc.yaml here."
    )
    for names, text in _FLAGS:
        parser.add_argument(*names, action="store_true", help=text)
    parser.add_argument(
        "-k",
        "--keep-going",
        dest="on_error",
        action="store_const",
        const="keep going",
        default="stop",
        help="After a failure go on with stages that do not depend on it.",
    )
    parser.add_argument(
        "--ignore-errors",
        dest="on_error",
        action="store_const",
        const="ignore",
        help="After a failure go on with all stages.",
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=number_above_0,
        default=1,
        metavar="N",
        help="So many stages may run at once, where none reads or writes what another one writes.",
    )
    parser.add_argument(
        "--capacity",
        action="append",
        default=[],
        type=_capacity,
        metavar="NAME=N",
        help="How much there is of what stages need; default: Git's setting kist.needs.NAME, else 1.",
    )
    parser.add_argument(
        "--explain", action="store_true", help="Say of each stage why it would run or not; run nothing."
    )
    parser.add_argument("--json", action="store_true", help="Print what was done as JSON.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when all stages are up to date."""
    from kist.cli.hints import print_tracking_hint
    from kist.cli.repro_words import teller
    from kist.repo.repro import repro

    repository = context.repository()
    console = context.console
    if args.explain:
        from kist.cli.explained import print_explained  # few ask
        from kist.repo.explain import explain

        asked = options_of(args, context)
        print_explained(context, explain(repository, args.targets, asked.scope, force=args.force))
        return 0
    result = repro(
        repository, args.targets, options_of(args, context), teller(context, is_mixed=args.jobs > 1)
    )
    for note in repository.take_notes():
        console.warn(note)
    if context.as_json:
        console.data_json(_document(context, result))
    if result.error is not None:
        raise result.error
    if context.as_json:
        return 0
    if not args.dry:
        print_tracking_hint(context, [repository.shown(path) for path in result.to_stage])
    if result.ran:
        console.info("Use `kist push` to send your updates to remote storage.")
    else:
        console.info("Data and pipelines are up to date.")
    return 0


def options_of(args: argparse.Namespace, context: Context) -> ReproOptions:
    """Returns what the options ask for."""
    from kist.repo.repro import ReproOptions
    from kist.repo.repro_plan import Scope

    return ReproOptions(
        scope=Scope(
            single=args.single_item,
            whole=args.pipeline,
            everything=args.all_pipelines,
            downstream=args.downstream,
            recursive=args.recursive,
            use_glob=args.glob,
        ),
        force=args.force,
        force_downstream=args.force_downstream,
        allow_missing=args.allow_missing,
        pull=args.pull,
        to_cache=not args.no_commit,
        use_runs=not args.no_run_cache,
        on_error=args.on_error,
        dry=args.dry,
        confirm=context.console.confirm if args.interactive else None,
        output=2 if context.as_json else None,
        jobs=args.jobs,
        capacity=dict(args.capacity),
    )


def _capacity(text: str) -> tuple[str, int]:
    """Returns what `NAME=N` says."""
    name, _, count = text.partition("=")
    if not name or not count.isdecimal():
        raise ValueError(text)
    return name, int(count)


def _document(context: Context, result: ReproResult) -> dict[str, list[str]]:
    repository = context.repository()
    return {
        "ran": result.ran,
        "unchanged": result.unchanged,
        "failed": result.failed,
        "to_stage": [repository.shown(path) for path in result.to_stage],
    }
