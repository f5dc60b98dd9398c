"""`params.yml`: names and values that several processes may add to. Implements docs/spec/logger.md, section 2."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kist.base import atomic
from kist.errors import FormatError
from kist.formats.metriclog import render_hparams
from kist.tracking.rowfile import locked, refused


class NotAParamsFileError(FormatError):
    """The file of parameters that is to be continued is no mapping. It is left as it is."""

    code = "not-a-params-file"


class HparamsFile:
    """A file of parameters.

    Attributes:
        values: what it holds, as far as this process knows.
    """

    def __init__(self, path: str, *, resume: bool) -> None:
        """Makes a file that holds nothing; with `resume` one that is there stays.

        Raises: NotAParamsFileError, YamlError, LogWriteError.
        """
        self._path = path
        self._seen = b""
        """The bytes that `values` stand for; nobody parses what he wrote himself."""
        self.values: dict[Any, Any] = {}
        if resume and os.path.exists(path):
            self._read()
        else:
            self._write()

    def merge(self, added: Mapping[Any, Any]) -> None:
        """Adds values.

        Raises: NotAParamsFileError, YamlError, LogWriteError.

        Holds: what another process added at the same time stays; the file is old or new, never half.
        """
        try:
            folder = os.open(os.path.dirname(self._path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise refused(self._path, error) from error
        try:
            # The file itself is replaced, so its folder is what is locked.
            with locked(folder):
                self._read()
                self.values.update(added)
                self._write()
        finally:
            os.close(folder)

    def _read(self) -> None:
        try:
            with open(self._path, "rb") as stream:
                data = stream.read()
        except FileNotFoundError:
            return  # somebody removed it: it is made again
        if data == self._seen:
            return
        from kist.formats import yaml  # mostly nobody else writes

        values = yaml.load(data, name=self._path)
        if values is not None and not isinstance(values, dict):
            raise NotAParamsFileError(
                f"cannot continue '{self._path}': it is no mapping of names to values",
                hint="name another file, or leave `resume` out to begin this one anew",
            )
        self.values.update(values or {})
        self._seen = data

    def _write(self) -> None:
        data = render_hparams(self.values)
        try:
            atomic.write_file(self._path, data)
        except OSError as error:
            raise refused(self._path, error) from error
        self._seen = data
