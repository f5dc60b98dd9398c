"""`dvc.lock` in schema 2.0 and in that of DVC 1: what it says, what is refused, what a rewrite keeps."""

from __future__ import annotations

import os

import pytest

from kist.formats.lockfile import LockfileError, parse_lockfile, render_lockfile
from kist.formats.records import (
    ETAG,
    LEGACY_MD5,
    MD5,
    Dependency,
    Digest,
    FileEntry,
    LockedStage,
    Lockfile,
    Output,
)
from kist.formats.yaml import YamlError

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "..", "golden", "metafiles")
DIRECTORY = Digest(LEGACY_MD5, "7215ee9c7d9dc229d2921a40e899ec5f.dir")
HELLO = "b1946ac92492d2347c6235b4d2611184"
DATASET = {
    "name": "d",
    "url": "../registry",
    "type": "dvc",
    "path": "f",
    "rev_lock": "4289118152808dc57337c09a79d2a3c5aea4ba5f",
}
EXPECTED: dict[str, Lockfile] = {
    "1.x.lock": Lockfile(
        {
            "prepare": LockedStage(
                "python src/prepare.py data/data.xml",
                (
                    Dependency(
                        "data/data.xml",
                        Digest(LEGACY_MD5, "9d7bf075372908f55e2d945c39e0a613"),
                        has_hash=False,
                    ),
                    Dependency(
                        "src/prepare.py",
                        Digest(LEGACY_MD5, "b026324c6904b2a9cb4b88d6d61c81d1"),
                        has_hash=False,
                    ),
                ),
                {"params.yaml": {"prepare.seed": 20170428, "prepare.split": 0.2}},
                (Output("data/prepared", DIRECTORY, has_hash=False),),
            )
        }
    ),
    "2.x.lock": Lockfile(
        {
            "load": LockedStage(
                'echo "Download the data..."\nwget https://example.invalid/machine-learning-databases/00275/Data.zip'
                ' -P data/\necho "Unzip"\nunzip data/Data.zip -d data/\n',
                outs=(Output("data", DIRECTORY, 66544770, 8, has_hash=False),),
            ),
            "train@0": LockedStage(
                "python train.py",
                (Dependency("data", DIRECTORY, 66544770, 8, has_hash=False),),
                outs=(
                    Output(
                        "train.sh",
                        Digest(LEGACY_MD5, "9d7bf075372908f55e2d945c39e0a613"),
                        12,
                        isexec=True,
                        has_hash=False,
                    ),
                ),
            ),
        }
    ),
    "3.x.lock": Lockfile(
        {
            "train": LockedStage(
                ["echo adam", "./train.sh"],
                (
                    Dependency("dir", Digest(MD5, "877ca131a4649e7889b882b7b2b0f6df.dir"), 8, 5),
                    Dependency("ds://d", extra={"dataset": DATASET}, has_hash=False),
                ),
                {
                    "params.yaml": {"lr": 0.5, "opt.n": 3},
                    "a.yaml": {"b": "yes", "empty": None, "layers": [[1, 2], {"z": {"deep": "1"}}]},
                },
                (Output("loss.csv", Digest(MD5, "f0d288f4f52379c9a2355e517241353a"), 22),),
            ),
            "noop": LockedStage("true"),
        },
        (DATASET,),
    ),
}
CASES = pytest.mark.parametrize("name", sorted(EXPECTED))


def read_golden(name: str) -> bytes:
    with open(os.path.join(GOLDEN, name), "rb") as stream:
        return stream.read()


def test_every_golden_lock_file_has_an_expected_record() -> None:
    assert {name for name in os.listdir(GOLDEN) if name.endswith(".lock")} == set(EXPECTED)


@CASES
def test_every_schema_is_read(name: str) -> None:
    assert parse_lockfile(read_golden(name), name=name) == EXPECTED[name]


@CASES
def test_a_lock_file_that_says_the_same_keeps_its_bytes(name: str) -> None:
    assert render_lockfile(EXPECTED[name], read_golden(name)) == read_golden(name)


@pytest.mark.parametrize("name", ["2.x.lock", "3.x.lock"])
def test_a_fresh_lock_file_has_the_bytes_that_dvc_writes(name: str) -> None:
    assert render_lockfile(EXPECTED[name]) == read_golden(name)


def test_the_schema_of_dvc_1_becomes_the_present_one_at_a_change() -> None:
    old = EXPECTED["1.x.lock"]
    lock = Lockfile({**old.stages, "noop": LockedStage("x")})
    written = render_lockfile(lock, read_golden("1.x.lock"))
    indented = "".join(f"  {line}\n" for line in read_golden("1.x.lock").decode().splitlines())
    assert written.decode() == f"schema: '2.0'\nstages:\n{indented}  noop:\n    cmd: x\n"


