"""`kist version`: what runs here, and what this place can do: link types, remotes, file systems.

Works everywhere; what a repository adds is left out where there is none or where it cannot be read.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from kist import __version__
from kist.errors import KistError, NotARepositoryError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.repository import Repository

_MOUNTS = "/proc/self/mounts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 after printing what is known."""
    facts = _program(context)
    try:
        facts.update(_place(context.repository()))
    except NotARepositoryError:
        pass
    except KistError as error:  # a broken configuration is what this command helps to find
        facts["Repo"] = f"cannot be read: {error.message}"
    if context.as_json:
        context.console.data_json({name.lower().replace(" ", "_"): value for name, value in facts.items()})
        return 0
    head = f"Kist version: {__version__}"
    context.console.out(head)
    context.console.out("-" * len(head))
    for name, value in facts.items():
        if name != "Version":
            _print(context, name, value)
    return 0


def _print(context: Context, name: str, value: object) -> None:
    if isinstance(value, dict):
        context.console.out(f"{name}:")
        for key, text in value.items():
            context.console.out(f"\t{key}: {text}")
    elif isinstance(value, list):
        context.console.out(f"{name}: {', '.join(value) or 'None'}")
    else:
        context.console.out(f"{name}: {value}")


def _program(context: Context) -> dict[str, object]:
    import platform  # slow to import; this command may take its time

    from kist.remotes.table import usable_schemes

    paths = context.config_paths()
    return {
        "Version": __version__,
        "Platform": f"Python {platform.python_version()} on {platform.platform()}",
        "Git": _git_version(context),
        "Supports": ["local", *sorted(usable_schemes())],
        "Config": {
            "Global": os.path.dirname(paths.user or ""),
            "System": os.path.dirname(paths.system or ""),
        },
    }


def _git_version(context: Context) -> str:
    from kist.git.process import GitProgram

    try:
        said = GitProgram(context.cwd, context.environ).run(["version"])
    except KistError as error:
        return error.message
    return said.decode("utf-8", "replace").strip().removeprefix("git version ")


def _place(repository: Repository) -> dict[str, object]:
    settings = repository.settings
    cache = repository.cache_dir
    return {
        "Cache types": _link_types(cache, repository.root),
        "Cache directory": f"{_file_system(cache)} ({cache})",
        "Remotes": sorted({remote.scheme for remote in settings.remotes.values()}),
        "Workspace directory": f"{_file_system(repository.root)} ({repository.root})",
        "Repo": _kind(repository),
    }


def _kind(repository: Repository) -> str:
    if repository.settings.no_scm:
        return "dvc (no_scm)"
    git = repository.git
    if git is None:
        return "dvc"
    is_top = os.path.realpath(git.top) == os.path.realpath(repository.root)
    return "dvc, git" if is_top else "dvc (subdir), git"


def _link_types(cache: str, workspace: str) -> list[str]:
    """Returns the link types that work between both, tried with real files."""
    from kist.store.links import HARDLINK, REFLINK, SYMLINK, NoLinkTypeError, choose_type

    works = []
    for kind in (REFLINK, HARDLINK, SYMLINK):
        try:
            works.append(choose_type((kind,), store=cache, workspace=workspace))
        except NoLinkTypeError:
            continue
        except OSError as error:  # no cache yet, or read-only: nothing can be tried
            return [f"not tried: {(error.strerror or 'input/output error').lower()}"]
    return works


def _file_system(path: str) -> str:
    """Returns the kind of file system and its device, as far as the system tells."""
    if not sys.platform.startswith("linux"):
        return "file system unknown"
    real = os.path.realpath(path)
    best, answer = "", "file system unknown"
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().splitlines()
    except OSError:  # no /proc here
        return answer
    for line in lines:
        device, mount, kind = line.split(" ")[:3]
        mount = mount.replace("\\040", " ")
        if len(mount) >= len(best) and (real + "/").startswith(mount.rstrip("/") + "/"):
            best, answer = mount, f"{kind} on {device}"
    return answer
