"""Moving the workspace's data to another commit: what would be lost, what must be fetched, what stays as it is.

Shared by switch and sync. Not here: moving Git (git.porcelain). Implements docs/spec/save-switch-sync.md, section 2.2.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import MissingError, UnsavedError
from kist.formats.manifest import Tree
from kist.formats.records import Digest
from kist.git.repository import GitRepository, PathStatus
from kist.repo import placed
from kist.repo.beside_git import inside, listed, noting
from kist.repo.checkout import CheckoutOptions, can_check_out, quick_plan
from kist.repo.collect import METAFILE_SUFFIXES, CommitSource, Stage, WorkspaceSource, collect
from kist.repo.data import Look, algorithm_of, digest_of, is_as_recorded, look_at, readable_tree
from kist.repo.fetch import brought
from kist.repo.targets import Selected, all_outputs
from kist.repo.transfers import TransferResult, needs_by_remote
from kist.transfer import plan as transfer_plan
from kist.workspace.checkout import Plan, plan_checkout, unsaved_paths

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_NO_FILE = "."
"""A path inside of a directory that no manifest may hold: fetching it brings the manifest alone."""


class WouldLoseError(UnsavedError):
    """Going on would drop work that is saved nowhere, in Git or as data. Saving it, or `--force`, helps."""

    code = "would-lose"


class DataUnavailableError(MissingError):
    """Data of the other version is neither in the cache nor on a remote."""

    code = "data-unavailable"


class Side(NamedTuple):
    """What a version of the workspace is to hold.

    Attributes:
        items: its outputs that can be checked out.
        paths: of all its outputs.
    """

    items: list[Selected]
    paths: set[str]


class Ways(NamedTuple):
    """Words for what a command refuses.

    Attributes:
        failed: what cannot be done: "switch to 'v1'".
        force: the command that drops what is saved nowhere.
        instead: a command that does without the data.
    """

    failed: str
    force: str
    instead: str


class Move(NamedTuple):
    """What happens to data when the workspace goes from one version to another.

    Attributes:
        items: outputs to be checked out.
        left_alone: paths of outputs that were edited and that both versions record alike.
        lost: paths of files, relative to the root, whose content is stored nowhere and would go.
    """

    items: list[Selected]
    left_alone: list[str]
    lost: list[str]


def here(repository: Repository) -> Side:
    """Returns what the workspace's metafiles say. Those that cannot be read are noted and left out."""
    return _side(collect(WorkspaceSource(repository), on_damage=noting(repository)))


def there(repository: Repository, commit: str, carried: Collection[str] = ()) -> Side:
    """Returns what the metafiles will say when Git has gone to `commit`.

    Args: carried: metafiles, relative to the root, that keep their changed content.
    """
    stages = collect(CommitSource(repository, commit), on_damage=noting(repository))
    if carried:
        stages = [stage for stage in stages if stage.file not in carried]
        own = collect(WorkspaceSource(repository), on_damage=noting(repository))
        stages += [stage for stage in own if stage.file in carried]
    return _side(stages)


def _side(stages: Sequence[Stage]) -> Side:
    items = all_outputs(stages)
    return Side([item for item in items if can_check_out(item.out)], {item.out.path for item in items})


def carried_metafiles(changes: Sequence[PathStatus], offset: str) -> set[str]:
    """Returns the metafiles, relative to the root, that differ from the last commit; of a pipeline its `dvc.yaml`."""
    found = set()
    for path in inside([item.path for item in changes], offset):
        if path.endswith(METAFILE_SUFFIXES):
            found.add(path[: -len("dvc.lock")] + "dvc.yaml" if path.endswith("dvc.lock") else path)
    return found


