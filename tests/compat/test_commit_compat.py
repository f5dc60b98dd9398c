"""`commit` beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import Beside, Case, append, case, commit, delete, dvc, make_folder, replace, tool, write

DATA = (
    case("nothing changed", "tracked", tool("commit")),
    case("a changed file, all targets", "tracked", write("file.txt", "two\n"), tool("commit -f")),
    case(
        "a changed file without -f, off a terminal",
        "tracked",
        write("file.txt", "two\n"),
        tool("commit", code=1),
    ),
    case(
        "one target of two changed",
        "tracked",
        write("file.txt", "two\n"),
        write("data/a.txt", "x"),
        tool("commit -f file.txt.dvc"),
    ),
    case("an output's path as target", "tracked", write("data/a.txt", "x"), tool("commit -f data")),
    case(
        "a path inside a tracked folder as target",
        "tracked",
        write("data/a.txt", "x"),
        write("data/n", "n"),
        tool("commit -f data/a.txt"),
        except_for=("repo/.dvc/cache/files/md5/7b",),
        because="R4: DVC names the new file in the manifest and does not store it",
    ),
    case("--force with a new member", "tracked", write("data/sub/n", "n"), tool("commit --force data.dvc")),
    case("a deleted output", "tracked", delete("file.txt"), tool("commit -f", code=1)),
    case("an output that is not in the cache", "tracked", delete(".dvc/cache"), tool("commit -f")),
    case(
        "a .dvc file without hash",
        "tracked",
        write("file.txt.dvc", "outs:\n- path: file.txt\n"),
        tool("commit -f file.txt.dvc"),
    ),
    case("-R", "many", write("raw/a.csv", "2\n"), write("raw/deep/d.csv", "2\n"), tool("commit -f -R raw")),
    case("a folder without -R", "many", write("raw/a.csv", "2\n"), tool("commit -f raw", code=1)),
    case("-d", "many", write("raw/a.csv", "2\n"), tool("commit -f -d raw/a.csv.dvc")),
    case(
        "--no-relink",
        "plain",
        dvc("config cache.type hardlink"),
        write("data/a.txt", "x"),
        tool("commit -f --no-relink"),
    ),
    case(
        "hardlinks", "plain", dvc("config cache.type hardlink"), write("data/a.txt", "x"), tool("commit -f")
    ),
    case(
        "symlinks",
        "plain",
        dvc("config cache.type symlink"),
        write("data/a.txt", "x"),
        tool("commit -f"),
        except_for=("repo/data/empty",),
        because="F59: an empty file is never a link",
    ),
    case("hardlinks, nothing changed", "plain", dvc("config cache.type hardlink"), tool("commit")),
    case(
        "symlinks, nothing changed",
        "plain",
        dvc("config cache.type symlink"),
        tool("commit"),
        except_for=("repo/data/empty",),
        because="F59: an empty file is never a link",
    ),
    case(
        "copies again after hardlinks",
        "plain",
        dvc("config cache.type hardlink"),
        dvc("commit"),
        dvc("config cache.type copy"),
        write("data/a.txt", "x"),
        tool("commit -f"),
    ),
    case(
        "copies again after symlinks, nothing changed",
        "plain",
        dvc("config cache.type symlink"),
        dvc("commit"),
        dvc("config cache.type copy"),
        tool("commit"),
    ),
    case(
        "hardlinks, a path inside a tracked folder",
        "plain",
        dvc("config cache.type hardlink"),
        write("data/sub/b.txt", "x"),
        tool("commit -f data/sub/b.txt"),
    ),
    case(
        "hardlinks, a folder inside a tracked folder",
        "plain",
        dvc("config cache.type hardlink"),
        tool("commit data/sub"),
    ),
    case(
        "core.autostage",
        "tracked",
        dvc("config core.autostage true"),
        write("file.txt", "2\n"),
        tool("commit -f"),
    ),
    case("an unknown target", "tracked", tool("commit nope", code=1)),
    case("-q", "tracked", write("file.txt", "two\n"), tool("commit -q -f", stdout="exact")),
    case("in an empty repository", "empty", tool("commit")),
    case("outside any repository", "git only", tool("commit", code=253)),
    case(
        "a 2.x entry that changed becomes a 3.x one",
        "legacy",
        write("table.csv", "new\r\n"),
        tool("commit -f table.csv.dvc"),
    ),
    case("a 2.x entry that did not change stays", "legacy", tool("commit -f")),
)

PIPELINES = (
    case("nothing changed", "pipeline", tool("commit")),
    case("a changed output", "pipeline", write("model", "by hand\n"), tool("commit -f train")),
    case(
        "a changed output without -f", "pipeline", write("model", "by hand\n"), tool("commit train", code=1)
    ),
    case(
        "a changed dependency without -f",
        "pipeline",
        write("prepared/x", "by hand\n"),
        tool("commit train", code=1),
    ),
    case(
        "a changed param without -f",
        "pipeline",
        replace("params.yaml", "0.5", "0.7"),
        tool("commit train", code=1),
    ),
    case(
        "a changed param with -f", "pipeline", replace("params.yaml", "0.5", "0.7"), tool("commit -f train")
    ),
    case(
        "a changed command with -f",
        "pipeline",
        replace("dvc.yaml", "cp prepared/x", "cp  prepared/x"),
        tool("commit -f train"),
    ),
    case("-d", "pipeline", write("prepared/x", "by hand\n"), tool("commit -f -d train")),
    case("a stage without lock", "pipeline", delete("dvc.lock"), tool("commit -f")),
    case(
        "a dvc.lock with a comment",
        "pipeline",
        append("dvc.lock", "# note\n"),
        write("model", "x"),
        tool("commit -f"),
    ),
    case(
        "after repro --no-commit",
        "pipeline",
        write("params.yaml", "lr: 1\n"),
        dvc("repro --no-commit"),
        commit("x"),
        tool("commit"),
    ),
)

_ALL_KINDS = """\
stages:
  plain: {cmd: cp f g, deps: [f], outs: [g]}
  without-deps: {cmd: echo 1 > nd, outs: [nd]}
  without-outs: {cmd: echo, deps: [f]}
  always: {cmd: cp f al, deps: [f], outs: [al], always_changed: true}
  persist: {cmd: cp f pe, deps: [f], outs: [pe: {persist: true}]}
  uncached: {cmd: cp f nc, deps: [f], outs: [nc: {cache: false}]}
  uncached-metric: {cmd: cp f m.json && cp f mm, deps: [f], outs: [mm], metrics: [m.json: {cache: false}]}
  uncached-plot: {cmd: cp f p.csv, deps: [f], plots: [p.csv: {cache: false}]}
  not-pushed: {cmd: cp f np, deps: [f], outs: [np: {push: false}]}
  params: {cmd: cp f pa, deps: [f], params: [size, n, e, empty], outs: [pa]}
  whole-file: {cmd: cp f wf, deps: [f], params: [params.yaml: ], outs: [wf]}
  only-params: {cmd: echo 1 > op, params: [size], outs: [op]}
  below: {cmd: cp ../f w, wdir: sub, deps: [../f], outs: [w]}
  outside: {cmd: cp ../elsewhere os, deps: [../elsewhere], outs: [os]}
  lines: {cmd: [cp f li, echo x >> li], deps: [f], outs: [li]}
  folder: {cmd: mkdir -p fo && cp f fo/a, deps: [f], outs: [fo]}
  of-a-folder: {cmd: cp fo/a last, deps: [fo], outs: [last]}
