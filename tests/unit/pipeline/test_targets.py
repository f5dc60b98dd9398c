"""How a person names stages."""

from __future__ import annotations

import pytest

from kist.formats.dvcyaml import parse_dvcyaml
from kist.pipeline.resolve import ResolvedStage, resolve
from kist.pipeline.targets import StageTarget, parse_stage_target, select_stages


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("train", StageTarget("dvc.yaml", "train")),
        (":train", StageTarget("dvc.yaml", "train")),
        ("each@a b", StageTarget("dvc.yaml", "each@a b")),
        (":each@a", StageTarget("dvc.yaml", "each@a")),
        ("dvc.yaml:train", StageTarget("dvc.yaml", "train")),
        ("../x/dvc.yaml:each@a", StageTarget("../x/dvc.yaml", "each@a")),
        ("dvc.yaml", StageTarget("dvc.yaml", None)),
        ("x/dvc.yaml", StageTarget("x/dvc.yaml", None)),
        (":", StageTarget("dvc.yaml", None)),
        ("data.dvc", StageTarget("data.dvc", None)),
        ("data.dvc:x", StageTarget("data.dvc", None)),
        ("x/Dvcfile", StageTarget("x/Dvcfile", None)),
        ("data/train", StageTarget("dvc.yaml", "data/train")),
        ("", None),
        ("dvc.yaml:", None),
        ("x:dvc.yaml.bak", None),
        ("sub:train", None),
    ],
)
def test_a_target_is_split_into_file_and_name(target: str, expected: StageTarget | None) -> None:
    assert parse_stage_target(target) == expected


def pipeline() -> tuple[ResolvedStage, ...]:
    text = b"stages: {a: {foreach: [x, y], do: {cmd: e}}, b: {cmd: e}, ab: {cmd: e}, c: {matrix: {m: [1]}, cmd: e}}"
    return resolve(parse_dvcyaml(text, name="w/dvc.yaml"), directory="w", read={}.get)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, ["a@x", "a@y", "b", "ab", "c@1"]),
        ("a", ["a@x", "a@y"]),
        ("a@y", ["a@y"]),
        ("b", ["b"]),
        ("c", ["c@1"]),
        ("a@", []),
        ("a@z", []),
        ("b@", []),
        ("", []),
    ],
)
def test_a_name_means_a_stage_or_a_group(name: str | None, found: list[str]) -> None:
    assert [stage.name for stage in select_stages(pipeline(), name)] == found
