"""What a long operation says about itself while it runs; the edge decides how (or whether) it is shown.

Not here: drawing. Library code receives a `Progress` as an argument and never prints.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Phase(Protocol):
    """One stretch of work with a name, counted in files and bytes."""

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        """Adds finished work. Cheap: may be called for every file."""

    def __enter__(self) -> Phase: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Progress(Protocol):
    """Opens phases. Phases of one operation follow each other; they are not nested."""

    def phase(self, name: str, files: int | None = None, size_bytes: int | None = None) -> Phase:
        """Returns a started phase; `name` is a present participle with its object, such as "Hashing data"."""


class _SilentPhase:
    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        pass

    def __enter__(self) -> _SilentPhase:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class SilentProgress:
    """A `Progress` that shows nothing: for tests, libraries and `--quiet`."""

    def phase(self, name: str, files: int | None = None, size_bytes: int | None = None) -> Phase:
        """Returns a phase that shows nothing."""
        return _SilentPhase()
