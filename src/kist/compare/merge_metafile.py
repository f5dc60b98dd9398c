"""The three-way merge of `.dvc` files, bytes in and bytes out; the result can always be read. Pure.

Not here: `dvc.lock` (merge_lockfile), where manifests come from and go to (repo.merging).
Implements docs/spec/merging.md, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kist.compare.merge import (
    THEIRS,
    Choose,
    Clash,
    Decision,
    Side,
    SizeOf,
    merge_directory,
    merge_names,
    merge_value,
    merged_size,
)
from kist.errors import FormatError
from kist.formats.filelists import entries_of, spelled
from kist.formats.manifest import count_files, parse_manifest
from kist.formats.metafile import parse_metafile, render_metafile, with_checksum
from kist.formats.records import LEGACY_MD5, MD5, Digest, Metafile, Output

_EMPTY = b"[]"
_VALUES = (
    "isexec",
    "use_cache",
    "persist",
    "remote",
    "can_push",
    "desc",
    "type",
    "fs_config",
    "metric",
    "plot",
)
_FILE_VALUES = ("wdir", "frozen", "always_changed", "desc")


class Resources(NamedTuple):
    """What a merge may need besides the three texts.

    Attributes:
        manifests: bytes of those that could be had.
        choose: decides clashes.
        size_of: tells sizes of objects.
        absent: says in words where a manifest that could not be had was looked for.
    """

    manifests: Mapping[Digest, bytes]
    choose: Choose
    size_of: SizeOf
    absent: str = "missing from the cache"


class Merged(NamedTuple):
    """A merged metafile.

    Attributes:
        data: its bytes.
        decisions: all clashes with what was chosen.
        manifests: (digest, bytes) that must be in the cache before `data` is written.
        notes: lines for the person.
    """

    data: bytes
    decisions: list[Decision]
    manifests: list[tuple[Digest, bytes]]
    notes: list[str]

    @property
    def is_open(self) -> bool:
        """Says whether a clash is undecided."""
        return any(decision.choice is None for decision in self.decisions)


def needed_manifests(
    base: bytes | None, ours: bytes, theirs: bytes, *, name: str
) -> dict[Digest, str | None]:
    """Returns the manifests that merging these files takes: digest -> the remote that the output names, or None.

    Raises: FormatError: `ours` or `theirs` cannot be read.
    """
    before, mine, other = (
        _parse(base, name),
        parse_metafile(ours, name=name),
        parse_metafile(theirs, name=name),
    )
    if _is_one_record(before, mine, other):
        return {}
    found: dict[Digest, str | None] = {}
    listed: dict[Digest, bytes] = {}
    for outs in _matched(before, mine, other):
        one, two, three = (_spelled(out, listed) for out in outs)
        if two is None or three is None or not _are_directories(two, three):
            continue
        if _content(two) != _content(three) and _content(one) not in (_content(two), _content(three)):
            both = (two, three, one) if one is not None and _are_directories(one, two) else (two, three)
            found.update(
                (out.digest, out.remote)
                for out in both
                if out.digest is not None and out.digest not in listed
            )
    return found


def merge_metafile(
    base: bytes | None, ours: bytes, theirs: bytes, *, name: str, resources: Resources
) -> Merged:
    """Returns the merge of a `.dvc` file; `base` is None where both sides added it.

    Raises: FormatError: `ours` or `theirs` cannot be read. A `base` that cannot be read counts as none.
    """
    before, mine, other = (
        _parse(base, name),
        parse_metafile(ours, name=name),
        parse_metafile(theirs, name=name),
    )
    merger = _Merger(resources)
    merged = merger.merge(before, mine, other)

    def render(previous: bytes | None) -> bytes:
        return render_metafile(merged, previous)

    texts = (base if before is not None else None, ours, theirs)
    return Merged(
        merge_texts(render, texts, resources.choose, merger.decisions),
        merger.decisions,
        merger.manifests,
        merger.notes,
    )


def merge_texts(
    render: Callable[[bytes | None], bytes],
    texts: tuple[bytes | None, bytes, bytes],
    choose: Choose,
    decisions: list[Decision],
) -> bytes:
    """Returns the merged values in the text of the side that changed comments or spelling.

    Args:
        render: writes the values into a text, or anew.
        decisions: gets a clash of texts, if there is one.
    """
    base, ours, theirs = texts
    written = render(ours)
    if not any(b"#" in text for text in (ours, theirs, base or b"")):
        return written
    before, other = render(base), render(theirs)
    if other in (written, before):
        return written
    if written == before:
        return other
    clash = Clash("", "", "comments", Side("changed"), Side("changed"))
    choice = choose(clash)
    decisions.append(Decision(clash, choice))
    return other if choice == THEIRS else written


def _parse(data: bytes | None, name: str) -> Metafile | None:
    if data is None:
        return None
    try:
        return parse_metafile(data, name=name)
    except FormatError:
        return None


def _is_one_record(*files: Metafile | None) -> bool:
    """Says whether contents and dependencies must come from one side."""
    return any(file is not None and (file.deps or file.cmd is not None) for file in files)


def _content(out: Output | None) -> tuple[Any, ...] | None:
    return None if out is None else (out.digest, out.files, out.version_id, out.cloud)


def _spelled(out: Output | None, listed: dict[Digest, bytes]) -> Output | None:
    """Returns an output with the digest that its `files:` list stands for; `listed` gets the manifest."""
    found = spelled(out, name=out.path) if out is not None and out.files else None
    if out is None or found is None:
        return out
    listed[found.digest] = found.manifest
    return out._replace(digest=found.digest, size=found.size_bytes, nfiles=found.nfiles)


def _are_directories(one: Output, two: Output) -> bool:
    """Says whether two outputs are directories with manifests of one kind."""
    kinds = {out.digest.algorithm for out in (one, two) if out.digest is not None and out.digest.is_dir}
    has_both = all(out.digest is not None and out.digest.is_dir for out in (one, two))
    return has_both and len(kinds) == 1 and kinds <= {MD5, LEGACY_MD5}


def _matched(
    base: Metafile | None, ours: Metafile, theirs: Metafile
) -> list[tuple[Output | None, Output | None, Output | None]]:
    """Returns the outputs that belong together, in our order, those of theirs alone last."""
    files = [base, ours, theirs] if base is not None else [ours, theirs]
    if all(len(file.outs) == 1 for file in files):
        return [(base.outs[0] if base is not None else None, ours.outs[0], theirs.outs[0])]
    before, mine, other = (
        {out.path: out for out in file.outs} if file is not None else {} for file in (base, ours, theirs)
    )
    return [(before.get(path), mine.get(path), other.get(path)) for path in dict.fromkeys([*mine, *other])]


class _Merger:
    """Merges records and collects what comes up."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._listed: dict[Digest, bytes] = {}
        self.decisions: list[Decision] = []
        self.manifests: list[tuple[Digest, bytes]] = []
        self.notes: list[str] = []

    def merge(self, base: Metafile | None, ours: Metafile, theirs: Metafile) -> Metafile:
        if ours == theirs:
            return ours
        merged = ours
        record = None
        if _is_one_record(base, ours, theirs):
            record = self._one_record(base, ours, theirs)
            merged = ours._replace(deps=record.deps, cmd=record.cmd)
        before = base or Metafile()
        for field in _FILE_VALUES:
            values = [getattr(file, field) for file in (before, ours, theirs)]
            merged = merged._replace(**{field: self._value(field, "", *values)})
        meta = self._meta("", before.meta, ours.meta, theirs.meta)
        outs = [self._output(*three, record) for three in _matched(base, ours, theirs)]
        merged = merged._replace(meta=meta, outs=tuple(out for out in outs if out is not None), notices=())
        return with_checksum(merged) if merged.deps or merged.checksum else merged

    def _decide(self, clash: Clash) -> bool:
        """Returns whether theirs was chosen."""
        choice = self._resources.choose(clash)
        self.decisions.append(Decision(clash, choice))
        return choice == THEIRS

    def _value(self, field: str, out: str, base: Any, ours: Any, theirs: Any) -> Any:
        value, clashes = merge_value(base, ours, theirs)
        if clashes and self._decide(Clash(out, "", field, _shown(ours), _shown(theirs))):
            return theirs
        return value

    def _meta(self, out: str, base: Any, ours: Any, theirs: Any, field: str = "meta") -> Any:
        """Merges what people wrote below `meta`, key by key."""
        if not isinstance(ours, dict) or not isinstance(theirs, dict):
            return self._value(field, out, base, ours, theirs)
        before = base if isinstance(base, dict) else {}
        merged = {}
        for key in dict.fromkeys([*ours, *theirs]):
            if key in ours and key in theirs:
                merged[key] = self._meta(out, before.get(key), ours[key], theirs[key], f"{field}.{key}")
                continue
            sides = [_Present(side[key]) if key in side else None for side in (before, ours, theirs)]
            kept = self._value(f"{field}.{key}", out, *sides)
            if kept is not None:
                merged[key] = kept.value
        return merged

    def _one_record(self, base: Metafile | None, ours: Metafile, theirs: Metafile) -> Metafile:
        """Returns the side whose dependencies and contents are taken."""
        three = [
            None if file is None else (file.deps, file.cmd, [_content(out) for out in file.outs])
            for file in (base, ours, theirs)
        ]
        value, clashes = merge_value(*three)
        path = ours.outs[0].path if ours.outs else ""
        if clashes and self._decide(Clash(path, "", "", _side(base, ours), _side(base, theirs))):
            return theirs
        return ours if value == three[1] else theirs

    def _output(
        self, base: Output | None, ours: Output | None, theirs: Output | None, record: Metafile | None
    ) -> Output | None:
        if ours is None or theirs is None:
            return self._lone(base, ours, theirs)
        if record is not None:
            merged = next((out for out in record.outs if out.path in (ours.path, theirs.path)), ours)
            merged = _with_content(ours, merged)
        else:
            merged = self._contents(base, ours, theirs)
        for field in _VALUES:
            values = (getattr(out, field, None) for out in (base, ours, theirs))
            merged = merged._replace(
                **{field: self._value(_FIELD_NAMES.get(field, field), ours.path, *values)}
            )
        before = base or Output(ours.path)
        return merged._replace(
            path=self._value("path", ours.path, base.path if base else None, ours.path, theirs.path),
            labels=merge_names(before.labels, ours.labels, theirs.labels),
            meta=self._meta(ours.path, before.meta, ours.meta, theirs.meta),
            extra=self._meta(ours.path, before.extra, ours.extra, theirs.extra, "extra"),
        )

    def _lone(self, base: Output | None, ours: Output | None, theirs: Output | None) -> Output | None:
        """Decides an output that one side does not have."""
        value, clashes = merge_value(base, ours, theirs)
        there = ours or theirs
        if clashes and there is not None:
            clash = Clash(there.path, "", "", _output_side(base, ours), _output_side(base, theirs))
            if self._decide(clash):
                return theirs
        result: Output | None = value
        return result

    def _contents(self, base: Output | None, ours: Output, theirs: Output) -> Output:
        """Returns ours with the merged content."""
        value, clashes = merge_value(_content(base), _content(ours), _content(theirs))
        if not clashes:
            return ours if value == _content(ours) else _with_content(ours, theirs)
        if not _has_place(ours, theirs):
            return self._clashing(base, ours, theirs)
        # Who only pushed changed nothing but where the data is.
        found = [_spelled(out, self._listed) for out in (base, ours, theirs)]
        before, mine, other = (None if out is None else out.digest for out in found)
        if mine == other or (other == before and before is not None):
            return ours
        if mine == before and (mine is None or not mine.is_dir):
            return _with_content(ours, theirs)
        return self._clashing(found[0], found[1] or ours, found[2] or theirs)

    def _clashing(self, base: Output | None, ours: Output, theirs: Output) -> Output:
        """Returns ours with the merged content, or that of the side which is chosen."""
        note = ""
        if _are_directories(ours, theirs):
            try:
                merged = self._directory(base, ours, theirs)
            except FormatError as error:
                merged, note = None, error.message
            if merged is not None:
                return merged
            note = note or self._absent(base, ours, theirs)
        clash = Clash(ours.path, "", "", _output_side(base, ours), _output_side(base, theirs), note)
        if self._decide(clash):
            return _with_content(ours, theirs)
        return ours

    def _absent(self, base: Output | None, ours: Output, theirs: Output) -> str:
        missing = [
            out.digest.value
            for out in _directories(base, ours, theirs)
            if out.digest is not None and self._manifest(out.digest) is None
        ]
        return f"its list of files, object {missing[0]}, is {self._resources.absent}" if missing else ""

    def _manifest(self, digest: Digest) -> bytes | None:
        return self._listed.get(digest) or self._resources.manifests.get(digest)

    def _directory(self, base: Output | None, ours: Output, theirs: Output) -> Output | None:
        """Returns ours with the merged directory, or None where a manifest is missing."""
        outs = _directories(base, ours, theirs)
        found = [self._manifest(out.digest) for out in outs if out.digest is not None]
        texts = [text for text in found if text is not None]
        if len(texts) < len(outs) or ours.digest is None:
            return None
        before = texts[2] if len(texts) == 3 else _EMPTY
        algorithm = ours.digest.algorithm
        merged = merge_directory(
            before, texts[0], texts[1], out=ours.path, algorithm=algorithm, choose=self._resources.choose
        )
        self.decisions += merged.decisions
        digest = Digest(algorithm, manifest_oid(merged.manifest))
        if ours.files is not None or theirs.files is not None:
            known = sorted([*(theirs.files or ()), *(ours.files or ())], key=lambda entry: bool(entry.cloud))
            tree = parse_manifest(merged.manifest, name=ours.path)
            files = entries_of(
                tree, algorithm, known, lambda oid: self._resources.size_of(Digest(algorithm, oid))
            )
            return ours._replace(
                files=files, digest=None, size=None, nfiles=None, cloud=None, version_id=None
            )
        for out in (ours, theirs):
            if out.digest == digest:
                return _with_content(ours, out)
        self.manifests.append((digest, merged.manifest))
        base_size = base.size if base is not None and len(texts) == 3 else 0
        size = merged_size(
            (base_size, ours.size, theirs.size),
            merged,
            lambda oid: self._resources.size_of(Digest(algorithm, oid)),
        )
        return ours._replace(digest=digest, size=size, nfiles=count_files(merged.manifest))


