"""Any sequence of commands beside a model made of dictionaries: nothing is lost, nothing false is delivered.

The model holds what each version, the workspace and the metafile say. What cache and storage hold is read from the disk
after every step, and may change only as the step allows. Files are tiny and often of one size, and nothing waits between
two steps, so that a change which looks like no change would be found here. The workspace holds copies or links.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from hashlib import md5

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kist.testing.project import Answer, Project

Files = dict[str, bytes]

PATHS = st.sampled_from(["one", "two", "deep/three", "deep/er/four", "one/inner"])
CONTENTS = st.sampled_from([b"", b"a\n", b"b\n", b"c\n", b"longer\n"])
INDEXES = st.integers(0, 1000)


def md5_of(content: bytes) -> str:
    return md5(content, usedforsecurity=False).hexdigest()


def objects_of(files: Files) -> dict[str, bytes]:
    """Returns id -> bytes of all that one version of the folder needs: its files, and the manifest that names them."""
    entries = [{"md5": md5_of(files[path]), "relpath": path} for path in by_parts(files)]
    manifest = json.dumps(entries, sort_keys=True).encode()
    return {md5_of(content): content for content in files.values()} | {f"{md5_of(manifest)}.dir": manifest}


def by_parts(files: Files) -> list[str]:
    return sorted(files, key=lambda path: path.split("/"))


def read_objects(top: str) -> dict[str, bytes]:
    """Returns id -> bytes of everything in a cache or a storage, sound or not; what was set aside is left out."""
    found = {}
    for prefix in os.listdir(top) if os.path.isdir(top) else ():
        if len(prefix) != 2:
            continue
        for name in os.listdir(os.path.join(top, prefix)):
            with open(os.path.join(top, prefix, name), "rb") as stream:
                found[prefix + name] = stream.read()
    return found


def read_objects_aside(cache: str) -> set[bytes]:
    """Returns the contents of what was found damaged and set aside."""
    top = os.path.join(cache, "..", "..", "kist-bad")
    return set(read_files(top).values())


def sound(objects: dict[str, bytes]) -> set[str]:
    """Returns the ids of the objects whose bytes fit them."""
    return {oid for oid, content in objects.items() if md5_of(content) == oid.removesuffix(".dir")}


def read_files(top: str) -> Files:
    """Returns path -> bytes of what is in a folder; a link to an object that is lost holds nothing."""
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.exists(path):
                continue
            with open(path, "rb") as stream:
                found[os.path.relpath(path, top)] = stream.read()
    return found


class Model(RuleBasedStateMachine):
    """A person with one tracked folder, a storage, and bad luck.

    Attributes:
        work: the files that lie in the folder.
        tracked: the files that the metafile stands for.
        versions: (commit, files).
        head: index of the version that Git has checked out.
        stored: ids of sound objects in the cache, at the end of the last step.
        remote: the same of the storage.
        rotten: ids of objects that were ever damaged in the cache: their names prove nothing.
        steps: how many were played, in all sequences.
        scars: ids of the contents that the damage made; seen through a link they are an edit as well as damage.
    """

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.top = tempfile.mkdtemp(prefix="kist-model-")
        self.storage = os.path.join(self.top, "storage")
        os.mkdir(self.storage)
        self.project = Project(os.path.join(self.top, "project"))
        self.data = self.project.path("data")
        self.cache = self.project.path(".dvc/cache/files/md5")
        self.work: Files = {}
        self.tracked: Files = {}
        self.versions: list[tuple[str, Files]] = []
        self.head = 0
        self.stored: set[str] = set()
        self.remote: set[str] = set()
        self.rotten: set[str] = set()
        self.scars: set[str] = set()
        self.clones = 0

    def teardown(self) -> None:
        shutil.rmtree(self.top)

    @initialize(content=CONTENTS, link=st.sampled_from(["reflink,copy", "hardlink", "symlink"]))
    def start(self, content: bytes, link: str) -> None:
        self.project.kist("remote", "add", "--quiet", "-d", "storage", self.storage)
        self.project.kist("config", "--quiet", "cache.type", link)
        self.write("one", content)
        self.add(verb=("add", "data"))
        self.git_commit()

    # ---- the person's own hands ----

    @rule(path=PATHS, content=CONTENTS)
    def write(self, path: str, content: bytes) -> None:
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            above = os.path.join(self.data, *parts[:count])
            if os.path.lexists(above) and (os.path.islink(above) or not os.path.isdir(above)):
                os.unlink(above)  # never through a link, into the cache
        target = os.path.join(self.data, path)
        if os.path.isdir(target):
            shutil.rmtree(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as stream:
            stream.write(content)
        for other in list(self.work):
            if other.startswith(path + "/") or path.startswith(other + "/"):
                del self.work[other]
        self.work[path] = content

    @precondition(lambda self: self.work)
    @rule(index=INDEXES)
    def delete(self, index: int) -> None:
        self._unlink(sorted(self.work)[index % len(self.work)])

    @precondition(lambda self: self.work)
    @rule(index=INDEXES, path=PATHS)
    def rename(self, index: int, path: str) -> None:
        content = self.work[sorted(self.work)[index % len(self.work)]]
        self.delete(index)
        self.write(path, content)

    def _unlink(self, path: str) -> None:
        os.unlink(os.path.join(self.data, path))
        del self.work[path]

    # ---- versions ----

    @rule(verb=st.sampled_from([("add", "data"), ("commit", "--force")]))
    def add(self, verb: tuple[str, ...]) -> None:
        os.makedirs(self.data, exist_ok=True)
        before = dict(self.work)
        answer = self.project.try_kist(*verb)
        if self._has_dead_links():
            assert answer.code != 0
            return
        assert answer.code == 0, answer
        self.work = read_files(self.data)
        for path, content in before.items():
            # What was written through a link counts as damage of the object, which another file may heal.
            if self.work.get(path) != content:
                assert md5_of(self.work[path]) in self.rotten
                assert content in read_objects_aside(self.cache)
        # A commit of what did not change writes nothing, so it heals nothing; an add does.
        excused = self.rotten if verb[0] == "commit" and self.work == self.tracked else set()
        self.tracked = dict(self.work)
        assert self._needed() - excused <= sound(read_objects(self.cache))
        if self._needed() <= sound(read_objects(self.cache)):
            self._says_clean(expected=True)

    @rule()
    def git_commit(self) -> None:
        self.project.git("add", "--all")
        number = len(self.versions)
        self.project.git("commit", "--quiet", "--allow-empty", "--message", f"version {number}")
        self.versions.append((self.project.git("rev-parse", "HEAD").strip(), dict(self.tracked)))
        self.head = number

    @rule(index=INDEXES, force=st.booleans())
    def switch(self, index: int, force: bool) -> None:
        if self.tracked != self.versions[self.head][1]:
            self.git_commit()
        self.head = index % len(self.versions)
        commit, files = self.versions[self.head]
        self.project.git("checkout", "--quiet", commit)
        self.tracked = dict(files)
        self.check_out(verb="checkout", force=force)

    # ---- transfers ----

    @rule()
    def push(self) -> None:
        answer = self.project.try_kist("push")
        self._follow_links()
        self._check(
            answer, must=self._needed() <= self.stored, may=self._needed() <= self.stored | self.remote
        )
        if answer.code == 0:
            assert self._needed() <= sound(read_objects(self._remote_top()))

    @rule()
    def fetch(self) -> None:
        answer = self.project.try_kist("fetch")
        self._follow_links()
        available = self.stored | self.remote
        self._check(answer, must=self._needed() <= available, may=self._needed() <= available | self.rotten)
        if answer.code == 0:
            # What is there by name is not read again; the checkout does that.
            assert self._needed() <= set(read_objects(self.cache))

    @rule(verb=st.sampled_from(["checkout", "pull"]), force=st.booleans())
    def check_out(self, verb: str, force: bool) -> None:
        before, cached = dict(self.work), set(read_objects(self.cache))
        answer = self.project.try_kist(verb, *(["--force"] if force else []))
        self.work = read_files(self.data)
        at_risk = {md5_of(content) for path, content in before.items() if self.tracked.get(path) != content}
        at_hand = self.stored | self.remote if verb == "pull" else self.stored
        # What a pull fetches is saved when the workspace's turn comes, wherever it lies there; what is in the cache by
        # name is not fetched.
        unsaved = at_risk - self.stored - (self._needed() & at_hand - cached)
        self._check(
            answer,
            must=self._needed() <= at_hand and (force or not unsaved),
            may=force or not unsaved - self.scars,
        )
        if answer.code == 0:
            assert self.work == self.tracked
        if not force:
            kept = {md5_of(content) for content in self.work.values()} | sound(read_objects(self.cache))
            kept |= {md5_of(content) for content in read_objects_aside(self.cache)}
            lost = {md5_of(content) for content in before.values()} - kept
            assert lost == set(), f"{verb}: {answer}"
            if unsaved - self.scars:
                # A fetched object brings links to it back to life, or replaces the damaged one; nothing else changes.
                intact = {
                    path: content for path, content in before.items() if md5_of(content) not in self.scars
                }
                assert {path: self.work.get(path) for path in intact} == intact
        for path, content in self.work.items():
            assert content in (before.get(path), self.tracked.get(path))

    @precondition(lambda self: self._pushed())
    @rule(index=INDEXES)
    def somebody_else_pulls(self, index: int) -> None:
        pushed = self._pushed()
        commit, files = pushed[index % len(pushed)]
        self.clones += 1
        name = f"clone{self.clones}"
        self.project.git("clone", "--quiet", "--no-checkout", ".", f"../{name}")
        clone = Project.__new__(Project)  # a clone needs no `init`
        clone.root = os.path.join(self.top, name)
        clone.git("checkout", "--quiet", commit)
        clone.kist("pull")
        assert read_files(clone.path("data")) == files
        shutil.rmtree(clone.root)

    # ---- bad luck ----

    @rule()
    def lose_the_cache(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)
        self.stored = set()
        self.work = read_files(self.data)

    @precondition(lambda self: self.stored)
    @rule(index=INDEXES)
    def damage_the_cache(self, index: int) -> None:
        oid = sorted(self.stored)[index % len(self.stored)]
        path = os.path.join(self.cache, oid[:2], oid[2:])
        os.chmod(path, 0o644)
        with open(path, "r+b") as stream:
            first = stream.read(1)
            stream.seek(0)
            stream.write(b"#" if first != b"#" else b"%")
            stream.seek(1)
            damaged = (b"#" if first != b"#" else b"%") + stream.read()
        self.stored.discard(oid)
        self.rotten.add(oid)
        self.scars.add(md5_of(damaged))
        self.work = read_files(self.data)

    # ---- what holds at all times ----

    @rule()
    def look(self) -> None:
        if self.work != self.tracked:
            self._says_clean(expected=False)
        elif self._needed() <= self.stored and os.path.isdir(self.data):
            self._says_clean(expected=True)

    @invariant()
    def a_step_was_made(self) -> None:
        Model.steps += 1

    @invariant()
    def the_workspace_is_as_the_model_says(self) -> None:
        assert read_files(self.data) == self.work

    @invariant()
    def sound_objects_stay(self) -> None:
        now = sound(read_objects(self.cache))
        assert self.stored <= now
        self.stored = now

    @invariant()
    def the_storage_is_sound_and_complete(self) -> None:
        objects = read_objects(self._remote_top())
        now = sound(objects)
        assert now == set(objects)
        assert self.remote <= now
        for oid in now:
            if oid.endswith(".dir"):
                assert {entry["md5"] for entry in json.loads(objects[oid])} <= now
        self.remote = now

    def _follow_links(self) -> None:
        """Takes over what symbolic links lead to now: objects come and go with fetches and with damage that is found."""
        for path, content in read_files(self.data).items():
            if os.path.islink(os.path.join(self.data, path)):
                self.work[path] = content
        for path in list(self.work):
            if os.path.islink(dead := os.path.join(self.data, path)) and not os.path.exists(dead):
                del self.work[path]

    def _has_dead_links(self) -> bool:
        paths = (os.path.join(folder, name) for folder, _, names in os.walk(self.data) for name in names)
        return any(not os.path.exists(path) for path in paths)

    def _remote_top(self) -> str:
        return os.path.join(self.storage, "files", "md5")

    def _needed(self) -> set[str]:
        return set(objects_of(self.tracked))

    def _pushed(self) -> list[tuple[str, Files]]:
        return [version for version in self.versions if set(objects_of(version[1])) <= self.remote]

    def _check(self, answer: Answer, *, must: bool, may: bool) -> None:
        """Fails when a command that must succeed did not, when one that cannot did, or when one broke."""
        assert "Traceback" not in answer.err and "bug" not in answer.err, answer
        if must:
            assert answer.code == 0, answer
        elif not may:
            assert answer.code != 0, answer

    def _says_clean(self, *, expected: bool) -> None:
        answer = self.project.try_kist("status", "--quiet")
        assert answer.code == (0 if expected else 1), (answer, self.project.try_kist("status"))


IS_LONG = bool(os.environ.get("KIST_ALL"))
STEPS = 2000 if IS_LONG else 500
"""So many are played at least, in sequences of up to 50; some end before."""


@pytest.mark.timeout(900)
def test_any_sequence_of_commands_does_what_a_few_dictionaries_do() -> None:
    """Always the same sequences; others with KIST_HYPOTHESIS=kist-random."""
    Model.steps = 0
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Model, settings=settings(max_examples=STEPS // 32, stateful_step_count=50, print_blob=True)
    )
    assert Model.steps >= STEPS