def plan_move(repository: Repository, now: Side, wanted: Side, *, keeps_edits: bool = True) -> Move:
    """Returns what must happen to data; changes nothing.

    Args: keeps_edits: False after an interrupted move, when data that differs was not edited but left behind.
    """
    recorded = {item.out.path: item.out.output.digest for item in now.items}
    leaving = [item for item in now.items if item.out.path not in wanted.paths]
    both = [*wanted.items, *leaving]
    looks = look_at(repository, [(item.out.path, algorithm_of(item.out.output.digest)) for item in both])
    move = Move([], [], [])
    for item, look in zip(both, looks, strict=True):
        digest = item.out.output.digest
        assert digest is not None
        is_there = look.snapshot is not None
        if item.out.path not in wanted.paths:
            move.lost.extend(_unsaved(repository, item, look, None))
        elif keeps_edits and is_there and recorded.get(item.out.path) == digest:
            if is_as_recorded(repository, look, digest):
                move.items.append(item)
            else:
                move.left_alone.append(item.out.path)
        else:
            move.items.append(item)
            move.lost.extend(_unsaved(repository, item, look, digest))
    if move.lost and repository.git is not None:
        # What Git tracks now and the other side as data is Git's to take away, or to refuse.
        own = repository.git.is_tracked([repository.abspath(path) for path in move.lost])
        return move._replace(lost=[path for path in move.lost if repository.abspath(path) not in own])
    return move


def _unsaved(repository: Repository, item: Selected, look: Look, wanted: Digest | None) -> list[str]:
    """Returns the files at an output that a checkout of `wanted` (None: nothing) would drop, stored nowhere."""
    snapshot = look.snapshot
    if snapshot is None:
        return []
    if wanted is None or wanted.is_dir != look.is_dir:
        return unsaved_beside(repository, look, Tree({}))
    algorithm = algorithm_of(item.out.output.digest)
    store = repository.store_for(algorithm)
    current = digest_of(repository, look, algorithm=algorithm)
    if current == wanted:
        return []
    plan = quick_plan(repository, item, look, current, store, CheckoutOptions())
    if plan is not None:
        return _unsaved_of(repository, look, plan)
    tree = readable_tree(store, wanted, os.path.basename(item.out.path))
    # Without its manifest nothing can be checked out, so nothing goes.
    return unsaved_beside(repository, look, tree) if tree is not None else []


def unsaved_beside(repository: Repository, look: Look, wanted: Tree) -> list[str]:
    """Returns the files, relative to the root, whose content is not in a tree that is to take their place, nor stored.

    Args: wanted: of a directory its files, of a single file one that is called like it.
    """
    top = look.path if look.is_dir else os.path.dirname(look.path)
    return _unsaved_of(repository, look, plan_checkout(repository.root, top, look.snapshot, wanted))


def _unsaved_of(repository: Repository, look: Look, plan: Plan) -> list[str]:
    assert look.snapshot is not None
    store = repository.store_for(look.snapshot.space.partition(":")[0])
    at_risk = {bytes.fromhex(oid) for _, oid in plan.at_risk if oid}
    unsaved = unsaved_paths(plan, store, look.snapshot, repository.trust(store).records(at_risk))
    return [f"{plan.root}/{path}" if plan.root else path for path in unsaved]


def code_at_risk(
    git: GitRepository, changes: Sequence[PathStatus], before: str | None, after: str | None
) -> list[str]:
    """Returns Git's files, relative to its top, that were edited and that differ between two commits."""
    edited = {item.path for item in changes if item.unstaged in "MDT" and item.staged in " MATRC"}
    if not edited or before is None or after is None or before == after:
        return []
    return sorted(edited & git.changed_paths(before, after))


def prepare(
    repository: Repository,
    git: GitRepository,
    now: Side,
    wanted: Side,
    code: Sequence[str],
    ways: Ways,
    *,
    keeps_edits: bool,
    force: bool = False,
) -> tuple[Move, TransferResult]:
    """Refuses what would be lost in both worlds, then fetches what is needed; nothing that anybody sees changes.

    Args:
        code: files of Git that would be lost, relative to its top.
        keeps_edits: as of `plan_move`. force: lose what there is to lose.

    Raises: WouldLoseError, DataUnavailableError, and what a remote raises.
    """
    # What a checkout would drop is known only with the lists of files at hand.
    recorded = {item.out.path: item.out.output.digest for item in now.items}
    unknown = [
        item._replace(inner=_NO_FILE)
        for item in wanted.items
        if (digest := item.out.output.digest) is not None
        and digest.is_dir
        and recorded.get(item.out.path) != digest
        and not repository.store_for(digest.algorithm).has(digest.value)
    ]
    first = TransferResult(0, [], [], 0)
    if unknown and repository.settings.remotes:
        first = fetch_for(repository, unknown, ways)
    move = plan_move(repository, now, wanted, keeps_edits=keeps_edits and not force)
    if not force:
        refuse_losses(repository, git, ways, code=code, data=move.lost)
    rest = fetch_for(repository, move.items, ways)
    fetched = rest._replace(
        moved=first.moved + rest.moved,
        remotes=rest.remotes or first.remotes,
        size_bytes=first.size_bytes + rest.size_bytes,
    )
    return move, fetched


