"""What the pre-push hook asks: whether the data of commits that Git is about to push is on its remote.

Not here: pushing (push). Implements docs/spec/merging.md, section 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError, MissingError
from kist.repo.collect import collect_commits
from kist.repo.status import compare_with_remotes
from kist.repo.targets import Selected, all_outputs

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_SHOWN = 5
_BRANCHES = "refs/heads/"
_TAGS = "refs/tags/"


class DataNotPushedError(MissingError):
    """A branch or tag is to be pushed whose data its remote lacks. Push the data first; a retry then helps."""

    code = "data-not-pushed"


class PushedRef(NamedTuple):
    """A reference that Git is about to push: its full name, and the commit."""

    name: str
    commit: str


def read_refs(text: str) -> list[PushedRef]:
    """Returns the branches and tags in what Git writes to a pre-push hook; deleted ones are left out.

    Source: githooks(5): a line `LOCAL-REF LOCAL-OID REMOTE-REF REMOTE-OID` each.
    """
    found = []
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) == 4 and words[1].strip("0") and words[2].startswith((_BRANCHES, _TAGS)):
            found.append(PushedRef(words[2], words[1]))
    return found


def refuse_missing(repository: Repository, refs: Sequence[PushedRef]) -> list[str]:
    """Raises DataNotPushedError if a remote lacks data that the last commit of a reference names.

    Returns: lines to tell the person.

    Raises: also KistError, OSError: the remote cannot be asked.
    """
    git = repository.git
    if git is None or not refs:
        return []
    notes: list[str] = []

    def left_out(path: str, error: FormatError) -> None:
        notes.append(f"left out '{path}': {error.message}")

    commits = list(dict.fromkeys(git.resolve(ref.commit) for ref in refs))
    items = _distinct(all_outputs(collect_commits(repository, commits, on_damage=left_out)))
    if not items:
        return notes
    found, names, more = compare_with_remotes(repository, items, remote=None)
    lacking = sorted(path for path, word in found.items() if word in ("new", "missing"))
    if not lacking:
        return notes + more
    shown = ", ".join(f"'{path}'" for path in lacking[:_SHOWN])
    shown += f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    where = " or ".join(f"'{name}'" for name in names)
    labels = ", ".join(f"'{_short(ref.name)}'" for ref in refs)
    raise DataNotPushedError(
        f"cannot push {labels}: its data is not on remote {where}: {shown}",
        hint=_hint(repository, refs, found),
    )


def _distinct(items: Iterable[Selected]) -> list[Selected]:
    return list({(item.path, item.out.output.digest): item for item in items}.values())


def _short(ref: str) -> str:
    return ref.removeprefix(_BRANCHES).removeprefix(_TAGS)


def _hint(repository: Repository, refs: Sequence[PushedRef], found: dict[str, str]) -> str:
    git = repository.git
    assert git is not None
    if "new" not in found.values():
        return "run `kist push` where the data is, or go on without it: `git -c kist.allowMissing=true push`"
    if {git.resolve(ref.commit) for ref in refs} == {git.head_sha()}:
        return "send it with `kist push`, or go on without it: `git -c kist.allowMissing=true push`"
    if all(ref.name.startswith(_TAGS) for ref in refs):
        return (
            "send it with `kist push --all-tags`, or go on without it: `git -c kist.allowMissing=true push`"
        )
    return (
        "send it with `kist push --all-branches`, or go on without it: `git -c kist.allowMissing=true push`"
    )
