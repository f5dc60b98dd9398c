"""`stage`, `dag`, `freeze` and `unfreeze` beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import AS_A_RUN, AS_LINES, EXACT, Beside, Case, append, case, make_folder, replace, tool, write

_EVERYTHING = (
    "stage add -n new -d model -d code.sh -p opt.n,lr -p other.json:x,seed -p whole.toml: -o z -o y -O nocache"
    " --outs-persist pers --outs-persist-no-cache pnc -m m1.json -M m2.json --plots q.csv --plots-no-cache r.csv"
    " --always-changed --desc 'some text' 'python code.py --x \"a b\" | cat'"
)
_GIT_IGNORE = (("repo/.gitignore", "repo: git"), "R2: DVC writes lines of .gitignore in the order of a set")

ADDED = (
    case("a stage", "empty", tool("stage add -n one -o out.txt 'echo 1 > out.txt'", stdout=AS_A_RUN)),
    case("several words", "empty", tool("stage add -n one echo 'a b' '' $HOME \"it's\"", stdout=AS_A_RUN)),
    case("all options", "matrix", tool(_EVERYTHING, stdout=AS_A_RUN), except_for=_GIT_IGNORE[0], because=_GIT_IGNORE[1]),
    case("after a comment", "matrix", append("dvc.yaml", "  # the end\n"), tool("stage add -n new -o z 'echo 1 > z'")),
    case("replaced", "matrix", tool("stage add -f -n unkept -d out_a -o report2 'cp out_a report2'")),
    case("there already", "matrix", tool("stage add -n unkept -o z echo", code=255)),
    case("in another folder", "matrix", tool("stage add -n new -d file.txt -o z 'cp file.txt z'", cwd="repo/folder", code=0)),
    case("with wdir", "matrix", tool("stage add -n new -w folder -d ../file.txt -o z 'cp ../file.txt z'", stdout=AS_A_RUN)),
    case("and run", "matrix", tool("stage add --run -n new -d file.txt -o z 'cp file.txt z'", stdout=AS_A_RUN)),
    case("an output of another stage", "matrix", tool("stage add -n new -o model echo", code=255)),
    case("an output inside of another", "matrix", tool("stage add -n new -o prepared/z echo", code=255)),
    case("a circle", "matrix", tool("stage add -n new -d report -o sub.txt echo", code=255)),
    case("without command", "matrix", tool("stage add -n new -o z", code=255)),
    case("a path named twice", "matrix", tool("stage add -n new -d z -o z echo", code=255)),
    case("a name with a dot", "matrix", tool("stage add -n a.b -o z echo", code=255)),
    case("-q", "empty", tool("stage add -q -n one -o out.txt 'echo 1 > out.txt'", stdout=EXACT)),
)  # fmt: skip

_SECOND = (
    make_folder("second"),
    write("second/dvc.yaml", "stages:\n  s:\n    cmd: cp ../model s\n    deps: [../model]\n    outs: [s]\n"),
    append(
        "dvc.yaml",
        "  described: {cmd: x, desc: what it does}\n  plain: {cmd: x}\n"
        "  reads: {cmd: x, deps: [out_a], params: [lr]}\n  reports: {cmd: x, metrics: [n.json]}\n"
        f"  long: {{cmd: x, outs: [{'a' * 50}, {'b' * 50}]}}\n",
    ),
)
# DVC takes the files of a folder in the order in which the file system has them.
SHOWN = (
    case("lists", "matrix", *_SECOND, *(tool(f"stage list {words}", stdout=AS_LINES if words == "--all" else EXACT) for words in (
        "", "--all", "--name-only", "mx each@a", "second/dvc.yaml", "-R second", "second/dvc.yaml:s --names-only",
    ))),
    case("a list below", "matrix", *_SECOND, tool("stage list", cwd="repo/second", stdout=EXACT)),
    case("a list of nothing", "empty", tool("stage list", code=255), tool("stage list --all", stdout=AS_LINES)),
    case("a list of what is not there", "matrix", tool("stage list nope", code=255)),
    case("a list with a broken file", "matrix", *_SECOND, write("second/dvc.yaml", "stages: ["),
         tool("stage list --all", stdout=AS_LINES), tool("stage list --all --fail", code=255), tool("stage list second/dvc.yaml", code=255)),
    case("graphs", "matrix", *_SECOND, *(tool(f"dag {words}", stdout=AS_LINES if "--dot" in words else EXACT) for words in (
        "--dot", "--mermaid", "--md second/dvc.yaml:s", "-o --dot", "train --dot", "train --dot --full",
        "model --dot", "each --mermaid",
    ))),
    case("a graph of groups", "matrix", *_SECOND, tool("dag --collapse-foreach-matrix --dot", stdout=AS_LINES)),
    case("a graph of what is not there", "matrix", tool("dag nope", code=255)),
    case("a graph below", "matrix", *_SECOND, tool("dag --dot", cwd="repo/second", stdout=AS_LINES)),
)  # fmt: skip

FROZEN = (
    case("a stage", "matrix", tool("freeze kept below", stdout=EXACT), tool("status --json", stdout="as JSON"),
         tool("unfreeze kept", stdout=EXACT), tool("unfreeze below below", stdout=EXACT)),
    case("a .dvc file", "matrix", tool("freeze file.txt.dvc", stdout=EXACT), tool("freeze file.txt.dvc")),
    case("a .dvc file again free", "matrix", tool("freeze file.txt.dvc"), tool("unfreeze file.txt.dvc")),
    case("with comments", "matrix", replace("dvc.yaml", "  kept:", "  # of kept\n  kept: # here"), tool("freeze kept below")),
    case("a stage of a group", "matrix", tool("freeze each@a", code=1)),
    case("a group", "matrix", tool("freeze each", code=1)),
    case("with variables", "matrix", tool("freeze templated", code=1)),
    case("what is not there", "matrix", tool("freeze nope", code=1)),
)  # fmt: skip


@pytest.mark.parametrize("checked", ADDED, ids=lambda checked: checked.name)
def test_an_added_stage_stands_as_dvc_writes_it(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", SHOWN, ids=lambda checked: checked.name)
def test_stages_and_graphs_are_shown_as_dvc_shows_them(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", FROZEN, ids=lambda checked: checked.name)
def test_freezing_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)
