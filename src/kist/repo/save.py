"""`save`: stores what changed, commits the metafiles and what is staged, tags, pushes data, branch and tag.

Not here: what there is to save (survey), the words on the screen (cli). Implements docs/spec/save-switch-sync.md.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError, KistError
from kist.formats.manifest import render_manifest, tree_of
from kist.formats.records import MD5, Digest, Metafile, Output
from kist.git.porcelain import Place, Porcelain, PushTarget, refused
from kist.git.repository import GitRepository
from kist.repo.add import AddOptions, StoredTargets, record, store_targets, tracked_tree
from kist.repo.beside_git import listed, need_git, noting, offset_of, told
from kist.repo.collect import CommitSource, Stage, collect_commits, read_stages, stage_of_metafile
from kist.repo.counting import Counter, Tally
from kist.repo.data import digest_of
from kist.repo.journal import Journal, may_be_interrupted, remove_journal, write_journal
from kist.repo.metafiles import Changes
from kist.repo.survey import (
    Survey,
    metafile_of,
    never_here,
    present_manifest,
    refuse_unknown_lists,
    survey,
    with_files,
    with_part,
)
from kist.repo.targets import Selected, all_outputs
from kist.repo.tracking import Tracked, updated_output

if TYPE_CHECKING:
    from kist.repo.repository import Repository
    from kist.repo.transfers import TransferResult


class TagTakenError(InputError):
    """A tag of this name exists and names another commit. The user takes another name."""

    code = "tag-taken"


class CannotPushBranchError(InputError):
    """There is no branch to push: HEAD is detached."""

    code = "detached-head"


class SaveOptions(NamedTuple):
    """What `save` was asked for besides its paths; `words` is the command as typed, for the journal."""

    message: str | None = None
    tag: str | None = None
    push: bool = False
    words: str = "kist save"


class OutputChange(NamedTuple):
    """What of one output goes into the commit; `tally` is None where that is unknown."""

    path: str
    is_directory: bool
    tally: Tally | None


class SaveResult(NamedTuple):
    """What `save` did, in both worlds.

    Attributes:
        changes: outputs that the commit has otherwise than its parent.
        message: of the commit, None without one.
        commit: the new commit, None when there was nothing to save.
        place: where HEAD is now.
        tag: made, or there already.
        pushed: what happened to the data with `--push`.
        pushed_git: what went to which Git remote.
        survey: what there was.
        said: what git and hooks wrote.
        notes: lines to tell the person.
        error: why pushing did not succeed; all that came before is done.
    """

    changes: list[OutputChange]
    message: str | None
    commit: str | None
    place: Place
    tag: str | None
    pushed: TransferResult | None
    pushed_git: list[str]
    survey: Survey
    said: list[str]
    notes: list[str]
    error: KistError | None


class _Push(NamedTuple):
    """Where things go: the branch if there is one, and whether there is data with a remote to send it to."""

    target: PushTarget | None
    has_data: bool


class _Work(NamedTuple):
    """The parts of one save."""

    repository: Repository
    git: GitRepository
    porcelain: Porcelain
    counter: Counter
    options: SaveOptions


def save(repository: Repository, paths: Sequence[str], options: SaveOptions) -> SaveResult:
    """Saves.

    Raises: KistError, OSError: nothing is committed; what was stored by then stays in the cache.

    Holds: a kill leaves HEAD as before, or the new commit whole; the next command of the group settles the rest.
    """
    work = _work(repository, options)
    with repository.lock():
        if may_be_interrupted(repository):
            from kist.repo.recover import recover, refuse_unfinished  # half of all modules, for a rare case

            refuse_unfinished(recover(repository, work.git, work.porcelain), failed="save")
        repository.sweep_now()
        found = survey(repository, work.git, work.porcelain, paths, read=_is_tag_taken(work))
        push = _refuse(work, found)
        changes, message, commit = _commit(work, found)
        place = work.porcelain.place()
        if options.tag is not None and commit is None:
            _tag(work, message or _subject(work.porcelain, place))
        result = SaveResult(
            changes,
            message,
            commit,
            place,
            options.tag,
            None,
            [],
            found,
            told(work.porcelain),
            repository.take_notes(),
            None,
        )
        return _pushed(work, result, push) if push is not None else result


def _work(repository: Repository, options: SaveOptions) -> _Work:
    git = need_git(repository, "save")
    return _Work(
        repository, git, Porcelain(git, repository.environ, inside="save"), Counter(repository), options
    )


def _is_tag_taken(work: _Work) -> bool:
    tag = work.options.tag
    if tag is None:
        return False
    work.porcelain.check_name(tag, "tags")
    return work.porcelain.has_commit(f"refs/tags/{tag}") is not None


def _refuse(work: _Work, found: Survey) -> _Push | None:
    """Raises what can be known to fail; returns where a push goes, None without `--push`."""
    options, porcelain = work.options, work.porcelain
    refuse_unknown_lists(work.repository, work.counter, found.changed)
    place = porcelain.place()
    if options.tag is not None:
        named = porcelain.has_commit(f"refs/tags/{options.tag}")
        if named is not None and (found.may_change or named != place.head):
            raise TagTakenError(
                f"cannot save as '{options.tag}': that tag names commit {named[:7]} already",
                hint="choose another name; `git tag` lists those that are taken",
            )
        if named is None and place.head is None and not found.may_change:
            raise InputError(
                f"cannot make tag '{options.tag}': there is no commit yet, and nothing to save",
                hint="name what to save: `kist save PATH`",
            )
    if found.may_change or options.tag is not None:
        porcelain.check_identity()
    if not options.push:
        return None
    if place.branch is None and options.tag is None:
        raise CannotPushBranchError("cannot push: HEAD is on no branch", hint="kist switch -c NAME")
    target = porcelain.push_target(place.branch) if place.branch is not None else _tag_target(porcelain)
    has_data = bool(found.new) or any(out.output.use_cache for stage in found.stages for out in stage.outs)
    if has_data:
        from kist.repo.transfers import open_remote  # only with --push

        open_remote(work.repository, None)
    return _Push(target, has_data)


def _tag_target(porcelain: Porcelain) -> PushTarget:
    """Returns the Git remote that a tag on no branch goes to."""
    return porcelain.push_target("HEAD")._replace(ref="", sets_upstream=False)


def _commit(work: _Work, found: Survey) -> tuple[list[OutputChange], str | None, str | None]:
    """Stores, records, stages, commits, tags; returns what changed, the message, and the commit if there was one."""
    repository = work.repository
    merges = work.porcelain.in_progress() == "merge"
    stored = _store(work, found)
    changed = {
        path: metafile
        for path, metafile in stored.metafiles.items()
        if metafile != metafile_of(found.stages, path)
    }
    files = [*found.pending]
    if not changed and not files and not found.is_staged and not merges:
        return [], None, None
    changes = _changes(work, found, changed)
    # Git has words of its own for a merge.
    message = work.options.message or ("" if merges else auto_message(work, found, changes))
    place = work.porcelain.place()
    journal = Journal("save", work.options.words, branch=place.branch, head=place.head)
    write_journal(repository, journal._replace(message=message, tag=work.options.tag))
    try:
        written = Changes(repository)
        for path in _data_of(found, {*found.pending, *found.staged}):
            written.ignore(path)  # whatever wrote these metafiles may have been killed before it came to this
        record(repository, stored._replace(metafiles=changed), written)
        work.git.stage(repository.abspath(path) for path in dict.fromkeys([*written.paths, *files]))
        said = work.porcelain.run(["commit", "--quiet", *(["-m", message] if message else ["--no-edit"])])
        if said.status != 0 and not work.porcelain.has_staged():
            work.porcelain.said.pop()  # that there is nothing to commit
            remove_journal(repository)
            return [], None, None
        if said.status != 0:
            repository.notes += told(work.porcelain)
            hint = "mend what it says, then run the same command again; what it is about is staged"
            raise refused("commit", said, hint)
    except (KistError, OSError):
        remove_journal(repository)
        raise
    commit = work.git.head_sha()
    message = message or _subject(work.porcelain, work.porcelain.place())
    _tag(work, message)
    remove_journal(repository)
    return changes, message, commit


def _data_of(found: Survey, metafiles: set[str]) -> list[str]:
    """Returns the outputs that Git must ignore of `.dvc` files."""
    return [
        out.path
        for stage in found.stages
        if stage.is_data and stage.file in metafiles
        for out in stage.outs
        if out.is_inside and out.output.use_cache
    ]


def _store(work: _Work, found: Survey) -> StoredTargets:
    """Stores what differs; files of a directory that were never fetched stay in it."""
    repository = work.repository
    paths = [*(item.out.path for item in found.changed), *found.inner, *found.new]
    if not paths:
        return StoredTargets({}, [], [], [])
    looks = {
        look.path: look for look in found.looks if look.snapshot is not None and look.snapshot.space == MD5
    }
    stored = store_targets(repository, found.stages, paths, AddOptions(), looks=looks)
    metafiles = dict(stored.metafiles)
    for item in found.changed:
        metafile = metafiles[item.stage.file]
        at = next(k for k, out in enumerate(item.stage.outs) if out.path == item.out.path)
        new = metafile.outs[at].digest
        if item.out.path in found.uncached and new == item.out.output.digest:
            repository.notes.append(f"'{repository.shown(item.out.path)}' was not in the cache, and is again")
        if new is None or not new.is_dir or new == item.out.output.digest:
            continue
        manifest = work.counter.manifest(new)
        kept = never_here(repository, item.out.output.digest, manifest or b"[]")
        if kept and manifest is not None:
            metafiles[item.stage.file] = _with_kept(work, metafile, at, manifest, kept)
            note_kept(repository, item.out.path, len(kept))
    return stored._replace(metafiles=metafiles)


def _with_kept(work: _Work, metafile: Metafile, at: int, manifest: bytes, kept: dict[str, str]) -> Metafile:
    """Returns the metafile with a directory whose unfetched files are still in it; stores its manifest."""
    tracked = tracked_tree(work.repository, "", with_files(manifest, kept), None)
    outs = list(metafile.outs)
    outs[at] = updated_output(work.repository, outs[at], tracked)
    return metafile._replace(outs=tuple(outs))


def note_kept(repository: Repository, path: str, count: int) -> None:
    """Says that files of a directory that are not here stay tracked."""
    shown = repository.shown(path)
    repository.notes.append(
        f"{count} file{'' if count == 1 else 's'} of '{shown}' that were never fetched stay in it "
        f"(`kist add {shown}` records it without them)"
    )


def _changes(work: _Work, found: Survey, changed: dict[str, Metafile]) -> list[OutputChange]:
    """Returns how outputs differ from HEAD in the metafiles that the commit brings."""
    here: dict[str, Stage] = {stage.file: stage for stage in found.stages if stage.name is None}
    noted = work.repository.placements
    now = here | {path: stage_of_metafile(path, metafile, noted) for path, metafile in changed.items()}
    files = {path for path in [*changed, *found.pending, *found.staged] if path.endswith(".dvc")}
    # The others are in HEAD as they are here.
    differing = files & {*found.pending, *found.staged}
    before = {path: here[path] for path in files - differing if path in here}
    before |= _stages_of_head(work, differing)
    return compare_stages(work.counter, before, {path: now[path] for path in files if path in now})


def _stages_of_head(work: _Work, files: set[str]) -> dict[str, Stage]:
    if not files or not work.git.has_commits():
        return {}
    source = CommitSource(work.repository, "HEAD")
    found = {}
    for path in files & source.shas.keys():
        try:
            found[path] = read_stages(source, path)[0]
        except KistError:
            continue  # broken in HEAD: everything in it counts as new
    return found


def compare_stages(counter: Counter, before: dict[str, Stage], after: dict[str, Stage]) -> list[OutputChange]:
    """Returns the outputs that differ between two sets of metafiles, by path."""
    old: dict[str, Output] = {out.path: out.output for stage in before.values() for out in stage.outs}
    new: dict[str, Output] = {out.path: out.output for stage in after.values() for out in stage.outs}
    found = []
    for path in sorted(old.keys() | new.keys()):
        tally = counter.compare(old.get(path), new.get(path))
        if tally is None or not tally.is_empty:
            digest = (new.get(path) or old[path]).digest
            found.append(OutputChange(path, digest is not None and digest.is_dir, tally))
    return found


def auto_message(work: _Work, found: Survey, changes: Sequence[OutputChange]) -> str:
    """Returns a message that tells what changed: `data: 12 files added, 3 changed in data/raw`."""
    if not changes:
        staged = sorted(change.path for change in work.porcelain.changes() if change.staged not in " ?!")
        offset = offset_of(work.repository, work.git)
        names = list(dict.fromkeys([*(offset + path for path in found.pending), *staged]))
        return "update " + ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    known = [change.tally for change in changes if change.tally is not None]
    numbers = (
        (sum(tally.added for tally in known), "added"),
        (sum(tally.changed for tally in known), "changed"),
        (sum(tally.removed for tally in known), "removed"),
    )
    parts = [f"{number} {word}" for number, word in numbers if number]
    if parts:
        head, _, word = parts[0].partition(" ")
        parts[0] = f"{head} file{'' if head == '1' else 's'} {word}"
    names = [change.path for change in changes]
    where = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
    return f"data: {', '.join(parts) or 'new version'} in {where}"


def _tag(work: _Work, message: str) -> None:
    """Makes the tag, unless it names HEAD already.

    Raises: GitRefusedError.
    """
    tag = work.options.tag
    if tag is not None and work.porcelain.has_commit(f"refs/tags/{tag}") is None:
        work.porcelain.must(
            ["tag", "-a", "-m", message, tag],
            failed=f"make tag '{tag}'",
            hint=shell_line("git", "tag", "-a", tag),
        )


def _subject(porcelain: Porcelain, place: Place) -> str:
    return porcelain.message_of(place.head)[0].partition("\n")[0] if place.head is not None else ""


def _pushed(work: _Work, result: SaveResult, push: _Push) -> SaveResult:
    """Pushes data, then the branch, then the tag; what fails is in the result, and nothing after it is tried."""
    if push.has_data:
        try:
            done, notes = _push_data(work, push)
        except KistError as error:
            return result._replace(error=error)
        result = result._replace(pushed=done, notes=[*result.notes, *notes])
        if done.failed:
            return result
    for words in push_words(push.target, result.place.branch, work.options.tag):
        said = work.porcelain.run([words[0], "--quiet", *words[1:]])
        result = result._replace(said=[*result.said, *told(work.porcelain)])
        if said.status != 0:
            hint = "if the branch moved on there, run `kist sync && kist save --push`"
            return result._replace(error=refused(f"push to '{words[-2]}'", said, hint))
        what = f"tag {work.options.tag}" if "tag" in words else f"branch {result.place.branch}"
        result.pushed_git.append(f"{what} to {push.target.remote if push.target else ''}")
    return result


def _push_data(work: _Work, push: _Push) -> tuple[TransferResult, list[str]]:
    """Sends the data of HEAD, and that of the commits before it which the branch takes along."""
    from kist.repo.transfers import transfer, wanted_outputs  # only with --push

    repository = work.repository
    items = wanted_outputs(repository, [])
    done, notes = transfer(repository, items, remote=None, is_push=True, jobs=None)
    known = {(item.path, item.out.output.digest) for item in items}
    older = [item for item in _older_items(work, push) if (item.path, item.out.output.digest) not in known]
    if done.failed or not older:
        return done, notes
    more, _ = transfer(repository, older, remote=None, is_push=True, jobs=None)
    lost = sorted({repository.shown(label) for label, _, _ in more.failed})
    if lost:
        # What an old version lost must not keep a new one back.
        notes.append(f"data of older commits is nowhere to be had, and was not pushed: {listed(lost)}")
    moved, size = done.moved + more.moved, done.size_bytes + more.size_bytes
    return done._replace(moved=moved, size_bytes=size), notes


def _older_items(work: _Work, push: _Push) -> list[Selected]:
    """Returns the outputs of the commits that are pushed with HEAD."""
    target = push.target
    commits = work.git.unpushed(target.remote)[1:] if target is not None and work.git.has_commits() else []
    if not commits:
        return []
    found = all_outputs(collect_commits(work.repository, commits, on_damage=noting(work.repository)))
    return list({(item.path, item.out.output.digest): item for item in found}.values())


def push_words(target: PushTarget | None, branch: str | None, tag: str | None) -> list[list[str]]:
    """Returns the `git push` commands for a branch and a tag."""
    words = []
    if target is not None and branch is not None:
        ref = branch if target.ref == f"refs/heads/{branch}" else f"{branch}:{target.ref}"
        words.append(["push", *(["--set-upstream"] if target.sets_upstream else []), target.remote, ref])
    if target is not None and tag is not None:
        words.append(["push", target.remote, "tag", tag])
    return words


# --dry


def save_commands(
    repository: Repository, paths: Sequence[str], options: SaveOptions
) -> tuple[list[list[str]], Survey]:
    """Returns the commands of `git` and `kist` that do the same, and what there is to save; changes nothing.

    Raises: what `save` raises before its first change.
    """
    work = _work(repository, options)
    _is_tag_taken(work)
    found = survey(repository, work.git, work.porcelain, paths, read=True)
    push = _refuse(work, found)
    adding, changed, inner = _what_to_add(work, found)
    metafiles = [*changed, *(path + ".dvc" for path in found.new), *inner]
    ignores = [
        posixpath.join(posixpath.dirname(path), ".gitignore")
        for path in found.new
        if not _is_ignored(repository, work.git, path)
    ]
    staging = list(dict.fromkeys([*metafiles, *ignores, *found.pending]))
    commands: list[list[str]] = []
    message = options.message
    if adding:
        commands.append(["kist", "add", *_shown(repository, adding)])
    if staging:
        commands.append(["git", "add", "--", *_shown(repository, staging)])
    if staging or found.is_staged:
        merges = message is None and work.porcelain.in_progress() == "merge"
        if not merges:
            message = message or auto_message(work, found, _dry_changes(work, found, changed))
        commands.append(["git", "commit", *(["-m", message] if message else ["--no-edit"])])
    place = work.porcelain.place()
    if options.tag is not None and work.porcelain.has_commit(f"refs/tags/{options.tag}") is None:
        text = message or _subject(work.porcelain, place)
        commands.append(["git", "tag", "-a", "-m", text, options.tag])
    if push is not None:
        older = ["--all-commits"] if push.has_data and _older_items(work, push) else []
        commands += [["kist", "push", *older]] if push.has_data else []
        commands += [["git", *words] for words in push_words(push.target, place.branch, options.tag)]
    return commands, found


def _shown(repository: Repository, paths: Sequence[str]) -> list[str]:
    return [shown if not shown.startswith("-") else f"./{shown}" for shown in map(repository.shown, paths)]


def _is_ignored(repository: Repository, git: GitRepository, path: str) -> bool:
    rules = repository.git_ignores
    inside = os.path.relpath(repository.abspath(path), git.top).replace(os.sep, "/")
    return rules is None or rules.is_path_ignored(inside, os.path.isdir(repository.abspath(path)))


def _what_to_add(work: _Work, found: Survey) -> tuple[list[str], dict[str, Metafile], list[str]]:
    """Returns paths for `kist add`, the metafiles that it changes as they will be, and those of paths inside."""
    adding: list[str] = []
    changed: dict[str, Metafile] = {}
    for item, look in zip(found.changed, found.looks, strict=True):
        digest = digest_of(work.repository, look)
        assert digest is not None and item.stage.metafile is not None
        kept: dict[str, str] = {}
        if digest.is_dir:
            manifest = present_manifest(look)
            work.counter.know(digest, manifest)
            kept = never_here(work.repository, item.out.output.digest, manifest)
        if kept:
            adding += _single_files(work, item.out.path, item.out.output.digest, digest, set(kept))
            note_kept(work.repository, item.out.path, len(kept))
        else:
            adding.append(item.out.path)
        at = next(k for k, out in enumerate(item.stage.outs) if out.path == item.out.path)
        metafile = changed.get(item.stage.file, item.stage.metafile)
        outs = list(metafile.outs)
        size = None if kept else look.size_bytes
        files = look.snapshot.file_count() if digest.is_dir and look.snapshot is not None else None
        tracked = Tracked("", digest, size, files, look.is_executable)
        outs[at] = updated_output(work.repository, outs[at], tracked)
        changed[item.stage.file] = metafile._replace(outs=tuple(outs))
    outputs = {out.path: stage.file for stage in found.stages for out in stage.outs}
    inner = [
        next(file for path, file in outputs.items() if one.startswith(path + "/")) for one in found.inner
    ]
    return [*adding, *found.inner, *found.new], changed, inner


def _single_files(work: _Work, path: str, old: Digest | None, new: Digest, kept: set[str]) -> list[str]:
    """Returns the files of a directory that came, changed or went, without those that were never here."""
    from kist.formats.manifest import compare_manifests  # only for directories that are here in part

    before = work.counter.manifest(old) if old is not None else None
    gone, came = compare_manifests(before or b"[]", work.counter.manifest(new) or b"[]", name=path)
    return [f"{path}/{name}" for name in sorted(gone.keys() | came.keys()) if name not in kept]


def _dry_changes(work: _Work, found: Survey, changed: dict[str, Metafile]) -> list[OutputChange]:
    """Returns what `save` would count; what is new is looked at for the numbers alone."""
    from kist.repo.data import look_at  # only with --dry

    fresh = dict(changed)
    for path, look in zip(
        found.new, look_at(work.repository, [(path, MD5) for path in found.new]), strict=True
    ):
        digest = digest_of(work.repository, look)
        if digest is not None and look.snapshot is not None:
            files = look.snapshot.file_count() if digest.is_dir else None
            output = Output(posixpath.basename(path), digest, look.size_bytes, files)
            fresh[path + ".dvc"] = Metafile(outs=(output,))
    for path in found.inner:
        _count_inner(work, found, path, fresh)
    return _changes(work, found, fresh)


def _count_inner(work: _Work, found: Survey, path: str, metafiles: dict[str, Metafile]) -> None:
    """Changes the metafile of a directory as if a path inside of it had been added, for the numbers alone."""
    from kist.repo.data import current_tree, look_at, wanted_tree  # only with --dry

    stage, at = next(
        (stage, at)
        for stage in found.stages
        for at, out in enumerate(stage.outs)
        if path.startswith(out.path + "/")
    )
    metafile = metafiles.get(stage.file, stage.metafile)
    assert metafile is not None
    digest = metafile.outs[at].digest or stage.outs[at].output.digest
    if digest is None or not digest.is_dir or digest.algorithm != MD5:
        return
    inner = path[len(stage.outs[at].path) + 1 :]
    look = look_at(work.repository, [(path, MD5)])[0]
    part = {(f"{inner}/{name}" if look.is_dir else inner): oid for name, oid in current_tree(look).files()}
    tree = with_part(wanted_tree(work.repository.cache, digest, ""), inner, tree_of(part))
    data = render_manifest(tree)
    oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
    work.counter.know(Digest(MD5, oid), data)
    outs = list(metafile.outs)
    tracked = Tracked("", Digest(MD5, oid), None, tree.file_count(), False)
    outs[at] = updated_output(work.repository, outs[at], tracked)
    metafiles[stage.file] = metafile._replace(outs=tuple(outs))
