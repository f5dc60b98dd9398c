"""Content ids whatever the size, the hint and the blocks."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.objects import md5

from kist.base import digests


@given(st.binary(max_size=70), st.integers(0, 80))
def test_the_digest_does_not_depend_on_the_expected_size_or_the_blocks(data: bytes, hint: int) -> None:
    with tempfile.NamedTemporaryFile() as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "BLOCK_SIZE", 16)
        stream.write(data)
        stream.flush()
        assert digests.read_md5(stream.name, hint) == (hashlib.md5(data).digest(), len(data))


def test_a_file_larger_than_a_block_is_read_whole(tmp_path: Path) -> None:
    data = os.urandom(digests.BLOCK_SIZE + 17)
    (tmp_path / "file").write_bytes(data)
    assert digests.read_md5(str(tmp_path / "file"))[0].hex() == md5(data)


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file") as caught:
        digests.read_md5(str(tmp_path / "pipe"))
    assert caught.value.errno == errno.EINVAL and caught.value.filename == str(tmp_path / "pipe")


def test_a_read_error_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "file")
    Path(path).write_bytes(b"data")

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        digests.read_md5(path)
    assert caught.value.filename == path


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\rb\n", b"a\rb\n"),
        (b"", b""),
        (b"\0\r\n", b"\0\r\n"),
        (b"\x80" * 31 + b"a" * 67 + b"\r\n", b"\x80" * 31 + b"a" * 67 + b"\r\n"),
        (b"\x80" * 30 + b"a" * 68 + b"\r\n", b"\x80" * 30 + b"a" * 68 + b"\n"),
    ],
)
def test_the_old_id_of_text_is_that_of_unix_lines(tmp_path: Path, data: bytes, expected: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    wanted = hashlib.md5(expected).digest()
    assert digests.read_legacy_md5(str(tmp_path / "file")) == (wanted, wanted)


def test_the_two_old_ids_differ_where_a_later_block_changes_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "BLOCK_SIZE", 8)
    (tmp_path / "file").write_bytes(b"text\r\n..\0\0\0\0\0\0\r\n")
    once, each = digests.read_legacy_md5(str(tmp_path / "file"))
    assert once == hashlib.md5(b"text\n..\0\0\0\0\0\0\n").digest()
    assert each == hashlib.md5(b"text\n..\0\0\0\0\0\0\r\n").digest()


def test_a_large_file_is_told_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "BLOCK_SIZE", 8)
    monkeypatch.setattr(digests, "REPORT_SIZE", 20)
    (tmp_path / "file").write_bytes(b"x" * 100)
    told: list[int] = []
    assert digests.read_md5(str(tmp_path / "file"), 100, report=told.append)[1] == 100
    assert told == [24, 24, 24, 24]
