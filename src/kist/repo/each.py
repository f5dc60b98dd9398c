"""Runs a stage's command once for each item of a directory that it reads, and takes unchanged items from what was kept.

Not here: starting commands (stage_run, repro_parallel), recording the stage. Implements docs/spec/each.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Container, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.processes import is_elsewhere, pid_space
from kist.errors import FormatError, InputError
from kist.formats.lockfile import stage_value
from kist.formats.manifest import parse_manifest, render_manifest, tree_of
from kist.formats.records import MD5, Digest, Output
from kist.pipeline.commands import Work
from kist.repo.checkout import CheckoutOptions, checkout_items
from kist.repo.collect import Out, Stage
from kist.repo.stage_entry import inputs_of
from kist.repo.targets import Selected
from kist.repo.tracking import CannotCommitError, store_files

if TYPE_CHECKING:
    from kist.repo.repository import Repository
    from kist.repo.sight import Sight

_KEEP_S = 2.0
_KEEP_SHARE = 20
"""Storing what is finished may take one part in so many of the time."""
_FOLDER = re.compile(r"each-(\d+)-\d+-([0-9a-f.]+)")
_count = 0


class EachError(InputError):
    """A stage cannot run item by item: see the message. The person edits `dvc.yaml`."""

    code = "each-not-possible"
    exit_code = 255


class EachClashError(InputError):
    """Two items made the same path. The command has to name its results after the item."""

    code = "each-clash"
    exit_code = 255


class Item(NamedTuple):
    """One item.

    Attributes:
        name: in the directory.
        key: what its result is kept under: 64 hexadecimal digits.
    """

    name: str
    key: str


def items_of(
    repository: Repository, stage: Stage, each: str, sight: Sight, *, only: Container[str] | None = None
) -> list[Item]:
    """Returns the files and folders right in a dependency, by name.

    Args: only: the names of those that are wanted; None: all.

    Raises: EachError; CannotCommitError: something that the stage reads is missing.
    """
    resolved = stage.resolved
    assert resolved is not None
    inputs = inputs_of(repository, stage, sight)
    look = sight.looks[resolved.rooted(each), MD5]
    if not look.is_dir or look.snapshot is None:
        raise EachError(
            f"cannot run '{stage.address}' item by item: '{each}' is no directory",
            hint="take `each` out of the stage, or name a directory",
        )
    content: dict[str, list[tuple[str, str]]] = {}
    for relpath, oid in sorted(look.snapshot.tree().files()):
        name, _, inner = relpath.partition("/")
        content.setdefault(name, []).append((inner, oid))
    others = inputs._replace(
        deps=tuple(dep for dep in inputs.deps if dep.path != each),
        outs=tuple(Output(out.output.path) for out in stage.outs),
    )
    base = stage_value(others)
    return [
        Item(name, _key([base, name, held]))
        for name, held in sorted(content.items())
        if only is None or name in only
    ]


def _key(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()


Now = Callable[[Container[str]], list[Item]]
"""Returns items as they are now, by their names."""


class EachRun:
    """One run of a stage over its items. `close` it in the end."""

    def __init__(
        self,
        repository: Repository,
        stage: Stage,
        items: list[Item],
        now: Now,
        *,
        reuse: bool,
        keep: bool,
    ) -> None:
        """Args: now: looks at items again. reuse: take kept results. keep: keep new ones.

        Raises: EachError.
        """
        self._now = now
        self._repository = repository
        self._stage = stage
        self._out = _only_output(stage)
        self._keep = keep
        self._items = {item.name: item for item in items}
        self._made: dict[str, str] = {}
        """Path in the output -> the item that made it."""
        self._fresh: dict[str, list[str]] = {}
        """Item that ran -> its paths in the output; not kept yet."""
        self._due_s = time.monotonic() + _KEEP_S
        self._folder = _working_folder(repository)
        kept = self._kept(items) if reuse else {}
        self.pending = [item.name for item in items if item.name not in kept]
        """The items that are to run, by name."""
        self.count = len(items)
        self._started: dict[str, tuple[str, str]] = {}
        """Label of a work -> its item, and the folder of what it makes."""
        self._place(kept)

    def works(self, work: Work, lines: list[str], each: str) -> Iterator[Work]:
        """Yields the commands of each item that is to run.

        Args: work: the stage's own; each item has its label and environment besides. each: the dependency, as written.
        """
        for number, name in enumerate(self.pending):
            target = os.path.join(self._folder, str(number))
            os.mkdir(target)
            environ = {
                **work.environ,
                "KIST_ITEM": f"{each}/{name}",
                "KIST_ITEM_NAME": name,
                "KIST_OUT": target,
            }
            label = f"{work.stage}[{name}]"
            self._started[label] = (name, target)
            yield work._replace(stage=label, lines=iter(lines), environ=environ)

    def take(self, label: str) -> None:
        """Moves what an item's commands made into the output.

        Args: label: `stage` of its work.

        Raises: EachError, EachClashError, OSError.
        """
        name, source = self._started.pop(label)
        paths: list[str] = []
        for folder, folders, files in os.walk(source):
            inside = os.path.relpath(folder, source)
            self._refuse_links(name, folder, inside, folders)
            for file in files:
                relpath = os.path.normpath(os.path.join(inside, file)).replace(os.sep, "/")
                self._move(os.path.join(folder, file), relpath, name)
                paths.append(relpath)
        shutil.rmtree(source)
        self._fresh[name] = paths
        if time.monotonic() >= self._due_s:
            began_s = time.monotonic()
            self.keep()
            took_s = time.monotonic() - began_s
            self._due_s = time.monotonic() + max(_KEEP_S, _KEEP_SHARE * took_s)

    def keep(self) -> None:
        """Stores the results of the items that ran, and keeps what they are; durable when this returns.

        Of an item that changed since it was asked for nothing is kept: nobody knows what its command read.

        Raises: OSError, KistError.
        """
        if not self._fresh or not self._keep:
            return
        fresh, self._fresh = self._fresh, {}
        unchanged = self._unchanged(fresh)
        if not unchanged:
            return
        look = store_files(self._repository, self._out.path)
        assert look.snapshot is not None
        known = dict(look.snapshot.tree().files())
        files = []
        for name in unchanged:
            paths, path = fresh[name], self._record(self._items[name].key)
            self._repository.cache.make_folder(os.path.dirname(path))
            made = {relpath: known[relpath] for relpath in paths if relpath in known}
            files.append((path, render_manifest(tree_of(made))))
        root = _records(self._repository)
        folders = {os.path.dirname(path) for path, _ in files}
        atomic.write_many(
            files, root=self._repository.cache_dir, folders=[*folders, root, self._repository.cache_dir]
        )

    def close(self) -> None:
        """Removes what was only needed while items ran."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _unchanged(self, names: Container[str]) -> list[str]:
        try:
            now = self._now(names)
        except (CannotCommitError, EachError):
            return []  # something that it reads is gone
        return [item.name for item in now if self._items.get(item.name) == item]

    def _kept(self, items: list[Item]) -> dict[str, dict[str, str]]:
        """Returns item -> path -> object id of the kept results whose objects are all at hand."""
        found: dict[str, dict[str, str]] = {}
        for item in items:
            try:
                with open(self._record(item.key), "rb") as stream:
                    found[item.name] = dict(parse_manifest(stream.read(), name=item.key).files())
            except (OSError, FormatError):
                continue  # a record that is damaged is as good as none
        lacking = self._repository.cache.missing({oid for files in found.values() for oid in files.values()})
        return {name: files for name, files in found.items() if lacking.isdisjoint(files.values())}

    def _place(self, kept: Mapping[str, Mapping[str, str]]) -> None:
        """Makes the output what was kept, and nothing else."""
        repository, path = self._repository, self._repository.abspath(self._out.path)
        files: dict[str, str] = {}
        for name, own in kept.items():
            for relpath, oid in own.items():
                self._claim(relpath, name)
                files[relpath] = oid
        if files:
            data = render_manifest(tree_of(files))
            oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
            repository.cache.write_small(oid, data)
            output = self._out.output._replace(digest=Digest(MD5, oid), use_cache=True, files=None)
            wanted = Selected(self._stage, self._out._replace(output=output))
            error = checkout_items(repository, [wanted], CheckoutOptions(force=True)).error(repository)
            if error is not None:
                raise error
            return
        if os.path.lexists(path):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        os.makedirs(path)

    def _move(self, source: str, relpath: str, name: str) -> None:
        self._claim(relpath, name)
        target = os.path.join(self._repository.abspath(self._out.path), relpath)
        if os.path.isdir(target):
            raise _clash(self._stage, relpath, name, None)
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.move(source, target)
        except (FileExistsError, NotADirectoryError) as error:
            raise _clash(self._stage, relpath, name, None) from error

    def _refuse_links(self, name: str, folder: str, inside: str, folders: list[str]) -> None:
        for one in folders:
            if os.path.islink(os.path.join(folder, one)):
                relpath = os.path.normpath(os.path.join(inside, one))
                raise EachError(
                    f"cannot take the results of '{self._stage.address}': the item '{name}' made '{relpath}', "
                    "a link to a folder",
                    hint="copy the files to KIST_OUT",
                )

    def _claim(self, relpath: str, name: str) -> None:
        other = self._made.setdefault(relpath, name)
        if other != name:
            raise _clash(self._stage, relpath, name, other)

    def _record(self, key: str) -> str:
        return os.path.join(_records(self._repository), key[:2], key)


