"""Makes every kind of change once, in the order of EXPECTED in test_the_suite.py, in the current folder."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import subprocess
import sys


def main() -> None:
    """Makes the changes; what follows an open is written through it."""
    folder = os.open(".", os.O_RDONLY)
    os.mkdir("made")
    os.mkdir("below", dir_fd=folder)
    os.makedirs("made", exist_ok=True)  # changes nothing
    with open("text", "w") as stream:
        stream.write("first")
    with open("text", "a+") as stream:  # opening changes nothing
        stream.write("second")
    descriptor = os.open("raw", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(descriptor, b"0123456789")
    os.pwrite(descriptor, b"ab", 3)
    os.writev(descriptor, [b"cd", b"ef"])
    os.ftruncate(descriptor, 8)
    os.fchmod(descriptor, 0o600)
    os.utime(descriptor, ns=(1, 1))
    os.fdatasync(descriptor)
    os.fsync(descriptor)
    os.close(descriptor)
    os.truncate("raw", 4)
    os.chmod("raw", 0o644)
    os.utime("raw", ns=(2, 2))
    os.link("raw", "linked")
    os.symlink("raw", "pointer")
    os.rename("linked", "renamed")
    os.replace("renamed", "text")
    os.rename("text", "text2", src_dir_fd=folder, dst_dir_fd=folder)
    shutil.copyfile("raw", "copied")
    with open("raw", "rb") as source, open("ranged", "wb") as target:
        os.copy_file_range(source.fileno(), target.fileno(), 4)
    for library in (None, "libc.so.6"):
        assert ctypes.CDLL(library).syncfs(folder) == 0
    os.unlink("copied")
    os.unlink("ranged", dir_fd=folder)
    os.rmdir("below")
    database = sqlite3.connect("rows.db")
    database.execute("CREATE TABLE t (x)")
    database.commit()
    database.close()
    child = os.fork()
    if child == 0:
        with open("child", "wb"):
            os._exit(0)
    os.waitpid(child, 0)
    subprocess.run([sys.executable, "-c", "open('grandchild', 'w')"], check=True)


if __name__ == "__main__":
    main()
