"""`gc` beside the real DVC: every scope over a history of 40 commits, what is kept elsewhere, and what is refused.

The history is written as DVC writes it, not by commands: only `gc` is compared here. Where Kist keeps more, or refuses, the
test says by which rule.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from .helpers import DVC, KIST, RealDvc, Result, World

FILES = {f"{number % 3}/file-{number}.txt": f"file {number}\n".encode() for number in range(9)}
PIPELINE = """\
stages:
  train:
    cmd: cp data/0/file-0.txt {model}
    params:
    - depth
    outs:
    - {model}
    metrics:
    - score.json:
        cache: false
"""
DAY_S = 86_400
START_S = 1_704_110_400  # 2024-01-01 12:00 UTC


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Grown:
    """Writes the history: the repository, its cache, and a remote that holds the same."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stream: list[bytes] = []
        self.marks: dict[str, int] = {}

    def store(self, data: bytes, suffix: str = "", *, legacy: bool = False) -> str:
        """Puts an object into the cache and the remote; returns its id."""
        oid = md5(data) + suffix
        for base in ("repo/.dvc/cache", "remote"):
            top = self.world.path(base) if legacy else self.world.path(base, "files", "md5")
            path = os.path.join(top, oid[:2], oid[2:])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.exists(path):
                with open(path, "wb") as stream:
                    stream.write(data)
                os.chmod(path, 0o444)
        return oid

    def single(self, path: str, data: bytes, *, legacy: bool = False) -> bytes:
        """Stores a file; returns its `.dvc` file, or one of DVC 2."""
        oid = self.store(data, legacy=legacy)
        kind = "" if legacy else "  hash: md5\n"
        return f"outs:\n- md5: {oid}\n  size: {len(data)}\n{kind}  path: {path}\n".encode()

    def directory(self, path: str, files: dict[str, bytes]) -> bytes:
        """Stores a directory; returns its `.dvc` file."""
        entries = [{"md5": self.store(files[name]), "relpath": name} for name in sorted(files)]
        oid = self.store(json.dumps(entries, sort_keys=True).encode(), ".dir")
        size = sum(map(len, files.values()))
        text = f"outs:\n- md5: {oid}\n  size: {size}\n  nfiles: {len(files)}\n  hash: md5\n  path: {path}\n"
        return text.encode()

    def pipeline(self, model: str, data: bytes) -> dict[str, bytes]:
        """Returns a pipeline whose output is named by params.yaml, and its lock."""
        oid, score = self.store(data), md5(b"{}\n" + data)
        lock = (
            f"schema: '2.0'\nstages:\n  train:\n    cmd: cp data/0/file-0.txt {model}\n    params:\n      params.yaml:\n"
            f"        depth: 1\n    outs:\n    - path: {model}\n      hash: md5\n      md5: {oid}\n      size: {len(data)}\n"
            f"    - path: score.json\n      hash: md5\n      md5: {score}\n      size: 3\n"
        )
        return {
            "dvc.yaml": PIPELINE.format(model="${model}").encode(),
            "params.yaml": f"depth: 1\nmodel: {model}\n".encode(),
            "dvc.lock": lock.encode(),
        }

    def commit(
        self, ref: str, day: float, files: dict[str, bytes | None], *, parents: tuple[str, ...] = ()
    ) -> None:
        """Adds a commit to `ref`, which begins where the first of `parents` is; the name `ref:day` stands for it."""
        mark = len(self.marks) + 1
        message = f"{ref} day {day}".encode()
        lines = [
            f"commit {ref}\nmark :{mark}\ncommitter Ada <ada@example.invalid> {START_S + int(day * DAY_S)} +0000\n",
            f"data {len(message)}\n{message.decode()}\n",
        ]
        lines += [
            f"{'from' if at == 0 else 'merge'} :{self.marks[name]}\n" for at, name in enumerate(parents)
        ]
        self.stream += [line.encode() for line in lines]
        for path, data in files.items():
            if data is None:
                self.stream.append(f"D {path}\n".encode())
            else:
                self.stream.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
        self.marks[f"{ref}:{day}"] = mark

    def tag(self, name: str, of: str, *, annotated: bool) -> None:
        """Adds a tag."""
        if annotated:
            text = f"tag {name}\nfrom :{self.marks[of]}\ntagger Ada <ada@example.invalid> {START_S} +0000\ndata 1\nx\n"
        else:
            text = f"reset refs/tags/{name}\nfrom :{self.marks[of]}\n\n"
        self.stream.append(text.encode())

    def write(self) -> None:
        """Hands everything to Git."""
        subprocess.run(
            ["git", "fast-import", "--quiet", "--force"],
            cwd=self.world.path("repo"),
            env=self.world.env,
            input=b"".join(self.stream),
            check=True,
        )