def _clash(stage: Stage, relpath: str, name: str, other: str | None) -> EachClashError:
    both = (
        f"the items '{other}' and '{name}' both make"
        if other
        else f"another item is in the way of '{name}' at"
    )
    return EachClashError(
        f"cannot put the results of '{stage.address}' together: {both} '{relpath}'",
        hint="name results after the item: KIST_ITEM_NAME",
    )


def _records(repository: Repository) -> str:
    return os.path.join(repository.cache_dir, "kist-each")


def _only_output(stage: Stage) -> Out:
    if len(stage.outs) != 1 or not stage.outs[0].is_inside or stage.outs[0].output.persist:
        raise EachError(
            f"cannot run '{stage.address}' item by item: it has to have one output, a directory that is not persistent",
            hint="make what is about all items in a stage of its own",
        )
    return stage.outs[0]


def _working_folder(repository: Repository) -> str:
    """Makes and returns a folder for what items make; those of processes that are gone are removed."""
    global _count
    _count += 1
    above = os.path.join(repository.dvc_dir, "tmp", "kist")
    os.makedirs(above, exist_ok=True)
    for name in os.listdir(above):
        match = _FOLDER.fullmatch(name)
        if match and not is_elsewhere(match[2]) and not atomic.is_alive(int(match[1])):
            shutil.rmtree(os.path.join(above, name), ignore_errors=True)
    path = os.path.join(above, f"each-{os.getpid()}-{_count}-{pid_space()}")
    shutil.rmtree(path, ignore_errors=True)  # of a process that had this number
    os.mkdir(path)
    return path
