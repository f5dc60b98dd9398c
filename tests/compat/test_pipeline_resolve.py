"""Pipelines beside the real DVC: names and commands of stages, what is refused, and what `status` says of changes.

Nothing here lets Kist run a command; locks are made by the real DVC.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.property.test_dvcyaml import Case, cases

from kist.errors import FormatError
from kist.formats.dvcyaml import parse_dvcyaml
from kist.formats.yaml import dump
from kist.pipeline.interpolate import OptionStyle
from kist.pipeline.resolve import ResolvedStage, resolve

from .helpers import RealDvc, environment

pytestmark = pytest.mark.compat

CONFIG = "[core]\n    no_scm = True\n    analytics = false\n"
Files = dict[str, str]


def make_repository(root: str, files: Files, config: str = CONFIG) -> str:
    """Writes a repository without Git; returns its folder."""
    os.makedirs(os.path.join(root, ".dvc", "tmp"))
    os.makedirs(os.path.join(root, "..", "home"), exist_ok=True)
    put(root, {".dvc/config": config, **files})
    return root


def put(root: str, files: Files) -> None:
    for path, text in files.items():
        target = os.path.join(root, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8") as stream:
            stream.write(text)


def run_dvc(dvc: RealDvc, root: str, *arguments: str, cwd: str = "") -> tuple[int, str]:
    """Returns exit code and standard output; standard error joins it where the command fails."""
    result = dvc.run(arguments, os.path.join(root, cwd), environment(os.path.dirname(root)))
    return result.code, result.stdout if result.code == 0 else result.stdout + result.stderr


def commands_by_dvc(dvc: RealDvc, root: str, *arguments: str) -> dict[str, list[str]]:
    """Returns address -> lines that the stage would run."""
    code, output = run_dvc(dvc, root, "repro", "--dry", "--force", *arguments)
    assert code == 0, output
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        running = re.fullmatch(r"Running stage '(.*)':", line)
        if running:
            lines = found[running[1]] = []
        elif line.startswith("> "):
            lines.append(line[2:].strip())
    return found


def stages_by_kist(root: str, options: OptionStyle | None = None) -> Iterator[ResolvedStage]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        if "dvc.yaml" in names:
            directory = os.path.relpath(folder, root).replace(".", "", 1)
            yield from resolved(root, directory, options)


def resolved(root: str, directory: str, options: OptionStyle | None = None) -> tuple[ResolvedStage, ...]:
    def read(path: str) -> bytes | None:
        try:
            return Path(root, directory, path).read_bytes()
        except FileNotFoundError:
            return None

    data = read("dvc.yaml")
    assert data is not None
    name = os.path.join(directory, "dvc.yaml")
    return resolve(parse_dvcyaml(data, name=name), directory=directory, read=read, options=options)


def commands_by_kist(root: str, options: OptionStyle | None = None) -> dict[str, list[str]]:
    found = {}
    for stage in stages_by_kist(root, options):
        written = stage.cmd if isinstance(stage.cmd, list) else [stage.cmd]
        lines = [line.strip() for text in written for line in text.splitlines()]
        found[stage.address.removeprefix("dvc.yaml:")] = lines
    return found


# --- names and commands -------------------------------------------------------------------------------

PARAMS = """\
i: 3
f: 1.0
e: 1.0e-9
big: 123456789012345678901234567890
t: true
n: null
s: str
d: {a: 1, b: {c: x y, d: [1, 2.5, x y, true]}, t: true, f: false, n: null, e: '', under_score: 1, l: [], emp: {}}
q: {k w: 'a"b', k2: "it's", k3: $HOME, ü: ü, neg: -3, fl: 1.0e-7, t: 'true', dash-k: a/b}
l: [10, 20, {k: v}]
flat: [true, false, null, 1.5]
key with space: 1
dash-key: 2
w: ww
"""
WRITTEN = {
    "texts": r"""
