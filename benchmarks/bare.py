"""The bare cost of each operation: the shortest program that does the work nobody can avoid.

It keeps no promise (no checks, no fsync, no metadata) and shows how far the limit is.
Run as a script, so that its start-up and its work are measured as one process.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys


def walk(folder: str, prefix: str = "") -> list[tuple[str, int]]:
    """Returns relative path and modification time of every file below a folder."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found += walk(entry.path, f"{prefix}{entry.name}/")
            else:
                found.append((prefix + entry.name, entry.stat().st_mtime_ns))
    return found


def file_digest(path: str) -> str:
    """Returns the md5 of a file."""
    with open(path, "rb") as stream:
        return hashlib.md5(stream.read(), usedforsecurity=False).hexdigest()


def object_path(store: str, digest: str) -> str:
    """Returns where a store keeps an object."""
    return f"{store}/{digest[:2]}/{digest[2:]}"


def make_prefixes(store: str) -> None:
    """Makes the 256 folders of a store."""
    for number in range(256):
        os.makedirs(f"{store}/{number:02x}", exist_ok=True)


def read_manifest(path: str) -> dict[str, str]:
    """Returns the digest of each relative path."""
    with open(path) as stream:
        return {entry["relpath"]: entry["md5"] for entry in json.load(stream)}


def add(data: str, cache: str, manifest: str) -> None:
    """Hashes every file, links it into the cache, writes the manifest."""
    make_prefixes(cache)
    entries = []
    for name, _ in sorted(walk(data)):
        digest = file_digest(f"{data}/{name}")
        if not os.path.exists(object_path(cache, digest)):
            os.link(f"{data}/{name}", object_path(cache, digest))
        entries.append({"md5": digest, "relpath": name})
    with open(manifest, "w") as stream:
        json.dump(entries, stream)


def add_changed(data: str, cache: str, manifest: str, new_manifest: str, since_ns: str) -> None:
    """Hashes and links only the files that changed after a moment."""
    known = read_manifest(manifest)
    for name, changed in walk(data):
        if changed > int(since_ns):
            digest = file_digest(f"{data}/{name}")
            if not os.path.exists(object_path(cache, digest)):
                os.link(f"{data}/{name}", object_path(cache, digest))
            known[name] = digest
    with open(new_manifest, "w") as stream:
        json.dump([{"md5": known[name], "relpath": name} for name in sorted(known)], stream)


def status(data: str) -> None:
    """Looks at every file."""
    walk(data)


def status_cold(data: str) -> None:
    """Hashes every file."""
    for name, _ in walk(data):
        file_digest(f"{data}/{name}")


def status_changed(data: str, since_ns: str) -> None:
    """Looks at every file, hashes those that changed."""
    for name, changed in walk(data):
        if changed > int(since_ns):
            file_digest(f"{data}/{name}")


def push(cache: str, remote: str) -> None:
    """Copies every object that the remote lacks."""
    make_prefixes(remote)
    for number in range(256):
        prefix = f"{number:02x}"
        for name in set(os.listdir(f"{cache}/{prefix}")) - set(os.listdir(f"{remote}/{prefix}")):
            shutil.copyfile(f"{cache}/{prefix}/{name}", f"{remote}/{prefix}/{name}")


def list_store(remote: str) -> None:
    """Lists the names of all objects."""
    for number in range(256):
        os.listdir(f"{remote}/{number:02x}")


def pull(remote: str, cache: str, data: str, manifest: str) -> None:
    """Copies every object, hashes it, links it into the workspace."""
    make_prefixes(cache)
    for name, digest in read_manifest(manifest).items():
        cached = object_path(cache, digest)
        if not os.path.exists(cached):
            shutil.copyfile(object_path(remote, digest), cached)
            file_digest(cached)
        os.makedirs(os.path.dirname(f"{data}/{name}"), exist_ok=True)
        os.link(cached, f"{data}/{name}")


def checkout(cache: str, data: str, manifest: str) -> None:
    """Links every object into an empty workspace."""
    made = set()
    for name, digest in read_manifest(manifest).items():
        folder = os.path.dirname(f"{data}/{name}")
        if folder not in made:
            os.makedirs(folder, exist_ok=True)
            made.add(folder)
        os.link(object_path(cache, digest), f"{data}/{name}")


def diff(manifest: str, other: str) -> None:
    """Compares two manifests."""
    old, new = read_manifest(manifest), read_manifest(other)
    sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def switch(cache: str, data: str, manifest: str, other: str) -> None:
    """Looks at every file, replaces those that differ between two manifests."""
    old, new = read_manifest(manifest), read_manifest(other)
    walk(data)
    for name, digest in new.items():
        if old.get(name) != digest:
            os.unlink(f"{data}/{name}")
            os.link(object_path(cache, digest), f"{data}/{name}")


def ls(manifest: str) -> None:
    """Prints the names in a manifest."""
    print("\n".join(sorted(read_manifest(manifest))))


def many_status(folder: str) -> None:
    """Reads every `.dvc` file and looks at every file."""
    for name, _ in walk(folder):
        if name.endswith(".dvc"):
            with open(f"{folder}/{name}", "rb") as stream:
                stream.read()


def many_status_one(metafile: str) -> None:
    """Reads one `.dvc` file and looks at its file."""
    with open(metafile, "rb") as stream:
        stream.read()
    os.stat(metafile.removesuffix(".dvc"))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
