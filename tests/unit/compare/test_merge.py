"""Directories, values and records of two sides are merged; only what both changed differently clashes."""

from __future__ import annotations

import hashlib

import pytest

from kist.compare.merge import (
    OURS,
    THEIRS,
    Clash,
    merge_directory,
    merge_names,
    merge_value,
    merged_size,
)
from kist.formats.manifest import parse_manifest, render_manifest, tree_of

Files = dict[str, str]


def oid(content: str) -> str:
    return hashlib.md5(content.encode()).hexdigest()


def manifest(files: Files) -> bytes:
    return render_manifest(tree_of({path: oid(content) for path, content in files.items()}))


def merge(base: Files, ours: Files, theirs: Files, choice: str | None = None) -> tuple[Files, list[Clash]]:
    """Returns the merged files, with contents, and the clashes."""
    contents = {oid(text): text for files in (base, ours, theirs) for text in files.values()}
    done = merge_directory(
        manifest(base), manifest(ours), manifest(theirs), out="d", algorithm="md5", choose=lambda _: choice
    )
    files = {path: contents[md5] for path, md5 in parse_manifest(done.manifest, name="d").files()}
    assert done.manifest == manifest(files)
    return files, [decision.clash for decision in done.decisions]


# what happened, base, ours, theirs, result
CLEAN = (
    ("nothing", {"a": "1"}, {"a": "1"}, {"a": "1"}, {"a": "1"}),
    ("added here", {}, {"a": "1"}, {}, {"a": "1"}),
    ("added there", {}, {}, {"a": "1"}, {"a": "1"}),
    ("added on both sides, different names", {"x": "0"}, {"x": "0", "a": "1"}, {"x": "0", "b": "2"}, {"x": "0", "a": "1", "b": "2"}),
    ("added on both sides, same content", {}, {"a": "1"}, {"a": "1"}, {"a": "1"}),
    ("changed here", {"a": "1"}, {"a": "2"}, {"a": "1"}, {"a": "2"}),
    ("changed there", {"a": "1"}, {"a": "1"}, {"a": "2"}, {"a": "2"}),
    ("changed on both sides to the same", {"a": "1"}, {"a": "2"}, {"a": "2"}, {"a": "2"}),
    ("changed on both sides, different files", {"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "1", "b": "2"}, {"a": "2", "b": "2"}),
    ("removed here", {"a": "1", "b": "2"}, {"b": "2"}, {"a": "1", "b": "2"}, {"b": "2"}),
    ("removed there", {"a": "1", "b": "2"}, {"a": "1", "b": "2"}, {"b": "2"}, {"b": "2"}),
    ("removed on both sides", {"a": "1", "b": "2"}, {"b": "2"}, {"b": "2"}, {"b": "2"}),
    ("all removed", {"a": "1"}, {}, {"a": "1"}, {}),
    ("renamed here", {"a": "1"}, {"b": "1"}, {"a": "1"}, {"b": "1"}),
    ("renamed there", {"a": "1"}, {"a": "1"}, {"b": "1"}, {"b": "1"}),
    ("renamed on both sides to the same", {"a": "1"}, {"b": "1"}, {"b": "1"}, {"b": "1"}),
    ("renamed here, changed there", {"a": "1"}, {"b": "1"}, {"a": "2"}, {"b": "2"}),
    ("changed here, renamed there", {"a": "1"}, {"a": "2"}, {"b": "1"}, {"b": "2"}),
    ("folder renamed here, changed there", {"d/a": "1", "d/b": "1"}, {"e/a": "1", "e/b": "1"}, {"d/a": "1", "d/b": "2"}, {"e/a": "1", "e/b": "2"}),
    ("folder renamed here, added there", {"d/a": "1"}, {"e/a": "1"}, {"d/a": "1", "d/n": "2"}, {"e/a": "1", "d/n": "2"}),
    ("two files swapped here", {"a": "1", "b": "2"}, {"a": "2", "b": "1"}, {"a": "1", "b": "2"}, {"a": "2", "b": "1"}),
    ("doubled here, changed there", {"a": "1"}, {"a": "1", "c": "1"}, {"a": "2"}, {"a": "2", "c": "1"}),
    ("file becomes folder here", {"a": "1", "b": "2"}, {"a/x": "1", "b": "2"}, {"a": "1", "b": "3"}, {"a/x": "1", "b": "3"}),
    ("folder becomes file there", {"a/x": "1", "b": "2"}, {"a/x": "1", "b": "3"}, {"a": "1", "b": "2"}, {"a": "1", "b": "3"}),
    ("names that are escaped", {"é": "1"}, {"é": "1", "ü \"x\"": "2"}, {"é": "3"}, {"é": "3", "ü \"x\"": "2"}),
    ("names that sort differently when escaped", {"z": "1"}, {"z": "1", "é": "2"}, {"z": "1", "~": "3"}, {"z": "1", "é": "2", "~": "3"}),
)  # fmt: skip

# what happened, base, ours, theirs, with ours, with theirs, label, what ours did, what theirs did
CLASHES = (
    ("changed on both sides", {"a": "1", "k": "0"}, {"a": "2", "k": "0"}, {"a": "3", "k": "0"}, {"a": "2", "k": "0"}, {"a": "3", "k": "0"}, "a", "changed", "changed"),
    ("added on both sides", {}, {"a": "1"}, {"a": "2"}, {"a": "1"}, {"a": "2"}, "a", "added", "added"),
    ("removed here, changed there", {"a": "1"}, {}, {"a": "2"}, {}, {"a": "2"}, "a", "removed", "changed"),
    ("changed here, removed there", {"a": "1"}, {"a": "2"}, {}, {"a": "2"}, {}, "a", "changed", "removed"),
    ("renamed on both sides", {"a": "1"}, {"b": "1"}, {"c": "1"}, {"b": "1"}, {"c": "1"}, "a", "renamed to 'b'", "renamed to 'c'"),
    ("renamed here, removed there", {"a": "1"}, {"b": "1"}, {}, {"b": "1"}, {}, "a", "renamed to 'b'", "removed"),
    ("removed here, renamed there", {"a": "1"}, {}, {"b": "1"}, {}, {"b": "1"}, "a", "removed", "renamed to 'b'"),
    ("renamed here onto what was added there", {"a": "1"}, {"b": "1"}, {"a": "1", "b": "2"}, {"b": "1"}, {"b": "2"}, "b", "added", "added"),
    ("renamed here and changed there, its new name added there", {"a": "1"}, {"b": "1"}, {"a": "2", "b": "3"}, {"b": "1"}, {"a": "2", "b": "3"}, "a", "renamed to 'b'", "2 files"),
    ("two files get one name", {"a": "1", "b": "2"}, {"c": "1", "b": "2"}, {"a": "1", "c": "2"}, {"c": "1"}, {"c": "2"}, "c", "added", "added"),
    ("file here, folder there", {"k": "0"}, {"k": "0", "p": "1"}, {"k": "0", "p/x": "2"}, {"k": "0", "p": "1"}, {"k": "0", "p/x": "2"}, "p", "added", "'p/x'"),
    ("folder here, file there", {"k": "0"}, {"k": "0", "p/q/x": "1", "p/y": "1"}, {"k": "0", "p": "2"}, {"k": "0", "p/q/x": "1", "p/y": "1"}, {"k": "0", "p": "2"}, "p", "2 files", "added"),
    ("folder made a file here, changed there", {"p/x": "1", "p/y": "2"}, {"p": "3"}, {"p/x": "4", "p/y": "2"}, {"p": "3"}, {"p/x": "4"}, "p/x", "'p'", "changed"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"), [row[1:] for row in CLEAN], ids=[row[0] for row in CLEAN]
)
def test_what_does_not_clash_is_merged(base: Files, ours: Files, theirs: Files, result: Files) -> None:
    assert merge(base, ours, theirs) == (result, [])


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "with_ours", "with_theirs", "label", "our_state", "their_state"),
    [row[1:] for row in CLASHES],
    ids=[row[0] for row in CLASHES],
)
def test_what_clashes_is_one_choice(
    base: Files,
    ours: Files,
    theirs: Files,
    with_ours: Files,
    with_theirs: Files,
    label: str,
    our_state: str,
    their_state: str,
) -> None:
    for choice, result in ((None, with_ours), (OURS, with_ours), (THEIRS, with_theirs)):
        files, clashes = merge(base, ours, theirs, choice)
        assert files == result
        assert [clash.inner for clash in clashes] == [label]
        assert (clashes[0].ours.state, clashes[0].theirs.state) == (our_state, their_state)


def test_what_clashes_does_not_stop_the_rest() -> None:
    base = {"a": "1", "b": "1"}
    files, clashes = merge(base, {"a": "2", "b": "1", "n": "5"}, {"a": "3", "b": "4", "m": "6"})
    assert files == {"a": "2", "b": "4", "n": "5", "m": "6"}
    assert [clash.inner for clash in clashes] == ["a"]


def test_each_clash_is_chosen_by_itself() -> None:
    base = {"a": "1", "b": "1"}
    ours, theirs = {"a": "2", "b": "2"}, {"a": "3", "b": "3"}
    done = merge_directory(
        manifest(base),
        manifest(ours),
        manifest(theirs),
        out="d",
        algorithm="md5",
        choose=lambda clash: THEIRS if clash.inner == "b" else OURS,
    )
    assert done.manifest == manifest({"a": "2", "b": "3"})
    assert [decision.choice for decision in done.decisions] == [OURS, THEIRS]


def test_files_of_one_content_are_told_apart_by_their_names_when_a_folder_is_renamed() -> None:
    base = {f"d/{number}": "same" for number in range(5)}
    ours = {f"e/{number}": "same" for number in range(5)}
    theirs = {**base, "d/3": "other"}
    assert merge(base, ours, theirs) == ({**ours, "e/3": "other"}, [])


def test_a_rename_that_could_be_another_is_none() -> None:
    base = {"a": "same", "b": "same"}
    _, clashes = merge(base, {"x": "same", "y": "same"}, {"a": "new", "b": "same"})
    assert [(clash.inner, clash.ours.state) for clash in clashes] == [("a", "removed")]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged", "clashes"),
    [
        (1, 1, 1, 1, False),
        (1, 2, 1, 2, False),
        (1, 1, 2, 2, False),
        (1, 2, 2, 2, False),
        (1, 2, 3, 2, True),
        (None, 2, 3, 2, True),
        (None, None, 3, 3, False),
        (1, None, 1, None, False),
        (1, None, 3, None, True),
    ],
)
def test_a_value_follows_the_side_that_changed_it(base, ours, theirs, merged, clashes) -> None:
    assert merge_value(base, ours, theirs) == (merged, clashes)


