"""A tiny store for testing the tests: `keeper.py WAY` puts each file of the folder into `.dvc/cache`.

Beside each file it writes a `.dvc`. WAY "right" is what Kist promises; every other way leaves one thing out, or does
it in the wrong order.
"""

from __future__ import annotations

import hashlib
import os
import sys


def main(way: str) -> None:
    """Stores every file of the current folder that has no stored object yet."""
    if way not in ("litter", "moving"):
        sweep()
    for name in sorted(os.listdir(".")):
        if name.endswith((".dvc", ".tmp")) or not os.path.isfile(name):
            continue
        with open(name, "rb") as stream:
            data = stream.read()
        digest = hashlib.md5(data).hexdigest()
        folder = os.path.join(".dvc/cache/files/md5", digest[:2])
        line = f"outs:\n- md5: {digest}\n  path: {name}\n".encode()
        if way == "metafile first":
            publish(name + ".dvc", line, way)
        os.makedirs(folder, exist_ok=True)
        for above in (".", ".dvc", ".dvc/cache", ".dvc/cache/files", ".dvc/cache/files/md5"):
            sync(above, way)
        if way == "trusting" and os.path.exists(os.path.join(folder, digest[2:])):
            publish(name + ".dvc", line, way)
            continue
        if way == "moving":
            os.rename(name, name + ".away.tmp")
        publish(os.path.join(folder, digest[2:]), data, way)
        if way == "moving":
            os.rename(name + ".away.tmp", name)
        publish(name + ".dvc", line, way)


def sweep() -> None:
    """Removes what killed runs left unfinished."""
    for folder, _, names in os.walk("."):
        for name in names:
            if name.endswith(".tmp"):
                os.unlink(os.path.join(folder, name))


def publish(path: str, data: bytes, way: str) -> None:
    """Writes a file so that it is complete or absent, but for what `way` forgets."""
    temp = path if way in ("in place", "trusting") else f"{path}.{os.getpid()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    descriptor = os.open(temp, flags, 0o666)
    if way == "rename before write":
        os.replace(temp, path)
    written = os.write(descriptor, data)
    if way != "short":
        while written < len(data):
            written += os.write(descriptor, data[written:])
    if way == "rename before sync":
        os.replace(temp, path)
    elif way != "no sync":
        os.fsync(descriptor)
    os.close(descriptor)
    if way not in ("rename before write", "rename before sync", "in place", "trusting"):
        os.replace(temp, path)
    if way != "no folder sync":
        sync(os.path.dirname(path) or ".", way)


def sync(folder: str, way: str) -> None:
    """Makes a folder's names durable."""
    if way in ("no folder sync", "no sync"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1])
