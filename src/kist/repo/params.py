"""`params diff`: the parameters of versions.

Reads only. Not here: comparing and tabulating (compare.values), layout on the screen (cli).
Implements docs/spec/metrics.md, section 2.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kist.formats.params import DEFAULT_FILE, pick
from kist.repo.declared import Declarations, Declared
from kist.repo.metrics import Difference, FileValues, Reader, difference, expanded
from kist.repo.repository import OutsideRepositoryError
from kist.repo.views import View

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def collect_params(
    view: View,
    declared: Iterable[Declared],
    reader: Reader,
    *,
    targets: Sequence[str] = (),
    only_of_stages: bool = False,
) -> dict[str, FileValues]:
    """Returns the parameters of one version: path -> values, nested as in the file.

    Args:
        declared: of the view.
        reader: made by `params_reader`; shared by all versions.
        targets: only these files or folders, relative to the root, whole, whether they are declared or not.
        only_of_stages: neither the `params` at the top of `dvc.yaml`, nor a `params.yaml` that no stage names.
    """
    if targets:
        return {path: reader.read(view, path) for path in expanded(view, targets)}
    known = list(declared)
    wanted: list[tuple[str, tuple[str, ...]]] = [pair for one in known for pair in one.params]
    if not only_of_stages:
        wanted += [(path, ()) for one in known for path in one.top_params]
        if _is_there(view, DEFAULT_FILE):
            wanted.append((DEFAULT_FILE, ()))
    found = {}
    for path, keys in _joined(wanted).items():
        for file in expanded(view, [path]):
            found[file] = _picked(reader.read(view, file), keys)
    used: dict[str, dict[str, Any]] = {}
    for one in known:
        for path, values in one.variables:
            if path not in found:
                used.setdefault(path, {}).update(values)
    return found | {path: FileValues(values) for path, values in used.items()}


def params_reader() -> Reader:
    """Returns a reader of parameter files."""
    return Reader()


def diff_params(
    repository: Repository,
    old: str,
    new: str,
    *,
    targets: Sequence[str] = (),
    everything: bool = False,
    only_of_stages: bool = False,
) -> Difference:
    """Returns how the parameters of two versions differ.

    Args:
        old, new: revisions, or "workspace".
        targets: files, as the person writes them; one that is not here is taken from the root, as in DVC.
        everything: also what is equal.
        only_of_stages: as of `collect_params`.

    Raises: NoGitError, RevisionMissingError, OutsideRepositoryError.
    """
    wanted = [_target(repository, target) for target in targets]
    reader, declarations = params_reader(), Declarations()

    def look(view: View) -> dict[str, FileValues]:
        declared = () if wanted else declarations.of(view)
        return collect_params(view, declared, reader, targets=wanted, only_of_stages=only_of_stages)

    return difference(repository, old, new, look, everything=everything)


def _target(repository: Repository, target: str) -> str:
    from_root = posixpath.normpath(target.replace(os.sep, "/"))
    try:
        here = repository.rel(target)
    except OutsideRepositoryError:
        if os.path.isabs(target) or from_root.startswith(".."):
            raise
        return from_root
    is_elsewhere = not os.path.lexists(repository.abspath(here)) and not os.path.isabs(target)
    return from_root if is_elsewhere and os.path.lexists(repository.abspath(from_root)) else here


def _is_there(view: View, path: str) -> bool:
    return view.key(path) is not None or view.read_file(path) is not None


def _joined(wanted: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Returns the keys that each file is asked for; none where one asks for all of it."""
    keys: dict[str, dict[str, None]] = {}
    whole = set()
    for path, names in wanted:
        keys.setdefault(path, {}).update(dict.fromkeys(names))
        if not names:
            whole.add(path)
    return {path: () if path in whole else tuple(names) for path, names in keys.items()}


def _picked(file: FileValues, keys: tuple[str, ...]) -> FileValues:
    if file.failure is not None or not keys:
        return file
    return FileValues(pick(file.values, keys))
