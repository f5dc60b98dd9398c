"""Which file of ignore patterns a person keeps for all repositories: what `core.excludesFile` names, or git's default.

Most people have none, so `git` is asked only where its configuration could say something about it.
Not here: what the patterns mean (kist.formats.ignore). Source: gitignore(5), git-config(1).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from kist.git.locate import GitPaths, read_small_file
from kist.git.process import GitMissingError, GitProgram

_SYSTEM = "/etc/gitconfig"
_SIGNS = ("excludesfile", "[include")


def excludes_file(paths: GitPaths, environ: Mapping[str, str]) -> str | None:
    """Returns the absolute path of the person's own ignore file, which need not exist; None where there can be none.

    Args: environ: the person's environment, for git too.
    """
    if _may_be_set(paths, environ):
        try:
            found = GitProgram(paths.top, environ).run(
                ["config", "--type=path", "--get", "core.excludesFile"], accepted=(0, 1, 128)
            )
        except GitMissingError:
            found = b""
        if found.endswith(b"\n"):
            named = os.fsdecode(found[:-1])
            return os.path.join(paths.top, named) if named else None
    folder = _git_folder(environ)
    return os.path.join(folder, "ignore") if folder is not None else None


def _may_be_set(paths: GitPaths, environ: Mapping[str, str]) -> bool:
    if any(name in environ for name in ("GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS")):
        return True
    files = [os.path.join(paths.common_dir, "config"), os.path.join(paths.git_dir, "config.worktree")]
    folder = _git_folder(environ)
    if "GIT_CONFIG_GLOBAL" in environ:
        files.append(environ["GIT_CONFIG_GLOBAL"])
    else:
        files += [os.path.join(folder, "config")] if folder is not None else []
        files += [os.path.join(environ["HOME"], ".gitconfig")] if environ.get("HOME") else []
    files.append(environ.get("GIT_CONFIG_SYSTEM", _SYSTEM))
    texts = [text.lower() for path in files if (text := read_small_file(path)) is not None]
    return any(sign in text for text in texts for sign in _SIGNS)


def _git_folder(environ: Mapping[str, str]) -> str | None:
    if environ.get("XDG_CONFIG_HOME"):
        return os.path.join(environ["XDG_CONFIG_HOME"], "git")
    return os.path.join(environ["HOME"], ".config", "git") if environ.get("HOME") else None
