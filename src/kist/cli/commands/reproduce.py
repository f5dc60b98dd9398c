"""`kist reproduce`: makes a revision again in a clean folder, and compares its outputs with what is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.reproduce import Reproduced

_COLOURS = {"same": "green", "different": "red", "missing": "red", "not recorded": "yellow"}
_SHORT = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `reproduce`."""
    parser.add_argument("rev", help="A branch, tag or commit.")
    parser.add_argument("targets", nargs="*", help="Stages, metafiles or outputs of it; default: all.")
    parser.add_argument("-f", "--force", action="store_true", help="Run every stage, whatever the cache has.")
    parser.add_argument("--keep", metavar="FOLDER", help="Work in this new folder, and leave it there.")
    parser.add_argument("-r", "--remote", metavar="NAME", help="The remote to fetch from.")
    parser.add_argument("--json", action="store_true", help="Print the outputs as JSON.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when every output came out as recorded, 1 when one did not."""
    from kist.cli.repro_words import teller
    from kist.repo.reproduce import reproduce

    result = reproduce(
        context.repository(),
        args.rev,
        args.targets,
        teller(context),
        folder=args.keep,
        force=args.force,
        remote=args.remote,
        output=2 if context.as_json else None,
    )
    for note in result.notes:
        context.console.warn(note)
    if context.as_json:
        context.console.data_json(_document(result))
    else:
        _print(context, result)
    return 0 if result.is_same else 1


def _document(result: Reproduced) -> dict[str, object]:
    return {
        "commit": result.commit,
        "folder": result.folder,
        "ran": result.ran,
        "failed": result.failed,
        "outputs": [verdict._asdict() for verdict in result.verdicts],
    }


def _print(context: Context, result: Reproduced) -> None:
    console = context.console
    counts: dict[str, int] = {}
    width = max((len(verdict.state) for verdict in result.verdicts), default=0)
    for verdict in result.verdicts:
        counts[verdict.state] = counts.get(verdict.state, 0) + 1
        line = f"{console.paint(verdict.state.ljust(width), _COLOURS[verdict.state])}  {verdict.path}"
        if verdict.state == "different":
            line += f" (recorded {(verdict.recorded or '')[:_SHORT]}, now {(verdict.now or '')[:_SHORT]})"
        console.out(line)
    listed = ", ".join(f"{number} {state}" for state, number in counts.items()) or "none is recorded"
    plural = "" if len(result.verdicts) == 1 else "s"
    console.info(f"{len(result.verdicts)} output{plural} of {result.commit[:7]}: {listed}.")
    for name in result.failed:
        console.warn(f"stage '{name}' failed")
    if result.folder is not None:
        console.info(f"It lies in '{result.folder}'.")
    elif not result.is_same:
        console.hint("look at what came out with `--keep FOLDER`")
