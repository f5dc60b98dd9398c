"""From `dvc.yaml` and parameter files to stages: variables, `${}`, groups, paths, parameters, outputs."""

from __future__ import annotations

from typing import Any

import pytest

from kist.errors import FormatError
from kist.formats.dvcyaml import parse_dvcyaml
from kist.formats.metafile import parse_metafile
from kist.formats.records import Output
from kist.pipeline.interpolate import OptionStyle
from kist.pipeline.place import ResolveError
from kist.pipeline.resolve import ResolvedStage, resolve, resolve_single, root_path

PARAMS = """\
i: 3
f: 1.0
e: 1.0e-9
big: 123456789012345678901234567890
t: true
n: null
s: str
d: {a: 1, b: {c: x y, d: [1, 2.5, x y, true]}, t: true, f: false, n: null, e: '', under_score: 1, l: [], emp: {}}
l: [10, 20, {k: v}]
flat: [true, false, null, 1.5]
key with space: 1
dash-key: 2
2: number
a.b: dotted
ü: uml
date: 2020-01-01
"""


def stages(text: str, files: dict[str, str] | None = None, **options: Any) -> dict[str, ResolvedStage]:
    known = {"params.yaml": PARAMS} if files is None else files

    def read(path: str) -> bytes | None:
        return known[path].encode() if path in known else None

    pipeline = parse_dvcyaml(text.encode(), name="sub/dvc.yaml")
    return {stage.name: stage for stage in resolve(pipeline, directory="sub", read=read, **options)}


def one(body: str, files: dict[str, str] | None = None, **options: Any) -> ResolvedStage:
    text = "stages:\n  s:\n" + "".join(f"    {line}\n" for line in body.splitlines())
    (stage,) = stages(text, files, **options).values()
    return stage


def command(cmd: str, **options: Any) -> str | list[str]:
    return one(f"cmd: {cmd}", **options).cmd


def refusal(text: str, files: dict[str, str] | None = None) -> ResolveError:
    with pytest.raises(ResolveError) as caught:
        stages(text, files)
    assert "\n" not in caught.value.message
    return caught.value


# --- ${} ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("echo ${i} ${f} ${e} ${t} ${n} ${s}", "echo 3 1.0 1e-09 true None str"),
        ("echo ${big}", "echo 123456789012345678901234567890"),
        ("${s}", "str"),
        ("${i}", "3"),
        ("echo ${ d . b . c } ${d.b .c} ${d[b] .c} ${d[ b ] [c] }", "echo x y x y x y x y"),
        ("echo ${l[0]} ${l.1} ${l[ -1 ].k}", "echo 10 20 v"),
        ("echo ${key with space} ${dash-key} ${ü}", "echo 1 2 uml"),
        ("echo $${i} $i ${i", "echo $3 $i ${i"),
        ("echo ${s}${s}", "echo strstr"),
        (r"echo \${i} \\${i} \\\${i} \${", r"echo ${i} \${i} \\${i} ${"),
        (r"echo \$i \{ ${i}", r"echo \$i \{ 3"),
        ("'[${i}]'", "[3]"),
        ("['${s}', 'b ${i}', '${t}']", ["str", "b 3", "true"]),
        ("|\n      echo ${i}\n      echo b", "echo 3\necho b"),
    ],
)
def test_references_are_filled(written: str, filled: str | list[str]) -> None:
    cmd = command(written)
    assert (cmd.rstrip("\n") if isinstance(cmd, str) else cmd) == filled


def test_a_mapping_becomes_options_of_the_command() -> None:
    options = "--a 1 --b.c 'x y' --b.d 1 2.5 'x y' True --t --n None --e '' --under_score 1"
    assert command("echo ${d} x") == f"echo {options} x"
    assert command("${d}") == options
    assert command("['${d.b}', '${d.emp}']") == ["--c 'x y' --d 1 2.5 'x y' True", ""]
    assert (
        command("echo ${d}", options=OptionStyle(negates=True, repeats=True))
        == "echo --a 1 --b.c 'x y' --b.d 1 --b.d 2.5 --b.d 'x y' --b.d True --t --no-f --n None --e '' --under_score 1"
    )


