"""`kist save`: stores changed data, commits, tags and pushes in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.base.shell import shell_line

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.repository import Repository
    from kist.repo.save import SaveResult
    from kist.repo.survey import Survey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `save`."""
    from kist.cli.worlds import add_common

    parser.add_argument(
        "paths", nargs="*", help="Only these; new paths are added. Default: all that is tracked."
    )
    parser.add_argument(
        "-m", "--message", metavar="TEXT", help="The commit's message; default: what changed."
    )
    parser.add_argument("--tag", metavar="NAME", help="Also make an annotated tag.")
    parser.add_argument("--push", action="store_true", help="Also push: data, then branch and tag.")
    add_common(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when everything is saved, or nothing was to be saved."""
    from kist.cli.worlds import leave_notes, print_commands, words_of
    from kist.repo.save import SaveOptions, save, save_commands

    repository = context.repository()
    words = ["kist", "save"]
    for option, value in (("-m", args.message), ("--tag", args.tag)):
        words += [option, value] if value is not None else []
    words += ["--push"] if args.push else []
    options = SaveOptions(args.message, args.tag, args.push, words_of([*words, *args.paths]))
    try:
        if args.dry:
            commands, found = save_commands(repository, args.paths, options)
            print_commands(context, repository, commands)
            if not commands and not context.as_json:
                context.console.note("Nothing to save.")
            _print_left_out(context, repository, found)
            return 0
        result = save(repository, args.paths, options)
    except BaseException:
        leave_notes(context, repository)
        raise
    _print(context, repository, result)
    if result.pushed is not None and result.pushed.failed:
        from kist.cli.transfer_options import report_failures

        report_failures(repository, result.pushed, "push")
    if result.error is not None:
        raise result.error
    return 0


def _print(context: Context, repository: Repository, result: SaveResult) -> None:
    from kist.cli.changes import counted
    from kist.cli.worlds import counted_changes, print_notes

    print_notes(context, result.notes, result.said)
    if context.as_json:
        context.console.data_json(_as_json(repository, result))
        return
    say = context.console.info
    for change in result.changes:
        shown = repository.shown(change.path) + ("/" if change.is_directory else "")
        say(f"data: {shown}: {counted_changes(change.tally)}")
    if result.commit is not None:
        where = f"branch {result.place.branch}" if result.place.branch else "no branch (HEAD is detached)"
        subject = (result.message or "").partition("\n")[0]
        say(f"git: commit {result.commit[:7]} on {where}: {subject}")
    else:
        say("Nothing to save.")
    if result.tag is not None:
        say(f"git: tag {result.tag}")
    if result.pushed is not None and not result.pushed.failed:
        where = result.pushed.remotes[0] if result.pushed.remotes else "the remote"
        moved = result.pushed.moved
        say(f"data: {counted(moved)} pushed to {where}" if moved else f"data: everything is on {where}")
    for what in result.pushed_git:
        say(f"git: pushed {what}")
    _print_left_out(context, repository, result.survey)


def _print_left_out(context: Context, repository: Repository, found: Survey) -> None:
    from kist.cli.worlds import human

    for hint in found.skipped[:5]:
        context.console.hint(hint)
    if len(found.skipped) > 5:
        context.console.hint(f"and {len(found.skipped) - 5} more, which `kist status` shows")
    if found.large:
        shown = [f"{repository.shown(path)} ({human(size)})" for path, size in found.large[:5]]
        more = f" and {len(found.large) - 5} more" if len(found.large) > 5 else ""
        named = shell_line("kist", "save", *[repository.shown(path) for path, _ in found.large[:5]])
        context.console.hint(f"new and not saved: {', '.join(shown)}{more}; track them with `{named}`")


def _as_json(repository: Repository, result: SaveResult) -> dict[str, Any]:
    return {
        "commit": result.commit,
        "branch": result.place.branch,
        "message": result.message,
        "tag": result.tag,
        "changes": [
            {
                "path": repository.shown(change.path),
                "files": None
                if change.tally is None
                else {
                    "added": change.tally.added,
                    "changed": change.tally.changed,
                    "removed": change.tally.removed,
                },
            }
            for change in result.changes
        ],
        "pushed": None
        if result.pushed is None
        else {
            "files": result.pushed.moved,
            "bytes": result.pushed.size_bytes,
            "failed": [list(failure) for failure in result.pushed.failed],
        },
        "pushed_git": result.pushed_git,
        "not_saved": [{"path": repository.shown(path), "bytes": size} for path, size in result.survey.large],
        "notes": result.survey.skipped,
    }
