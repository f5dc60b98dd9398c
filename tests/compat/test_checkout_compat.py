"""`checkout` beside the real DVC: what is restored, how it is linked, what is refused."""

from __future__ import annotations

import pytest

from .helpers import (
    Beside,
    Case,
    case,
    chmod,
    commit,
    delete,
    dvc,
    forget_stat_caches,
    git,
    make_folder,
    own_empty_file,
    replace,
    symlink,
    tool,
    write,
)

_ALL = tool("checkout", stdout="as lines")
_FILE = tool("checkout file.txt", stdout="as lines")

# With symlinks DVC links an empty file too; a write into one would then be a write into all of them.
_F59 = "fault F59: an empty file is never a link"

RESTORED = (
    case("nothing to do", "tracked", _ALL),
    case("everything deleted", "tracked", delete("file.txt", "exec.sh", "data"), _ALL),
    case("a deleted member", "tracked", delete("data/sub/b.txt"), _ALL),
    case("a deleted folder inside", "tracked", delete("data/sub"), _ALL),
    case("the older version", "two versions", git("checkout -q v1"), _ALL),
    case("back and forth", "two versions", git("checkout -q v1"), _ALL, git("checkout -q main"), _ALL),
    case(
        "back and forth, stat caches lost between",
        "two versions",
        git("checkout -q v1"),
        _ALL,
        forget_stat_caches(),
        git("checkout -q main"),
        _ALL,
    ),
    case("a version without the output", "tracked", git("checkout -q HEAD~1"), _ALL),
    case(
        "a version without the output, known to the stat cache",
        "tracked",
        tool("checkout --relink"),
        git("checkout -q HEAD~1"),
        _ALL,
    ),
    case(
        "a version without the outputs, added here",
        "tracked",
        tool("add file.txt data"),
        git("checkout -q HEAD~1"),
        _ALL,
    ),
    case(
        "a version without the outputs, checked out here",
        "tracked",
        delete("file.txt", "data/a.txt"),
        tool("checkout"),
        git("checkout -q HEAD~1"),
        _ALL,
    ),
    case(
        "a version without the outputs, after a checkout with nothing to do",
        "tracked",
        tool("checkout"),
        git("checkout -q HEAD~1"),
        _ALL,
    ),
    case(
        "a version without the output, checked out here and made anew",
        "tracked",
        delete("file.txt"),
        tool("checkout"),
        dvc("config cache.type hardlink"),
        tool("checkout --relink file.txt"),
        git("checkout -q HEAD~1"),
        _ALL,
    ),
    case(
        "a version without the output, edited since",
        "tracked",
        tool("add file.txt data"),
        write("data/mine", "mine\n"),
        write("file.txt", "mine\n"),
        git("checkout -q HEAD~1"),
        _ALL,
        _ALL,
    ),
    case("a metafile that is gone", "tracked", tool("add data"), delete("data.dvc"), _ALL, _ALL),
    case("a metafile that is gone, for a target", "tracked", tool("add data"), delete("data.dvc"), _FILE),
    case("empty folders", "tracked", make_folder("data/void/below"), make_folder("data/sub/void"), _ALL),
    case(
        "empty folders, a target beside them",
        "tracked",
        make_folder("data/void"),
        tool("checkout data/a.txt", stdout="as lines"),
    ),
    case(
        "an empty folder as a target",
        "tracked",
        make_folder("data/void"),
        tool("checkout data/void", stdout="as lines"),
    ),
    case(
        "a folder that another version emptied",
        "tracked",
        delete("data/sub/b.txt", "data/sub/c.txt"),
        tool("add data"),
        commit("less"),
        _ALL,
        git("checkout -q v1"),
        _ALL,
        git("checkout -q main"),
        _ALL,
    ),
    case(
        "an empty folder where a member was", "tracked", delete("data/a.txt"), make_folder("data/a.txt"), _ALL
    ),
    case(
        "a folder of stored content where a member was",
        "tracked",
        delete("data/a.txt"),
        write("data/a.txt/b", "b\n"),
        _ALL,
    ),
    case("an empty folder where a file was", "tracked", delete("file.txt"), make_folder("file.txt"), _ALL),
    case("a link that leads nowhere", "tracked", delete("file.txt"), symlink("nowhere", "file.txt"), _ALL),
    case("a lost executable bit", "tracked", chmod("exec.sh", 0o644), _ALL),
    case("an executable bit too many", "tracked", chmod("file.txt", 0o755), _ALL),
    case("a member with an executable bit", "tracked", chmod("data/a.txt", 0o755), _ALL),
    case(
        "a pipeline",
        "pipeline",
        delete("model", "prepared", "metrics.json", "cached.json"),
        tool("checkout", stdout="as lines"),
    ),
    case("without Git", "no scm", delete("file.txt", "data"), _ALL),
    case(
        "below the top of Git",
        "subdir",
        dvc("add file.txt", cwd="repo/project"),
        delete("project/file.txt"),
        tool("checkout", cwd="repo/project", stdout="as lines"),
    ),
    case(
        "from a folder below",
        "many",
        delete("raw/a.csv", "raw/deep/d.csv"),
        tool("checkout", cwd="repo/raw/deep", stdout="as lines"),
    ),
    case("2.x data", "legacy", delete("data", "table.csv"), _ALL),
    case("2.x data, nothing to do", "legacy", _ALL),
    case(
        "2.x data over a 3.x version of it",
        "legacy",
        write("data/a.txt", "changed\n"),
        dvc("add data"),
        git("checkout -q -- data.dvc"),
        tool(
            "checkout", code=255
        ),  # the 2.x cache lacks the new member; that the 3.x one has it is not looked at
        tool("checkout -f", stdout="as lines"),
    ),
    case(
        "a file where a folder was",
        "tracked",
        delete("data"),
        write("data", "x"),
        tool("checkout -f", stdout="as lines"),
    ),
    case(
        "a folder where a file was",
        "tracked",
        delete("file.txt"),
        write("file.txt/x", "x"),
        tool("checkout -f", stdout="as lines"),
    ),
    case("ignored files stay in a folder", "ignoring", dvc("add data"), delete("data/a.txt"), _ALL),
    case("an empty folder", "storage", make_folder("void"), dvc("add void"), delete("void"), _ALL),
    case("an empty file", "storage", write("nothing", ""), dvc("add nothing"), delete("nothing"), _ALL),
)

