"""`kist du`: how much space files and tracked data take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.elsewhere import add_repository_arguments, open_from, short_size

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `du`, and `--json`."""
    add_repository_arguments(parser)
    parser.add_argument("-s", "--summarize", action="store_true", help="Print only the sum.")
    parser.add_argument("--json", action="store_true", help="Print a list of objects, sizes in bytes.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when everything could be counted."""
    from kist.repo.du import usage
    from kist.repo.listing import View

    repository, path, rev = open_from(args, context)
    try:
        view = View(repository, rev=rev, remote=args.remote)
        rows = usage(view, path, is_dir=view.is_dir(path))
    finally:
        repository.close()
    if args.summarize:
        rows = rows[-1:]
    label = args.path or ""
    inner = label.rstrip("/") + "/" if label else ""
    named = [(row.size_bytes, inner + row.name if row.name else label) for row in rows]
    if context.as_json:
        context.console.data_json([{"path": name or ".", "size": size} for size, name in named])
        return 0
    sizes = [short_size(size) for size, _ in named]
    width = max(map(len, sizes))
    for size, (_, name) in zip(sizes, named, strict=True):
        context.console.out(f"{size.ljust(width)}  {name}" if name else size)
    return 0
