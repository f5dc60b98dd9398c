"""`kist config`: show and change single settings."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.cli.levels import add_level_options, json_value, make_editor, say_warnings, shown_file, shown_value
from kist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kist.cli.context import Context
    from kist.formats.config import SectionKey, Value
    from kist.repo.config_edit import ConfigEditor
    from kist.repo.settings import Setting, Settings


class ConfigArgumentsError(InputError):
    """Arguments are missing or do not go together. Exit 1, as DVC."""

    code = "config-arguments"
    exit_code = 1


class _Row(NamedTuple):
    name: str
    value: Value
    level: str
    file: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kist config`."""
    parser.add_argument("name", nargs="?", type=_name, help="section.option, or remote.NAME.option.")
    parser.add_argument("value", nargs="?", help="New value; left out, the present one is shown.")
    add_level_options(parser)
    parser.add_argument("-u", "--unset", action="store_true", help="Remove the option.")
    parser.add_argument("-l", "--list", action="store_true", help="Show all options that are set.")
    parser.add_argument("--show-origin", action="store_true", help="Say which file an option is from.")
    parser.add_argument("--json", action="store_true", help="Show as JSON.")


def _name(text: str) -> str:
    from kist.repo.config_edit import option_key

    if option_key(text) is None:
        raise argparse.ArgumentTypeError(
            "a name looks like section.option, remote.NAME.option or db.NAME.option"
        )
    return text


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 after showing or changing what was asked for."""
    _check_arguments(args)
    editor = make_editor(context)
    if args.list:
        _list(args, context, editor)
        return 0
    from kist.repo.config_edit import option_key

    found = option_key(args.name)
    assert found is not None  # the parser has seen to it
    key, option = found
    if args.unset:
        editor.unset_option(args.level or "project", key, option)
        say_warnings(context, editor)
    elif args.value is None:
        _show(args, context, editor, key, option)
    else:
        editor.set_option(args.level or "project", key, option, args.value)
        say_warnings(context, editor)
        _say_more(args, context, editor, key, option)
    return 0


def _check_arguments(args: argparse.Namespace) -> None:
    if args.list and (args.unset or args.name is not None):
        raise ConfigArgumentsError(
            "cannot use --list with --unset, a name or a value", hint="kist config --list"
        )
    if args.list:
        return
    if args.name is None:
        raise ConfigArgumentsError(
            "cannot show or change an option: no name is given", hint="kist config --list"
        )
    if args.show_origin and (args.unset or args.value is not None):
        raise ConfigArgumentsError(
            "cannot use --show-origin with --unset or a value", hint="leave `--show-origin` out"
        )


def _list(args: argparse.Namespace, context: Context, editor: ConfigEditor) -> None:
    rows = list(_rows(editor.read_level(args.level)))
    if context.as_json:
        context.console.data_json([_as_json(editor, row) for row in rows])
        return
    for row in rows:
        context.console.out(f"{_origin(args, editor, row.file)}{row.name}={shown_value(row.value)}")


def _rows(settings: Settings) -> Iterator[_Row]:
    """Yields all options of all files, in the order of DVC: sections with names first."""
    from kist.formats.config import NAMED_KINDS
    from kist.repo.settings import dotted

    for level in settings.levels:
        sections = [one for kind in NAMED_KINDS for one in level.file.sections if one.key.kind == kind]
        sections += [one for one in level.file.sections if one.key.kind not in NAMED_KINDS]
        for section in sections:
            for option in section.options:
                value = settings.resolved(section.key, option.name, option.value, level.path)
                yield _Row(dotted(section.key, option.name), value, level.level, level.path)


def _show(
    args: argparse.Namespace, context: Context, editor: ConfigEditor, key: SectionKey, option: str
) -> None:
    from kist.repo.settings import dotted

    setting = editor.get(args.level, key, option)
    if context.as_json:
        row = _Row(dotted(key, option), setting.value, setting.level, setting.file) if setting else None
        context.console.data_json(_as_json(editor, row) if row else None)
    elif setting is not None:
        context.console.out(f"{_origin(args, editor, setting.file)}{shown_value(setting.value)}")
    else:
        _show_section(args, context, editor, key, option)


def _show_section(
    args: argparse.Namespace, context: Context, editor: ConfigEditor, key: SectionKey, option: str
) -> None:
    """Shows all of a remote for `remote.NAME`; otherwise says what may be wrong with an unknown name."""
    from kist.formats.config import NAMED_KINDS, SectionKey
    from kist.repo.config_edit import unknown_option_hint

    section: dict[str, Setting] = {}
    if key.kind in NAMED_KINDS and not key.name:
        section = dict(editor.settings.section(SectionKey(key.kind, option)) or {})
    if section:
        values = {name: json_value(setting.value) for name, setting in section.items()}
        context.console.out(f"{_origin(args, editor, next(iter(section.values())).file)}{values}")
        return
    hint = unknown_option_hint(editor.settings, key, option)
    if hint:
        context.console.hint(hint)


def _origin(args: argparse.Namespace, editor: ConfigEditor, file: str) -> str:
    return f"{shown_file(editor, file)}\t" if args.show_origin else ""


def _as_json(editor: ConfigEditor, row: _Row) -> dict[str, object]:
    return {
        "name": row.name,
        "value": json_value(row.value),
        "level": row.level,
        "file": shown_file(editor, row.file),
    }


def _say_more(
    args: argparse.Namespace, context: Context, editor: ConfigEditor, key: SectionKey, option: str
) -> None:
    """Does what a new value entails, and warns of a secret in a file that is shared."""
    from kist.repo.config_edit import is_secret, without_password

    if (key.kind, option) == ("core", "autostage") and args.value.lower() == "true":
        _stage_pending(context, editor)
    plain = without_password(args.value) if (key.kind, option) == ("remote", "url") else args.value
    if plain != args.value and args.level in (None, "project"):
        file = shown_file(editor, editor.path_of("project"))
        context.console.warn(
            f"the password in the address of remote '{key.name}' is in '{file}' now, which Git shares"
        )
        context.console.hint(shell_line("kist", "remote", "modify", key.name, "url", plain))
    if key.kind == "remote" and is_secret(key.name, option) and args.level in (None, "project"):
        file = shown_file(editor, editor.path_of("project"))
        context.console.warn(f"the {option} of remote '{key.name}' is in '{file}' now, which Git shares")
        context.console.hint(
            f"{shell_line('kist', 'remote', 'modify', '--project', key.name, option, '--unset')} && "
            f"{shell_line('kist', 'remote', 'modify', key.name, option)}"
        )


def _stage_pending(context: Context, editor: ConfigEditor) -> None:
    """Stages the metafiles that were made before the switch, so that the next commit has them."""
    if editor.paths.project is None:
        return
    from kist.repo.autostage import stage_pending

    repository = context.repository()
    staged = stage_pending(repository)
    if staged:
        names = ", ".join(f"'{repository.shown(rel)}'" for rel in staged)
        context.console.info(f"Staged what was not staged yet: {names}")