OPTIONS = (
    case(
        "--summary, all new",
        "tracked",
        delete("file.txt", "data"),
        tool("checkout --summary", stdout="exact"),
    ),
    case(
        "--summary, a folder less",
        "tracked",
        delete("data/sub"),
        dvc("add data"),
        commit("less"),
        git("checkout -q v1"),
        tool("checkout --summary", stdout="exact"),
        git("checkout -q main"),
        tool("checkout --summary", stdout="exact"),
    ),
    case(
        "--summary, executable bits",
        "tracked",
        chmod("file.txt", 0o755),
        chmod("exec.sh", 0o644),
        chmod("data/a.txt", 0o755),
        tool("checkout --summary", stdout="exact"),
    ),
    case(
        "--summary, data that no metafile names",
        "tracked",
        tool("add data file.txt"),
        git("checkout -q HEAD~1"),
        tool("checkout --summary", stdout="exact"),
    ),
    case(
        "--summary, kinds changed",
        "tracked",
        delete("file.txt", "data"),
        write("data", "one\n"),
        write("file.txt/a", "a\n"),
        tool("checkout --summary", stdout="exact"),
    ),
    case(
        "--summary --relink",
        "plain",
        dvc("config cache.type hardlink"),
        tool("checkout --summary --relink", stdout="exact"),
    ),
    case("--summary", "two versions", git("checkout -q v1"), tool("checkout --summary", stdout="exact")),
    case("--summary with nothing to do", "tracked", tool("checkout --summary", stdout="exact")),
    case("-q", "tracked", delete("data"), tool("checkout -q", stdout="exact")),
    case(
        "a .dvc file", "tracked", delete("file.txt", "data"), tool("checkout file.txt.dvc", stdout="as lines")
    ),
    case("an output", "tracked", delete("file.txt", "data"), tool("checkout data", stdout="as lines")),
    case(
        "a path inside a tracked folder",
        "tracked",
        delete("data"),
        tool("checkout data/a.txt", stdout="as lines"),
    ),
    case(
        "a folder inside a tracked folder",
        "tracked",
        delete("data"),
        tool("checkout data/sub", stdout="as lines"),
    ),
    case(
        "a member inside an edited folder",
        "tracked",
        write("data/n", "n"),
        delete("data/a.txt"),
        tool("checkout data/a.txt", stdout="as lines"),
    ),
    case(
        "-R", "many", delete("raw/a.csv", "raw/deep/d.csv"), tool("checkout -R raw/deep", stdout="as lines")
    ),
    case("a folder without -R", "many", delete("raw/a.csv"), tool("checkout raw", code=255)),
    case(
        "-d",
        "pipeline",
        delete("model", "prepared", "file.txt"),
        tool("checkout -d train", stdout="as lines"),
    ),
    case("a stage", "pipeline", delete("model", "prepared"), tool("checkout train", stdout="as lines")),
    case(
        "dvc.yaml",
        "pipeline",
        delete("model", "prepared", "file.txt"),
        tool("checkout dvc.yaml", stdout="as lines"),
    ),
    case(
        "--relink to hardlinks",
        "plain",
        dvc("config cache.type hardlink"),
        tool("checkout --relink", stdout="as lines"),
    ),
    case(
        "--relink to symlinks",
        "plain",
        dvc("config cache.type symlink"),
        tool("checkout --relink", stdout="as lines"),
        own_empty_file("data/empty"),
        except_for=("repo/data/empty",),
        because=_F59,
    ),
    case(
        "--relink back to copies",
        "plain",
        dvc("config cache.type hardlink"),
        dvc("checkout --relink"),
        dvc("config cache.type copy"),
        tool("checkout --relink", stdout="as lines"),
    ),
    case(
        "--allow-missing",
        "tracked",
        delete("file.txt", "data", ".dvc/cache/files/md5/5b"),
        tool("checkout --allow-missing", stdout="as lines"),
    ),
    case(
        "another cache.dir",
        "tracked",
        dvc("cache dir ../shared"),
        delete("data"),
        tool("checkout --allow-missing"),
        except_for=("shared",),
        because="rule R13: a cache outside of the project knows the projects that use it",
    ),
)

