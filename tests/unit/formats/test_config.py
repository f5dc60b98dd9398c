"""Configuration files: what is read, what is refused, and what an edit leaves alone."""

from __future__ import annotations

import pytest

from kist.formats.config import (
    ConfigSyntaxError,
    ConfigValueError,
    SectionKey,
    Value,
    parse_config,
    remove_section,
    rename_section,
    set_option,
    set_section,
    unset_option,
)

CORE = SectionKey("core")
REMOTE = SectionKey("remote", "store")

COMMENTED = b"""\
# about this file

[core]  # defaults
    remote = store   # the big one
\tautostage=true

    # why three
    checksum_jobs = 3
# about the store
['remote "store"']
    url = s3://bucket/dir
"""


def value_of(text: str) -> Value:
    option = parse_config(f"[core]\nx = {text}\n".encode(), name="config").option(CORE, "x")
    assert option is not None
    return option.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a b", "a b"),
        ("", ""),
        ('""', ""),
        ('"a, b"', "a, b"),
        ("'a \"b\"'", 'a "b"'),
        ("it's", "it's"),
        ("a # note", "a"),
        ("a#note", "a"),
        ('"a # b" # note', "a # b"),
        ("hardlink, symlink", ("hardlink", "symlink")),
        ("hardlink,", ("hardlink",)),
        (",", ()),
        ('"a,b", c # note', ("a,b", "c")),
        ("%(home)s/x", "%(home)s/x"),
        ("${HOME}/x", "${HOME}/x"),
        ("https://h/p?a=b", "https://h/p?a=b"),
        ("'''one'''", "one"),
        ("'''one\n two'''  # note", "one\n two"),
        ('"""it\'s "so"""" # note', 'it\'s "so"'),
        ("a = b", "a = b"),
        ("[x]", "[x]"),
    ],
)
def test_values_lose_their_quotes_and_comments(text: str, value: Value) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    "title",
    ["'remote \"store\"'", 'remote "store"', "'Remote \"STORE\"'", ' remote   "store" ', '"remote "store""'],
)
def test_all_spellings_of_a_remote_are_one_section(title: str) -> None:
    parsed = parse_config(f"[{title}] # note\nURL = x\n".encode(), name="config")
    assert parsed.model() == {REMOTE: {"url": "x"}}


def test_lines_of_sections_and_options_are_known() -> None:
    parsed = parse_config(b"# c\n[core]\n\nremote = '''a\nb'''\nautostage = true\n", name="config")
    section = parsed.section(CORE)
    assert section is not None
    assert section.line == 2
    assert [(one.name, one.line, one.last_line) for one in section.options] == [
        ("remote", 4, 5),
        ("autostage", 6, 6),
    ]


def test_of_spellings_that_differ_in_case_the_later_one_counts() -> None:
    parsed = parse_config(b"[core]\nA = 1\na = 2\n[Core]\nb = 3\n", name="config")
    assert parsed.model() == {CORE: {"b": "3"}}


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    parsed = parse_config(b"\xef\xbb\xbf[core]\r\nremote = a\r\n", name="config")
    assert parsed.model() == {CORE: {"remote": "a"}}


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        (b"core\n", 1, "neither"),
        (b"[core\n", 1, "not a section"),
        (b"\n[core]\nremote\n", 3, "neither"),
        (b"[core]\na = 1\na = 2\n", 3, "twice"),
        (b"[core]\n[core]\n", 2, "twice"),
        (b'[core]\nremote = "a\n', 2, "not closed"),
        (b'[core]\nremote = "a" b\n', 2, "not closed"),
        (b'[core]\nremote = "a", "b" c\n', 2, "not closed"),
        (b"[core]\nremote = a, , b\n", 2, "between two commas"),
        (b"[core]\nremote = , a\n", 2, "out of place"),
        (b"[core]\nremote = '''a\nb\n", 2, "not closed"),
        (b"[core]\nremote = '''a''' b\n", 2, "behind"),
        (b"[core]\nremote = '''a\nb''' c\n", 2, "behind"),
        (b"remote = a\n", 1, "before the first section"),
        (b"[[core]]\n", 1, "inside a section"),
        (b"[core] x\n", 1, "not a section"),
        (b"[]\n", 1, "no title"),
        (b"['']\n", 1, "empty"),
        (b"[core]\n= 1\n", 2, "neither"),
        (b"[core]\n'a = 1\n", 2, "neither"),
        (b"[core]\nremote = \xff\n", 2, "not UTF-8"),
        (b"\x00\x01\x02", 1, "neither"),
    ],
)
def test_garbage_is_one_line_with_file_and_line(text: bytes, line: int, cause: str) -> None:
    with pytest.raises(ConfigSyntaxError) as caught:
        parse_config(text, name="here/config")
    assert caught.value.message.startswith(f"cannot read config file 'here/config', line {line}: ")
    assert cause in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 251


def test_quotes_without_end_take_no_more_than_a_moment() -> None:
    # A reader that goes back and tries again would need longer than the universe is old.
    text = b"[core]\nx = " + b'"a",' * 5000 + b'"\n'
    with pytest.raises(ConfigSyntaxError):
        parse_config(text, name="config")


