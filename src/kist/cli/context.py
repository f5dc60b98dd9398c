"""What a command gets besides its arguments: console, environment, progress, and the repository when it asks.

The command line is the only place that knows the environment and the home directory; it hands them down as values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kist.base.progress import Progress
    from kist.cli.console import Console
    from kist.repo.repository import Repository
    from kist.repo.settings import ConfigPaths


NOTICES = 3
"""Notes on old spellings in metafiles that are shown without `-v`."""


class Context:
    """One run of one command.

    Attributes:
        cwd: absolute path of the current directory, after `--cd`.
        environ: the environment of the process.
        console: where to say things.
        progress: hand it to operations that take long.
        quiet, verbose: `-q`, and how often `-v` was given.
        as_json: data goes to stdout as JSON.
        wait_for_lock: wait for the repository's lock as long as it takes.
    """

    def __init__(
        self,
        *,
        cwd: str,
        environ: Mapping[str, str],
        console: Console,
        progress: Progress,
        quiet: bool = False,
        verbose: int = 0,
        as_json: bool = False,
        wait_for_lock: bool = False,
    ) -> None:
        self.cwd = cwd
        self.environ = environ
        self.console = console
        self.progress = progress
        self.quiet = quiet
        self.verbose = verbose
        self.as_json = as_json
        self.wait_for_lock = wait_for_lock
        self.bytes_per_s: int | None = None
        """How fast bytes may travel to and from remotes (`--limit`)."""
        self._repository: Repository | None = None

    def config_paths(self) -> ConfigPaths:
        """Returns the configuration files of all levels, whether they exist or not.

        The project's are None outside a repository. Source: DVC 3.67.1, with its environment variables.
        """
        from kist.repo.config_files import (
            config_paths,
        )  # most commands that need no repository need no settings
        from kist.repo.repository import find_root

        return config_paths(self.environ, find_root(self.cwd))

    def root(self) -> str:
        """Returns the top directory of the repository around the current directory.

        Raises: NotARepositoryError.
        """
        return self.repository().root

    def repository(self) -> Repository:
        """Returns the repository around the current directory; opened once.

        Raises: NotARepositoryError, ConfigError.
        """
        if self._repository is None:
            from kist.repo.repository import Repository  # the biggest part of the program

            self._repository = Repository.find(
                self.cwd,
                config_paths=self.config_paths(),
                progress=self.progress,
                environ=self.environ,
                wait_for_lock=self.wait_for_lock,
            )
            if self.bytes_per_s is not None:
                from kist.base.limiter import Limiter  # threading

                self._repository.limiter = Limiter(self.bytes_per_s)
            if self.console.is_answered:
                self._repository.ask = self.console.ask_secret
                self._repository.browse = self.console.browse
        return self._repository

    def warn_of_old_spellings(self) -> None:
        """Warns of what metafiles say that is not what it was, each once; of many, without `-v`, of the first ones."""
        notices = list(self._repository.notices) if self._repository is not None else []
        shown = notices if self.verbose or len(notices) <= NOTICES + 1 else notices[:NOTICES]
        for notice in shown:
            self.console.warn(notice)
        if len(shown) < len(notices):
            self.console.warn(
                f"{len(notices) - len(shown)} more notes on old spellings; give `-v` to see them"
            )

    def close(self) -> None:
        """Lets the repository write what it wants to remember."""
        if self._repository is not None:
            self._repository.close()
