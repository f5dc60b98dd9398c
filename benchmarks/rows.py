"""The rows of the main table: what is done before each measured command, and the command itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks import workload
from benchmarks.sandbox import Sandbox


class Command(NamedTuple):
    """A command line to measure: arguments after the program, and where it runs."""

    arguments: tuple[str, ...]
    cwd: str


class Setting(NamedTuple):
    """What all rows of one run share: the tree of files, and how many `.dvc` files the last rows have."""

    tree: workload.Tree
    tracked_files: int


class Row(NamedTuple):
    """One row of the table.

    Args:
        name: how it is named on the command line and in the JSON.
        title: how it is named in the table.
        floor: the least allowed ratio of DVC's time to Kist's.
        prepare: brings the sandbox into the state before the command; returns the command.
        finish: what to do after it.
        needs: rows that must have run before, measured or not.
        says: what both tools must print, the proof that the command did what the row is about.
        reads_remote: the command reads the storage folder's data.
    """

    name: str
    title: str
    floor: float
    prepare: Callable[[Sandbox, Setting], Command]
    finish: Callable[[Sandbox, Setting], None] | None = None
    needs: tuple[str, ...] = ()
    says: str = ""
    reads_remote: bool = False


def _edited(setting: Setting) -> int:
    return max(1, setting.tree.files // 100)


def _moment_path(box: Sandbox) -> str:
    return os.path.join(box.root, "moment")


def _moment(box: Sandbox) -> str:
    with open(_moment_path(box)) as stream:
        return stream.read()


def _bare_paths(box: Sandbox) -> tuple[str, str, str]:
    return os.path.join(box.repo, "data"), os.path.join(box.repo, "cache"), os.path.join(box.repo, "old.json")


def _new_manifest(box: Sandbox) -> str:
    return os.path.join(box.repo, "new.json")


def _add(box: Sandbox, setting: Setting) -> Command:
    box.make_repository(box.repo)
    workload.make_tree(os.path.join(box.repo, "data"), setting.tree)
    data, cache, manifest = _bare_paths(box)
    return Command(("add", data, cache, manifest) if box.is_bare else ("add", "data"), box.repo)


def _commit_first(box: Sandbox, setting: Setting) -> None:
    box.commit("first", cwd=box.repo)
    # A file written within the clock's grain of its record is hashed again by careful tools, as it
    # should be; a person's next command comes later than that.
    time.sleep(2)


def _add_again(box: Sandbox, setting: Setting) -> Command:
    return Command(("status", _bare_paths(box)[0]) if box.is_bare else ("add", "data"), box.repo)


def _status(box: Sandbox, setting: Setting) -> Command:
    return Command(("status", _bare_paths(box)[0]) if box.is_bare else ("status",), box.repo)


def _kept_stat_cache(box: Sandbox) -> str:
    return os.path.join(box.root, "kept-stat-cache")


def _status_cold(box: Sandbox, setting: Setting) -> Command:
    if box.is_bare:
        return Command(("status_cold", _bare_paths(box)[0]), box.repo)
    if os.path.exists(box.stat_cache(box.repo)):
        os.rename(box.stat_cache(box.repo), _kept_stat_cache(box))
    return Command(("status",), box.repo)


def _give_stat_cache_back(box: Sandbox, setting: Setting) -> None:
    """Puts the old one back, so that the next rows start from the same state as without this one."""
    if not box.is_bare and os.path.exists(_kept_stat_cache(box)):
        box.move_aside(box.stat_cache(box.repo))
        os.rename(_kept_stat_cache(box), box.stat_cache(box.repo))


def _push(box: Sandbox, setting: Setting) -> Command:
    return Command(("push", _bare_paths(box)[1], box.remote) if box.is_bare else ("push",), box.repo)


def _push_again(box: Sandbox, setting: Setting) -> Command:
    return Command(("list_store", box.remote) if box.is_bare else ("push",), box.repo)


def _status_cloud(box: Sandbox, setting: Setting) -> Command:
    return Command(("list_store", box.remote) if box.is_bare else ("status", "-c"), box.repo)


def _pull(box: Sandbox, setting: Setting) -> Command:
    box.git("clone", "-q", box.repo, box.clone, cwd=box.root)
    if box.is_bare:
        cache, data = os.path.join(box.clone, "cache"), os.path.join(box.clone, "data")
        return Command(("pull", box.remote, cache, data, _bare_paths(box)[2]), box.repo)
    return Command(("pull",), box.clone)


def _checkout_empty(box: Sandbox, setting: Setting) -> Command:
    data, cache, manifest = _bare_paths(box)
    box.move_aside(data)
    return Command(("checkout", cache, data, manifest) if box.is_bare else ("checkout",), box.repo)


def _checkout_noop(box: Sandbox, setting: Setting) -> Command:
    return Command(("status", _bare_paths(box)[0]) if box.is_bare else ("checkout",), box.repo)


def _edited_status(box: Sandbox, setting: Setting) -> Command:
    time.sleep(2)
    with open(_moment_path(box), "w") as stream:
        stream.write(str(time.time_ns() - 1_000_000_000))
    data = _bare_paths(box)[0]
    workload.edit_tree(data, setting.tree, count=_edited(setting))
    time.sleep(2)
    return Command(("status_changed", data, _moment(box)) if box.is_bare else ("status",), box.repo)


def _edited_add(box: Sandbox, setting: Setting) -> Command:
    if box.is_bare:
        return Command(("add_changed", *_bare_paths(box), _new_manifest(box), _moment(box)), box.repo)
    return Command(("add", "data"), box.repo)


def _commit_second(box: Sandbox, setting: Setting) -> None:
    box.commit("second", cwd=box.repo)
    time.sleep(2)


def _diff(box: Sandbox, setting: Setting) -> Command:
    if box.is_bare:
        return Command(("diff", _bare_paths(box)[2], _new_manifest(box)), box.repo)
    return Command(("diff", "HEAD~1", "HEAD"), box.repo)


def _switch(box: Sandbox, setting: Setting) -> Command:
    box.git("checkout", "-q", "HEAD~1", cwd=box.repo)
    if box.is_bare:
        data, cache, manifest = _bare_paths(box)
        return Command(("switch", cache, data, _new_manifest(box), manifest), box.repo)
    return Command(("checkout",), box.repo)


def _switch_back(box: Sandbox, setting: Setting) -> None:
    box.git("checkout", "-q", "main", cwd=box.repo)
    if box.is_bare:
        data, cache, manifest = _bare_paths(box)
        box.run("switch", cache, data, manifest, _new_manifest(box), cwd=box.repo)
    else:
        box.run("checkout", "-q", cwd=box.repo)


def _ls(box: Sandbox, setting: Setting) -> Command:
    return Command(("ls", _bare_paths(box)[2]) if box.is_bare else ("ls", "-R", ".", "data"), box.repo)


def _many_status(box: Sandbox, setting: Setting) -> Command:
    box.make_repository(box.many, with_remote=False)
    middle = workload.make_tracked_files(box.many, count=setting.tracked_files)
    with open(os.path.join(box.root, "middle"), "w") as stream:
        stream.write(middle)
    box.commit("many", cwd=box.many)
    if box.is_bare:
        return Command(("many_status", os.path.join(box.many, "many")), box.many)
    time.sleep(2)
    box.run("status", "-q", cwd=box.many)  # the first one hashes everything
    return Command(("status",), box.many)


def _many_status_one(box: Sandbox, setting: Setting) -> Command:
    with open(os.path.join(box.root, "middle")) as stream:
        middle = stream.read()
    return Command(("many_status_one", middle) if box.is_bare else ("status", middle), box.many)


ROWS = (
    Row("add", "add", 6, _add, _commit_first),
    Row("add_again", "add again, unchanged", 12, _add_again, needs=("add",)),
    Row("status", "status", 8, _status, needs=("add",), says="up to date"),
    Row(
        "status_cold",
        "status, stat cache lost",
        3.5,
        _status_cold,
        _give_stat_cache_back,
        ("add",),
        says="up to date",
    ),
    Row("push", "push to a folder", 5, _push, needs=("add",), says="pushed"),
    Row("push_again", "push again", 20, _push_again, needs=("push",), says="up to date"),
    Row("status_cloud", "status -c", 18, _status_cloud, needs=("push",), says="in sync"),
    Row(
        "pull", "fetch + checkout into a clone (pull)", 5, _pull, None, ("push",), "added", reads_remote=True
    ),
    Row("checkout_empty", "checkout, empty workspace", 5, _checkout_empty, needs=("add",), says="data"),
    Row("checkout_noop", "checkout, nothing to do", 10, _checkout_noop, needs=("add",)),
    Row("edited_status", "1 % edited: status", 8, _edited_status, needs=("add",), says="modified"),
    Row("edited_add", "1 % edited: add", 12, _edited_add, _commit_second, ("edited_status",)),
    Row("edited_push", "1 % edited: push", 30, _push, needs=("push", "edited_add"), says="pushed"),
    Row("diff", "diff of the two revisions", 15, _diff, needs=("edited_add",), says="modified"),
    Row(
        "switch", "switch between the two revisions", 12, _switch, _switch_back, ("edited_add",), says="data"
    ),
    Row("many_status", "2,000 .dvc files: status", 20, _many_status, says="up to date"),
    Row(
        "many_status_one",
        "2,000 .dvc files: one target",
        30,
        _many_status_one,
        needs=("many_status",),
        says="up to date",
    ),
    Row("ls", "ls -R of the directory", 20, _ls, needs=("add",), says="folder-"),
)

MEMORY_LIMIT_BYTES = 170 * 10**6


def needed_rows(names: frozenset[str] | None) -> list[tuple[Row, bool]]:
    """Returns the rows to run in order, each with whether it is measured.

    Args:
        names: rows asked for; None is all.

    Raises:
        ValueError: a name is no row.
    """
    if names is None:
        return [(row, True) for row in ROWS]
    by_name = {row.name: row for row in ROWS}
    if unknown := names - by_name.keys():
        raise ValueError(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(by_name)}")
    needed = list(names)
    for name in needed:
        needed.extend(need for need in by_name[name].needs if need not in needed)
    return [(row, row.name in names) for row in ROWS if row.name in needed]
