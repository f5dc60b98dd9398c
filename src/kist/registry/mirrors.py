"""Clones of other Git repositories, kept from one command to the next: fetched into, never worked in.

A mirror is a bare repository with the branches and tags of its source. A commit that it has is read without asking
anybody. Only who holds its lock writes into it; what a killed command left is put right by the next one.
Not here: what is in a commit (repo). Implements docs/spec/imports.md, section 3.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from typing import NamedTuple

from kist.base import atomic
from kist.base.locks import FileLock
from kist.base.shell import shell_line
from kist.errors import AuthError, MissingError, NetworkError, StorageError
from kist.git.process import GitFailedError, GitProgram
from kist.git.repository import GitRepository, RevisionMissingError
from kist.registry.addresses import check_address, shown, without_secret
from kist.store.loose import sweep_staging

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LOCK_WAIT_S = 600.0
_HEAD = "refs/kist/head"
_MARK = "kist-fetching"
"""Stands in a mirror while git writes into it."""
_PROTOCOLS = "file:git:http:https:ssh"
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_REFUSED = (
    "authentication failed",
    "permission denied",
    "could not read username",
    "could not read password",
)
_ABSENT = (
    "not found",
    "does not exist",
    "does not appear to be a git repository",
    "no such file",
    "not a git",
)


class SourceMissingError(MissingError):
    """There is no repository at the address, or none that we may know of. The user mends the address."""

    code = "source-missing"


class SourceUnreachableError(NetworkError):
    """The repository at the address cannot be reached, and what was asked for is not in the clone that is here."""

    code = "source-unreachable"


class SourceAuthError(AuthError):
    """The server of the repository does not let us in. Git's own credentials are used."""

    code = "source-auth"


class MirrorFolderError(StorageError):
    """The folder for clones belongs to somebody else, so that what lies in it cannot be trusted."""

    code = "mirror-folder"


class Mirror(NamedTuple):
    """A clone that is here.

    Attributes:
        path: of the bare repository.
        commit: what was asked for.
        git: to read it.
    """

    path: str
    commit: str
    git: GitRepository


def clones_folder(environ: Mapping[str, str], site: str | None = None) -> str:
    """Returns where clones are kept: below DVC's site cache where one is set, else in the person's own cache.

    Args: site: `core.site_cache_dir`, absolute, or None.
    """
    base = environ.get("DVC_SITE_CACHE_DIR") or site
    if not base:
        home = environ.get("HOME")
        base = environ.get("XDG_CACHE_HOME") or (os.path.join(home, ".cache") if home else None)
    if not base or not os.path.isabs(base):
        base = os.path.join("/var/tmp", f"kist-{os.getuid()}")
    return os.path.join(base, "kist", "clones")


