"""Repositories and storages made by an attacker (F68-F73): nothing outside the outputs is written, read or run."""

from __future__ import annotations

import json
import os

import pytest

from . import worlds
from .harness import KIST, Arena, Snapshot, snapshot
from .invariants import CACHE, md5, objects

pytestmark = pytest.mark.timeout(120)

EVIL = b"evil"
SECRET = b"the secret of somebody else\n"


def store_object(arena: Arena, content: bytes, *, suffix: str = "") -> str:
    """Puts an object into the remote, as the attacker's push would; returns its id."""
    oid = md5(content)
    path = os.path.join(arena.remote, "files/md5", oid[:2], oid[2:] + suffix)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content)
    return oid + suffix


def metafile(oid: str, path: str, extra: str = "") -> bytes:
    return f"outs:\n- md5: {oid}\n  size: 4\n  hash: md5\n  path: {json.dumps(path)}\n{extra}".encode()


def outside(state: Snapshot) -> Snapshot:
    """Returns all but what a pull may change: the output, the cache and private state."""
    allowed = ("repo/data", "repo/.dvc/cache", "repo/.dvc/tmp", "home")
    return {rel: entry for rel, entry in state.items() if not rel.startswith(allowed)}


def victim(arena: Arena) -> None:
    """A repository with a hook folder, a secret beside it, and nothing of its own."""
    worlds.empty(arena)
    arena.write("../secret.txt", SECRET)
    arena.write("precious.txt", b"mine")
    os.makedirs(arena.path(".git/hooks"), exist_ok=True)


RELPATHS = [
    "../escaped", "../../escaped", "a/../../escaped", "/tmp/kist-escaped",
    "../.git/hooks/post-checkout", ".git/hooks/x",
    "sub/.git/config", ".GIT/config", "../.dvc/config", ".dvc/config", "nul\0byte", "..\\escaped",
    "", ".", "..", "a//b", "a/",
    "./a", "a/./b", "a/b/..",
]  # fmt: skip


@pytest.mark.parametrize("relpath", RELPATHS, ids=repr)
@pytest.mark.parametrize("command", ["pull", "checkout"])
def test_a_manifest_cannot_lead_out_of_its_folder(arena: Arena, relpath: str, command: str) -> None:
    victim(arena)
    member = store_object(arena, EVIL)
    manifest = json.dumps([{"md5": member, "relpath": relpath}]).encode()
    oid = store_object(arena, manifest, suffix=".dir")
    arena.write("data.dvc", metafile(oid, "data"))
    if command == "checkout":
        for where in (".dvc/cache",):
            os.makedirs(arena.path(where), exist_ok=True)
            arena.run(("cp", "-r", arena.remote + "/files", arena.path(where)))
    before = outside(arena.snapshot())
    hooks = os.listdir(arena.path(".git/hooks"))
    config = snapshot(arena.path(".git")).get("config")
    result = arena.kist(command)
    assert not result.crashed()
    assert outside(arena.snapshot()) == before
    assert os.listdir(arena.path(".git/hooks")) == hooks
    assert snapshot(arena.path(".git")).get("config") == config
    assert not os.path.exists("/tmp/kist-escaped")
    assert result.status != 0
    found = snapshot(arena.path("data")) if os.path.isdir(arena.path("data")) else {}
    assert [rel for rel in found if found[rel].kind == "file"] == []


OUTPUTS = [
    "../escaped",
    "/tmp/kist-escaped-output",
    ".git/hooks/post-checkout",
    ".dvc/config.local",
    ".git",
    ".dvc",
    "sub/../../x",
    ".",
]


@pytest.mark.parametrize("path", OUTPUTS)
def test_an_output_cannot_lie_outside_or_in_git_or_in_dvc(arena: Arena, path: str) -> None:
    victim(arena)
    arena.write("data.dvc", metafile(store_object(arena, EVIL), path))
    before = outside(arena.snapshot())
    hooks = os.listdir(arena.path(".git/hooks"))
    for command in (("pull",), ("checkout",), ("checkout", "--force")):
        result = arena.kist(*command)
        assert not result.crashed()
        assert result.status != 0, command
    assert outside(arena.snapshot()) == before
    assert os.listdir(arena.path(".git/hooks")) == hooks
    assert not os.path.lexists("/tmp/kist-escaped-output")


def test_an_output_below_a_link_that_git_tracks_is_not_written_through_it(arena: Arena) -> None:
    victim(arena)
    elsewhere = os.path.join(arena.work, "elsewhere")
    os.mkdir(elsewhere)
    os.symlink(elsewhere, arena.path("linked"))
    arena.write("evil.dvc", metafile(store_object(arena, EVIL), "linked/pwned"))
    for command in (("pull",), ("checkout", "--force")):
        result = arena.kist(*command)
        assert not result.crashed()
        assert result.status != 0
    assert os.listdir(elsewhere) == []


def test_a_link_inside_a_tracked_folder_is_not_written_through(arena: Arena) -> None:
    victim(arena)
    elsewhere = os.path.join(arena.work, "elsewhere")
    os.mkdir(elsewhere)
    member = store_object(arena, EVIL)
    manifest = json.dumps([{"md5": member, "relpath": "sub/pwned"}]).encode()
    arena.write("data.dvc", metafile(store_object(arena, manifest, suffix=".dir"), "data"))
    os.mkdir(arena.path("data"))
    os.symlink(elsewhere, arena.path("data/sub"))
    result = arena.kist("pull")
    assert not result.crashed()
    assert os.listdir(elsewhere) == []


