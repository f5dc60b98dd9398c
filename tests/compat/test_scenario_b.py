"""Scenario B: a team's server. Three accounts, two projects, one cache, a storage behind it.

Needs root, who makes the accounts and takes them away again. The commands run in forked children of this process that have
become the user, for the interpreter itself may lie where only root can read.
"""

from __future__ import annotations

import grp
import importlib
import os
import pkgutil
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

import kist
from kist.cli.main import main
from kist.testing.project import Project

pytestmark = [
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can make accounts"),
    pytest.mark.skipif(shutil.which("useradd") is None, reason="there is no useradd"),
    pytest.mark.timeout(300),
]

_USED_LATER = (
    "sqlite3",
    "ctypes",
    "datetime",
    "shlex",
    "zlib",
    "selectors",
    "traceback",
    "getpass",
    "encodings.idna",
)


class Answer(NamedTuple):
    """How a command of a user ended."""

    code: int
    out: str
    err: str


class User:
    """One account.

    Attributes:
        name: of the account.
        home: a folder of its own, readable for the group.
    """

    def __init__(self, name: str, group: int, home: str, *, umask: int) -> None:
        self.name = name
        self.home = home
        self._uid = pwd.getpwnam(name).pw_uid
        self._group = group
        self._umask = umask
        os.mkdir(home)
        os.chown(home, self._uid, group)
        os.chmod(home, 0o2750)

    def start(self, *words: str, cwd: str, log: str) -> int:
        """Starts a kist command, or `git ...`; returns the process."""
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            self._become(cwd, log)
            if words[0] == "git":
                code = subprocess.run(words, check=False).returncode
            else:
                code = main(list(words))
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - this process must not go on as the test
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def _become(self, cwd: str, log: str) -> None:
        for number, name in ((0, os.devnull), (1, log + ".out"), (2, log + ".err")):
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(0, "r", closefd=False),
            os.fdopen(1, "w", closefd=False),
            os.fdopen(2, "w", closefd=False),
        )
        os.closerange(3, 256)  # a lock that the test holds is not this process's
        os.setgroups([self._group])
        os.setgid(self._group)
        os.setuid(self._uid)
        os.umask(self._umask)
        os.environ.clear()
        os.environ.update(
            {
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": self.home,
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_AUTHOR_NAME": self.name,
                "GIT_AUTHOR_EMAIL": "team@example.invalid",
                "GIT_COMMITTER_NAME": self.name,
                "GIT_COMMITTER_EMAIL": "team@example.invalid",
            }
        )
        os.chdir(cwd)


