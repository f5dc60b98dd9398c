"""`.dvc` files of every DVC version: what they say, what is refused, what a rewrite keeps."""

from __future__ import annotations

import datetime
import os

import pytest

from kist.formats.metafile import (
    MetafileError,
    parse_metafile,
    render_metafile,
    stage_checksum,
    with_checksum,
)
from kist.formats.records import (
    CHECKSUM,
    ETAG,
    LEGACY_MD5,
    MD5,
    Dependency,
    Digest,
    FileEntry,
    Metafile,
    Output,
)
from kist.formats.yaml import YamlError

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "..", "golden", "metafiles")
DIRECTORY = "7215ee9c7d9dc229d2921a40e899ec5f.dir"
ZIP = "9d7bf075372908f55e2d945c39e0a613"
HELLO = "b1946ac92492d2347c6235b4d2611184"


def legacy(value: str) -> Digest:
    return Digest(LEGACY_MD5, value)


def md5(value: str) -> Digest:
    return Digest(MD5, value)


def old_output(path: str, value: str | None, **fields: object) -> Output:
    return Output(path, None if value is None else legacy(value), has_hash=False)._replace(**fields)


def old_dependency(path: str, digest: Digest | None, **fields: object) -> Dependency:
    return Dependency(path, digest, has_hash=False)._replace(**fields)


