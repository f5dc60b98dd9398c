"""How checkout and pull tell what changed in the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kist.cli.context import Context
    from kist.repo.checkout import CheckoutResult
    from kist.repo.repository import Repository

_LETTERS = {"added": "A", "modified": "M", "deleted": "D"}


def print_changes(
    context: Context, repository: Repository, result: CheckoutResult, *, summary: bool = False
) -> None:
    """Prints a line an output (`A`, `M` or `D`, a tab, the path), or numbers, or JSON."""
    if context.as_json:
        context.console.data_json(changes_json(repository, result))
        return
    if summary:
        context.console.info(summary_line(result) or "No changes.")
        return
    for change in sorted(result.changes, key=lambda item: item.path):
        context.console.info(f"{_LETTERS[change.kind]}\t{shown(repository, change.path)}")


def shown(repository: Repository, path: str) -> str:
    """Returns a change's path as the person types it; a directory keeps its final slash."""
    return repository.shown(path) + ("/" if path.endswith("/") else "")


def changes_json(repository: Repository, result: CheckoutResult) -> dict[str, object]:
    """Returns the changes in the JSON shape of checkout and pull."""
    found: dict[str, object] = {
        kind: [shown(repository, change.path) for change in result.changes if change.kind == kind]
        for kind in ("added", "modified", "deleted")
    }
    found["files"] = {"added": result.added, "modified": result.modified, "removed": result.removed}
    found["missing"] = [repository.shown(path) for path, _ in result.missing]
    found["damaged"] = [repository.shown(path) for path, _ in result.damaged]
    return found


def summary_parts(result: CheckoutResult) -> list[str]:
    """Returns "2 files modified", "1 file added", "1 file deleted": those that are not zero."""
    numbers = (("modified", result.modified), ("added", result.added), ("deleted", result.removed))
    return [f"{counted(number)} {word}" for word, number in numbers if number]


def summary_line(result: CheckoutResult) -> str:
    """Returns "2 files modified, 3 files added and 1 file deleted", or "" when nothing changed."""
    return sentence(summary_parts(result))


def sentence(parts: Sequence[str]) -> str:
    """Returns "a, b and c"; "" for nothing."""
    return " and ".join([part for part in (", ".join(parts[:-1]), *parts[-1:]) if part])


def counted(number: int) -> str:
    """Returns "1 file" or "3 files"."""
    return f"{number} file" + ("" if number == 1 else "s")
