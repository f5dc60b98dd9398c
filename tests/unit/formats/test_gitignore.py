"""The line of an output in `.gitignore`: its spelling, and how it is put in and taken out."""

from __future__ import annotations

import pytest

from kist.formats.gitignore import GitignoreNameError, add_entry, gitignore_entry, remove_entry


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("plain", b"/plain"),
        ("in ner", b"/in ner"),
        (" lead", b"/ lead"),
        ("f*", b"/f\\*"),
        ("q?x", b"/q\\?x"),
        ("b[1]", b"/b\\[1\\]"),
        ("#h", b"/\\#h"),
        ("a#b", b"/a\\#b"),
        ("!e", b"/\\!e"),
        ("a!b", b"/a\\!b"),
        ("back\\slash", b"/back\\\\slash"),
        ("tail\\", b"/tail\\\\"),
        ("ünï", "/ünï".encode()),
        ("tab\there", b"/tab\there"),
        ("tail\t", b"/tail\t"),
        ("{b}$(x)~&^'\"%2F:", b"/{b}$(x)~&^'\"%2F:"),
        ("end ", b"/end\\ "),
        ("end  ", b"/end \\ "),
        ("cr\r", b"/cr[\r]"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), b"/caf\xe9"),
    ],
)
def test_special_characters_are_escaped(name: str, entry: bytes) -> None:
    assert gitignore_entry(name) == entry
    assert add_entry(b"", name) == entry + b"\n"
    assert remove_entry(entry + b"\n", name) is None


def test_a_name_with_a_line_feed_is_refused() -> None:
    with pytest.raises(GitignoreNameError, match=r"cannot add 'a\\nb' to \.gitignore") as caught:
        add_entry(b"", "a\nb")
    assert caught.value.code == "gitignore-name"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"/foo\n"),
        (b"x", b"x\n/foo\n"),
        (b"x\n", b"x\n/foo\n"),
        (b"x\r\ny\r\n", b"x\r\ny\r\n/foo\n"),
        (b"x\r\ny", b"x\r\ny\n/foo\n"),
        (b"\n\n# c\n", b"\n\n# c\n/foo\n"),
        (b"\xff\n", b"\xff\n/foo\n"),
        (b"!foo\n", b"!foo\n/foo\n"),
        (b"/foo\n!foo\n", b"/foo\n!foo\n/foo\n"),
        (b"/foo", b"/foo"),
        (b"/foo\r\nx\n", b"/foo\r\nx\n"),
        (b"!x\n/foo\n", b"!x\n/foo\n"),
    ],
)
def test_the_line_goes_to_the_end_unless_it_is_there(before: bytes, after: bytes) -> None:
    assert add_entry(before, "foo") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"/foo\n", None),
        (b"/foo", None),
        (b"/foo\r\n", None),
        (b"x\n/foo\n", b"x\n"),
        (b"bar\n/foo\nbaz", b"bar\nbaz"),
        (b"bar\n/foo", b"bar\n"),
        (b" /foo \nbar\n", b"bar\n"),
        (b"/foo\n/foo\nz\n", b"z\n"),
        (b"\n/foo\n", b"\n"),
        (b"x\r\n/foo\r\ny\r\n", b"x\ny\n"),
        (b"/foo\t\n\t/foo\n/foo\n", None),
        (b"\xff\n/foo\n", b"\xff\n"),
        (b"foo\n", b"foo\n"),
        (b"x\r\nfoo\r\n", b"x\r\nfoo\r\n"),
        (b"!/foo\n/foo/\n/foo2\n", b"!/foo\n/foo/\n/foo2\n"),
        (b"", b""),
    ],
)
def test_every_line_of_the_name_goes_and_nothing_else(before: bytes, after: bytes | None) -> None:
    assert remove_entry(before, "foo") == after


def test_what_dvc_wrote_for_a_name_with_a_space_at_its_end_is_removed_too() -> None:
    assert remove_entry(b"/end \n/end\n", "end ") == b"/end\n"
    assert remove_entry(b"/end\\ \n/end\n", "end ") == b"/end\n"
    assert remove_entry(b"/end\\ \n/end\n", "end") == b"/end\\ \n"