"""
_START = (
    write("f", "1\n"),
    write("elsewhere", "2\n", cwd="."),
    make_folder("sub"),
    write("params.yaml", "size: 3\ne: 1e-7\nempty:\nn: {size: 4, nfiles: 5, x: [{size: 1, y: \u00e9}]}\n"),
    write("dvc.yaml", _ALL_KINDS),
    dvc("repro"),
    commit("pipeline"),
)
RUNS = (
    case("everything changed, -f", "empty", *_START, write("f", "22\n"), tool("commit -f")),
    case(
        "outputs changed, -f",
        "empty",
        *_START,
        write("m.json", "3\n"),
        write("nc", "4\n"),
        write("fo/b", "5\n"),
        write("pe", "6\n"),
        tool("commit -f"),
    ),
    case("nothing changed, runs lost, -f", "empty", *_START, delete(".dvc/cache/runs"), tool("commit -f")),
    case("nothing changed, runs lost", "empty", *_START, delete(".dvc/cache/runs"), tool("commit")),
    case("the cache lost", "empty", *_START, delete(".dvc/cache"), tool("commit")),
    case("the cache lost, -f", "empty", *_START, delete(".dvc/cache"), tool("commit -f")),
    case(
        "frozen stages, -f",
        "empty",
        *_START,
        replace("dvc.yaml", "outs: [g]", "outs: [g], frozen: true"),
        write("f", "22\n"),
        tool("commit -f plain"),
    ),
    case(
        "hard links, -f",
        "empty",
        *_START,
        dvc("config cache.type hardlink"),
        write("f", "22\n"),
        write("nc", "4\n"),
        write("g", "7\n"),
        tool("commit -f plain uncached uncached-metric folder"),
    ),
    case(
        "cache.shared, -f",
        "empty",
        *_START,
        delete(".dvc/cache"),
        dvc("config cache.shared group"),
        tool("commit -f plain folder"),
    ),
    case(
        "core.autostage, -f",
        "empty",
        *_START,
        dvc("config core.autostage true"),
        write("f", "22\n"),
        tool("commit -f plain"),
    ),
    case(
        "-f, then DVC finds the run",
        "empty",
        *_START,
        write("f", "22\n"),
        write("g", "by hand\n"),
        tool("commit -f plain"),
        delete("g", "dvc.lock"),
        dvc("repro plain"),
    ),
)


@pytest.mark.parametrize("checked", RUNS, ids=lambda checked: checked.name)
def test_commit_remembers_the_runs_that_dvc_remembers(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", DATA, ids=lambda checked: checked.name)
def test_commit_of_data_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", PIPELINES, ids=lambda checked: checked.name)
def test_commit_of_pipelines_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)
