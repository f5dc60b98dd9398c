"""`kist gc`: removes data that nothing needs, after saying how much, where, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.cli.parser import mistake, number, number_above_0

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.repository import Repository
    from kist.repo.unneeded import PlacePlan, Plan, Reason

_ROWS = 20
"""Rows of the table without `-v`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `gc`, and Kist's own."""
    keep = parser.add_argument_group("what to keep; the workspace always is")
    keep.add_argument("-w", "--workspace", action="store_true", help="Only what the workspace needs.")
    keep.add_argument("-a", "--all-branches", action="store_true", help="The data of all branches.")
    keep.add_argument("-T", "--all-tags", action="store_true", help="The data of all tags.")
    keep.add_argument("-A", "--all-commits", action="store_true", help="The data of all commits.")
    keep.add_argument("--rev", action="append", default=[], metavar="REV", help="The data of a commit.")
    keep.add_argument(
        "-n", "--num", type=number, metavar="N", help="With --rev or -a: of the last N commits from there."
    )
    keep.add_argument("--date", metavar="YYYY-MM-DD", help="The data of commits of this day and later.")
    keep.add_argument("--all-experiments", action="store_true", help="The data of all experiments.")
    keep.add_argument(
        "-p",
        "--projects",
        nargs="*",
        metavar="PATH",
        help="What these projects need, too; with it, all that use the cache are named.",
    )
    keep.add_argument(
        "--not-in-remote", action="store_true", help="Of all that only what the remote does not have."
    )
    keep.add_argument(
        "--grace",
        type=_minutes,
        metavar="MINUTES",
        help="Data that nothing ever named and that is younger stays, where others may be at work (60).",
    )
    parser.add_argument("-c", "--cloud", action="store_true", help="Also clean up the remote.")
    parser.add_argument("-r", "--remote", metavar="NAME", help="The remote; default: core.remote.")
    parser.add_argument(
        "--repack",
        action="store_true",
        help="With -c: also rewrite sparse packs of a packed remote, and join small ones.",
    )
    parser.add_argument("--skip-failed", action="store_true", help="Leave out what cannot be read.")
    parser.add_argument("-f", "--force", action="store_true", help="Do not ask.")
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many requests may run at once."
    )
    parser.add_argument("--dry", action="store_true", help="Only show what would be removed.")
    parser.add_argument("--json", action="store_true", help="Print what was removed, and why, as JSON.")
    parser.add_argument(
        "--forget-project",
        action="append",
        default=[],
        metavar="PATH",
        help="Drop a project that is gone for good from those that use the cache.",
    )


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < 1e9:
        raise mistake(f"'{text}' is not a number of minutes")
    return minutes


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0, or 1 when nobody confirmed."""
    from kist.repo.gc import GcOptions, collect_garbage
    from kist.repo.named import Scope
    from kist.repo.unneeded import GRACE_S

    repository = context.repository()
    console = context.console
    scope = Scope(
        branches=args.all_branches,
        tags=args.all_tags,
        commits=args.all_commits,
        experiments=args.all_experiments,
        revs=tuple(args.rev),
        num=args.num,
        date=args.date,
    )
    options = GcOptions(
        scope,
        workspace_only=args.workspace,
        cloud=args.cloud,
        remote=args.remote,
        not_in_remote=args.not_in_remote,
        skip_failed=args.skip_failed,
        dry=args.dry,
        repack=args.repack,
        projects=None if args.projects is None else tuple(args.projects),
        grace_s=GRACE_S if args.grace is None else args.grace * 60,
    )
    if args.forget_project:
        _forget(args, repository, context)
        if not options.has_scope:
            return 0

    def show(plan: Plan) -> None:
        for note in [*repository.take_notes(), *plan.skipped]:
            console.note(note)
        _print_table(context, repository, plan, is_dry=args.dry)

    def ask() -> bool:
        return console.confirm("Remove these objects?")

    done = collect_garbage(repository, options, show=show, ask=None if args.force else ask)
    for note in repository.take_notes():
        console.note(note)
    if done is None:
        console.error("nothing was removed: this needs a yes on a terminal, or --force")
        return 1
    if context.as_json:
        console.data_json(_as_json(done, is_dry=args.dry))
    else:
        _print_result(context, done, is_dry=args.dry)
    return 0


def _forget(args: argparse.Namespace, repository: Repository, context: Context) -> None:
    import os

    from kist.repo.projects import forget

    for path in args.forget_project:
        forget(repository.cache_dir, os.path.normpath(os.path.join(context.cwd, path)))
        context.console.info(f"Forgot project '{path}'.")


def _print_table(context: Context, repository: Repository, plan: Plan, *, is_dry: bool) -> None:
    console = context.console
    if console.quiet or not (plan.object_count or any(any(item.kept) for item in plan.places)):
        return
    headings = _headings(repository, plan)
    for item in plan.places:
        if item.object_count:
            verb = "would go" if is_dry else "to remove"
            console.note(f"{item.place.name}: {_amount(item.object_count, item.size_bytes)} {verb}")
            rows = item.why if context.verbose else item.why[:_ROWS]
            lines = [_row(reason, headings) for reason in rows]
            widths = [max(len(line[at]) for line in lines) for at in range(3)]
            for line in lines:
                cells = [
                    line[0].rjust(widths[0]),
                    line[1].rjust(widths[1]),
                    line[2].ljust(widths[2]),
                    line[3],
                ]
                console.note(f"  {'  '.join(cells)}".rstrip())
            if len(rows) < len(item.why):
                rest = item.why[len(rows) :]
                size = sum(reason.size_bytes for reason in rest)
                count = sum(reason.objects for reason in rest)
                console.note(f"  and {len(rest)} more rows (-v shows them): {_amount(count, size)}")
        for kept in _kept_lines(item):
            console.note(kept)


def _headings(repository: Repository, plan: Plan) -> dict[str, tuple[str, str]]:
    """Returns the day and subject of this project's commits in the table."""
    commits = {
        reason.commit
        for item in plan.places
        for reason in item.why[:_ROWS]
        if reason.commit and not reason.project
    }
    return repository.git.headings(commits) if repository.git is not None else {}


