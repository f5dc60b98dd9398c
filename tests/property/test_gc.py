"""No sequence of commands lets `gc` remove an object that a reference in its scope names.

The model knows what each commit, the workspace, the stash and another project name, by dictionaries of its own; what the cache and
the storage hold is read from the disk before and after each `gc`. What was there and is named must be there still, and what
was committed once and is named no more must be gone.
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
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kist.testing.project import Project

Files = dict[str, str]
Version = dict[str, Files]
"""Tracked path -> its files; a single file has the one path ""."""

CONTENTS = st.sampled_from(["a\n", "b\n", "c\n", "d\n"])
BRANCHES = st.sampled_from(["one", "two"])
INDEXES = st.integers(0, 100)


def md5_of(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


def needed(version: Version) -> set[str]:
    """Returns the ids of all that a version names, manifests and their members."""
    found: set[str] = set()
    for files in version.values():
        oids = {path: md5_of(text.encode()) for path, text in files.items()}
        found.update(oids.values())
        if "" not in files:
            entries = [{"md5": oids[path], "relpath": path} for path in sorted(oids)]
            found.add(md5_of(json.dumps(entries).encode()) + ".dir")
    return found


def stored(base: str) -> set[str]:
    """Returns the ids of what a cache or a storage holds."""
    top = os.path.join(base, "files", "md5")
    return {
        prefix + name
        for prefix in (os.listdir(top) if os.path.isdir(top) else ())
        for name in os.listdir(os.path.join(top, prefix))
    }


def members(base: str) -> set[str]:
    """Returns the ids that the manifests in a cache or a storage name."""
    found: set[str] = set()
    for oid in stored(base):
        if oid.endswith(".dir"):
            with open(os.path.join(base, "files", "md5", oid[:2], oid[2:])) as stream:
                found.update(entry["md5"] for entry in json.load(stream))
    return found


class Person:
    """One project, and what its references name.

    Attributes:
        work: what the metafiles in the workspace name.
        commits: sha -> (version, first parent).
        branches, tags: name -> sha.
        stash: what its entries name.
    """

    def __init__(self, root: str, cache: str, storage: str) -> None:
        self.project = Project(root)
        self.project.git("checkout", "-q", "-b", "one")
        if cache:
            self.project.kist("cache", "dir", cache)
        self.project.kist("remote", "add", "-q", "-d", "store", storage)
        self.work: Version = {}
        self.commits: dict[str, tuple[Version, str]] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.stash: list[Version] = []
        self.current = "one"
        self.commit()

    def add(self, path: str, files: Files) -> None:
        self.clear(path)
        self.project.write({f"{path}/{name}" if name else path: text for name, text in files.items()})
        self.project.kist("add", "-q", path)
        self.work[path] = files

    def remove(self, path: str) -> None:
        self.project.kist("remove", f"{path}.dvc", "--outs")
        del self.work[path]

    def commit(self) -> None:
        self.project.git("add", "-A")
        self.project.git("commit", "-q", "--allow-empty", "-m", "version")
        sha = self.project.git("rev-parse", "HEAD").strip()
        self.commits[sha] = (dict(self.work), self.branches.get(self.current, ""))
        self.branches[self.current] = sha

    def switch(self, branch: str) -> None:
        self.project.git("reset", "-q", "--hard")
        if branch not in self.branches:
            self.project.git("branch", branch)
            self.branches[branch] = self.branches[self.current]
        self.project.git("checkout", "-q", branch)
        self.current = branch
        self.settle()

    def settle(self) -> None:
        """Makes the workspace what HEAD says, as far as metafiles go, and takes away what nothing tracks then."""
        self.work = dict(self.commits[self.branches[self.current]][0])
        for path in ("data", "file"):
            if path not in self.work:
                if self.project.exists(f"{path}.dvc"):
                    os.unlink(self.project.path(f"{path}.dvc"))
                self.clear(path)

    def clear(self, path: str) -> None:
        target = self.project.path(path)
        if os.path.isdir(target):
            shutil.rmtree(target)
        elif os.path.lexists(target):
            os.unlink(target)

    def reachable(self) -> set[str]:
        """Returns the commits that branches and tags reach."""
        found: set[str] = set()
        for sha in [*self.branches.values(), *self.tags.values()]:
            while sha and sha not in found:
                found.add(sha)
                sha = self.commits[sha][1]
        return found

    def last(self, sha: str, count: int) -> list[str]:
        """Returns a commit and those before it, `count` in all."""
        found = []
        while sha and len(found) != count:
            found.append(sha)
            sha = self.commits[sha][1]
        return found

    def scope(self, words: tuple[str, ...]) -> set[str]:
        """Returns what must stay with these options."""
        shas: set[str] = set()
        count = int(words[words.index("-n") + 1]) if "-n" in words else 1
        if "-a" in words:
            shas |= {sha for tip in self.branches.values() for sha in self.last(tip, count)}
        if "-T" in words:
            shas |= set(self.tags.values())
        if "-A" in words:
            shas |= self.reachable()
        if "--rev" in words:
            shas |= set(self.last(self.branches[words[words.index("--rev") + 1]], count))
        return self.named(shas)

    def everything(self) -> set[str]:
        """Returns what all references name."""
        return self.named(self.reachable())

    def named(self, shas: set[str]) -> set[str]:
        found = needed(self.work)
        for version in [*self.stash, *(self.commits[sha][0] for sha in shas)]:
            found |= needed(version)
        return found


class Model(RuleBasedStateMachine):
    """Two projects with a cache of their own each, or one for both, and one storage."""

    @initialize(is_shared=st.booleans())
    def start(self, is_shared: bool) -> None:
        self.top = tempfile.mkdtemp(prefix="kist-gc-")
        self.is_shared = is_shared
        self.storage = os.path.join(self.top, "storage")
        cache = os.path.join(self.top, "cache") if is_shared else ""
        self.people = [Person(os.path.join(self.top, name), cache, self.storage) for name in ("ada", "bob")]
        self.ever: list[set[str]] = [set(), set()]
        self.add(0, "data", {"x": "a\n", "y": "b\n"})

    def teardown(self) -> None:
        if hasattr(self, "top"):
            shutil.rmtree(self.top)

    def cache_of(self, who: int) -> str:
        return (
            os.path.join(self.top, "cache") if self.is_shared else self.people[who].project.path(".dvc/cache")
        )

    def add(self, who: int, path: str, files: Files) -> None:
        self.people[who].add(path, files)

    @rule(who=st.integers(0, 1), x=CONTENTS, y=CONTENTS)
    def change_directory(self, who: int, x: str, y: str) -> None:
        self.add(who, "data", {"x": x, "y": y})

    @rule(who=st.integers(0, 1), text=CONTENTS)
    def change_file(self, who: int, text: str) -> None:
        self.add(who, "file", {"": text})

    @rule(who=st.integers(0, 1), path=st.sampled_from(["data", "file"]))
    def remove(self, who: int, path: str) -> None:
        if path in self.people[who].work:
            self.people[who].remove(path)

    @rule(who=st.integers(0, 1))
    def commit(self, who: int) -> None:
        self.people[who].commit()
        self.ever[who] |= needed(self.people[who].work)

    @rule(who=st.integers(0, 1), branch=BRANCHES)
    def switch(self, who: int, branch: str) -> None:
        self.people[who].switch(branch)

    @rule(who=st.integers(0, 1), number=st.integers(0, 3))
    def tag(self, who: int, number: int) -> None:
        person = self.people[who]
        if f"v{number}" not in person.tags:
            person.project.git("tag", f"v{number}")
            person.tags[f"v{number}"] = person.branches[person.current]

    @rule(who=st.integers(0, 1))
    def delete_other_branch(self, who: int) -> None:
        person = self.people[who]
        for name in [name for name in person.branches if name != person.current]:
            person.project.git("branch", "-q", "-D", name)
            del person.branches[name]

    @rule(who=st.integers(0, 1), back=st.integers(1, 2))
    def take_back_commits(self, who: int, back: int) -> None:
        person = self.people[who]
        target = person.last(person.branches[person.current], back + 1)[-1]
        person.project.git("reset", "-q", "--hard", target)
        person.branches[person.current] = target
        person.settle()

    @precondition(lambda self: any(person.work for person in self.people))
    @rule(who=st.integers(0, 1), text=CONTENTS)
    def put_work_aside(self, who: int, text: str) -> None:
        person = self.people[who]
        head = person.commits[person.branches[person.current]][0]
        if "file" not in head or head["file"] == {"": text}:
            return
        person.project.git("reset", "-q", "--hard")
        person.settle()
        person.add("file", {"": text})
        person.project.git("stash", "-q")
        # An entry also has the index as it was: what HEAD says.
        person.stash += [dict(person.work), dict(head)]
        person.settle()

    @rule(who=st.integers(0, 1))
    def push(self, who: int) -> None:
        self.people[who].project.try_kist("push", "-q", "-A")  # something may be gone from the cache by now

    @rule(
        who=st.integers(0, 1),
        words=st.sampled_from(
            [("-w",), ("-a",), ("-T",), ("-A",), ("-a", "-n", "2"), ("-a", "-T"), ("--rev", "one", "-n", "2")]
        ),
        cloud=st.booleans(),
        projects=st.booleans(),
    )
    def collect(self, who: int, words: tuple[str, ...], cloud: bool, projects: bool) -> None:
        person = self.people[who]
        if "--rev" in words and "one" not in person.branches:
            return
        before = stored(self.cache_of(who)), stored(self.storage)
        line = ["gc", "-f", *words, *(["-c"] if cloud else []), *(["-p"] if projects else [])]
        answer = person.project.try_kist(*line)
        assert answer.code in (0, 255) and "Traceback" not in answer.err, answer
        after = stored(self.cache_of(who)), stored(self.storage)
        if answer.code:
            assert "gc-refused" in answer.err or "cannot clean up" in answer.err, answer
            assert after == before
            return
        must = person.scope(words)
        if self.is_shared:
            must |= self.people[1 - who].everything()
        assert before[0] & must <= after[0], line
        assert before[1] & must <= after[1] if cloud else after[1] == before[1], line
        # What was committed once is known and goes at once, unless a manifest that was just written needs it.
        assert not after[0] & (self.ever[who] - must - members(self.cache_of(who))), line

    @rule(who=st.integers(0, 1))
    def drop_what_is_stored_elsewhere(self, who: int) -> None:
        person = self.people[who]
        before, there = stored(self.cache_of(who)), stored(self.storage)
        answer = person.project.try_kist("gc", "-f", "-A", "--not-in-remote")
        assert answer.code in (0, 255), answer
        if answer.code == 0:
            must = person.everything() - there
            if self.is_shared:
                must |= self.people[1 - who].everything() - there
            assert before & must <= stored(self.cache_of(who))

    @invariant()
    def manifests_have_their_members(self) -> None:
        """In the storage, whatever was removed: who finds a manifest relies on it."""
        if not hasattr(self, "top"):
            return
        assert members(self.storage) <= stored(self.storage)


IS_LONG = bool(os.environ.get("KIST_ALL"))
Model.TestCase.settings = settings(
    max_examples=15 if IS_LONG else 6, stateful_step_count=40 if IS_LONG else 20, deadline=None
)


@pytest.mark.timeout(600)
class TestGarbage(Model.TestCase):  # type: ignore[misc, valid-type]  # Hypothesis makes the class at run time
    """Plays the sequences."""