stages:
  a: {cmd: 'echo ${i} ${f} ${e} ${big} ${t} ${n} ${s}'}
  b: {cmd: 'echo ${ d . b . c } ${d.b .c} ${d[b] .c} ${d[ b ] [c] }'}
  c: {cmd: 'echo ${l[0]} ${l.1} ${l[ -1 ].k} ${key with space} ${dash-key}'}
  d: {cmd: 'echo $${i} $i ${i', desc: 'of ${s}'}
  e: {cmd: 'echo \${i} \\${i} \\\${i} \${'}
  f: {cmd: ['${s}', 'b ${i}']}
  g: {cmd: "echo 1\necho ${i}\n"}
  h: {cmd: '${s}${s}', meta: {k: ['${i}']}}
""",
    "options": "stages: {a: {cmd: 'echo ${d} x'}, b: {cmd: 'echo ${q}'}, c: {cmd: 'echo ${d.b}${d.emp}'}}",
    "lists": """
stages:
  a: {foreach: [x, 1, 1.0, true, null, a b, x/y, 1e-3, q.r, 'c:d', x, ü], do: {cmd: 'echo <${item}>'}}
  b: {foreach: ['${t}', '${n}', '${f}', 'p${i}', '${s}'], do: {cmd: 'echo <${item}>'}}
  c: {foreach: '${flat}', do: {cmd: 'echo <${item}>'}}
  d: {foreach: '${l}', do: {cmd: echo}}
  e: {foreach: [x, {k: 1}], do: {cmd: echo}}
  f: {foreach: [[1, 2], [3]], do: {cmd: 'echo ${item[0]}'}}
  g: {foreach: [], do: {cmd: echo}}
""",
    "mappings": """
stages:
  a: {foreach: {x: 1, 2: s, 3.0: q, null: n, true: t}, do: {cmd: 'echo ${key} ${item}'}}
  b: {foreach: {'a${i}': '${s}', b: {q: '${i}'}}, do: {cmd: 'echo ${key}'}}
  c: {foreach: '${d}', do: {cmd: 'echo ${key}'}}
""",
    "matrix": """
stages:
  a: {matrix: {m: [1, 2], d: [x, y]}, cmd: 'echo ${item.m} ${item.d} ${key}'}
  b: {matrix: {m: [1.0, true, null, a b, 1e3]}, cmd: 'echo ${item.m} ${key}'}
  c: {matrix: {m: [{x: 1}, [1], 3], d: [x, [y]]}, cmd: 'echo ${key}'}
  d: {matrix: {m: '${l}', d: ['${s}', 'q${i}']}, cmd: 'echo ${key}'}
  e: {matrix: {m: ['${t}', true]}, cmd: 'echo ${item.m} ${key}'}
  f: {matrix: {m b: [1, 1]}, cmd: 'echo ${item} ${item.m b}'}
  g: {matrix: {m: []}, cmd: echo}
""",
    "variables": """
vars: [o.yaml, 'some.yaml:x,y', j.json, t.toml, p.py, {d: {z: 3}}, ./params.yaml, o.yaml]
stages:
  a: {cmd: 'echo ${oo} ${x} ${y.z} ${jj} ${tt} ${sec.z} ${X} ${C.y} ${C.z} ${N} ${D.k.v} ${d.z}'}
  b: {wdir: '${w}', vars: [v.yaml, ../own.yaml, {d: {own: 1}}], cmd: 'echo ${k} ${own} ${d.own} ${i}'}
  c: {foreach: [ww], do: {wdir: '${item}', vars: [v.yaml], cmd: 'echo ${k} ${item}'}}
  d: {matrix: {m: [ww]}, wdir: '${item.m}', vars: [v.yaml], cmd: 'echo ${k} ${key}'}
