"""`add` beside the real DVC: every option, what is refused, and what is kept."""

from __future__ import annotations

import pytest

from .helpers import (
    Beside,
    Case,
    append,
    case,
    chmod,
    commit,
    delete,
    dvc,
    forget_stat_caches,
    git,
    make_folder,
    rename,
    replace,
    symlink,
    tool,
    write,
)

_NAMES = ("plain", "with space", "a'quote", 'a"double', "star*", "que?ry", "[set]", "#hash", "!bang", "-dash")
_MEMBERS = (
    "a b",
    "a-b",
    "a.b",
    "a/b",
    "a0",
    'q"x',
    "t\tab",
    "é",
    "～",
    "𝒳",
    "#h",
    "yes",
    "1e5",
    "back\\slash",
)

BASIC = (
    case("one file", "untracked", tool("add file.txt")),
    case("one folder", "untracked", tool("add data")),
    case("a folder named with a slash at its end", "untracked", tool("add data/")),
    case("an executable file", "untracked", tool("add exec.sh")),
    case("an empty file", "untracked", write("nothing", ""), tool("add nothing")),
    case("an empty folder", "untracked", make_folder("void"), tool("add void")),
    case("a folder of empty folders", "untracked", make_folder("void/inner"), tool("add void")),
    case("several targets", "untracked", tool("add file.txt exec.sh data")),
    case("a file in a folder below", "untracked", tool("add data/sub/b.txt")),
    case("from a folder below", "untracked", tool("add b.txt", cwd="repo/data/sub")),
    case("a path through the folder above", "untracked", tool("add ../../file.txt", cwd="repo/data/sub")),
    case("--quiet", "untracked", tool("add -q file.txt", stdout="exact")),
    case("the same file named twice", "untracked", tool("add file.txt file.txt")),
    case("--glob", "many", write("raw/e.csv", "e\n"), tool("add --glob 'raw/*.csv'")),
    case(
        "--glob with two stars",
        "untracked",
        write("x/1.bin", "1"),
        write("x/y/2.bin", "2"),
        tool("add --glob 'x/**/*.bin'"),
    ),
    case("--no-commit leaves the cache alone", "untracked", tool("add --no-commit file.txt data")),
    case("--no-commit, then commit", "untracked", tool("add --no-commit data"), tool("commit data.dvc")),
    case("--no-relink", "untracked", tool("add --no-relink data")),
    case("--force on what is not tracked", "untracked", tool("add -f file.txt")),
    case(
        "-o copies a file from outside",
        "untracked",
        write("given.bin", "given\n", cwd="."),
        tool("add ../given.bin -o mine.bin"),
    ),
    case("-o copies a folder", "untracked", write("given/x", "x\n", cwd="."), tool("add ../given -o mine")),
    case("-o to a folder below", "untracked", tool("add file.txt -o data/copy.txt")),
    case(
        "-o to a path that exists",
        "untracked",
        write("given.bin", "given\n", cwd="."),
        tool("add ../given.bin -o file.txt", code=1),
    ),
    case(
        "-o --force to a path that exists",
        "untracked",
        write("given.bin", "given\n", cwd="."),
        tool("add -f ../given.bin -o file.txt"),
    ),
    case("--to-remote of a file", "untracked", tool("add file.txt -o far.txt --to-remote")),
    case("--to-remote of a folder", "untracked", tool("add data -o far --to-remote --remote-jobs 2")),
    case("--to-remote in place", "untracked", tool("add data --to-remote")),
    case(
        "--to-remote from outside",
        "untracked",
        write("given/x", "x\n", cwd="."),
        tool("add ../given --to-remote"),
    ),
    case(
        "--to-remote -r",
        "untracked",
        make_folder("other", cwd="."),
        dvc("remote add other ../other"),
        tool("add file.txt -o far.txt --to-remote -r other"),
    ),
    case("pulled after --to-remote", "untracked", tool("add data -o far --to-remote"), tool("pull far.dvc")),
    case("core.autostage", "untracked", dvc("config core.autostage true"), tool("add file.txt data")),
    case("core.autostage with --quiet", "untracked", dvc("config core.autostage true"), tool("add -q data")),
    case("without Git", "no scm", write("b.txt", "b\n"), tool("add b.txt")),
    case("below the top of the Git repository", "subdir", tool("add file.txt", cwd="repo/project")),
    case("a symlink to a file inside", "untracked", symlink("file.txt", "link"), tool("add link")),
    case(
        "a folder with a symlink to a file",
        "untracked",
        symlink("../file.txt", "data/link"),
        tool("add data"),
    ),
    case(
        "a folder with a symlink to a folder",
        "untracked",
        make_folder("t"),
        write("t/x", "x"),
        symlink("../t", "data/link"),
        tool("add data"),
    ),
    case(
        "a folder with a symlink to a folder, then status and commit",
        "untracked",
        make_folder("t"),
        write("t/x", "x"),
        symlink("../t", "data/link"),
        tool("add data"),
        tool("status --json", stdout="as JSON"),
        tool("data status --json", stdout="as JSON"),
        write("data/a.txt", "changed\n"),
        tool("commit -f"),
    ),
    case(
        "a member that became a symlink to a folder",
        "tracked",
        make_folder("t"),
        delete("data/a.txt"),
        symlink("../t", "data/a.txt"),
        tool("status --json", stdout="as JSON"),
        tool("add data"),
    ),
    case(
        "a file of 3 MiB with CRLF", "untracked", write("big.txt", "line\r\n" * 500_000), tool("add big.txt")
    ),
)