MAIN, SIDE, OTHER, FAR = ("refs/heads/main", "refs/heads/side", "refs/heads/other", "refs/remotes/origin/far")


def grow(world: World) -> None:
    """Makes a history of 40 commits, a day each: three branches, a merge, tags, a reference of a remote."""
    world.run_git("init -q -b main")
    result = world.run(["init", "-q"], "repo", by=DVC)
    assert result.code == 0, result
    os.makedirs(world.path("remote"))
    grown = Grown(world)
    files = dict(FILES)
    with open(world.path("repo", ".dvc", "config"), "rb") as stream:
        config = stream.read()
    with open(world.path("repo", ".dvc", ".gitignore"), "rb") as stream:
        ignored = stream.read()
    base: dict[str, bytes | None] = {".dvc/config": config, ".dvc/.gitignore": ignored, ".dvcignore": b""}
    before = ""
    for day in range(20):  # main: every other commit touches data, the old model is one of DVC 2
        changes: dict[str, bytes | None] = {"code.py": f"# {day}\n".encode(), **(base if day == 0 else {})}
        if day % 2 == 0:
            files[f"{day % 3}/file-{day % 9}.txt"] = f"version {day}\n".encode()
            changes["data.dvc"] = grown.directory("data", files)
        if day % 3 == 0:
            changes["sub/model.bin.dvc"] = grown.single(
                "model.bin", f"model {day}\n".encode(), legacy=day < 10
            )
        if day in (5, 9, 13):
            name = "first.pkl" if day < 13 else "second.pkl"
            changes |= grown.pipeline(name, f"trained {day}\n".encode())
        if day == 17:
            changes["gone.dvc"] = grown.single("gone", b"there for two days\n")
        if day == 19:
            changes["gone.dvc"] = None
        grown.commit(MAIN, day, changes, parents=(before,) if before else ())
        before = f"{MAIN}:{day}"
    before = f"{MAIN}:8"
    for day in range(9, 17):  # side: merged into main, the branch stays where it was
        side = {"side.dvc": grown.single("side", f"side {day}\n".encode())}
        grown.commit(SIDE, day + 0.25, dict(side), parents=(before,))
        before = f"{SIDE}:{day + 0.25}"
    grown.commit(MAIN, 20, {"side.dvc": grown.single("side", b"merged\n")}, parents=(f"{MAIN}:19", before))
    before = f"{MAIN}:14"
    for day in range(15, 25):  # other: a branch with a directory of its own
        more = {"only/here.txt": f"{day}\n".encode(), "same.txt": FILES["0/file-0.txt"]}
        changes = {"more.dvc": grown.directory("more", more)} if day % 2 else {"code.py": b"# other\n"}
        grown.commit(OTHER, day + 0.5, changes, parents=(before,))
        before = f"{OTHER}:{day + 0.5}"
    grown.commit(FAR, 26, {"far.dvc": grown.single("far", b"far\n")}, parents=(f"{MAIN}:20",))
    grown.tag("v1", f"{MAIN}:6", annotated=False)
    grown.tag("v2", f"{MAIN}:12", annotated=True)
    grown.tag("apart", f"{SIDE}:11.25", annotated=True)
    for content in (b"added and never committed\n", b"another\n"):
        grown.store(content)
    grown.directory("never", {"a": b"never committed\n", "b": FILES["1/file-1.txt"]})
    grown.write()
    world.run_git("reset -q --hard main")
    with open(world.path("repo", "local.dvc"), "wb") as stream:  # only the workspace names it
        stream.write(grown.single("local", b"in the workspace alone\n"))
    assert len(world.run_git("rev-list --all").split()) == 40


