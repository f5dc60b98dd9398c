"""Where the configuration files of all levels are, given the environment. Source: DVC 3.67.1.

Not here: what stands in them (settings), and looking at the environment itself, which is for the edges.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from kist.repo.settings import ConfigPaths


def config_paths(environ: Mapping[str, str], root: str | None) -> ConfigPaths:
    """Returns the files of all levels, whether they exist or not; the project's are None without a repository."""
    return ConfigPaths(
        system=os.path.join(system_config_directory(environ), "config"),
        user=os.path.join(user_config_directory(environ), "config"),
        project=os.path.join(root, ".dvc", "config") if root else None,
        local=os.path.join(root, ".dvc", "config.local") if root else None,
    )


def system_config_directory(environ: Mapping[str, str]) -> str:
    """Returns the directory of the system's configuration."""
    if environ.get("DVC_SYSTEM_CONFIG_DIR"):
        return environ["DVC_SYSTEM_CONFIG_DIR"]
    if sys.platform == "darwin":
        return "/Library/Application Support/dvc"
    first = environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)[0].strip()
    return os.path.join(first or "/etc/xdg", "dvc")


def user_config_directory(environ: Mapping[str, str]) -> str:
    """Returns the directory of the user's own configuration."""
    if environ.get("DVC_GLOBAL_CONFIG_DIR"):
        return environ["DVC_GLOBAL_CONFIG_DIR"]
    home = environ.get("HOME") or os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "dvc")
    return os.path.join(environ.get("XDG_CONFIG_HOME", "").strip() or os.path.join(home, ".config"), "dvc")