class Server:
    """The machine: `shared` belongs to the team, each user has a home."""

    def __init__(self, root: str, names: list[str], group: int) -> None:
        self.root = root
        self.shared = os.path.join(root, "shared")
        self.logs = os.path.join(root, "logs")
        self.cache = os.path.join(self.shared, "cache")
        self.store = os.path.join(self.shared, "store")
        for folder, mode in ((self.shared, 0o2775), (self.logs, 0o777)):
            os.mkdir(folder)
            os.chown(folder, 0, group)
            os.chmod(folder, mode)
        self.group = group
        # Different habits: what one forbids to the group by default must not shut the others out.
        umasks = (0o027, 0o022, 0o007)
        self.ada, self.bob, self.cyd = (
            User(name, group, os.path.join(root, name), umask=umask)
            for name, umask in zip(names, umasks, strict=True)
        )
        self._count = 0
        for user in (self.ada, self.bob, self.cyd):
            with open(os.path.join(user.home, ".gitconfig"), "w") as stream:
                stream.write("[safe]\n")
                stream.writelines(f"\tdirectory = {self.shared}/{name}.git\n" for name in ("one", "two"))

    def try_run(self, user: User, *words: str, cwd: str) -> Answer:
        """Runs a command as a user, from a path below the home."""
        log = self._log()
        return self.wait(user.start(*words, cwd=os.path.join(user.home, cwd), log=log), log)

    def run(self, user: User, *words: str, cwd: str) -> Answer:
        """Runs a command that must succeed."""
        answer = self.try_run(user, *words, cwd=cwd)
        assert answer.code == 0, (words, answer)
        return answer

    def together(self, *jobs: tuple[User, tuple[str, ...], str]) -> list[Answer]:
        """Runs commands of several users at once."""
        started = []
        for user, words, cwd in jobs:
            log = self._log()
            started.append((user.start(*words, cwd=os.path.join(user.home, cwd), log=log), log))
        return [self.wait(child, log) for child, log in started]

    def _log(self) -> str:
        self._count += 1
        return os.path.join(self.logs, str(self._count))

    def wait(self, child: int, log: str) -> Answer:
        """Returns how a command ended."""
        _, status = os.waitpid(child, 0)
        with open(log + ".out") as out, open(log + ".err") as err:
            return Answer(os.waitstatus_to_exitcode(status), out.read(), err.read())

    def write(self, user: User, path: str, content: str) -> None:
        """Writes a file as a user would: a new one, never through a link."""
        target = os.path.join(user.home, path)
        missing = []
        folder = os.path.dirname(target)
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            os.mkdir(folder)
            os.chown(folder, pwd.getpwnam(user.name).pw_uid, self.group)
        if os.path.lexists(target):
            os.unlink(target)
        with open(target, "w") as stream:
            stream.write(content)
        os.chown(target, pwd.getpwnam(user.name).pw_uid, self.group)
        os.chmod(target, 0o600)

    def objects(self, base: str) -> dict[str, tuple[int, int]]:
        """Returns id -> inode and time of change of the content, of all objects of a store."""
        found = {}
        top = os.path.join(base, "files", "md5")
        for prefix in os.listdir(top) if os.path.isdir(top) else ():
            for name in os.listdir(os.path.join(top, prefix)):
                status = os.stat(os.path.join(top, prefix, name))
                found[prefix + name] = (status.st_ino, status.st_mtime_ns)
        return found

    def project(self, user: User, path: str, *, link: str) -> None:
        """Makes a project that uses the team's cache and storage, and the Git repository that others clone."""
        bare = os.path.join(self.shared, f"{path}.git")
        subprocess.run(["git", "init", "-q", "--bare", "--shared=group", "-b", "main", bare], check=True)
        os.makedirs(os.path.join(user.home, path))
        os.chown(os.path.join(user.home, path), pwd.getpwnam(user.name).pw_uid, self.group)
        subprocess.run(["chgrp", "-R", str(self.group), bare], check=True)
        self.run(user, "git", "init", "-q", "-b", "main", cwd=path)
        self.run(user, "init", "-q", cwd=path)
        self.run(user, "config", "cache.shared", "group", cwd=path)
        self.run(user, "cache", "dir", self.cache, cwd=path)
        self.run(user, "config", "cache.type", link, cwd=path)
        self.run(user, "remote", "add", "-q", "-d", "store", self.store, cwd=path)
        self.run(user, "remote", "modify", "store", "shared", "group", cwd=path)
        self.run(user, "git", "remote", "add", "origin", bare, cwd=path)
        self.commit(user, path, "start")

    def commit(self, user: User, path: str, message: str) -> None:
        """Commits everything and publishes it."""
        self.run(user, "git", "add", "-A", cwd=path)
        self.run(user, "git", "commit", "-q", "-m", message, cwd=path)
        self.run(user, "git", "push", "-q", "-u", "origin", "main", cwd=path)

    def clone(self, user: User, path: str, *, into: str = "") -> None:
        """Clones a project's Git repository."""
        bare = os.path.join(self.shared, f"{path}.git")
        self.run(user, "git", "clone", "-q", bare, into or path, cwd="")


def _import_everything() -> None:
    """Loads what commands load late, while it can be read."""
    for module in pkgutil.walk_packages(kist.__path__, "kist."):
        if module.name.startswith("kist.integrations."):
            continue
        if ".remotes." not in module.name or module.name.endswith((".base", ".local")):
            importlib.import_module(module.name)
    for name in _USED_LATER:
        importlib.import_module(name)


@pytest.fixture(scope="module")
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    _import_everything()
    project = Project(str(tmp_path_factory.mktemp("warm") / "project"))
    project.write({"data/a": "a\n"})
    project.kist("remote", "add", "-q", "-d", "store", str(tmp_path_factory.mktemp("store")))
    project.kist("add", "data")
    project.commit()
    for line in ("push", "pull", "status", "gc -A -c -f", "gc -w"):
        project.try_kist(*line.split())