""",
}
BESIDE = {
    "params.yaml": PARAMS,
    "o.yaml": "oo: 2\n",
    "some.yaml": "x: 1\ny: {z: 2}\ni: 7\n",
    "j.json": '{"jj": 1}',
    "t.toml": "tt = 2\n[sec]\nz = 3\n",
    "p.py": (
        "X = 1\nclass C:\n    y = 2\n    def __init__(self):\n        self.z = 3\nN: float = -1.5\n"
        "D = {'k': {'v': 1}}\n"
    ),
    "own.yaml": "own: 1\n",
    "ww/v.yaml": "k: 3\n",
}


def test_written_pipelines_have_dvc_s_names_and_commands(real_dvc: RealDvc, tmp_path: Path) -> None:
    files = {f"{name}/{path}": text for name in WRITTEN for path, text in BESIDE.items()}
    files.update({f"{name}/dvc.yaml": text for name, text in WRITTEN.items()})
    root = make_repository(str(tmp_path / "repo"), files)
    theirs = commands_by_dvc(real_dvc, root, "--all-pipelines")
    assert len(theirs) > 60
    assert commands_by_kist(root) == theirs
    code, output = run_dvc(real_dvc, root, "stage", "list", "--all", "--name-only")
    assert code == 0
    assert sorted(output.splitlines()) == sorted(theirs)


def test_mappings_become_options_as_the_configuration_says(real_dvc: RealDvc, tmp_path: Path) -> None:
    config = CONFIG + "[parsing]\n    bool = boolean_optional\n    list = append\n"
    files = {"dvc.yaml": WRITTEN["options"], "params.yaml": PARAMS}
    root = make_repository(str(tmp_path / "repo"), files, config)
    theirs = commands_by_dvc(real_dvc, root)
    assert commands_by_kist(root, OptionStyle(negates=True, repeats=True)) == theirs
    assert commands_by_kist(root) != theirs


def test_made_up_pipelines_have_dvc_s_names_and_commands(real_dvc: RealDvc, tmp_path: Path) -> None:
    made: list[Case] = []

    @given(cases())
    @settings(max_examples=80, database=None, suppress_health_check=list(HealthCheck))
    def make(case: Case) -> None:
        made.append(case)

    make()
    files: Files = {}
    expected = {}
    for number, case in enumerate(made):
        folder = f"c{number}"
        files[f"{folder}/dvc.yaml"] = dump(case.pipeline).decode()
        files[f"{folder}/params.yaml"] = dump(case.params).decode()
        expected.update({f"{folder}/dvc.yaml:{name}": [cmd.strip()] for name, cmd in case.expected.items()})
    root = make_repository(str(tmp_path / "repo"), files)
    theirs = commands_by_dvc(real_dvc, root, "--all-pipelines")
    assert len(theirs) > 80
    assert commands_by_kist(root) == theirs == expected


# --- what is refused ----------------------------------------------------------------------------------

REFUSED = [
    "abc",
    "stages:",
    "stages: []",
    "stage: {}",
    "schema: '2.0'",
    "vars:",
    "vars: {a: 1}",
    "vars: [1]",
    "params: [{a: 1}]",
    "metrics: m",
    "plots: [1]",
    "plots: [{p: {foo: 1}}]",
    "artifacts: []",
    "artifacts: {a: {}}",
    "artifacts: {a: {path: p, foo: 1}}",
    "stages: {s: }",
    "stages: {1: {cmd: x}}",
    "stages: {'a@b': {cmd: x}}",
    "stages: {s: {deps: [a]}}",
    "stages: {s: {cmd: 1}}",
    "stages: {s: {cmd: x, deps: a}}",
    "stages: {s: {cmd: x, deps: [1]}}",
    "stages: {s: {cmd: x, deps: }}",
    "stages: {s: {cmd: x, params: }}",
    "stages: {s: {cmd: x, params: [{f.yaml: k}]}}",
    "stages: {s: {cmd: x, outs: {o: {}}}}",
    "stages: {s: {cmd: x, outs: [{o: }]}}",
    "stages: {s: {cmd: x, outs: [{o: {cach: true}}]}}",
    "stages: {s: {cmd: x, outs: [{o: {cache: 'no'}}]}}",
    "stages: {s: {cmd: x, outs: [{o: {cache: '${t}'}}]}}",
    "stages: {s: {cmd: x, outs: [{o: {x: a}}]}}",
    "stages: {s: {cmd: x, plots: [{p: {x: 1}}]}}",
    "stages: {s: {cmd: x, frozen: 1}}",
    "stages: {s: {cmd: x, wdir: 1}}",
    "stages: {s: {cmd: x, locked: true}}",
    "stages: {s: {foreach: 3, do: {cmd: x}}}",
    "stages: {s: {foreach: [1], do: {}}}",
    "stages: {s: {foreach: [1], do: {cmd: x}, deps: [a]}}",
    "stages: {s: {foreach: '${s}', do: {cmd: x}}}",
    "stages: {s: {foreach: [a@b], do: {cmd: x}}}",
    "stages: {s: {foreach: [''], do: {cmd: x}}}",
    "stages: {s: {foreach: [a], do: {cmd: '${key}'}}}",
    "stages: {s: {foreach: [a], do: {cmd: '${item}', vars: [{item: 3}]}}}",
    "stages: {s: {matrix: {}, cmd: x}}",
    "stages: {s: {matrix: {a: 3}, cmd: x}}",
    "stages: {s: {matrix: {a: '${s}'}, cmd: x}}",
    "stages: {s: {matrix: {a: [1]}, do: {cmd: x}}}",
    "stages: {s: {cmd: 'echo ${l}'}}",
    "stages: {s: {cmd: 'echo ${nope}'}}",
    "stages: {s: {cmd: 'echo ${l[5]}'}}",
    "stages: {s: {cmd: 'echo ${d..b}'}}",
    "stages: {s: {cmd: 'echo ${}'}}",
    "stages: {s: {cmd: 'echo ${d[a.b]}'}}",
    "stages: {s: {cmd: echo, deps: ['${d}']}}",
    "stages: {s: {cmd: echo, meta: '${nope}'}}",
    "stages: {s: {cmd: 'echo ${i}', vars: [{i: 4}]}}",
    "{vars: [{i: 5}], stages: {s: {cmd: 'echo ${i}'}}}",
    "{vars: [some.yaml], stages: {s: {cmd: 'echo ${i}'}}}",
    "{vars: ['params.yaml:i'], stages: {s: {cmd: 'echo ${i}'}}}",
    "{vars: ['o.yaml:oo', o.yaml], stages: {s: {cmd: 'echo ${i}'}}}",
    "{vars: ['o.yaml:nope'], stages: {s: {cmd: 'echo ${i}'}}}",
    "{vars: [nope.yaml], stages: {s: {cmd: 'echo ${i}'}}}",
    "{vars: [{m: '${i}'}], stages: {s: {cmd: 'echo ${i}'}}}",
    "{vars: [{x: {y: 1}}, {x: 3}], stages: {s: {cmd: 'echo ${i}'}}}",
]
ACCEPTED = [
    "",
    "# words",
    "[]",
    "stages: {}",
    "vars: []",
    "params: [a]",
    "plots: [{p: }]",
    "plots: [{p: {x: {f: a}, y: {f: [a, b]}}}]",
    "artifacts: {a: {path: p, type: t, desc: d, labels: [a], meta: {}}}",
    "datasets: {}",
    "stages: {'a b': {cmd: x}, a.b: {cmd: x}, a/b: {cmd: x}, '${i}': {cmd: x}, ü: {cmd: x}}",
    "stages: {s: {cmd: ''}, t: {cmd: []}}",
    "stages: {s: {cmd: x, deps: [], params: [], outs: [], wdir: '', meta: }}",
    "stages: {s: {cmd: x, params: [{f.yaml: }, {g.yaml: []}, {h.yaml: [1]}]}}",
    "stages: {s: {cmd: x, outs: [{o: {}, p: {checkpoint: true}}], metrics: [{m: {type: json}}]}}",
    "{vars: [{x: {}}, {x: {b: 1}}], stages: {s: {cmd: 'echo ${x.b}'}}}",
    "{vars: ['o.yaml:'], stages: {s: {cmd: 'echo ${oo}'}}}",
]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("refused") / "repo")
    return make_repository(root, {"params.yaml": PARAMS, "o.yaml": "oo: 2\n", "some.yaml": "i: 7\n"})


@pytest.mark.parametrize("text", REFUSED)
def test_what_dvc_refuses_is_refused(real_dvc: RealDvc, scratch: str, text: str) -> None:
    put(scratch, {"dvc.yaml": text})
    code, output = run_dvc(real_dvc, scratch, "status")
    assert code != 0, output
    with pytest.raises(FormatError):
        resolved(scratch, "")


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_dvc_accepts_is_accepted(real_dvc: RealDvc, scratch: str, text: str) -> None:
    put(scratch, {"dvc.yaml": text})
    code, output = run_dvc(real_dvc, scratch, "stage", "list", "--all", "--name-only", "--fail")
    assert code == 0, output
    names = [stage.name for stage in resolved(scratch, "")]
    assert sorted(names) == sorted(output.splitlines())


# --- real repositories --------------------------------------------------------------------------------


def find_real_repositories() -> str | None:
    """Returns their folder: KIST_SHARED_DATA says where, or it is in `shared/data` beside a folder above this file."""
    given_folder = os.environ.get("KIST_SHARED_DATA")
    above = Path(__file__).resolve().parents
    places = [given_folder] if given_folder else [str(place / "shared" / "data") for place in above]
    found = [os.path.join(place, "real-repos") for place in places]
    return next((place for place in found if os.path.isdir(place)), None)


REAL = find_real_repositories()


def real_roots() -> list[str]:
    """Returns the repositories that hold a `dvc.yaml`, relative to the folder of all."""
    if REAL is None:
        return []
    found = []
    for folder, folders, _names in os.walk(REAL):
        if ".dvc" in folders and next(Path(folder).rglob("dvc.yaml"), None) is not None:
            inner = [name for name in folders if os.path.isdir(os.path.join(folder, name, ".dvc"))]
            if not inner:
                found.append(os.path.relpath(folder, REAL))
    return sorted(found)


@pytest.mark.skipif(REAL is None, reason="no real repositories here; KIST_SHARED_DATA names their folder")
def test_real_repositories_with_pipelines_are_all_there() -> None:
    assert len(real_roots()) == 12


@pytest.mark.parametrize("name", real_roots())
def test_real_pipelines_have_dvc_s_names_and_commands(real_dvc: RealDvc, name: str, tmp_path: Path) -> None:
    assert REAL is not None
    root = str(tmp_path / "repo")
    # Without data files and locks: several are of versions that DVC 3 refuses, and names need neither.
    shutil.copytree(
        os.path.join(REAL, name),
        root,
        ignore=shutil.ignore_patterns("*.dvc", "dvc.lock", "Dvcfile", "config"),
    )
    make_repository(root, {})
    ours = commands_by_kist(root)
    if name.endswith("dvc-checkpoints-mnist"):
        # `live:` is of DVC 2; version 3 refuses it and lists nothing.
        assert ours == {"train": ["python train.py"]}
        return
    code, output = run_dvc(real_dvc, root, "stage", "list", "--all", "--name-only", "--fail")
    assert code == 0, output
    assert sorted(ours) == sorted(output.splitlines())
    if ours:
        assert ours == commands_by_dvc(real_dvc, root, "--single-item", *ours)
    code, drawn = run_dvc(real_dvc, root, "dag", "--dot")
    assert code == 0, drawn
    assert sorted(dot_by_kist(root).splitlines()) == sorted(drawn.splitlines())


def dot_by_kist(root: str) -> str:
    """Returns the stages and edges that Kist finds, for Graphviz."""
    words = [sys.executable, "-m", "kist.cli.main", "dag", "--dot"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout


# --- status -------------------------------------------------------------------------------------------

PIPELINE = """\
stages:
  a:
    cmd: cp in out_a; cp in out_n
    deps: [in]
    params: [lr, opt.n, nul, other.yaml: ]
    outs: [out_a, out_n: {cache: false}]
  d:
    cmd: mkdir -p dd/s && cp in dd/s/x && cp in2 dd/y
    deps: [in, ./in2]
    params: [p.py: [X, T], q.toml: [sec.z], j.json: [l.0, l.-1, d.7]]
    outs: [dd/]
  flagged:
    cmd: echo hi > eo
    always_changed: true
    deps: [in]
    outs: [eo]
  outonly:
    cmd: echo hi > cb
    outs: [cb]
  paramonly:
    cmd: |
      echo a > po
      echo b >> po
    params: [lr, params.yaml: [opt]]
  bare:
    cmd: "true"
  each:
    foreach: [x, y z]
    do:
      cmd: echo ${item} ${lr} > "e ${item}"
      deps: [dd]
      metrics: ["e ${item}"]
  never:
    cmd: cat in > never
    deps: [in, nothing, dd]
    params: [lr, {none.yaml: [k]}, {other.yaml: [q]}]
    outs: [never, made]