IMPORT_HELLO = Digest(MD5, "aab7e3691d8e56dbebe8c22e116a21f4")
EXPECTED: dict[str, Metafile] = {
    "0.9-last-stage.Dvcfile": Metafile(
        deps=(old_dependency("plots/loss.png", legacy("09f7e02f1290be211da707a266f153b3")),)
    ),
    "0.9-data.dvc": Metafile((old_output("train.zip", ZIP),)),
    "0.9-stage.dvc": Metafile(
        (old_output("data/train", None),),
        (old_dependency("src/unpack.py", None), old_dependency("data/train.zip", legacy(ZIP))),
        cmd="unzip -d data/ data/train.zip",
    ),
    "0.20-data.dvc": Metafile(
        (old_output("train.zip", ZIP, metric=False),), checksum="e57c8b0ad7ff1e8c4ee61e3ae0d0b7b5"
    ),
    "0.50-stage.dvc": Metafile(
        (
            old_output(
                "metrics.json",
                "d41d8cd98f00b204e9800998ecf8427e",
                use_cache=False,
                metric={"type": "json", "xpath": "auc"},
            ),
            old_output(
                "report",
                DIRECTORY,
                metric=False,
                extra={"tags": {"first": {"md5": "99914b932bd37a50b983c5e7c90ae93b"}}},
            ),
        ),
        (
            old_dependency("evaluate.py", legacy("b026324c6904b2a9cb4b88d6d61c81d1")),
            old_dependency("s3://bucket/labels.csv", Digest(ETAG, '"5A4b6d-598cfd38B04f2"')),
        ),
        checksum="26ab0db90d72e28ad0ba1e22ee510510",
        wdir="../run",
        cmd="python evaluate.py",
        frozen=True,
        notices=(
            "'0.50-stage.dvc': output 'metrics.json': the options of 'metric' have no effect,"
            " the whole file is the metric",
            "'0.50-stage.dvc': output 'report': 'tags' have no effect, Git tags took their place",
        ),
    ),
    "1.x-data.dvc": Metafile((old_output("train", DIRECTORY),)),
    "1.x-import.dvc": Metafile(
        (old_output("data.xml", ZIP),),
        (
            old_dependency(
                "get-started/data.xml",
                None,
                repo={
                    "url": "https://example.invalid/registry",
                    "rev_lock": "f31f5c4cdae787b4bdeb97a717687d44667d9e62",
                },
            ),
        ),
        checksum="c26fea6ec9de1a9ca1f3c01aa6e87263",
        frozen=True,
    ),
    "1.x-stage.dvc": Metafile(
        (
            old_output(
                "loss.csv",
                "d41d8cd98f00b204e9800998ecf8427e",
                use_cache=False,
                plot={"x": "step", "y": "loss"},
            ),
            old_output("metrics.json", ZIP, use_cache=False, metric=True),
        ),
        (
            old_dependency("train.py", legacy("b026324c6904b2a9cb4b88d6d61c81d1")),
            old_dependency("params.yaml", None, params={"lr": 0.1, "layers": [64, 64]}),
        ),
        checksum="26ab0db90d72e28ad0ba1e22ee510510",
        cmd="python train.py",
    ),
    "2.x-directory.dvc": Metafile((old_output("data", DIRECTORY, size=66544770, nfiles=8),)),
    "2.x-stage.dvc": Metafile(
        (
            old_output("model.pkl", ZIP, size=12, isexec=True, extra={"checkpoint": True}),
            old_output(
                "dvclive", DIRECTORY, size=9, nfiles=2, extra={"live": {"summary": True, "html": True}}
            ),
        ),
        cmd="python train.py",
        notices=(
            "'2.x-stage.dvc': output 'model.pkl': 'checkpoint' has no effect, the output is removed before each run",
            "'2.x-stage.dvc': output 'dvclive': 'live' has no effect, list its files under 'metrics' and 'plots'"
            " in dvc.yaml",
        ),
    ),
    "2.x-upgraded-import-url.dvc": Metafile(
        (old_output("ml-100k.zip", ZIP, size=4924029),),
        (
            Dependency(
                "http://example.invalid/ml-100k.zip", Digest(CHECKSUM, '"4b227d-598cfd31b571f"'), 4924029
            ),
        ),
        checksum="97ce7a9bd4c8b4bb7af71acbc0b25c70",
    ),
    "3.x-upgraded.dvc": Metafile(
        (
            Output(
                "tutorials/data.zip", md5(ZIP), 41122310, desc="10K posts (1/3 is R lang)", remote="docs/dvc"
            ),
        ),
        wdir="../..",
    ),
    "3.x-file.dvc": Metafile((Output("file.txt", md5(HELLO), 6),)),
    "3.x-executable.dvc": Metafile(
        (Output("exec.sh", md5("3e2b31c72181b87149ff995e7202c0e3"), 10, isexec=True),)
    ),
    "3.x-directory.dvc": Metafile((Output("dir", md5("877ca131a4649e7889b882b7b2b0f6df.dir"), 8, 5),)),
    "3.x-import.dvc": Metafile(
        (Output("imp", md5("20ad46588e5628537eb822c2583dd63d.dir"), 8, 2),),
        (
            old_dependency(
                "data",
                None,
                repo={
                    "url": "../registry",
                    "rev": "v1",
                    "rev_lock": "e6cbf8328146655f23721c7262f49b11c8c575d5",
                },
            ),
        ),
        checksum="4ee00d2dd125f5543597493918dacc57",
        frozen=True,
    ),
    "3.x-import-url.dvc": Metafile(
        (Output("ext.txt", IMPORT_HELLO, 4),),
        (Dependency("../out/ext.txt", IMPORT_HELLO, 4),),
        checksum="90e0d46e9d2179a1a2471ed300cd3c7b",
        frozen=True,
    ),
    "3.x-import-not-downloaded.dvc": Metafile(
        (Output("imp"),), (old_dependency("data", None, repo={"url": "../registry"}),), frozen=True
    ),
    "3.x-import-db.dvc": Metafile(
        (old_output("b", None),),
        (old_dependency("", None, db={"query": "x", "connection": "z", "file_format": "csv"}),),
        checksum="99c947e6e2b931e70310353bdd333386",
        frozen=True,
    ),
    "3.x-version-aware.dvc": Metafile(
        (Output("idir", md5("5a1d9e72e92f641e91bf62de156fbce4.dir"), 5, 2, can_push=False),),
        (
            Dependency(
                "remote://s/d",
                fs_config={"version_aware": True},
                files=(
                    FileEntry(
                        "1",
                        Digest(ETAG, "c0fb0e67f942c43d63b6decb180b5442"),
                        3,
                        version_id="202d90e1-366a-4d35-b0ef-7c9a2787203a",
                    ),
                    FileEntry(
                        "s/2",
                        Digest(ETAG, "26ab0db90d72e28ad0ba1e22ee510510"),
                        2,
                        version_id="6a270c48-19df-47fb-ba0e-e386fe4b8c6b",
                    ),
                ),
            ),
        ),
        checksum="9add8ecc0272456f5ff4f64079e0136b",
        frozen=True,
    ),
    "3.x-cloud.dvc": Metafile(
        (
            Output(
                "single",
                md5("f4d5d0c0671be202bc241807c243e80b"),
                2,
                cloud={
                    "s": {
                        "etag": "f4d5d0c0671be202bc241807c243e80b",
                        "version_id": "b0ad1ced-68ec-41f7-bd89-2c0cb48a82fc",
                    }
                },
            ),
        )
    ),
    "3.x-annotated.dvc": Metafile(
        (
            Output(
                "a.txt",
                md5(HELLO),
                6,
                desc="raw sample",
                type="dataset",
                labels=("raw",),
                meta={"owner": "x", "tags": ["a", "b"]},
                remote="cold",
                can_push=False,
            ),
        ),
        desc="what this file is for",
        meta={"reviewed": datetime.date(2024, 5, 1)},
    ),
    "3.x-flow.dvc": Metafile((Output("a.txt", md5(HELLO), 6),)),
}
CASES = pytest.mark.parametrize("name", sorted(EXPECTED))