def test_labels_are_added_and_taken_away_by_both_sides() -> None:
    assert merge_names(("a", "b", "c"), ("a", "c", "x"), ("b", "c", "y")) == ("c", "x", "y")


def sizes_of(*contents: str):
    known = {oid(content): len(content) for content in contents}
    return known.get


def test_the_size_of_disjoint_changes_follows_from_the_three_sizes() -> None:
    done = merge_directory(
        manifest({"k": "12345"}),
        manifest({"k": "12345", "a": "1"}),
        manifest({"k": "12345", "b": "22"}),
        out="d",
        algorithm="md5",
        choose=lambda _: None,
    )
    assert merged_size((5, 6, 7), done, lambda _: None) == 8


def test_the_size_takes_objects_where_both_sides_did_the_same() -> None:
    base, ours, theirs = {"a": "1"}, {"a": "333", "b": "1"}, {"a": "333", "c": "22"}
    done = merge_directory(
        manifest(base), manifest(ours), manifest(theirs), out="d", algorithm="md5", choose=lambda _: None
    )
    assert done.manifest == manifest({"a": "333", "b": "1", "c": "22"})
    assert merged_size((1, 4, 5), done, sizes_of("22")) == 6
    assert merged_size((1, 4, 5), done, sizes_of("1")) == 6
    assert merged_size((None, 4, None), done, sizes_of("22")) == 6
    assert merged_size((None, 4, None), done, sizes_of()) is None
    assert merged_size((None, None, None), done, sizes_of("1", "22", "333")) is None


def test_the_size_of_a_clash_counts_the_side_that_stands() -> None:
    for choice, size in ((OURS, 2), (THEIRS, 3)):
        done = merge_directory(
            manifest({"a": "1"}),
            manifest({"a": "22"}),
            manifest({"a": "333"}),
            out="d",
            algorithm="md5",
            choose=lambda _, choice=choice: choice,
        )
        assert merged_size((1, 2, 3), done, lambda _: None) == size
