"""Git's merge, rebase, cherry-pick and stash with the driver, and `kist resolve` after a clash: a table of cases.

Rows in which no metafile goes away share one repository for each operation: every row has a folder of its own. In the
others Git may take one metafile for another renamed, so they have a repository each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kist.formats.manifest import parse_manifest
from kist.formats.metafile import parse_metafile
from kist.testing.project import Project

from .helpers import project_at, try_git

Content = str | dict[str, str]
State = dict[str, Content]
"""Tracked path, relative to the row's folder -> text of a file, or texts of the files of a directory."""

OPERATIONS = ("merge", "rebase", "cherry-pick", "stash")


class Row(NamedTuple):
    """One case. `result` is None for a clash; then the two states are what each choice ends in."""

    what: str
    base: State
    ours: State
    theirs: State
    result: State | None
    clashes: tuple[str, ...] = ()
    with_ours: State | None = None
    with_theirs: State | None = None


def one(what: str, base: str | None, ours: str, theirs: str, result: str | None) -> Row:
    """Returns a row about one file; `result` is None for a clash."""
    states = [{} if text is None else {"f": text} for text in (base, ours, theirs)]
    if result is None:
        return Row(what, *states, None, ("f",), states[1], states[2])
    return Row(what, *states, {"f": result})


def within(
    what: str, base: dict[str, str], ours: dict[str, str], theirs: dict[str, str], result: dict[str, str]
) -> Row:
    """Returns a row about the files of a directory that merge."""
    return Row(what, {"d": base}, {"d": ours}, {"d": theirs}, {"d": result})


def clash(what: str, base: dict[str, str], ours: dict[str, str], theirs: dict[str, str], label: str, *, left: dict[str, str], right: dict[str, str]) -> Row:  # fmt: skip
    """Returns a row about the files of a directory that clash at `label`."""
    return Row(
        what, {"d": base}, {"d": ours}, {"d": theirs}, None, (f"d/{label}",), {"d": left}, {"d": right}
    )


