"""Options and reports that push, fetch and pull share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.errors import CorruptError, MissingError

if TYPE_CHECKING:
    import argparse

    from kist.repo.repository import Repository
    from kist.repo.transfers import Scope, TransferResult


class TransferMissingError(MissingError):
    """Some objects are neither in the cache nor on the remote."""

    code = "transfer-missing"


class TransferCorruptError(CorruptError):
    """Some objects do not match their names, and were not transferred."""

    code = "transfer-corrupt"


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """Adds targets, `-j`, `-r`, `-d`, `-R`."""
    parser.add_argument(
        "targets", nargs="*", help="Outputs, metafiles, stages, or paths inside tracked directories."
    )
    parser.add_argument(
        "-j", "--jobs", type=_positive, metavar="N", help="How many processes may work at once."
    )
    parser.add_argument("-r", "--remote", metavar="NAME", help="The remote; default: core.remote.")
    parser.add_argument("-d", "--with-deps", action="store_true", help="Also what the targets depend on.")
    parser.add_argument(
        "-R", "--recursive", action="store_true", help="Folders mean all metafiles below them."
    )


def add_scope(parser: argparse.ArgumentParser) -> None:
    """Adds `-a`, `-T`, `-A`."""
    parser.add_argument("-a", "--all-branches", action="store_true", help="Also the data of all branches.")
    parser.add_argument("-T", "--all-tags", action="store_true", help="Also the data of all tags.")
    parser.add_argument("-A", "--all-commits", action="store_true", help="Also the data of all commits.")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def scope_of(args: argparse.Namespace) -> Scope:
    """Returns the scope that the options name."""
    from kist.repo.transfers import Scope

    return Scope(args.all_branches, args.all_tags, args.all_commits)


def report_failures(repository: Repository, result: TransferResult, verb: str) -> None:
    """Raises one error for all objects that could not be transferred (rule R10)."""
    if not result.failed:
        return
    corrupt = [failure for failure in result.failed if failure[2] == "corrupt"]
    label, oid, _ = (corrupt or result.failed)[0]
    more = f" and {len(result.failed) - 1} more" if len(result.failed) > 1 else ""
    shown = repository.shown(label)
    where = (
        "the cache" if verb == "push" else f"remote '{result.remotes[0]}'" if result.remotes else "the remote"
    )
    if corrupt:
        raise TransferCorruptError(
            f"cannot {verb} '{shown}': object {oid} is damaged in {where}{more}",
            hint=f"kist add {shown}"
            if verb == "push"
            else "run `kist push` where the data is intact, then try again",
        )
    places = "the cache and the remote" if verb == "push" else where
    raise TransferMissingError(
        f"cannot {verb} '{shown}': object {oid} is missing from {places}{more}",
        hint=f"kist add {shown}    (if the data is still in the workspace)"
        if verb == "push"
        else "run `kist push` where the data is, then try again",
    )
