"""`.dvc` files (and the old `Dvcfile`) between bytes and `Metafile`.

Not here: `dvc.lock` (lockfile) and `dvc.yaml` (dvcyaml). Implements docs/spec/metafiles.md, sections 3, 5 and 6.
"""

from __future__ import annotations

import re
from typing import Any

from kist.base.shell import shell_line
from kist.formats import legacy, yaml
from kist.formats._entries import (
    MetafileError,
    Source,
    kind,
    read_dependency,
    read_output,
    write_dependency,
    write_output,
)
from kist.formats.records import MD5, Digest, Metafile, Output

__all__ = ["MetafileError", "parse_metafile", "render_metafile", "stage_checksum", "with_checksum"]

_KEYS = frozenset({"md5", "wdir", "deps", "outs", "frozen", "meta", "always_changed", "desc"})
_NOT_IN_CHECKSUM = frozenset(
    {"desc", "type", "labels", "meta", "locked", "frozen", "metric", "persist", "isexec", "size", "nfiles"}
)

# The shape of nearly every `.dvc` file; a repository may have thousands of them, and the general way costs 20 times
# as much. Digits alone, or around one `e`, are a number in YAML and go the general way, as do quoted paths.
_USUAL = re.compile(
    rb"outs:\n- md5: ((?=[0-9be]*[acdf])[0-9a-f]{32}(?:\.dir)?)\n  size: (0|[1-9][0-9]{0,17})\n"
    rb"(?:  nfiles: (0|[1-9][0-9]{0,17})\n)?(?:  isexec: (true)\n)?  hash: md5\n  path: ([A-Za-z_][A-Za-z0-9_./-]*)\n"
)
_YAML_WORDS = frozenset(
    word.encode() for name in ("true", "false", "null") for word in (name, name.title(), name.upper())
)


def parse_metafile(data: bytes, *, name: str) -> Metafile:
    """Returns what a `.dvc` file says, in the spelling of any DVC version.

    Args:
        name: the file's name for messages.
    Raises:
        MetafileError: not a metafile: empty, an unknown key, a wrong type, a digest that is none.
        kist.formats.yaml.YamlError: not YAML, such as binary data or a file with conflict markers.
    """
    usual = _USUAL.fullmatch(data)
    if usual is not None and usual[5] not in _YAML_WORDS:
        md5, size, nfiles, isexec, path = usual.groups()
        digest = Digest(MD5, md5.decode())
        count = None if nfiles is None else int(nfiles)
        return Metafile((Output(path.decode(), digest, int(size), count, isexec is not None),))
    return _parse(data, name)


def _parse(data: bytes, name: str) -> Metafile:
    source = Source(name, data)
    value = yaml.load(data, name=name)
    if value is None:
        raise MetafileError(name, "the file is empty", hint=shell_line("git", "checkout", "--", name))
    stage = source.mapping(value, (), _KEYS | legacy.STAGE_KEYS)
    if not stage.keys() & {"outs", "deps", "cmd"}:
        source.fail((), "expected 'outs' or 'deps'")
    outs = tuple(
        read_output(source, ("outs", index), item)
        for index, item in enumerate(source.items(stage.get("outs", []), ("outs",)))
    )
    deps = tuple(
        read_dependency(source, ("deps", index), item)
        for index, item in enumerate(source.items(stage.get("deps", []), ("deps",)))
    )
    cmd = stage.get("cmd")
    if not isinstance(cmd, (str, type(None))):
        source.fail(("cmd",), f"'cmd' is {kind(cmd)}, expected a text")
    wdir = stage.get("wdir")
    if not isinstance(wdir, (str, type(None))):
        source.fail(("wdir",), f"'wdir' is {kind(wdir)}, expected a text")
    frozen = source.field(stage, (), "frozen", bool, False)
    return Metafile(
        outs=outs,
        deps=deps,
        checksum=_read_checksum(source, stage),
        wdir=wdir or ".",
        cmd=legacy.command(cmd),
        frozen=frozen or source.field(stage, (), "locked", bool, False),
        always_changed=source.field(stage, (), "always_changed", bool, False),
        desc=source.field(stage, (), "desc", str),
        meta=stage.get("meta"),
        notices=tuple(
            notice for item in stage.get("outs", []) for notice in legacy.output_notices(name, item)
        ),
    )


def _read_checksum(source: Source, stage: dict[str, Any]) -> str | None:
    checksum = stage.get("md5")
    if isinstance(checksum, int) and not isinstance(checksum, bool):
        checksum = str(checksum)
    if not isinstance(checksum, (str, type(None))):
        source.fail(("md5",), f"'md5' is {kind(checksum)}, expected a text")
    return checksum or None


def render_metafile(m: Metafile, previous: bytes | None = None) -> bytes:
    """Returns the bytes of a `.dvc` file that says `m`.

    Args:
        previous: the file's bytes until now: comments, order and unknown `meta` are kept, new keys come last in
            their mapping, and a file that already says `m` keeps its bytes. `m` is written as it is: whoever
            changes a file that has a checksum of its own calls `with_checksum` first.
    Raises:
        MetafileError, kist.formats.yaml.YamlError: `previous` cannot be read.
    """
    value = _stage_value(m)
    if previous is None:
        return yaml.dump(value)
    name = m.outs[0].path + ".dvc" if m.outs else "metafile"
    if parse_metafile(previous, name=name)._replace(notices=()) == m._replace(notices=()):
        return previous
    return yaml.edit(previous, value, name=name)


def _stage_value(m: Metafile) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if m.desc:
        value["desc"] = m.desc
    if m.checksum:
        value["md5"] = m.checksum
    if m.cmd is not None:
        value["cmd"] = m.cmd
    if m.wdir != ".":
        value["wdir"] = m.wdir
    if m.frozen:
        value["frozen"] = True
    if m.deps:
        value["deps"] = [write_dependency(dependency) for dependency in m.deps]
    if m.outs:
        value["outs"] = [write_output(out) for out in m.outs]
    if m.always_changed:
        value["always_changed"] = True
    if m.meta is not None:
        value["meta"] = m.meta
    return value


def stage_checksum(m: Metafile) -> str:
    """Returns the checksum that DVC writes at the top of a `.dvc` with dependencies.

    Notes, figures and flags that do not change what the file stands for are left out.
    """
    value = _stage_value(m)
    value.pop("md5", None)
    return _checksum_of(value)


def with_checksum(m: Metafile) -> Metafile:
    """Returns `m` with its checksum made new; without one where it has neither dependencies nor a command."""
    return m._replace(checksum=stage_checksum(m) if m.deps or m.cmd is not None else None)


def _checksum_of(value: dict[str, Any]) -> str:
    # Deferred: most files have no checksum of their own.
    import hashlib
    import json

    text = json.dumps(_without_notes(value), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _without_notes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_notes(item) for key, item in value.items() if key not in _NOT_IN_CHECKSUM}
    if isinstance(value, list):
        return [_without_notes(item) for item in value]
    return value
