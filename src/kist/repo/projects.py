"""Which projects use a cache that does not belong to one of them alone, so that `gc` in one keeps what the others need.

Not here: what they need (named, gc). Implements docs/spec/shared-cache.md, sections 2 and 3.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.errors import FormatError, InputError, KistError
from kist.store.loose import LooseStore

REGISTRY = "kist-projects"


class ProjectLostError(KistError):
    """A project that uses the cache is not there, not seen from this machine, or may not be read. See the hint."""

    code = "project-lost"


class RegistryDamagedError(FormatError):
    """An entry of the registry of projects cannot be understood."""

    code = "registry-damaged"


class NotRegisteredError(InputError):
    """A project that is to be forgotten is not registered, or is there and can be read."""

    code = "not-registered"


class Project(NamedTuple):
    """One entry of the registry.

    Attributes:
        root: absolute path on `machine`.
        machine: name of the machine that wrote the entry.
        inode: of the project's `.dvc` folder.
        user: who wrote the entry.
        entry: absolute path of the entry itself.
    """

    root: str
    machine: str
    inode: int
    user: str
    entry: str


def is_outside(cache_dir: str, root: str) -> bool:
    """Says whether a cache lies outside of the project at `root`, where others may use it too."""
    return not cache_dir.startswith(root + os.sep)


def register(cache: LooseStore, root: str) -> None:
    """Makes the project at `root` known to its cache, durable when the call returns; one look if it is known.

    A cache that cannot be written registers nobody: nothing of this project can be stored in it either.

    Raises:
        OSError: other than for want of permission.
    """
    inode = os.stat(os.path.join(root, ".dvc")).st_ino
    machine = atomic.machine_name()
    folder = os.path.join(cache.base, REGISTRY)
    path = os.path.join(folder, _entry_name(machine, root, inode))
    if os.path.exists(path):
        return
    import json  # once in a project's life

    entry = {"root": root, "machine": machine, "inode": inode, "user": _user()}
    try:
        cache.make_folder(folder)
        atomic.write_file(path, (json.dumps(entry) + "\n").encode(), mode=0o644)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def unregister(cache_dir: str, root: str) -> None:
    """Takes the project at `root` off the registry, if that can be written."""
    for project in registered(cache_dir):
        if project.root == root and project.machine == atomic.machine_name():
            atomic.remove_quietly(project.entry)


def _entry_name(machine: str, root: str, inode: int) -> str:
    import hashlib  # changing commands need it anyway

    text = f"{machine}\0{root}\0{inode}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:32] + ".json"


def _user() -> str:
    import pwd  # absent on some systems; once in a project's life

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def registered(cache_dir: str) -> list[Project]:
    """Returns the projects that a cache knows, in the order of their paths.

    Raises:
        RegistryDamagedError: an entry is garbage, so that a project may be unknown.
    """
    folder = os.path.join(cache_dir, REGISTRY)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(_parse(os.path.join(folder, name)) for name in names)


def _parse(path: str) -> Project:
    import json  # only where several projects share a cache

    try:
        with open(path, "rb") as stream:
            entry = json.loads(stream.read())
        root, machine, inode, user = (entry[key] for key in ("root", "machine", "inode", "user"))
    except (ValueError, TypeError, KeyError) as error:
        raise RegistryDamagedError(
            f"cannot read '{path}': it is no entry of a project",
            hint=f"run `kist commit` in the project that it stood for, then `{shell_line('rm', path)}`",
        ) from error
    return Project(str(root), str(machine), inode if isinstance(inode, int) else 0, str(user), path)


def reachable(cache_dir: str) -> list[Project]:
    """Returns the registered projects, each once, all of which are there; drops entries of those that were moved.

    Raises:
        ProjectLostError, RegistryDamagedError.
    """
    projects = registered(cache_dir)
    here: dict[str, Project] = {}
    lost: list[tuple[Project, str]] = []
    for project in projects:
        why = _why_lost(project)
        if why:
            lost.append((project, why))
        else:
            here.setdefault(project.root, project)
    inodes = {os.stat(os.path.join(root, ".dvc")).st_ino for root in here}
    for project, why in lost:
        is_moved = project.inode in inodes and project.machine == atomic.machine_name()
        if not is_moved:
            raise ProjectLostError(
                f"cannot tell what '{project.root}' needs, which uses the same cache: {why}"
                f" (registered by {project.user} on {project.machine})",
                hint="make it readable here, or if it is gone for good, run "
                f"`{shell_line('kist', 'gc', '--forget-project', project.root)}`",
            )
        atomic.remove_quietly(project.entry)
    return [here[root] for root in sorted(here)]


def _why_lost(project: Project) -> str:
    try:
        found = os.stat(os.path.join(project.root, ".dvc"))
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    if project.machine != atomic.machine_name() and found.st_ino != project.inode:
        return "it is on another machine"
    return ""


def forget(cache_dir: str, root: str) -> None:
    """Drops the entries of a project that is gone for good.

    Args: root: its path as the registry has it, absolute.

    Raises:
        NotRegisteredError: there is no such entry, or the project is there and would only be registered again.
    """
    entries = [project for project in registered(cache_dir) if project.root == root]
    if not entries:
        known = ", ".join(f"'{project.root}'" for project in registered(cache_dir)) or "none"
        raise NotRegisteredError(
            f"cannot forget '{root}': it is not registered; known are: {known}", hint="name one of these"
        )
    if any(not _why_lost(project) for project in entries):
        raise NotRegisteredError(
            f"cannot forget '{root}': it is there, and uses the cache",
            hint=f"if it is no longer needed, run `{shell_line('cd', root)} && kist destroy`",
        )
    for project in entries:
        os.unlink(project.entry)


def trusting(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment in which git reads repositories of other users, and fetches nothing for them."""
    count = environ.get("GIT_CONFIG_COUNT", "0")
    first = int(count) if count.isdigit() else 0
    added = {"GIT_CONFIG_COUNT": str(first + 2)}
    # A lazy fetch would run what the other user's configuration names as transport.
    for at, (key, value) in enumerate([("safe.directory", "*"), ("protocol.allow", "never")], first):
        added[f"GIT_CONFIG_KEY_{at}"] = key
        added[f"GIT_CONFIG_VALUE_{at}"] = value
    return {**environ, **added}