def test_entries_and_params_are_sorted_as_dvc_sorts_them() -> None:
    stage = LockedStage(
        "x",
        (Dependency("b", Digest(MD5, HELLO), 6), Dependency("a", Digest(ETAG, "Abc"))),
        {"z.yaml": {"k": 1}, "a.yaml": {"y": 1, "b.c": 2}, "params.yaml": {}},
        (Output("d/b", Digest(MD5, HELLO), 6, isexec=True), Output("d-a", None, has_hash=False)),
    )
    assert render_lockfile(Lockfile({"s": stage})).decode() == (
        "schema: '2.0'\nstages:\n  s:\n    cmd: x\n    deps:\n    - path: a\n      hash: md5\n      etag: Abc\n"
        f"    - path: b\n      hash: md5\n      md5: {HELLO}\n      size: 6\n    params:\n      params.yaml: {{}}\n"
        "      a.yaml:\n        b.c: 2\n        y: 1\n      z.yaml:\n        k: 1\n    outs:\n    - path: d-a\n"
        f"    - path: d/b\n      hash: md5\n      md5: {HELLO}\n      size: 6\n      isexec: true\n"
    )


def test_files_stand_in_place_of_the_manifest() -> None:
    files = (
        FileEntry("b", Digest(MD5, HELLO), 6),
        FileEntry("a", Digest(MD5, HELLO), 6, True, "v", {"r": {"etag": "e12"}}),
    )
    out = Output("d", Digest(MD5, HELLO + ".dir"), 12, 2, files=files)
    written = render_lockfile(Lockfile({"s": LockedStage("x", outs=(out,))}))
    assert written.decode().split("outs:\n")[1] == (
        f"    - path: d\n      hash: md5\n      files:\n      - relpath: a\n        md5: {HELLO}\n        size: 6\n"
        "        isexec: true\n        version_id: v\n        cloud:\n          r:\n            etag: e12\n"
        f"      - relpath: b\n        md5: {HELLO}\n        size: 6\n"
    )
    (again,) = parse_lockfile(written, name="dvc.lock").stages["s"].outs
    assert again.files == (files[1], files[0])


COMMENTED = f"""\
schema: '2.0'
stages: # all of them
  b: # unsorted, by hand
    cmd: two
    deps:
    - path: z
      md5: {HELLO}
    - path: a
      md5: {HELLO}
  # the first
  a:
    cmd: one
    outs:
    - path: o
      hash: md5
      md5: {HELLO}
      size: 6
"""


def test_a_rewrite_keeps_comments_and_leaves_unchanged_stages_alone() -> None:
    lock = parse_lockfile(COMMENTED.encode(), name="dvc.lock")
    (out,) = lock.stages["a"].outs
    stages = {
        **lock.stages,
        "a": lock.stages["a"]._replace(outs=(out._replace(size=7),)),
        "c": LockedStage("c"),
    }
    written = render_lockfile(lock._replace(stages=stages), COMMENTED.encode())
    assert written.decode() == COMMENTED.replace("size: 6", "size: 7") + "  c:\n    cmd: c\n"


def test_a_changed_stage_is_written_anew_as_dvc_does() -> None:
    lock = parse_lockfile(COMMENTED.encode(), name="dvc.lock")
    stage = lock.stages["b"]._replace(cmd="other")
    written = render_lockfile(lock._replace(stages={**lock.stages, "b": stage}), COMMENTED.encode()).decode()
    unsorted = (
        f"    cmd: two\n    deps:\n    - path: z\n      md5: {HELLO}\n    - path: a\n      md5: {HELLO}\n"
    )
    anew = (
        f"    cmd: other\n    deps:\n    - path: a\n      md5: {HELLO}\n    - path: z\n      md5: {HELLO}\n"
    )
    assert written == COMMENTED.replace(unsorted, anew)


@pytest.mark.parametrize(
    "text",
    [
        "schema: '2.0'\nstages: {a: {cmd: x}, b: {cmd: y}}\n",
        "schema: '2.0'\nstages:\n    a: # c\n        cmd: x\n    b:\n        cmd: y\n",
        "schema: '2.0'\nstages:\n  a: {cmd: x}\n  b:\n    cmd: y\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: 'x\n\n  z: 1'\n  b:\n    cmd: y\n",
        "stages:\n  a:\n    cmd: x\n  b:\n    cmd: y\n# last\nschema: '2.0'\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x\n  b:\n    cmd: y",
        "schema: '2.0'\r\nstages:\r\n  a:\r\n    cmd: x # c\r\n  b:\r\n    cmd: y\r\n",
    ],
)
def test_a_lock_file_of_any_layout_says_the_new_thing_after_a_change(text: str) -> None:
    lock = parse_lockfile(text.encode(), name="dvc.lock")
    for name in ("a", "b"):
        changed = Lockfile({**lock.stages, name: LockedStage("other"), "c": LockedStage(["z"])})
        written = render_lockfile(changed, text.encode())
        assert parse_lockfile(written, name="dvc.lock") == changed
        less = Lockfile({name: lock.stages[name]})
        assert parse_lockfile(render_lockfile(less, text.encode()), name="dvc.lock") == less
        assert parse_lockfile(render_lockfile(Lockfile({}), text.encode()), name="dvc.lock") == Lockfile({})