NAMES = (
    *(
        case(f"a file named {name!r}", "storage", write(name, name), tool(f"add -- {_quoted}"))
        for name, _quoted in ((name, "'" + name.replace("'", "'\"'\"'") + "'") for name in _NAMES)
    ),
    case(
        "a folder of names that sort and escape badly",
        "storage",
        *(write(f"data/{name}", "1\n") for name in _MEMBERS if name != "a/b"),
        write("data/a/b", "1\n"),
        tool("add data"),
    ),
    case("a name that YAML would take for a number", "storage", write("1e5", "x"), tool("add 1e5")),
    case("a name that YAML would take for a boolean", "storage", write("yes", "x"), tool("add yes")),
    case("a name with a colon", "storage", write("a: b", "x"), tool("add 'a: b'")),
    case("a name of another alphabet", "storage", write("данные é", "x"), tool("add 'данные é'")),
    case("a long name", "storage", write("long name " * 20 + "x", "x"), tool(f"add '{'long name ' * 20}x'")),
)

AGAIN = (
    case("unchanged", "tracked", tool("add file.txt data")),
    case("unchanged, stat caches lost", "tracked", forget_stat_caches(), tool("add data")),
    case("touched", "tracked", write("data/a.txt", "a\n"), tool("add data")),
    case("a changed file", "tracked", write("file.txt", "two\n"), tool("add file.txt")),
    case(
        "a changed folder",
        "tracked",
        write("data/a.txt", "changed\n"),
        write("data/n/new.txt", "new\n"),
        delete("data/sub/b.txt"),
        tool("add data"),
    ),
    case("a file that became executable", "tracked", chmod("file.txt", 0o755), tool("add file.txt")),
    case(
        "a file that became a folder",
        "tracked",
        delete("file.txt"),
        write("file.txt/x", "x"),
        tool("add file.txt"),
    ),
    case("a folder that became a file", "tracked", delete("data"), write("data", "x"), tool("add data")),
    case("by its .dvc file's name", "tracked", write("file.txt", "two\n"), tool("add file.txt.dvc", code=1)),
    case(
        "a new path inside a tracked folder",
        "tracked",
        write("data/new.txt", "n\n"),
        tool("add data/new.txt"),
    ),
    case(
        "a changed path inside a tracked folder",
        "tracked",
        write("data/a.txt", "2\n"),
        tool("add data/a.txt"),
    ),
    case(
        "only the named path inside a tracked folder",
        "tracked",
        write("data/a.txt", "2\n"),
        write("data/new.txt", "n\n"),
        tool("add data/a.txt"),
        tool("status --json", stdout="as JSON"),
    ),
    case("a folder inside a tracked folder", "tracked", write("data/sub/d.txt", "d\n"), tool("add data/sub")),
    case("a deleted path inside a tracked folder", "tracked", delete("data/a.txt"), tool("add data/a.txt")),
    case("a deleted folder inside a tracked folder", "tracked", delete("data/sub"), tool("add data/sub")),
    case(
        "a path inside a tracked folder whose manifest is lost",
        "tracked",
        delete(".dvc/cache"),
        write("data/new.txt", "n\n"),
        tool("add data/new.txt", code=1),
    ),
    case(
        "comments and notes in the .dvc file stay",
        "tracked",
        write(
            "file.txt.dvc",
            "# owner: ada\nouts:\n- md5: 5bbf5a52328e7439ae6e719dfe712200 # old\n  size: 4\n  hash: md5\n"
            "  path: file.txt\n  desc: raw sample\n  type: dataset\n  labels:\n  - raw\n  meta:\n    x: 010\n"
            "meta:\n  y: 'yes'\n  z: yes\ndesc: a file\n",
        ),
        write("file.txt", "two\n"),
        tool("add file.txt"),
    ),
    case(
        "flow style in the .dvc file",
        "tracked",
        write(
            "file.txt.dvc",
            "outs: [{md5: 5bbf5a52328e7439ae6e719dfe712200, size: 4, hash: md5, path: file.txt}]\n",
        ),
        write("file.txt", "two\n"),
        tool("add file.txt"),
    ),
    case(
        "cache: false, push: false, remote: stay",
        "tracked",
        append("file.txt.dvc", "  remote: storage\n  push: false\n"),
        write("file.txt", "two\n"),
        tool("add file.txt"),
    ),
    case("a .gitignore with other lines", "untracked", write(".gitignore", "*.pyc"), tool("add file.txt")),
    case(
        "a file that .gitignore already covers",
        "untracked",
        write(".gitignore", "*.txt\n"),
        tool("add file.txt"),
    ),
    case(
        "objects that are in the cache already", "tracked", write("same.txt", "one\n"), tool("add same.txt")
    ),
    case("a file renamed by hand", "tracked", rename("file.txt", "moved.txt"), tool("add moved.txt")),
)

