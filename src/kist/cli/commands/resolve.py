"""`kist resolve`: finish a merge in which both sides changed the same data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.errors import InputError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kist.cli.context import Context
    from kist.git.unfinished import LastChange, Operation
    from kist.repo.repository import Repository
    from kist.repo.resolve import NamedClash, Resolution, Unfinished

_ANSWERS = {"o": "ours", "ours": "ours", "t": "theirs", "theirs": "theirs"}


class NoTerminalForChoicesError(InputError):
    """`--each` needs somebody to ask. The user names a side instead."""

    code = "no-terminal-for-choices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds targets and the ways to choose."""
    parser.add_argument(
        "targets",
        nargs="*",
        help="Outputs, metafiles, stages, folders, or paths inside tracked directories; left out: everything.",
    )
    parser.add_argument("--ours", action="store_true", help="Choose our side.")
    parser.add_argument("--theirs", action="store_true", help="Choose the other side.")
    parser.add_argument("--each", action="store_true", help="Ask for each clash.")
    parser.add_argument("--no-checkout", action="store_true", help="Leave the data in the workspace alone.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0; without a choice and with `--quiet`, 1 when something clashes."""
    from kist.repo.resolve import look, resolve, targets_chooser

    repository = context.repository()
    if args.ours + args.theirs + args.each > 1:
        raise UsageError(
            "options '--ours', '--theirs' and '--each' exclude each other", hint="give one of them"
        )
    found = look(repository)
    is_meant = targets_chooser(repository, args.targets, found.clashes)
    if not (args.ours or args.theirs or args.each):
        return _list(context, repository, found, [clash for clash in found.clashes if is_meant(clash)])
    side = "ours" if args.ours else "theirs"
    meant = [clash for clash in found.clashes if is_meant(clash)]
    if args.each:
        answers = _ask(context, repository, found.operation, [one for one in meant if one.choice is None])
    else:
        answers = {(clash.metafile, clash.clash.key): side for clash in meant}
    result = resolve(
        repository,
        lambda clash: answers.get((clash.metafile, clash.clash.key)),
        with_checkout=not args.no_checkout,
    )
    _report(context, repository, found.operation, result)
    return 0


# Listing


def _list(context: Context, repository: Repository, found: Unfinished, clashes: Sequence[NamedClash]) -> int:
    console = context.console
    if context.as_json:
        console.data_json(
            {
                **_operation_json(found.operation),
                "clashes": [_clash_json(repository, clash) for clash in clashes],
                "settled": [repository.shown(path) for path in found.settled],
            }
        )
        return 0
    if not found.clashes and not found.settled:
        console.info("Nothing clashes.")
        return 0
    operation = found.operation
    console.info(
        f"A {operation.kind} is unfinished. Ours is {operation.ours.name}, theirs is {operation.theirs.name}."
    )
    metafile = ""
    for clash in clashes:
        if clash.metafile != metafile:
            metafile = clash.metafile
            console.info(f"\n{repository.shown(metafile)}:{_dates(clash)}")
        console.info(f"\t{_shown(repository, clash)}\tours: {_side(clash, 0)}\ttheirs: {_side(clash, 1)}")
        if clash.clash.note:
            console.info(f"\t\t{clash.clash.note}")
    for path in found.settled:
        console.info(f"\n{repository.shown(path)}:\n\tnothing to choose")
    console.hint(
        "choose with `kist resolve --ours`, `--theirs` or `--each`, for everything or for some paths"
    )
    return 1 if context.quiet else 0


def _shown(repository: Repository, clash: NamedClash) -> str:
    file, colon, stage = clash.path.rpartition(":")
    is_stage = colon and clash.metafile.endswith("dvc.lock")
    path = f"{repository.shown(file)}:{stage}" if is_stage else repository.shown(clash.path)
    return f"{path} ({clash.clash.field})" if clash.clash.field else path


def _side(clash: NamedClash, at: int) -> str:
    side = (clash.clash.ours, clash.clash.theirs)[at]
    size = clash.sizes[at]
    chosen = " (chosen)" if clash.choice == ("ours", "theirs")[at] else ""
    return side.state + (f", {_bytes(size)}" if size is not None else "") + chosen


def _dates(clash: NamedClash) -> str:
    words = [
        f"{name} {change.date[:10]} {change.commit[:7]} {change.author}"
        for name, change in zip(("ours", "theirs"), clash.changes, strict=True)
        if change is not None
    ]
    return " " + "; ".join(words) if words else ""


def _bytes(size: int) -> str:
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}" if unit != "B" else f"{size} B"
        number /= 1000
    return f"{number:.3g} TB"