K = {"k": "kept"}
ROWS = (
    one("file changed here", "1", "2", "1", "2"),
    one("file changed there", "1", "1", "2", "2"),
    one("file changed on both sides to the same", "1", "2", "2", "2"),
    one("file changed on both sides", "1", "2", "3", None),
    one("file added on both sides, same", None, "1", "1", "1"),
    one("file added on both sides", None, "1", "2", None),
    Row("two files added in one folder", {"f": "1"}, {"f": "1", "g": "2"}, {"f": "1", "h": "3"}, {"f": "1", "g": "2", "h": "3"}),
    Row("directory added on both sides", {}, {"d": {"a": "1"}}, {"d": {"b": "2"}}, {"d": {"a": "1", "b": "2"}}),
    within("added here, added there", K, K | {"a": "1"}, K | {"b": "2"}, K | {"a": "1", "b": "2"}),
    within("added on both sides, same", K, K | {"a": "1"}, K | {"a": "1", "b": "2"}, K | {"a": "1", "b": "2"}),
    clash("added on both sides", K, K | {"a": "1"}, K | {"a": "2"}, "a", left=K | {"a": "1"}, right=K | {"a": "2"}),
    within("changed here and there", {"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "1", "b": "2"}, {"a": "2", "b": "2"}),
    within("changed on both sides to the same", {"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "2", "b": "3"}, {"a": "2", "b": "3"}),
    clash("changed on both sides", {"a": "1"}, {"a": "2", "x": "5"}, {"a": "3", "y": "6"}, "a", left={"a": "2", "x": "5", "y": "6"}, right={"a": "3", "x": "5", "y": "6"}),
    within("removed here, removed there", K | {"a": "1", "b": "2"}, K | {"b": "2"}, K | {"a": "1"}, K),
    within("removed on both sides", K | {"a": "1"}, K, K | {"n": "2"}, K | {"n": "2"}),
    clash("removed here, changed there", K | {"a": "1"}, K, K | {"a": "2"}, "a", left=K, right=K | {"a": "2"}),
    clash("changed here, removed there", K | {"a": "1"}, K | {"a": "2"}, K, "a", left=K | {"a": "2"}, right=K),
    within("renamed here, changed there", K | {"a": "1"}, K | {"b": "1"}, K | {"a": "2"}, K | {"b": "2"}),
    within("changed here, renamed there", K | {"a": "1"}, K | {"a": "2"}, K | {"b": "1"}, K | {"b": "2"}),
    within("renamed on both sides to the same", K | {"a": "1"}, K | {"b": "1"}, K | {"b": "1", "n": "3"}, K | {"b": "1", "n": "3"}),
    clash("renamed on both sides", K | {"a": "1"}, K | {"b": "1"}, K | {"c": "1"}, "a", left=K | {"b": "1"}, right=K | {"c": "1"}),
    clash("renamed here, removed there", K | {"a": "1"}, K | {"b": "1"}, K, "a", left=K | {"b": "1"}, right=K),
    clash("removed here, renamed there", K | {"a": "1"}, K, K | {"b": "1"}, "a", left=K, right=K | {"b": "1"}),
    clash("renamed here, added there", K | {"a": "1"}, K | {"b": "1"}, K | {"a": "1", "b": "2"}, "b", left=K | {"b": "1"}, right=K | {"b": "2"}),
    clash("added here, renamed there", K | {"a": "1"}, K | {"a": "1", "b": "2"}, K | {"b": "1"}, "b", left=K | {"b": "2"}, right=K | {"b": "1"}),
    within("renamed here, nothing there", K | {"a": "1"}, K | {"b": "1"}, K | {"a": "1", "n": "3"}, K | {"b": "1", "n": "3"}),
    within("folder renamed here, a file added in it there", {"p/a": "1"}, {"q/a": "1"}, {"p/a": "1", "p/b": "2"}, {"q/a": "1", "p/b": "2"}),
    clash("folder here, file there", K, K | {"p/x": "2"}, K | {"p": "1"}, "p", left=K | {"p/x": "2"}, right=K | {"p": "1"}),
    clash("file here, folder there", K, K | {"p": "1"}, K | {"p/x": "2"}, "p", left=K | {"p": "1"}, right=K | {"p/x": "2"}),
    Row("file here, directory there", {"o": "1"}, {"o": "2"}, {"o": {"a": "3"}}, None, ("o",), {"o": "2"}, {"o": {"a": "3"}}),
)  # fmt: skip

# What happens to whole metafiles.
LONE_ROWS = (
    Row("file removed here", {"f": "1", "g": "0"}, {"g": "0"}, {"f": "1", "g": "2"}, {"g": "2"}),
    Row("file removed there", {"f": "1", "g": "0"}, {"f": "1", "g": "2"}, {"g": "0"}, {"g": "2"}),
    Row("file removed on both sides", {"f": "1", "g": "0"}, {"g": "0"}, {"g": "2"}, {"g": "2"}),
    Row("file removed here, changed there", {"f": "1", "g": "0"}, {"g": "0"}, {"f": "2", "g": "0"}, None, ("f.dvc",), {"g": "0"}, {"f": "2", "g": "0"}),
    Row("file changed here, removed there", {"f": "1", "g": "0"}, {"f": "2", "g": "0"}, {"g": "0"}, None, ("f.dvc",), {"f": "2", "g": "0"}, {"g": "0"}),
    Row("file moved here, another changed there", {"f": "1", "g": "0"}, {"n": "1", "g": "0"}, {"f": "1", "g": "2"}, {"n": "1", "g": "2"}),
    Row("directory moved here, changed there", {"d": {"a": "1"}}, {"e": {"a": "1"}}, {"d": {"a": "1", "b": "2"}}, {"e": {"a": "1", "b": "2"}}),
    Row("directory changed here, moved there", {"d": {"a": "1"}}, {"d": {"a": "1", "b": "2"}}, {"e": {"a": "1"}}, {"e": {"a": "1", "b": "2"}}),
    Row("file moved here, removed there", {"f": "1", "g": "0"}, {"n": "1", "g": "0"}, {"g": "0"}, None, ("n.dvc",), {"n": "1", "g": "0"}, {"g": "0"}),
    Row("file removed here, moved there", {"f": "1", "g": "0"}, {"g": "0"}, {"n": "1", "g": "0"}, None, ("n.dvc",), {"g": "0"}, {"n": "1", "g": "0"}),
    Row("file moved on both sides to the same", {"f": "1"}, {"n": "1"}, {"n": "1", "g": "2"}, {"n": "1", "g": "2"}),
    Row("file moved on both sides", {"f": "1"}, {"n": "1"}, {"o": "1"}, None, ("n.dvc", "o.dvc"), {"n": "1"}, {"o": "1"}),
)  # fmt: skip


class Sandbox:
    """A repository in which rows are played, without hooks."""

    def __init__(self, root: str) -> None:
        self.project = Project(root)
        self.project.kist("install", "--quiet")
        self.project.git("config", "core.hooksPath", os.path.join(root, ".git", "no-hooks"))
        self.project.git("config", "gc.auto", "0")

    def commit(self, name: str, states: dict[str, State], before: dict[str, State]) -> None:
        """Commits data: folder -> state, after what was there `before`."""
        self.set(states, before)
        self.project.git("add", "--all")
        self.project.git("commit", "--quiet", "--allow-empty", "--message", name)

    def set(self, states: dict[str, State], before: dict[str, State]) -> None:
        """Puts data into the workspace and tracks it."""
        project = self.project
        project.kist("checkout", "--quiet", "--force")
        added: list[str] = []
        for folder, state in states.items():
            old = before.get(folder, {})
            moved = _moves(old, state)
            for source, target in moved.items():
                project.kist("move", "--quiet", f"{folder}/{source}", f"{folder}/{target}")
            for path in old.keys() - state.keys() - moved.keys():
                project.kist("remove", "--quiet", f"{folder}/{path}.dvc")
                _delete(project.path(f"{folder}/{path}"))
            for path, content in state.items():
                if path in moved.values():
                    continue
                _delete(project.path(f"{folder}/{path}"))
                files = (
                    {path: content}
                    if isinstance(content, str)
                    else {f"{path}/{name}": text for name, text in content.items()}
                )
                project.write({f"{folder}/{name}": text for name, text in files.items()})
                added.append(f"{folder}/{path}")
        if added:
            project.kist("add", "--quiet", *added)

    def play(self, rows: dict[str, Row], operation: str) -> int:
        """Commits three versions of all rows and runs the operation; returns Git's exit status."""
        base, ours, theirs = ({folder: row[at] for folder, row in rows.items()} for at in (1, 2, 3))
        project = self.project
        self.commit("base", base, {})
        project.git("branch", "theirs")
        self.commit("ours", ours, base)
        project.git("branch", "ours")
        project.git("checkout", "--quiet", "theirs")
        if operation == "stash":
            self.set(theirs, base)
            project.git("add", "--all")
            project.git("stash", "--quiet")
        else:
            self.commit("theirs", theirs, base)
        if operation == "rebase":
            return self.try_git("rebase", "--quiet", "ours")
        project.git("checkout", "--quiet", "ours")
        words = {
            "merge": ["merge", "--quiet", "theirs"],
            "cherry-pick": ["cherry-pick", "theirs"],
            "stash": ["stash", "pop"],
        }
        return self.try_git(*words[operation])

    def try_git(self, *words: str) -> int:
        """Runs git, whatever it comes to, with our program on its search path; returns its exit status."""
        return try_git(self.project, *words)[0]

    def unmerged(self) -> set[str]:
        """Returns the paths that Git holds as unmerged."""
        return set(self.project.git("diff", "--name-only", "--diff-filter=U").split("\n")) - {""}

    def state(self, folder: str) -> State:
        """Returns what the metafiles of a folder say, all of which must be readable."""
        objects = self.project.objects()
        found: State = {}
        here = self.project.path(folder)
        for name in sorted(os.listdir(here)) if os.path.isdir(here) else []:
            if not name.endswith(".dvc"):
                continue
            with open(os.path.join(here, name), "rb") as stream:
                outs = parse_metafile(stream.read(), name=name).outs
            assert [out.path for out in outs] == [name.removesuffix(".dvc")]
            digest = outs[0].digest
            assert digest is not None
            if digest.is_dir:
                tree = parse_manifest(objects[digest.value], name=name)
                found[outs[0].path] = {path: objects[oid].decode() for path, oid in tree.files()}
                assert outs[0].nfiles == tree.file_count()
                assert outs[0].size == sum(len(objects[oid]) for _, oid in tree.files())
            else:
                found[outs[0].path] = objects[digest.value].decode()
        return found


def _moves(old: State, new: State) -> dict[str, str]:
    gone, come = old.keys() - new.keys(), new.keys() - old.keys()
    return {source: target for source in gone for target in come if old[source] == new[target]}


def _delete(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


@pytest.fixture(scope="module", params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> str:
    """One of Git's operations that merge."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def played(operation: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """All rows that share a repository, with the operation stopped at the clashes."""
    sandbox = Sandbox(str(tmp_path_factory.mktemp(operation) / "all"))
    assert sandbox.play({f"r{at:02}": row for at, row in enumerate(ROWS)}, operation) != 0
    yield sandbox
    shutil.rmtree(sandbox.project.root)


@pytest.fixture(scope="module", params=["--ours", "--theirs"])
def resolved(played: Sandbox, request: pytest.FixtureRequest) -> tuple[Sandbox, str]:
    """A copy of that repository in which all clashes are resolved to one side."""
    root = f"{played.project.root}{request.param}"
    shutil.copytree(played.project.root, root, symlinks=True)
    copy = Sandbox.__new__(Sandbox)
    copy.project = project_at(root)
    copy.project.kist("resolve", "--quiet", "--no-checkout", request.param)
    return copy, request.param


@pytest.mark.parametrize("at", range(len(ROWS)), ids=[row.what for row in ROWS])
def test_a_row_merges_or_is_left_unmerged_and_readable(played: Sandbox, at: int) -> None:
    row, folder = ROWS[at], f"r{at:02}"
    unmerged = {path for path in played.unmerged() if path.startswith(f"{folder}/")}
    if row.result is not None:
        assert played.state(folder) == row.result
        assert unmerged == set()
    else:
        assert unmerged == {f"{folder}/{row.clashes[0].split('/')[0]}.dvc"}
        assert set(played.state(folder)) == set(row.ours)
        assert row.with_ours == played.state(folder)


@pytest.mark.parametrize("at", range(len(ROWS)), ids=[row.what for row in ROWS])
def test_a_row_is_resolved_to_the_side_that_was_chosen(resolved: tuple[Sandbox, str], at: int) -> None:
    sandbox, side = resolved
    row = ROWS[at]
    wanted = row.result or (row.with_ours if side == "--ours" else row.with_theirs)
    assert sandbox.state(f"r{at:02}") == wanted


def test_after_resolving_git_can_go_on(resolved: tuple[Sandbox, str], operation: str) -> None:
    sandbox, _ = resolved
    assert sandbox.unmerged() == set()
    words = {
        "merge": ["commit", "--quiet", "--no-edit"],
        "rebase": ["rebase", "--continue"],
        "cherry-pick": ["cherry-pick", "--continue"],
        "stash": ["commit", "--quiet", "--message", "from the stash"],
    }
    before = sandbox.project.git("rev-parse", "HEAD")
    status, said = try_git(sandbox.project, *words[operation])
    assert status == 0, said
    assert sandbox.project.git("rev-parse", "HEAD") != before
    assert sandbox.project.git("status", "--porcelain") == ""
    assert "Nothing clashes" in sandbox.project.kist("resolve").out


@pytest.mark.parametrize("row", LONE_ROWS, ids=[row.what for row in LONE_ROWS])
def test_metafiles_that_came_went_or_moved(row: Row, operation: str, tmp_path: Path) -> None:
    sandbox = Sandbox(str(tmp_path / "one"))
    status = sandbox.play({"r": row}, operation)
    if row.result is not None:
        assert (status, sandbox.unmerged()) == (0, set())
        assert sandbox.state("r") == row.result
        return
    assert status != 0
    listed = sandbox.project.kist("resolve")
    for path in row.clashes:
        assert f"r/{path}" in listed.out
    sandbox.state("r")  # can be read
    root = sandbox.project.root
    shutil.copytree(root, root + "-2", symlinks=True)
    sandbox.project.kist("resolve", "--ours", "--no-checkout")
    assert sandbox.state("r") == row.with_ours
    assert sandbox.unmerged() == set()
    sandbox.project.root = root + "-2"
    sandbox.project.kist("resolve", "--theirs", "--no-checkout")
    assert sandbox.state("r") == row.with_theirs
    assert sandbox.unmerged() == set()


def test_paths_that_a_shell_would_take_apart_are_merged(tmp_path: Path) -> None:
    sandbox = Sandbox(str(tmp_path / "odd"))
    folder = 'it\'s a $HOME; "ünder"'
    row = Row("", {"d d": {"a": "1"}}, {"d d": {"a": "1", "b'": "2"}}, {"d d": {"a": "1", "c c": "3"}}, None)
    assert sandbox.play({folder: row}, "merge") == 0
    assert sandbox.state(folder) == {"d d": {"a": "1", "b'": "2", "c c": "3"}}


@pytest.mark.slow
def test_a_pull_that_brings_500_changed_files_asks_nothing(tmp_path: Path) -> None:
    """300 metafiles that changed there, and 200 files of a directory that changed here as well."""
    here = Project(str(tmp_path / "here"))
    here.kist("install", "--quiet")
    here.kist("remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    here.write({f"images/{number:03}.txt": "first\n" for number in range(400)})
    here.write({f"single/{number:03}.txt": "first\n" for number in range(300)})
    singles = [f"single/{number:03}.txt" for number in range(300)]
    here.kist("add", "--quiet", "images", *singles)
    here.kist("push", "--quiet")
    here.git("add", "--all")
    here.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", "first")
    here.git("clone", "--quiet", ".", str(tmp_path / "there"))
    there = project_at(str(tmp_path / "there"))
    there.kist("pull", "--quiet")
    there.write({f"images/{number:03}.txt": f"there {number}\n" for number in range(200)})
    there.write({path: f"there {path}\n" for path in singles})
    there.kist("add", "--quiet", "images", *singles)
    there.kist("push", "--quiet")
    there.git("commit", "--quiet", "--all", "--message", "there")
    here.write({f"images/{number:03}.txt": f"here {number}\n" for number in range(200, 300)})
    here.write({f"images/new-{number}.txt": "new\n" for number in range(20)})
    here.kist("add", "--quiet", "images")
    here.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--all", "--message", "here")
    status, said = try_git(here, "pull", "--quiet", "--no-rebase", str(tmp_path / "there"), "HEAD")
    assert status == 0, said
    assert "hint: kist pull" in said  # the hook says that the data is on the remote
    here.kist("pull", "--quiet")
    wanted = {f"{number:03}.txt": f"there {number}\n" for number in range(200)}
    wanted |= {f"{number:03}.txt": f"here {number}\n" for number in range(200, 300)}
    wanted |= {f"{number:03}.txt": "first\n" for number in range(300, 400)}
    assert here.files("images") == wanted | {f"new-{number}.txt": "new\n" for number in range(20)}
    assert all(here.read(path) == f"there {path}\n" for path in singles)
    assert here.kist("status").out == "Data and pipelines are up to date.\n"
    assert here.git("status", "--porcelain") == ""
