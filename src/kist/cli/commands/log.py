"""`kist log`: the versions of data in Git's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.cli.parser import number_above_0

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kist.cli.context import Context
    from kist.repo.counting import Tally
    from kist.repo.history import OutputVersion, Version
    from kist.repo.repository import Repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `log`."""
    parser.add_argument("path", nargs="?", help="Only this tracked path, or what is below it.")
    parser.add_argument(
        "-n", type=number_above_0, metavar="N", dest="limit", help="Only the newest N versions."
    )
    parser.add_argument("--rev", metavar="REV", help="Versions up to this one; default: HEAD.")
    parser.add_argument("-A", "--all", action="store_true", help="Versions of all branches and tags.")
    parser.add_argument("--graph", action="store_true", help="Draw how commits follow each other.")
    parser.add_argument(
        "-c", "--cloud", action="store_true", help="Ask the remote whether it has them whole."
    )
    parser.add_argument("-r", "--remote", metavar="NAME", help="Ask this remote.")
    parser.add_argument("--json", action="store_true", help="Print a list of objects.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.cli.worlds import leave_notes
    from kist.errors import UsageError
    from kist.repo.history import drawing, history

    if args.all and args.rev is not None:
        raise UsageError("`kist log`: --all and --rev exclude each other", hint="leave one of them out")
    revs = ["--all"] if args.all else [args.rev or "HEAD"]
    repository = context.repository()
    asks = args.cloud or args.remote is not None
    versions = history(repository, args.path, revs=revs, limit=args.limit, cloud=asks, remote=args.remote)
    leave_notes(context, repository)
    if context.as_json:
        context.console.data_json([_as_json(repository, version, asks=asks) for version in versions])
    elif args.graph:
        by_commit = {version.commit: version for version in versions}
        _print_graph(context, drawing(repository, versions, revs), by_commit, asks=asks)
    else:
        for version in versions:
            context.console.out(_headline(context, version, asks=asks))
            for output in version.outputs:
                context.console.out(f"    {_line(repository, output)}")
    if not (asks or context.as_json):
        _hint_at_remote(context, repository, versions, args.path)
    return 0


def _hint_at_remote(
    context: Context, repository: Repository, versions: Sequence[Version], path: str | None
) -> None:
    """Says how figures that are unknown here can be had."""
    is_unknown = any(version.tally is None for version in versions)
    if is_unknown and repository.settings.remotes:
        from kist.repo.history import unknown_lists

        if unknown_lists(repository, versions):
            from kist.base.shell import shell_line  # only where figures lack

            context.console.hint(shell_line("kist", "log", "-c", path) if path else "kist log -c")


def _print_graph(
    context: Context, lines: Sequence[tuple[str, str]], versions: dict[str, Version], *, asks: bool
) -> None:
    """Prints the drawing as far as there are versions; commits that change no data are bare."""
    left = len(versions)
    for lead, commit in lines:
        version = versions.get(commit)
        if not left:
            return
        if version is not None:
            left -= 1
            numbers = _numbers(version.tally)
            context.console.out(f"{lead} {_headline(context, version, asks=asks)}: {numbers}")
        else:
            context.console.out(f"{lead} {commit[:7]}".rstrip())


def _headline(context: Context, version: Version, *, asks: bool) -> str:
    words = version.words
    names = [*(f"tag: {tag}" for tag in version.tags), *version.branches]
    parts = [
        context.console.paint(version.commit[:7], "yellow"),
        words.date[:10],
        words.author,
        *([context.console.paint(f"({', '.join(names)})", "green")] if names else []),
        words.subject,
    ]
    if asks:
        known = {True: "whole", False: "not whole", None: "?"}
        parts.append(f"[remote: {known[version.in_remote]}]")
    return "  ".join(parts)


def _line(repository: Repository, output: OutputVersion) -> str:
    digest = output.output.digest
    shown = repository.shown(output.path) + ("/" if digest is not None and digest.is_dir else "")
    if output.kind == "removed":
        return f"{shown}: removed"
    return f"{shown}: {_numbers(output.tally)}"


def _numbers(tally: Tally | None) -> str:
    from kist.cli.worlds import counted_changes, human

    if tally is None:
        return "? files"
    came = (
        None
        if tally.added_bytes is None or tally.changed_bytes is None
        else tally.added_bytes + tally.changed_bytes
    )
    sizes = [f"+{human(came)}"] if tally.added or tally.changed else []
    sizes += [f"-{human(tally.removed_bytes)}"] if tally.removed else []
    return f"{counted_changes(tally)} ({', '.join(sizes)})" if sizes else counted_changes(tally)


def _as_json(repository: Repository, version: Version, *, asks: bool) -> dict[str, Any]:
    words = version.words
    found: dict[str, Any] = {
        "commit": version.commit,
        "parents": words.parents,
        "tags": version.tags,
        "branches": version.branches,
        "author": {"name": words.author, "email": words.email},
        "date": words.date,
        "subject": words.subject,
        **_tally_json(version.tally),
        "outputs": [
            {
                "path": repository.shown(output.path),
                "change": output.kind,
                "size": output.output.size,
                "nfiles": output.output.nfiles,
                **_tally_json(output.tally),
            }
            for output in version.outputs
        ],
    }
    if asks:
        found["in_remote"] = version.in_remote
    return found


def _tally_json(tally: Tally | None) -> dict[str, Any]:
    if tally is None:
        return {"files": None, "bytes": None}
    return {
        "files": {"added": tally.added, "changed": tally.changed, "removed": tally.removed},
        "bytes": {"added": tally.added_bytes, "changed": tally.changed_bytes, "removed": tally.removed_bytes},
    }
