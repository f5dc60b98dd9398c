"""`install`: Git's hooks, the merge driver and its attributes, put in and taken out; twice is once.

Not here: what the hooks do (cli.commands.git_hook, push_check), and merging.
Implements docs/spec/merging.md, section 10.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base import atomic
from kist.errors import InputError
from kist.git import clone
from kist.repo.merging import IGNORE_FILE, git_offset, git_program
from kist.repo.metafiles import Changes, read_bytes

if TYPE_CHECKING:
    from kist.git.process import GitProgram
    from kist.repo.repository import Repository

HOOKS = ("post-checkout", "post-merge", "post-rewrite", "pre-commit", "pre-push")
_WITH_INPUT = ("post-rewrite", "pre-push")
KEPT = ".before-kist"
ATTRIBUTES_FILE = ".gitattributes"
CLONE_ATTRIBUTES = "info/attributes"
PRE_COMMIT_FILE = ".pre-commit-config.yaml"
DRIVER = "kist git-hook merge-driver --ancestor %O --our %A --their %B --path %P"
_DRIVER_NAME = "Kist merge driver"
_PATTERNS = ("*.dvc", "dvc.lock", IGNORE_FILE)
_OURS = b"# Written by `kist install`; `kist install --remove` takes it away.\n"
_OF_DVC = re.compile(rb'#![^\n]*sh\nexec dvc git-hook [a-z-]+ "?\$@"?\s*')

_TEMPLATE = """#!/bin/sh
{ours}kept="$0{kept}"
if [ -x "$kept" ]; then
  "$kept" "$@" || exit $?
fi
{find}exec kist git-hook {name} "$@"
"""
_TEMPLATE_WITH_INPUT = """#!/bin/sh
{ours}kept="$0{kept}"
lines=$(cat)
lines="${{lines:+$lines
}}"
if [ -x "$kept" ]; then
  printf '%s' "$lines" | "$kept" "$@" || exit $?
