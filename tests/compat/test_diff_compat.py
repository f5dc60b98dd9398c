"""`diff` beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import (
    Beside,
    Case,
    absolute_remote,
    append,
    case,
    commit,
    delete,
    dvc,
    git,
    make_folder,
    rename,
    tool,
    write,
)


def _compared(arguments: str, *, cwd: str = "repo") -> tuple[object, ...]:
    return (
        tool(f"diff {arguments} --json", stdout="as JSON", cwd=cwd),
        tool(f"diff {arguments} --json --show-hash", stdout="as JSON", cwd=cwd),
    )


def _seen(name: str, start: str, *steps: object, arguments: str = "", cwd: str = "repo") -> Case:
    return case(name, start, *steps, *_compared(arguments, cwd=cwd))  # type: ignore[arg-type]


STATES = (
    _seen("nothing changed", "tracked"),
    _seen("an empty repository", "empty"),
    _seen("a modified file", "tracked", write("file.txt", "2")),
    _seen(
        "a folder that changed in every way",
        "tracked",
        write("data/a.txt", "2"),
        write("data/n/new", "n"),
        delete("data/sub/b.txt"),
    ),
    _seen("a renamed member", "tracked", rename("data/a.txt", "data/z.txt")),
    _seen("a renamed folder inside", "tracked", rename("data/sub", "data/below")),
    _seen("a renamed output", "tracked", dvc("move data renamed")),
    _seen("a deleted output", "tracked", delete("file.txt", "data")),
    _seen("a new output", "tracked", write("n.txt", "n"), dvc("add n.txt")),
    _seen("a removed output", "tracked", dvc("remove file.txt.dvc")),
    _seen("a file that became a folder", "tracked", delete("file.txt"), write("file.txt/x", "x")),
    _seen("a folder that became a file", "tracked", delete("data"), write("data", "x")),
    _seen(
        "members that changed their kind",
        "tracked",
        delete("data/a.txt", "data/sub"),
        write("data/a.txt/x", "x"),
        write("data/sub", "s"),
    ),
    _seen("the cache lost", "tracked", delete(".dvc/cache")),
    _seen("the cache and the data lost", "tracked", delete(".dvc/cache", "data")),
    _seen(
        "a metafile without hash",
        "tracked",
        write("file.txt.dvc", "outs:\n- path: file.txt\n"),
        write("data.dvc", "outs:\n- path: data\n"),
    ),
    _seen(
        "a committed metafile without hash",
        "tracked",
        write("file.txt.dvc", "outs:\n- path: file.txt\n"),
        write("data.dvc", "outs:\n- path: data\n"),
        commit("without hash"),
        delete("file.txt"),
    ),
    _seen(
        "data that is not cached",
        "tracked",
        append("data.dvc", "  cache: false\n"),
        commit("not cached"),
        write("data/n", "n"),
    ),
    _seen(
        "data from an address that was not downloaded",
        "storage",
        write("other/q", "q", cwd="."),
        dvc("import-url --no-download ../other/q q"),
        commit("import"),
    ),
    _seen("a pipeline's output", "pipeline", write("model", "2")),
    _seen("2.x data", "legacy", write("table.csv", "x"), write("data/n", "n")),
)

REVISIONS = (
    _seen("two tags", "two versions", arguments="v1 v2"),
    _seen("two tags turned around", "two versions", arguments="v2 v1"),
    _seen("one revision and the workspace", "two versions", arguments="HEAD~1"),
    _seen("a branch", "two versions", arguments="old main"),
    _seen("a revision before the repository", "two versions", arguments="HEAD~4 HEAD"),
    _seen("a clone without data", "clone", arguments="v1 v2", cwd="clone"),
    _seen(
        "manifests on the remote alone",
        "two versions",
        absolute_remote(),
        delete(".dvc/cache"),
        arguments="v1 v2",
    ),
    _seen(
        "manifests on the remote alone, and the workspace",
        "two versions",
        absolute_remote(),
        delete(".dvc/cache"),
        arguments="v1",
    ),
    case(
        "a clone, --hide-missing", "clone", tool("diff --hide-missing --json", stdout="as JSON", cwd="clone")
    ),
    case(
        "the cache lost, --hide-missing",
        "two versions",
        delete(".dvc/cache"),
        tool("diff v1 v2 --hide-missing --json", stdout="as JSON"),
    ),
    case(
        "--targets with an output", "two versions", tool("diff v1 v2 --json --targets data", stdout="as JSON")
    ),
    case(
        "--targets with a member",
        "two versions",
        tool("diff v1 v2 --json --targets data/a.txt", stdout="as JSON"),
    ),
    case(
        "--targets with two",
        "two versions",
        tool("diff v1 v2 --json --targets data/a.txt file.txt", stdout="as JSON"),
    ),
    case(
        "--targets with a folder inside",
        "two versions",
        tool("diff v1 v2 --json --targets data/sub", stdout="as JSON"),
    ),
    case(
        "--targets with an unknown path", "two versions", tool("diff v1 v2 --json --targets nope", code=255)
    ),
    case(
        "--targets of every kind",
        "two versions",
        *(
            tool(f"diff v1 v2 --json --targets {targets}", stdout="as JSON")
            for targets in ("data/new.txt", "data/sub/c.txt", "data/", "data.dvc", "exec.sh", "data/nope")
        ),
        tool("diff v1 --json --targets a.txt ../file.txt", cwd="repo/data", stdout="as JSON"),
        tool("diff v1 v2 --targets readme.md", code=255),
        tool("diff v1 v2 --targets data nope", code=255),
        tool("diff v1 v2 --targets ..", code=255),
    ),
    case(
        "--targets of what the cache lost",
        "two versions",
        delete(".dvc/cache"),
        tool("diff --json --targets data/a.txt", stdout="as JSON"),
        tool("diff v1 v2 --json --targets data", stdout="as JSON"),
    ),
    case(
        "without any commit",
        "nothing",
        git("init -q"),
        dvc("init"),
        write("f", "f"),
        dvc("add f"),
        *_compared(""),
        *_compared("HEAD HEAD"),
        tool("diff --md", stdout="exact"),
        tool("diff nope --targets nope"),
    ),
    case("--md of nothing", "two versions", tool("diff --md", stdout="exact"), tool("diff --md --show-hash")),
    case(
        "a damaged metafile",
        "two versions",
        write("file.txt.dvc", "outs: [\n"),
        tool("diff --json", code=1),
        tool("diff v1 v2 --json", stdout="as JSON"),
        commit("damaged"),
        git("checkout -q v1 -- file.txt.dvc"),
        tool("diff --json", code=1),
        tool("diff v1 --json", stdout="as JSON"),
        tool("diff v1 HEAD", code=1),
    ),
    case(
        "an empty metafile in a revision",
        "two versions",
        write("file.txt.dvc", ""),
        commit("emptied"),
        tool("diff v1 HEAD --json", stdout="as JSON"),
    ),
    case("--md", "two versions", tool("diff v1 v2 --md", stdout="exact")),
    case("--md --show-hash", "two versions", tool("diff v1 v2 --md --show-hash", stdout="exact")),
    case("--md --hide-missing", "two versions", tool("diff v1 v2 --md --hide-missing", stdout="exact")),
    case("text", "two versions", tool("diff v1 v2", stdout="exact")),
    case("text --show-hash", "two versions", tool("diff v1 v2 --show-hash", stdout="exact")),
    case("text when nothing changed", "two versions", tool("diff", stdout="exact")),
    case(
        "from a folder below",
        "two versions",
        make_folder("deep"),
        tool("diff v1 v2 --json", cwd="repo/deep", stdout="as JSON"),
    ),
    case("an unknown revision", "two versions", tool("diff nope", code=1)),
    case("three revisions", "two versions", tool("diff v1 v2 main", code=254)),
    case("-q", "two versions", tool("diff -q v1 v2", stdout="exact")),
    case("without Git", "no scm", tool("diff", code=1)),
    case("outside any repository", "git only", tool("diff", code=253)),
    _seen(
        "two commits apart",
        "two versions",
        write("file.txt", "3\n"),
        dvc("add file.txt"),
        commit("third"),
        arguments="HEAD~2 HEAD",
    ),
)


@pytest.mark.parametrize("checked", STATES, ids=lambda checked: checked.name)
def test_diff_with_the_workspace_finds_what_dvc_finds(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", REVISIONS, ids=lambda checked: checked.name)
def test_diff_of_revisions_finds_what_dvc_finds(checked: Case, beside: Beside) -> None:
    beside.check(checked)
