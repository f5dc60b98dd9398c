"""Which backend speaks for which kind of address; a backend, and the library it needs, is imported when it is used.

Not here: the services. Implements docs/spec/storage.md, section 1.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

from kist.base.shell import shell_line
from kist.errors import ConfigError
from kist.remotes.storage import Place, Storage, extra_missing


class RemoteKindError(ConfigError):
    """The remote's address is of a kind that this version cannot speak to."""

    code = "remote-kind"


class Backend(NamedTuple):
    """A module with `open_storage(place) -> Storage`, and the extra of the distribution that brings its library."""

    module: str
    extra: str | None = None


BACKENDS = {
    "http": Backend("kist.remotes.http"),
    "https": Backend("kist.remotes.http"),
    "s3": Backend("kist.remotes.s3", "s3"),
    "oss": Backend("kist.remotes.s3", "s3"),
    "gs": Backend("kist.remotes.gs", "gs"),
    "azure": Backend("kist.remotes.azure", "azure"),
    "ssh": Backend("kist.remotes.ssh"),
    "gdrive": Backend("kist.remotes.gdrive"),
    "webdav": Backend("kist.remotes.webdav"),
    "webdavs": Backend("kist.remotes.webdav"),
    "webhdfs": Backend("kist.remotes.webhdfs"),
}
"""By scheme."""


def usable_schemes() -> list[str]:
    """Returns the schemes whose libraries are installed; imports them."""
    found = []
    for scheme, backend in BACKENDS.items():
        try:
            importlib.import_module(backend.module)
        except ModuleNotFoundError as error:
            if backend.extra is None or (error.name or "").startswith("kist"):
                raise
        else:
            found.append(scheme)
    return found


def open_storage(place: Place) -> Storage:
    """Returns the storage at a remote's address. Nothing is asked of the service yet.

    Raises:
        RemoteKindError: no backend knows the scheme.
        ExtraMissingError: its library is not installed; the hint installs it.
    """
    backend = BACKENDS.get(place.scheme)
    if place.scheme == "hdfs":
        raise RemoteKindError(
            f"cannot use remote '{place.name}': nothing here speaks Hadoop's own protocol;"
            " WebHDFS reaches the same files",
            hint=shell_line("kist", "remote", "modify", place.name, "url", "webhdfs://NAMENODE:9870/FOLDER"),
        )
    if backend is None:
        known = ", ".join(sorted(BACKENDS))
        raise RemoteKindError(
            f"cannot use remote '{place.name}': nothing here speaks '{place.scheme}' (known: a folder, {known})",
            hint=shell_line("kist", "remote", "modify", place.name, "url", "ADDRESS"),
        )
    try:
        module = importlib.import_module(backend.module)
    except ModuleNotFoundError as error:
        if backend.extra is None or (error.name or "").startswith("kist"):
            raise
        raise extra_missing(place.name, error, backend.extra) from error
    storage: Storage = module.open_storage(place)
    return storage
