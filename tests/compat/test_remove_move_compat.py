"""`remove`, `move`, `unprotect` beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import Beside, Case, append, case, commit, delete, dvc, git, make_folder, tool, write

REMOVE = (
    case("a .dvc file", "tracked", tool("remove file.txt.dvc")),
    case("several", "tracked", tool("remove file.txt.dvc data.dvc exec.sh.dvc")),
    case("an output's path", "tracked", tool("remove file.txt", code=1)),
    case("--outs", "tracked", tool("remove --outs data.dvc file.txt.dvc")),
    case("--outs without the data", "tracked", delete("file.txt"), tool("remove --outs file.txt.dvc")),
    case("the alias rm", "tracked", tool("rm data.dvc")),
    case(
        "a .gitignore with other lines",
        "tracked",
        append(".gitignore", "*.pyc\n"),
        tool("remove file.txt.dvc data.dvc exec.sh.dvc"),
    ),
    case("one of several in a folder", "many", tool("remove raw/a.csv.dvc")),
    case("the last one in a folder", "many", tool("remove raw/deep/d.csv.dvc")),
    case("from a folder below", "many", tool("remove d.csv.dvc", cwd="repo/raw/deep")),
    case("core.autostage", "tracked", dvc("config core.autostage true"), tool("remove file.txt.dvc")),
    case(
        "hardlinks",
        "plain",
        dvc("config cache.type hardlink"),
        dvc("checkout --relink"),
        tool("remove data.dvc"),
    ),
    case(
        "symlinks",
        "plain",
        dvc("config cache.type symlink"),
        dvc("checkout --relink"),
        tool("remove data.dvc file.txt.dvc"),
    ),
    case("a stage", "pipeline", tool("remove train")),
    case("a stage with --outs", "pipeline", tool("remove --outs train")),
    case("every stage", "pipeline", tool("remove train prepare")),
    case("-q", "tracked", tool("remove -q data.dvc", stdout="exact")),
    case("without Git", "no scm", tool("remove data.dvc")),
    case("2.x data", "legacy", tool("remove data.dvc")),
    case("an unknown target", "tracked", tool("remove nope", code=1)),
    case("an unknown .dvc file", "tracked", tool("remove nope.dvc", code=1)),
    case("one known and one unknown", "tracked", tool("remove file.txt.dvc nope.dvc", code=1)),
    case("nothing named", "tracked", tool("remove", code=254)),
    case("outside any repository", "git only", tool("remove x.dvc", code=253)),
    case("added again afterwards", "tracked", tool("remove data.dvc"), tool("add data")),
)

MOVE = (
    case("a file", "tracked", tool("move file.txt moved.txt")),
    case("a folder", "tracked", tool("move data moved")),
    case("into an existing folder", "tracked", make_folder("place"), tool("move file.txt place")),
    case(
        "into an existing folder with a slash", "tracked", make_folder("place"), tool("move file.txt place/")
    ),
    case(
        "to another folder under another name",
        "tracked",
        make_folder("place"),
        tool("move file.txt place/other.txt"),
    ),
    case("a folder into a folder", "tracked", make_folder("place"), tool("move data place")),
    case("from a folder below", "many", tool("move d.csv ../e.csv", cwd="repo/raw/deep")),
    case("within a folder", "many", tool("move raw/a.csv raw/z.csv")),
    case("the alias mv", "tracked", tool("mv file.txt moved.txt")),
    case(
        "comments stay",
        "tracked",
        append("file.txt.dvc", "# mine\nmeta:\n  x: 1\n"),
        tool("move file.txt moved.txt"),
        except_for=("repo/moved.txt.dvc",),
        because="a rewrite keeps comments; here DVC drops them",
    ),
    case("notes stay", "tracked", append("file.txt.dvc", "meta:\n  x: 1\n"), tool("move file.txt moved.txt")),
    case("core.autostage", "tracked", dvc("config core.autostage true"), tool("move file.txt moved.txt")),
    case(
        "hardlinks",
        "plain",
        dvc("config cache.type hardlink"),
        dvc("checkout --relink"),
        tool("move data moved"),
    ),
    case(
        "symlinks",
        "plain",
        dvc("config cache.type symlink"),
        dvc("checkout --relink"),
        tool("move file.txt moved.txt"),
    ),
    case("changed data", "tracked", write("file.txt", "2\n"), tool("move file.txt moved.txt")),
    case("then status", "tracked", tool("move data moved"), tool("status --json", stdout="as JSON")),
    case("a .dvc file's name", "tracked", tool("move file.txt.dvc moved.dvc", code=1)),
    case("to a path that exists", "tracked", tool("move file.txt exec.sh", code=1)),
    case("a path inside a tracked folder", "tracked", tool("move data/a.txt moved.txt", code=1)),
    case("a pipeline's output", "pipeline", tool("move model moved", code=1)),
    case("what is not tracked", "tracked", write("n", "n"), tool("move n m", code=1)),
    case("what is not there", "tracked", tool("move nope m", code=1)),
    case("to a folder that is not there", "tracked", tool("move file.txt nowhere/file.txt", code=1)),
    case("one argument", "tracked", tool("move file.txt", code=254)),
    case("outside any repository", "git only", tool("move a b", code=253)),
)

UNPROTECT = (
    *(
        case(
            f"cache.type {kind}",
            "plain",
            dvc(f"config cache.type {kind}"),
            dvc("checkout --relink"),
            tool(f"unprotect {target}"),
        )
        for kind in ("hardlink", "symlink", "copy")
        for target in ("file.txt", "data")
    ),
    case(
        "a path inside",
        "plain",
        dvc("config cache.type hardlink"),
        dvc("checkout --relink"),
        tool("unprotect data/sub/b.txt"),
    ),
    case(
        "two targets",
        "plain",
        dvc("config cache.type hardlink"),
        dvc("checkout --relink"),
        tool("unprotect data file.txt"),
    ),
    case(
        "then status",
        "plain",
        dvc("config cache.type hardlink"),
        dvc("checkout --relink"),
        tool("unprotect data"),
        tool("status --json", stdout="as JSON"),
    ),
    case("a path that is not there", "tracked", tool("unprotect nope", code=255)),
    case("a path that is not tracked", "tracked", tool("unprotect readme.md")),
    case("nothing named", "tracked", tool("unprotect", code=254)),
    case("outside any repository", "git only", tool("unprotect readme.md", code=253)),
)

DESTROY = (
    case("-f", "tracked", tool("destroy -f")),
    case("off a terminal, without -f", "tracked", tool("destroy", code=1)),
    case("a pipeline", "pipeline", tool("destroy -f")),
    case(
        "hardlinks",
        "plain",
        dvc("config cache.type hardlink"),
        dvc("checkout --relink"),
        tool("destroy -f"),
    ),
    case("symlinks", "plain", dvc("config cache.type symlink"), dvc("checkout --relink"), tool("destroy -f")),
    case("several folders", "many", tool("destroy -f")),
    case("without Git", "no scm", tool("destroy -f")),
    case("then init", "tracked", tool("destroy -f"), commit("gone"), tool("init -q"), git("status --short")),
    case("outside any repository", "git only", tool("destroy -f", code=253)),
)


@pytest.mark.parametrize("checked", REMOVE, ids=lambda checked: checked.name)
def test_remove_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", MOVE, ids=lambda checked: checked.name)
def test_move_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", UNPROTECT, ids=lambda checked: checked.name)
def test_unprotect_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", DESTROY, ids=lambda checked: checked.name)
def test_destroy_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)
