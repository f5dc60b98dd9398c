"""Directory manifests against `json` and dictionaries."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from kist.formats.manifest import (
    ManifestError,
    compare_manifests,
    fingerprint,
    member_oids,
    parse_manifest,
    render_manifest,
    tree_of,
)

_OIDS = st.one_of(
    st.sampled_from([digit * 32 for digit in "abc"]), st.text("0123456789abcdef", min_size=32, max_size=32)
)
_NAMES = st.text(
    st.one_of(st.sampled_from('ab.-"\\}{, \té\uff5e\U0001d4b3'), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=6,
).map(lambda text: "n" + text.replace("/", "_").replace("\0", "_").replace("\\", "_"))
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)


def without_clashes(files: dict[str, str]) -> dict[str, str]:
    """Returns the files but those whose path is another one's folder."""
    folders = {path[:at] for path in files for at, char in enumerate(path) if char == "/"}
    return {path: oid for path, oid in files.items() if path not in folders}


_FILES = st.dictionaries(_PATHS, _OIDS, max_size=8).map(without_clashes)


def reference(files: dict[str, str]) -> bytes:
    """Returns the manifest's bytes in the plainest way."""
    items = [{"relpath": path, "md5": files[path]} for path in sorted(files)]
    return json.dumps(items, sort_keys=True).encode()


@given(_FILES)
def test_the_bytes_are_those_of_sorted_json_and_are_read_back(files: dict[str, str]) -> None:
    tree = tree_of(files)
    data = render_manifest(tree)
    assert data == reference(files)
    assert parse_manifest(data, name="m") == tree
    assert dict(tree.files()) == files
    assert tree.file_count() == len(files)


@given(_FILES)
def test_the_quick_look_at_members_finds_those_of_the_tree(files: dict[str, str]) -> None:
    data = reference(files)
    assert member_oids(data, name="m") == tree_of(files).oids() == set(files.values())


@given(_FILES, _FILES, st.lists(st.booleans(), min_size=8, max_size=8), st.booleans())
def test_comparing_manifests_is_comparing_dictionaries(
    old: dict[str, str], other: dict[str, str], kept: list[bool], is_indented: bool
) -> None:
    shared = {path: oid for (path, oid), keep in zip(old.items(), kept, strict=False) if keep}
    new = without_clashes({**shared, **other})
    data = json.dumps(json.loads(reference(new)), indent=1).encode() if is_indented else reference(new)
    only_old, only_new = compare_manifests(reference(old), data, name="m")
    assert only_old == {path: oid for path, oid in old.items() if new.get(path) != oid}
    assert only_new == {path: oid for path, oid in new.items() if old.get(path) != oid}


@given(_FILES, _FILES)
def test_fingerprints_are_equal_exactly_for_equal_trees(one: dict[str, str], two: dict[str, str]) -> None:
    assert (fingerprint(tree_of(one)) == fingerprint(tree_of(two))) == (one == two)


@given(st.lists(st.sampled_from(["a", "..", ".", "", ".git", "x", "/", "\\", ".dvc"]), max_size=5))
def test_what_is_read_never_climbs_and_never_hides(parts: list[str]) -> None:
    relpath = "/".join(parts)
    data = json.dumps([{"md5": "a" * 32, "relpath": relpath}]).encode()
    try:
        files = dict(parse_manifest(data, name="m").files())
    except ManifestError:
        return
    assert list(files) == [relpath]
    assert not {"", ".", "..", ".git", ".dvc"} & set(relpath.replace("\\", "/").split("/"))


@given(st.binary(max_size=60), _FILES, st.integers(0, 400))
def test_garbage_is_refused_in_our_words(noise: bytes, files: dict[str, str], cut: int) -> None:
    for data in (noise, reference(files)[:cut], reference(files) + noise):
        try:
            parse_manifest(data, name="m")
        except ManifestError:
            continue
        assert isinstance(json.loads(data), list)
