"""`dvc.yaml` as a checked structure: what is read, what is refused and with which words, old spellings."""

from __future__ import annotations

import pytest

from kist.formats.dvcyaml import PipelineFile, PipelineFileError, StageEntry, parse_dvcyaml
from kist.formats.yaml import YamlError

WHOLE = b"""\
vars:
- params.yaml
- other.yaml:a,b
- {limit: 3}
stages:
  train:
    desc: trains
    cmd:
    - echo ${opt.name}
    - ./train.sh
    wdir: sub
    deps: [prepd, s3://bucket/key]
    params:
    - lr
    - p.json: [seed]
    - whole.toml:
    outs:
    - model: {persist: true, remote: cold, cache: false, push: false, type: t, labels: [a], meta: {k: 1}}
    - other
    metrics:
    - m.json: {cache: false}
    plots:
    - loss.csv: {x: step, y: loss, template: linear, header: false}
    - many.csv:
      - {x: a}
      - {x: b}
    frozen: true
    always_changed: false
    meta: [1]
  each:
    foreach: {a: {n: 1}, b: {n: 2}}
    do:
      cmd: echo ${key}
  grid:
    matrix: {m: [cnn, rnn], d: '${list}'}
    cmd: echo ${item.m}
params: [more.yaml]
metrics: [extra/metrics.json]
plots:
- plots_dir/
- curves:
    x: step
    y: {a.csv: [train, val]}
- nothing:
artifacts:
  clf: {path: model, type: model, desc: d, labels: [a], meta: {k: 1}}
datasets:
- {name: d, type: dvc, url: u, path: p}
"""


def refusal(text: str) -> PipelineFileError:
    with pytest.raises(PipelineFileError) as caught:
        parse_dvcyaml(text.encode(), name="sub/dvc.yaml")
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("cannot read 'sub/dvc.yaml': ")
    return caught.value


def stage(text: str) -> str:
    return "stages:\n  s:\n    cmd: echo\n    " + text + "\n"


def test_every_section_is_kept_as_written() -> None:
    pipeline = parse_dvcyaml(WHOLE, name="dvc.yaml")
    assert list(pipeline.stages) == ["train", "each", "grid"]
    assert pipeline.stages["train"].body["cmd"] == ["echo ${opt.name}", "./train.sh"]
    assert not pipeline.stages["train"].is_group
    assert pipeline.stages["each"] == StageEntry({"cmd": "echo ${key}"}, {"a": {"n": 1}, "b": {"n": 2}})
    assert pipeline.stages["grid"] == StageEntry(
        {"cmd": "echo ${item.m}"}, matrix={"m": ["cnn", "rnn"], "d": "${list}"}
    )
    assert pipeline.stages["grid"].is_group and pipeline.stages["each"].is_group
    assert pipeline.vars == ("params.yaml", "other.yaml:a,b", {"limit": 3})
    assert pipeline.params == ("more.yaml",)
    assert pipeline.metrics == ("extra/metrics.json",)
    assert pipeline.plots == (
        "plots_dir/",
        {"curves": {"x": "step", "y": {"a.csv": ["train", "val"]}}},
        {"nothing": None},
    )
    assert pipeline.artifacts["clf"]["path"] == "model"
    assert pipeline.datasets[0]["name"] == "d"
    assert pipeline.notices == ()


@pytest.mark.parametrize("data", [b"", b"# only words\n", b"[]", b"---\n", b"stages: {}\n"])
def test_a_file_may_say_nothing(data: bytes) -> None:
    assert parse_dvcyaml(data, name="dvc.yaml") == PipelineFile("dvc.yaml", data)


def test_a_syntax_error_is_the_reader_s() -> None:
    with pytest.raises(YamlError, match=r"cannot read 'dvc.yaml': line 1"):
        parse_dvcyaml(b"stages: {a: [}", name="dvc.yaml")


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(YamlError):
        parse_dvcyaml(b"stages: {a: {cmd: x}, a: {cmd: y}}", name="dvc.yaml")


