"""What commands with targets share: their options, and the reports of those that move objects."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.cli.changes import counted
from kist.cli.parser import number_above_0
from kist.errors import CorruptError, MissingError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kist.cli.context import Context
    from kist.repo.repository import Repository
    from kist.repo.transfers import Scope, TransferResult


class TransferMissingError(MissingError):
    """Some objects are neither in the cache nor on the remote."""

    code = "transfer-missing"


class TransferCorruptError(CorruptError):
    """Some objects do not match their names, and were not transferred."""

    code = "transfer-corrupt"


_PARTS = "Outputs, metafiles, stages, or paths inside tracked directories."


def add_target_options(parser: argparse.ArgumentParser, *, targets: str = _PARTS) -> None:
    """Adds targets, `-d`, `-R`."""
    parser.add_argument("targets", nargs="*", help=targets)
    parser.add_argument("-d", "--with-deps", action="store_true", help="Also what the targets depend on.")
    parser.add_argument(
        "-R", "--recursive", action="store_true", help="Folders mean all metafiles below them."
    )


def add_remote_options(parser: argparse.ArgumentParser) -> None:
    """Adds `-r`, `-j`, `-a`, `-T`, `-A`."""
    parser.add_argument("-r", "--remote", metavar="NAME", help="The remote; default: core.remote.")
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many processes may work at once."
    )
    parser.add_argument("-a", "--all-branches", action="store_true", help="Also the data of all branches.")
    parser.add_argument("-T", "--all-tags", action="store_true", help="Also the data of all tags.")
    parser.add_argument("-A", "--all-commits", action="store_true", help="Also the data of all commits.")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument(
        "--json", action="store_true", help="Print a line of JSON for each object, then one for the whole."
    )


def add_run_cache(parser: argparse.ArgumentParser, *, verb: str) -> None:
    """Adds `--run-cache` and its contrary."""
    parser.add_argument("--run-cache", action="store_true", help=f"Also {verb} the history of stage runs.")
    parser.add_argument(
        "--no-run-cache", dest="run_cache", action="store_false", help="Do not (the default)."
    )


def scope_of(args: argparse.Namespace) -> Scope:
    """Returns the scope that the options name."""
    from kist.repo.transfers import Scope

    return Scope(args.all_branches, args.all_tags, args.all_commits)


def report_transfer(
    context: Context, repository: Repository, result: TransferResult, notes: Sequence[str], verb: str
) -> None:
    """Says what `push` or `fetch` did; raises one error for all objects that could not be transferred."""
    for note in notes:
        context.console.note(note)
    if context.as_json:
        print_objects(context, repository, result)
        failed = [list(failure) for failure in result.failed]
        summary = {f"{verb}ed": result.moved, "bytes": result.size_bytes, "failed": failed}
        if result.changed:
            summary["metafiles"] = [repository.shown(path) for path in result.changed]
        context.console.data_json(summary)
    elif result.moved:
        context.console.info(f"{counted(result.moved)} {verb}ed")
    elif not result.failed and not result.absent:
        context.console.info("Everything is up to date.")
    if result.changed and not context.as_json:
        from kist.cli.hints import print_tracking_hint  # most remotes change no metafile

        print_tracking_hint(context, [repository.shown(path) for path in result.changed])
    report_failures(repository, result, verb)


def print_objects(context: Context, repository: Repository, result: TransferResult) -> None:
    """Prints what became of each object, a line of JSON each."""
    for row in result.objects:
        context.console.data_json(
            {
                "oid": row.oid,
                "algorithm": row.algorithm,
                "paths": [
                    repository.shown(path.rstrip("/")) + path[-1:] * path.endswith("/") for path in row.paths
                ],
                "bytes": row.size_bytes,
                "remote": row.remote,
                "outcome": row.outcome,
                "reason": row.reason,
            }
        )


def report_failures(repository: Repository, result: TransferResult, verb: str) -> None:
    """Raises one error for all objects that could not be transferred (rule R10)."""
    if not result.failed:
        if result.errors:
            raise result.errors[0]
        if result.absent:
            from kist.repo.absent import absence

            raise absence(repository, result.absent, verb)
        return
    corrupt = [failure for failure in result.failed if failure[2] == "corrupt"]
    failed = corrupt or result.failed
    label, oid, _ = failed[0]
    more = ("", ", as is 1 more")[len(failed) - 1] if len(failed) < 3 else f", as are {len(failed) - 1} more"
    shown = repository.shown(label)
    remote = f"remote '{result.remotes[0]}'" if result.remotes else "the remote"
    where = "the cache" if verb == "push" else remote
    hint = "run `kist push` where the data is intact, then try again"
    if verb == "push" and os.path.exists(repository.abspath(label)):
        hint = shell_line("kist", "commit", shown)
    if corrupt:
        raise TransferCorruptError(
            f"cannot {verb} '{shown}': object {oid} is damaged in {where}{more}", hint=hint
        )
    places = f"{where} and {remote}" if verb == "push" else where
    raise TransferMissingError(
        f"cannot {verb} '{shown}': object {oid} is missing from {places}{more}", hint=hint
    )