def read_golden(name: str) -> bytes:
    with open(os.path.join(GOLDEN, name), "rb") as stream:
        return stream.read()


def test_every_golden_metafile_has_an_expected_record() -> None:
    assert {name for name in os.listdir(GOLDEN) if not name.endswith(".lock")} == set(EXPECTED)


@CASES
def test_every_spelling_is_read(name: str) -> None:
    assert parse_metafile(read_golden(name), name=name) == EXPECTED[name]


@CASES
def test_a_file_that_says_the_same_keeps_its_bytes(name: str) -> None:
    data = read_golden(name)
    assert render_metafile(EXPECTED[name], data) == data


@CASES
def test_a_fresh_file_says_what_was_read(name: str) -> None:
    m = EXPECTED[name]._replace(notices=())
    again = parse_metafile(render_metafile(m), name=name)._replace(notices=())
    # `metric: false` is the default, and no DVC since 1.0 reads it.
    outs = tuple(out._replace(metric=out.metric or None) for out in m.outs)
    assert again == m._replace(outs=outs)


@pytest.mark.parametrize(
    "name",
    [
        "1.x-data.dvc", "1.x-import.dvc", "2.x-directory.dvc", "3.x-file.dvc", "3.x-executable.dvc",
        "3.x-directory.dvc", "3.x-import.dvc", "3.x-import-url.dvc", "3.x-import-not-downloaded.dvc",
        "3.x-import-db.dvc", "3.x-version-aware.dvc",
    ],
)  # fmt: skip
def test_a_fresh_file_has_the_bytes_of_the_one_that_dvc_wrote(name: str) -> None:
    assert render_metafile(EXPECTED[name]) == read_golden(name)


def test_a_fresh_file_has_all_keys_in_the_order_of_dvc() -> None:
    m = Metafile(
        outs=(
            Output(
                "a.txt", md5(HELLO), 6, None, True, "v1", {"r": {"etag": "abc"}}, None, False, True, "cold",
                False, "text", "dataset", ("x", "y"), {"a": 1}, {"version_aware": True},
            ),
        ),
        checksum="0" * 32, wdir="..", frozen=True, always_changed=True, desc="top", meta=[1],
    )  # fmt: skip
    assert render_metafile(m).decode() == (
        f"desc: top\nmd5: '{'0' * 32}'\nwdir: ..\nfrozen: true\nouts:\n- md5: {HELLO}\n  size: 6\n  isexec: true\n"
        "  version_id: v1\n  cloud:\n    r:\n      etag: abc\n  hash: md5\n  path: a.txt\n  fs_config:\n"
        "    version_aware: true\n  desc: text\n  type: dataset\n  labels:\n  - x\n  - y\n  meta:\n    a: 1\n"
        "  cache: false\n  persist: true\n  remote: cold\n  push: false\nalways_changed: true\nmeta:\n- 1\n"
    )


def test_a_rewrite_keeps_comments_order_and_unknown_meta() -> None:
    data = read_golden("3.x-annotated.dvc")
    m = parse_metafile(data, name="a.dvc")
    changed = m._replace(outs=(m.outs[0]._replace(digest=md5(ZIP), size=7),))
    expected = data.replace(HELLO.encode(), ZIP.encode()).replace(b"size: 6", b"size: 7")
    # The space before a comment is ruamel's, as in DVC.
    assert render_metafile(changed, data) == expected


