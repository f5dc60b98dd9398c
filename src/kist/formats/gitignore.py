"""Upkeep of `.gitignore`: the line that hides one output, put in and taken out.

Not here: reading the file, and whether another rule hides the output already (kist.workspace.ignores).
Implements docs/spec/ignore.md.
"""

from __future__ import annotations

import re

from kist.errors import InputError

_SPECIAL = re.compile(rb"[\\*?\[\]#!]")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_WHITE_SPACE = b" \t\r\n\v\f"


class GitignoreNameError(InputError):
    """A name cannot be written on one line of a `.gitignore`. The user renames the file; a retry does not help."""

    code = "gitignore-name"


def gitignore_entry(name: str) -> bytes:
    """Returns the line, without its end, that hides exactly the child `name` of the directory of the file.

    Args:
        name: one path component; undecodable bytes are surrogate escapes.

    Raises:
        GitignoreNameError: the name holds a line feed, which no pattern can express.
    """
    if "\n" in name:
        shown = name.encode("unicode_escape").decode("ascii")
        raise GitignoreNameError(
            f"cannot add '{shown}' to .gitignore: the name holds a line feed",
            hint="rename the file and add it again",
        )
    entry = b"/" + _SPECIAL.sub(rb"\\\g<0>", name.encode("utf-8", "surrogateescape"))
    # git cuts unescaped spaces and one carriage return from the end of a line; DVC forgets this and hides nothing.
    if entry.endswith(b" "):
        return entry[:-1] + b"\\ "
    if entry.endswith(b"\r"):
        return entry[:-1] + b"[\r]"
    return entry


def add_entry(data: bytes, name: str) -> bytes:
    """Returns the content of a `.gitignore` with the line for `name` at its end.

    What is there stays as it is; a missing line end is put behind the last line. Nothing is added when the line is
    there already and no later line takes anything back in. Raises GitignoreNameError.
    """
    entry = gitignore_entry(name)
    for line in reversed(data.split(b"\n")):
        if line.removesuffix(b"\r") == entry:
            return data
        if line.startswith(b"!"):
            break
    separator = b"\n" if data and not data.endswith(b"\n") else b""
    return data + separator + entry + b"\n"


def remove_entry(data: bytes, name: str) -> bytes | None:
    """Returns the content without any line for `name`; None when nothing is left and the file must go.

    As DVC does, a rewrite ends all lines with a line feed. Without such a line, `data` comes back untouched.
    Raises GitignoreNameError.
    """
    entry = gitignore_entry(name)
    plain = b"/" + _SPECIAL.sub(rb"\\\g<0>", name.encode("utf-8", "surrogateescape"))
    lines = _LINE.findall(data)
    kept = [line for line in lines if not _is_entry(line, entry, plain)]
    if len(kept) == len(lines):
        return data
    return b"".join(kept).replace(b"\r\n", b"\n") or None


def _is_entry(line: bytes, entry: bytes, plain: bytes) -> bool:
    # `plain` is what DVC writes for a name that ends in a space: of no effect, but ours to remove.
    bare = line.removesuffix(b"\n").removesuffix(b"\r")
    return bare in (entry, plain) or bare.strip(_WHITE_SPACE) == entry