"""
STARTED: Files = {
    "dvc.yaml": PIPELINE,
    "in": "1\n",
    "in2": "2",
    "made": "1",
    "params.yaml": "lr: 1\nopt: {n: [1, 2]}\nnul:\n",
    "other.yaml": "q: 1\nz: [1, {a: 2}]\na.b: 1\n",
    "p.py": "X = 1\nT = (1, 2)\n",
    "q.toml": "[sec]\nz = 1.5\n",
    "j.json": '{"l": [1, 2], "d": {"7": null}}',
    "sub/dvc.yaml": (
        "stages:\n  s: {cmd: cp ../in o && cp ../in ../up, deps: [../in], outs: [o, ../up]}\n"
        "  w: {wdir: ww, cmd: cp f g, deps: [f], params: [k], outs: [g]}\n"
    ),
    "sub/ww/f": "z",
    "sub/ww/params.yaml": "k: 1\n",
}

Edit = dict[str, tuple[str, str]]
CHANGES: dict[str, tuple[dict[str, str | None], Edit]] = {
    "nothing": ({}, {}),
    "a dependency": ({"in": "3\n"}, {}),
    "a dependency gone": ({"in": None}, {}),
    "an output": ({"out_a": "z"}, {}),
    "an output without cache": ({"out_n": "z"}, {}),
    "outputs gone": ({"out_a": None, "out_n": None, "dd": None, "e x": None}, {}),
    "a member": ({"dd/y": "z"}, {}),
    "a member gone": ({"dd/s/x": None}, {}),
    "a file in place of a folder": ({"dd": None}, {}),
    "a new member": ({"dd/n": "z"}, {}),
    "no cache": ({".dvc/cache": None}, {}),
    "no cache and other outputs": (
        {".dvc/cache": None, "out_a": "z", "out_n": "z", "dd": None, "cb": None},
        {},
    ),
    "no lock": ({"dvc.lock": None}, {}),
    "another lock gone": ({"sub/dvc.lock": None}, {}),
    "parameters": (
        {"params.yaml": "lr: 2\nopt: {n: [1, 3]}\n", "other.yaml": "q: 1\nnew: 2\nz: [1, {a: 3}]\n"},
        {},
    ),
    "parameters of other types": (
        {
            "params.yaml": "lr: '1'\nopt: {n: [1.0, 2]}\nnul: 0\n",
            "other.yaml": "q: true\nz: [1, {a: 2}]\na.b: 1\n",
        },
        {},
    ),
    "parameters gone": ({"params.yaml": "lr: 1\n", "other.yaml": ""}, {}),
    "parameters of other files": (
        {"p.py": "X = 2\nT = (1, 3)\n", "q.toml": "sec = 3\n", "j.json": '{"l": [3], "d": {}}'},
        {},
    ),
    "parameter files gone": (
        {"other.yaml": None, "p.py": None, "q.toml": None, "j.json": None, "sub/ww/params.yaml": None},
        {},
    ),
    "commands": (
        {},
        {"dvc.yaml": ("echo hi", "echo  hi"), "sub/dvc.yaml": ("cmd: cp f g", "cmd: [cp f g]")},
    ),
    "a command of a text of lines": ({}, {"dvc.yaml": ("echo b >> po", "echo c >> po")}),
    "a parameter in commands": ({"params.yaml": "lr: 5\nopt: {n: [1, 2]}\nnul:\n"}, {}),
    "frozen": ({"in": "3\n"}, {"dvc.yaml": ("  d:\n", "  d:\n    frozen: true\n")}),
    "frozen with another command": (
        {},
        {"dvc.yaml": ("  d:\n    cmd: ", "  d:\n    frozen: true\n    cmd: ' '#")},
    ),
    "a dependency less": ({}, {"dvc.yaml": ("[in, ./in2]", "[in]")}),
    "dependencies more": ({}, {"dvc.yaml": ("[in, ./in2]", "[in, ./in2, in2x, p.py, sub]")}),
    "a dependency written otherwise": ({}, {"dvc.yaml": ("[in, ./in2]", "[in, in2]")}),
    "an output written otherwise": ({}, {"dvc.yaml": ("[dd/]", "[dd]")}),
    "an output less": ({}, {"dvc.yaml": ("[out_a, out_n: {cache: false}]", "[out_a]")}),
    "outputs more": ({"extra": "1"}, {"dvc.yaml": ("outs: [dd/]", "outs: [dd/, extra, none]")}),
    "an output kept out of the cache": (
        {".dvc/cache": None},
        {"dvc.yaml": ("[cb]", "[{cb: {cache: false}}]")},
    ),
    "parameters more": ({}, {"dvc.yaml": ("[lr, opt.n, nul,", "[lr, opt, opt.n, nul, nope, opt.n.0,")}),
    "a whole file in place of keys": ({}, {"dvc.yaml": ("p.py: [X, T]", "p.py: ")}),
    "a new parameter file": (
        {},
        {"dvc.yaml": ("p.py: [X, T]", "p.py: [X, T], params.yaml: [lr], none.json: ")},
    ),
    "a stage renamed": ({}, {"dvc.yaml": ("  outonly:", "  renamed:")}),
    "a group grown": ({}, {"dvc.yaml": ("[x, y z]", "[x, y z, w]")}),
    "a lock of DVC 2": ({}, {"dvc.lock": ("      hash: md5\n", "")}),
}


@pytest.fixture(scope="module")
def finished(real_dvc: RealDvc, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns a repository whose stages all ran, but for the one that never did."""
    root = make_repository(str(tmp_path_factory.mktemp("finished") / "repo"), STARTED)
    for target in ("a", "d", "flagged", "outonly", "paramonly", "bare", "each", "sub/dvc.yaml"):
        code, output = run_dvc(real_dvc, root, "repro", target)
        assert code == 0, output
    return root


