"""`kist data status`: commit, metafiles and data, compared three ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.data_status import DataStatus

_GROUPS = (
    ("not_in_remote", "Not in remote", ('use "kist push <file>..." to upload files',)),
    ("not_in_cache", "Not in cache", ('use "kist fetch <file>..." to download files',)),
    ("committed", "DVC committed changes", ("git commit the corresponding dvc files to update the repo",)),
    (
        "uncommitted",
        "DVC uncommitted changes",
        (
            'use "kist commit <file>..." to track changes',
            'use "kist checkout <file>..." to discard changes',
        ),
    ),
    (
        "untracked",
        "Untracked files",
        ('use "git add <file> ..." or "kist add <file>..." to commit to git or to kist',),
    ),
    ("unchanged", "DVC unchanged files", ()),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `status` with DVC's options."""
    below = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    status = below.add_parser(
        "status", help="Show what changed.", description="Show what changed, three ways."
    )
    status.add_argument("targets", nargs="*", help="Only these files or directories.")
    status.add_argument("--json", action="store_true", help="Print JSON, in DVC's shape.")
    status.add_argument("--granular", action="store_true", help="Look inside of directories.")
    status.add_argument("--unchanged", action="store_true", help="Also list what is unchanged.")
    status.add_argument(
        "--untracked-files",
        nargs="?",
        choices=("no", "all"),
        const="all",
        default="no",
        help="Also list files that neither Git nor Kist tracks.",
    )
    status.add_argument(
        "--not-in-remote", action="store_true", help="Also list what the remote does not have."
    )
    status.add_argument("-r", "--remote", metavar="NAME", help="The remote for --not-in-remote.")
    status.add_argument(
        "--no-remote-refresh",
        action="store_true",
        help="For --not-in-remote, go by what the remote had when it was last asked.",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.repo.data_status import data_status

    repository = context.repository()
    found = data_status(
        repository,
        args.targets,
        granular=args.granular,
        with_unchanged=args.unchanged,
        with_untracked=args.untracked_files == "all",
        not_in_remote=args.not_in_remote,
        remote=args.remote,
        refresh=not args.no_remote_refresh,
    )
    if context.as_json:
        context.console.data_json(_document(found))
    else:
        _print(context, found)
    return 0


def _document(found: DataStatus) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, _, _ in _GROUPS:
        value = getattr(found, key)
        if not value:
            continue
        if isinstance(value, list):
            document[key] = list(value)
            continue
        document[key] = {
            word: [{"old": item[0], "new": item[1]} if isinstance(item, tuple) else item for item in items]
            for word, items in value.items()
        }
    return document


def _print(context: Context, found: DataStatus) -> None:
    console = context.console
    is_first = True
    for key, title, hints in _GROUPS:
        value = getattr(found, key)
        if not value:
            continue
        if not is_first:
            console.info()
        is_first = False
        console.info(f"{title}:")
        for hint in hints:
            console.info(f"  ({hint})")
        colour = "green" if key == "committed" else "red" if key != "unchanged" else ""
        for line in _entries(value):
            console.info(console.paint(f"        {line}", colour) if colour else f"        {line}")
    if is_first:
        console.info("No changes in an empty git repo." if found.is_empty else "No changes.")
    if found.has_other_changes:
        others = "changes" if is_first else "other changes"
        console.info(f'(there are {others} not tracked by dvc, use "git status" to see)')


def _entries(value: Any) -> list[str]:
    if isinstance(value, list):
        return list(value)
    lines = []
    for word, items in value.items():
        for item in items:
            if isinstance(item, tuple):
                lines.append(f"{word}: {item[0]} -> {item[1]}")
            else:
                lines.append(f"{word}: {item}")
    return lines
