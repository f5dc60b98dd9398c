"""Three versions of a `.dvc` file become one that can be read, with comments, or a clash."""

from __future__ import annotations

import hashlib

import pytest

from kist.compare.merge import OURS, THEIRS, Clash
from kist.compare.merge_metafile import Merged, Resources, merge_metafile, needed_manifests
from kist.errors import FormatError
from kist.formats.manifest import render_manifest, tree_of
from kist.formats.metafile import parse_metafile, render_metafile, stage_checksum
from kist.formats.records import Digest, Metafile, Output

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def text(md5: str = A, size: int = 1, *, path: str = "f", more: str = "", top: str = "") -> bytes:
    return f"{top}outs:\n- md5: {md5}\n  size: {size}\n  hash: md5\n  path: {path}\n{more}".encode()


def merge(
    base: bytes | None,
    ours: bytes,
    theirs: bytes,
    *,
    choice: str | None = None,
    manifests: tuple[bytes, ...] = (),
    contents: str = "",
) -> Merged:
    sizes = {
        Digest("md5", hashlib.md5(content.encode()).hexdigest()): len(content) for content in contents.split()
    }
    known = {Digest("md5", hashlib.md5(data).hexdigest() + ".dir"): data for data in manifests}
    resources = Resources(known, lambda _: choice, sizes.get)
    merged = merge_metafile(base, ours, theirs, name="f.dvc", resources=resources)
    parse_metafile(merged.data, name="f.dvc")
    return merged


def clashes(merged: Merged) -> list[tuple[str, str, str]]:
    return [(item.clash.out, item.clash.inner, item.clash.field) for item in merged.decisions]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        (text(A), text(B, 2), text(A), text(B, 2)),
        (text(A), text(A), text(B, 2), text(B, 2)),
        (text(A), text(B), text(B), text(B)),
        (text(A), text(B), text(A, path="g"), text(B, path="g")),
        (text(A), text(B), text(A, more="  desc: words\n"), text(B, more="  desc: words\n")),
        (text(A), text(A, more="  persist: true\n"), text(B), text(B, more="  persist: true\n")),
        (None, text(B), text(B), text(B)),
        (text(A), text(B), text(A, top="frozen: true\n"), text(B, more="frozen: true\n")),
        (
            text(A, more="  labels:\n  - x\n"),
            text(A, more="  labels:\n  - x\n  - y\n"),
            text(A, more="  labels:\n  - z\n"),
            text(A, more="  labels:\n  - y\n  - z\n"),
        ),
        (
            text(A, more="meta:\n  a: 1\n  b: 1\n"),
            text(B, more="meta:\n  a: 2\n  b: 1\n"),
            text(A, more="meta:\n  a: 1\n  c: 3\n"),
            text(B, more="meta:\n  a: 2\n  c: 3\n"),
        ),
    ],
)
def test_each_value_follows_the_side_that_changed_it(
    base: bytes | None, ours: bytes, theirs: bytes, result: bytes
) -> None:
    merged = merge(base, ours, theirs)
    assert merged.decisions == []
    assert parse_metafile(merged.data, name="x") == parse_metafile(result, name="x")


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "where"),
    [
        (text(A), text(B), text(C), ("f", "", "")),
        (None, text(B), text(C), ("f", "", "")),
        (text(A), text(A, more="  desc: x\n"), text(A, more="  desc: y\n"), ("f", "", "desc")),
        (text(A), text(A, path="g"), text(A, path="h"), ("g", "", "path")),
        (text(A, more="meta:\n  a: 1\n"), text(A, more="meta:\n  a: 2\n"), text(A, more="meta:\n  a: 3\n"), ("", "", "meta.a")),
        (text(A, more="meta:\n  a: 1\n"), text(A), text(A, more="meta:\n  a: 3\n"), ("", "", "meta")),
        (text(A + ""), text("d" * 32 + ".dir"), text(B), ("f", "", "")),
    ],
)  # fmt: skip
def test_what_clashes_has_our_value_until_theirs_is_chosen(
    base: bytes | None, ours: bytes, theirs: bytes, where: tuple[str, str, str]
) -> None:
    for choice, result in ((None, ours), (OURS, ours), (THEIRS, theirs)):
        merged = merge(base, ours, theirs, choice=choice)
        assert clashes(merged) == [where]
        assert parse_metafile(merged.data, name="x") == parse_metafile(result, name="x")
        assert merged.is_open == (choice is None)


