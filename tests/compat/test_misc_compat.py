"""`init`, `root`, `check-ignore` and the options that every command has, beside the real DVC."""

from __future__ import annotations

import pytest

from .helpers import Beside, Case, append, case, delete, git, make_folder, tool, write

INIT = (
    case("in a Git repository", "git only", tool("init")),
    case("-q", "git only", tool("init -q", stdout="exact")),
    case("without Git", "nothing", tool("init", code=1)),
    case("--no-scm", "nothing", tool("init --no-scm")),
    case("--no-scm in a Git repository", "git only", tool("init --no-scm")),
    case("twice", "empty", tool("init", code=1)),
    case("-f over a repository", "tracked", tool("init -f")),
    case("--subdir", "git only", make_folder("below"), tool("init --subdir", cwd="repo/below")),
    case(
        "below the top without --subdir",
        "git only",
        make_folder("below"),
        tool("init", code=1, cwd="repo/below"),
    ),
    case("--subdir at the top", "git only", tool("init --subdir")),
    case("--subdir without Git", "nothing", tool("init --subdir", code=1)),
    case("--subdir with --no-scm", "git only", tool("init --subdir --no-scm", code=255)),
    case("with a directory", "git only", tool("init --subdir below")),
    case("--no-scm with a directory", "nothing", tool("init --no-scm below")),
    case(
        "inside another repository", "tracked", make_folder("below"), tool("init --subdir", cwd="repo/below")
    ),
    case("with a .dvcignore of one's own", "git only", write(".dvcignore", "*.x\n"), tool("init")),
    case("a fresh Git repository", "nothing", git("init -q"), tool("init")),
)

ROOT = (
    case("at the root", "tracked", tool("root", stdout="exact")),
    case("below", "many", tool("root", stdout="exact", cwd="repo/raw/deep")),
    case("--subdir", "subdir", make_folder("project/x"), tool("root", stdout="exact", cwd="repo/project/x")),
    case("outside any repository", "git only", tool("root", code=253, stdout="exact")),
    case("--cd", "many", tool("--cd raw/deep root", stdout="exact")),
    case("--cd to nowhere", "many", tool("--cd nowhere root", code=255)),
)

_DETAILS = "check-ignore -d"

CHECK_IGNORE = (
    case("a match", "ignoring", tool("check-ignore data/run.log", stdout="exact")),
    case("no match", "ignoring", tool("check-ignore data/a.txt", code=1, stdout="exact")),
    case("a pattern taken back", "ignoring", tool("check-ignore data/keep.log", code=1, stdout="exact")),
    case("several", "ignoring", tool("check-ignore data/run.log data/a.txt data/build/x", stdout="exact")),
    case("-d", "ignoring", tool(f"{_DETAILS} data/run.log data/a.txt data/build/x", stdout="exact")),
    case("-d of a pattern taken back", "ignoring", tool(f"{_DETAILS} data/keep.log", stdout="exact")),
    case("-d -n", "ignoring", tool(f"{_DETAILS} -n data/run.log data/a.txt", stdout="exact")),
    case("-n without -d", "ignoring", tool("check-ignore -n data/run.log", code=255)),
    case("-d -a", "ignoring", tool(f"{_DETAILS} -a data/keep.log", stdout="exact")),
    case("a path that is not there", "ignoring", tool("check-ignore nowhere/x.log", stdout="exact")),
    case("a folder", "ignoring", tool("check-ignore data/build", stdout="exact")),
    case("a folder with a slash", "ignoring", tool(f"{_DETAILS} data/build/", stdout="exact")),
    case("from a folder below", "ignoring", tool(f"{_DETAILS} run.log", stdout="exact", cwd="repo/data")),
    case(
        "a nested file",
        "ignoring",
        write("data/.dvcignore", "a.*\n"),
        tool(f"{_DETAILS} data/a.txt", stdout="exact"),
    ),
    case(
        "a nested file that takes back",
        "ignoring",
        write("data/.dvcignore", "!run.log\n"),
        tool(f"{_DETAILS} data/run.log", stdout="exact"),
    ),
    case(
        "what is always ignored",
        "ignoring",
        tool(f"{_DETAILS} .git/config .dvc/config .hg/x", stdout="exact"),
    ),
    case(
        "comments, blanks and escapes",
        "ignoring",
        append(".dvcignore", "\n# c\n\\#x\n\\!y\n/top\nmid/dle\n**/deep/*.q\n[ab].r\n"),
        tool("check-ignore '#x' '!y' top x/top mid/dle x/mid/dle x/deep/1.q a.r c.r", stdout="exact"),
    ),
    case(
        "no .dvcignore",
        "ignoring",
        delete(".dvcignore"),
        tool("check-ignore data/run.log", code=1, stdout="exact"),
    ),
    case("--stdin with targets", "ignoring", tool("check-ignore --stdin data/run.log", code=255)),
    case("nothing named", "ignoring", tool("check-ignore", code=255)),
    case(
        "--stdin",
        "ignoring",
        tool("check-ignore --stdin", stdin="data/run.log\ndata/a.txt\n", stdout="exact"),
    ),
    case(
        "--stdin -d -n",
        "ignoring",
        tool("check-ignore --stdin -d -n", stdin="data/run.log\ndata/a.txt\n", stdout="exact"),
    ),
    case("outside the repository", "ignoring", tool("check-ignore ../x.log", code=1)),
    case("outside any repository", "git only", tool("check-ignore x", code=253)),
)

GENERAL = (
    case("no command", "empty", tool("", code=254)),
    case("an unknown command", "empty", tool("nope", code=254)),
    case("an unknown option of no command", "empty", tool("--nope", code=254)),
    case("--help", "empty", tool("--help")),
    case("--help of a command", "empty", tool("add --help")),
    case("--cd before a command's work", "tracked", tool("--cd data status --json", stdout="as JSON")),
    case(
        "an unknown config section",
        "tracked",
        append(".dvc/config", "[nope]\n    x = 1\n"),
        tool("status", code=251),
    ),
    case(
        "a config that cannot be read", "tracked", append(".dvc/config", "[core\n"), tool("status", code=251)
    ),
)


@pytest.mark.parametrize("checked", INIT, ids=lambda checked: checked.name)
def test_init_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", ROOT, ids=lambda checked: checked.name)
def test_root_prints_what_dvc_prints(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", CHECK_IGNORE, ids=lambda checked: checked.name)
def test_check_ignore_prints_what_dvc_prints(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", GENERAL, ids=lambda checked: checked.name)
def test_what_all_commands_share_is_as_in_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)
