"""`kist remote`: name the storages that data is pushed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.cli.levels import add_level_options, make_editor, say_warnings, shown_file
from kist.cli.parser import add_limit, number_above_0
from kist.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.config_edit import ConfigEditor


DATA_COMMANDS = {
    "ls": "Show what a remote holds, by the names of the data.",
    "check": "Try what a remote is needed for: list, write, read, delete.",
    "copy": "Bring the project's data from one remote to another.",
    "init": "Prepare an empty place in the packed layout.",
    "convert": "Turn a remote into the packed layout, or back.",
}
"""Subcommands that look into remotes; the others change the configuration."""


class NoValueError(ConfigError):
    """An option of a remote should be set, and no value is given. Exit 251, as DVC."""

    code = "remote-option-without-value"


class NoAddressGivenError(UsageError):
    """`remote add` got a name and no address. Exit 254, as DVC."""

    code = "remote-address-missing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of `kist remote`."""
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)

    def subcommand(name: str, summary: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=summary, description=summary)
        add_level_options(parser)
        return parser

    add = subcommand("add", "Add a remote.")
    add.add_argument("name", help="Name of the remote; may be left out for 'origin'.")
    add.add_argument("url", nargs="?", help="Its address: a folder, or s3://, ssh://, https:// and others.")
    add.add_argument("-d", "--default", action="store_true", help="Make it the default.")
    add.add_argument("-f", "--force", action="store_true", help="Replace a remote of this name.")

    default = subcommand("default", "Show or set the default remote.")
    default.add_argument("name", nargs="?", help="Name of the remote; left out, the present one is shown.")
    default.add_argument("-u", "--unset", action="store_true", help="Have no default.")
    default.add_argument("--json", action="store_true", help='Print {"name": ...}.')

    modify = subcommand("modify", "Change an option of a remote.")
    modify.add_argument("name", help="Name of the remote.")
    modify.add_argument("option", help="Name of the option.")
    modify.add_argument("value", nargs="?", help="Its value; a secret that is left out is asked for.")
    modify.add_argument("-u", "--unset", action="store_true", help="Remove the option.")

    listing = subcommand("list", "Show all remotes.")
    listing.add_argument("--json", action="store_true", help="Show as JSON.")

    remove = subcommand("remove", "Remove a remote.")
    remove.add_argument("name", help="Name of the remote.")

    rename = subcommand("rename", "Give a remote another name.")
    rename.add_argument("name", help="Its present name.")
    rename.add_argument("new", help="Its new name.")

    data = {
        name: commands.add_parser(name, help=text, description=text) for name, text in DATA_COMMANDS.items()
    }
    add_data_arguments(data)


