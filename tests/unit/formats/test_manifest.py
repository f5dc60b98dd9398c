"""Directory manifests: bytes as DVC writes them, and nothing unsafe gets in."""

from __future__ import annotations

import json

import pytest
from tests.unit.objects import md5

from kist.formats.manifest import (
    ManifestError,
    compare_manifests,
    fingerprint,
    member_oids,
    parse_manifest,
    render_manifest,
    tree_of,
)

A, B, C = "a" * 32, "b" * 32, "c" * 32


def manifest(*relpaths: str) -> bytes:
    """Returns a manifest that names these paths."""
    return json.dumps([{"md5": A, "relpath": relpath} for relpath in relpaths]).encode()


@pytest.mark.parametrize(
    ("files", "oid"),
    [
        ({}, "d751713988987e9331980363e24189ce"),
        ({"a.txt": "one\n", "sub/b.txt": "two\n"}, "20ad46588e5628537eb822c2583dd63d"),
        (
            dict.fromkeys(
                ["a b", "a-b", "a.b", "a/b", "a0", 'q"x', "t\tab", "é", "\uff5e", "\U0001d4b3"], "1\n"
            ),
            "60e49e416a996896744a4da5433062fb",
        ),
    ],
    ids=["empty", "two files", "odd names"],
)
def test_manifests_of_the_real_dvc_are_made_again(files: dict[str, str], oid: str) -> None:
    tree = tree_of({name: md5(text.encode()) for name, text in files.items()})
    data = render_manifest(tree)
    assert md5(data) == oid
    assert parse_manifest(data, name="m") == tree


@pytest.mark.parametrize(
    "relpath",
    [
        "../x", "a/../x", "..", ".", "", "a/", "a//b", "./a", "a/./b", "/etc/passwd", "/abs", "//a",
        ".git/hooks/x", ".git", "a/.git/config", ".dvc/config", ".dvc", ".GIT/config", "a/.Git/x", "git~1/x",
        "nul\0name", "nul\0folder/x", "..\\x", "a\\..\\x", ".git\\config", "\\abs", "a/b\\..\\..\\x",
    ],
)  # fmt: skip
def test_a_path_that_must_not_be_written_is_refused(relpath: str) -> None:
    for data in (manifest("fine", relpath), manifest(relpath), b" " + manifest(relpath)):
        with pytest.raises(ManifestError, match="cannot use manifest 'm'"):
            parse_manifest(data, name="m")


@pytest.mark.parametrize(
    "relpath", ["a b", ".gitignore", "...", "..a", "a..", ".git.x", "a\\b", "git~2", "-rf", "é"]
)
def test_an_odd_but_harmless_path_is_kept(relpath: str) -> None:
    assert dict(parse_manifest(manifest(relpath), name="m").files()) == {relpath: A}


def test_a_path_that_is_no_text_is_refused() -> None:
    data = f'[{{"md5": "{A}", "relpath": "x\\ud800y"}}]'.encode()
    with pytest.raises(ManifestError):
        parse_manifest(data, name="m")


@pytest.mark.parametrize("relpaths", [("a", "a"), ("a", "b", "a"), ("a", "a/b"), ("a/b/c", "a/b")])
def test_a_path_that_is_named_twice_or_is_file_and_folder_is_refused(relpaths: tuple[str, ...]) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(manifest(*relpaths), name="m")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"null", b"[1]", b"[", b"\xff\xfe", b'[{"md5": "x", "relpath": "a"}]', b'[{"relpath": "a"}]',
        b'[{"md5": "' + b"A" * 32 + b'", "relpath": "a"}]', b'[{"md5": "../../../../../../etc/passwd1234", "relpath": "a"}]',
        b'[{"md5": 5, "relpath": "a"}]', b"[" * 100_000,
        b'[{"md5": "' + b"a" * 32 + b'", "relpath": "a"b"}]', b'[{"md5": "' + b"a" * 32 + b'", "relpath": "\\x"}]',
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(data, name="m")


@pytest.mark.parametrize("data", [b"", b"{}", b'[{"md5": "x", "relpath": "a"}]', b'[{"relpath": "a"}]'])
def test_members_of_what_is_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        member_oids(data, name="m")


def test_other_spellings_of_json_are_read_alike() -> None:
    items = [{"relpath": "d/é", "md5": A, "more": 1}, {"relpath": "b", "md5": B}]
    for text in (json.dumps(items, indent=2), json.dumps(items, ensure_ascii=False), json.dumps(items)):
        data = text.encode()
        assert dict(parse_manifest(data, name="m").files()) == {"d/é": A, "b": B}
        assert member_oids(data, name="m") == {A, B}
        assert compare_manifests(data, b"[]", name="m") == ({"d/é": A, "b": B}, {})


def test_a_quoted_key_inside_of_a_name_is_no_member() -> None:
    data = render_manifest(tree_of({f'x"md5": "{B}"': A}))
    assert member_oids(data, name="m") == {A}


def test_parts_of_a_tree_are_found_by_path() -> None:
    tree = tree_of({"a": A, "d/b": B, "d/e/c": C, "dx/b": A})
    assert (tree.get("a"), tree.get("d/b"), tree.get("d/e/c")) == (A, B, C)
    assert (tree.get("d"), tree.get("d/x"), tree.get("none/b")) == (None, None, None)
    assert dict(tree.below("d").files()) == {"b": B, "e/c": C}
    assert tree.below("") == tree
    assert tree.file_count() == 4


def test_the_fingerprint_tells_names_digests_and_folders_apart() -> None:
    trees = [
        tree_of(files)
        for files in ({}, {"a": A}, {"a": B}, {"b": A}, {"a/b": A}, {"a": A, "b": A}, {"a": A, "b/c": A})
    ]
    assert len({fingerprint(tree) for tree in trees}) == len(trees)
    assert fingerprint(tree_of({"x/b": A, "a": B})) == fingerprint(tree_of({"a": B, "x/b": A}))
