"""Builds and drives the preloaded library `shim.c`: which switches a run gets, and what its log says.

Not here: what a run must leave behind (invariants), repeating it for every call (harness).
Implements docs/design/accepted/crash-testing.md.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shim.c")
_STATE_SIZE = 4096
WRITING = frozenset({"write", "pwrite", "writev", "pwritev", "copy_file_range", "sendfile", "clone"})
"""Calls that a torn kill can leave half done."""
SYNCING = frozenset({"fsync", "syncfs"})
"""Calls that change nothing but what a power cut leaves."""


class NoCompilerError(AssertionError):
    """There is no C compiler: the crash suite cannot run, and that is a failure, not a skip."""


def build_shim(directory: str) -> str:
    """Compiles the shim into `directory` and returns the library's path.

    Raises:
        NoCompilerError: neither `cc` nor `gcc` is there, or the compiler fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError("cannot build the crash shim: no C compiler; install gcc")
    library = os.path.join(directory, "shim.so")
    flags = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-U_FORTIFY_SOURCE", "-Wall", "-Wno-nonnull"]
    built = subprocess.run(
        [compiler, *flags, _SOURCE, "-o", library, "-ldl"], capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        raise NoCompilerError(f"cannot build the crash shim: {built.stderr}")
    return library


class Fail(NamedTuple):
    """An error that calls get instead of being done.

    Attributes:
        number: the errno.
        classes: which calls, comma-joined: write, open, rename, link, symlink, unlink, mkdir, rmdir, truncate, chmod,
            utime, sync, read, or any (all but read).
        at: the first matching call that fails, from 1.
        onward: every later one fails too.
        prefix: only calls on paths at or below this one.
    """

    number: int
    classes: str
    at: int = 1
    onward: bool = True
    prefix: str = ""

    def render(self) -> str:
        """Returns the rule as the shim reads it."""
        return f"{self.number}:{self.classes}:{self.at}{'+' if self.onward else ''}:{self.prefix}"


class Switches(NamedTuple):
    """What the shim does during one run.

    Attributes:
        kill_at: number of the changing call before which the command dies; 0 for never.
        alone: only the process that makes that call dies, not its group.
        torn: if that call writes, half of it is written first.
        signal: sent instead of SIGKILL; the command goes on.
        to_leader: the signal goes to the command's first process only, not to its group.
        fails: errors to inject.
        short_write, short_read: the most bytes that one call takes or gives; 0 for no limit.
        log: record every changing call.
        keep: keep other names of files that lose theirs, for `power_cut`.
        drop_sync: all kinds of sync do nothing, and say that they did (a deliberate defect).
        clock_s: seconds by which the program's clock is wrong.
        swap_rename: renames and links copy into the emptied target instead (a deliberate defect).
        plant: Python that a forked command runs before anything else (a deliberate defect of Kist's own).
    """

    kill_at: int = 0
    alone: bool = False
    torn: bool = False
    signal: int = 0
    to_leader: bool = False
    fails: tuple[Fail, ...] = ()
    short_write: int = 0
    short_read: int = 0
    log: bool = False
    keep: bool = False
    drop_sync: bool = False
    swap_rename: bool = False
    plant: str = ""
    clock_s: int = 0


class Shim:
    """The library, and the side folder where one run's counter, log and kept files lie."""

    def __init__(self, library: str, side: str) -> None:
        self._library = library
        self._state = os.path.join(side, "state")
        self.log_path = os.path.join(side, "log")
        self.keep_path = os.path.join(side, "keep")

    def reset(self) -> None:
        """Forgets the last run: counter to zero, log and kept files removed."""
        with open(self._state, "wb") as stream:
            stream.write(bytes(_STATE_SIZE))
        if os.path.exists(self.log_path):
            os.unlink(self.log_path)
        shutil.rmtree(self.keep_path, ignore_errors=True)
        os.mkdir(self.keep_path)

    def environment(self, switches: Switches, root: str) -> dict[str, str]:
        """Returns the variables that load the shim with these switches for paths at or below `root`."""
        settings = {
            "LD_PRELOAD": self._library,
            "KIST_SHIM_STATE": self._state,
            "KIST_SHIM_ROOT": root,
            "KIST_SHIM_SKIP": "/.git/:/__pycache__/",
            "KIST_SHIM_KILL_AT": switches.kill_at,
            "KIST_SHIM_ALONE": int(switches.alone),
            "KIST_SHIM_TORN": int(switches.torn),
            "KIST_SHIM_SIGNAL": int(switches.signal),
            "KIST_SHIM_SIGNAL_LEADER": int(switches.to_leader),
            "KIST_SHIM_ERRNO": "\n".join(fail.render() for fail in switches.fails),
            "KIST_SHIM_SHORT": switches.short_write,
            "KIST_SHIM_SHORT_READ": switches.short_read,
            "KIST_SHIM_CLOCK": switches.clock_s,
        }
        if switches.log:
            settings["KIST_SHIM_LOG"] = self.log_path
        if switches.keep:
            settings["KIST_SHIM_KEEP"] = self.keep_path
        if switches.drop_sync:
            settings["KIST_SHIM_DROP"] = "fsync"
        if switches.swap_rename:
            settings["KIST_SHIM_SWAP"] = "rename"
        if switches.plant:
            settings["KIST_SHIM_PLANT"] = switches.plant
        return {name: str(value) for name, value in settings.items()}

    def calls(self) -> int:
        """Returns how many changing calls the last run began."""
        return self._words()[0]

    def fired(self) -> bool:
        """Says whether the kill or the signal of the last run happened."""
        return self._words()[2] != 0

    def matched(self, rule: int = 0) -> int:
        """Returns how many calls the last run made that an error rule is about, failed or not."""
        return self._words()[4 + rule]

    def _words(self) -> tuple[int, ...]:
        with open(self._state, "rb") as stream:
            return struct.unpack("<12Q", stream.read(96))

    def log(self) -> list[Record]:
        """Returns the last run's records in the order in which they happened."""
        try:
            with open(self.log_path, "rb") as stream:
                return sorted(_parse(line) for line in stream.read().splitlines())
        except FileNotFoundError:
            return []


class Record(NamedTuple):
    """The begin ("B") or the end ("E") of one changing call.

    Attributes:
        tick: place in the order of all records.
        call: number of the call.
        result: what it returned; 0 at the begin.
        inode: (device, inode) of the file, as known at that moment.
        created: an open that made the file.
        kept: the file that lost its name here has another one in the keep folder, named by `call`.
        path: the file; the source of a rename; the new name of a link.
        other: the target of a rename; the source of a link.
    """

    tick: int
    phase: str
    call: int
    pid: int
    name: str
    result: int
    inode: tuple[int, int]
    created: bool
    kept: bool
    path: str
    other: str


def _parse(line: bytes) -> Record:
    tick, phase, call, pid, name, result, inode, created, kept, path, other = line.decode("ascii").split("\t")
    device, _, number = inode.partition(":")
    return Record(
        int(tick),
        phase,
        int(call),
        int(pid),
        name,
        int(result),
        (int(device), int(number)),
        created == "1",
        kept == "1",
        os.fsdecode(unquote_to_bytes(path)),
        os.fsdecode(unquote_to_bytes(other)),
    )