@pytest.mark.parametrize(
    ("cmd", "words"),
    [
        ("echo ${l}", "'l' is a list, expected a single value"),
        ("echo ${nope}", "'nope' is not defined"),
        ("echo ${under}", "'under' is not defined"),
        ("echo ${d.under_scor}", "'d.under_scor' is not defined; did you mean 'under_score'?"),
        ("echo ${a.b}", "'a.b' is not defined"),
        ("echo ${i.x}", "'i.x' is not defined"),
        ("echo ${l[5]}", "'l[5]' is not defined"),
        ("echo ${l[a]}", "'l[a]' is not defined"),
        ("echo ${2}", "'2' is not defined"),
        ("echo ${d['b']}", "is not defined"),
        ("echo ${a${i}}", "is not defined"),
        ("echo ${ }", "'${ }' is not a name"),
        ("echo ${d. .b}", "is not a name"),
        ("echo ${}", "'${}' is not a name"),
        ("echo ${d..b}", "'${d..b}' is not a name"),
        ("echo ${.d}", "'${.d}' is not a name"),
        ("echo ${d.}", "'${d.}' is not a name"),
        ("echo ${d[a.b]}", "'${d[a.b]}' is not a name"),
        ("echo ${date}", "'date' is a date, expected a single value"),
    ],
)
def test_what_cannot_be_filled_is_refused_with_file_line_and_key(cmd: str, words: str) -> None:
    error = refusal(f"stages:\n  s:\n    cmd: {cmd}\n")
    assert words in error.message
    assert error.message.startswith("cannot resolve 'stages.s.cmd' in 'sub/dvc.yaml': line 3: ")
    assert (error.key, error.line, error.code) == ("stages.s.cmd", 3, "pipeline-resolve")


def test_a_list_in_a_list_cannot_be_an_option() -> None:
    error = refusal("stages: {s: {cmd: 'echo ${d}'}}", {"params.yaml": "d: {l: [[1]]}"})
    assert "'d' has a list of lists or mappings in 'l'" in error.message


def test_a_mapping_fits_only_in_a_command() -> None:
    error = refusal("stages: {s: {cmd: echo, deps: ['${d}']}}")
    assert "'d' is a mapping, expected a single value; a mapping fits only in 'cmd'" in error.message
    assert "'stages.s.deps.0'" in error.message


def test_everything_in_a_stage_is_filled_keys_too() -> None:
    stage = one(
        "cmd: echo\nwdir: w${i}\ndeps: ['${s}/x', '${i}']\nparams: ['${s}', {'${s}.yaml': ['k${i}']}]\n"
        "outs: [{'o${i}': {desc: '${s}', remote: '${i}'}}, '${i}']\nmeta: {'${s}': ['${i}']}\ndesc: 'a ${s}'"
    )
    assert stage.wdir == "w3"
    assert stage.deps == ("str/x", "3")
    assert stage.params == {"params.yaml": ("str",), "str.yaml": ("k3",)}
    assert stage.outs == (Output("o3", desc="str", remote="3"), Output("3"))
    assert stage.meta == {"str": [3]}
    assert stage.desc == "a str"


def test_a_stage_s_name_is_not_filled() -> None:
    assert list(stages("stages: {'${i}': {cmd: 'echo ${i}'}}")) == ["${i}"]


def test_an_unknown_name_anywhere_in_a_stage_is_an_error() -> None:
    assert "'stages.s.meta.k' in" in refusal("stages: {s: {cmd: echo, meta: {k: '${nope}'}}}").message


# --- variables ----------------------------------------------------------------------------------------

FILES = {
    "params.yaml": "a: 1\nd: {x: 1}\nw: ww\n",
    "o.yaml": "b: 2\nc: {z: 1}\n",
    "conf.yaml": "a: 5\n",
    "j.json": '{"q": 1}',
    "t.toml": "w2 = 2\n[sec]\nz = 3\n",
    "p.py": "X = 1\nT = (1, 2)\n",
    "list.yaml": "- 1\n",
    "v.yaml": "k: 4\n",
    "ww/params.yaml": "b: 2\n",
    "ww/v.yaml": "k: 3\n",
}


def with_vars(variables: str, cmd: str = "echo ${a}") -> str | list[str]:
    return stages(f"vars: {variables}\nstages: {{s: {{cmd: '{cmd}'}}}}", FILES)["s"].cmd