def test_an_unknown_key_is_named_with_its_line_the_nearest_word_and_what_is_known() -> None:
    error = refusal("stages:\n  train:\n    cmd: x\n    dep: [a]\n")
    assert error.message.endswith("line 4: key 'dep' is not known in 'train'; did you mean 'deps'?")
    assert error.line == 4
    assert error.code == "pipeline-file"
    assert error.hint is not None and "outs" in error.hint and "frozen" in error.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("abc", "expected a mapping, found a text"),
        ("stage: {}", "key 'stage' is not known; did you mean 'stages'?"),
        ("schema: '2.0'", "key 'schema' is not known"),
        ("stages:", "expected a mapping in 'stages', found empty"),
        ("stages: []", "expected a mapping in 'stages', found a list"),
        ("stages: {s: abc}", "expected a mapping in 's', found a text"),
        ("stages: {s: }", "expected a mapping in 's', found empty"),
        ("stages: {1: {cmd: x}}", "a stage's name is a whole number"),
        ("stages: {'a@b': {cmd: x}}", "'a@b' cannot name a stage"),
        ("stages: {'': {cmd: x}}", "'' cannot name a stage"),
        ("stages: {s: {deps: [a]}}", "key 'cmd' is missing in 's'"),
        ("stages: {s: {cmd: 1}}", "'cmd' is a whole number, expected a text or a list of texts"),
        ("stages: {s: {cmd: }}", "'cmd' is empty"),
        (stage("wdir: 1"), "'wdir' is a whole number, expected a text"),
        (stage("desc: 1"), "'desc' is a whole number, expected a text"),
        (stage("frozen: 'true'"), "'frozen' is a text, expected true or false"),
        (stage("always_changed:"), "'always_changed' is empty, expected true or false"),
        (stage("deps: a"), "expected a list in 'deps', found a text"),
        (stage("deps:"), "expected a list in 'deps', found empty"),
        (stage("deps: [1]"), "an item of 'deps' is a whole number, expected a text"),
        (stage("deps: ['']"), "an item of 'deps' is an empty text"),
        (stage("params: a"), "expected a list in 'params', found a text"),
        (stage("params: [1]"), "an item of 'params' is a whole number"),
        (stage("params: [{f.yaml: k}]"), "the keys of 'f.yaml' are a text, expected a list"),
        (stage("params: [{1: [k]}]"), "a file of 'params' is a whole number"),
        (stage("vars: {a: 1}"), "expected a list in 'vars', found a mapping"),
        (stage("vars: [1]"), "an item of 'vars' is a whole number"),
        (stage("outs: {o: {}}"), "expected a list in 'outs', found a mapping"),
        (stage("outs: [1]"), "an item of 'outs' is a whole number, expected a path"),
        (stage("outs: ['']"), "an item of 'outs' is an empty text"),
        (stage("outs: [{1: {}}]"), "a path of 'outs' is a whole number"),
        (stage("outs: [{o: }]"), "expected a mapping in 'o', found empty"),
        (stage("outs: [{o: {cach: true}}]"), "key 'cach' is not known in 'o'; did you mean 'cache'?"),
        (stage("outs: [{o: {x: a}}]"), "key 'x' is not known in 'o'"),
        (stage("outs: [{o: {cache: 'no'}}]"), "'cache' is a text, expected true or false"),
        (stage("outs: [{o: {remote: 1}}]"), "'remote' is a whole number, expected a text"),
        (stage("outs: [{o: {labels: a}}]"), "expected a list in 'labels', found a text"),
        (stage("outs: [{o: {labels: [1]}}]"), "an item of 'labels' is a whole number"),
        (stage("outs: [{o: [{}]}]"), "expected a mapping in 'o', found a list"),
        (stage("metrics: [{m: {xpath: q}}]"), "key 'xpath' is not known in 'm'"),
        (stage("plots: [{p: {x: 1}}]"), "'x' is a whole number, expected a text"),
        (stage("plots: [{p: [{bar: a}]}]"), "key 'bar' is not known in 'p'"),
        (stage("live: 1"), "expected a mapping in 'live', found a whole number"),
        (stage("live: {1: {}}"), "a folder of 'live' is a whole number"),
        (stage("live: {d: {cache: 1}}"), "'cache' is a whole number, expected true or false"),
        (stage("matrix: [1]"), "expected a mapping in 'matrix', found a list"),
        (stage("matrix: {}"), "'matrix' is empty, expected at least one variable"),
        (stage("matrix: {a: 3}"), "'a' is a whole number, expected a list or ${name}"),
        (stage("matrix: {1: [a]}"), "a variable of 'matrix' is a whole number"),
        ("stages: {s: {foreach: [1]}}", "key 'do' is missing in 's'"),
        ("stages: {s: {do: {cmd: x}}}", "key 'foreach' is missing in 's'"),
        ("stages: {s: {foreach: 3, do: {cmd: x}}}", "'foreach' is a whole number"),
        ("stages: {s: {foreach: , do: {cmd: x}}}", "'foreach' is empty"),
        ("stages: {s: {foreach: [1], do: x}}", "expected a mapping in 'do', found a text"),
        ("stages: {s: {foreach: [1], do: {}}}", "key 'cmd' is missing in 's'"),
        ("stages: {s: {foreach: [1], do: {cmd: x}, deps: [a]}}", "key 'deps' is not known in 's'"),
        ("stages: {s: {foreach: [1], do: {cmd: x, matrix: {a: [1]}}}}", "key 'matrix' is not known in 'do'"),
        ("vars:", "expected a list in 'vars', found empty"),
        ("params: [{a: 1}]", "an item of 'params' is a mapping"),
        ("metrics: m", "expected a list in 'metrics', found a text"),
        ("plots: p", "expected a list in 'plots', found a text"),
        ("plots: [1]", "an item of 'plots' is a whole number"),
        ("plots: [{p: {foo: 1}}]", "key 'foo' is not known in 'p'"),
        ("plots: [{p: {title: [a]}}]", "'title' is a list, expected a text"),
        ("plots: [{p: {x: [a]}}]", "'x' is a list"),
        ("artifacts: []", "expected a mapping in 'artifacts', found a list"),
        ("artifacts: {a: {}}", "key 'path' is missing in 'a'"),
        ("artifacts: {a: {path: p, foo: 1}}", "key 'foo' is not known in 'a'"),
        ("artifacts: {a: {path: p, labels: b}}", "expected a list in 'labels', found a text"),
        ("datasets: [1]", "expected a mapping in item 1 of 'datasets', found a whole number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text: str, words: str) -> None:
    assert words in refusal(text).message


def test_an_error_inside_of_do_names_its_own_line() -> None:
    error = refusal("stages:\n  s:\n    foreach: [1]\n    do:\n      cmd: x\n      outs: 3\n")
    assert error.line == 6


@pytest.mark.parametrize(
    ("live", "plots"),
    [
        ("live: {dvclive: {summary: true, html: true, cache: false}}", [{"dvclive": {"cache": False}}]),
        ("live: dvclive", [{"dvclive": {}}]),
        ("live: {dvclive: }", [{"dvclive": {}}]),
    ],
)
def test_live_of_dvc_2_is_an_output_with_plots_and_a_notice(live: str, plots: list[object]) -> None:
    pipeline = parse_dvcyaml(stage(live).encode(), name="dvc.yaml")
    assert pipeline.stages["s"].body == {"cmd": "echo", "plots": plots}
    assert len(pipeline.notices) == 1 and "'dvclive'" in pipeline.notices[0]


def test_checkpoint_of_dvc_2_is_accepted_in_silence() -> None:
    pipeline = parse_dvcyaml(stage("outs: [{o: {checkpoint: true}}]").encode(), name="dvc.yaml")
    assert pipeline.notices == ()


def test_plots_as_a_mapping_are_read_as_a_list_with_a_notice() -> None:
    pipeline = parse_dvcyaml(b"plots: {a.csv: {x: q}, b.csv: }", name="dvc.yaml")
    assert pipeline.plots == ({"a.csv": {"x": "q"}}, {"b.csv": None})
    assert len(pipeline.notices) == 1
    assert "key 'foo' is not known in 'a'" in refusal("plots: {a: {foo: 1}}").message
