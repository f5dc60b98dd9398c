"""`kist remote ls`, `check`, `copy`, `init` and `convert`: what they print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.base.shell import shell_line
from kist.cli.elsewhere import short_size, shown_names

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.remote_contents import Row
    from kist.repo.repository import Repository
    from kist.repo.settings import RemoteSettings


def run_data(args: argparse.Namespace, context: Context) -> int:
    """Returns the exit status of the subcommand."""
    run = {"ls": _ls, "check": _check, "copy": _copy, "init": _init, "convert": _convert}[args.subcommand]
    return run(args, context)


def _ls(args: argparse.Namespace, context: Context) -> int:
    """Returns 0, or 1 when metafiles could not be read."""
    from kist.repo.remote_contents import remote_contents

    repository = context.repository()
    name, path = args.name, args.path
    if path is None and name is not None and name.lower() not in repository.settings.remotes:
        name, path = None, args.name  # one word that is no remote is a path
    found = remote_contents(repository, name, repository.rel(path) or None if path is not None else None)
    console = context.console
    for note in [*repository.take_notes(), *found.damaged]:
        console.note(note)
    if context.as_json:
        console.data_json(
            {
                "remote": found.remote,
                "rows": [_row_json(row) for row in found.rows],
                "unneeded": None
                if found.unneeded is None
                else {"objects": found.unneeded[0], "bytes": found.unneeded[1]},
            }
        )
        return 1 if found.damaged else 0
    cells = [_cells(repository, row) for row in found.rows]
    widths = [max((len(line[at]) for line in cells), default=0) for at in range(3)]
    for path_cell, size, state, needed in cells:
        console.out(
            f"{path_cell.ljust(widths[0])}  {size.rjust(widths[1])}  {state.ljust(widths[2])}  {needed}"
        )
    if found.unneeded is not None and found.unneeded[0]:
        count, size_bytes = found.unneeded
        console.info(f"and {_counted(count, 'object')}, {_size(size_bytes)}, that nothing here needs")
    return 1 if found.damaged else 0


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "path": row.path,
        "oid": row.digest.value,
        "algorithm": row.digest.algorithm,
        "files": row.files,
        "bytes": row.size_bytes,
        "complete": row.is_complete,
        "missing": row.missing,
        "refs": list(row.refs),
        "commit": row.commit or None,
    }


def _cells(repository: Repository, row: Row) -> tuple[str, str, str, str]:
    path = repository.shown(row.path) if "://" not in row.path else row.path
    refs = ["workspace"] if not row.commit else []
    refs += row.refs
    needed = ", ".join(refs) or row.commit[:7]
    return path + ("/" if row.digest.is_dir else ""), _size(row.size_bytes), _state(row), needed


def _state(row: Row) -> str:
    if row.files is None:
        return "list of files missing"
    if row.is_complete:
        return "complete"
    if row.digest.is_dir:
        return f"lacks {row.missing} of {_counted(row.files + 1, 'object')}"
    return "missing"


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "-"
    return short_size(size_bytes) + ("B" if size_bytes < 1024 else "")


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _check(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when nothing was refused, else 1."""
    from kist.repo.remote_check import OK, REFUSED, check_remote

    repository = context.repository()
    name, trials = check_remote(repository, args.name)
    console = context.console
    for note in repository.take_notes():
        console.note(note)
    is_ok = not any(trial.state == REFUSED for trial in trials)
    if context.as_json:
        fields = [{**trial._asdict(), "hint": trial.hint or None} for trial in trials]
        console.data_json({"remote": name, "ok": is_ok, "trials": fields})
        return 0 if is_ok else 1
    for trial in trials:
        line = f"{name}: {trial.what}: {trial.state}"
        if trial.state != OK:
            line += f" (needed for {trial.needed_for})"
        console.out(line)
        if trial.state == REFUSED:
            console.error(trial.message)
            console.hint(trial.hint)
    return 0 if is_ok else 1


