"""`gc`: removes objects that nothing in a scope names, and says before why each may go.

Not here: what is named (named), listing and removing (store.garbage), the question to the person (cli).
Implements docs/spec/gc.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.errors import ConfigError, InputError
from kist.repo import projects
from kist.repo.merging import refuse_unfinished
from kist.repo.named import Scope
from kist.repo.repository import NoRepositoryError, find_root
from kist.repo.unneeded import EVERYTHING, GRACE_S, Plan, Rules, Source, list_of_gone, plan_removal
from kist.store import gone
from kist.store.loose import remove_staging

if TYPE_CHECKING:
    from kist.remotes.base import Remote
    from kist.repo.repository import Repository
    from kist.transfer.packed import PackedRemote


class NoScopeError(InputError):
    """No option says what is to be kept; or two of them contradict each other."""

    code = "gc-no-scope"


class UnusableRemoteError(ConfigError):
    """No remote has the name, or none is configured. Exit status 251, as in DVC."""

    code = "gc-remote"


class VersionsKeptError(ConfigError):
    """The remote keeps files by their names, in versions: nothing tells there what is garbage. Exit 251, as in DVC."""

    code = "gc-versions"


class GcOptions(NamedTuple):
    """What a person asks of `gc`.

    Attributes:
        scope: what is kept; the workspace always is.
        workspace_only: `-w`: the workspace is scope enough.
        cloud: also collect in a remote.
        remote: its name; None is the default one.
        not_in_remote, skip_failed, grace_s: see `Rules`.
        dry: change nothing.
        repack: of a packed remote also rewrite sparse packs, and join small ones.
        projects: other projects that are to be kept, as paths; None when `-p` was not given.
    """

    scope: Scope
    workspace_only: bool = False
    cloud: bool = False
    remote: str | None = None
    not_in_remote: bool = False
    skip_failed: bool = False
    dry: bool = False
    repack: bool = False
    projects: tuple[str, ...] | None = None
    grace_s: float = GRACE_S

    @property
    def has_scope(self) -> bool:
        """Says whether it is told what to keep."""
        scope = self.scope
        return bool(
            self.workspace_only
            or scope.branches
            or scope.tags
            or scope.commits
            or scope.experiments
            or scope.revs
            or scope.date is not None
        )


def collect_garbage(
    repository: Repository,
    options: GcOptions,
    *,
    show: Callable[[Plan], None],
    ask: Callable[[], bool] | None,
) -> Plan | None:
    """Removes what nothing in the scope names; returns what was (or with `dry` would be) removed, None if declined.

    Args:
        show: called with the plan before anything is removed.
        ask: called afterwards, while no lock is held; None when the answer was given before.

    Raises:
        NoScopeError, MergeUnfinishedError, GarbageRefusedError, ProjectLostError, CannotRemoveError, and of remotes.

    Holds: an object that the scope names stays; a kill leaves objects that nothing names, for the next run.
    """
    _check(options)
    refuse_unfinished(repository, "remove unneeded data")
    remote = None
    if options.cloud or options.not_in_remote:
        remote = _open_remote(repository, options.remote)
        if options.cloud:
            _refuse_versions(remote)
    sources = [Source(repository, options.scope._replace(stash=True), ""), *_others(repository, options)]
    rules = Rules(options.skip_failed, options.not_in_remote, options.grace_s, options.projects is not None)
    with _locked(sources):
        plan = plan_removal(sources, remote, cloud=options.cloud, rules=rules)
        show(plan)
        if options.dry:
            return plan
        if ask is None:
            _remove(repository, plan, options)
            return plan
    if not ask():
        return None
    with _locked(sources):
        # Much may have happened while the person thought.
        plan = _in_both(plan, plan_removal(sources, remote, cloud=options.cloud, rules=rules))
        _remove(repository, plan, options)
        return plan


def _packed(remote: Remote | None) -> PackedRemote | None:
    if remote is None:
        return None
    from kist.repo.transfers import is_packed  # most clean-ups are of the cache alone

    return remote if is_packed(remote) else None


def _open_remote(repository: Repository, name: str | None) -> Remote:
    from kist.repo.settings import NoRemoteError, UnknownRemoteError  # most clean-ups are of the cache alone
    from kist.repo.transfers import open_remote

    try:
        remote, note = open_remote(repository, name, writes=True)
    except (NoRemoteError, UnknownRemoteError) as error:
        raise UnusableRemoteError(error.message, hint=error.hint) from error
    repository.notes += [note] if note else []
    return remote


def _refuse_versions(remote: Remote) -> None:
    from kist.repo.transfers import is_versioned  # most clean-ups are of the cache alone

    if is_versioned(remote):
        raise VersionsKeptError(
            f"cannot clean up remote '{remote.name}': it keeps versions, and its bucket's rules say for how long",
            hint="let a life-cycle rule of the bucket end old versions",
        )


def _check(options: GcOptions) -> None:
    scope = options.scope
    if scope.num is not None and not (scope.branches or scope.revs):
        raise NoScopeError("cannot use --num: it counts from branches or revisions", hint="kist gc -a -n 3")
    if not options.has_scope:
        raise NoScopeError(
            "cannot tell what to keep: one of -w, -a, -T, -A, --all-experiments, --date, --rev is needed",
            hint="kist gc -A --dry",
        )
    if options.repack and not options.cloud:
        raise NoScopeError(
            "cannot use --repack without --cloud: packs are in remotes", hint="kist gc -c -A --repack"
        )
    if options.not_in_remote and options.cloud:
        raise NoScopeError(
            "cannot use --not-in-remote with --cloud: it removes from the cache what is in the remote",
            hint="leave one of them out",
        )


def _others(repository: Repository, options: GcOptions) -> list[Source]:
    """Returns the other projects that use the cache: registered ones, and those of `-p`."""
    environ = projects.trusting(repository.environ)
    found: dict[str, Scope] = {}
    for project in projects.reachable(repository.cache_dir):
        found[project.root] = EVERYTHING
    for path in options.projects or ():
        absolute = os.path.normpath(os.path.join(repository.cwd, path))
        root = find_root(absolute) if os.path.isdir(absolute) else None
        if root is None:
            raise NoRepositoryError(
                f"cannot keep what '{path}' needs: there is no repository", hint=shell_line("ls", "-a", path)
            )
        found.setdefault(root, options.scope._replace(stash=True))
    # The same folder may be known by several names, and its lock can be taken once.
    seen = {_identity(repository.root)}
    others = []
    for root in sorted(found):
        if _identity(root) not in seen:
            seen.add(_identity(root))
            others.append(Source(repository.another(root, environ), found[root], root))
    return others


def _identity(root: str) -> tuple[int, int]:
    status = os.stat(os.path.join(root, ".dvc"))
    return status.st_dev, status.st_ino


def _locked(sources: Sequence[Source]) -> contextlib.ExitStack:
    """Returns the locks of all projects; always taken in one order, so that two of these never wait for each other."""
    with contextlib.ExitStack() as taken:
        for source in sorted(sources, key=lambda item: item.repository.root):
            own = source.repository
            taken.enter_context(own.plain_lock() if source.label else own.lock())
        return taken.pop_all()


def _in_both(shown: Plan, now: Plan) -> Plan:
    """Returns what was shown and may still go."""
    places = []
    for before, after in zip(shown.places, now.places, strict=True):
        objects = {}
        for algorithm, items in before.objects.items():
            still = {item.oid for item in after.objects[algorithm]}
            objects[algorithm] = [item for item in items if item.oid in still]
        places.append(before._replace(objects=objects))
    return now._replace(places=places)


def _remove(repository: Repository, plan: Plan, options: GcOptions) -> None:
    noted = list_of_gone(repository)
    places = {
        item.place.name: [leftover.oid for objects in item.objects.values() for leftover in objects]
        for item in plan.places
    }
    # Once a manifest is gone, nothing tells what its members were: the next run must know that they were to go.
    needs_note = plan.is_delicate and any(oid.endswith(".dir") for oids in places.values() for oid in oids)
    if needs_note:
        gone.write(noted, plan.missed, places=places, durable=True)
    for item in plan.places:
        phase = "Cleaning up" if item.place.remote is None else f"Cleaning up {item.place.name}"
        remote = item.place.remote
        if (packed := _packed(remote)) is not None:
            # All at once: what is rewritten is rewritten once, and packs that nothing names go, too.
            drop = {
                algorithm: {leftover.oid for leftover in objects}
                for algorithm, objects in item.objects.items()
            }
            done = packed.clean(drop, repack=options.repack, progress=repository.progress, phase=phase)
            if done.packs_removed or done.packs_written:
                repository.notes.append(
                    f"'{packed.name}': {_packs(done.packs_removed)} ({done.bytes_removed} bytes) removed, "
                    f"{done.packs_written} ({done.bytes_written} bytes) written"
                )
            continue
        for algorithm, objects in item.objects.items():
            if objects:
                oids = [leftover.oid for leftover in objects]
                item.place.remove(oids, algorithm, progress=repository.progress, phase=phase)
    gone.write(noted, plan.missed, durable=needs_note)
    for path in plan.temps:
        if os.path.isdir(path) and not os.path.islink(path):
            remove_staging(path)
        else:
            atomic.remove_quietly(path)


def _packs(number: int) -> str:
    return f"{number} pack" + ("" if number == 1 else "s")
