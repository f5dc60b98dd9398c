"""What belongs to one clone: its hooks folder, its own configuration, the attributes that it sees.

Not here: what is written there (repo.hooks). Source: git-rev-parse(1), git-config(1), git-check-attr(1).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from kist.git.process import GitProgram


def git_path(git: GitProgram, name: str) -> str:
    """Returns the absolute path of `hooks` or `info/attributes`; `core.hooksPath` and working trees are heeded."""
    found = os.fsdecode(git.run(["rev-parse", "--git-path", name])).rstrip("\n")
    return os.path.normpath(os.path.join(git.directory, found))


def get_config(git: GitProgram, key: str) -> str | None:
    """Returns a value of any level, the last one; None where it is not set."""
    found = git.run(["config", "--null", "--get", key], accepted=(0, 1))
    return os.fsdecode(found).rstrip("\0") if found else None


def get_flag(git: GitProgram, key: str) -> bool:
    """Returns a boolean value of any level; False where it is not set.

    Raises: GitFailedError: it is no boolean.
    """
    return git.run(["config", "--type=bool", "--get", key], accepted=(0, 1)).strip() == b"true"


def set_config(git: GitProgram, key: str, value: str) -> None:
    """Sets a value in the clone's own configuration."""
    git.run(["config", "--local", "--replace-all", key, value], writes=True)


def remove_config_section(git: GitProgram, section: str) -> None:
    """Removes a section from the clone's own configuration, if it is there."""
    git.run(["config", "--local", "--remove-section", section], accepted=(0, 128), writes=True)


def merge_attributes(git: GitProgram, paths: Sequence[str]) -> Mapping[str, str]:
    """Returns the `merge` attribute of paths relative to the top: "unspecified", "set", "unset", or a driver's name."""
    data = b"".join(os.fsencode(path) + b"\0" for path in paths)
    fields = os.fsdecode(git.run(["check-attr", "--stdin", "-z", "merge"], data=data)).split("\0")
    return dict(zip(fields[0::3], fields[2::3], strict=False))
