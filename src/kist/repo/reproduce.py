"""`reproduce`: makes a revision again in a clean folder, and says of each output whether it came out as recorded.

The workspace is not touched; the cache is shared, so that nothing is fetched or run that it has. Not here: running
stages (repro). Implements docs/spec/reproduce.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.errors import InputError
from kist.git.process import GitProgram
from kist.repo.beside_git import need_git, offset_of
from kist.repo.collect import CommitSource, Stage, WorkspaceSource, collect
from kist.repo.data import algorithm_of, digest_of, is_as_recorded, look_at
from kist.repo.elsewhere import OtherRepository
from kist.repo.pull import pull
from kist.repo.repro import KEEP_GOING, ReproOptions, ReproResult, repro
from kist.repo.repro_plan import Scope
from kist.repo.settings import NoRemoteError
from kist.repo.targets import stages_of
from kist.store.loose import remove_staging, sweep_staging

if TYPE_CHECKING:
    from kist.base.locks import FileLock
    from kist.formats.records import Digest
    from kist.git.repository import GitRepository
    from kist.repo.repository import Repository
    from kist.repo.repro_events import Tell

SAME = "same"
DIFFERENT = "different"
MISSING = "missing"
NOT_RECORDED = "not recorded"


class FolderTakenError(InputError):
    """The folder that was named holds something. The person names another one."""

    code = "folder-taken"


class Verdict(NamedTuple):
    """How one output came out.

    Attributes:
        path: relative to the repository's root.
        state: SAME, DIFFERENT, MISSING, or NOT_RECORDED where the revision says no hash of it.
        recorded, now: content ids.
    """

    path: str
    state: str
    recorded: str | None
    now: str | None


class Reproduced(NamedTuple):
    """What `reproduce` came to.

    Attributes:
        folder: where it lies, None where it was removed.
        ran: stages that were run, or restored from the history of runs.
        failed: stages that failed.
        notes: what the person should know of what could not be fetched.
    """

    commit: str
    folder: str | None
    ran: list[str]
    failed: list[str]
    verdicts: list[Verdict]
    notes: list[str]

    @property
    def is_same(self) -> bool:
        """Says whether all came out as recorded."""
        return not self.failed and all(verdict.state == SAME for verdict in self.verdicts)


class CleanRepository(OtherRepository):
    """A clone of a revision that uses the cache of another project, and is gone when the command ends."""

    def lock(self) -> FileLock:
        """Returns the lock alone: a project that soon is gone is not made known to the cache."""
        return self.plain_lock()


def reproduce(
    repository: Repository,
    rev: str,
    targets: Sequence[str],
    tell: Tell,
    *,
    folder: str | None = None,
    force: bool = False,
    remote: str | None = None,
    output: int | None = None,
) -> Reproduced:
    """Checks a revision out, gets its data, runs what is not there, and compares.

    Args:
        targets: stages, metafiles or outputs of the revision; none: all.
        tell: told of each step of the run.
        folder: a new or empty folder that stays; None for one that is removed.
        force: run every stage, whatever the cache has.
        remote: where data comes from that the cache lacks.
        output: the descriptor that commands write their standard output to; None: ours.

    Raises: NoGitError, RevisionMissingError, FolderTakenError, TargetMissingError, FormatError, OSError.

    Holds: the workspace, its metafiles and Git's index are as before; a kill leaves a folder in `.dvc/tmp` alone,
        which the next one removes.
    """
    git = need_git(repository, "reproduce a revision")
    commit = git.resolve(rev)
    kept = _prepared(repository, folder)
    place = kept or _temporary(repository)
    try:
        clean = _clone(repository, git, commit, place)
        try:
            recorded = _meant(clean, collect(CommitSource(repository, commit)), targets)
            notes = _get_data(clean, recorded, force=force, remote=remote)
            result = _run(clean, recorded, tell, force=force, output=output)
            return Reproduced(commit, kept, result.ran, result.failed, _verdicts(clean, recorded), notes)
        finally:
            clean.close()
    finally:
        if kept is None:
            remove_staging(place)


def _temporary(repository: Repository) -> str:
    """Returns a new folder that Git ignores, beside the cache, so that data can be linked; sweeps what kills left."""
    base = os.path.join(repository.dvc_dir, "tmp")
    sweep_staging(base, time.time())
    place = os.path.join(base, atomic.temp_name())
    os.makedirs(place)
    return place


def _prepared(repository: Repository, folder: str | None) -> str | None:
    if folder is None:
        return None
    path = os.path.abspath(os.path.join(repository.cwd, folder))
    if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise FolderTakenError(
            f"cannot reproduce into '{folder}': it is there and not empty",
            hint="name a folder that is not there yet",
        )
    os.makedirs(path, exist_ok=True)
    return path


def _clone(repository: Repository, git: GitRepository, commit: str, place: str) -> CleanRepository:
    """Returns the revision in a clone that borrows Git's objects; the settings are those of today's repository."""
    program = GitProgram(place, repository.environ)
    words = ["clone", "--quiet", "--shared", "--no-checkout", "--template=", "--", git.top, place]
    program.run(words, writes=True)
    program.run(
        [
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "advice.detachedHead=false",
            "checkout",
            "--quiet",
            "--detach",
            commit,
        ],
        writes=True,
    )
    offset = offset_of(repository, git)
    root = os.path.realpath(os.path.join(place, offset))
    os.makedirs(os.path.join(root, ".dvc", "tmp"), exist_ok=True)
    clean = CleanRepository(
        root,
        cwd=root,
        config_paths=repository.config_paths,
        progress=repository.progress,
        environ=repository.environ,
    )
    clean.extra = (("the cache", f"[cache]\ndir = {repository.cache_dir}\n".encode()),)
    clean.limiter = repository.limiter
    clean.ask = repository.ask
    return clean


def _meant(clean: Repository, stages: list[Stage], targets: Sequence[str]) -> list[Stage]:
    if not targets:
        return stages
    found = [stage for target in targets for stage in stages_of(clean, stages, target)]
    return list({stage.address: stage for stage in found}.values())


def _get_data(clean: Repository, stages: list[Stage], *, force: bool, remote: str | None) -> list[str]:
    """Gets what is recorded as far as it can be had; with `force` only what no stage makes."""
    wanted = [stage.address for stage in stages if not (force and _is_run(stage))]
    wanted += [
        stage.address
        for stage in collect(WorkspaceSource(clean))
        if not _is_run(stage) and stage.address not in wanted
    ]
    if not wanted:
        return []
    try:
        got = pull(clean, wanted, remote=remote)
    except NoRemoteError:
        from kist.repo.checkout import CheckoutOptions, checkout  # where there is a remote, pull did it

        checkout(clean, wanted, CheckoutOptions(force=True))
        return ["there is no remote to fetch from what the cache lacks"]
    return [f"cannot fetch '{path}': object '{oid}' is {cause}" for path, oid, cause in got.transfer.failed]


def _is_run(stage: Stage) -> bool:
    return stage.resolved is not None and not stage.resolved.frozen


def _run(
    clean: Repository, stages: list[Stage], tell: Tell, *, force: bool, output: int | None
) -> ReproResult:
    wanted = [stage.address for stage in stages if _is_run(stage)]
    if not wanted:
        return ReproResult([], [], [], [])
    options = ReproOptions(scope=Scope(), force=force, use_runs=not force, on_error=KEEP_GOING, output=output)
    return repro(clean, wanted, options, tell)


def _verdicts(clean: Repository, stages: list[Stage]) -> list[Verdict]:
    outs = [out for stage in stages for out in stage.outs if out.is_inside]
    looks = look_at(clean, [(out.path, algorithm_of(out.output.digest)) for out in outs])
    found = []
    for out, look in zip(outs, looks, strict=True):
        recorded = out.output.digest
        now: Digest | None = digest_of(clean, look, algorithm=algorithm_of(recorded))
        if recorded is None:
            state = NOT_RECORDED
        elif now is None:
            state = MISSING
        else:
            state = SAME if is_as_recorded(clean, look, recorded) else DIFFERENT
        found.append(
            Verdict(
                out.path, state, recorded.value if recorded else None, now.value if now is not None else None
            )
        )
    return sorted(found)