def test_a_rewrite_of_an_old_entry_appends_the_new_keys() -> None:
    data = b"outs:\n- md5: 7215ee9c7d9dc229d2921a40e899ec5f.dir\n  size: 3\n  path: train\n"
    m = parse_metafile(data, name="train.dvc")
    digest = md5("877ca131a4649e7889b882b7b2b0f6df.dir")
    changed = m._replace(outs=(m.outs[0]._replace(digest=digest, size=8, nfiles=5),))
    assert render_metafile(changed, data) == (
        b"outs:\n- md5: 877ca131a4649e7889b882b7b2b0f6df.dir\n  size: 8\n  path: train\n  nfiles: 5\n  hash: md5\n"
    )


def test_defaults_that_old_versions_wrote_vanish_on_a_change() -> None:
    data = read_golden("0.20-data.dvc")
    m = parse_metafile(data, name="train.zip.dvc")
    changed = with_checksum(m._replace(outs=(m.outs[0]._replace(digest=md5(HELLO), size=6),)))
    assert render_metafile(changed, data).decode() == (
        f"outs:\n- md5: {HELLO}\n  path: train.zip\n  size: 6\n  hash: md5\n"
    )


def test_keys_of_old_versions_survive_a_rewrite() -> None:
    data = read_golden("0.50-stage.dvc")
    m = parse_metafile(data, name="x.dvc")
    changed = m._replace(outs=(m.outs[0]._replace(digest=md5(HELLO)), m.outs[1]))
    again = parse_metafile(render_metafile(changed, data), name="x.dvc")
    assert again.outs[0].metric == {"type": "json", "xpath": "auc"}
    assert again.outs[1].extra == m.outs[1].extra
    assert (again.cmd, again.wdir, again.frozen, again.deps) == (m.cmd, m.wdir, m.frozen, m.deps)


@pytest.mark.parametrize(
    "name",
    ["3.x-import.dvc", "3.x-import-url.dvc", "3.x-version-aware.dvc"],
)
def test_the_checksum_of_a_file_with_dependencies_is_that_of_dvc(name: str) -> None:
    m = EXPECTED[name]
    assert stage_checksum(m) == m.checksum
    assert with_checksum(m._replace(checksum=None)) == m


def test_the_checksum_leaves_notes_and_figures_out() -> None:
    m = EXPECTED["3.x-import-url.dvc"]
    out = m.outs[0]._replace(desc="d", type="t", labels=("l",), meta=1, size=99, isexec=True, persist=True)
    noted = m._replace(outs=(out,), desc="d", meta=1, frozen=False)
    assert stage_checksum(noted) == m.checksum
    assert stage_checksum(m._replace(wdir="..")) != m.checksum
    assert stage_checksum(m._replace(outs=(m.outs[0]._replace(can_push=False),))) != m.checksum


def test_a_file_without_dependencies_has_no_checksum() -> None:
    m = EXPECTED["3.x-file.dvc"]._replace(checksum="0" * 32)
    assert with_checksum(m).checksum is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("outs:\n- path: x\n  md5: B1946AC92492D2347C6235B4D2611184\n", legacy(HELLO)),
        ("outs:\n- path: x\n  hash: md5\n  md5: 12345678901234567890123456789012\n", md5("12345678901234567890123456789012")),
        ("outs:\n- path: x\n  hash: md5\n  md5: '00345678901234567890123456789e12'\n", md5("00345678901234567890123456789e12")),
        ("outs:\n- path: x\n  md5: ''\n", None),
        ("outs:\n- path: x\n  md5:\n", None),
        ("outs:\n- path: x\n  checksum: ABC\n", Digest(CHECKSUM, "abc")),
        ("outs:\n- path: x\n  etag: ABC\n", Digest(ETAG, "ABC")),
        ("outs:\n- path: x\n  etag: 123\n", Digest(ETAG, "123")),
        (f"outs:\n- path: x\n  etag: ABC\n  md5: {HELLO}\n", legacy(HELLO)),
        (f"outs:\n- path: x\n  hash: md5-dos2unix\n  md5: {HELLO}\n", legacy(HELLO)),
    ],
)  # fmt: skip
def test_content_ids_are_read_as_dvc_reads_them(text: str, expected: Digest | None) -> None:
    assert parse_metafile(text.encode(), name="x.dvc").outs[0].digest == expected