REFUSED = (
    case(
        "unsaved changes in a file",
        "two versions",
        write("file.txt", "mine\n"),
        git("checkout -q v1"),
        tool("checkout", code=255),
    ),
    case(
        "unsaved changes in a member",
        "two versions",
        write("data/a.txt", "mine\n"),
        git("checkout -q v1"),
        tool("checkout", code=255),
    ),
    case(
        "an unsaved new member",
        "two versions",
        write("data/mine", "mine\n"),
        git("checkout -q v1"),
        tool("checkout", code=255),
    ),
    case(
        "unsaved changes and a missing object",
        "two versions",
        write("data/a.txt", "mine\n"),
        delete(".dvc/cache/files/md5/5b"),
        git("checkout -q v1"),
        tool("checkout", code=255),
    ),
    case(
        "unsaved changes beside the targets",
        "two versions",
        write("data/a.txt", "mine\n"),
        git("checkout -q v1"),
        tool("checkout file.txt exec.sh", stdout="as lines"),
        tool("checkout data/sub", stdout="as lines"),
    ),
    case(
        "an unsaved folder where a file was",
        "two versions",
        delete("file.txt"),
        write("file.txt/x", "mine\n"),
        git("checkout -q v1"),
        tool("checkout", code=255),
    ),
    case(
        "an unsaved folder where a member was",
        "two versions",
        delete("data/a.txt"),
        write("data/a.txt/x", "mine\n"),
        tool("checkout", code=255),
    ),
    case(
        "unsaved changes with --force",
        "two versions",
        write("data/mine", "mine\n"),
        write("file.txt", "mine\n"),
        git("checkout -q v1"),
        tool("checkout -f", stdout="as lines"),
    ),
    case(
        "a file where a folder was", "tracked", delete("data"), write("data", "x"), tool("checkout", code=255)
    ),
    case(
        "an object missing in the cache; the rest is restored",
        "tracked",
        delete("file.txt", "data", ".dvc/cache/files/md5/5b"),
        tool("checkout", code=255),
    ),
    case(
        "a manifest missing in the cache; the rest is restored",
        "clone",
        delete("data", "file.txt", ".dvc/cache"),
        dvc("fetch file.txt"),
        tool("checkout", code=255),
    ),
    case(
        "everything missing in the cache",
        "clone",
        tool("checkout", code=255, cwd="clone"),
        except_for=("clone/data",),
        because="rule R18: DVC leaves empty folders of what it could not restore",
    ),
    case(
        "a member missing in the cache",
        "tracked",
        delete("data", ".dvc/cache/files/md5/60"),
        tool("checkout", code=255),
        except_for=("repo/data",),
        because="fault F18: the other members are restored",
    ),
    case("an unknown target", "tracked", tool("checkout nope", code=255)),
    case("an unknown .dvc file", "tracked", tool("checkout nope.dvc", code=255)),
    case("outside any repository", "git only", tool("checkout", code=253)),
    case("an unknown option", "tracked", tool("checkout --nope", code=254)),
    case(
        "a .dvc file without hash",
        "tracked",
        write("file.txt.dvc", "outs:\n- path: file.txt\n"),
        delete("file.txt"),
        tool("checkout", code=255),
    ),
    case(
        "two .dvc files that name one output",
        "tracked",
        write(
            "b.dvc",
            "outs:\n- md5: 5bbf5a52328e7439ae6e719dfe712200\n  size: 4\n  hash: md5\n  path: file.txt\n",
        ),
        tool("checkout"),
    ),
    case(
        "two .dvc files that name one output differently",
        "two versions",
        write(
            "b.dvc",
            "outs:\n- md5: 5bbf5a52328e7439ae6e719dfe712200\n  size: 4\n  hash: md5\n  path: file.txt\n",
        ),
        tool("checkout", stdout="as lines"),
        tool("checkout", stdout="as lines"),
    ),
    case(
        "conflict markers in a .dvc file",
        "tracked",
        replace("file.txt.dvc", "outs:", "<<<<<<< ours\nouts:"),
        tool("checkout", code=255),
    ),
)