def test_comments_between_stages_go_with_the_stage_below() -> None:
    lock = parse_lockfile(COMMENTED.encode(), name="dvc.lock")
    written = render_lockfile(Lockfile({"b": lock.stages["b"]}), COMMENTED.encode()).decode()
    assert written == COMMENTED[: COMMENTED.index("  # the first")]


def test_a_removed_stage_vanishes() -> None:
    lock = parse_lockfile(read_golden("3.x.lock"), name="dvc.lock")
    less = Lockfile({"noop": lock.stages["noop"]})
    assert (
        render_lockfile(less, read_golden("3.x.lock"))
        == b"schema: '2.0'\nstages:\n  noop:\n    cmd: 'true'\n"
    )


def test_no_stages_are_written_as_dvc_writes_them() -> None:
    assert render_lockfile(Lockfile({}, (DATASET,))).endswith(b"\nstages: {}\n")
    assert parse_lockfile(b"schema: '2.0'\n", name="dvc.lock") == Lockfile({})


def test_a_stage_of_dvc_1_may_be_called_schema() -> None:
    lock = parse_lockfile(b"schema:\n  cmd: x\n", name="dvc.lock")
    assert lock == Lockfile({"schema": LockedStage("x")})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read 'dvc.lock': the file is empty"),
        ("- a\n", "cannot read 'dvc.lock': line 1: expected a mapping, found a list"),
        ("schema: 2.0\nstages: {}\n", "cannot read 'dvc.lock': line 1: schema 2.0 is not known; expected '2.0'"),
        ("schema: '3.0'\nstages: {}\n", "cannot read 'dvc.lock': line 1: schema '3.0' is not known; expected '2.0'"),
        ("schema: '2.0'\nstages:\n", "cannot read 'dvc.lock': line 2: expected a mapping in 'stages', found empty"),
        (
            "schema: '2.0'\nstage: {}\n",
            "cannot read 'dvc.lock': line 2: key 'stage' is not known; did you mean 'stages'?",
        ),
        ("schema: '2.0'\nstages:\n  a:\n    deps: []\n", "cannot read 'dvc.lock': line 3: key 'cmd' is missing in 'a'"),
        (
            "schema: '2.0'\nstages:\n  a:\n    cmd:\n",
            "cannot read 'dvc.lock': line 4: 'cmd' is empty, expected a text or a list of texts",
        ),
        (
            "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    dep: []\n",
            "cannot read 'dvc.lock': line 5: key 'dep' is not known in 'a'; did you mean 'deps'?",
        ),
        (
            "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    deps:\n",
            "cannot read 'dvc.lock': line 5: expected a list in 'deps', found empty",
        ),
        (
            "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    params:\n      p.yaml:\n",
            "cannot read 'dvc.lock': line 6: expected a mapping in 'p.yaml', found empty",
        ),
        (
            "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    outs:\n    - path: p\n      cache: true\n",
            "cannot read 'dvc.lock': line 7: key 'cache' is not known in item 1 of 'outs'",
        ),
        (
            "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    outs:\n    - path: p\n      md5: ../x\n",
            "cannot read 'dvc.lock': line 7: md5 '../x' is not 32 hexadecimal digits, with '.dir' for a directory",
        ),
        ("schema: '2.0'\ndatasets: [1]\n", "cannot read 'dvc.lock': line 2: expected a mapping in item 1 of 'datasets', found a whole number"),
        ("1:\n  cmd: x\n", "cannot read 'dvc.lock': line 1: a stage's name is a whole number, expected a text"),
    ],
)  # fmt: skip
def test_what_is_no_lock_file_is_refused_with_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(LockfileError) as caught:
        parse_lockfile(text.encode(), name="dvc.lock")
    assert caught.value.message == message


def test_conflict_markers_are_called_by_their_name() -> None:
    text = (
        "schema: '2.0'\nstages:\n<<<<<<< HEAD\n  a:\n    cmd: x\n=======\n  a:\n    cmd: y\n>>>>>>> other\n"
    )
    with pytest.raises(YamlError, match="line 3: the file has conflict markers"):
        parse_lockfile(text.encode(), name="dvc.lock")
