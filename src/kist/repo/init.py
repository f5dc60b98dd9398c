"""`init`: makes a repository for data.

Not here: Git's own initialisation. Source: DVC 3.67.1, for the files and their bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from kist.base import atomic
from kist.base.shell import shell_line
from kist.errors import InputError
from kist.git.repository import GitRepository
from kist.repo.repository import DVC_DIR

_GITIGNORE = b"/config.local\n/tmp\n/cache\n"
_DVCIGNORE = (
    b"# Add patterns of files dvc should ignore, which could improve\n"
    b"# the performance. Learn more at\n"
    b"# https://dvc.org/doc/user-guide/dvcignore\n"
)


class CannotInitError(InputError):
    """A repository cannot be made here: there is one already, or Git's top is elsewhere."""

    code = "cannot-init"


class InitOptionsError(CannotInitError):
    """Options that exclude each other. Exit 255, as DVC."""

    code = "init-options"
    exit_code = 255


def init(
    path: str, *, environ: Mapping[str, str], no_scm: bool = False, force: bool = False, subdir: bool = False
) -> list[str]:
    """Makes a repository in `path` and stages its files in Git.

    Args:
        no_scm: without Git.
        force: an existing repository is replaced, its cache included.
        subdir: `path` may be below the top of the Git repository.

    Returns: the files that were staged, absolute.

    Raises:
        CannotInitError, InitOptionsError, OSError.
    """
    if no_scm and subdir:
        raise InitOptionsError(
            "cannot initialize: --no-scm and --subdir exclude each other", hint="leave one of them out"
        )
    git = None if no_scm else GitRepository.find(path, environ=environ)
    if not no_scm and (git is None or (os.path.realpath(git.top) != os.path.realpath(path) and not subdir)):
        if git is None:
            raise CannotInitError(
                f"cannot initialize '{path}': it is in no Git repository",
                hint="run `git init && kist init`, or `kist init --no-scm` to do without Git",
            )
        raise CannotInitError(
            f"cannot initialize '{path}': it is not the top of its Git repository",
            hint=f"run `{shell_line('cd', git.top)} && kist init`, or `kist init --subdir` to have it here",
        )
    dvc_dir = os.path.join(path, DVC_DIR)
    if os.path.isdir(dvc_dir):
        if not force and os.path.exists(os.path.join(dvc_dir, "config")):
            raise CannotInitError(
                f"cannot initialize '{path}': '.dvc' exists",
                hint="`kist init --force` makes it anew, and removes the old one with its cache",
            )
        if force:
            shutil.rmtree(dvc_dir)
    if git is not None and git.ignored([dvc_dir]):
        raise CannotInitError(
            f"cannot initialize '{path}': Git ignores '.dvc'", hint="git check-ignore -v .dvc"
        )
    os.makedirs(os.path.join(dvc_dir, "tmp"), exist_ok=True)
    atomic.write_file(os.path.join(dvc_dir, "tmp", "btime"), b"")
    gitignore = os.path.join(dvc_dir, ".gitignore")
    dvcignore = os.path.join(path, ".dvcignore")
    config = os.path.join(dvc_dir, "config")
    staged = [config, dvcignore]
    if git is not None:
        atomic.write_file(gitignore, _GITIGNORE)
        staged.insert(0, gitignore)
    if not os.path.exists(dvcignore):
        atomic.write_file(dvcignore, _DVCIGNORE)
    # Last: a folder with this file is a repository.
    atomic.write_file(config, b"[core]\n    no_scm = True\n" if no_scm else b"")
    if git is not None:
        git.stage(staged)
        return staged
    return []
