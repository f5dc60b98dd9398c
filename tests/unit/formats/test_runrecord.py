"""Records of the run cache: the ids and bytes that DVC 3.67.1 gives them."""

from __future__ import annotations

import datetime

import pytest

from kist.formats.lockfile import LockfileError
from kist.formats.records import MD5, Dependency, Digest, LockedStage, Output
from kist.formats.runrecord import RunIdError, parse_run, render_run, run_ids

# Of a real pipeline; the ids are those of the file's name in DVC's cache.
KEY = "62ae1079c182a0cb6c7a988960fdebba6c859c0ecb1cd30324be373ac52b6874"
VALUE = "5a8d5511f6dbfa086bdecbcd9b656296428a20b9a20bd93cb322c3f184a9e3c3"
RECORD = b"""\
cmd:
- echo adam
- cp prepd/x model && echo '{"acc":0.9,"n":{"f1":0.8}}' > m.json && printf\x20
  'step,loss\\n0,1.0\\n1,0.5\\n' > loss.csv
deps:
- path: dir
  hash: md5
  md5: 877ca131a4649e7889b882b7b2b0f6df.dir
  size: 8
  nfiles: 5
- path: prepd
  hash: md5
  md5: a4beca8ca6a5d9d387a3c399d952956b.dir
  size: 8
  nfiles: 1
params:
  params.yaml:
    lr: 0.5
    opt.n: 3
  p.json:
    seed: 7
outs:
- path: loss.csv
  hash: md5
  md5: f0d288f4f52379c9a2355e517241353a
  size: 22
- path: m.json
  hash: md5
  md5: 33c65fde02a191f477a5b2d52026f8bd
  size: 27
- path: model
  hash: md5
  md5: ec1bebaea2c042beb68f7679ddd106a4
  size: 8
"""
# `size` and `nfiles` count nowhere, not even as parameters.
NAMED_AS_FIGURES = b"""\
cmd: cp f g
deps:
- path: f
  hash: md5
  md5: b026324c6904b2a9cb4b88d6d61c81d1
  size: 2
params:
  params.yaml:
    b: true
    deep:
      nfiles: 3
      size:
      - size: 2
        x: 1
    e: 1e-07
    f: 1.0
    n:
    size: 3
    u: \xc3\xa9
outs:
- path: g
  hash: md5
  md5: b026324c6904b2a9cb4b88d6d61c81d1
  size: 2
"""


def run(**params: object) -> LockedStage:
    digest = Digest(MD5, "b026324c6904b2a9cb4b88d6d61c81d1")
    return LockedStage(
        "cp f g", (Dependency("f", digest, size=2),), {"params.yaml": params}, (Output("g", digest, size=2),)
    )


@pytest.mark.parametrize(
    ("record", "key", "value"),
    [
        (RECORD, KEY, VALUE),
        (
            NAMED_AS_FIGURES,
            "05ca7320939120c2dc494652f8ff67bdde51523b0edd6eeef23ccdd21369ddda",
            "2d8d90cce4cc3f440854689a1552a05e081729551e16e7289e95b15b12feb06c",
        ),
    ],
    ids=["lists and folders", "params named as figures"],
)
def test_a_record_of_dvc_has_dvc_s_ids_and_is_written_as_dvc_wrote_it(
    record: bytes, key: str, value: str
) -> None:
    found = parse_run(record, name="run")
    assert run_ids(found) == (key, value)
    assert render_run(found) == record


def test_what_was_written_is_no_part_of_the_key() -> None:
    first = run(lr=1)
    other = first._replace(outs=(Output("g", Digest(MD5, "0" * 32)),))
    assert run_ids(first).key == run_ids(other).key
    assert run_ids(first).value != run_ids(other).value


def test_sizes_are_no_part_of_the_ids() -> None:
    first = run(lr=1)
    other = first._replace(outs=(first.outs[0]._replace(size=9),))
    assert run_ids(first) == run_ids(other)


def test_a_parameter_that_json_does_not_know_gives_no_id() -> None:
    with pytest.raises(RunIdError):
        run_ids(run(day=datetime.date(2024, 1, 2)))


@pytest.mark.parametrize("data", [b"", b"deps: []\n", b"cmd: x\nnope: 1\n", b"- 1\n"])
def test_what_is_no_entry_of_a_lock_is_refused(data: bytes) -> None:
    with pytest.raises(LockfileError):
        parse_run(data, name="run")
