"""Made-up pipelines whose stages are known by construction, and files that nobody would write."""

from __future__ import annotations

import json
from itertools import product
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from kist.errors import FormatError
from kist.formats.dvcyaml import parse_dvcyaml
from kist.formats.params import parse_params
from kist.formats.yaml import dump
from kist.pipeline.resolve import resolve

NAMES = st.text("abcxyz_-", min_size=1, max_size=4)
WORDS = st.text("abc xyz09.,$/ü", max_size=6)
SCALARS = st.one_of(
    st.booleans(), st.none(), st.integers(-9, 99), st.floats(-9, 9, width=16), st.text("ab 0.", max_size=3)
)


class Text(NamedTuple):
    """A text with references, and what it must become."""

    written: str
    filled: str


def shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@st.composite
def texts(draw: st.DrawFn, names: dict[str, Any]) -> Text:
    """References to `names` (dotted) between words and escaped references."""
    written, filled = "echo ", "echo "
    for word in draw(st.lists(WORDS, max_size=3)):
        kind = draw(st.sampled_from(["reference", "escaped", "word"]))
        if kind == "reference" and names:
            name = draw(st.sampled_from(sorted(names)))
            blank = draw(st.sampled_from(["", " "]))
            written, filled = (
                f"{written}{word}${{{blank}{name}{blank}}}",
                f"{filled}{word}{shown(names[name])}",
            )
        elif kind == "escaped":
            written, filled = f"{written}{word}\\${{Q}}", f"{filled}{word}${{Q}}"
        else:
            written, filled = written + word + "|", filled + word + "|"
    return Text(written, filled)


class Case(NamedTuple):
    """A file, its parameters, and the stages that they must become: name -> command."""

    pipeline: dict[str, Any]
    params: dict[str, Any]
    expected: dict[str, str]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    params = draw(
        st.dictionaries(NAMES.filter(lambda name: name not in ("item", "key")), SCALARS, max_size=3)
    )
    nested = draw(st.dictionaries(NAMES, SCALARS, max_size=2))
    known = dict(params)
    if nested and "nest" not in params:
        params = {**params, "nest": nested}
        known.update({f"nest.{key}": value for key, value in nested.items()})
        known.update({f"nest[{key}]": value for key, value in nested.items()})
    stages: dict[str, Any] = {}
    expected: dict[str, str] = {}
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        kind = draw(st.sampled_from(["stage", "list", "mapping", "matrix"]))
        if kind == "stage":
            text = draw(texts(known))
            stages[name], expected[name] = {"cmd": text.written}, text.filled
            continue
        # The parts of names are drawn so that they cannot be equal or empty.
        parts = st.text("pqr1 .", min_size=1, max_size=3)
        if kind == "mapping":
            items: Any = draw(st.dictionaries(parts, SCALARS, max_size=3))
            own = [(key, {"key": key, "item": value}) for key, value in items.items()]
            group: dict[str, Any] = {"foreach": items}
        elif kind == "list":
            items = draw(st.lists(parts, unique=True, max_size=3))
            own = [(item, {"item": item}) for item in items]
            group = {"foreach": items}
        else:
            columns = draw(
                st.dictionaries(
                    NAMES, st.lists(parts, unique=True, min_size=1, max_size=2), min_size=1, max_size=2
                )
            )
            rows = [dict(zip(columns, row, strict=True)) for row in product(*columns.values())]
            own = [
                ("-".join(row.values()), {f"item.{key}": value for key, value in row.items()}) for row in rows
            ]
            group = {"matrix": columns}
        usable = own[0][1] if own else {}
        body = draw(texts({**known, **usable}))
        if kind == "matrix":
            stages[name] = {**group, "cmd": body.written}
        else:
            stages[name] = {**group, "do": {"cmd": body.written}}
        for part, names in own:
            expected[f"{name}@{part}"] = refilled(body.written, {**known, **names})
    return Case({"stages": stages}, params, expected)


def refilled(written: str, names: dict[str, Any]) -> str:
    """Replaces references one by one, as plainly as can be."""
    for name, value in names.items():
        for reference in (f"${{{name}}}", f"${{ {name} }}"):
            written = written.replace(reference, shown(value).replace("$", "\0"))
    return written.replace("\\${", "${").replace("\0", "$")


@given(cases(), st.booleans())
@settings(max_examples=100)
def test_names_and_commands_are_those_of_the_construction(case: Case, as_json: bool) -> None:
    render = (lambda value: json.dumps(value).encode()) if as_json else dump
    files = {"params.yaml": render(case.params)}
    stages = resolve(parse_dvcyaml(render(case.pipeline), name="dvc.yaml"), directory="", read=files.get)
    assert {stage.name: stage.cmd for stage in stages} == case.expected
    assert [stage.name for stage in stages] == list(case.expected)


KEYS = st.sampled_from(
    [
        *("stages", "vars", "params", "metrics", "plots", "artifacts", "datasets", "cmd", "deps", "outs"),
        *("foreach", "do", "matrix", "wdir", "live", "frozen", "meta", "cache", "path", "params.yaml"),
        *("s", "${x}", "${", "${}", "${item}"),
    ]
)
ANYTHING = st.recursive(
    st.one_of(SCALARS, KEYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, st.integers(0, 3)), inner, max_size=4)
    ),
    max_leaves=20,
)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "stages": st.dictionaries(
            NAMES,
            st.fixed_dictionaries(
                {"cmd": st.one_of(KEYS, st.lists(KEYS, max_size=2))},
                optional=dict.fromkeys(
                    ("deps", "outs", "plots", "params", "vars", "matrix", "live", "wdir", "meta"), ANYTHING
                ),
            ),
            max_size=2,
        ),
        "vars": ANYTHING,
        "plots": ANYTHING,
        "artifacts": ANYTHING,
    },
)


@given(st.one_of(ANYTHING, SECTIONS), ANYTHING)
@settings(max_examples=150)
def test_a_strange_file_is_read_or_refused_in_one_line(value: Any, params: Any) -> None:
    try:
        pipeline = parse_dvcyaml(dump(value), name="dvc.yaml")
        stages = resolve(pipeline, directory="", read={"params.yaml": dump(params)}.get)
    except FormatError as error:
        assert "\n" not in error.message and "'" in error.message
    else:
        for stage in stages:
            assert all(isinstance(path, str) for path in (*stage.deps, *stage.params, stage.wdir, stage.name))
            assert all(isinstance(out.path, str) for out in stage.outs)


@given(st.binary(max_size=60), st.sampled_from(["p.yaml", "p.json", "p.toml", "p.py"]))
@settings(max_examples=150)
def test_any_bytes_are_parameters_or_refused_in_one_line(data: bytes, name: str) -> None:
    try:
        values = parse_params(data, name=name)
    except FormatError as error:
        assert error.message.startswith(f"cannot read '{name}': ") and "\n" not in error.message
    else:
        assert isinstance(values, dict)


@given(
    st.dictionaries(
        NAMES.filter(str.isidentifier), st.one_of(SCALARS, st.lists(SCALARS, max_size=2)), max_size=4
    )
)
def test_the_same_values_come_out_of_every_kind_of_file(values: dict[str, Any]) -> None:
    assert parse_params(dump(values), name="p.yaml") == values
    assert parse_params(json.dumps(values).encode(), name="p.json") == values
    lines = "".join(f"{key} = {value!r}\n" for key, value in values.items())
    assert parse_params(lines.encode(), name="p.py") == values
