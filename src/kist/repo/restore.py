"""`restore`: brings one tracked path back as a commit has it, with its data; everything else stays.

Not here: fetching and what would be lost (moving), files and links (checkout).
Implements docs/spec/save-switch-sync.md, section 2.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.errors import InputError, KistError
from kist.formats.manifest import Tree, tree_of
from kist.formats.metafile import with_checksum
from kist.formats.records import LEGACY_MD5, MD5, Metafile, Output
from kist.git.porcelain import Porcelain, short
from kist.git.repository import GitRepository
from kist.repo.add import tracked_tree
from kist.repo.beside_git import need_git, noting, offset_of, told
from kist.repo.checkout import CheckoutOptions, CheckoutResult, checkout_items
from kist.repo.collect import CommitSource, Stage, WorkspaceSource, collect
from kist.repo.data import current_tree, look_at, wanted_tree
from kist.repo.journal import Journal, remove_journal, write_journal
from kist.repo.metafiles import Changes
from kist.repo.moving import Ways, fetch_for, refuse_losses, unsaved_beside
from kist.repo.recover import recover, refuse_unfinished
from kist.repo.survey import with_part
from kist.repo.targets import Selected, all_outputs, select
from kist.repo.tracking import Tracked, updated_output
from kist.repo.transfers import TransferResult

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class CannotRestoreError(InputError):
    """A path cannot be brought back from a commit: not tracked there as data, or tracked otherwise by now."""

    code = "cannot-restore"


class RestoreOptions(NamedTuple):
    """What `restore` was asked for besides its path; `words` is the command as typed."""

    rev: str = "HEAD"
    force: bool = False
    words: str = "kist restore"


class RestoreResult(NamedTuple):
    """What `restore` did.

    Attributes:
        path: relative to the root.
        commit: where it came from.
        metafile: relative to the root.
        is_changed: the metafile says something else than before.
        fetched: what was fetched.
        data: what happened to the workspace's data.
        to_stage: files that the person still has to stage.
        said: what git wrote.
        notes: lines to tell the person.
    """

    path: str
    commit: str
    metafile: str
    is_changed: bool
    fetched: TransferResult
    data: CheckoutResult
    to_stage: list[str]
    said: list[str]
    notes: list[str]


class _Plan(NamedTuple):
    """What is to be brought back.

    Attributes:
        then: the output in the commit; its `inner` is the path inside of it that is meant.
        now: the output in the workspace; None when nothing tracks it any more.
        source: the commit's metafiles.
    """

    commit: str
    then: Selected
    now: Selected | None
    source: CommitSource

    @property
    def metafile(self) -> str:
        """The metafile that is written, relative to the root."""
        return self.now.stage.file if self.now is not None else self.then.stage.file


def restore(repository: Repository, path: str, options: RestoreOptions) -> RestoreResult:
    """Brings one path back.

    Raises: KistError, OSError: metafile and data are as before, but for what fails in the middle of the checkout.

    Holds: a kill leaves the metafile as before, or new with its data on the way; the next command does the rest.
    """
    git = need_git(repository, "restore")
    porcelain = Porcelain(git, repository.environ, inside="restore")
    with repository.lock():
        refuse_unfinished(recover(repository, git, porcelain), failed="restore")
        repository.sweep_now()
        rel = repository.rel(path)
        plan = _plan(repository, git, rel, options)
        ways = Ways(
            f"restore '{repository.shown(rel)}'",
            f"{options.words} --force",
            f"git restore --source {short(plan.commit)} -- {plan.then.stage.file}",
        )
        fetched, tree = _fetch(repository, plan, ways)
        if not options.force:
            _refuse_losses(repository, git, plan, tree, ways)
        output = _wanted_output(repository, plan, tree)
        assert output.digest is not None
        journal = Journal(
            "restore", options.words, path=rel, metafile=plan.metafile, digest=output.digest.value
        )
        write_journal(repository, journal)
        changes = Changes(repository)
        is_changed = _write(repository, plan, output, changes)
        items = [
            item for item in select(repository, [repository.abspath(rel)]) if item.path == plan.then.path
        ]
        data = checkout_items(repository, items, CheckoutOptions(force=options.force))
        to_stage = changes.finish() if is_changed else []
        if data.error(repository) is None:
            remove_journal(repository)
        return RestoreResult(
            rel,
            plan.commit,
            plan.metafile,
            is_changed,
            fetched,
            data,
            to_stage,
            told(porcelain),
            repository.take_notes(),
        )


def _plan(repository: Repository, git: GitRepository, rel: str, options: RestoreOptions) -> _Plan:
    """Finds the path in the commit and in the workspace.

    Raises: RevisionMissingError, CannotRestoreError.
    """
    commit = git.resolve(options.rev)
    source = CommitSource(repository, commit)
    stages = collect(source, on_damage=noting(repository))
    then = _find(stages, rel)
    shown = repository.shown(rel)
    if then is None:
        raise _not_tracked(repository, git, rel, commit, options.rev, stages)
    digest = then.out.output.digest
    if not (then.stage.is_data or (then.stage.is_import and not then.inner)):
        raise CannotRestoreError(
            f"cannot restore '{shown}': '{then.stage.address}' makes it, and its lock file would say something untrue",
            hint=f"move everything there with `{shell_line('kist', 'switch', options.rev)}`",
        )
    if digest is None or digest.algorithm not in (MD5, LEGACY_MD5) or not then.out.output.use_cache:
        raise CannotRestoreError(f"cannot restore '{shown}': {short(commit)} does not say what was in it")
    now = next(
        (
            item
            for item in all_outputs(collect(WorkspaceSource(repository)))
            if item.out.path == then.out.path
            or item.out.path.startswith(then.out.path + "/")
            or then.out.path.startswith(item.out.path + "/")
        ),
        None,
    )
    if now is not None and (now.out.path != then.out.path or not (now.stage.is_data or now.stage.is_import)):
        raise CannotRestoreError(
            f"cannot restore '{shown}': by now it belongs to '{repository.shown(now.out.path)}' "
            f"of '{now.stage.address}'",
            hint=f"move everything there with `{shell_line('kist', 'switch', options.rev)}`",
        )
    if now is None and then.inner:
        top = repository.shown(then.out.path)
        raise CannotRestoreError(
            f"cannot restore '{shown}': '{top}' is not tracked any more",
            hint=f"bring all of it back with `{shell_line('kist', 'restore', top, '--rev', options.rev)}`",
        )
    if now is None and git.is_tracked([repository.abspath(then.out.path)]):
        raise CannotRestoreError(
            f"cannot restore '{shown}': Git tracks it by now",
            hint=shell_line("git", "rm", "-r", "--cached", shown),
        )
    return _Plan(commit, then, now._replace(inner=then.inner) if now is not None else None, source)


def _find(stages: list[Stage], rel: str) -> Selected | None:
    outputs = [item for item in all_outputs(stages) if item.out.is_inside]
    for item in outputs:
        if item.out.path == rel or (item.stage.file == rel and len(item.stage.outs) == 1):
            return item
    for item in outputs:
        if rel.startswith(item.out.path + "/"):
            return item._replace(inner=rel[len(item.out.path) + 1 :])
    return None


def _not_tracked(
    repository: Repository, git: GitRepository, rel: str, commit: str, rev: str, stages: list[Stage]
) -> CannotRestoreError:
    shown = repository.shown(rel)
    near = closest(shown, [repository.shown(item.out.path) for item in all_outputs(stages)])
    hint = f"did you mean '{near}'?" if near else shell_line("kist", "log", shown)
    if rel and git.list_tree(commit, under=offset_of(repository, git) + rel):
        hint = shell_line("git", "restore", "--source", rev, "--", shown)
    return CannotRestoreError(
        f"cannot restore '{shown}': {short(commit)} does not track it as data", hint=hint
    )


def _fetch(repository: Repository, plan: _Plan, ways: Ways) -> tuple[TransferResult, Tree]:
    """Fetches what is meant; returns its files with paths as in the output, one called "" for a single file."""
    items = [plan.then]
    if plan.now is not None and plan.then.inner:
        items.append(plan.now)
    fetched = fetch_for(repository, items, ways)
    digest = plan.then.out.output.digest
    assert digest is not None
    tree = wanted_tree(repository.store_for(digest.algorithm), digest, "")
    inner = plan.then.inner
    if not inner:
        return fetched, tree
    files = {path: oid for path, oid in tree.files() if path == inner or path.startswith(inner + "/")}
    if not files:
        raise CannotRestoreError(
            f"cannot restore '{repository.shown(plan.then.path)}': {short(plan.commit)} does not have it",
            hint=shell_line("kist", "log", repository.shown(plan.then.path)),
        )
    return fetched, tree_of(files)


def _refuse_losses(repository: Repository, git: GitRepository, plan: _Plan, tree: Tree, ways: Ways) -> None:
    """Raises WouldLoseError if files at the path have content that is stored nowhere."""
    then = plan.then
    digest = then.out.output.digest
    assert digest is not None
    look = look_at(repository, [(then.out.path, digest.algorithm)])[0]
    if look.snapshot is None:
        return
    if digest.is_dir != look.is_dir:
        wanted = Tree({})
    elif not digest.is_dir:
        wanted = tree_of({then.out.path.rpartition("/")[2]: digest.value})
    else:
        wanted = with_part(current_tree(look), then.inner, tree) if then.inner else tree
    lost = unsaved_beside(repository, look, wanted)
    refuse_losses(repository, git, ways, code=[], data=lost)


def _wanted_output(repository: Repository, plan: _Plan, tree: Tree) -> Output:
    """Returns what the metafile is to say of the output; stores the manifest that this takes."""
    then = plan.then.out.output
    assert then.digest is not None
    if plan.now is None:
        return then
    now = plan.now.out.output
    if not plan.then.inner:
        tracked = Tracked("", then.digest, then.size, then.nfiles, then.isexec)
        changed_output = updated_output(repository, now._replace(files=None), tracked)
        return changed_output._replace(files=then.files, cloud=then.cloud, version_id=then.version_id)
    if now.digest is None or not now.digest.is_dir or {now.digest.algorithm, then.digest.algorithm} != {MD5}:
        shown = repository.shown(plan.then.path)
        raise CannotRestoreError(
            f"cannot restore '{shown}': the two versions of '{repository.shown(plan.then.out.path)}' "
            "are recorded in ways that cannot be mixed",
            hint=shell_line(
                "kist", "restore", repository.shown(plan.then.out.path), "--rev", short(plan.commit)
            ),
        )
    recorded = wanted_tree(repository.cache, now.digest, "")
    changed = with_part(recorded, plan.then.inner, tree)
    size = None
    single = tree.get(plan.then.inner)
    if single is not None and recorded.get(plan.then.inner) is None and now.size is not None:
        size = now.size + _size_of(repository, single)
    return updated_output(repository, now, tracked_tree(repository, "", changed, size))


def _size_of(repository: Repository, oid: str) -> int:
    record = repository.cache.stat(oid)
    return 0 if record is None else int.from_bytes(record[8:16], "little")


def _write(repository: Repository, plan: _Plan, output: Output, changes: Changes) -> bool:
    """Writes the metafile and the ignore file; returns whether the metafile changed."""
    then, now = plan.then, plan.now
    if now is None or now.stage.is_import or then.stage.is_import:
        data = plan.source.read(then.stage.file)
        assert data is not None and then.stage.metafile is not None
        if now is not None and now.stage.file != then.stage.file:
            changes.remove_file(now.stage.file)
            changes.note(now.stage.file)
        if len(then.stage.outs) == 1:
            is_changed = _write_bytes(repository, then.stage.file, data)
            changes.note(then.stage.file)
        else:
            only = Metafile(outs=(output,), wdir=then.stage.metafile.wdir)
            is_changed = changes.write_metafile(then.stage.file, only)
    else:
        metafile = now.stage.metafile
        assert metafile is not None
        outs = list(metafile.outs)
        outs[next(at for at, out in enumerate(now.stage.outs) if out.path == now.out.path)] = output
        changed = metafile._replace(outs=tuple(outs))
        is_changed = changes.write_metafile(
            now.stage.file, with_checksum(changed) if changed.checksum else changed
        )
    changes.ignore(then.out.path)
    return is_changed


def _write_bytes(repository: Repository, path: str, data: bytes) -> bool:
    import os  # only for metafiles that come back

    absolute = repository.abspath(path)
    os.makedirs(os.path.dirname(absolute), exist_ok=True)
    if os.path.lexists(absolute):
        with open(absolute, "rb") as stream:
            if stream.read() == data:
                return False
    atomic.write_file(absolute, data)
    return True


def restore_commands(repository: Repository, path: str, options: RestoreOptions) -> list[list[str]]:
    """Returns the commands of `git` and `kist` that do the same; changes nothing.

    Raises: as `restore`, as far as it can be known without fetching; CannotRestoreError where there are none.
    """
    git = need_git(repository, "restore")
    rel = repository.rel(path)
    plan = _plan(repository, git, rel, options)
    file = repository.shown(plan.then.stage.file)
    shown = repository.shown(plan.then.path)
    if plan.now is not None and plan.now.stage.file != plan.then.stage.file:
        raise CannotRestoreError(
            f"cannot tell plain commands for '{shown}': its metafile was '{file}' then",
            hint="leave `--dry` out",
        )
    source = ["git", "restore", "--source", options.rev, "--", file]
    checkout = ["kist", "pull" if repository.settings.remotes else "checkout"]
    checkout += [*(["--force"] if options.force else []), shown]
    if plan.now is None:
        return [source, checkout, ["kist", "add", shown]]
    if not plan.then.inner:
        return [source, checkout]
    kept = f"{file}.now"
    return [["cp", file, kept], source, checkout, ["mv", kept, file], ["kist", "add", shown]]


def error_of(result: RestoreResult, repository: Repository) -> KistError | None:
    """Returns what is to be reported when some of the data could not be checked out."""
    return result.data.error(repository)
