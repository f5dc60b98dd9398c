"""What became of each object of a push or fetch, for `--json`: a row an object, with all paths that need it.

Not here: moving them (transfers), words (cli). Implements docs/spec/transfer.md, section 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kist.errors import FormatError
from kist.formats.manifest import parse_manifest
from kist.store.loose import LooseStore, ObjectCorruptError, ObjectMissingError
from kist.transfer import plan

SENT, FETCHED, PRESENT, HELD, FAILED = "sent", "fetched", "present", "held", "failed"


class ObjectOutcome(NamedTuple):
    """What became of one object.

    Attributes:
        paths: relative to the root, sorted; that of a manifest ends in "/".
        size_bytes: None where it is not known.
        remote: that was asked; None where none had to be.
        outcome: SENT, FETCHED, PRESENT (nothing to do), HELD (a manifest whose files are not all there) or FAILED.
        reason: of FAILED: "missing" or "corrupt"; of HELD: "incomplete".
    """

    oid: str
    algorithm: str
    paths: tuple[str, ...]
    size_bytes: int | None
    remote: str | None
    outcome: str
    reason: str | None = None


def object_outcomes(
    needs: Iterable[plan.Need],
    store: LooseStore,
    *,
    remote: str | None,
    moved: Iterable[str] = (),
    failed: Mapping[str, str],
    held: Iterable[str] = (),
    is_push: bool = False,
) -> list[ObjectOutcome]:
    """Returns a row for each object that the needs name, as far as their manifests can be read, sorted by path.

    Args:
        moved, held: ids.
        failed: id -> reason.
    """
    paths: dict[str, set[str]] = {}
    for need in needs:
        for path, oid in _objects(need, store):
            paths.setdefault(oid, set()).add(path)
    sent, waiting = frozenset(moved), frozenset(held)
    rows = []
    for oid, places in paths.items():
        outcome, reason = PRESENT, None
        if oid in failed:
            outcome, reason = FAILED, failed[oid]
        elif oid in waiting:
            outcome, reason = HELD, "incomplete"
        elif oid in sent:
            outcome = SENT if is_push else FETCHED
        record = store.stat(oid)
        size = None if record is None else int.from_bytes(record[8:16], "little")
        rows.append(ObjectOutcome(oid, store.algorithm, tuple(sorted(places)), size, remote, outcome, reason))
    return sorted(rows, key=lambda row: row.paths)


def _objects(need: plan.Need, store: LooseStore) -> Iterable[tuple[str, str]]:
    """Yields (path, id) of a need: a file, or a manifest and its files."""
    oid = need.digest.value
    if not need.digest.is_dir:
        yield need.label, oid
        return
    top = need.label[: -len(need.inner) - 1] if need.inner else need.label
    yield f"{top}/", oid
    try:
        tree = parse_manifest(store.read(oid), name=oid)
    except (ObjectMissingError, ObjectCorruptError, FormatError):
        return
    for path, member in (plan.part(tree, need.inner) if need.inner else tree).files():
        yield f"{top}/{path}", member


def joined(first: Iterable[ObjectOutcome], again: Iterable[ObjectOutcome]) -> list[ObjectOutcome]:
    """Returns the rows of two transfers of the same data; what the second one did has the last word."""
    rows = {(row.algorithm, row.oid, row.remote): row for row in first}
    for row in again:
        if row.outcome != PRESENT:
            rows.pop((row.algorithm, row.oid, None), None)
            rows[row.algorithm, row.oid, row.remote] = row
    return sorted(rows.values(), key=lambda row: row.paths)
