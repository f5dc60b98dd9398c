"""Directories as columns, and which stat records may be trusted."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.base import atomic
from kist.base.listing import (
    RACY_NS,
    STAT_SIZE,
    UNTRUSTED,
    list_directory,
    pack_stat,
    total_size,
    unpack_stat,
    without_racy,
)


def record(size: int, changed_ns: int) -> bytes:
    """Returns a stat record."""
    return b"".join(value.to_bytes(8, "little") for value in (1, size, 5, changed_ns))


def test_files_are_listed_in_code_point_order_with_their_stats(tmp_path: Path) -> None:
    names = ["b", "a b", "a-b", "é", "\uff5e", "\U0001d4b3", ".hidden", "Z"]
    for at, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * at)
    (tmp_path / "folder").mkdir()
    listing = list_directory(str(tmp_path))
    assert listing.names.split("\0") == sorted(names)
    assert listing.stats == b"".join(pack_stat(os.stat(tmp_path / name)) for name in sorted(names))
    assert listing.folders == ["folder"]
    assert total_size(listing.stats) == sum(range(len(names)))


def test_an_empty_folder_has_empty_columns(tmp_path: Path) -> None:
    assert list_directory(str(tmp_path)) == ("", b"", [], [], [], [], [])


def test_what_has_no_content_is_special_and_never_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.symlink("nowhere", tmp_path / "dead")
    (tmp_path / "folder").mkdir()
    os.symlink("folder", tmp_path / "to-folder")
    os.symlink("pipe", tmp_path / "to-pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(
            f"/proc/self/fd/{here}/socket" if os.path.isdir("/proc/self/fd") else str(tmp_path / "socket")
        )
        os.close(here)
        listing = list_directory(str(tmp_path))
    assert listing.names == "" and listing.links == []
    assert [name for name, _ in listing.specials] == ["dead", "pipe", "socket", "to-folder", "to-pipe"]


def test_a_link_to_a_file_has_the_stat_of_its_target_or_its_own(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"12345")
    (tmp_path / "in").mkdir()
    os.symlink("../target", tmp_path / "in" / "link")
    listing = list_directory(str(tmp_path / "in"))
    assert (listing.names, listing.links) == ("link", ["link"])
    assert listing.stats == pack_stat(os.stat(tmp_path / "target"))
    own = list_directory(str(tmp_path / "in"), follow_links=False)
    assert own.stats == pack_stat(os.lstat(tmp_path / "in" / "link"))


def test_files_with_the_owners_x_bit_are_named(tmp_path: Path) -> None:
    for name, mode in (("owner", 0o744), ("group", 0o654), ("plain", 0o644)):
        (tmp_path / name).write_bytes(b"")
        (tmp_path / name).chmod(mode)
    os.symlink("owner", tmp_path / "to-owner")
    os.symlink("plain", tmp_path / "to-plain")
    listing = list_directory(str(tmp_path))
    assert listing.names.split("\0") == ["group", "owner", "plain", "to-owner", "to-plain"]
    assert (listing.executables, listing.links) == (["owner", "to-owner"], ["to-owner", "to-plain"])


def test_our_temporary_files_are_told_apart_from_data(tmp_path: Path) -> None:
    temps = [atomic.temp_name(), atomic.temp_name()]
    for name in [*temps, ".kist-notes.tmp", ".kist", "z"]:
        (tmp_path / name).write_bytes(b"")
    listing = list_directory(str(tmp_path))
    assert listing.names.split("\0") == [".kist", ".kist-notes.tmp", "z"]
    assert listing.temps == sorted(temps)


def test_ignored_entries_are_left_out_and_the_question_tells_the_kind(tmp_path: Path) -> None:
    (tmp_path / "keep").write_bytes(b"")
    (tmp_path / "drop").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    asked: set[tuple[str, bool]] = set()

    def is_ignored(name: str, is_dir: bool) -> bool:
        asked.add((name, is_dir))
        return name != "keep"

    listing = list_directory(str(tmp_path), is_ignored)
    assert (listing.names, listing.folders) == ("keep", [])
    assert asked == {("keep", False), ("drop", False), ("folder", True)}


def test_an_error_names_the_whole_path(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(FileNotFoundError) as caught:
        list_directory(missing)
    assert caught.value.filename == missing


@given(st.lists(st.integers(0, (1 << 63) - 1), max_size=8))
def test_the_sum_of_sizes_is_that_of_the_records(sizes: list[int]) -> None:
    column = b"".join(record(size, 7) for size in sizes)
    assert total_size(column) == sum(sizes)
    parts = [column[at : at + STAT_SIZE] for at in range(0, len(column), STAT_SIZE)]
    assert [unpack_stat(part)[1] for part in parts] == sizes


START = 10_000_000_000
END = START + 1_000_000


@given(
    st.lists(
        st.one_of(
            st.integers(0, 2 * END),
            st.sampled_from(
                [START - RACY_NS - 1, START - RACY_NS, START, END, END + RACY_NS, END + RACY_NS + 1]
            ),
        ),
        max_size=12,
    )
)
def test_exactly_the_files_that_changed_around_the_look_lose_their_record(times: list[int]) -> None:
    column = b"".join(record(3, changed) for changed in times)
    result = without_racy(column, START, END)
    for at, changed in enumerate(times):
        kept = result[at * STAT_SIZE : (at + 1) * STAT_SIZE]
        is_racy = START - RACY_NS <= changed <= END + RACY_NS
        assert kept == (UNTRUSTED if is_racy else record(3, changed))
    assert len(result) == len(column)