def test_several_outputs_are_matched_by_their_paths() -> None:
    def outs(**md5s: str) -> bytes:
        return render_metafile(
            Metafile(tuple(Output(path, Digest("md5", md5), 1) for path, md5 in md5s.items()))
        )

    base = outs(a=A, b=A, c=A)
    merged = merge(base, outs(a=B, b=A, c=A), outs(c=C, a=A, d=B))
    assert merged.decisions == []
    assert parse_metafile(merged.data, name="x") == parse_metafile(outs(a=B, c=C, d=B), name="x")


def test_an_output_removed_here_and_changed_there_clashes() -> None:
    base = render_metafile(Metafile((Output("a", Digest("md5", A)), Output("b", Digest("md5", A)))))
    ours = render_metafile(Metafile((Output("a", Digest("md5", A)),)))
    theirs = render_metafile(Metafile((Output("a", Digest("md5", A)), Output("b", Digest("md5", B)))))
    assert clashes(merge(base, ours, theirs)) == [("b", "", "")]
    chosen = merge(base, ours, theirs, choice=THEIRS)
    assert parse_metafile(chosen.data, name="x") == parse_metafile(theirs, name="x")


def test_comments_stay_and_those_of_theirs_come() -> None:
    base = text(A)
    assert merge(base, b"# ours\n" + text(B), base).data == b"# ours\n" + text(B)
    assert merge(base, text(B), b"# theirs\n" + base).data == b"# theirs\n" + text(B)
    assert merge(b"# old\n" + base, b"# old\n" + text(B), b"# new\n" + base).data == b"# new\n" + text(B)
    both = merge(base, b"# ours\n" + base, b"# theirs\n" + text(B))
    assert clashes(both) == [("", "", "comments")]
    assert both.data == b"# ours\n" + text(B)
    assert merge(
        base, b"# ours\n" + base, b"# theirs\n" + text(B), choice=THEIRS
    ).data == b"# theirs\n" + text(B)


def directory(files: dict[str, str]) -> tuple[bytes, bytes]:
    """Returns a metafile and its manifest."""
    data = render_manifest(
        tree_of({path: hashlib.md5(content.encode()).hexdigest() for path, content in files.items()})
    )
    digest = Digest("md5", hashlib.md5(data).hexdigest() + ".dir")
    size = sum(map(len, files.values()))
    return render_metafile(Metafile((Output("d", digest, size, len(files)),))), data


def test_directories_are_merged_with_size_and_number_of_files() -> None:
    base, ours, theirs, result = (
        directory(files)
        for files in (
            {"a": "1"},
            {"a": "1", "b": "22"},
            {"a": "1", "c": "333"},
            {"a": "1", "b": "22", "c": "333"},
        )
    )
    merged = merge(base[0], ours[0], theirs[0], manifests=(base[1], ours[1], theirs[1]))
    assert merged.data == result[0]
    assert [data for _, data in merged.manifests] == [result[1]]
    assert merged.decisions == []


def test_directories_that_both_sides_added_are_joined() -> None:
    ours, theirs = directory({"a": "1", "same": "x"}), directory({"b": "2", "same": "x"})
    merged = merge(None, ours[0], theirs[0], manifests=(ours[1], theirs[1]))
    assert merged.data == directory({"a": "1", "b": "2", "same": "x"})[0].replace(b"  size: 3\n", b"")
    assert merged.decisions == []


def test_a_merge_that_ends_in_one_side_needs_no_new_manifest() -> None:
    base, ours, theirs = directory({"a": "1"}), directory({"a": "2"}), directory({"a": "2", "b": "3"})
    merged = merge(base[0], ours[0], theirs[0], manifests=(base[1], ours[1], theirs[1]))
    assert (merged.data, merged.manifests) == (theirs[0], [])


def test_a_clash_in_a_directory_names_the_file() -> None:
    base, ours, theirs = directory({"a": "1"}), directory({"a": "2"}), directory({"a": "3", "b": "4"})
    manifests = (base[1], ours[1], theirs[1])
    merged = merge(base[0], ours[0], theirs[0], manifests=manifests, contents="4")
    assert clashes(merged) == [("d", "a", "")]
    assert merged.data == directory({"a": "2", "b": "4"})[0]


