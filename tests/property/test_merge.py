"""Merging directories: what must hold for any three of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kist.compare.merge import OURS, THEIRS, DirectoryMerge, merge_directory, merged_size
from kist.formats.manifest import edit_manifest, parse_manifest, render_manifest, tree_of

Files = dict[str, str]

NAMES = st.lists(st.sampled_from(["a", "b", "é", 'q"', "~"]), min_size=1, max_size=3).map("/".join)
OIDS = st.integers(0, 5).map(lambda number: f"{number:032x}")
SIZE = 7


def _is_tree(files: Files) -> bool:
    return not any(f"{one}/" == other[: len(one) + 1] for one in files for other in files)


TREES = st.dictionaries(NAMES, OIDS, max_size=8).filter(_is_tree)


def manifest(files: Files) -> bytes:
    return render_manifest(tree_of(files))


def files_of(data: bytes) -> Files:
    return dict(parse_manifest(data, name="d").files())


def merge(base: Files, ours: Files, theirs: Files, choice: str | None = None) -> DirectoryMerge:
    return merge_directory(
        manifest(base), manifest(ours), manifest(theirs), out="d", algorithm="md5", choose=lambda _: choice
    )


@given(TREES, TREES, TREES)
def test_the_result_is_a_directory_whatever_is_chosen(base: Files, ours: Files, theirs: Files) -> None:
    for choice in (None, OURS, THEIRS):
        files = files_of(
            merge(base, ours, theirs, choice).manifest
        )  # parsing refuses a file that is a folder
        assert merge(base, ours, theirs, choice).manifest == manifest(files)
        assert set(files) <= {*ours, *theirs}


@given(TREES, TREES, TREES)
def test_the_sides_can_be_exchanged(base: Files, ours: Files, theirs: Files) -> None:
    one, other = merge(base, ours, theirs, OURS), merge(base, theirs, ours, THEIRS)
    assert files_of(one.manifest) == files_of(other.manifest)
    assert [item.clash.inner for item in one.decisions] == [item.clash.inner for item in other.decisions]


@given(TREES, TREES)
def test_a_side_that_did_nothing_changes_nothing(base: Files, ours: Files) -> None:
    for done in (merge(base, ours, base), merge(base, base, ours), merge(base, ours, ours)):
        assert files_of(done.manifest) == ours
        assert done.decisions == []


@given(TREES, TREES, TREES)
def test_no_content_of_a_side_is_lost_but_by_its_own_hand_or_by_a_choice(
    base: Files, ours: Files, theirs: Files
) -> None:
    done = merge(base, ours, theirs)
    if done.decisions:
        return
    kept = set(files_of(done.manifest).values())
    for side, other in ((ours, theirs), (theirs, ours)):
        new = {oid for path, oid in side.items() if base.get(path) != oid and oid not in base.values()}
        replaced = {oid for path, oid in side.items() if path in other and other[path] != oid}
        assert new - replaced <= kept


@given(TREES, TREES, TREES)
def test_the_size_is_right_whenever_it_is_told(base: Files, ours: Files, theirs: Files) -> None:
    done = merge(base, ours, theirs)
    sizes = tuple(len(files) * SIZE for files in (base, ours, theirs))
    found = merged_size((sizes[0], sizes[1], sizes[2]), done, lambda _: SIZE)
    assert found == len(files_of(done.manifest)) * SIZE
    assert merged_size((sizes[0], sizes[1], sizes[2]), done, lambda _: None) in (found, None)


@given(TREES, st.sets(NAMES), st.dictionaries(NAMES, OIDS))
def test_an_edited_manifest_is_what_a_new_one_would_be(files: Files, gone: set[str], added: Files) -> None:
    wanted = {path: oid for path, oid in files.items() if path not in gone} | added
    if _is_tree(wanted):
        assert edit_manifest(manifest(files), gone, added, name="d") == manifest(wanted)
