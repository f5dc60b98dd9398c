"""A push to a remote that keeps versions, killed at each of its changing calls: no metafile names what is not there."""

from __future__ import annotations

import contextlib
import hashlib
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers

from kist.formats.metafile import parse_metafile
from kist.formats.records import Digest

from . import worlds
from .harness import KIST, Arena, Snapshot, World, for_each_kill
from .invariants import false_objects, is_lasting

pytestmark = pytest.mark.timeout(600)


class Service:
    """A service that keeps versions, in memory: what it holds is gone with `renew`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = servers.free_port()
        self._stack = contextlib.ExitStack()
        self.address = f"http://127.0.0.1:{self._port}"

    def renew(self) -> None:
        """Starts it, empty."""
        self._stack.close()
        self._stack.enter_context(servers.fake_gcs_at(self._folder, self._port))
        servers.make_gcs_bucket(self.address, "data")

    def read(self, path: str, version: str) -> bytes:
        """Returns the bytes of a version."""
        name = urllib.parse.quote(f"store/{path}", safe="")
        url = f"{self.address}/download/storage/v1/b/data/o/{name}?alt=media&generation={version}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            data: bytes = answer.read()
        return data

    def close(self) -> None:
        """Ends it."""
        self._stack.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Yields a service without anything in it."""
    service = Service(tmp_path)
    service.renew()
    yield service
    service.close()


def matters(rel: str) -> bool:
    return is_lasting(rel) and not rel.endswith(".dvc")  # each push has versions of its own


def versions(state: Snapshot) -> dict[str, tuple[Digest | None, str]]:
    """Returns what the metafiles name: path -> id and version."""
    found = {}
    for rel, entry in state.items():
        if rel.startswith("repo/") and rel.endswith(".dvc") and entry.kind == "file":
            for out in parse_metafile(entry.content, name=rel).outs:
                for item in out.files or (out,):
                    path = f"{out.path}/{item.relpath}" if item is not out else out.path  # type: ignore[union-attr]
                    if item.cloud:
                        found[path] = item.digest, item.cloud["cloud"]["version_id"]
    return found


def wrong(state: Snapshot, service: Service) -> list[str]:
    """Returns which versions do not have the bytes that a metafile says."""
    lines = []
    for path, (digest, version) in versions(state).items():
        found = hashlib.md5(service.read(path, version), usedforsecurity=False).hexdigest()
        if digest is None or found != digest.value:
            lines.append(f"version {version} of {path} has id {found}")
    return lines


def test_a_kill_at_any_call_leaves_metafiles_that_name_right_versions(arena: Arena, service: Service) -> None:
    worlds.added(arena)
    arena.must("remote", "add", "-f", "-d", "cloud", "gs://data/store")
    for option, value in (("endpointurl", service.address), ("version_aware", "true")):
        arena.must("remote", "modify", "cloud", option, value)

    def check(world: World) -> list[str]:
        lines = false_objects(world.now) + wrong(world.now, service)
        again = arena.run((*KIST, "push", "-q"))
        if again.status != 0:
            lines.append(f"the next push fails: {again}")
        after = arena.snapshot()
        lines += wrong(after, service)
        if len(versions(after)) != len(worlds.V1):
            lines.append(f"only {sorted(versions(after))} have a version")
        service.renew()
        return lines

    for_each_kill(arena, (*KIST, "push", "-q"), check, matters=matters).check()
