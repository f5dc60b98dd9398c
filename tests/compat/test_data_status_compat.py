"""`data status` beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import Beside, Case, append, case, delete, dvc, git, make_folder, rename, tool, write

_JSON = tool("data status --json", stdout="as JSON")
_GRANULAR = tool("data status --json --granular", stdout="as JSON")
_EVERYTHING = tool(
    "data status --json --granular --unchanged --untracked-files all --not-in-remote", stdout="as JSON"
)
_ALL = (_JSON, _GRANULAR, _EVERYTHING)

CASES = (
    case("an empty repository", "empty", *_ALL),
    case("nothing changed", "tracked", *_ALL),
    case("everything pushed", "pushed", *_ALL),
    case("a modified file", "tracked", write("file.txt", "2"), *_ALL),
    case(
        "a folder that changed in every way",
        "tracked",
        write("data/a.txt", "2"),
        write("data/n/new", "n"),
        delete("data/sub/b.txt"),
        *_ALL,
    ),
    case("a renamed member", "tracked", rename("data/a.txt", "data/z.txt"), *_ALL),
    case("a deleted output", "tracked", delete("file.txt", "data"), *_ALL),
    case("added, not committed in Git", "untracked", dvc("add file.txt data"), *_ALL),
    case(
        "changed and added, not committed in Git",
        "tracked",
        write("file.txt", "2"),
        write("data/a.txt", "2"),
        dvc("add file.txt data"),
        *_ALL,
    ),
    case(
        "changed, added, changed",
        "tracked",
        write("data/a.txt", "2"),
        dvc("add data"),
        write("data/a.txt", "3"),
        *_ALL,
    ),
    case("a removed .dvc file", "tracked", delete("file.txt.dvc"), *_ALL),
    case("renamed by move", "tracked", dvc("move file.txt moved.txt"), *_ALL),
    case("a fresh clone", "clone", *(step._replace(cwd="clone") for step in _ALL)),
    case("a cache without the manifest", "tracked", delete(".dvc/cache"), *_ALL),
    case(
        "a cache without the manifest, and changed data",
        "tracked",
        delete(".dvc/cache"),
        write("data/n", "n"),
        *_ALL,
    ),
    case("a cache without a member", "tracked", delete(".dvc/cache/files/md5/60"), *_ALL),
    case("untracked files", "tracked", write("x/y", "x"), write("z", "z"), *_ALL),
    case("a pipeline", "pipeline", write("model", "2"), *_ALL),
    case("a file that became a folder", "tracked", delete("file.txt"), write("file.txt/x", "x"), *_ALL),
    case("2.x data", "legacy", write("table.csv", "x"), *_ALL),
    case(
        "before the first commit",
        "nothing",
        git("init -q"),
        dvc("init"),
        write("f", "f"),
        dvc("add f"),
        *_ALL,
    ),
    case("without Git", "no scm", _JSON, _GRANULAR),
    case("other changes in Git", "tracked", append("readme.md", "more\n"), *_ALL),
    case("staged changes in Git", "tracked", append("readme.md", "more\n"), git("add readme.md"), *_ALL),
)

OPTIONS = (
    case(
        "one target",
        "tracked",
        write("file.txt", "2"),
        write("data/n", "n"),
        tool("data status --json file.txt", stdout="as JSON"),
    ),
    case(
        "a target inside a folder",
        "tracked",
        write("data/a.txt", "2"),
        write("data/n", "n"),
        tool("data status --json --granular data/a.txt", stdout="as JSON"),
    ),
    case(
        "a folder inside a tracked folder",
        "tracked",
        write("data/sub/b.txt", "2"),
        write("data/a.txt", "2"),
        tool("data status --json --granular data/sub", stdout="as JSON"),
    ),
    case("a target that is not tracked", "tracked", tool("data status --json nope", stdout="as JSON")),
    case(
        "a .dvc file as target",
        "tracked",
        write("file.txt", "2"),
        tool("data status --json file.txt.dvc", stdout="as JSON"),
    ),
    case(
        "--untracked-files without a value",
        "tracked",
        write("z", "z"),
        tool("data status --json --untracked-files", stdout="as JSON"),
    ),
    case(
        "--untracked-files no",
        "tracked",
        write("z", "z"),
        tool("data status --json --untracked-files no", stdout="as JSON"),
    ),
    case("--unchanged", "tracked", tool("data status --json --unchanged", stdout="as JSON")),
    case(
        "--not-in-remote", "second not pushed", tool("data status --json --not-in-remote", stdout="as JSON")
    ),
    case(
        "--not-in-remote --granular",
        "second not pushed",
        tool("data status --json --not-in-remote --granular", stdout="as JSON"),
    ),
    case(
        "--not-in-remote --no-remote-refresh",
        "second not pushed",
        tool("data status --json --not-in-remote --no-remote-refresh", stdout="as JSON"),
    ),
    case(
        "--not-in-remote -r",
        "tracked",
        make_folder("other", cwd="."),
        dvc("remote add other ../other"),
        tool("data status --json --not-in-remote -r other", stdout="as JSON"),
    ),
    case(
        "from a folder below",
        "tracked",
        write("data/a.txt", "2"),
        tool("data status --json --granular", cwd="repo/data", stdout="as JSON"),
    ),
    case("-q", "tracked", write("file.txt", "2"), tool("data status -q", stdout="exact")),
    case("no subcommand", "tracked", tool("data", code=254)),
    case("an unknown value", "tracked", tool("data status --untracked-files some", code=254)),
    case("outside any repository", "git only", tool("data status", code=253)),
)


@pytest.mark.parametrize("checked", CASES, ids=lambda checked: checked.name)
def test_data_status_sees_what_dvc_sees(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", OPTIONS, ids=lambda checked: checked.name)
def test_options_of_data_status_do_what_they_do_in_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)