@pytest.mark.parametrize(
    ("variables", "cmd", "filled"),
    [
        ("[]", "echo ${a}", "echo 1"),
        ("[o.yaml]", "echo ${a} ${b}", "echo 1 2"),
        ("[{d: {z: 3}}]", "echo ${d.x} ${d.z}", "echo 1 3"),
        ("[params.yaml, ./params.yaml, o.yaml, x/../o.yaml]", "echo ${a} ${b}", "echo 1 2"),
        ("['o.yaml:b']", "echo ${b}", "echo 2"),
        ("['o.yaml:b', 'o.yaml:c']", "echo ${b} ${c.z}", "echo 2 1"),
        ("['o.yaml:b, c']", "echo ${b} ${c.z}", "echo 2 1"),
        ("['o.yaml:']", "echo ${b}", "echo 2"),
        ("[j.json, t.toml, p.py]", "echo ${q} ${w2} ${sec.z} ${X} ${T[1]}", "echo 1 2 3 1 2"),
        ("[{x: {}}, {x: {b: 1}}]", "echo ${x.b}", "echo 1"),
        ("[{item: {z: 1}}, {key: k}]", "echo ${item.z} ${key}", "echo 1 k"),
    ],
)
def test_variables_come_from_params_yaml_files_and_mappings(variables: str, cmd: str, filled: str) -> None:
    assert with_vars(variables, cmd) == filled


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ("[conf.yaml]", "'a' of 'conf.yaml' is defined in 'params.yaml' already"),
        ("[{a: 5}]", "'a' of 'vars[0]' is defined in 'params.yaml' already"),
        ("[{d: {x: 3}}]", "'d.x' of 'vars[0]' is defined in 'params.yaml' already"),
        ("[{x: 1}, {x: 1}]", "'x' of 'vars[1]' is defined in 'vars[0]' already"),
        ("[{x: {y: 1}}, {x: 3}]", "'x' of 'vars[1]' is defined in 'vars[0]' already"),
        ("[{x: 3}, {x: {y: 1}}]", "'x' of 'vars[1]' is defined in 'vars[0]' already"),
        ("[{x: [1]}, {x: [2]}]", "'x' of 'vars[1]' is defined in 'vars[0]' already"),
        ("[{x: }, {x: 3}]", "'x' of 'vars[1]' is defined in 'vars[0]' already"),
        ("[{d: {y: 1}}, {d: {y: 1}}]", "'d.y' of 'vars[1]' is defined in 'vars[0]' already"),
        ("['params.yaml:a']", "takes keys of a file that is loaded whole already"),
        ("['o.yaml:b', 'o.yaml:b']", "takes keys that are loaded from this file already"),
        ("['o.yaml:b', o.yaml]", "takes keys that are loaded from this file already"),
        ("[o.yaml, 'o.yaml:b']", "takes keys of a file that is loaded whole already"),
        ("['o.yaml:nope']", "'o.yaml' has no key 'nope'"),
        ("['o.yaml:c.z']", "'o.yaml' has no key 'c.z'"),
        ("[nope.yaml]", "the file 'nope.yaml' does not exist"),
        ("['']", "the file '' does not exist"),
        ("[{m: '${a}'}]", "'vars' can hold no ${}"),
        ("[{m: [{'${a}': 1}]}]", "'vars' can hold no ${}"),
        ("['${a}.yaml']", "'vars' can hold no ${}"),
    ],
)
def test_variables_that_do_not_fit_are_refused(variables: str, words: str) -> None:
    error = refusal(f"vars: {variables}\nstages: {{s: {{cmd: 'echo ${{a}}'}}}}", FILES)
    assert words in error.message
    assert error.message.startswith("cannot resolve 'vars.")


def test_a_parameter_file_that_is_no_mapping_is_refused_where_it_is_needed() -> None:
    with pytest.raises(FormatError, match=r"cannot read 'sub/list.yaml': expected a mapping"):
        with_vars("[list.yaml]")
    with pytest.raises(FormatError, match=r"cannot read 'sub/params.yaml'"):
        one("cmd: echo ${a}", {"params.yaml": "- 1"})


def test_without_a_reference_no_parameter_file_is_read() -> None:
    asked: list[str] = []

    def read(path: str) -> bytes | None:
        asked.append(path)
        return None

    text = b"vars: [o.yaml]\nstages: {s: {cmd: echo, vars: [v.yaml], params: [a, {p.json: }]}}"
    (stage,) = resolve(parse_dvcyaml(text, name="dvc.yaml"), directory="", read=read)
    assert (stage.cmd, asked) == ("echo", [])


def test_a_stage_s_own_variables_are_files_of_its_folder() -> None:
    assert one("wdir: ${w}\nvars: [v.yaml]\ncmd: echo ${k}", FILES).cmd == "echo 3"
    assert one("wdir: ww\nvars: [../v.yaml]\ncmd: echo ${k}", FILES).cmd == "echo 4"
    assert one("wdir: ww\nvars: [params.yaml]\ncmd: echo ${b} ${a}", FILES).cmd == "echo 2 1"
    assert one("vars: [params.yaml, {d: {y: 2}}]\ncmd: echo ${d}", FILES).cmd == "echo --x 1 --y 2"


