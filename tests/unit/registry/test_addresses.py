"""Addresses of Git repositories: which Git may be given, and that passwords stay out of sight."""

from __future__ import annotations

import pytest

from kist.registry.addresses import (
    UnsafeAddressError,
    check_address,
    is_address,
    refuse_secret,
    shown,
    without_secret,
)
from kist.remotes.storage import SecretInAddressError

GOOD = [
    "https://example.invalid/birds.git",
    "http://ann@example.invalid:8080/birds",
    "ssh://git@example.invalid:22/birds.git",
    "git://example.invalid/birds",
    "git@example.invalid:team/birds.git",
    "example.invalid:birds",
    "file:///srv/birds",
]
BAD = [
    "--upload-pack=touch /tmp/x",
    "-oProxyCommand=x",
    "ext::sh -c x",
    "fd::17",
    "ssh://-oProxyCommand=x/birds",
    "ssh://ann@-oProxyCommand=x/birds",
    "ann@-oProxyCommand=x:birds",
    "gopher://example.invalid/birds",
    "https://example.invalid/birds\nx",
    "https://example.invalid/\0",
]


@pytest.mark.parametrize("url", GOOD)
def test_what_git_speaks_is_an_address_that_it_may_be_given(url: str) -> None:
    assert is_address(url)
    check_address(url)


@pytest.mark.parametrize("url", BAD)
def test_what_would_run_a_program_or_is_an_option_is_refused(url: str) -> None:
    with pytest.raises(UnsafeAddressError):
        check_address(url)


@pytest.mark.parametrize("path", ["birds", "../birds", "/srv/birds", ".", "a b", "C/x:y"])
def test_a_path_is_no_address(path: str) -> None:
    assert not is_address(path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://ann:secret@example.invalid/x", "https://ann@example.invalid/x"),
        ("https://:secret@example.invalid/x", "https://example.invalid/x"),
        ("https://ann@example.invalid/x", "https://ann@example.invalid/x"),
        ("git@example.invalid:x", "git@example.invalid:x"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_what_git_says_loses_the_password_too() -> None:
    url = "https://ann:secret@example.invalid/x"
    assert "secret" not in without_secret(f"unable to access '{url}/': secret", url)


def test_an_address_with_a_password_does_not_get_into_a_metafile() -> None:
    with pytest.raises(SecretInAddressError) as caught:
        refuse_secret("https://ann:secret@example.invalid/x")
    assert "secret@" not in caught.value.message + (caught.value.hint or "")
    refuse_secret("https://ann@example.invalid/x")
    refuse_secret("git@example.invalid:x")
