"""`.dvc` and `dvc.lock`: what is rendered is read back, with and without the old bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.metafile import parse_metafile, render_metafile, stage_checksum
from kist.formats.records import (
    CHECKSUM,
    ETAG,
    LEGACY_MD5,
    MD5,
    Dependency,
    Digest,
    FileEntry,
    LockedStage,
    Lockfile,
    Metafile,
    Output,
)

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
_PATHS = st.one_of(st.sampled_from(["data", "a/b.csv", "../x", "1", "null", "yes", "a b", "s3://b/k"]), _TEXT)
_HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
_MD5_VALUES = st.one_of(_HEX, _HEX.map(lambda text: text + ".dir"), st.from_regex(r"\A[0-9]{15}e[0-9]{16}\Z"))
_DIGESTS = st.one_of(
    st.none(),
    st.builds(Digest, st.sampled_from([MD5, LEGACY_MD5]), _MD5_VALUES),
    st.builds(Digest, st.just(ETAG), st.text("abAB019\"'-", min_size=3)),
    st.builds(Digest, st.just(CHECKSUM), st.text("ab019\"'-", min_size=3)),
)
_COUNTS = st.one_of(st.none(), st.integers(0, 1 << 62))
_NOTES = st.one_of(st.none(), _TEXT)
_META: st.SearchStrategy[Any] = st.recursive(
    st.one_of(_TEXT, st.integers(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2), st.dictionaries(_TEXT, inner, min_size=1, max_size=2)
    ),
    max_leaves=4,
)
_CLOUD = st.one_of(st.none(), st.builds(lambda name, etag: {name: {"etag": etag}}, _TEXT, st.just("abc")))


def builds(record: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Returns `st.builds` that leaves the other fields at their defaults; for a NamedTuple it would guess them."""
    return st.fixed_dictionaries(fields).map(lambda values: record(**values))


def whole(item: Any) -> Any:
    """Returns the record as it is after a round trip: `has_hash` follows from the kind of the digest."""
    if item.digest is not None and item.digest.algorithm in (MD5, LEGACY_MD5):
        item = item._replace(has_hash=item.digest.algorithm == MD5)
    return item


_OUTPUTS = builds(Output, path=_PATHS, digest=_DIGESTS, size=_COUNTS, nfiles=_COUNTS, isexec=st.booleans(), version_id=_NOTES,
    cloud=_CLOUD, use_cache=st.booleans(), persist=st.booleans(), remote=_NOTES, can_push=st.booleans(), desc=_NOTES,
    type=_NOTES, labels=st.lists(_TEXT, max_size=2).map(tuple), meta=st.one_of(st.none(), _META), has_hash=st.booleans(),
).map(whole)  # fmt: skip
_FILES = st.lists(
    builds(FileEntry, relpath=_PATHS, digest=st.one_of(st.none(), st.builds(Digest, st.just(MD5), _MD5_VALUES)), size=_COUNTS,
        isexec=st.booleans(), version_id=_NOTES, cloud=_CLOUD,
    ),
    max_size=3, unique_by=lambda file: file.relpath,
).map(lambda files: tuple(sorted(files, key=lambda file: file.relpath)))  # fmt: skip
_DIRECTORIES = builds(Output, path=_PATHS, files=_FILES, can_push=st.booleans())
_DEPENDENCIES = st.one_of(
    builds(
        Dependency,
        path=_PATHS,
        digest=_DIGESTS,
        size=_COUNTS,
        nfiles=_COUNTS,
        isexec=st.booleans(),
        has_hash=st.booleans(),
    ).map(whole),
    st.builds(
        lambda path, url: Dependency(path, repo={"url": url, "rev_lock": "0" * 40}, has_hash=False),
        _PATHS,
        _TEXT,
    ),
)
_METAFILES = builds(Metafile, outs=st.lists(st.one_of(_OUTPUTS, _DIRECTORIES), min_size=1, max_size=3).map(tuple),
    deps=st.lists(_DEPENDENCIES, max_size=2).map(tuple), checksum=st.one_of(st.none(), _HEX),
    wdir=st.one_of(st.just("."), st.sampled_from(["..", "a/b"])), cmd=_NOTES, frozen=st.booleans(),
    always_changed=st.booleans(), desc=_NOTES, meta=st.one_of(st.none(), _META),
)  # fmt: skip


@given(_METAFILES)
def test_a_rendered_metafile_says_the_same_when_read(m: Metafile) -> None:
    assert parse_metafile(render_metafile(m), name="x.dvc") == m


@given(_METAFILES, _METAFILES)
def test_a_metafile_rewritten_in_place_says_the_new_thing(old: Metafile, new: Metafile) -> None:
    data = render_metafile(old)
    assert render_metafile(old, data) == data
    assert parse_metafile(render_metafile(new, data), name="x.dvc") == new


@given(_METAFILES)
def test_the_checksum_does_not_depend_on_how_the_file_came_to_be(m: Metafile) -> None:
    again = parse_metafile(render_metafile(m), name="x.dvc")
    assert stage_checksum(again) == stage_checksum(m)
    assert stage_checksum(m._replace(checksum=None, desc="other", meta=1)) == stage_checksum(m)


def sorted_entries(entries: list[Any]) -> tuple[Any, ...]:
    plain = [Output(entry.path, entry.digest, entry.size, has_hash=entry.has_hash) for entry in entries]
    return tuple(sorted(plain, key=lambda entry: entry.path))


_PARAMS = st.dictionaries(_TEXT, st.dictionaries(_TEXT, _META, max_size=3), max_size=2)
_STAGES = st.builds(
    lambda cmd, outs, params, deps: LockedStage(
        cmd,
        tuple(
            Dependency(out.path, out.digest, out.size, has_hash=out.has_hash) for out in sorted_entries(deps)
        ),
        params,
        sorted_entries(outs),
    ),
    st.one_of(_TEXT, st.lists(_TEXT, min_size=1, max_size=3)),
    st.lists(_OUTPUTS, max_size=3),
    _PARAMS,
    st.lists(_OUTPUTS, max_size=2),
)
_LOCKFILES = builds(
    Lockfile,
    stages=st.dictionaries(_TEXT, _STAGES, max_size=3),
    datasets=st.lists(st.fixed_dictionaries({"name": _TEXT}), max_size=2).map(tuple),
)


@given(_LOCKFILES, _LOCKFILES)
def test_a_lock_file_is_read_back_fresh_or_rewritten(old: Lockfile, new: Lockfile) -> None:
    data = render_lockfile(old)
    assert parse_lockfile(data, name="dvc.lock") == old
    assert render_lockfile(old, data) == data
    assert parse_lockfile(render_lockfile(new, data), name="dvc.lock") == new