def refuse_losses(
    repository: Repository, git: GitRepository, ways: Ways, *, code: Sequence[str], data: Sequence[str]
) -> None:
    """Raises WouldLoseError that names what would be lost in both worlds, if anything would.

    Args: code: paths relative to Git's top. data: paths relative to the root.
    """
    if not code and not data:
        return
    parts = []
    keeps = "kist save"
    if code:
        own = [os.path.relpath(os.path.join(git.top, path), repository.cwd) for path in code]
        parts.append(f"in Git {listed(own)}")
        keeps = f"{shell_line('git', 'add', '--', *own)} && kist save"
    if data:
        parts.append(f"data {listed([repository.shown(path) for path in data])}")
    raise WouldLoseError(
        f"cannot {ways.failed}: this is saved nowhere and would be lost: {'; '.join(parts)}",
        hint=f"keep it with `{keeps}`, or drop it with `{ways.force}`",
    )


def fetch_for(repository: Repository, items: Sequence[Selected], ways: Ways) -> TransferResult:
    """Fetches what the cache lacks of outputs; nothing else changes.

    Raises: DataUnavailableError, and what a remote raises.
    """
    if not repository.settings.remotes:
        gone = _lacking(repository, [item for item in items if not item.out.is_import])
        if gone:
            raise DataUnavailableError(
                f"cannot {ways.failed}: the cache lacks data of {listed(gone)}, "
                "and there is no remote to fetch it from",
                hint=f"name one with `kist remote add -d NAME ADDRESS`, or do without that data: `{ways.instead}`",
            )
        items = [item for item in items if item.out.is_import]
        if not items:
            return TransferResult(0, [], [], 0)
    done, notes = brought(repository, items, remote=None, jobs=None)
    repository.notes += notes
    imports = {item.path for item in items if item.out.is_import}
    failures = [failure for failure in done.failed if failure[0] not in imports]
    if failures:
        label, oid, why = failures[0]
        more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise DataUnavailableError(
            f"cannot {ways.failed}: object {oid} of '{repository.shown(label)}' is {why} on the remote{more}",
            hint=f"run `kist push` where the data is, or do without that data: `{ways.instead}`",
        )
    return done


def absent_imports(repository: Repository, items: Sequence[Selected]) -> list[str]:
    """Returns outputs imported from elsewhere whose data is not here; a remote does not have to have it. Notes them."""
    found = [item for item in items if item.out.is_import and _lacking(repository, [item])]
    for item in found:
        repository.notes.append(
            f"'{repository.shown(item.out.path)}' is imported, and its data is not in the cache: left as it is"
        )
    return [item.out.path for item in found]


def _lacking(repository: Repository, items: Sequence[Selected]) -> list[str]:
    """Returns the outputs that the cache does not have whole, as the person types them."""
    found = []
    for by_algorithm in needs_by_remote(items, default=None, named=None, is_push=False).values():
        for algorithm, needs in by_algorithm.items():
            store = repository.store_for(algorithm)
            presence = repository.presence(store)
            for need in needs:
                is_known = need.digest.is_dir and presence.is_known(need.digest.value)
                if not is_known and transfer_plan.lacks(need, store):
                    found.append(repository.shown(need.label))
    return found


def before_git_moves(repository: Repository, now: Side) -> None:
    """Notes which data lies there because metafiles name it, so that the checkout afterwards can take it away."""
    placed.note(
        repository.index,
        [item.out.path for item in now.items if os.path.lexists(repository.abspath(item.out.path))],
    )
    repository.index.flush()
