"""`list` and `du` of the repository itself beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import Beside, Case, case, delete, dvc, make_folder, tool, write

_EXACT = "exact"
_AS_JSON = "as JSON"

LIST = (
    case("the root", "tracked", tool("list .", stdout=_EXACT)),
    case("the alias ls", "tracked", tool("ls .", stdout=_EXACT)),
    case("a tracked folder", "tracked", tool("list . data", stdout=_EXACT)),
    case("a folder inside a tracked folder", "tracked", tool("list . data/sub", stdout=_EXACT)),
    case("a member", "tracked", tool("list . data/a.txt", stdout=_EXACT)),
    case("a file of Git", "tracked", tool("list . readme.md", stdout=_EXACT)),
    case("-R", "tracked", tool("list -R .", stdout=_EXACT)),
    case("-R of a folder", "tracked", tool("list -R . data", stdout=_EXACT)),
    case("--dvc-only", "tracked", tool("list --dvc-only .", stdout=_EXACT)),
    case("--dvc-only -R", "many", tool("list --dvc-only -R .", stdout=_EXACT)),
    case("--tree", "tracked", tool("list --tree .", stdout=_EXACT)),
    case("--tree --level 2", "many", tool("list --tree --level 2 .", stdout=_EXACT)),
    case("-R -L 2", "many", tool("list -R -L 2 .", stdout=_EXACT)),
    case("--tree --dvc-only", "many", tool("list --tree --dvc-only .", stdout=_EXACT)),
    case("--tree of a folder", "tracked", tool("list --tree . data", stdout=_EXACT)),
    case("--size", "tracked", tool("list --size .", stdout="as lines")),
    case("--size of a folder", "tracked", tool("list --size . data", stdout=_EXACT)),
    case("--show-hash", "tracked", tool("list --show-hash .", stdout=_EXACT)),
    case("--show-hash -R", "tracked", tool("list --show-hash -R .", stdout=_EXACT)),
    case("--json", "tracked", tool("list --json .", stdout=_AS_JSON)),
    case("--json of a folder", "tracked", tool("list --json . data", stdout=_AS_JSON)),
    case("--json -R", "tracked", tool("list --json -R .", stdout=_AS_JSON)),
    case("--json of a clone", "clone", tool("list --json . data", stdout=_AS_JSON, cwd="clone")),
    case("--json --dvc-only", "tracked", tool("list --json --dvc-only .", stdout=_AS_JSON)),
    case("--rev", "two versions", tool("list --rev v1 -R . data", stdout=_EXACT)),
    case("--rev of a branch", "two versions", tool("list --rev old --json -R .", stdout=_AS_JSON)),
    case("--rev HEAD", "two versions", write("new", "n"), tool("list --rev HEAD .", stdout=_EXACT)),
    case(
        "data and cache lost, remote there",
        "pushed",
        delete("data", ".dvc/cache"),
        tool("list -R . data", stdout=_EXACT),
    ),
    case(
        "--remote",
        "pushed",
        make_folder("other", cwd="."),
        dvc("remote add other ../other"),
        dvc("push -r other"),
        delete("data", ".dvc/cache", "../remote/files"),
        tool("list --remote other -R . data", stdout=_EXACT),
    ),
    case(
        "--remote-config",
        "pushed",
        delete("data", ".dvc/cache"),
        tool("list --remote storage --remote-config jobs=2 -- . data", stdout=_EXACT),
    ),
    case("another repository by its path", "clone", tool("list ../repo -R", cwd="clone", stdout=_EXACT)),
    case("from a folder below", "many", tool("list ../.. raw", code=1, cwd="repo/raw/deep")),
    case("a pipeline", "pipeline", tool("list --json -R .", stdout=_AS_JSON)),
    case("ignored and untracked files", "ignoring", dvc("add data"), tool("list -R .", stdout=_EXACT)),
    case("2.x data", "legacy", tool("list --json -R .", stdout=_AS_JSON)),
    case("a Git repository without data", "git only", tool("list .", stdout=_EXACT)),
    case("an unknown path", "tracked", tool("list . nope", code=1)),
    case("an unknown revision", "tracked", tool("list --rev nope .", code=1)),
    case("an unknown repository", "tracked", tool("list ../nope", code=1)),
    case("no repository named", "tracked", tool("list", code=254)),
)

DU = (
    case("the root", "tracked", tool("du . ", stdout="as lines")),
    case("a tracked folder", "tracked", tool("du . data", stdout="as lines")),
    case("a member", "tracked", tool("du . data/a.txt", stdout=_EXACT)),
    case("-s", "tracked", tool("du -s . data", stdout=_EXACT)),
    case(
        "--rev", "two versions", tool("du --rev v1 . data")
    ),  # DVC knows no sizes of members there and prints 0
    case("--rev of a file", "two versions", tool("du --rev v1 . file.txt", stdout=_EXACT)),
    case("a fresh clone", "clone", tool("du . data", cwd="clone", stdout="as lines")),
    case(
        "larger than a kilobyte",
        "storage",
        write("big.bin", "x" * 5000),
        write("d/b.bin", "x" * 70_000),
        dvc("add big.bin d"),
        tool("du .", stdout="as lines"),
    ),
    case(
        "--remote",
        "pushed",
        delete("data", ".dvc/cache"),
        tool("du --remote storage . data", stdout="as lines"),
    ),
    case("an unknown path", "tracked", tool("du . nope", code=255)),
    case("no repository named", "tracked", tool("du", code=254)),
)


@pytest.mark.parametrize("checked", LIST, ids=lambda checked: checked.name)
def test_list_prints_what_dvc_prints(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", DU, ids=lambda checked: checked.name)
def test_du_prints_what_dvc_prints(checked: Case, beside: Beside) -> None:
    beside.check(checked)
