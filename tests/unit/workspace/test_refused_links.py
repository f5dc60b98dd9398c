"""Checking out objects that may not be hard-linked: those of other users, where the kernel protects them."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from kist.base.progress import SilentProgress
from kist.formats.manifest import tree_of
from kist.store import links
from kist.store.loose import LooseStore
from kist.workspace.checkout import Done, apply_plan, plan_checkout

FILES = {"mine": b"mine\n", "theirs": b"theirs\n", "deep/theirs too": b"also theirs\n"}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def check_out(root: Path, after: str) -> Done:
    store = LooseStore(str(root / "cache"))
    store.make_prefixes({md5(data)[:2] for data in FILES.values()})
    for data in FILES.values():
        store.write_small(md5(data), data)
    (root / "repo").mkdir()
    plan = plan_checkout(
        str(root / "repo"), "data", None, tree_of({path: md5(data) for path, data in FILES.items()})
    )
    return apply_plan(
        plan,
        None,
        store,
        link=links.HARDLINK,
        trusted={},
        workers=1,
        progress=SilentProgress(),
        after_hardlink=after,
    )


@pytest.fixture
def _protected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses hard links to some objects. As a mock: a real refusal needs a second user (test_scenario_b has one)."""
    make_link = links.make_link

    def refuse(kind: str, source: str, name: str, *, folder: int | None = None) -> None:
        if kind == links.HARDLINK and Path(source).read_bytes() != FILES["mine"]:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        make_link(kind, source, name, folder=folder)

    monkeypatch.setattr(links, "make_link", refuse)


@pytest.mark.usefixtures("_protected")
@pytest.mark.parametrize("after", [links.SYMLINK, links.COPY])
def test_a_refused_hard_link_becomes_what_comes_next(tmp_path: Path, after: str) -> None:
    done = check_out(tmp_path, after)
    data = tmp_path / "repo" / "data"
    assert {path: (data / path).read_bytes() for path in FILES} == FILES
    assert (done.missing, done.corrupt) == ([], [])
    assert os.stat(data / "mine").st_nlink == 2
    for path in ("theirs", "deep/theirs too"):
        assert (data / path).is_symlink() == (after == links.SYMLINK)
        assert os.lstat(data / path).st_nlink == 1
    assert not [name for name in os.listdir(data) if name.startswith(".kist-")]


def test_what_comes_next_is_read_from_the_list() -> None:
    assert links.after_hardlink(("hardlink", "symlink")) == links.SYMLINK
    assert links.after_hardlink(("reflink", "hardlink", "symlink", "copy")) == links.SYMLINK
    assert links.after_hardlink(("hardlink", "copy", "symlink")) == links.COPY
    assert links.after_hardlink(("hardlink",)) == links.COPY
    assert links.after_hardlink(("reflink", "copy")) == links.COPY