def add_data_arguments(parsers: dict[str, argparse.ArgumentParser]) -> None:
    """Adds the arguments of the subcommands that look into remotes."""
    listing = parsers["ls"]
    listing.add_argument("name", nargs="?", help="Name of the remote; default: core.remote.")
    listing.add_argument(
        "path", nargs="?", help="A tracked path, a folder above some, or a path inside of one."
    )
    listing.add_argument("--json", action="store_true", help="Show as JSON.")

    check = parsers["check"]
    check.add_argument("name", nargs="?", help="Name of the remote; default: core.remote.")
    check.add_argument("--json", action="store_true", help="Show as JSON.")

    copy = parsers["copy"]
    copy.add_argument("source", help="Name of the remote that has the data.")
    copy.add_argument("target", help="Name of the remote that is to get it.")
    copy.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many processes or requests at once."
    )
    add_limit(copy)
    copy.add_argument("--json", action="store_true", help="Print what was copied as JSON.")

    convert = parsers["convert"]
    convert.add_argument("name", nargs="?", help="Name of the remote; default: core.remote.")
    layout = convert.add_mutually_exclusive_group(required=True)
    layout.add_argument("--packed", action="store_true", help="Into chunks in packs.")
    layout.add_argument("--loose", action="store_true", help="Into a file an object, which DVC reads, too.")
    convert.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many processes or requests at once."
    )
    convert.add_argument("--json", action="store_true", help="Print what was converted as JSON.")

    init = parsers["init"]
    init.add_argument("name", nargs="?", help="Name of the remote; default: core.remote.")
    init.add_argument(
        "--packed",
        action="store_true",
        required=True,
        help="Chunks in packs: fast for many small files, and for large ones that change a little; not for DVC.",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns the exit status of the subcommand."""
    if args.subcommand in DATA_COMMANDS:
        from kist.cli.remote_data import run_data  # naming remotes needs no data

        return run_data(args, context)
    editor = make_editor(context)
    return _RUN[args.subcommand](args, context, editor)


def _add(args: argparse.Namespace, context: Context, editor: ConfigEditor) -> int:
    from kist.repo.config_edit import ORIGIN

    level = args.level or "project"
    name, url = (ORIGIN, args.name) if args.url is None else (args.name, args.url)
    shared = _shared_address(args, url)
    if args.url is None:
        if not _is_address(args.name):
            raise NoAddressGivenError(
                f"`kist remote add`: '{args.name}' is a name, and its address is missing",
                hint=shell_line("kist", "remote", "add", args.name, "ADDRESS"),
            )
        if not editor.add_origin(shared, level=level, default=args.default, force=args.force):
            context.console.info(f"Remote '{ORIGIN}' is there already, with this address.")
    else:
        editor.add_remote(name, shared, level=level, default=args.default, force=args.force)
    _keep_password(args, context, editor, name, url)
    say_warnings(context, editor)
    if args.default:
        context.console.info(f"Setting '{name.lower()}' as a default remote.")
    return 0


def _shared_address(args: argparse.Namespace, url: str) -> str:
    """Returns an address as the shared file gets it: without a level its password stays out."""
    from kist.repo.config_edit import without_password

    return without_password(url) if args.level is None else url


def _keep_password(
    args: argparse.Namespace, context: Context, editor: ConfigEditor, name: str, url: str
) -> None:
    """Writes an address that holds a password into the local file as well, which is not shared, and says so.

    DVC shares it: a password that is in Git's history is everybody's.
    """
    from kist.repo.config_edit import without_password

    if args.level not in (None, "project"):
        return  # those files are shared with nobody
    console, key = context.console, editor.existing_remote(name, None)
    held = editor.settings.only("local").get(key, "url")
    if without_password(url) == url:
        if held is not None and args.level is None and held.value != url:
            local = shown_file(editor, editor.path_of("local"))
            console.warn(f"another address of remote '{key.name}' is in '{local}', and has precedence")
            console.hint(shell_line("kist", "remote", "modify", "--local", key.name, "url", "--unset"))
    elif args.level is None:
        editor.set_option("local", key, "url", url)
        local = shown_file(editor, editor.path_of("local"))
        console.note(
            f"The password in the address of remote '{key.name}' is kept in '{local}', which is not shared;"
            " --project would share it."
        )
    else:
        project = shown_file(editor, editor.path_of("project"))
        console.warn(
            f"the password in the address of remote '{key.name}' is in '{project}' now, which Git shares"
        )


def _is_address(text: str) -> bool:
    return "://" in text or "/" in text or text in (".", "..", "~")


def _default(args: argparse.Namespace, context: Context, editor: ConfigEditor) -> int:
    if args.unset:
        editor.unset_default(level=args.level)
        return 0
    if args.name is not None:
        editor.set_default(args.name, level=args.level)
        say_warnings(context, editor)
        return 0
    name = editor.read_level(args.level).text("core", "remote")
    if context.as_json:
        context.console.data_json({"name": name})
    elif name is None:
        context.console.out("No default remote set")
    else:
        context.console.out(name)
    return 1 if name is None else 0


def _modify(args: argparse.Namespace, context: Context, editor: ConfigEditor) -> int:
    from kist.repo.config_edit import is_secret

    if args.unset:
        editor.unset_remote_option(args.name, args.option, level=args.level)
        return 0
    key = editor.existing_remote(args.name, args.level)
    secret = is_secret(args.name, args.option)
    value = args.value
    if value is None:
        if not secret:
            raise NoValueError(
                f"cannot set '{args.option}' of remote '{args.name}': no value is given",
                hint=shell_line("kist", "remote", "modify", args.name, args.option, "VALUE"),
            )
        value = context.console.ask_secret(f"{args.option} of remote '{key.name}'")
    if not secret or args.level is not None:
        is_url = args.option.lower() == "url"
        shared = _shared_address(args, value) if is_url else value
        editor.modify_remote(args.name, args.option, shared, level=args.level)
        if is_url:
            _keep_password(args, context, editor, args.name, value)
        say_warnings(context, editor)
        return 0
    editor.modify_remote(args.name, args.option, value, level="local")
    say_warnings(context, editor)
    local = shown_file(editor, editor.path_of("local"))
    context.console.note(
        f"The {args.option} of remote '{key.name}' is kept in '{local}', which is not shared; --project would share it."
    )
    if editor.settings.only("project").get(key, args.option.lower()) is not None:
        context.console.warn(
            f"another {args.option} is still in '{shown_file(editor, editor.path_of('project'))}'"
        )
        context.console.hint(
            shell_line("kist", "remote", "modify", "--project", key.name, args.option, "--unset")
        )
    return 0


def _list(args: argparse.Namespace, context: Context, editor: ConfigEditor) -> int:
    from kist.repo.config_edit import masked

    settings = editor.read_level(args.level)
    remotes = settings.remotes.values()
    default = settings.core_remote
    if context.as_json:
        context.console.data_json(
            [
                {
                    "name": remote.name,
                    "url": masked(remote.location),
                    "default": remote.name == default,
                    "level": remote.level,
                    "file": shown_file(editor, remote.file),
                }
                for remote in remotes
            ]
        )
        return 0
    for remote in remotes:
        marker = "\t(default)" if remote.name == default else ""
        context.console.out(f"{remote.name}\t{masked(remote.location)}{marker}".expandtabs(8))
    return 0


def _remove(args: argparse.Namespace, context: Context, editor: ConfigEditor) -> int:
    editor.remove_remote(args.name, level=args.level)
    return 0


def _rename(args: argparse.Namespace, context: Context, editor: ConfigEditor) -> int:
    editor.rename_remote(args.name, args.new, level=args.level)
    return 0


_RUN = {
    "add": _add,
    "default": _default,
    "modify": _modify,
    "list": _list,
    "remove": _remove,
    "rename": _rename,
}