OIDS = [
    "../../secret",
    "../../../secret.txt",
    "/etc/passwd",
    "aa/../../../secret.txt",
    "d3b07384d113edec49eaa6238ad5ff0",
    "d3b07384d113edec49eaa6238ad5ff0g",
    "..",
    "d3b07384d113edec49eaa6238ad5ff00.dir/../x",
]


@pytest.mark.parametrize("oid", OIDS)
def test_a_digest_that_is_a_path_reads_no_file(arena: Arena, oid: str) -> None:
    victim(arena)
    arena.write("data.dvc", f'outs:\n- md5: "{oid}"\n  hash: md5\n  path: data\n'.encode())
    for command in (("pull",), ("checkout",), ("push",), ("fetch",)):
        result = arena.kist(*command)
        assert not result.crashed()
        assert result.status != 0, command
    assert not os.path.lexists(arena.path("data"))
    state = arena.snapshot()
    assert [rel for rel, entry in state.items() if entry.content == SECRET] == ["secret.txt"]


def test_a_member_digest_that_is_a_path_reads_no_file(arena: Arena) -> None:
    victim(arena)
    manifest = json.dumps([{"md5": "../../../../secret.txt", "relpath": "stolen"}]).encode()
    arena.write("data.dvc", metafile(store_object(arena, manifest, suffix=".dir"), "data"))
    result = arena.kist("pull")
    assert result.status != 0
    assert not result.crashed()
    assert not os.path.exists(arena.path("data/stolen"))
    assert arena.kist("push").status != 0


def bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join([*lines, "outs:", "- path: data", "  meta: *a11", ""]).encode()


PWN = "!!python/object/apply:os.system ['touch pwned']"
PAYLOADS = {
    "alias bomb": bomb(),
    "object": f"outs:\n- md5: {PWN}\n  path: data\n".encode(),
    "meta object": f"meta: {PWN}\nouts:\n- path: data\n".encode(),
    "object new": b"outs: !!python/object/new:subprocess.Popen [['touch', 'pwned']]\n",
    "module": b"outs: !!python/module:antigravity\n",
    "deep": b"meta: " + b"[" * 50_000 + b"]" * 50_000 + b"\nouts:\n- path: data\n",
    "deep map": b"meta: " + b"{a: " * 5_000 + b"1" + b"}" * 5_000 + b"\nouts:\n- path: data\n",
}
MEMORY_BYTES = 1 << 30


def little_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("name", ["data.dvc", "dvc.yaml", "dvc.lock"])
def test_a_hostile_metafile_runs_nothing_and_ends_in_little_memory(
    arena: Arena, kind: str, name: str
) -> None:
    victim(arena)
    arena.write(name, PAYLOADS[kind])
    if name == "dvc.lock":
        arena.write("dvc.yaml", b"stages:\n  one:\n    cmd: touch pwned\n    outs: [data]\n")
    for command in ("status", "checkout"):
        result = arena.run((*KIST, command), before=little_memory, timeout_s=60)
        assert not result.crashed()
        assert "MemoryError" not in result.err
        assert result.status >= 0
    assert not os.path.exists(arena.path("pwned"))


PIPELINE = b"""stages:
  one:
    cmd: touch pwned
    deps: [precious.txt]
    outs: [made]
  two:
    cmd: touch pwned-too
    deps: [made]
"""


def test_commands_that_read_or_move_data_run_no_stage(arena: Arena) -> None:
    worlds.two_versions(arena)
    arena.write("dvc.yaml", PIPELINE)
    arena.write("precious.txt", b"x")
    for command in (
        ("status",),
        ("data", "status"),
        ("push",),
        ("fetch",),
        ("pull",),
        ("checkout",),
        ("status", "-c"),
        ("diff",),
    ):
        result = arena.kist(*command)
        assert not result.crashed(), command
    assert [name for name in os.listdir(arena.repo) if name.startswith("pwned")] == []


def test_a_pickle_in_the_repository_is_never_loaded(arena: Arena) -> None:
    worlds.edited(arena)
    pickled = b"cposix\nsystem\n(S'touch pwned'\ntR."
    for folder, _, names in os.walk(arena.home):
        for name in names:
            arena.write(os.path.join(folder, name), pickled)
    for rel in ("index", "state", "cache.db", "links", "rwlock", "lock"):
        arena.write(".dvc/tmp/" + rel, pickled)
    for command in (("status",), ("add", "data"), ("push",), ("checkout",)):
        arena.kist(*command)
    assert not os.path.exists(arena.path("pwned"))


URLS = [
    "ext::sh -c touch% pwned", "--upload-pack=touch pwned", "ssh://-oProxyCommand=touch%20pwned/x", "-u touch pwned",
    "file://--upload-pack=touch pwned",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_an_address_that_is_an_option_or_a_command_is_not_executed(arena: Arena, url: str) -> None:
    worlds.added(arena)
    arena.write(".dvc/config", f"[core]\n    remote = x\n['remote \"x\"']\n    url = {url}\n".encode())
    for command in (("list", "--", url), ("du", "--", url), ("push",), ("pull",), ("status", "-c")):
        result = arena.kist(*command)
        assert not result.crashed(), command
    everywhere = [name for _, folders, names in os.walk(arena.work) for name in (*folders, *names)]
    assert "pwned" not in everywhere
    assert objects(arena.snapshot(), CACHE)