@pytest.mark.parametrize("value", ["1" * 32, "0" * 32, "5e" + "1" * 30, "1" * 30 + "e1", "0" * 31 + "7.dir"])
def test_a_content_id_that_looks_like_a_number_is_written_as_a_text(value: str) -> None:
    written = render_metafile(Metafile((Output("x", md5(value), 6),)))
    assert parse_metafile(written, name="x.dvc").outs[0].digest == md5(value)
    from ruamel.yaml import YAML

    assert YAML(typ="safe", pure=True).load(written)["outs"][0]["md5"] == value


def test_files_of_a_directory_take_the_kind_of_the_entry() -> None:
    text = f"outs:\n- path: d\n  hash: md5\n  files:\n  - relpath: a\n    md5: {HELLO}\n"
    (out,) = parse_metafile(text.encode(), name="d.dvc").outs
    assert out.files == (FileEntry("a", md5(HELLO)),)
    (old,) = parse_metafile(text.replace("  hash: md5\n", "").encode(), name="d.dvc").outs
    assert old.files == (FileEntry("a", legacy(HELLO)),)


@pytest.mark.parametrize("word", ["true", "Null", "FALSE", "null"])
def test_a_bare_word_that_is_no_text_is_not_a_path(word: str) -> None:
    with pytest.raises(MetafileError, match="'path' is"):
        parse_metafile(
            f"outs:\n- md5: {HELLO}\n  size: 6\n  hash: md5\n  path: {word}\n".encode(), name="x.dvc"
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read 'x.dvc': the file is empty"),
        ("# only a comment\n", "cannot read 'x.dvc': the file is empty"),
        ("a text\n", "cannot read 'x.dvc': line 1: expected a mapping, found a text"),
        ("[]\n", "cannot read 'x.dvc': line 1: expected a mapping, found a list"),
        ("meta: 1\n", "cannot read 'x.dvc': line 1: expected 'outs' or 'deps'"),
        ("outs:\n", "cannot read 'x.dvc': line 1: expected a list in 'outs', found empty"),
        ("outs:\n- a\n", "cannot read 'x.dvc': line 2: expected a mapping in item 1 of 'outs', found a text"),
        ("outs:\n- md5: ''\n", "cannot read 'x.dvc': line 2: key 'path' is missing in item 1 of 'outs'"),
        ("outs:\n- path:\n", "cannot read 'x.dvc': line 2: 'path' is empty, expected a text"),
        ("outs:\n- path: ''\n", "cannot read 'x.dvc': line 2: 'path' is not a path: ''"),
        ("outs:\n- path: 3\n", "cannot read 'x.dvc': line 2: 'path' is a whole number, expected a text"),
        (
            "outs:\n- path: a\n- pth: x\n",
            "cannot read 'x.dvc': line 3: key 'pth' is not known in item 2 of 'outs'; did you mean 'path'?",
        ),
        ("outs: []\nzzz: 1\n", "cannot read 'x.dvc': line 2: key 'zzz' is not known"),
        ("out:\n- path: a\n", "cannot read 'x.dvc': line 1: key 'out' is not known; did you mean 'outs'?"),
        (
            "outs:\n- path: a\n  md5: ../../secret\n",
            "cannot read 'x.dvc': line 3: md5 '../../secret' is not 32 hexadecimal digits,"
            " with '.dir' for a directory",
        ),
        (
            f"outs:\n- path: a\n  md5: {HELLO}.dir.dir\n",
            f"cannot read 'x.dvc': line 3: md5 '{HELLO}.dir.dir' is not 32 hexadecimal digits,"
            " with '.dir' for a directory",
        ),
        ("outs:\n- path: a\n  md5: true\n", "cannot read 'x.dvc': line 3: 'md5' is true or false, expected a text"),
        ("outs:\n- path: a\n  etag: ab\n", "cannot read 'x.dvc': line 3: etag 'ab' is too short"),
        ("outs:\n- path: a\n  hash: sha1\n", "cannot read 'x.dvc': line 3: hash 'sha1' is not known; expected 'md5'"),
        ("outs:\n- path: a\n  size: '3'\n", "cannot read 'x.dvc': line 3: 'size' is a text, expected a whole number"),
        ("outs:\n- path: a\n  size: -1\n", "cannot read 'x.dvc': line 3: 'size' is -1, expected 0 or more"),
        ("outs:\n- path: a\n  cache: yes\n", "cannot read 'x.dvc': line 3: 'cache' is a text, expected true or false"),
        ("outs:\n- path: a\n  desc:\n", "cannot read 'x.dvc': line 3: 'desc' is empty, expected a text"),
        (
            "outs:\n- path: a\n  labels: [b, 1]\n",
            "cannot read 'x.dvc': line 3: a label is a whole number, expected a text",
        ),
        (
            "outs:\n- path: a\n  cloud:\n    r: {}\n    s: {}\n",
            "cannot read 'x.dvc': line 3: 'cloud' names 2 remotes, expected one",
        ),
        (
            "outs:\n- path: a\n  cloud:\n    r:\n      md5: x/y\n",
            "cannot read 'x.dvc': line 5: md5 'x/y' is not 32 hexadecimal digits, with '.dir' for a directory",
        ),
        (
            "outs:\n- path: a\n  files:\n  - relpath: b\n    foo: 1\n",
            "cannot read 'x.dvc': line 5: key 'foo' is not known in item 1 of 'files'",
        ),
        ("deps:\n- path: a\n  repo: {}\n", "cannot read 'x.dvc': line 3: key 'url' is missing in 'repo'"),
        ("deps:\n- path: a\n  push: true\n", "cannot read 'x.dvc': line 3: key 'push' is not known in item 1 of 'deps'"),
        ("frozen: 1\nouts: []\n", "cannot read 'x.dvc': line 1: 'frozen' is a whole number, expected true or false"),
        ("cmd: [a]\nouts: []\n", "cannot read 'x.dvc': line 1: 'cmd' is a list, expected a text"),
        ("outs: []\nwdir: 3\n", "cannot read 'x.dvc': line 2: 'wdir' is a whole number, expected a text"),
    ],
)  # fmt: skip
def test_what_is_no_metafile_is_refused_with_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(MetafileError) as caught:
        parse_metafile(text.encode(), name="x.dvc")
    assert caught.value.message == message


