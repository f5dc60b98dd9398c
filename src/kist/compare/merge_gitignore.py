"""The merge of two `.gitignore` files whose sides only hid or showed outputs. Pure.

Not here: merging them as text, which Git does first. Implements docs/spec/merging.md, section 6.
"""

from __future__ import annotations


def merge_gitignore(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Returns our lines without those that theirs took out, and with those it put in; None for any other change."""
    before, mine, other = (data.rstrip(b"\n").split(b"\n") if data else [] for data in (base, ours, theirs))
    if not _is_plain(before, mine) or not _is_plain(before, other):
        return None
    kept = [line for line in mine if line in other or line not in before]
    new = [line for line in other if line not in before and line not in mine]
    return b"".join(line + b"\n" for line in kept + new)


def _is_plain(before: list[bytes], after: list[bytes]) -> bool:
    """Says whether lines `/NAME` were added and removed, and nothing else."""
    added = {line for line in after if line not in before}
    removed = {line for line in before if line not in after}
    is_kept = [line for line in before if line not in removed] == [
        line for line in after if line not in added
    ]
    return is_kept and all(line.startswith(b"/") and b"/" not in line[1:] for line in added | removed)
