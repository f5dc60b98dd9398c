"""`kist diff`: how data differs between two revisions, or a revision and the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.compare.entries import Changed
    from kist.repo.diff import DiffResult

_SHORT = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `diff`."""
    parser.add_argument("a_rev", nargs="?", default="HEAD", help="The old revision; default: HEAD.")
    parser.add_argument("b_rev", nargs="?", help="The new revision; default: the workspace.")
    parser.add_argument(
        "--targets", nargs="*", metavar="PATH", default=[], help="Only these files or directories."
    )
    parser.add_argument("--json", action="store_true", help="Print JSON, in DVC's shape.")
    parser.add_argument("--show-hash", action="store_true", help="Also print content ids.")
    parser.add_argument("--md", action="store_true", help="Print a Markdown table.")
    parser.add_argument("--hide-missing", action="store_true", help="Leave out what the cache does not have.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.repo.diff import diff

    repository = context.repository()
    found = diff(repository, args.a_rev, args.b_rev, args.targets)
    result = found._replace(not_in_cache=None) if args.hide_missing else found
    if context.as_json:
        is_nothing = not (any(found.differences) or found.not_in_cache)
        context.console.data_json({} if is_nothing else _document(result, show_hash=args.show_hash))
    elif args.md:
        _print_markdown(context, _lines(result), show_hash=args.show_hash)
    else:
        _print_text(context, _lines(result), show_hash=args.show_hash)
    return 0


def _document(result: DiffResult, *, show_hash: bool) -> dict[str, Any]:
    found = result.differences

    def entry(item: Changed) -> dict[str, Any]:
        path: Any = item.path
        if item.new_path is not None:
            path = {"old": path, "new": item.new_path}
        document = {"path": path}
        if show_hash:
            is_one = item.old is None or item.new is None or item.new_path is not None
            old, new = item.old or None, item.new or None
            document["hash"] = old or new if is_one else {"old": old, "new": new}
        return document

    document: dict[str, Any] = {
        "added": [entry(item) for item in found.added],
        "deleted": [entry(item) for item in found.deleted],
        "modified": [entry(item) for item in found.modified],
        "renamed": [entry(item) for item in found.renamed],
    }
    if result.not_in_cache is not None:
        document["not in cache"] = [
            {"path": path, **({"hash": oid} if show_hash else {})} for path, oid in result.not_in_cache
        ]
    return document


def _lines(result: DiffResult) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns (word, [(ids, path)]) in DVC's order; paths are relative to the repository's root, as DVC has them."""
    found = result.differences

    def line(item: Changed) -> tuple[str, str]:
        path = item.path
        if item.new_path is not None:
            return (item.old or "")[:_SHORT], f"{path} -> {item.new_path}"
        ids = [oid[:_SHORT] for oid in (item.old, item.new) if oid is not None]
        return "..".join(ids), path

    return [
        ("added", [line(item) for item in found.added]),
        ("deleted", [line(item) for item in found.deleted]),
        ("renamed", [line(item) for item in found.renamed]),
        ("modified", [line(item) for item in found.modified]),
        ("not in cache", [(oid[:_SHORT], path) for path, oid in result.not_in_cache or []]),
    ]


def _print_text(
    context: Context, groups: list[tuple[str, list[tuple[str, str]]]], *, show_hash: bool
) -> None:
    counts = []
    colours = {
        "added": "green",
        "deleted": "red",
        "renamed": "green",
        "modified": "yellow",
        "not in cache": "yellow",
    }
    for word, lines in groups:
        if not lines:
            continue
        context.console.info(context.console.paint(word.capitalize() + ":", colours[word]))
        for ids, path in lines:
            context.console.info(f"    {ids}  {path}" if show_hash else f"    {path}")
        context.console.info()
        files = sum(not path.endswith("/") for _, path in lines)
        if files:
            counts.append(f"{files} {word}")
    if counts:
        context.console.info("files summary: " + ", ".join(counts))


def _print_markdown(
    context: Context, groups: list[tuple[str, list[tuple[str, str]]]], *, show_hash: bool
) -> None:
    rows = [("Status", "Hash", "Path")]
    rows += [(word, ids, path.replace("|", "\\|")) for word, lines in groups for ids, path in lines]
    columns = (0, 1, 2) if show_hash else (0, 2)
    widths = {column: max(len(row[column]) for row in rows) for column in columns}
    for column in columns:
        widths[column] = max(widths[column], len(rows[0][column]) + 2)  # as DVC's tables
    for at, row in enumerate(rows):
        context.console.info(
            "| " + " | ".join(row[column].ljust(widths[column]) for column in columns) + " |"
        )
        if at == 0:
            context.console.info("|" + "|".join("-" * (widths[column] + 2) for column in columns) + "|")
    context.console.info()