def test_a_file_without_comments_is_written_in_the_shape_of_dvc() -> None:
    data = b"[remote \"store\"]\nurl=x\n\n[plots]\n[Core]\nRemote = 'store'\n"
    assert set_option(data, SectionKey("cache"), "Type", "a,b", name="config") == (
        b'[core]\n    remote = store\n[cache]\n    type = "a,b"\n[\'remote "store"\']\n    url = x\n'
    )


def test_the_first_option_makes_the_file_and_the_last_one_leaves_a_line_end() -> None:
    data = set_option(b"", CORE, "autostage", "true", name="config")
    assert data == b"[core]\n    autostage = true\n"
    assert unset_option(data, CORE, "autostage", name="config") == b"\n"


def test_a_changed_option_keeps_its_place_its_key_and_its_comment() -> None:
    assert set_option(COMMENTED, CORE, "remote", "a#b", name="config") == COMMENTED.replace(
        b"remote = store   #", b'remote = "a#b"   #'
    )
    assert set_option(COMMENTED, CORE, "autostage", "", name="config") == COMMENTED.replace(
        b"autostage=true", b'autostage=""'
    )


def test_an_option_that_spans_lines_is_replaced_as_a_whole() -> None:
    data = b"# c\n[core]\nx = '''one\ntwo''' # note\ny = 1\n"
    assert set_option(data, CORE, "x", "three", name="config") == b"# c\n[core]\nx = three # note\ny = 1\n"


def test_a_new_option_goes_behind_the_last_one_of_its_section() -> None:
    assert set_option(COMMENTED, CORE, "no_scm", "true", name="config") == COMMENTED.replace(
        b"checksum_jobs = 3\n", b"checksum_jobs = 3\n    no_scm = true\n"
    )


def test_a_new_section_goes_to_the_end_of_a_file_with_comments() -> None:
    data = set_option(COMMENTED.rstrip(), SectionKey("remote", "b"), "url", "x", name="config")
    assert data == COMMENTED + b"['remote \"b\"']\n    url = x\n"


def test_a_removed_option_takes_nothing_else_with_it() -> None:
    assert unset_option(COMMENTED, CORE, "AUTOSTAGE", name="config") == COMMENTED.replace(
        b"\tautostage=true\n", b""
    )


def test_a_removed_section_leaves_the_comments_around_it() -> None:
    assert remove_section(COMMENTED, CORE, name="config") == (
        b"# about this file\n\n# about the store\n['remote \"store\"']\n    url = s3://bucket/dir\n"
    )
    assert remove_section(COMMENTED, REMOTE, name="config") == COMMENTED[: COMMENTED.index(b"['remote")]


def test_a_section_that_becomes_empty_goes_unless_a_comment_is_in_it() -> None:
    assert unset_option(b"# c\n[core]\nx = 1\n", CORE, "x", name="config") == b"# c\n"
    assert unset_option(b"[core]\n# c\nx = 1\n", CORE, "x", name="config") == b"[core]\n# c\n"


def test_a_renamed_section_stays_in_its_place_in_a_file_with_comments() -> None:
    new = SectionKey("remote", "new name")
    assert rename_section(COMMENTED, REMOTE, new, name="config") == COMMENTED.replace(
        b'"store"', b'"new name"'
    )
    assert rename_section(b'# c\n [remote "store"]  # d\nurl = x\n', REMOTE, new, name="config") == (
        b"# c\n ['remote \"new name\"']  # d\nurl = x\n"
    )


def test_a_renamed_section_moves_to_the_end_in_a_file_without_comments() -> None:
    data = b"['remote \"store\"']\n    url = x\n['remote \"b\"']\n    url = y\n"
    assert rename_section(data, REMOTE, SectionKey("remote", "new"), name="config") == (
        b"['remote \"b\"']\n    url = y\n['remote \"new\"']\n    url = x\n"
    )
    assert rename_section(data, SectionKey("remote", "gone"), REMOTE, name="config") == data


def test_a_replaced_section_keeps_its_place() -> None:
    data = b"['remote \"store\"']\n    url = x\n    jobs = 3\n['remote \"b\"']\n    url = y\n"
    assert set_section(data, REMOTE, {"url": "z"}, name="config") == (
        b"['remote \"store\"']\n    url = z\n['remote \"b\"']\n    url = y\n"
    )


def test_windows_line_ends_stay_in_a_file_with_comments() -> None:
    data = set_option(b"# c\r\n[core]\r\nx = 1\r\n", CORE, "y", "2", name="config")
    assert data == b"# c\r\n[core]\r\nx = 1\r\n    y = 2\r\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (SectionKey("remote", "it's"), "x"),
        (SectionKey("remote", "two\nlines"), "x"),
        (CORE, "a'''b\"\"\"c"),
        (CORE, "carriage\rreturn"),
        (CORE, "\udcff"),
    ],
)
def test_what_cannot_be_read_back_is_not_written(key: SectionKey, value: str) -> None:
    for data in (b"", b"# c\n[core]\nx = 1\n"):
        with pytest.raises(ConfigValueError) as caught:
            set_option(data, key, "x", value, name="config")
        assert value not in caught.value.message or value == "x"