class Mirrors:
    """The clones below one folder."""

    def __init__(self, folder: str, environ: Mapping[str, str]) -> None:
        """Args: folder: absolute; made when needed. environ: of git; its credentials are the person's."""
        self.folder = folder
        self._environ = {**environ, "GIT_ALLOW_PROTOCOL": _PROTOCOLS, "GIT_TERMINAL_PROMPT": "0"}

    def open(self, url: str, rev: str | None) -> Mirror:
        """Returns a clone that has a revision; the source is asked but for a whole commit id that is here.

        Args:
            url: an address of Git, or the absolute path of a bare repository.
            rev: a branch, tag or commit; None for what the source has checked out.

        Raises: UnsafeAddressError, SourceMissingError, SourceAuthError, SourceUnreachableError, RevisionMissingError.
        """
        check_address(url)
        path = self.path(url)
        git = GitRepository(path, path, environ=self._environ)
        if rev is not None and _SHA.fullmatch(rev) and os.path.isdir(path) and _has(git, rev):
            return Mirror(path, rev, git)
        self._make_folder()
        with FileLock(f"{path}.lock", wait_s=_LOCK_WAIT_S):
            self._make(path)
            mark = os.path.join(path, _MARK)
            with open(mark, "wb"):
                pass
            program = GitProgram(path, self._environ)
            self._fetch(program, url, [*_REFS, f"+HEAD:{_HEAD}"], prune=True)
            program.run(["update-ref", "--no-deref", "HEAD", _HEAD], writes=True)
            if rev is not None and _SHA.fullmatch(rev) and not _has(git, rev):
                self._fetch_commit(program, url, rev)
            os.unlink(mark)
        return Mirror(path, _resolve(git, url, rev), git)

    def path(self, url: str) -> str:
        """Returns where the clone of an address is, or would be."""
        name = hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return os.path.join(self.folder, name)

    def _make_folder(self) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        if os.stat(self.folder).st_uid != os.getuid():
            raise MirrorFolderError(
                f"cannot keep clones in '{self.folder}': it belongs to another user",
                hint="set DVC_SITE_CACHE_DIR to a folder of your own",
            )

    def _make(self, path: str) -> None:
        """Makes an empty mirror under a temporary name first, so that one under its name is one."""
        if os.path.isdir(path):
            self._tidy(path)
            return
        sweep_staging(self.folder, time.time())
        temp = os.path.join(self.folder, atomic.temp_name())
        GitProgram(self.folder, self._environ).run(
            ["init", "--quiet", "--bare", "--template=", temp], writes=True
        )
        os.rename(temp, path)

    def _tidy(self, path: str) -> None:
        """Removes what a killed git left; the lock of the mirror says that none is at work."""
        if not os.path.exists(os.path.join(path, _MARK)):
            return
        for folder, _, names in os.walk(path):
            for name in names:
                if name.endswith(".lock") or (name.startswith("tmp_") and folder.endswith("pack")):
                    atomic.remove_quietly(os.path.join(folder, name))

    def _fetch(self, program: GitProgram, url: str, refs: list[str], *, prune: bool) -> None:
        words = [
            "-c",
            "gc.auto=0",
            "-c",
            "maintenance.auto=false",
            "-c",
            "fetch.unpackLimit=1",  # a pack appears at once; of loose objects a kill leaves a commit without its files
            "fetch",
            "--quiet",
            "--no-tags",
            "--force",
        ]
        words += ["--no-recurse-submodules", *(["--prune"] if prune else []), "--", url, *refs]
        try:
            program.run(words, writes=True)
        except GitFailedError as error:
            raise _failure(url, error) from error

    def _fetch_commit(self, program: GitProgram, url: str, sha: str) -> None:
        """Asks for a commit that no branch reaches; many servers refuse that."""
        try:
            self._fetch(program, url, [f"+{sha}:refs/kist/commits/{sha}"], prune=False)
        except (SourceMissingError, SourceUnreachableError):
            return  # it is not found, then


def _has(git: GitRepository, sha: str) -> bool:
    try:
        return git.resolve(sha) == sha
    except RevisionMissingError:
        return False


def _resolve(git: GitRepository, url: str, rev: str | None) -> str:
    tried = ["HEAD"] if rev is None else [rev]
    if rev is not None and rev.startswith("origin/"):
        tried.append(rev.removeprefix("origin/"))
    for name in tried:
        try:
            return git.resolve(name)
        except RevisionMissingError:
            continue
    raise RevisionMissingError(
        f"cannot find revision '{rev}' in '{shown(url)}': no branch, tag or commit has this name",
        hint=shell_line("git", "ls-remote", shown(url)),
    )


def _failure(url: str, error: GitFailedError) -> StorageError | MissingError | AuthError | NetworkError:
    said = without_secret(error.message.partition("`: ")[2] or error.message, url)
    low = said.lower()
    hint = shell_line("git", "ls-remote", shown(url))
    if "couldn't find remote ref head" in low:
        return SourceMissingError(f"cannot use '{shown(url)}': it has no commit yet", hint=hint)
    if any(words in low for words in _REFUSED):
        return SourceAuthError(f"cannot read '{shown(url)}': {said}", hint=hint)
    if any(words in low for words in _ABSENT):
        return SourceMissingError(f"cannot read '{shown(url)}': {said}", hint=hint)
    return SourceUnreachableError(f"cannot read '{shown(url)}': {said}", hint=hint)
