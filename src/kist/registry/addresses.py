"""What an address of a Git repository may look like, and how it is shown and kept.

Not here: cloning (registry.mirrors). Implements docs/spec/imports.md, section 2.
"""

from __future__ import annotations

import re

from kist.errors import InputError
from kist.remotes.storage import SecretInAddressError

SCHEMES = ("http", "https", "git", "ssh", "git+ssh", "git+http", "git+https", "file")
"""What Git may be asked to speak; programs that an address names (`ext::`) are none of it."""
_SCP = re.compile(r"(?:[^@/:\s]+@)?[A-Za-z0-9][^/:\s]*:(?!//)\S")
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*::")
_AUTHORITY = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)([^/@]*)@")

_TOKEN = re.compile(r"(?:gh[oprsu]_|github_pat_|glpat-|hf_|ATBB)[A-Za-z0-9_-]{10,}")
"""A token that stands where a name would: as GitHub, GitLab, Hugging Face and Bitbucket give them out."""


class UnsafeAddressError(InputError):
    """An address would make Git run a program, or is an option and no address. Never handed to Git (fault F73)."""

    code = "unsafe-address"


def is_address(text: str) -> bool:
    """Says whether a text looks like an address of Git, and not like a path."""
    return "://" in text or _HELPER.match(text) is not None or _SCP.match(text) is not None


def check_address(url: str) -> None:
    """Does nothing for an address that Git may be given.

    Raises: UnsafeAddressError.
    """
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    cause = None
    if url.startswith("-"):
        cause = "it begins with '-', as an option of Git does"
    elif any(ord(letter) < 32 or ord(letter) == 127 for letter in url):
        cause = "it holds control characters"
    elif _HELPER.match(url) or (scheme and scheme not in SCHEMES):
        cause = f"Git is not asked to speak '{url.partition(':')[0]}'"
    elif _host(url).startswith("-"):
        cause = "its host begins with '-', as an option of ssh does"
    if cause is not None:
        raise UnsafeAddressError(
            f"cannot use '{shown(url)}' as the address of a repository: {cause}",
            hint="name a folder, or an address that begins with https:// or ssh://",
        )


def _host(url: str) -> str:
    if "://" in url:
        authority = url.partition("://")[2].partition("/")[0]
    else:
        authority = url.partition(":")[0] if _SCP.match(url) else ""
    return authority.rpartition("@")[2]


def shown(url: str) -> str:
    """Returns an address as messages show it: without a password."""
    return _AUTHORITY.sub(lambda found: f"{found[1]}{_user(found[2])}", url)


def _user(login: str) -> str:
    name, colon, _ = login.partition(":")
    if _TOKEN.fullmatch(name):
        return ""
    return f"{name}@" if name and colon else "" if colon else f"{login}@"


def without_secret(text: str, url: str) -> str:
    """Returns what a program said of an address, without the password in it."""
    found = _AUTHORITY.match(url)
    name, _, password = found[2].partition(":") if found is not None else ("", "", "")
    if _TOKEN.fullmatch(name):
        text = text.replace(name, "***")
        url = url.replace(name, "***")
    text = text.replace(url, shown(url))
    return text.replace(password, "***") if password else text


def refuse_secret(url: str) -> None:
    """Does nothing for an address that may be written into a metafile.

    Raises: SecretInAddressError: it holds a password or token.
    """
    found = _AUTHORITY.match(url)
    if found is None:
        return
    name, _, password = found[2].partition(":")
    if password or _TOKEN.fullmatch(name):
        raise SecretInAddressError(
            f"cannot write '{shown(url)}' into a metafile: the address holds a password, which would end up in Git",
            hint="let Git keep it: `git config --global credential.helper store`",
        )
