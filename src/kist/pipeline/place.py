"""Where in a `dvc.yaml` something stands, so that an error can name file, line and key."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from kist.errors import FormatError
from kist.formats.dvcyaml import PipelineFile


class ResolveError(FormatError):
    """A `dvc.yaml` is well formed, but what its `${}`, `vars` or groups refer to is not there or does not fit.

    The user mends the file or the parameter file; a retry cannot help.

    Attributes:
        name: the `dvc.yaml`.
        key: where, as `stages.train.cmd`.
        line: from 1; None when not known.
    """

    code = "pipeline-resolve"

    def __init__(self, name: str, key: str, line: int | None, cause: str, *, hint: str | None) -> None:
        place = "" if line is None else f"line {line}: "
        super().__init__(f"cannot resolve '{key}' in '{name}': {place}{cause}", hint=hint)
        self.name = name
        self.key = key
        self.line = line


class Place(NamedTuple):
    """A key path in a file.

    Attributes:
        shown: the path for messages where it differs: a generated stage's name stands there for its group's.
    """

    file: PipelineFile
    path: tuple[str | int, ...]
    shown: tuple[str | int, ...] = ()

    def inside(self, *steps: str | int) -> Place:
        """Returns the place of a key or an item below."""
        return Place(self.file, self.path + steps, self.shown + steps if self.shown else ())

    def fail(self, cause: str, *, hint: str | None = None) -> NoReturn:
        """Raises a `ResolveError` for this place."""
        from kist.formats import yaml  # only for the message

        place = yaml.locate(self.file.data, self.path)
        key = ".".join(str(step) for step in self.shown or self.path)
        line, column = place or (None, None)
        raise ResolveError(self.file.name, key, line, cause, hint=hint).showing(self.file.data, line, column)
