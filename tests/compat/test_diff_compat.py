"""`diff` beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import Beside, Case, case, commit, delete, dvc, make_folder, rename, tool, write


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
    _seen("the cache lost", "tracked", delete(".dvc/cache")),
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