def test_without_a_manifest_the_directory_is_one_clash_that_says_so() -> None:
    base, ours, theirs = directory({"a": "1"}), directory({"a": "2"}), directory({"a": "1", "b": "4"})
    merged = merge(base[0], ours[0], theirs[0], manifests=(base[1], ours[1]))
    assert clashes(merged) == [("d", "", "")]
    assert "missing from the cache" in merged.decisions[0].clash.note
    assert merged.data == ours[0]


def test_only_manifests_that_a_merge_takes_are_asked_for() -> None:
    base, ours, theirs = directory({"a": "1"}), directory({"a": "2"}), directory({"a": "1", "b": "4"})
    digests = {parse_metafile(one[0], name="x").outs[0].digest for one in (base, ours, theirs)}
    assert set(needed_manifests(base[0], ours[0], theirs[0], name="x")) == digests
    assert needed_manifests(base[0], ours[0], base[0], name="x") == {}
    assert needed_manifests(base[0], base[0], theirs[0], name="x") == {}
    assert needed_manifests(base[0], ours[0], text(A), name="x") == {}
    assert set(needed_manifests(None, ours[0], theirs[0], name="x")) == digests - {
        parse_metafile(base[0], name="x").outs[0].digest
    }


def imported(rev: str, md5: str, more: str = "") -> bytes:
    value = (
        f"frozen: true\ndeps:\n- path: data\n  repo:\n    url: /somewhere\n    rev_lock: {rev * 40}\n"
        f"outs:\n- md5: {md5}\n  size: 1\n  hash: md5\n  path: data\n{more}"
    ).encode()
    metafile = parse_metafile(value, name="x")
    return f"md5: {stage_checksum(metafile)}\n".encode() + value


def test_an_import_comes_from_one_side_whole() -> None:
    base, ours, theirs = imported("a", A), imported("b", B), imported("c", C)
    merged = merge(base, ours, theirs)
    assert clashes(merged) == [("data", "", "")]
    assert merged.data == ours
    assert merged.decisions[0].clash.theirs.state == "imported at ccccccc"
    assert merge(base, ours, theirs, choice=THEIRS).data == theirs
    assert merge(base, base, theirs).data == theirs


def test_a_note_on_an_import_does_not_clash_with_an_update() -> None:
    base, ours, theirs = imported("a", A), imported("a", A, "  desc: birds\n"), imported("c", C)
    merged = merge(base, ours, theirs)
    assert merged.decisions == []
    assert merged.data == imported("c", C, "  desc: birds\n")


def test_a_base_that_cannot_be_read_counts_as_none() -> None:
    assert clashes(merge(b"<<<<<<< x\n", text(A), text(B))) == [("f", "", "")]
    assert merge(b"<<<<<<< x\n", text(A), text(A)).decisions == []


@pytest.mark.parametrize("sides", [(b"what: is this\n", text(A)), (text(A), b"<<<<<<< x\n")])
def test_a_side_that_cannot_be_read_is_an_error(sides: tuple[bytes, bytes]) -> None:
    with pytest.raises(FormatError):
        merge(text(A), *sides)


def test_the_key_of_a_clash_tells_it_from_the_others() -> None:
    one = merge(text(A), text(B, more="  desc: x\n"), text(C, more="  desc: y\n"))
    keys = [item.clash.key for item in one.decisions]
    assert len(keys) == len(set(keys)) == 2
    assert isinstance(one.decisions[0].clash, Clash)


def of_dvc_2(metafile: bytes) -> bytes:
    return metafile.replace(b"  hash: md5\n", b"")


def test_directories_of_dvc_2_are_merged_as_such_and_never_with_those_of_dvc_3() -> None:
    base, ours, theirs = (
        directory({"a": "1"}),
        directory({"a": "1", "b": "2"}),
        directory({"a": "1", "c": "3"}),
    )
    known = {
        Digest("md5-dos2unix", hashlib.md5(data).hexdigest() + ".dir"): data
        for _, data in (base, ours, theirs)
    }
    resources = Resources(known, lambda _: None, lambda _: None)
    old = [of_dvc_2(item[0]) for item in (base, ours, theirs)]
    merged = merge_metafile(*old, name="d.dvc", resources=resources)
    assert merged.data == of_dvc_2(directory({"a": "1", "b": "2", "c": "3"})[0])
    assert [digest.algorithm for digest, _ in merged.manifests] == ["md5-dos2unix"]
    mixed = merge_metafile(old[0], old[1], theirs[0], name="d.dvc", resources=resources)
    assert clashes(mixed) == [("d", "", "")]
    assert mixed.data == old[1]