def _copy(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the target has all that the source has, else 1."""
    from kist.repo.remote_copy import copy_remote

    repository = context.repository()
    done = copy_remote(repository, args.source, args.target, jobs=args.jobs)
    console = context.console
    for note in repository.take_notes():
        console.note(note)
    if context.as_json:
        console.data_json(
            {
                "source": done.source,
                "target": done.target,
                "needed": done.needed,
                "moved": done.moved,
                "bytes": done.size_bytes,
                "runs": done.runs,
                "failed": [
                    {
                        "oid": oid,
                        "algorithm": algorithm,
                        "why": why,
                        "paths": list(names.paths) if names else [],
                    }
                    for (algorithm, oid), (why, names) in done.failed.items()
                ],
            }
        )
        return 1 if done.failed else 0
    for (_, oid), (why, names) in done.failed.items():
        console.error(f"cannot copy {shown_names(names)} ({oid}): it is {why} on remote '{done.source}'")
    console.info(
        f"{_counted(done.moved, 'object')} copied from '{done.source}' to '{done.target}', "
        f"{done.needed - done.moved - len(done.failed)} were there"
    )
    if done.failed:
        console.hint(shell_line("kist", "fsck", "-r", done.source))
    return 1 if done.failed else 0


def _init(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.repo.remote_packed import WITH_FOLDERS, init_packed
    from kist.repo.transfers import GUARDS

    repository = context.repository()
    remote, _ = repository.settings.choose_remote(args.name)
    if remote.scheme in GUARDS:
        _guard(context, remote)
    name, is_new = init_packed(repository, remote.name)
    if is_new:
        context.console.info(f"Remote '{name}' is packed now: Kist reads and writes it, DVC does not.")
    else:
        context.console.info(f"Remote '{name}' was packed already.")
    if remote.scheme not in WITH_FOLDERS | GUARDS.keys():
        context.console.note("DVC is not kept from writing there in its own layout; do not use both.")
    return 0


def _convert(args: argparse.Namespace, context: Context) -> int:
    """Returns 0, or 1 when something stays in the old layout."""
    from kist.repo.remote_convert import convert
    from kist.repo.transfers import GUARDS

    repository, console = context.repository(), context.console
    remote, _ = repository.settings.choose_remote(args.name)
    if remote.scheme in GUARDS and args.packed:
        _guard(context, remote)
    done = convert(repository, remote.name, to_packed=args.packed, jobs=args.jobs)
    if remote.scheme in GUARDS and args.loose and not done.failed:
        _guard(context, remote, lift=True)
    if context.as_json:
        failed = [
            {"oid": oid, "algorithm": algorithm, "why": why} for (algorithm, oid), why in done.failed.items()
        ]
        console.data_json({"remote": done.remote, "objects": done.objects, "failed": failed})
    else:
        for (_, oid), why in done.failed.items():
            console.error(f"cannot convert '{oid}': it is {why} on remote '{done.remote}'")
        layout = "packed" if args.packed else "loose"
        state = "is" if not done.failed else "is not all"
        console.info(
            f"{_counted(done.objects, 'object')} converted; remote '{done.remote}' {state} {layout} now."
        )
    if done.failed:
        console.hint(shell_line("kist", "fsck", "-r", done.remote))
    return 1 if done.failed else 0


def _guard(context: Context, remote: RemoteSettings, *, lift: bool = False) -> None:
    """Gives an option a value that DVC cannot use, wherever it is set, so that DVC stops before it writes there."""
    from kist.cli.levels import make_editor
    from kist.repo.transfers import GUARDS, guarded, unguarded

    editor, option = make_editor(context), GUARDS[remote.scheme]
    key = editor.existing_remote(remote.name, None)
    for level in ("system", "global", "project", "local"):
        setting = editor.settings.only(level).get(key, option)
        present = str(setting.value) if setting is not None else None
        if lift:
            own = unguarded(option, present or "")
            if present and own and own != present:
                editor.modify_remote(remote.name, option, own, level=level)
            elif present and own != present:
                editor.unset_remote_option(remote.name, option, level=level)
            continue
        value = guarded(option, present)
        if (present is not None or level == remote.level) and value != present:
            editor.modify_remote(remote.name, option, value, level=level)