def _operation_json(operation: Operation) -> dict[str, Any]:
    return {
        "operation": operation.kind,
        "ours": operation.ours._asdict(),
        "theirs": operation.theirs._asdict(),
    }


def _clash_json(repository: Repository, clash: NamedClash) -> dict[str, Any]:
    sides = [
        {
            "state": side.state,
            "oids": [digest.value for digest in side.digests],
            "size": size,
            "changed": _change_json(change),
        }
        for side, size, change in zip(
            (clash.clash.ours, clash.clash.theirs), clash.sizes, clash.changes, strict=True
        )
    ]
    return {
        "metafile": repository.shown(clash.metafile),
        "path": clash.path if clash.metafile.endswith("dvc.lock") else repository.shown(clash.path),
        "field": clash.clash.field or None,
        "note": clash.clash.note or None,
        "ours": sides[0],
        "theirs": sides[1],
        "choice": clash.choice,
    }


def _change_json(change: LastChange | None) -> dict[str, str] | None:
    return None if change is None else change._asdict()


# Choosing


def _ask(
    context: Context, repository: Repository, operation: Operation, clashes: Sequence[NamedClash]
) -> dict[tuple[str, str], str]:
    """Returns the sides that the person chose; whoever stops keeps the answers so far."""
    console = context.console
    answers: dict[tuple[str, str], str] = {}
    if clashes:
        console.note(f"ours is {operation.ours.name}, theirs is {operation.theirs.name}")
    for clash in clashes:
        question = (
            f"{_shown(repository, clash)}: ours ({_side(clash, 0)}) or theirs ({_side(clash, 1)})? [o/t/s/q]"
        )
        word = ""
        while word not in (*_ANSWERS, "s", "skip", "q", "quit"):
            answer = console.ask(question)
            if answer is None and answers:
                answer = "q"
            if answer is None:
                raise NoTerminalForChoicesError(
                    "cannot ask which side to choose: the standard input is not a terminal",
                    hint="choose with `kist resolve --ours` or `kist resolve --theirs`",
                )
            word = answer.strip().lower()
        if word in ("q", "quit"):
            break
        if word in _ANSWERS:
            answers[clash.metafile, clash.clash.key] = _ANSWERS[word]
    return answers


def _report(context: Context, repository: Repository, operation: Operation, result: Resolution) -> None:
    from kist.cli.changes import changes_json, print_changes

    console = context.console
    if context.as_json:
        console.data_json(
            {
                **_operation_json(operation),
                "chosen": [_clash_json(repository, clash) for clash in result.chosen],
                "finished": [repository.shown(path) for path in result.finished],
                "left": [_clash_json(repository, clash) for clash in result.left],
                "checkout": changes_json(repository, result.checkout) if result.checkout else None,
            }
        )
        return
    names = {"ours": operation.ours.name, "theirs": operation.theirs.name}
    for clash in result.chosen:
        console.info(f"{clash.choice} ({names[clash.choice or 'ours']})\t{_shown(repository, clash)}")
    for note in result.notes:
        console.note(note)
    if result.checkout is not None:
        print_changes(context, repository, result.checkout)
        error = result.checkout.error(repository)
        if error is not None:
            console.warn(error.message)
            console.hint(error.hint or "kist checkout")
    if result.left:
        console.note(f"{len(result.left)} left to choose")
        console.hint("kist resolve")
    elif not result.finished:
        console.info("Nothing clashes.")
    else:
        number = len(result.finished)
        console.info(f"Finished {number} metafile{'' if number == 1 else 's'}.")
        console.hint(_NEXT_HINTS[operation.kind])


_NEXT_HINTS = {
    "merge": "git commit",
    "rebase": "git rebase --continue",
    "cherry-pick": "git cherry-pick --continue",
    "revert": "git revert --continue",
    "stash": "git stash drop",
}
