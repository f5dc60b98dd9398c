"""`import`, `import-url`, `update`, `get`, `get-url`, `list-url` and what `pull` and `status` know of them, beside DVC."""

from __future__ import annotations

import pytest

from .helpers import Action, Beside, Case, append, case, commit, delete, dvc, git, make_folder, tool, write

_EXACT = "exact"
_AS_JSON = "as JSON"


def newer(*, cwd: str = "source") -> tuple[Action, ...]:
    """Steps after which the source has another commit."""
    return (
        write("data/new.txt", "new\n", cwd=cwd),
        dvc("add data", cwd=cwd),
        commit("two", cwd=cwd),
        dvc("push", cwd=cwd),
    )


IMPORT = (
    case(
        "all kinds of paths",
        "other repository",
        tool("import ../source data"),
        tool("import ../source file.bin -o named.bin"),
        tool("import ../source exec.sh --rev v1"),
        tool("import ../source code/run.py"),
        tool("import ../source code -o c"),
        tool("import ../source mixed"),
        tool("import ../source data/sub -o part --rev main"),
        tool("import ../source data/a.txt"),
        except_for=("repo/.dvc/cache/files/md5/29",),
        because="rule R4: the list of a folder inside of `mixed` comes with its files, and gc removes it",
    ),
    case(
        "without data",
        "other repository",
        tool("import ../source data --no-download"),
        tool("import ../source file.bin --no-exec"),
        tool("import ../source code -o c --no-download --rev v1"),
        commit("noted"),
    ),
    case(
        "without data, and pull",
        "other repository",
        tool("import ../source data --no-download"),
        tool("import ../source file.bin --no-exec"),
        commit("noted"),
        tool(
            "pull",
            code=1,
            kist_code=0,
            because="rule R10: what was asked for is done, DVC leaves out what has no commit yet",
        ),
        except_for=("repo",),
        because="rule R10: what came is recorded in the metafile and in the cache, so that status is right afterwards",
    ),
    case(
        "other settings",
        "other repository",
        write("cfg", "[core]\n    remote = store\n"),
        tool("import ../source file.bin --config cfg"),
        tool("import ../source data --remote store"),
        tool("import ../source exec.sh --remote-config jobs=2"),
    ),
    case(
        "what is refused",
        "other repository",
        tool(
            "import ../source nope",
            code=255,
            kist_code=1,
            because="an unexpected error in DVC; here it is one that is known",
        ),
        tool("import ../nope data", code=1),
        tool("import ../source data --rev nope", code=1),
        tool("import ../source", code=254),
        tool("import ../source data --no-exec --no-download", code=254),
    ),
)

_DEEP = ("repo/.dvc/cache/files/md5/3b",)
_WHY_DEEP = (
    "DVC keeps the list of a folder inside of an imported one, which nothing names; R13: gc removes such"
)

PULL = (
    case(
        "data that is gone comes from its source",
        "imported",
        delete("data", "part", "file.bin", "code", ".dvc/cache"),
        tool("pull"),
        tool("status --no-updates", stdout=_EXACT),
        delete(".dvc/cache"),
        tool("fetch"),
        tool("push", stdout=_EXACT),
        except_for=_DEEP,
        because=_WHY_DEEP,
    ),
)

UPDATE = (
    case(
        "status and update",
        "imported",
        tool("status", stdout="as lines"),
        tool("status --json", stdout=_AS_JSON),
        tool("status --no-updates", stdout=_EXACT),
        tool("update data.dvc file.bin.dvc part.dvc code.dvc"),
        tool("status", stdout=_EXACT),
        tool("update --rev v1 data.dvc"),
        tool("update -R .", code=0),
        tool("update nope.dvc", code=1),
        tool("update", code=254),
        write("own", "own\n"),
        dvc("add own"),
        tool("update own.dvc", code=0, kist_code=1, because="rule R10: nothing was updated"),
        except_for=_DEEP,
        because=_WHY_DEEP,
    ),
)

