"""`kist list-url`: lists what lies at an address of a storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kist.cli.elsewhere import short_size
from kist.cli.importing import opener_of
from kist.cli.parser import number

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from kist.cli.context import Context


class _Row(NamedTuple):
    path: str
    isdir: bool
    size: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `list-url`."""
    parser.add_argument("url", help="A path, an address such as s3://BUCKET/PATH, or remote://NAME/PATH.")
    parser.add_argument("-R", "--recursive", action="store_true", help="Also what is in folders.")
    parser.add_argument("-T", "--tree", action="store_true", help="Folders as a tree.")
    parser.add_argument(
        "-L", "--level", type=number, metavar="N", help="How many folders deep, with -R or -T."
    )
    parser.add_argument("--size", action="store_true", help="Show sizes.")
    parser.add_argument("--json", action="store_true", help="Print a list of objects.")
    parser.add_argument(
        "--fs-config", action="append", default=[], metavar="NAME=VALUE", help="An option of the storage."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when it could be listed."""
    from kist.repo.at_address import files_at, locate, parse_options

    opener = opener_of(context)
    located = locate(args.url, parse_options(args.fs_config, keeps=False), opener, folder=context.cwd)
    try:
        files = files_at(located)
    finally:
        located.close()
    if "" in files:
        rows = [_Row(located.name, False, files[""])]
    elif args.tree:
        return _print_tree(context, args, files)
    else:
        rows = _rows(files, recursive=args.recursive, level=args.level)
    if context.as_json:
        context.console.data_json([row._asdict() for row in rows])
        return 0
    sizes = [short_size(row.size) for row in rows]
    width = max(map(len, sizes), default=0)
    for row, size in zip(rows, sizes, strict=True):
        context.console.out(f"{size.rjust(width)}  {row.path}" if args.size else row.path)
    return 0


def _rows(files: Mapping[str, int | None], *, recursive: bool, level: int | None) -> list[_Row]:
    """Returns the files, or folders at the depth where it ends, sorted by path."""
    depth = level if recursive and level is not None else None if recursive else 1
    found: dict[str, _Row] = {}
    for rel, size in files.items():
        parts = rel.split("/")
        if depth is None or len(parts) <= depth:
            found[rel] = _Row(rel, False, size)
        elif depth > 0:
            folder = "/".join(parts[:depth])
            found[folder] = _Row(folder, True, None)
    return [found[path] for path in sorted(found)]


def _print_tree(context: Context, args: argparse.Namespace, files: Mapping[str, int | None]) -> int:
    """Prints folders and files as a tree below the address."""
    below: dict[str, dict[str, bool]] = {"": {}}
    for rel in files:
        parts = rel.split("/")
        for at in range(len(parts)):
            folder = "/".join(parts[:at])
            below.setdefault(folder, {})[parts[at]] = at < len(parts) - 1
    lines: list[tuple[int | None, str]] = [(None, args.url)]
    _add_branches(lines, below, files, "", "", args.level)
    width = max(len(short_size(size)) for size, _ in lines)
    for size, text in lines:
        context.console.out(f"{short_size(size).rjust(width)}  {text}" if args.size else text)
    return 0


def _add_branches(
    lines: list[tuple[int | None, str]],
    below: Mapping[str, Mapping[str, bool]],
    files: Mapping[str, int | None],
    folder: str,
    indent: str,
    levels: int | None,
) -> None:
    if levels is not None and levels < 1:
        return
    names = sorted(below[folder])
    for at, name in enumerate(names):
        is_last = at == len(names) - 1
        path = f"{folder}/{name}" if folder else name
        lines.append((files.get(path), f"{indent}{'└── ' if is_last else '├── '}{name}"))
        if below[folder][name]:
            deeper = indent + ("    " if is_last else "│   ")
            _add_branches(lines, below, files, path, deeper, None if levels is None else levels - 1)
