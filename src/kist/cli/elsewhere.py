"""What commands that look into any repository share: their options, and how sizes and objects are written."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from kist.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kist.cli.context import Context
    from kist.repo.elsewhere import OtherRepository
    from kist.repo.naming import Names


class NoGitError(InputError):
    """A revision was named, and the repository is not in Git. Leave the revision out."""

    code = "no-git"


def add_repository_arguments(parser: argparse.ArgumentParser, *, is_path_needed: bool = False) -> None:
    """Adds DVC's arguments that name a repository, a path in it, and settings to use there."""
    parser.add_argument("url", help="A repository: `.`, a path to it or into it, or an address of Git.")
    parser.add_argument("path", nargs=None if is_path_needed else "?", help="A file or folder in it.")
    parser.add_argument("--rev", nargs="?", metavar="REV", help="A branch, tag or commit.")
    parser.add_argument("--config", metavar="FILE", help="Settings on top of the repository's own.")
    parser.add_argument("--remote", metavar="NAME", help="The remote to ask for what the cache lacks.")
    parser.add_argument(
        "--remote-config", nargs="*", default=[], metavar="NAME=VALUE", help="Options of that remote."
    )


def open_from(args: argparse.Namespace, context: Context) -> tuple[OtherRepository, str, str | None]:
    """Returns the repository that the arguments name, the path in it relative to its root, and the revision to read.

    Without a revision the working tree is read, where there is one.

    Raises: NoSuchRepositoryError, PathMissingError, NoGitError, RemoteConfigError, UnknownRemoteError; for addresses
        as of `open_repository`.
    """
    from kist.repo.elsewhere import open_repository, parse_remote_config
    from kist.repo.listing import path_inside

    def opened(inside: str | None, rev: str | None = args.rev or None) -> OtherRepository:
        return open_repository(
            args.url,
            cwd=context.cwd,
            inside=inside,
            user_config=context.config_paths(),
            progress=context.progress,
            environ=context.environ,
            rev=rev,
        )

    repository = opened(None)
    if repository.commit is not None:
        path, repository = _inside_clone(args.path or "", repository, opened)
    else:
        path = path_inside(repository.root, args.path, cwd=context.cwd, is_rev=bool(args.rev))
    if path and not args.rev and repository.commit is None:
        absolute = repository.abspath(path)
        repository = opened(absolute)
        path = os.path.relpath(absolute, repository.root).replace(os.sep, "/")
        path = "" if path == "." else path
    if args.config is not None:
        with open(os.path.join(context.cwd, args.config), "rb") as stream:
            repository.extra = ((args.config, stream.read()),)
    repository.default_remote = args.remote
    repository.remote_config = parse_remote_config(args.remote_config)
    if args.remote is not None:
        # A mistyped name is an error also where the cache has everything.
        repository.settings.choose_remote(args.remote)
    if args.rev and repository.git is None:
        raise NoGitError(
            f"cannot look at '{args.rev}' in '{args.url}': it is not in Git", hint="leave `--rev` out"
        )
    return repository, path, repository.commit or args.rev or None


def _inside_clone(
    path: str, repository: OtherRepository, opened: Callable[[str | None, str | None], OtherRepository]
) -> tuple[str, OtherRepository]:
    """Returns a path of a clone relative to the repository that holds it, which may be a nested one; and that."""
    path = posixpath.normpath("/" + path).lstrip("/")
    inner = opened(path, repository.commit) if path else repository  # asks nobody: the commit is here
    below = os.path.relpath(inner.root, repository.root).replace(os.sep, "/")
    return (path, inner) if below == "." else (path[len(below) + 1 :], inner)


def short_size(size: int | None) -> str:
    """Returns a size with three digits and a letter for powers of 1024; "" where it is not known.

    Source: DVC 3.67.1.
    """
    if size is None:
        return ""
    if size < 1024:
        return str(size)
    number = float(size)
    for letter in "kMGTPE":
        number /= 1024
        if number < 999.5 or letter == "E":
            break
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f}{letter}"


def shown_names(names: Names | None) -> str:
    """Returns how an object is called in messages, quoted."""
    if names is None:
        return "an object that nothing names"
    more = f" and {len(names.paths) - 1} more" if len(names.paths) > 1 else ""
    commit = f" of commit {names.commit[:7]}" if names.commit else ""
    return f"'{names.paths[0]}'{more}{commit}"
