"""The mode of objects does not depend on the umask: others of a group must be able to read them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.base.listing import pack_stat
from kist.base.progress import SilentProgress
from kist.store import links
from kist.store.copying import copy_objects
from kist.store.ingest import FileBatch, store_batches
from kist.store.loose import LooseStore

DATA = b"content\n"
OID = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def _private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("link", [links.COPY, links.HARDLINK, links.SYMLINK])
def test_added_objects_and_their_folders_are_for_the_group(tmp_path: Path, link: str) -> None:
    source = tmp_path / "file"
    source.write_bytes(DATA)
    store = LooseStore(str(tmp_path / "cache"), shared_group=True)
    batch = FileBatch(str(tmp_path), "file", pack_stat(os.stat(source)))
    store_batches([batch], store, link=link, workers=1, progress=SilentProgress())
    assert mode(store.path(OID)) == 0o444
    folder = os.path.dirname(store.path(OID))
    while folder != str(tmp_path):
        assert mode(folder) == 0o2775, folder
        folder = os.path.dirname(folder)


def test_copied_objects_and_manifests_are_for_the_group(tmp_path: Path) -> None:
    source, target = (LooseStore(str(tmp_path / name), shared_group=True) for name in ("from", "to"))
    source.write_small(OID, DATA)
    copy_objects([OID], source, target, workers=1, progress=SilentProgress(), phase="Copying")
    assert mode(target.path(OID)) == mode(source.path(OID)) == 0o444
    assert mode(os.path.dirname(target.path(OID))) == 0o2775
