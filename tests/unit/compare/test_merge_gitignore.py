"""`.gitignore` files that only hide and show outputs are merged line by line; others are Git's."""

from __future__ import annotations

import pytest

from kist.compare.merge_gitignore import merge_gitignore


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        (b"", b"/a\n", b"/b\n", b"/a\n/b\n"),
        (b"/x\n", b"/x\n/a\n", b"/x\n/b\n", b"/x\n/a\n/b\n"),
        (b"/x\n", b"/a\n", b"/x\n/b\n", b"/a\n/b\n"),
        (b"/x\n/y\n", b"/x\n", b"/y\n", b""),
        (b"/x\n", b"/x\n/a\n", b"/x\n/a\n", b"/x\n/a\n"),
        (b"# note\n*.pyc\n/x", b"# note\n*.pyc\n/x\n/a\n", b"# note\n*.pyc\n", b"# note\n*.pyc\n/a\n"),
        (b"/x\n", b"*.o\n/x\n", b"/b\n", None),
        (b"/x\n", b"/a\n", b"/x\n!/b\n", None),
        (b"/x\n", b"/a\n", b"/x\n/b/c\n", None),
        (b"/x\n/y\n", b"/y\n/x\n", b"/x\n/y\n/b\n", None),
    ],
)
def test_lines_of_outputs_are_merged(base: bytes, ours: bytes, theirs: bytes, result: bytes | None) -> None:
    assert merge_gitignore(base, ours, theirs) == result
