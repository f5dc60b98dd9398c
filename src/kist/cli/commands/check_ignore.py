"""`kist check-ignore`: which paths `.dvcignore` leaves out, and by which line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kist.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kist.cli.context import Context
    from kist.repo.check_ignore import CheckedPath


class CheckIgnoreOptionsError(InputError):
    """Options of `check-ignore` that contradict each other. The user mends the command line."""

    code = "check-ignore-options"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of DVC, and `--json`."""
    parser.add_argument(
        "-d", "--details", action="store_true", help="Show which line decides about each path."
    )
    parser.add_argument(
        "-n",
        "--non-matching",
        action="store_true",
        help="With --details, also show paths that no line matches.",
    )
    parser.add_argument("-a", "--all", action="store_true", help="Accepted for DVC's sake, with --details.")
    parser.add_argument(
        "--stdin", action="store_true", help="Read paths from standard input, up to an empty line."
    )
    parser.add_argument("--json", action="store_true", help="Print a list of all paths asked about.")
    parser.add_argument("targets", nargs="*", help="Files or directories to ask about.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when a line matches any of the paths, 1 when none does."""
    _check_options(args, context)
    from kist.repo.check_ignore import check_ignore  # only after the options are known to be right

    paths = _lines() if args.stdin else iter(args.targets)
    answers = check_ignore(context.repository().ignores, paths, cwd=context.cwd)
    if context.as_json:
        found = list(answers)
        context.console.data_json([_as_json(answer) for answer in found])
        return 0 if any(answer.is_ignored for answer in found) else 1
    is_any = False
    for answer in answers:
        if args.details:
            is_any = is_any or answer.match is not None
            if answer.match is not None:
                context.console.out(f"{answer.match.label}\t{answer.path}")
            elif args.non_matching:
                context.console.out(f"::\t{answer.path}")
        elif answer.is_ignored:
            is_any = True
            if not context.quiet:
                context.console.out(answer.path)
    return 0 if is_any else 1


def _check_options(args: argparse.Namespace, context: Context) -> None:
    problem = hint = ""
    if not args.stdin and not args.targets:
        problem, hint = "no path is named", "kist check-ignore PATH"
    elif args.stdin and args.targets:
        problem, hint = (
            "paths come from the command line or from --stdin, not from both",
            "leave one of them out",
        )
    elif args.non_matching and not args.details:
        problem, hint = (
            "--non-matching goes with --details",
            "kist check-ignore --details --non-matching PATH",
        )
    elif args.all and not args.details:
        problem, hint = "--all goes with --details", "kist check-ignore --details --all PATH"
    elif context.quiet and args.details:
        problem, hint = "--details has something to say, and --quiet forbids it", "leave one of them out"
    if problem:
        raise CheckIgnoreOptionsError(f"cannot check: {problem}", hint=hint)


def _lines() -> Iterator[str]:
    for line in sys.stdin:
        path = line.rstrip("\n")
        if not path:
            return
        yield path


def _as_json(answer: CheckedPath) -> dict[str, object]:
    match = answer.match
    return {
        "path": answer.path,
        "ignored": answer.is_ignored,
        "source": match.source if match else None,
        "line": match.line if match else None,
        "pattern": match.pattern if match else None,
    }