@pytest.fixture(scope="module")
def template(real_dvc: RealDvc, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the history; copies of it are worked on."""
    root = str(tmp_path_factory.mktemp("history") / "world")
    grow(World(root, DVC, real_dvc))
    return root


class Pair(NamedTuple):
    """Two equal worlds."""

    theirs: World
    ours: World

    def both(self, act: Callable[[World], object]) -> None:
        """Does the same in both."""
        for world in self:
            act(world)

    def run(self, line: str, *, cwd: str = "repo") -> tuple[Result, Result]:
        """Runs a command of the tools; both must end with the same code."""
        results = [world.run(shlex.split(line), cwd) for world in self]
        assert results[0].code == results[1].code, results
        assert "Traceback" not in results[1].stderr, results[1]
        return results[0], results[1]

    def same(self, *stores: str) -> None:
        """Compares the objects of caches and remotes, old ones too."""
        for store in stores or ("repo/.dvc/cache", "remote"):
            assert content(self.ours, store) == content(self.theirs, store), store


def content(world: World, store: str) -> set[str]:
    """Returns the objects of a store, by path."""
    found = set()
    top = world.path(store)
    for folder, _, names in os.walk(top):
        relative = os.path.relpath(folder, top)
        if not relative.startswith(("runs", "kist-", "tmp")):
            own = "kist-" if relative == "." else "/"  # what Kist notes beside the objects is no object
            found.update(os.path.join(relative, name) for name in names if not name.startswith(own))
    return found


@pytest.fixture
def pair(real_dvc: RealDvc, template: str, tmp_path: Path) -> Pair:
    """Two copies of the history, with their remotes configured."""
    worlds = []
    for tool in (DVC, KIST):
        root = str(tmp_path / tool)
        subprocess.run(["cp", "-a", template, root], check=True)
        world = World(root, tool, real_dvc)
        # An absolute address: DVC takes a relative one in the file of a commit for one below "/".
        with open(world.path("repo", ".dvc", "config.local"), "w") as stream:
            stream.write(
                f"[core]\n    remote = store\n['remote \"store\"']\n    url = {world.path('remote')}\n"
            )
        worlds.append(world)
    return Pair(worlds[0], worlds[1])


SCOPES = (
    "-w",
    "-a",
    "-T",
    "-A",
    "-a -T",
    "--all-experiments",
    "-a -n 1",
    "-a -n 2",
    "-a -n 5",
    "-a -n 0",
    "-a -n -1",
    "--rev main",
    "--rev v2",
    "--rev other -n 4",
    "--rev main -n 3",
    "--rev main~3 -n 100",
    "--rev side -T -n 2",
    "--rev HEAD~2",
    "--date 2024-01-10",
    "--date 2024-01-27",
    "--date 2030-01-01",
    "--date 2020-01-01",
    "-w --date 2024-01-18 -T",
    "--rev side --date 2024-01-20",
    "-w --skip-failed",
    "-A --all-experiments",
)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_keeps_in_the_cache_what_dvc_keeps(pair: Pair, scope: str) -> None:
    theirs, ours = pair.run(f"gc -f {scope}")
    assert ours.code == 0
    assert ours.stdout.split("\n") == theirs.stdout.split("\n")
    pair.same()


@pytest.mark.parametrize("scope", ["-w", "-a", "-T", "-A", "-a -n 3", "--date 2024-01-15"])
def test_a_scope_keeps_in_the_remote_what_dvc_keeps(pair: Pair, scope: str) -> None:
    # Never committed and just written: a push may run (R13). Without that time they go, as with DVC.
    theirs = pair.theirs.run(shlex.split(f"gc -f -c {scope}"), "repo")
    ours = pair.ours.run(shlex.split(f"gc -f -c --grace 0 {scope}"), "repo")
    assert (ours.code, ours.stdout) == (theirs.code, theirs.stdout), ours
    pair.same()


def test_what_was_never_committed_stays_in_a_remote_for_an_hour(pair: Pair) -> None:
    """R13: somebody may push at this moment; all that was committed once goes at once."""
    pair.run("gc -f -c -w")
    more = content(pair.ours, "remote") - content(pair.theirs, "remote")
    assert {md5(b"added and never committed\n"), md5(b"another\n")} < {
        name.removeprefix("files/md5/").replace("/", "") for name in more
    }
    assert len(more) == 5  # and the directory, with both members, one of which is in older versions too


def test_options_may_be_given_in_any_way(pair: Pair) -> None:
    pair.run("gc --force --all-branches --num 2 --all-tags --jobs 2")
    pair.same()


def test_dry_shows_and_removes_nothing(pair: Pair) -> None:
    before = content(pair.ours, "repo/.dvc/cache"), content(pair.ours, "remote")
    theirs = pair.theirs.run(["gc", "-T", "-c", "--dry"], "repo")
    ours = pair.ours.run(["gc", "-T", "-c", "--dry", "--grace", "0"], "repo")
    assert ours.code == theirs.code == 0
    shown = [
        sorted(world.neutral(result.stdout).splitlines())
        for world, result in zip(pair, (theirs, ours), strict=True)
    ]
    assert shown[0] == shown[1]
    assert before == (content(pair.ours, "repo/.dvc/cache"), content(pair.ours, "remote"))


def test_not_in_remote_keeps_what_the_remote_lacks(pair: Pair) -> None:
    pair.both(lambda world: [os.unlink(world.path("remote", name)) for name in _some(world)])
    theirs, ours = pair.run("gc -f -A --not-in-remote")
    assert ours.stdout == theirs.stdout
    pair.same()


def _some(world: World) -> list[str]:
    return [name for name in sorted(content(world, "remote")) if name.endswith((".dir", "0", "5"))]


@pytest.mark.parametrize("scope", ["-w", "-a", "--rev main~2"])
def test_other_projects_keep_what_they_need(pair: Pair, scope: str) -> None:
    def clone(world: World) -> None:
        world.run_git("clone -q -b other repo second", ".")
        subprocess.run(["cp", "-a", "repo/.dvc/cache", "second/.dvc/cache"], cwd=world.root, check=True)

    pair.both(clone)
    theirs, ours = pair.run(f"gc -f {scope} -p ../second")
    assert ours.stdout == theirs.stdout
    pair.same()


def test_other_projects_keep_what_they_need_where_their_own_cache_lacks_it(pair: Pair) -> None:
    """DVC reads their manifests from their caches alone, and takes the members of those it does not find (R13)."""
    pair.both(lambda world: world.run_git("clone -q -b other repo second", "."))
    pair.run("gc -f -w -p ../second")
    more = content(pair.ours, "repo/.dvc/cache") - content(pair.theirs, "repo/.dvc/cache")
    assert len(more) == 6
    assert not content(pair.theirs, "repo/.dvc/cache") - content(pair.ours, "repo/.dvc/cache")


def test_a_remote_is_chosen_by_name(pair: Pair) -> None:
    def copied(world: World) -> None:
        subprocess.run(["cp", "-a", world.path("remote"), world.path("again")], check=True)
        with open(world.path("repo", ".dvc", "config.local"), "a") as stream:
            stream.write(f"['remote \"again\"']\n    url = {world.path('again')}\n")

    pair.both(copied)
    pair.theirs.run(["gc", "-f", "-w", "-c", "-r", "again"], "repo")
    ours = pair.ours.run(["gc", "-f", "-w", "-c", "-r", "again", "--grace", "0"], "repo")
    assert ours.code == 0
    pair.same("repo/.dvc/cache", "remote", "again")


REFUSED = (
    "gc",
    "gc -f",
    "gc -n 3 -f",
    "gc -w -n 3 -f",
    "gc -T -n 2 -f",
    "gc -w -c --not-in-remote -f",
    "gc -w -c -r nowhere -f",
    "gc -w --not-in-remote -r nowhere -f",
    "gc --rev nowhere -f",
    "gc --date yesterday -f",
    "gc -w -p /nowhere -f",
    "gc -a -n two -f",
    "gc -w",
    "gc -a -c",
    "gc -q -w",
    "gc -w something",
)


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_refused_ends_with_dvcs_code_and_removes_nothing(pair: Pair, line: str) -> None:
    before = content(pair.ours, "repo/.dvc/cache")
    _, ours = pair.run(line)
    assert ours.code != 0
    assert content(pair.ours, "repo/.dvc/cache") == before
    pair.same()


def test_a_remote_of_a_clean_up_without_c_need_not_exist(pair: Pair) -> None:
    pair.run("gc -f -w -r nowhere")
    pair.same()


def test_a_remote_that_nothing_was_pushed_to_is_no_error(pair: Pair) -> None:
    pair.both(lambda world: os.rename(world.path("remote"), world.path("elsewhere")))
    theirs, ours = pair.run("gc -f -A -c")
    assert ours.stdout == theirs.stdout


def test_the_second_time_there_is_nothing_to_do(pair: Pair) -> None:
    pair.run("gc -f -a")
    theirs, ours = pair.run("gc -f -a")
    assert (
        ours.stdout
        == theirs.stdout
        == "No unused 'repo' cache to remove.\nNo unused 'legacy' cache to remove.\n"
    )


@pytest.mark.parametrize("scope", ["-w --all-experiments", "-A"])
def test_data_of_experiments_is_kept_as_dvc_keeps_it(pair: Pair, scope: str) -> None:
    def experiment(world: World) -> None:
        head = world.run_git("rev-parse main").strip()
        grown = Grown(world)
        grown.marks[head] = 0
        ref = f"refs/exps/{head[:2]}/{head[2:]}/tidy-lion"
        grown.commit(ref, 30, {"exp.dvc": grown.single("exp", b"of an experiment\n")})
        text = b"".join(grown.stream).replace(b"M 100644", f"from {head}\nM 100644".encode(), 1)
        grown.stream = [text]
        grown.write()

    pair.both(experiment)
    theirs, ours = pair.run(f"gc -f {scope}")
    assert ours.stdout == theirs.stdout
    pair.same()


def test_a_revision_that_cannot_be_read_is_refused_and_can_be_left_out(pair: Pair) -> None:
    def broken(world: World) -> None:
        world.run_git("checkout -q -b broken side")
        with open(world.path("repo", "side.dvc"), "w") as stream:
            stream.write("<<<<<<< ours\n")
        world.run_git("commit -q -a -m broken")
        world.run_git("checkout -q main")

    pair.both(broken)
    _, refused = pair.run("gc -f -a")
    assert (refused.code, "side.dvc" in refused.stderr) == (255, True)
    pair.same()
    pair.run("gc -f -a --skip-failed")
    # Kist leaves out that file alone; what else the revision names stays (R13).
    lost = content(pair.theirs, "repo/.dvc/cache") - content(pair.ours, "repo/.dvc/cache")
    assert not lost


def test_gc_of_all_commits_after_one_of_the_workspace_keeps_the_remotes_data(pair: Pair) -> None:
    """DVC may take the remote's manifests, or their members, once the cache has lost them (scenarios, section 0)."""
    before = content(pair.ours, "remote")
    first = pair.ours.run(["gc", "-f", "-w"], "repo")
    second = pair.ours.run(["gc", "-f", "-A", "-c", "--grace", "0"], "repo")
    assert (first.code, second.code) == (0, 0), second
    never = {md5(b"added and never committed\n"), md5(b"another\n"), md5(b"never committed\n")}
    gone = {
        name.removeprefix("files/md5/").replace("/", "") for name in before - content(pair.ours, "remote")
    }
    assert never < gone
    assert len(gone) == 4  # and the manifest of the directory that was never committed


def test_data_of_an_import_is_kept_where_dvc_removes_it(pair: Pair) -> None:
    """The `.dvc` file of an import names it: it is in the scope (spec: gc, section 2)."""

    def imported(world: World) -> None:
        data = b"imported\n"
        Grown(world).store(data)
        with open(world.path("repo", "imported.dvc"), "w") as stream:
            stream.write(
                f"md5: {'a' * 32}\nfrozen: true\ndeps:\n- path: x\n  repo:\n    url: https://example.invalid/x\n"
                f"    rev_lock: {'b' * 40}\nouts:\n- md5: {md5(data)}\n  size: 9\n  hash: md5\n  path: imported\n"
            )

    pair.both(imported)
    pair.run("gc -f -w")
    more = content(pair.ours, "repo/.dvc/cache") - content(pair.theirs, "repo/.dvc/cache")
    assert {name.replace("files/md5/", "").replace("/", "") for name in more} == {md5(b"imported\n")}


def test_stashed_work_is_kept_where_dvc_removes_it(pair: Pair) -> None:
    """What a stash names is unsaved work (spec: gc, section 2)."""

    def stashed(world: World) -> None:
        with open(world.path("repo", "side.dvc"), "wb") as stream:
            stream.write(Grown(world).single("side", b"stashed\n"))
        world.run_git("stash -q")

    pair.both(stashed)
    pair.run("gc -f -w")
    more = content(pair.ours, "repo/.dvc/cache") - content(pair.theirs, "repo/.dvc/cache")
    assert {name.replace("files/md5/", "").replace("/", "") for name in more} == {md5(b"stashed\n")}


def test_without_git_the_workspace_is_every_scope(real_dvc: RealDvc, tmp_path: Path) -> None:
    worlds = []
    for tool in (DVC, KIST):
        world = World(str(tmp_path / tool), tool, real_dvc)
        assert world.run(["init", "-q", "--no-scm"], "repo", by=DVC).code == 0
        for content_ in (b"one\n", b"two\n"):
            with open(world.path("repo", "file"), "wb") as stream:
                stream.write(content_)
            assert world.run(["add", "-q", "file"], "repo", by=DVC).code == 0
        worlds.append(world)
    pair = Pair(worlds[0], worlds[1])
    theirs, ours = pair.run("gc -f -a")
    assert (
        ours.stdout
        == theirs.stdout
        == "Removed 1 objects from repo cache.\nNo unused 'legacy' cache to remove.\n"
    )
    pair.same("repo/.dvc/cache")