_MAKES_THE_EMPTY_FILE = ("restored", "an empty member")

LINKS = tuple(
    case(
        f"cache.type {kind}: {name}",
        start,
        dvc(f"config cache.type {kind}"),
        commit("links"),
        *steps,
        *([own_empty_file("data/empty")] if name in _MAKES_THE_EMPTY_FILE else []),
        except_for=("repo/data/empty",) if kind == "symlink" and name in _MAKES_THE_EMPTY_FILE else (),
        because=_F59 if kind == "symlink" and name in _MAKES_THE_EMPTY_FILE else "",
    )
    for kind in ("hardlink", "symlink", "copy", "reflink,copy", "hardlink,symlink")
    for name, start, steps in (
        ("restored", "plain", (delete("file.txt", "data"), _ALL)),
        ("an empty member", "plain", (delete("data/empty"), _ALL)),
        (
            "switched",
            "plain, two versions",
            (dvc("checkout --relink"), git("checkout -q v1 -- file.txt.dvc data.dvc"), _ALL),
        ),
    )
)

EXECUTABLE = tuple(
    case(
        f"cache.type {kind}: an executable file restored",
        "tracked",
        dvc(f"config cache.type {kind}"),
        delete("exec.sh"),
        tool("checkout", stdout="as lines"),
        except_for=("repo/exec.sh", "repo/.dvc/cache/files/md5/3e/2b31c72181b87149ff995e7202c0e3"),
        because="scenarios, section 0: isexec never changes the mode of the cache object; the file is copied",
    )
    for kind in ("hardlink", "symlink")
)


@pytest.mark.parametrize("checked", RESTORED, ids=lambda checked: checked.name)
def test_checkout_restores_what_dvc_restores(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", OPTIONS, ids=lambda checked: checked.name)
def test_options_of_checkout_do_what_they_do_in_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", REFUSED, ids=lambda checked: checked.name)
def test_checkout_refuses_what_dvc_refuses(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", LINKS, ids=lambda checked: checked.name)
def test_checkout_links_as_dvc_links(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", EXECUTABLE, ids=lambda checked: checked.name)
def test_an_executable_file_is_restored_beside_links(checked: Case, beside: Beside) -> None:
    beside.check(checked)
