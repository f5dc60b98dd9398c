"""`kist list`: what Git's files and tracked data look like together."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from kist.cli.elsewhere import add_repository_arguments, open_from, short_size
from kist.cli.parser import number
from kist.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kist.cli.context import Context
    from kist.repo.listing import Entry, View


class ListOptionsError(InputError):
    """Options that contradict each other, or a level below 0. Exit 255, as DVC."""

    code = "list-options"
    exit_code = 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `list`."""
    add_repository_arguments(parser)
    parser.add_argument("-R", "--recursive", action="store_true", help="Also what is in folders.")
    parser.add_argument("-T", "--tree", action="store_true", help="Folders as a tree.")
    parser.add_argument(
        "-L", "--level", type=number, metavar="N", help="How many folders deep, with -R or -T."
    )
    parser.add_argument("--dvc-only", action="store_true", help="Only tracked data.")
    parser.add_argument("--json", action="store_true", help="Print a list of objects.")
    parser.add_argument("--size", action="store_true", help="Show sizes.")
    parser.add_argument("--show-hash", action="store_true", help="Show content ids.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when everything could be listed."""
    from kist.repo import listing

    if args.tree and context.as_json:
        raise ListOptionsError(
            "cannot list: --tree does not go with --json", hint="leave `--tree` out, or `--json`"
        )
    if args.level is not None and args.level < 0 and (args.tree or args.recursive):
        raise ListOptionsError(
            f"cannot list {args.level} folders deep: --level is 0 or more", hint="kist list --help"
        )
    repository, path, rev = open_from(args, context)
    try:
        view = listing.View(repository, rev=rev, dvc_only=args.dvc_only, remote=args.remote)
        is_dir = view.is_dir(path)
        if args.tree:
            _print_tree(context, args, view, path if is_dir else None, args.path or ".")
            return 0
        if args.recursive and args.level == 0 and is_dir:
            context.console.out(posixpath.basename((args.path or ".").rstrip("/")))  # as DVC
            return 0
        if not is_dir:
            _print_entries(context, args, listing.single(view, path))
            return 0
        found = listing.groups(view, path, recursive=args.recursive, max_depth=args.level)
        prefix = None if args.path or rev else _way_up(repository.root, context.cwd)
        if context.as_json or args.size or args.show_hash:
            rows = listing.entries(view, found, path)
            if prefix is not None:
                rows = [row._replace(path=_shown(row.path, prefix)) for row in rows]
                rows.sort(key=lambda row: row.path)
            _print_entries(context, args, rows)
        else:
            names = listing.paths(found, path)
            if prefix is not None:
                names = sorted(_shown(name, prefix) for name in names)
            if names:
                context.console.out("\n".join(names))
    finally:
        repository.close()
    return 0


def _way_up(root: str, cwd: str) -> str | None:
    """Returns the current folder relative to the root; None where names need no change."""
    return cwd[len(root) + 1 :] if cwd.startswith(root + "/") else None


def _shown(path: str, cwd: str) -> str:
    shown = posixpath.relpath(path, cwd)
    return f"../{posixpath.basename(path)}" if shown == "." else shown


def _print_entries(context: Context, args: argparse.Namespace, rows: Sequence[Entry]) -> None:
    if context.as_json:
        context.console.data_json(
            [
                {
                    "isout": row.isout,
                    "isdir": row.isdir,
                    "isexec": row.isexec,
                    "size": row.size,
                    "md5": row.md5,
                    "path": row.path,
                }
                for row in rows
            ]
        )
        return
    _print_columns(context, args, [(row, row.path) for row in rows])


def _print_columns(
    context: Context, args: argparse.Namespace, rows: Sequence[tuple[Entry | None, str]]
) -> None:
    """Prints the columns that were asked for: sizes to the right, content ids, names."""
    columns: list[list[str]] = []
    if args.size:
        sizes = [short_size(row.size if row is not None else None) for row, _ in rows]
        width = max(map(len, sizes), default=0)
        columns.append([size.rjust(width) for size in sizes])
    if args.show_hash:
        ids = [(row.md5 if row is not None else None) or "-" for row, _ in rows]
        width = max(map(len, ids), default=0)
        columns.append([oid.ljust(width) for oid in ids])
    columns.append([name for _, name in rows])
    lines = ["  ".join(line) for line in zip(*columns, strict=True)]
    if lines:
        context.console.out("\n".join(lines))


def _print_tree(
    context: Context, args: argparse.Namespace, view: View, folder: str | None, label: str
) -> None:
    """Prints a folder as a tree; `folder` is None for a file, of which there is just the label."""
    wants_figures = args.size or args.show_hash
    top = None
    if wants_figures and folder is not None:
        parent, name = posixpath.split(folder)
        top = view.entry(parent, name, True)
    rows: list[tuple[Entry | None, str]] = [(top, label)]
    if folder is not None and args.level != 0:
        _add_branches(rows, view, folder, "", args.level, wants_figures)
    _print_columns(context, args, rows)


def _add_branches(
    rows: list[tuple[Entry | None, str]],
    view: View,
    folder: str,
    indent: str,
    levels: int | None,
    wants_figures: bool,
) -> None:
    children = view.children(folder)
    names = sorted(children)
    for at, name in enumerate(names):
        is_last = at == len(names) - 1
        entry = view.entry(folder, name, children[name]) if wants_figures else None
        rows.append((entry, f"{indent}{'└── ' if is_last else '├── '}{name}"))
        if children[name] and (levels is None or levels > 1):
            below = f"{folder}/{name}" if folder else name
            _add_branches(
                rows,
                view,
                below,
                indent + ("    " if is_last else "│   "),
                None if levels is None else levels - 1,
                wants_figures,
            )
