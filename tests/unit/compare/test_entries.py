"""Differences between versions, by paths and ids alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kist.compare.entries import Changed, compare_entries, compare_trees, folders_above
from kist.formats.manifest import tree_of

_PATHS = st.sampled_from(["a", "b", "c/a", "c/b", "d/e/f", "d/e/g", "d/h"])
_FILES = st.dictionaries(_PATHS, st.sampled_from(["0" * 32, "1" * 32, "2" * 32]))


def test_each_kind_of_change_is_told_apart_and_sorted() -> None:
    found = compare_entries({"b": "1", "a": "2", "same": "3"}, {"d": "4", "c": "5", "a": "6", "same": "3"})
    assert found.added == [Changed("c", None, "5"), Changed("d", None, "4")]
    assert found.deleted == [Changed("b", "1", None)]
    assert found.modified == [Changed("a", "2", "6")]
    assert found.renamed == []


def test_a_path_that_went_and_one_that_came_with_its_content_are_one_renamed() -> None:
    found = compare_entries({"a": "1", "b": "1", "c": "2"}, {"x": "1", "y": "3"})
    assert found.renamed == [Changed("a", "1", "1", "x")]
    assert [item.path for item in found.deleted] == ["b", "c"]
    assert [item.path for item in found.added] == ["y"]


def test_what_has_no_id_is_renamed_to_nothing() -> None:
    found = compare_entries({"a": "", "b": ""}, {"x": "", "b": "1"})
    assert found.renamed == []
    assert found.modified == [Changed("b", "", "1")]


def test_renamed_can_be_left_apart() -> None:
    found = compare_entries({"a": "1"}, {"b": "1"}, find_renamed=False)
    assert (found.renamed, len(found.added), len(found.deleted)) == ([], 1, 1)


@given(_FILES, _FILES)
def test_trees_differ_in_what_their_files_differ(old: dict[str, str], new: dict[str, str]) -> None:
    gone, came = compare_trees(tree_of(old), tree_of(new))
    assert gone == {path: oid for path, oid in old.items() if new.get(path) != oid}
    assert came == {path: oid for path, oid in new.items() if old.get(path) != oid}


def test_the_folders_above_paths_are_named_once_each() -> None:
    assert folders_above({"a": "", "b/c/d": "", "b/e": ""}) == {"b", "b/c"}