def test_a_stage_s_own_variables_are_not_those_of_the_next_stage() -> None:
    text = "stages:\n  s:\n    vars: [{d: {y: 2}}]\n    cmd: echo ${d}\n  t:\n    cmd: echo ${d}\n"
    assert [stage.cmd for stage in stages(text, FILES).values()] == ["echo --x 1 --y 2", "echo --x 1"]


def test_the_folder_of_a_stage_adds_no_variables_by_itself_and_sees_none_of_its_own() -> None:
    assert "'b' is not defined" in refusal("stages: {s: {wdir: ww, cmd: 'echo ${b}'}}", FILES).message
    error = refusal("stages: {s: {wdir: '${q}', vars: [{q: ww}], cmd: echo}}", FILES)
    assert "'stages.s.wdir'" in error.message


def test_a_stage_cannot_define_a_name_again() -> None:
    error = refusal("stages: {s: {vars: [{a: 3}], cmd: 'echo ${a}'}}", FILES)
    assert "'a' of 's.vars[0]' is defined in 'params.yaml' already" in error.message
    assert "cannot resolve 'stages.s.vars.0'" in error.message


# --- groups -------------------------------------------------------------------------------------------


def commands(text: str, files: dict[str, str] | None = None) -> dict[str, Any]:
    return {name: stage.cmd for name, stage in stages(f"stages: {{a: {text}}}", files).items()}


def each(foreach: str, cmd: str = "<${item}>") -> dict[str, Any]:
    return commands(f"{{foreach: {foreach}, do: {{cmd: '{cmd}'}}}}")


@pytest.mark.parametrize(
    ("foreach", "names"),
    [
        (
            "[x, 1, 1.0, true, null, 'a b', 'x/y', 1e-3, q.r, 'c:d', x, ü, ' ']",
            ["x", "1", "1.0", "true", "None", "a b", "x/y", "0.001", "q.r", "c:d", "ü", " "],
        ),
        ("['${t}', '${n}', '${f}', 'p${i}', '${s}']", ["True", "None", "1.0", "p3", "str"]),
        ("'${flat}'", ["True", "False", "None", "1.5"]),
        ("[]", []),
        ("{}", []),
    ],
)
def test_a_list_of_single_values_names_its_stages(foreach: str, names: list[str]) -> None:
    assert list(each(foreach)) == [f"a@{name}" for name in names]


def test_the_item_in_a_text_is_true_or_false_whatever_its_name_says() -> None:
    assert each("['${t}', false]") == {"a@True": "<true>", "a@false": "<false>"}


def test_a_list_with_a_collection_names_its_stages_by_number() -> None:
    assert each("[x, {k: 1}]", "y") == {"a@0": "y", "a@1": "y"}
    assert each("'${l}'", "y") == {"a@0": "y", "a@1": "y", "a@2": "y"}
    assert each("[[1, 2], ['${i}']]", "${item[0]}") == {"a@0": "1", "a@1": "3"}
    assert each("['${l}', '${d}']", "y") == {"a@0": "y", "a@1": "y"}


def test_a_mapping_names_its_stages_by_key() -> None:
    assert each("{x: 1, 2: s, 3.0: q, null: n, true: t}", "${key} ${item}") == {
        "a@x": "x 1",
        "a@2": "2 s",
        "a@3.0": "3.0 q",
        "a@None": "None n",
        "a@true": "true t",
    }
    assert each("{'a${i}': '${s}', b: {q: '${i}'}}", "${key}") == {"a@a3": "a3", "a@b": "b"}
    assert each("{b: {q: '${i}'}}", "${item.q} ${item}") == {"a@b": "3 --q 3"}
    assert list(each("'${d.b}'", "${key}")) == ["a@c", "a@d"]


