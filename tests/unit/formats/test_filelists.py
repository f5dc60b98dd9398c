"""`files:` lists stand for manifests, and the other way round."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.formats.filelists import entries_of, spelled
from kist.formats.manifest import ManifestError, parse_manifest, render_manifest, tree_of
from kist.formats.records import ETAG, LEGACY_MD5, MD5, Digest, FileEntry, Output

OID = hashlib.md5(b"x").hexdigest()


def listed(*names: str, algorithm: str = MD5) -> Output:
    """Returns an output that lists files."""
    return Output("d", files=tuple(FileEntry(name, Digest(algorithm, OID), 1) for name in names))


@given(st.dictionaries(st.sampled_from(["a", "b c", "s/1", "s/ü", "z/y/x", 'q"']), st.binary(), min_size=1))
def test_a_list_has_the_id_of_its_manifest_and_comes_back(contents: dict[str, bytes]) -> None:
    files = {name: hashlib.md5(data).hexdigest() for name, data in contents.items()}
    entries = entries_of(tree_of(files), MD5, (), lambda oid: 7)
    found = spelled(Output("d", files=entries), name="d.dvc")
    assert found is not None
    manifest = render_manifest(tree_of(files))
    assert found.manifest == manifest
    assert found.digest == Digest(MD5, hashlib.md5(manifest).hexdigest() + ".dir")
    assert (found.size_bytes, found.nfiles) == (7 * len(files), len(files))
    assert dict(parse_manifest(found.manifest, name="d").files()) == files


def test_what_is_known_of_a_file_stays_while_its_content_does() -> None:
    known = FileEntry("a", Digest(MD5, OID), 1, isexec=True, cloud={"r": {"version_id": "7"}})
    other = "0" * 32
    tree = tree_of({"a": OID, "b": OID})
    assert entries_of(tree, MD5, (known,), lambda oid: None) == (known, FileEntry("b", Digest(MD5, OID)))
    assert entries_of(tree_of({"a": other}), MD5, (known,), lambda oid: 5) == (
        FileEntry("a", Digest(MD5, other), 5),
    )


@pytest.mark.parametrize(
    "output",
    [
        Output("d"),
        Output("d", files=()),
        listed("a", algorithm=ETAG),
        Output("d", files=(FileEntry("a"),)),
        Output("d", files=(FileEntry("a", Digest(MD5, OID)), FileEntry("b", Digest(LEGACY_MD5, OID)))),
        listed("a", "a"),
    ],
)
def test_a_list_that_says_too_little_stands_for_nothing(output: Output) -> None:
    assert spelled(output, name="d.dvc") is None


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", ".git/config", "s/.dvc/x", "a//b"])
def test_a_path_that_must_not_be_written_is_refused(name: str) -> None:
    with pytest.raises(ManifestError):
        spelled(listed("ok", name), name="d.dvc")
