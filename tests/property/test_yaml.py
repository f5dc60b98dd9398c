"""The fast YAML reader and writer beside ruamel, which is the measure of both."""

from __future__ import annotations

import datetime
import io
import re
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kist.formats import _yaml_fast, _yaml_write, yaml

# Pieces of YAML text, more of them dangerous than not.
_PIECES = [
    "\n", " ", "  ", "- ", "-", ": ", ":", "#", " #", '"', "'", "[", "]", "{", "}", ",", "|", "|-", ">", ">-", "\n\n",
    "\n  ", "\n    ", "\n- ", "a", "b: 1", "c:", "1", "1.5", "0x1", "1e3", ".", "..", "~", "null", "true", "yes",
    "<<", "=", "&a", "*a", "!x", "%", "@", "`", "\\", "\\n", "\\\n", "---\n", "...\n", "? ", "é", "\t", "\r\n",
    "012", "1_0", "2020-01-01", "a b", "x # y", "x#y", "x:y", "- - 1", "-x", "+1", ".5", "1.", "5e5", "-0",
    '"a\\x41"', '"a\\\n  b"', "'a\n  b'", "[1, 2]", "{a: 1}", "{a: [x]}", "key: value\n", "k: v # c\n", "\u2028",
    "\x85", "\xa0", "\ufeff", "# c\n", "k: |\n  t\n  u\n", "k: >-\n  t\n  u\n", "two words", "d41d8cd98f00b204",
]  # fmt: skip
_PIECE = st.sampled_from(_PIECES)
_LINE = st.builds(
    "{}{}{}{}\n".format,
    st.sampled_from(["", "", "", "  ", "  ", "    ", " ", "   "]),
    st.sampled_from(["", "", "", "- ", "- - ", "-", "-   "]),
    st.sampled_from(["", "a: ", "b: ", "c:", "d: ", "e:  ", "'q': ", '"r": ', "1: "]),
    st.lists(_PIECE, max_size=2).map("".join),
)
_TEXTS = st.one_of(
    st.lists(_PIECE, max_size=12).map("".join),
    st.lists(_LINE, max_size=7).map("".join),
    st.lists(_LINE, max_size=7).map(lambda lines: "".join(lines).rstrip("\n")),
)


def full_load(data: bytes) -> Any:
    return YAML(typ="safe", pure=True).load(data)


@given(_TEXTS)
def test_the_fast_reader_answers_as_ruamel_or_not_at_all(text: str) -> None:
    data = text.encode()
    try:
        value = _yaml_fast.parse(data)
    except _yaml_fast.NotPlain:
        return
    # Types count, too: 1, 1.0 and True are equal in Python.
    assert repr(value) == repr(full_load(data))


@given(_TEXTS)
def test_load_answers_as_ruamel_and_refuses_what_ruamel_refuses(text: str) -> None:
    data = text.encode()
    try:
        value = yaml.load(data, name="f")
    except yaml.YamlError:
        try:
            full_load(data)
        except (YAMLError, ValueError):
            return
        raise
    assert repr(value) == repr(full_load(data))


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_an_error_of_ours(data: bytes) -> None:
    try:
        yaml.load(data, name="f")
    except yaml.YamlError as error:
        assert "\n" not in error.message


_WORDS = st.sampled_from(
    [
        "a", "word", "longer-word", "x" * 30, "y" * 81, " ", " ", " ", "  ", "\n", '"', "'", "\\", ": ", ":", "#", " #",
        "-", "- ", "1", "1.5", "é", "\xa0", "\t", "\x07", "𝒳", "\ufeff", "[", "]", "{", "}", "&", "*", "!", "|", ">", "%",
        "@", "`", ",", "?", "~", "null", "true", "0x1", "_", "e", "+", ".", "...", "---", "2020-01-01", "<<", "=",
        "echo hi && ", "python train.py --lr 0.1",
    ]
)  # fmt: skip
_STRINGS = st.one_of(
    st.lists(_WORDS, max_size=4).map("".join),
    st.lists(_WORDS, max_size=30).map(" ".join),
    st.lists(_WORDS, max_size=30).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029"), max_size=20),
)
_SCALARS = st.one_of(
    _STRINGS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.dates(datetime.date(1000, 1, 1)),
    st.just("d41d8cd98f00b204e9800998"),
)
_KEYS = st.one_of(
    st.sampled_from(["key", "path", "md5"]), _STRINGS.map(lambda text: text[:60]), st.integers(0, 99)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=8,
)
_DOCUMENTS = st.one_of(
    st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=3), st.lists(_VALUES, min_size=1, max_size=3)
)


def full_dump(value: Any) -> bytes:
    stream = io.BytesIO()
    YAML(pure=True).dump(yaml._unshared(value), stream)
    return stream.getvalue()


@given(_DOCUMENTS)
def test_the_fast_writer_gives_the_bytes_of_ruamel_where_those_say_the_value(value: Any) -> None:
    try:
        text = _yaml_write.render(value)
    except _yaml_fast.NotPlain:
        return
    data = text.encode()
    assert repr(full_load(data)) == repr(value)
    expected = full_dump(value)
    try:
        is_right = repr(full_load(expected)) == repr(value)
    except YAMLError:
        is_right = False
    # Keys of several lines have the form `? key` with ruamel; nobody has such keys.
    if is_right and not re.search(rb"^[ -]*\? ", expected, re.MULTILINE):
        assert data == expected


@given(_DOCUMENTS)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert repr(yaml.load(yaml.dump(value), name="f")) == repr(value)


@given(_VALUES)
def test_any_value_may_be_the_root(value: Any) -> None:
    # ruamel leaves the end of a document open behind some root texts.
    assume(not isinstance(value, str))
    assert repr(yaml.load(yaml.dump(value), name="f")) == repr(value)


def with_comments(data: bytes, marks: list[int]) -> bytes:
    """Returns the text with comments after, or before, some of its lines."""
    lines = data.decode().splitlines()
    for mark in marks:
        at = mark // 2 % len(lines)
        lines[at] = lines[at] + " # c" if mark % 2 else "# c\n" + lines[at]
    return ("\n".join(lines) + "\n").encode()


@given(_DOCUMENTS, _DOCUMENTS, st.lists(st.integers(0, 40), max_size=3))
def test_an_edited_file_says_the_new_value_whatever_it_was(old: Any, new: Any, marks: list[int]) -> None:
    data = with_comments(yaml.dump(old), marks)
    try:
        yaml.load(data, name="f")
    except yaml.YamlError:
        assume(False)
    assert yaml.load(yaml.edit(data, new, name="f"), name="f") == new


@given(_DOCUMENTS, _DOCUMENTS)
def test_a_plain_file_is_merged_as_the_round_trip_would_merge_it(old: Any, new: Any) -> None:
    data = yaml.dump(old)
    assume(type(old) is type(new) and full_dump(old) == data)
    merged = yaml.edit(data, new, name="f")
    assume(old != new)
    slow = yaml._edit_slow(data, new, "f")
    if full_dump(yaml.load(merged, name="f")) == merged:
        assert merged == slow
