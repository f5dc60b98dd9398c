"""`commit` beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import Beside, Case, append, case, commit, delete, dvc, replace, tool, write

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
    case("symlinks", "plain", dvc("config cache.type symlink"), write("data/a.txt", "x"), tool("commit -f")),
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


@pytest.mark.parametrize("checked", DATA, ids=lambda checked: checked.name)
def test_commit_of_data_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", PIPELINES, ids=lambda checked: checked.name)
def test_commit_of_pipelines_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)
