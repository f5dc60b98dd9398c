"""The run cache: what is kept, where, and what is found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kist.formats.records import MD5, Dependency, Digest, LockedStage, Output
from kist.formats.runrecord import run_ids
from kist.pipeline.resolve import ResolvedStage
from kist.pipeline.runcache import RunCache, is_remembered


def run(result: str, *, lr: float = 1) -> LockedStage:
    digest = Digest(MD5, "b026324c6904b2a9cb4b88d6d61c81d1")
    return LockedStage(
        "cp f g", (Dependency("f", digest),), {"params.yaml": {"lr": lr}}, (Output("g", Digest(MD5, result)),)
    )


ONE, TWO = run("1" * 32), run("2" * 32)


def test_a_run_is_found_again_by_what_went_into_it(tmp_path: Path) -> None:
    cache = RunCache(str(tmp_path))
    assert cache.save(ONE)
    assert cache.save(run("3" * 32, lr=2))
    assert list(cache.results(ONE)) == [ONE]


def test_the_newest_result_comes_first(tmp_path: Path) -> None:
    cache = RunCache(str(tmp_path))
    for age, made in enumerate((TWO, ONE)):
        cache.save(made)
        os.utime(cache.path(run_ids(made)), (1000 - age, 1000 - age))
    assert list(cache.results(ONE)) == [TWO, ONE]


def test_a_remembered_run_is_not_written_again(tmp_path: Path) -> None:
    cache = RunCache(str(tmp_path))
    cache.save(ONE)
    path = cache.path(run_ids(ONE))
    before = os.stat(path)
    assert not cache.save(ONE)
    assert os.stat(path) == before


def test_a_damaged_record_is_as_good_as_none(tmp_path: Path) -> None:
    cache = RunCache(str(tmp_path))
    cache.save(ONE)
    cache.save(TWO)
    with open(cache.path(run_ids(ONE)), "wb") as stream:
        stream.write(b"cmd: [\n")
    path = cache.path(run_ids(TWO))
    os.rename(path, path[:-1] + ("0" if path[-1] != "0" else "1"))
    assert list(cache.results(ONE)) == []


def test_what_is_no_record_is_left_out_of_the_list(tmp_path: Path) -> None:
    cache = RunCache(str(tmp_path))
    cache.save(ONE)
    ids = run_ids(ONE)
    folder = os.path.dirname(cache.path(ids))
    for name in ("notes", ".kist-00000000-1-1-00000000.tmp"):
        with open(os.path.join(folder, name), "w"):
            pass
    os.mkdir(os.path.join(cache.root, "zz"))
    assert cache.ids() == [ids]
    assert list(cache.results(ONE)) == [ONE]


def test_a_group_s_cache_has_the_group_s_modes(tmp_path: Path) -> None:
    cache = RunCache(str(tmp_path / "cache"), shared_group=True)
    cache.save(ONE)
    path = cache.path(run_ids(ONE))
    assert os.stat(path).st_mode & 0o7777 == 0o664
    assert os.stat(os.path.dirname(path)).st_mode & 0o7777 == 0o2775


STAGE = ResolvedStage("s", "dvc.yaml:s", "dvc.yaml", ".", "cp f g", deps=("f",), outs=(Output("g"),))


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (STAGE, True),
        (STAGE._replace(deps=(), params={"params.yaml": ("lr",)}), True),
        (STAGE._replace(frozen=True), True),
        (STAGE._replace(outs=(Output("g", use_cache=False),)), True),
        (STAGE._replace(deps=()), False),
        (STAGE._replace(outs=()), False),
        (STAGE._replace(always_changed=True), False),
        (STAGE._replace(deps=("s3://bucket/f",)), False),
        (STAGE._replace(outs=(Output("g", persist=True),)), False),
        (STAGE._replace(outs=(Output("s3://bucket/g"),)), False),
    ],
)
def test_only_runs_that_can_be_repeated_are_remembered(stage: ResolvedStage, expected: bool) -> None:
    assert is_remembered(stage) is expected
