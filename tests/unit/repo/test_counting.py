"""How many files and bytes differ between two versions of an output."""

from __future__ import annotations

import hashlib
import os

import pytest

from kist.formats.manifest import render_manifest, tree_of
from kist.formats.records import LEGACY_MD5, MD5, Digest, Output
from kist.repo.counting import Counter, Tally, total
from kist.repo.repository import Repository
from kist.repo.settings import ConfigPaths
from kist.testing.project import Project


@pytest.fixture
def counter(project: Project) -> Counter:
    return Counter(
        Repository(
            project.root,
            cwd=project.root,
            config_paths=ConfigPaths(None, None, None, None),
            environ=dict(os.environ),
        )
    )


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def directory(counter: Counter, files: dict[str, str], *, is_known: bool = True) -> Output:
    data = render_manifest(tree_of(files))
    digest = Digest(MD5, md5(data) + ".dir")
    if is_known:
        counter.know(digest, data)
    return Output("data", digest, size=len(files), nfiles=len(files))


A, B, C = (md5(text) for text in (b"one\n", b"two\n", b"three\n"))


def test_files_that_came_went_and_changed(counter: Counter) -> None:
    old = directory(counter, {"same": A, "changed": A, "gone": B})
    new = directory(counter, {"same": A, "changed": C, "new": B, "more": B})
    assert counter.compare(old, new) == Tally(2, 1, 1, 2 * len("two\n"), len("three\n"), len("two\n"))
    assert counter.compare(old, old) == Tally()


def test_bytes_that_came_or_went_alone_are_known_by_the_sizes_of_the_whole(counter: Counter) -> None:
    elsewhere = md5(b"not in the cache")
    small = directory(counter, {"a": A})._replace(size=10)
    large = directory(counter, {"a": A, "b": elsewhere})._replace(size=17)
    assert counter.compare(small, large) == Tally(added=1, added_bytes=7)
    assert counter.compare(large, small) == Tally(removed=1, removed_bytes=7)
    assert counter.compare(small._replace(size=None), large) == Tally(added=1, added_bytes=None)
    assert counter.compare(small._replace(size=99), large) == Tally(added=1, added_bytes=None)


def test_a_part_of_a_directory(counter: Counter) -> None:
    old = directory(counter, {"a/x": A, "b": A})
    new = directory(counter, {"a/x": B, "b": B, "a/y": B})
    tally = counter.compare(old, new, inner="a")
    assert tally is not None
    assert (tally.added, tally.changed, tally.removed) == (1, 1, 0)
    assert counter.compare(None, new, inner="b") == Tally(added=1, added_bytes=len("two\n"))


def test_whole_outputs_are_counted_by_their_metafile(counter: Counter) -> None:
    new = directory(counter, {"x": "0" * 32}, is_known=False)
    assert counter.compare(None, new) == Tally(added=1, added_bytes=1)
    assert counter.compare(new, None) == Tally(removed=1, removed_bytes=1)
    assert counter.compare(None, Output("f", Digest(MD5, A), size=4)) == Tally(added=1, added_bytes=4)
    assert counter.compare(None, new._replace(nfiles=None)) is None


def test_a_file_that_became_a_directory(counter: Counter) -> None:
    old = Output("x", Digest(MD5, A), size=4)
    tally = counter.compare(old, directory(counter, {"one": A, "two": B}))
    assert tally is not None
    assert (tally.added, tally.changed, tally.removed) == (2, 0, 1)


def test_what_is_not_known_is_not_guessed(counter: Counter) -> None:
    old, new = directory(counter, {"x": A}, is_known=False), directory(counter, {"x": B})
    assert counter.compare(old, new) is None
    legacy = new._replace(digest=Digest(LEGACY_MD5, "1" * 32 + ".dir"))
    assert counter.compare(new, legacy) is None
    unsized = counter.compare(directory(counter, {})._replace(size=None), directory(counter, {"x": "f" * 32}))
    assert unsized == Tally(added=1, added_bytes=None)


def test_sums_are_unknown_where_a_part_is() -> None:
    assert total([Tally(1, 2, 3, 4, 5, 6), Tally(1, 1, 1, None, 1, 1)]) == Tally(2, 3, 4, None, 6, 7)
    assert total([Tally(1), None]) is None
    assert total([]) == Tally()