@pytest.fixture
def server(_loaded: None) -> Iterator[Server]:
    """A server with three accounts in a group of their own."""
    suffix = f"{os.getpid() % 100000}"
    group = f"kteam{suffix}"
    names = [f"{name}{suffix}" for name in ("kada", "kbob", "kcyd")]
    root = tempfile.mkdtemp(prefix="kist-server-")
    os.chmod(root, 0o755)
    made: list[str] = []
    try:
        done = subprocess.run(["groupadd", group], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no group can be made here: {done.stderr}")
        for name in names:
            subprocess.run(["useradd", "-M", "-N", "-g", group, name], check=True, capture_output=True)
            made.append(name)
        yield Server(root, names, grp.getgrnam(group).gr_gid)
    finally:
        for name in made:
            subprocess.run(["userdel", name], check=False, capture_output=True)
        subprocess.run(["groupdel", group], check=False, capture_output=True)
        shutil.rmtree(root)


DATA = {f"data/{number}.txt": f"data {number}\n" for number in range(6)}


def publish(server: Server, *, link: str = "symlink") -> None:
    """Ada's project with two versions of data, pushed."""
    server.project(server.ada, "one", link=link)
    for path, content in DATA.items():
        server.write(server.ada, f"one/{path}", content)
    server.run(server.ada, "add", "-q", "data", cwd="one")
    server.commit(server.ada, "one", "first")
    server.run(server.ada, "git", "tag", "v1", cwd="one")
    server.write(server.ada, "one/data/0.txt", "changed\n")
    server.run(server.ada, "add", "-q", "data", cwd="one")
    server.commit(server.ada, "one", "second")
    server.run(server.ada, "git", "push", "-q", "--tags", cwd="one")
    server.run(server.ada, "push", "-q", "-A", cwd="one")


def files(folder: str) -> dict[str, str]:
    """Returns the content of a folder."""
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as stream:
            found[f"data/{name}"] = stream.read()
    return found


@pytest.mark.parametrize("link", ["symlink", "hardlink,symlink"])
def test_one_copy_on_disk_and_nothing_moves(server: Server, link: str) -> None:
    publish(server, link=link)
    before = server.objects(server.cache)
    os.rename(server.store, server.store + ".away")  # nobody can transfer anything

    server.clone(server.bob, "one")
    server.run(server.bob, "pull", cwd="one")
    assert files(f"{server.bob.home}/one/data") == DATA | {"data/0.txt": "changed\n"}
    server.run(server.bob, "git", "checkout", "-q", "v1", cwd="one")
    server.run(server.bob, "checkout", cwd="one")
    assert files(f"{server.bob.home}/one/data") == DATA
    assert server.objects(server.cache) == before

    inodes = {inode for inode, _ in before.values()}
    for user in (server.ada, server.bob):
        folder = f"{user.home}/one/data"
        assert {os.stat(os.path.join(folder, name)).st_ino for name in os.listdir(folder)} <= inodes


def test_hard_links_to_objects_of_others_become_copies_and_nobody_is_shut_out(server: Server) -> None:
    publish(server, link="hardlink")
    server.clone(server.bob, "one")
    server.run(server.bob, "pull", cwd="one")
    assert files(f"{server.bob.home}/one/data") == DATA | {"data/0.txt": "changed\n"}
    server.write(server.bob, "one/data/1.txt", "by Bob\n")
    server.run(server.bob, "add", "-q", "data", cwd="one")
    server.commit(server.bob, "one", "third")
    server.run(server.ada, "git", "pull", "-q", cwd="one")
    server.run(server.ada, "pull", cwd="one")
    assert files(f"{server.ada.home}/one/data")["data/1.txt"] == "by Bob\n"


def test_a_second_project_with_the_same_data_stores_nothing_and_keeps_it(server: Server) -> None:
    publish(server)
    server.project(server.bob, "two", link="symlink")
    before = server.objects(server.cache)
    for path, content in DATA.items():
        server.write(server.bob, f"two/{path}", content)
    server.run(server.bob, "add", "-q", "data", cwd="two")
    assert server.objects(server.cache) == before
    server.commit(server.bob, "two", "the same data")

    server.run(server.ada, "remove", "data.dvc", "--outs", cwd="one")
    server.commit(server.ada, "one", "removed")
    answer = server.run(server.ada, "gc", "-w", "-f", cwd="one")
    assert "Removed 2 objects from repo cache." in answer.out, (
        answer
    )  # of the second version, which Bob has not
    assert files(f"{server.bob.home}/two/data") == DATA
    server.run(server.bob, "gc", "-w", "-f", cwd="two")
    assert files(f"{server.bob.home}/two/data") == DATA


def test_what_no_project_needs_any_more_goes_whoever_stored_it(server: Server) -> None:
    publish(server)
    server.clone(server.cyd, "one")
    server.run(server.cyd, "pull", cwd="one")
    server.run(server.cyd, "remove", "data.dvc", "--outs", cwd="one")
    server.run(server.cyd, "git", "checkout", "-q", "--orphan", "fresh", cwd="one")
    server.run(server.cyd, "git", "add", "-A", cwd="one")
    server.run(server.cyd, "git", "commit", "-q", "-m", "fresh", cwd="one")
    kept = server.objects(server.cache)
    server.run(server.cyd, "gc", "-w", "-f", cwd="one")
    assert server.objects(server.cache) == kept  # Ada's project still names all of it
    shutil.rmtree(f"{server.ada.home}/one")
    refused = server.try_run(server.cyd, "gc", "-w", "-f", cwd="one")
    assert refused.code == 255
    assert f"{server.ada.home}/one" in refused.err and server.ada.name in refused.err
    server.run(server.cyd, "gc", "--forget-project", f"{server.ada.home}/one", "-w", "-f", cwd="one")
    assert server.objects(server.cache) == {}


def test_a_project_that_may_not_be_read_makes_gc_refuse(server: Server) -> None:
    publish(server)
    server.clone(server.cyd, "one", into="private")
    server.run(server.cyd, "pull", cwd="private")
    os.chmod(f"{server.cyd.home}/private", 0o700)
    before = server.objects(server.cache)
    refused = server.try_run(server.ada, "gc", "-w", "-f", cwd="one")
    assert refused.code == 255
    assert f"{server.cyd.home}/private" in refused.err and server.cyd.name in refused.err
    assert server.objects(server.cache) == before
    server.run(server.cyd, "gc", "-w", "-f", cwd="private")  # she reads the others'


def test_everybody_may_add_fetch_and_clean_up_whatever_the_umask(server: Server) -> None:
    publish(server)
    for user in (server.bob, server.cyd):
        server.clone(user, "one")
        server.run(user, "pull", cwd="one")
        server.write(user, f"one/{user.name}.bin", f"by {user.name}\n")
        server.run(user, "add", "-q", f"{user.name}.bin", cwd="one")
        server.run(user, "push", "-q", cwd="one")
    for base in (server.cache, server.store):
        for folder, folders, names in os.walk(base):
            if os.path.basename(folder) == "kist-projects":
                continue
            status = os.stat(folder)
            assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o2775, server.group), folder
            for name in names:
                mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
                assert mode == (0o644 if name == "README-kist.md" else 0o444), os.path.join(folder, name)
            assert not [name for name in folders if name.startswith(".kist-")]
    for user in (server.bob, server.cyd, server.ada):
        server.run(user, "status", cwd="one")
        server.run(user, "gc", "-A", "-f", cwd="one")
        server.run(user, "checkout", cwd="one")


def test_two_clones_pull_at_once_into_an_empty_cache(server: Server) -> None:
    publish(server)
    subprocess.run(["rm", "-r", server.cache], check=True)
    for user in (server.bob, server.cyd):
        server.clone(user, "one")
    answers = server.together((server.bob, ("pull",), "one"), (server.cyd, ("pull",), "one"))
    assert [answer.code for answer in answers] == [0, 0], answers
    for user in (server.bob, server.cyd):
        assert files(f"{user.home}/one/data") == DATA | {"data/0.txt": "changed\n"}
    assert len(server.objects(server.cache)) == len(DATA) + 1


def test_clean_up_waits_for_a_command_of_another_project(server: Server) -> None:
    """No command of a known project is between storing and naming while objects are removed (F42, F46)."""
    publish(server)
    server.clone(server.bob, "one")
    server.run(server.bob, "pull", cwd="one")
    import fcntl

    with open(f"{server.bob.home}/one/.dvc/tmp/lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        log = os.path.join(server.logs, "waiting")
        child = server.ada.start("gc", "-w", "-f", cwd=f"{server.ada.home}/one", log=log)
        time.sleep(0.3)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    answer = server.wait(child, log)
    assert answer.code == 0, answer
