"""`kist expire`: takes old files out of tracked data; tells what would go unless `--apply` is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.expire import ExpiredPath, ExpireOptions, ExpireResult
    from kist.repo.repository import Repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `expire`."""
    parser.add_argument("paths", nargs="*", help="Tracked data, or what is below; default: everything.")
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument(
        "--older-than", metavar="AGE", help="What was over so long ago: 90d, 12w, 6m, 2y; 0d: what is over."
    )
    when.add_argument("--before", metavar="DATE", help="What was over when this day began (UTC): 2024-05-31.")
    parser.add_argument(
        "--by",
        metavar="HOW",
        default="name",
        help="What tells the date: `name` (of file or folder, the default), `commit` (that brought the content), "
        "`column:TABLE:DATES[:NAMES]` (of a CSV, TSV, JSON or JSON lines file).",
    )
    parser.add_argument("--apply", action="store_true", help="Do it; without this, only tell what would go.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0, also when nothing goes."""
    from kist.cli.worlds import leave_notes
    from kist.repo.expire import expire

    options = _options(args)
    repository = context.repository()
    try:
        result = expire(repository, args.paths, options)
    except BaseException:
        leave_notes(context, repository)
        raise
    _print(args, context, repository, result, options)
    return 0


def _words(args: argparse.Namespace) -> list[str]:
    words = ["kist", "expire"]
    words += ["--older-than", args.older_than] if args.older_than is not None else ["--before", args.before]
    words += ["--by", args.by] if args.by != "name" else []
    return [*words, *args.paths, "--apply"]


def _options(args: argparse.Namespace) -> ExpireOptions:
    """Returns what is asked for. Raises: UsageError."""
    import time

    from kist.base.dates import moment_before, moment_of
    from kist.base.shell import shell_line
    from kist.errors import UsageError
    from kist.repo.expire import BY_COMMIT, BY_NAME, ExpireOptions
    from kist.repo.expiry import Column

    if args.older_than is not None:
        cutoff = moment_before(args.older_than, time.time())
        if cutoff is None:
            raise UsageError(f"'{args.older_than}' is no age: a number and one of d, w, m, y, as in 90d")
    else:
        cutoff = moment_of(args.before)
        if cutoff is None:
            raise UsageError(f"'{args.before}' is no date: a day as in 2024-05-31")
    by: str | Column = args.by
    if args.by not in (BY_NAME, BY_COMMIT):
        kind, *parts = args.by.split(":")
        if kind != "column" or len(parts) not in (2, 3) or not all(parts):
            raise UsageError(f"'{args.by}' tells no date: name, commit, or column:TABLE:DATES[:NAMES]")
        by = Column(*parts)
    return ExpireOptions(cutoff, by, args.apply, shell_line(*_words(args)))


def _print(
    args: argparse.Namespace,
    context: Context,
    repository: Repository,
    result: ExpireResult,
    options: ExpireOptions,
) -> None:
    from kist.base.dates import moment_text
    from kist.base.shell import shell_line
    from kist.cli.worlds import human, print_notes

    console = context.console
    print_notes(context, result.notes)
    if context.as_json:
        console.data_json(_as_json(repository, result, options))
        return
    rows = [path for path in result.paths if path.files]
    undated = sum(path.undated for path in result.paths)
    kept = sum(path.kept for path in result.paths)
    for line in _table(repository, rows):
        console.info(line)
    if context.verbose:
        for path in rows:
            for file in path.files:
                console.info(f"  {repository.shown(file)}")
    count = sum(len(path.files) for path in rows)
    sizes = [path.size_bytes for path in rows]
    size = human(None if None in sizes else sum(size for size in sizes if size is not None))
    limit = moment_text(options.cutoff_s).removesuffix("T00:00:00Z")
    if not rows:
        console.info(f"Nothing was over by {limit}.")
    stays = f"{_files(kept)} not that old" if kept else ""
    stays += ", " if kept and undated else ""
    stays += f"{_files(undated)} without a date" if undated else ""
    if stays:
        console.info(f"Stays: {stays}.")
    if not rows:
        return
    if not args.apply:
        console.info(f"{_files(count)}, {size}, would leave this branch; nothing has changed yet.")
        console.hint(shell_line(*_words(args)))
        return
    console.info(
        f"{_files(count)}, {size}, left this branch; {_files(result.removed)} removed from the workspace."
    )
    console.info(
        "Earlier commits still have them: `kist gc` frees storage, once no version that you keep does."
    )
    console.hint("kist save")


def _files(count: int) -> str:
    return f"{count} file" + ("" if count == 1 else "s")


def _table(repository: Repository, rows: list[ExpiredPath]) -> list[str]:
    """Returns the lines of a table: a row for each output of which something goes."""
    from kist.base.dates import day_text
    from kist.cli.worlds import human

    if not rows:
        return []
    cells = [("files", "size", "oldest", "newest", "path")]
    for row in rows:
        # The moment at which a day is over is the first of the next one.
        oldest, newest = (
            day_text(end - 1) if end is not None else "" for end in (row.oldest_s, row.newest_s)
        )
        path = repository.shown(row.path) + ("" if row.is_whole else "/")
        cells.append((str(len(row.files)), human(row.size_bytes), oldest, newest, path))
    widths = [max(len(line[at]) for line in cells) for at in range(4)]
    return [
        "  ".join(
            [
                line[0].rjust(widths[0]),
                line[1].rjust(widths[1]),
                line[2].ljust(10),
                line[3].ljust(10),
                line[4],
            ]
        )
        for line in cells
    ]


def _as_json(repository: Repository, result: ExpireResult, options: ExpireOptions) -> dict[str, Any]:
    from kist.base.dates import day_text, moment_text

    return {
        "applied": options.is_applied,
        "over_by": moment_text(options.cutoff_s),
        "paths": [
            {
                "path": repository.shown(path.path),
                "metafile": repository.shown(path.metafile),
                "files": [repository.shown(file) for file in path.files],
                "bytes": path.size_bytes,
                "oldest": day_text(path.oldest_s - 1) if path.oldest_s is not None else None,
                "newest": day_text(path.newest_s - 1) if path.newest_s is not None else None,
                "kept": path.kept,
                "undated": path.undated,
            }
            for path in result.paths
        ],
        "removed": result.removed,
        "to_stage": [repository.shown(path) for path in result.to_stage],
    }
