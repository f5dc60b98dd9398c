"""What the commands that show or change the configuration have in common: level options, and how things are shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kist.repo.settings import GLOBAL, LOCAL, PROJECT, SYSTEM

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.formats.config import Value
    from kist.repo.config_edit import ConfigEditor


def add_level_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--global`, `--system`, `--project` and `--local`, which exclude each other."""
    group = parser.add_mutually_exclusive_group()
    for level, summary in (
        (GLOBAL, "Use your own configuration."),
        (SYSTEM, "Use the machine's configuration."),
        (PROJECT, "Use the project's configuration (.dvc/config)."),
        (LOCAL, "Use the configuration of this clone alone (.dvc/config.local)."),
    ):
        group.add_argument(f"--{level}", dest="level", action="store_const", const=level, help=summary)


def make_editor(context: Context) -> ConfigEditor:
    """Returns an editor of the files around the current directory."""
    from kist.repo.config_edit import ConfigEditor  # only now is it known that the arguments are right

    return ConfigEditor(context.config_paths(), cwd=context.cwd, home=context.environ.get("HOME"))


def say_warnings(context: Context, editor: ConfigEditor) -> None:
    """Warns of what is odd in the configuration after a change."""
    for warning in editor.settings.warnings():
        context.console.warn(warning)


def shown_value(value: Value) -> str:
    """Returns a value as DVC prints it: a list in Python's spelling."""
    return value if isinstance(value, str) else str(list(value))


def json_value(value: Value) -> str | list[str]:
    """Returns a value for JSON."""
    return value if isinstance(value, str) else list(value)


def shown_file(editor: ConfigEditor, file: str) -> str:
    """Returns the name of a configuration file: the repository's from its root, others in full."""
    project = editor.paths.project
    if project is None or file not in (project, editor.paths.local):
        return file
    return os.path.relpath(file, os.path.dirname(os.path.dirname(project)))