LINKS = tuple(
    case(
        f"cache.type {kind}: {name}",
        start,
        dvc(f"config cache.type {kind}"),
        *steps,
        except_for=("repo/data/empty",) if kind == "symlink" else (),
        because="F59: an empty file is never a link" if kind == "symlink" else "",
    )
    for kind in ("hardlink", "symlink", "copy", "reflink,copy", "hardlink,symlink", "reflink,hardlink,copy")
    for name, start, steps in (
        ("first add", "untracked", (tool("add file.txt data"),)),
        ("add again", "untracked", (tool("add data"), tool("add data"))),
        (
            "add after an edit",
            "untracked",
            (tool("add data"), write("data/a.txt", "changed\n"), tool("add data")),
        ),
        ("--no-relink", "untracked", (tool("add --no-relink data"),)),
    )
)
_WAS_AND_IS = (
    ("copy", "hardlink"),
    ("copy", "hardlink,copy"),
    ("copy", "symlink,copy"),
    ("copy", "reflink,hardlink,copy"),
    ("copy", "reflink,symlink"),
    ("copy", "hardlink,symlink"),
    ("hardlink", "copy"),
    ("hardlink", "reflink,copy"),
    ("hardlink", "reflink,hardlink,copy"),
    ("hardlink", "copy,hardlink"),
    ("hardlink", "symlink,hardlink"),
    ("hardlink", "reflink,symlink"),
    ("symlink", "hardlink"),
    ("symlink", "copy"),
    ("symlink", "reflink,hardlink,copy"),
    ("symlink", "hardlink,symlink"),
    ("symlink", "copy,symlink"),
)
RELINKED = (
    *(
        case(
            f"cache.type {before}, then {after}: {name}",
            "storage",
            *(write(f"data/{member}", member) for member in ("a", "b", "sub/c")),
            write("file.txt", "one\n"),
            dvc(f"config cache.type {before}"),
            dvc("add data file.txt"),
            dvc(f"config cache.type {after}"),
            *steps,
        )
        for before, after in _WAS_AND_IS
        for name, steps in (
            ("unchanged", (tool("add data file.txt"),)),
            (
                "changed and new files",
                (
                    write("data/a", "x"),
                    write("data/n", "n"),
                    write("file.txt", "2"),
                    tool("add data file.txt"),
                ),
            ),
        )
    ),
    case(
        "cache.type copy, then hardlink: a path inside a tracked folder",
        "plain",
        dvc("config cache.type hardlink"),
        tool("add data/sub/b.txt"),
    ),
    case(
        "cache.type copy, then hardlink: --no-relink",
        "plain",
        dvc("config cache.type hardlink"),
        tool("add --no-relink data file.txt"),
    ),
)