def test_the_last_of_equal_names_counts_in_the_first_one_s_place() -> None:
    text = "{matrix: {v: ['${n}', null, 1]}, cmd: '${key}'}"
    assert list(commands(text)) == ["a@None", "a@1"]
    assert each("[1, b, '1']") == {"a@1": "<1>", "a@b": "<b>"}


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("{a: [1, 2], b: [x, y]}", {"1-x": "1-x", "1-y": "1-y", "2-x": "2-x", "2-y": "2-y"}),
        ("{a: [1.0, true, null, 1e3]}", {"1.0": "1.0", "true": "true", "None": "None", "1000.0": "1000.0"}),
        ("{a: [{x: 1}, 3], b: [x, [y]]}", {"a0-x": "a0-x", "a0-b1": "a0-b1", "3-x": "3-x", "3-b1": "3-b1"}),
        ("{a: '${l}', b: ['${s}']}", {"10-str": "10-str", "20-str": "20-str", "a2-str": "a2-str"}),
        ("{a: ['${t}', true]}", {"True": "True", "true": "true"}),
        ("{a: [], b: [1]}", {}),
    ],
)
def test_a_matrix_makes_all_combinations(matrix: str, expected: dict[str, str]) -> None:
    found = commands(f"{{matrix: {matrix}, cmd: '${{key}}'}}")
    assert list(found.items()) == [(f"a@{name}", cmd) for name, cmd in expected.items()]


def test_the_variables_of_a_matrix_are_in_item() -> None:
    text = "{matrix: {m: [cnn], 'x y': [{q: 1}]}, cmd: 'echo ${item.m} ${item.x y.q} ${item}'}"
    assert commands(text) == {"a@cnn-x y0": "echo cnn 1 --m cnn --x y.q 1"}


def test_a_group_has_folders_and_variables_of_each_stage() -> None:
    text = "{matrix: {m: [ww]}, wdir: '${item.m}', vars: [v.yaml], cmd: '${k} ${key}'}"
    assert commands(text, FILES) == {"a@ww": "3 ww"}
    text = "{foreach: [ww], do: {wdir: '${item}', vars: [v.yaml, {key: 9}], cmd: '${k} ${key}'}}"
    assert commands(text, FILES) == {"a@ww": "3 9"}


def test_item_and_key_hide_variables_of_these_names() -> None:
    text = "vars: [{item: 5}, {key: 6}]\nstages:\n  s:\n    foreach: [1]\n    do: {cmd: '${item} ${key}'}\n  t: {cmd: '${item}'}\n"
    assert [stage.cmd for stage in stages(text, {}).values()] == ["1 6", "5"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{foreach: '${s}', do: {cmd: x}}", "'stages.a.foreach' in 'sub/dvc.yaml': line 1: '${s}' is a text"),
        ("{foreach: abc, do: {cmd: x}}", "'abc' is a text, expected a list or a mapping"),
        ("{foreach: '${nope}', do: {cmd: x}}", "'stages.a.foreach'"),
        ("{foreach: [1, '${nope}'], do: {cmd: x}}", "'stages.a.foreach.1'"),
        ("{foreach: [x], do: {cmd: '${key}'}}", "'stages.a@x.cmd' in 'sub/dvc.yaml': line 1: 'key' is not"),
        ("{foreach: ['', a], do: {cmd: x}}", "'a@' cannot name a stage"),
        ("{foreach: [a@b], do: {cmd: x}}", "'a@a@b' cannot name a stage"),
        ("{foreach: {a@b: 1}, do: {cmd: x}}", "'a@a@b' cannot name a stage"),
        ("{foreach: [1], do: {cmd: '${item}', vars: [{item: 2}]}}", "'item' of 'a@1.vars[0]' is defined in"),
        (
            "{matrix: {v: '${d}'}, cmd: x}",
            "'stages.a.matrix.v' in 'sub/dvc.yaml': line 1: '${d}' is a mapping",
        ),
        ("{matrix: {v: '${s}'}, cmd: x}", "expected a list"),
        ("{matrix: {v: [1], w: ['${item}']}, cmd: x}", "'stages.a.matrix.w.0'"),
        ("{matrix: {v: '${own}'}, vars: [{own: [1]}], cmd: x}", "'own' is not defined"),
    ],
)
def test_groups_that_cannot_be_expanded_are_refused(text: str, words: str) -> None:
    assert words in refusal(f"stages: {{a: {text}}}").message


# --- what a stage holds -------------------------------------------------------------------------------


def test_a_stage_has_its_address_and_its_group() -> None:
    found = stages("stages: {t: {cmd: x}, a: {foreach: [1], do: {cmd: x, frozen: true}}}", {})
    assert found["t"] == ResolvedStage("t", "sub/dvc.yaml:t", "sub/dvc.yaml", ".", "x")
    assert found["a@1"].group == "a"
    assert found["a@1"].address == "sub/dvc.yaml:a@1"
    assert found["a@1"].frozen