@pytest.mark.parametrize(
    "data",
    [
        f"<<<<<<< HEAD\nouts:\n- md5: {HELLO}\n=======\nouts:\n- md5: {ZIP}\n>>>>>>> b\n  path: a\n".encode(),
        f"outs:\n- md5: {HELLO}\n<<<<<<< HEAD\n  size: 6\n=======\n  size: 7\n>>>>>>> b\n  path: a\n".encode(),
    ],
)
def test_conflict_markers_are_called_by_their_name(data: bytes) -> None:
    with pytest.raises(
        YamlError, match=r"cannot read 'a\.dvc': line \d: the file has conflict markers"
    ) as caught:
        parse_metafile(data, name="a.dvc")
    assert caught.value.hint is not None


@pytest.mark.parametrize("data", [b"\x00\x01\x02", b"\xff\xfe\x00", b"\x89PNG\r\n\x1a\n", bytes(range(256))])
def test_binary_data_is_refused(data: bytes) -> None:
    with pytest.raises((YamlError, MetafileError), match=r"cannot read 'a\.dvc'"):
        parse_metafile(data, name="a.dvc")


def test_no_beginning_of_a_file_is_taken_for_another_file() -> None:
    """A file that was cut off is refused, or says less, but never names other data."""
    data = read_golden("3.x-import-url.dvc")
    whole = parse_metafile(data, name="x")
    for size in range(len(data)):
        try:
            cut = parse_metafile(data[:size], name="x")
        except (MetafileError, YamlError):
            continue
        for out in cut.outs:
            assert whole.outs[0].path.startswith(out.path)
            assert out.digest in (None, whole.outs[0].digest)


def test_a_broken_file_is_not_overwritten() -> None:
    with pytest.raises(MetafileError):
        render_metafile(EXPECTED["3.x-file.dvc"], b"outs:\n- path: 3\n")