fi
{find}printf '%s' "$lines" | kist git-hook {name} "$@"
"""
_FIND = """command -v kist >/dev/null 2>&1 || {{
  echo 'kist is not on the search path: its {name} hook does nothing' >&2
  exit 0
}}
"""


class HookKeptTwiceError(InputError):
    """A hook of somebody else and the one that was kept before it are both there. The user joins them by hand."""

    code = "hook-kept-twice"


class PreCommitConfigError(InputError):
    """The configuration of the pre-commit tool has no list `repos`. The user mends it."""

    code = "pre-commit-config"


class InstallResult(NamedTuple):
    """What was installed or removed.

    Attributes:
        changed: in words, such as "hook 'pre-push'"; empty when there was nothing to do.
        notes: what a person should know.
        unstaged: changed files that Git tracks or should, relative to the root.
    """

    changed: list[str]
    notes: list[str]
    unstaged: list[str]


def hook_text(name: str) -> bytes:
    """Returns the script of one hook."""
    template = _TEMPLATE_WITH_INPUT if name in _WITH_INPUT else _TEMPLATE
    find = _FIND.format(name=name)
    return template.format(ours=_OURS.decode(), kept=KEPT, find=find, name=name).encode()


def install(repository: Repository, *, use_pre_commit_tool: bool = False) -> InstallResult:
    """Puts in hooks, or entries for the pre-commit tool, and the merge driver.

    Raises: HookKeptTwiceError, PreCommitConfigError, GitFailedError, OSError.

    Holds: each file and setting is old or new at every moment; no hook of a person's is lost.
    """
    if repository.git is None:
        return _nothing()
    git = git_program(repository)
    result = InstallResult([], [], [])
    changes = Changes(repository)
    if use_pre_commit_tool:
        _change_pre_commit(repository, changes, result, is_removal=False)
        kinds = " ".join(f"--hook-type {name}" for name in HOOKS)
        result.notes.append(f"to make the pre-commit tool call them: pre-commit install {kinds}")
    else:
        _install_hooks(repository, git, result)
    _install_driver(git, result)
    _install_attributes(repository, git, changes, result)
    result.unstaged.extend(changes.finish())
    return result


def remove(repository: Repository) -> InstallResult:
    """Takes away what `install` put in, by either way; hooks that were kept come back.

    Raises: as `install`.
    """
    if repository.git is None:
        return _nothing()
    git = git_program(repository)
    result = InstallResult([], [], [])
    changes = Changes(repository)
    folder = clone.git_path(git, "hooks")
    for name in HOOKS:
        path = os.path.join(folder, name)
        if not _is_ours(read_bytes(path)):
            continue
        if os.path.lexists(path + KEPT):
            os.replace(path + KEPT, path)
        else:
            os.unlink(path)
        result.changed.append(f"hook '{name}'")
    for section in ("merge.kist", "merge.dvc"):
        driver = clone.get_config(git, f"{section}.driver")
        if driver is not None and _is_our_driver(driver):
            clone.remove_config_section(git, section)
            result.changed.append(f"setting '{section}.driver'")
    _remove_attributes(repository, git, changes, result)
    _change_pre_commit(repository, changes, result, is_removal=True)
    result.unstaged.extend(changes.finish())
    return result


def _nothing() -> InstallResult:
    return InstallResult([], ["there is no Git repository here, so there is nothing to install"], [])


# Hooks


def _is_ours(data: bytes | None) -> bool:
    return data is not None and _OURS in data[:200]


def _install_hooks(repository: Repository, git: GitProgram, result: InstallResult) -> None:
    folder = clone.git_path(git, "hooks")
    os.makedirs(folder, exist_ok=True)
    for name in HOOKS:
        _install_hook(os.path.join(folder, name), name, result)
    top = git.directory + os.sep
    assert repository.git is not None
    if not folder.startswith((repository.git.common_dir, top)):
        result.notes.append(f"core.hooksPath is '{folder}': other repositories may use these hooks too")


def _install_hook(path: str, name: str, result: InstallResult) -> None:
    text = hook_text(name)
    present = read_bytes(path)
    if present == text and os.access(path, os.X_OK):
        return
    if present is not None and not _is_ours(present):
        if _OF_DVC.fullmatch(present):
            result.notes.append(f"hook '{name}' of DVC is replaced")
        else:
            _keep(path, name, present)
            result.notes.append(f"hook '{name}' that was there runs first; it is '{name}{KEPT}' now")
    atomic.write_file(path, text, mode=0o755)
    result.changed.append(f"hook '{name}'")


def _keep(path: str, name: str, present: bytes) -> None:
    """Gives a person's hook a second name, so that at no moment it is gone."""
    kept = path + KEPT
    if os.path.lexists(kept):
        if read_bytes(kept) == present:
            return
        raise HookKeptTwiceError(
            f"cannot install hook '{name}': '{path}' is not ours, and '{kept}' was kept before",
            hint="join the two in one file, remove the other, then run `kist install` again",
        )
    try:
        os.link(path, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without links
        os.rename(path, kept)


# The driver


def _is_our_driver(driver: str) -> bool:
    return driver.startswith("kist git-hook merge-driver ")


def _install_driver(git: GitProgram, result: InstallResult) -> None:
    # Repositories name DVC's driver in their attributes: it is ours as well then.
    for section in ("merge.kist", "merge.dvc"):
        driver = clone.get_config(git, f"{section}.driver")
        if driver == DRIVER:
            continue
        is_free = driver is None or _is_our_driver(driver) or driver.startswith("dvc git-hook merge-driver ")
        if not is_free:
            result.notes.append(f"setting '{section}.driver' is left as it is: {driver}")
            continue
        clone.set_config(git, f"{section}.name", _DRIVER_NAME)
        clone.set_config(git, f"{section}.driver", DRIVER)
        result.changed.append(f"setting '{section}.driver'")


def _install_attributes(
    repository: Repository, git: GitProgram, changes: Changes, result: InstallResult
) -> None:
    offset = git_offset(repository)
    examples = {pattern: offset + pattern.replace("*", "data") for pattern in _PATTERNS}
    known = clone.merge_attributes(git, list(examples.values()))
    wanted = []
    for pattern, example in examples.items():
        value = known.get(example, "unspecified")
        if value in ("unspecified", "kist"):
            wanted.append(pattern)
        elif value != "dvc":
            result.notes.append(f"attribute 'merge={value}' of '{pattern}' is left as it is")
    if _add_lines(repository.abspath(ATTRIBUTES_FILE), wanted):
        changes.note(ATTRIBUTES_FILE)
        result.changed.append(f"file '{ATTRIBUTES_FILE}'")
    # The first is for the team; this one serves branches that do not have it yet.
    if _add_lines(clone.git_path(git, CLONE_ATTRIBUTES), wanted):
        result.changed.append(f"file '.git/{CLONE_ATTRIBUTES}'")


def _attribute_line(pattern: str) -> bytes:
    return f"{pattern} merge=kist".encode()


def _add_lines(path: str, patterns: Sequence[str]) -> bool:
    """Adds the lines that an attributes file lacks; returns whether it changed."""
    present = read_bytes(path) or b""
    lines = present.splitlines()
    lacking = [line for line in map(_attribute_line, patterns) if line not in lines]
    if not lacking:
        return False
    ended = present + b"\n" if present and not present.endswith(b"\n") else present
    os.makedirs(os.path.dirname(path), exist_ok=True)
    atomic.write_file(path, ended + b"".join(line + b"\n" for line in lacking))
    return True


def _remove_attributes(
    repository: Repository, git: GitProgram, changes: Changes, result: InstallResult
) -> None:
    if _remove_lines(repository.abspath(ATTRIBUTES_FILE)):
        changes.note(ATTRIBUTES_FILE)
        result.changed.append(f"file '{ATTRIBUTES_FILE}'")
    if _remove_lines(clone.git_path(git, CLONE_ATTRIBUTES)):
        result.changed.append(f"file '.git/{CLONE_ATTRIBUTES}'")


def _remove_lines(path: str) -> bool:
    """Removes our lines from an attributes file, and the file when it has no others; returns whether it changed."""
    present = read_bytes(path)
    if present is None:
        return False
    ours = {_attribute_line(pattern) for pattern in _PATTERNS}
    data = b"".join(line for line in present.splitlines(keepends=True) if line.strip() not in ours)
    if data == present:
        return False
    if data:
        atomic.write_file(path, data)
    else:
        os.unlink(path)
    return True


# The pre-commit tool


def _change_pre_commit(
    repository: Repository, changes: Changes, result: InstallResult, *, is_removal: bool
) -> None:
    assert repository.git is not None
    path = os.path.join(repository.git.top, PRE_COMMIT_FILE)
    present = read_bytes(path)
    if present is None and is_removal:
        return
    data = _without_entry(present or b"") if is_removal else _with_entry(present or b"")
    if data == present:
        return
    if data:
        atomic.write_file(path, data)
    else:
        os.unlink(path)
    changes.note(os.path.relpath(path, repository.root).replace(os.sep, "/"))
    result.changed.append(f"file '{PRE_COMMIT_FILE}'")


def _entry() -> dict[str, Any]:
    hooks = [
        {
            "id": f"kist-{name}",
            "name": f"kist {name}",
            "entry": f"kist git-hook {name}",
            "language": "system",
            "always_run": True,
            "pass_filenames": False,
            "verbose": True,
            "stages": [name],
        }
        for name in HOOKS
    ]
    return {"repo": "local", "hooks": hooks}


def _is_our_entry(item: Any) -> bool:
    hooks = item.get("hooks") if isinstance(item, dict) else None
    return isinstance(hooks, list) and any(
        isinstance(hook, dict) and str(hook.get("id", "")).startswith("kist-") for hook in hooks
    )


def _with_entry(present: bytes) -> bytes:
    from kist.formats import yaml  # only with --use-pre-commit-tool

    value, repos = _pre_commit_value(present)
    ours = [item for item in repos if _is_our_entry(item)]
    if ours == [_entry()]:
        return present
    wanted = {**value, "repos": [*(item for item in repos if item not in ours), _entry()]}
    if not ours:
        # Appended as text, comments in the list stay; the values tell whether that was right.
        indent = re.findall(rb"(?m)^( *)- +repo:", present)
        appended = _ended(present or b"repos:\n") + _entry_text(indent[-1] if indent else b"")
        if _says(appended, wanted):
            return appended
    return yaml.edit(present, wanted, name=PRE_COMMIT_FILE) if present else yaml.dump(wanted)


def _without_entry(present: bytes) -> bytes:
    from kist.formats import yaml

    value, repos = _pre_commit_value(present)
    rest = [item for item in repos if not _is_our_entry(item)]
    if len(rest) == len(repos):
        return present
    if not rest and not value.keys() - {"repos"}:
        return b""
    wanted = {**value, "repos": rest}
    for indent in {b"", *re.findall(rb"(?m)^( *)- +repo:", present)}:
        cut = present.replace(_entry_text(indent), b"", 1)
        if cut != present and _says(cut, wanted):
            return cut
    return yaml.edit(present, wanted, name=PRE_COMMIT_FILE)


def _pre_commit_value(present: bytes) -> tuple[dict[str, Any], list[Any]]:
    from kist.formats import yaml

    value = yaml.load(present, name=PRE_COMMIT_FILE) or {}
    repos = (value.get("repos") or []) if isinstance(value, dict) else None
    if not isinstance(repos, list):
        raise PreCommitConfigError(
            f"cannot change '{PRE_COMMIT_FILE}': it has no list 'repos'",
            hint="give it a list of repositories, as the pre-commit tool expects",
        )
    return value, repos


def _entry_text(indent: bytes) -> bytes:
    from kist.formats import yaml

    lines = yaml.dump([_entry()]).splitlines(keepends=True)
    return b"".join(indent + line for line in lines)


def _ended(data: bytes) -> bytes:
    return data if data.endswith(b"\n") else data + b"\n"


def _says(data: bytes, value: dict[str, Any]) -> bool:
    from kist.formats import yaml

    try:
        return bool(yaml.load(data, name=PRE_COMMIT_FILE) == value)
    except yaml.YamlError:
        return False