REFUSED = (
    case("nothing named", "untracked", tool("add", code=254)),
    case("a path that is not there", "untracked", tool("add absent", code=1)),
    case("one of two is not there", "untracked", tool("add file.txt absent", code=1)),
    case("the first of two is not there", "untracked", tool("add absent file.txt", code=1)),
    case(
        "one of three is not there, core.autostage",
        "untracked",
        dvc("config core.autostage true"),
        tool("add file.txt absent data", code=1),
    ),
    case("one of two is Git's", "untracked", tool("add file.txt readme.md", code=1)),
    case(
        "one of two is a dangling symlink",
        "untracked",
        symlink("absent", "link"),
        tool("add file.txt link", code=1),
    ),
    case("one of two is inside .dvc", "untracked", tool("add file.txt .dvc/config", code=1)),
    case("a path inside a tracked folder that never was", "tracked", tool("add data/absent", code=1)),
    case(
        "a new path inside a tracked folder, then one that never was",
        "tracked",
        write("data/new.txt", "n\n"),
        tool("add data/new.txt data/absent", code=1),
    ),
    case("a path inside .dvc", "untracked", tool("add .dvc/config", code=1)),
    case("a path inside .git", "untracked", tool("add .git/config", code=1)),
    case("a file that Git tracks", "untracked", tool("add readme.md", code=1)),
    case(
        "a folder in which Git tracks a file",
        "untracked",
        git("add data/a.txt"),
        commit("x"),
        tool("add data", code=1),
    ),
    case("a folder above a tracked file", "untracked", dvc("add data/a.txt"), tool("add data", code=1)),
    case("a pipeline's output", "pipeline", tool("add model", code=1)),
    case("a path inside a pipeline's output", "pipeline", tool("add prepared/x", code=1)),
    case("what .dvcignore hides", "ignoring", tool("add other.log", code=1)),
    case(
        "a folder that holds a .dvcignore",
        "untracked",
        write("data/.dvcignore", "*.x\n"),
        tool("add data", code=255),
    ),
    case("a symlinked folder", "untracked", symlink("data", "link"), tool("add link", code=1)),
    case(
        "a path through a symlinked folder",
        "untracked",
        symlink("data", "link"),
        tool("add link/a.txt", code=1),
    ),
    case("the root itself", "untracked", tool("add .", code=1)),
    case(
        "a file outside the repository",
        "untracked",
        write("given.bin", "x", cwd="."),
        tool("add ../given.bin", code=1),
    ),
    case("two targets and -o", "untracked", tool("add file.txt exec.sh -o x", code=1)),
    case("--to-remote with --no-commit", "untracked", tool("add --to-remote --no-commit file.txt", code=1)),
    case("-r without --to-remote", "untracked", tool("add -r storage file.txt", code=1)),
    case("--remote-jobs without --to-remote", "untracked", tool("add --remote-jobs 2 file.txt", code=1)),
    case("--to-remote with two targets", "untracked", tool("add --to-remote file.txt exec.sh", code=1)),
    case(
        "--to-remote to an unknown remote", "untracked", tool("add --to-remote -r nope file.txt -o x", code=1)
    ),
    case("--glob that matches nothing", "untracked", tool("add --glob '*.nope'", code=1)),
    case("an unknown option", "untracked", tool("add --nope file.txt", code=254)),
    case("outside any repository", "git only", tool("add readme.md", code=253)),
    case(
        "a broken .dvc file elsewhere",
        "tracked",
        write("bad.dvc", "outs: [\n"),
        write("n.txt", "n"),
        tool("add n.txt", code=1),
    ),
    case(
        "an unknown key in a .dvc file",
        "tracked",
        append("file.txt.dvc", "nope: 1\n"),
        write("n.txt", "n"),
        tool("add n.txt", code=1),
    ),
    case("a dangling symlink", "untracked", symlink("absent", "link"), tool("add link", code=1)),
)

IGNORED = (
    case("ignored members are left out", "ignoring", tool("add data")),
    case(
        "ignored members stay out when added again",
        "ignoring",
        tool("add data"),
        replace(".dvcignore", "*.log", "*.txt"),
        tool("add data"),
    ),
    case(
        "a nested .dvcignore above the folder",
        "ignoring",
        write("deep/.dvcignore", "*.tmp\n"),
        write("deep/d/x.tmp", "x"),
        write("deep/d/y", "y"),
        tool("add deep/d"),
    ),
)


@pytest.mark.parametrize("checked", BASIC, ids=lambda checked: checked.name)
def test_the_first_add_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", NAMES, ids=lambda checked: checked.name)
def test_names_are_written_as_dvc_writes_them(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", AGAIN, ids=lambda checked: checked.name)
def test_a_later_add_leaves_what_dvc_leaves(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", LINKS, ids=lambda checked: checked.name)
def test_links_are_those_that_dvc_makes(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", RELINKED, ids=lambda checked: checked.name)
def test_files_of_another_kind_are_relinked_as_dvc_does(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", REFUSED, ids=lambda checked: checked.name)
def test_what_dvc_refuses_is_refused_with_its_exit_code(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", IGNORED, ids=lambda checked: checked.name)
def test_ignored_paths_are_those_that_dvc_ignores(checked: Case, beside: Beside) -> None:
    beside.check(checked)