def _row(reason: Reason, headings: dict[str, tuple[str, str]]) -> tuple[str, str, str, str]:
    count, size = str(reason.objects), _size(reason.size_bytes)
    if reason.path is None:
        return count, size, "-", "nothing ever named them"
    path = f"{reason.project}: {reason.path}" if reason.project else reason.path
    if reason.commit is None:
        return count, size, path, "in the workspace, and in the remote"
    day, subject = headings.get(reason.commit, ("", ""))
    short = subject if len(subject) <= 50 else subject[:47] + "..."
    return count, size, path, f"last named by {reason.commit[:7]} {day} {short}".rstrip()


def _kept_lines(item: PlacePlan) -> list[str]:
    name, kept = item.place.name, item.kept
    lines = []
    if kept.recent:
        lines.append(
            f"{name}: {_objects(kept.recent)} kept for now: just written, a command that still runs may name them"
        )
    if kept.unknown:
        lines.append(
            f"{name}: {_objects(kept.unknown)} kept: no known project ever named them, another one may use this "
            "cache; -p PATH... names all that do, -p alone says that there are no others"
        )
    if kept.linked:
        lines.append(f"{name}: {_objects(kept.linked)} kept: symbolic links of the workspace lead to them")
    return lines


def _print_result(context: Context, plan: Plan, *, is_dry: bool) -> None:
    """Prints DVC's lines."""
    from kist.formats.records import LEGACY_MD5, MD5

    console = context.console
    for item in plan.places:
        for algorithm, kind in ((MD5, "repo"), (LEGACY_MD5, "legacy")):
            objects = item.objects[algorithm]
            for leftover in objects if is_dry else ():
                console.info(f"Removing {item.place.address(leftover.oid, algorithm)}")
            if item.place.remote is not None:
                some, none = (
                    f"Removed {len(objects)} objects from remote.",
                    "No unused cache to remove from remote.",
                )
            else:
                some = f"Removed {len(objects)} objects from {kind} cache."
                none = f"No unused '{kind}' cache to remove."
            console.info(some if objects else none)


def _as_json(plan: Plan, *, is_dry: bool) -> dict[str, Any]:
    stores = [
        {
            "where": item.place.name,
            "objects": item.object_count,
            "bytes": item.size_bytes,
            "why": [
                {
                    "project": reason.project or None,
                    "path": reason.path,
                    "commit": reason.commit,
                    "objects": reason.objects,
                    "bytes": reason.size_bytes,
                }
                for reason in item.why
            ],
            "kept": item.kept._asdict(),
        }
        for item in plan.places
    ]
    return {"dry": is_dry, "stores": stores, "temporaries": len(plan.temps), "skipped": plan.skipped}


def _amount(count: int, size_bytes: int) -> str:
    return f"{_objects(count)}, {_size(size_bytes)}"


def _objects(count: int) -> str:
    return f"{count} object" + ("" if count == 1 else "s")


def _size(size_bytes: int) -> str:
    from kist.cli.elsewhere import short_size

    return short_size(size_bytes) + ("B" if size_bytes < 1024 else "")