NO_DOWNLOAD = (
    case(
        "update --no-download",
        "imported",
        tool("update --no-download data.dvc"),
        tool("status --no-updates code.dvc", stdout=_EXACT),
        except_for=(*_DEEP, "repo/data.dvc"),
        because="interop 21: the file's own checksum is that of what it says; in DVC it is one of the old content",
    ),
)

GET = (
    case(
        "all kinds of paths",
        "other repository",
        make_folder("out", cwd="."),
        tool("get ../source data", cwd="out"),
        tool("get ../source file.bin -o named", cwd="out"),
        tool("get ../source exec.sh", cwd="out"),
        tool("get ../source code", cwd="out"),
        tool("get ../source mixed", cwd="out"),
        tool("get ../source data/sub -o part", cwd="out"),
        tool("get ../source data/a.txt --rev v1 -o data", cwd="out", code=1),
        tool("get ../source data/a.txt --rev v1 -o deep/er", cwd="out"),
        tool("get ../source data --show-url", cwd="out", stdout=_EXACT),
        tool("get ../source data/a.txt --show-url", cwd="out", stdout=_EXACT),
        tool(
            "get ../source nope",
            cwd="out",
            code=255,
            kist_code=1,
            because="an unexpected error in DVC; here it is one that is known",
        ),
        tool("get ../source data -o part", cwd="out"),
        tool("get ../source file.bin -o named", cwd="out", code=1),
        tool("get ../source file.bin -o named -f", cwd="out"),
    ),
)

URL = (
    case(
        "import-url of paths",
        "given",
        tool("import-url ../given/one.txt"),
        tool("import-url ../given/folder"),
        tool("import-url ../given/two.txt renamed"),
        tool("import-url ../given/two.txt noted --no-exec"),
        tool("import-url ../given/two.txt seen --no-download"),
        tool("import-url ../given/folder there --to-remote"),
        dvc("remote add given ../given"),
        tool("import-url remote://given/one.txt by-remote"),
        tool("import-url remote://given/folder folder-by-remote"),
        tool("import-url ../given/nope", code=1),
    ),
    case(
        "update, status, pull",
        "given",
        dvc("import-url ../given/two.txt"),
        dvc("import-url ../given/folder"),
        dvc("import-url ../given/one.txt noted --no-exec"),
        commit("imports"),
        append("two.txt", "more\n", cwd="given"),
        tool("status", stdout=_EXACT),
        tool("update two.txt.dvc"),
        write("folder/new", "new\n", cwd="given"),
        tool("update folder.dvc"),
        tool("push"),
    ),
    case(
        "get-url and list-url",
        "given",
        tool("get-url ../given/one.txt"),
        tool("get-url ../given/folder"),
        tool("get-url ../given/two.txt folder"),
        tool("get-url ../given/two.txt one.txt", code=1),
        tool("get-url ../given/nope", code=1),
        tool("list-url ../given", stdout="as lines"),
        tool("list-url -R ../given", stdout="as lines"),
        tool("list-url --size ../given/folder/sub", stdout="as lines"),
        tool("list-url ../given/nope", code=255),
    ),
)


@pytest.mark.parametrize("checked", [*IMPORT, *PULL, *UPDATE, *NO_DOWNLOAD], ids=lambda checked: checked.name)
def test_imports_are_what_they_are_in_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", [*GET, *URL], ids=lambda checked: checked.name)
def test_data_of_addresses_is_what_it_is_in_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)


def test_each_tool_takes_up_what_the_other_imported(beside: Beside) -> None:
    dvcs, kists = beside.worlds("imported")
    for world, other in ((kists, "dvc"), (dvcs, "kist")):
        world.tool = "dvc"
        world.run(["update", "data.dvc"], "repo", by=other)
        git("commit -q -a -m update")(world)
        delete("data", "part", "file.bin", "code", ".dvc/cache")(world)
        first, second = ("dvc", "kist") if other == "kist" else ("kist", "dvc")
        assert world.run(["pull"], "repo", by=first).code == 0
        assert (
            world.run(["status", "--no-updates"], "repo", by=second).stdout
            == "Data and pipelines are up to date.\n"
        )