def test_parameters_add_up_file_by_file_and_the_whole_file_wins() -> None:
    stage = one(
        "cmd: x\nparams: [{o.yaml: [k, 1]}, a.b, {p.json: }, ./a, {./o.yaml: [k, z]}, {e: []}, {p.json: [q]}, a.b]",
        {},
    )
    assert list(stage.params.items()) == [
        ("o.yaml", ("k", "1", "z")),
        ("params.yaml", ("a.b", "./a")),
        ("p.json", None),
        ("e", None),
    ]


def test_paths_stay_as_written_and_each_counts_once() -> None:
    stage = one("cmd: x\nwdir: w\ndeps: [./a, a, b/, b, s3://x/y, /abs, ../c]\nouts: [o/, o, ./o, p]", {})
    assert stage.deps == ("./a", "b/", "s3://x/y", "/abs", "../c")
    assert [out.path for out in stage.outs] == ["o/", "p"]
    assert [stage.rooted(path) for path in stage.deps] == [
        "sub/w/a",
        "sub/w/b",
        "s3://x/y",
        "/abs",
        "sub/c",
    ]


@pytest.mark.parametrize(
    ("directory", "wdir", "path", "expected"),
    [
        ("", ".", "a", "a"),
        ("", ".", "./a/", "a"),
        ("x", "..", "a", "a"),
        ("x", ".", "..", "."),
        ("x", "../..", "a", "../a"),
        ("x/y", "w", "../../z", "x/z"),
        ("x", "w", "https://host/a/../b", "https://host/a/../b"),
    ],
)
def test_a_path_is_known_from_the_root(directory: str, wdir: str, path: str, expected: str) -> None:
    assert root_path(directory, wdir, path) == expected


def test_outputs_have_their_flags_and_purposes() -> None:
    stage = one(
        "cmd: x\n"
        "outs: [{o: {cache: false, persist: true, remote: r, push: false, desc: d, type: t, labels: [l], meta: {k: 1},"
        " checkpoint: true}}]\n"
        "metrics: [{m: {cache: false}}, o]\n"
        "plots: [p, {q: {x: a, header: false, cache: false}}, {r: [{x: a}, {x: b}]}]",
        {},
    )
    assert stage.outs == (
        Output(
            "o",
            use_cache=False,
            persist=True,
            remote="r",
            can_push=False,
            desc="d",
            type="t",
            labels=("l",),
            meta={"k": 1},
            metric=True,
            extra={"checkpoint": True},
        ),
        Output("m", use_cache=False, metric=True),
        Output("p", plot=True),
        Output("q", use_cache=False, plot={"x": "a", "header": False}),
        Output("r", plot=[{"x": "a"}, {"x": "b"}]),
    )


@pytest.mark.parametrize(
    ("body", "is_callback"),
    [
        ("cmd: x", True),
        ("cmd: [x]", True),
        ("cmd: ''", False),
        ("cmd: []", False),
        ("cmd: x\ndeps: [a]", False),
        ("cmd: x\nparams: [a]", False),
        ("cmd: x\nouts: [a]", False),
    ],
)
def test_a_command_alone_is_a_callback(body: str, is_callback: bool) -> None:
    assert one(body, {}).is_callback is is_callback


def test_live_of_dvc_2_is_an_output() -> None:
    stage = one("cmd: x\nouts: [{o: {checkpoint: true}}]\nlive: {dvclive: {summary: true}}", {})
    assert [(out.path, out.plot) for out in stage.outs] == [("o", None), ("dvclive", True)]


def test_a_single_stage_file_is_a_stage() -> None:
    data = b"""\
md5: 11111111111111111111111111111111
cmd: python train.py
wdir: ..
locked: true
deps:
- md5: 22222222222222222222222222222222
  path: train.py
- md5: 33333333333333333333333333333333
  path: p.yaml
  params:
    lr: 0.1
    opt.n: 2
outs:
- md5: 44444444444444444444444444444444
  path: model
  cache: true
  metric: false
  persist: false
"""
    metafile = parse_metafile(data, name="sub/train.dvc")
    stage = resolve_single(metafile, name="sub/train.dvc")
    assert (stage.name, stage.address, stage.file) == ("sub/train.dvc",) * 3
    assert (stage.cmd, stage.wdir, stage.frozen) == ("python train.py", "..", True)
    assert stage.deps == ("train.py",)
    assert stage.params == {"p.yaml": ("lr", "opt.n")}
    assert stage.outs == metafile.outs
    assert stage.rooted("model") == "model"
