"""What must hold at every moment in a repository and its storage, read with nothing of Kist's own code.

Each function takes snapshots and returns one line for each thing that is wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from .harness import Snapshot, World

CACHE = "repo/.dvc/cache"
REMOTE = "remote"
_OBJECT = re.compile(r"(?P<store>.+)/files/md5/(?P<head>[0-9a-f]{2})/(?P<tail>[0-9a-f]{30})(?P<kind>\.dir)?")
_METAFILE = re.compile(
    r"(.*/)?(\.gitignore|\.dvcignore|\.dvc/config(\.local)?|dvc\.yaml|dvc\.lock|[^/]+\.dvc)"
)
# State that may be lost at any time, and differs from run to run: indexes, lock files, their folders.
# The text for people is written when the first push begins, and may be lacking after one that was cut off.
_DISPOSABLE = re.compile(r"home(/.*)?|repo/\.dvc/(tmp|kist)(/.*)?|remote/README-kist\.md")


def md5(content: bytes) -> str:
    """Returns the object id of a file's content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def is_lasting(rel: str) -> bool:
    """Says whether a path is part of what the user keeps, as against disposable state."""
    return _DISPOSABLE.fullmatch(rel) is None


def objects(state: Snapshot, store: str) -> dict[str, bytes]:
    """Returns oid -> bytes of the files under an object's final name below `store`."""
    found = {}
    for rel, entry in state.items():
        match = _OBJECT.fullmatch(rel)
        if match and match["store"] == store and entry.kind == "file":
            found[match["head"] + match["tail"] + (match["kind"] or "")] = entry.content
    return found


def false_objects(state: Snapshot) -> list[str]:
    """Every file under an object's name, in cache and remotes, has the content that the name promises."""
    lines = []
    for rel, entry in sorted(state.items()):
        match = _OBJECT.fullmatch(rel)
        if match and entry.kind == "file" and md5(entry.content) != match["head"] + match["tail"]:
            lines.append(f"object {rel} holds {entry.content[:40]!r} ({len(entry.content)} bytes)")
    return lines


def torn_manifests(state: Snapshot, store: str) -> list[str]:
    """Every manifest in `store` has all of its members there."""
    present = objects(state, store)
    lines = []
    for oid, content in sorted(present.items()):
        if not oid.endswith(".dir"):
            continue
        try:
            members = [entry["md5"] for entry in json.loads(content)]
        except (ValueError, TypeError, KeyError) as error:
            lines.append(f"manifest {oid} in {store} cannot be read: {error}")
            continue
        lines += [f"manifest {oid} in {store} lacks {member}" for member in members if member not in present]
    return lines


def lost_data(state: Snapshot, precious: Mapping[str, bytes]) -> list[str]:
    """Every content that matters stands in the workspace under its name, or as an object in the cache or the remote.

    Args:
        precious: label "path" or "path@note" (relative to `work/repo`) -> content.
    """
    stored = set(objects(state, CACHE).values()) | set(objects(state, REMOTE).values())
    lines = []
    for label, content in precious.items():
        rel = "repo/" + label.partition("@")[0]
        entry = state.get(rel)
        in_place = entry is not None and entry.kind == "file" and entry.content == content
        if not in_place and content not in stored:
            lines.append(f"the content of {label} is lost: {rel} is {entry}")
    return lines


def half_metafiles(world: World) -> list[str]:
    """Every metafile has its bytes of before or of after, or is absent as then; `.gitignore` line by line, and
    `dvc.lock` stage by stage."""
    lines = []
    for rel in sorted(world.now.keys() | world.old.keys() | world.new.keys()):
        if not _METAFILE.fullmatch(rel):
            continue
        now, old, new = (_content(state, rel) for state in (world.now, world.old, world.new))
        if now in (old, new):
            continue
        if rel.endswith("dvc.lock") and _is_between_by_stage(now, old, new):
            continue
        if not (rel.endswith(".gitignore") and _is_between(now or b"", old or b"", new or b"")):
            lines.append(f"metafile {rel} is neither old nor new: {now!r}")
    return lines


def _is_between(now: bytes, old: bytes, new: bytes) -> bool:
    """Says whether some of the lines were changed already, each of them whole: a command may have several targets."""
    lines, before, after = (set(content.splitlines(keepends=True)) for content in (now, old, new))
    return before & after <= lines <= before | after


def _is_between_by_stage(now: bytes | None, old: bytes | None, new: bytes | None) -> bool:
    """Says whether some of the stages were recorded already, each of them whole."""
    found, before, after = (set(re.split(rb"(?m)^(?=  \S)", content or b"")) for content in (now, old, new))
    return found <= before | after


def _content(state: Snapshot, rel: str) -> bytes | None:
    entry = state.get(rel)
    return None if entry is None or entry.kind == "folder" else entry.content


def stray_names(world: World) -> list[str]:
    """Every lasting file is one that was there before, or that an undisturbed run leaves."""
    known = world.old.keys() | world.new.keys()
    return [
        f"stray: {rel}"
        for rel, entry in sorted(world.now.items())
        if rel not in known and is_lasting(rel) and entry.kind != "folder"
    ]


def unbacked_runs(state: Snapshot) -> list[str]:
    """Every object that the lock, or a record of the run cache, names as an output is in the cache."""
    stored = objects(state, CACHE).keys()
    lines = []
    for rel, entry in sorted(state.items()):
        if entry.kind != "file" or not (rel.endswith("/dvc.lock") or "/cache/runs/" in rel):
            continue
        outs = entry.content.partition(b"outs:")[2]
        for oid in re.findall(rb"md5: ([0-9a-f]{32}(?:\.dir)?)", outs):
            if oid.decode() not in stored:
                lines.append(f"{rel} names {oid.decode()}, which is stored nowhere")
    return lines


def unbacked_metafiles(state: Snapshot) -> list[str]:
    """Every object that a metafile names is in the cache or in the remote (add, commit: R4)."""
    stored = objects(state, CACHE).keys() | objects(state, REMOTE).keys()
    lines = []
    for rel, entry in sorted(state.items()):
        if not rel.endswith(".dvc") or entry.kind != "file":
            continue
        # At the start of a line it is the checksum of an import's metafile itself.
        for oid in re.findall(rb"^[- ] md5: ([0-9a-f]{32}(?:\.dir)?)", entry.content, re.MULTILINE):
            if oid.decode() not in stored:
                lines.append(f"{rel} names {oid.decode()}, which is stored nowhere")
    return lines