def status_by_kist(root: str, cwd: str, *targets: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "kist.cli.main", "status", "--json", *targets],
        cwd=os.path.join(root, cwd),
        env=environment(os.path.dirname(root)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def status_by_dvc(dvc: RealDvc, root: str, cwd: str, *targets: str) -> Any:
    code, output = run_dvc(dvc, root, "status", "--json", *targets, cwd=cwd)
    assert code == 0, output
    return json.loads(output)


@pytest.mark.parametrize("name", CHANGES)
def test_status_of_a_change_is_dvc_s(real_dvc: RealDvc, finished: str, tmp_path: Path, name: str) -> None:
    root = str(tmp_path / "repo")
    shutil.copytree(finished, root, symlinks=True)
    os.makedirs(tmp_path / "home")
    contents, edits = CHANGES[name]
    for path, text in contents.items():
        target = os.path.join(root, path)
        if os.path.isdir(target):
            shutil.rmtree(target)
        elif os.path.lexists(target):
            os.unlink(target)
        if text is not None:
            put(root, {path: text})
    if name == "a file in place of a folder":
        put(root, {"dd": "file"})
    for path, (old, new) in edits.items():
        before = Path(root, path).read_text()
        assert old in before
        put(root, {path: before.replace(old, new)})
    theirs = status_by_dvc(real_dvc, root, "")
    assert "never" in theirs
    assert status_by_kist(root, "") == theirs
    if name in ("no lock", "parameters", "a dependency"):
        assert status_by_kist(root, "sub") == status_by_dvc(real_dvc, root, "sub")


@pytest.mark.parametrize(
    "target",
    [
        *("a", ":a", "dvc.yaml:a", "each", "each@x", "dvc.yaml:each@y z", "sub/dvc.yaml", "sub/dvc.yaml:w"),
        *("dvc.yaml", ":"),
    ],
)
def test_status_of_a_stage_target_is_dvc_s(
    real_dvc: RealDvc, finished: str, tmp_path: Path, target: str
) -> None:
    root = str(tmp_path / "repo")
    shutil.copytree(finished, root, symlinks=True)
    os.makedirs(tmp_path / "home")
    put(root, {"in": "3\n", "sub/ww/f": "y", "dd/y": "z"})
    theirs = status_by_dvc(real_dvc, root, "", target)
    assert theirs
    assert status_by_kist(root, "", target) == theirs