def _has_place(*outs: Output) -> bool:
    """Says whether one of the outputs tells where its data is at a service."""
    return any(out.files or out.cloud for out in outs)


class _Present(NamedTuple):
    """A value that is there, be it None."""

    value: Any


_FIELD_NAMES = {"use_cache": "cache", "can_push": "push"}


def _directories(base: Output | None, ours: Output, theirs: Output) -> Sequence[Output]:
    return (ours, theirs, base) if base is not None and _are_directories(base, ours) else (ours, theirs)


def _with_content(out: Output, source: Output) -> Output:
    return out._replace(
        digest=source.digest,
        size=source.size,
        nfiles=source.nfiles,
        files=source.files,
        version_id=source.version_id,
        cloud=source.cloud,
        has_hash=source.has_hash,
    )


def manifest_oid(manifest: bytes) -> str:
    """Returns the id of a manifest's bytes."""
    import hashlib  # most merges make no manifest

    return hashlib.md5(manifest, usedforsecurity=False).hexdigest() + ".dir"


def _shown(value: Any) -> Side:
    if isinstance(value, _Present):
        value = value.value
    return Side("not there" if value is None else f"{value!r}")


def _output_side(base: Output | None, out: Output | None) -> Side:
    if out is None:
        return Side("removed")
    digests = () if out.digest is None else (out.digest,)
    return Side("added" if base is None else "changed", digests, out.size)


def _side(base: Metafile | None, file: Metafile) -> Side:
    out = file.outs[0] if file.outs else None
    side = _output_side(base.outs[0] if base is not None and base.outs else None, out)
    lock = next((dep.repo["rev_lock"][:7] for dep in file.deps if dep.repo and "rev_lock" in dep.repo), None)
    return side._replace(state=f"imported at {lock}") if lock else side
