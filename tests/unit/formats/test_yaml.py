"""YAML: the values, the limits, the messages, the bytes, and edits in place."""

from __future__ import annotations

import datetime
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest

from kist.formats import _yaml_fast, _yaml_write, yaml
from kist.formats.yaml import YamlError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("n", "n"), ("True", True), ("NULL", None), ("~", None), ("", None),
        ("010", 10), ("0o17", 15), ("0x1F", 31), ("0b11", 3), ("1_000", 1000), ("-7", -7), ("+7", 7),
        ("1e-3", 0.001), ("1.5e3", 1500.0), (".5", 0.5), ("1.", 1.0), (".inf", float("inf")),
        ("1:30", "1:30"), ("1.2.3", "1.2.3"), ("2020-01-31", datetime.date(2020, 1, 31)),
        ("2011-01-01--2011-01-28", "2011-01-01--2011-01-28"), ("'1'", "1"), ("5e12345", float("inf")),
        ("http://x/y", "http://x/y"), ("a#b", "a#b"), ("a # b", "a"), ("- x", None), ("'it''s'", "it's"),
        ('"a\\tb\\x41\\u00e9"', "a\tbAé"), ("[]", []), ("{}", {}), ("[1, 'b', {c: d}]", [1, "b", {"c": "d"}]),
        ("|\n  a\n   b\n", "a\n b\n"), ("|-\n  a\n", "a"), (">\n  a\n  b\n", "a b\n"), ("a\n  b", "a b"),
        ("'a\n\n  b'", "a\nb"), ('"a\\\n   b"', "ab"),
    ],
)  # fmt: skip
def test_scalars_have_the_values_of_yaml_1_2(text: str, value: Any) -> None:
    if text == "- x":
        with pytest.raises(YamlError):
            yaml.load(b"k: - x\n", name="f")
    else:
        loaded = yaml.load(f"k: {text}\n".encode(), name="f")["k"]
        assert loaded == value
        assert type(loaded) is type(value)


def test_anchors_and_merge_keys_are_resolved() -> None:
    text = b"base: &b {lr: 1, n: 2}\nrun:\n  <<: *b\n  n: 3\n"
    assert yaml.load(text, name="f")["run"] == {"lr": 1, "n": 3}


def test_files_in_other_line_ends_and_encodings_are_read() -> None:
    assert yaml.load(b"a: 1\r\nb:\r\n- x\r\n", name="f") == {"a": 1, "b": ["x"]}
    assert yaml.load("a: é\n".encode("utf-16"), name="f") == {"a": "é"}
    assert yaml.load("\ufeffa: é\n".encode(), name="f") == {"a": "é"}


METAFILE = (
    b"outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 0 # nothing\n  path: 'a b'\nmeta: {a: [1]}\n"
)


def test_metafiles_do_not_load_the_large_library() -> None:
    program = (
        "import sys\nfrom kist.formats import yaml\n"
        f"value = yaml.load({METAFILE!r}, name='f')\n"
        "yaml.edit(yaml.dump(value), {**value, 'desc': 'x'}, name='f')\n"
        "assert not any(name.startswith('ruamel') for name in sys.modules), 'ruamel was imported'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("text", "line", "column", "cause"),
    [
        ("a: 1\nb: [\n", 3, 1, "expected the node content"),
        ("a: 1\na: 2\n", 2, 1, 'found duplicate key "a"'),
        ("a: b: c\n", 1, 5, "mapping values are not allowed here"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, 4, "could not determine a constructor"),
        ("a: &x [*x]\n", 1, 4, "an alias refers to the collection that holds it"),
        ("a: *x\n", 1, 4, "found undefined alias"),
        ("a: 'b\n", 2, 1, "found unexpected end of stream"),
        ("a: 1\n---\nb: 2\n", 2, 1, "but found another document"),
    ],
)
def test_mistakes_are_told_in_one_line_with_file_line_and_column(
    text: str, line: int, column: int, cause: str
) -> None:
    with pytest.raises(YamlError) as caught:
        yaml.load(text.encode(), name="dir/f.yaml")
    error = caught.value
    assert error.message.startswith(f"cannot read 'dir/f.yaml': line {line}, column {column}: ")
    assert cause in error.message
    assert "\n" not in error.message
    assert (error.name, error.line, error.column) == ("dir/f.yaml", line, column)


def test_a_date_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(YamlError, match="a value is not valid: month must be"):
        yaml.load(b"a: 2020-13-01\n", name="f")


@pytest.mark.parametrize("data", [b"\x00", b"a: \xff\n", b"a: \x1b\n"])
def test_bytes_that_are_no_text_are_an_error(data: bytes) -> None:
    with pytest.raises(YamlError, match="cannot read 'f': "):
        yaml.load(data, name="f")


def test_an_object_of_python_is_never_made(tmp_path: Any) -> None:
    target = tmp_path / "made"
    for tag in ("!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir", "!python/call:os.mkdir"):
        with pytest.raises(YamlError):
            yaml.load(f"a: {tag} ['{target}']\n".encode(), name="f")
    assert not target.exists()


def bomb(merge: bool) -> bytes:
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x, x]"]
    for level in range(1, 40):
        uses = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{uses}]}}" if merge else f"[{uses}]"))
    return "\n".join(lines).encode()


@pytest.mark.parametrize("merge", [False, True])
def test_an_alias_bomb_is_refused_with_little_memory(merge: bool) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(YamlError, match="aliases expand to"):
            yaml.load(bomb(merge), name="f")
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["[" * 5000, "- " * 300 + "a", "{a: " * 3000, "a: " + "[" * 101 + "]" * 101])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        yaml.load(text.encode(), name="f")


def test_nesting_within_the_limit_is_read() -> None:
    value: Any = yaml.load(b"[" * 90 + b"]" * 90, name="f")
    for _ in range(89):
        (value,) = value
    assert value == []


def test_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "MAX_SIZE_BYTES", 100)
    monkeypatch.setattr(yaml, "MAX_SLOW_SIZE_BYTES", 50)
    plain = b"a: " + b"x" * 60
    assert yaml.load(plain, name="f") == {"a": "x" * 60}
    with pytest.raises(YamlError, match="limit is 50"):
        yaml.load(b"a: !!str " + b"x" * 60, name="f")
    with pytest.raises(YamlError, match="limit is 100"):
        yaml.load(plain * 2, name="f")


def test_the_place_of_a_key_or_an_item_is_found() -> None:
    data = b"# c\nouts:\n- path: a\n- {path: b, size: 1}\n"
    assert yaml.locate(data, ()) == (2, 1)
    assert yaml.locate(data, ("outs", 1)) == (4, 3)
    assert yaml.locate(data, ("outs", 1, "size")) == (4, 13)
    assert yaml.locate(data, ("outs", 0, "missing")) == (3, 3)
    assert yaml.locate(data, ("outs", 7)) == (2, 1)
    assert yaml.locate(b"[", ()) is None
    assert yaml.locate(b"", ()) is None


# --- writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": "yes", "b": None, "c": True, "d": 1e-05, "e": 1e16}, "a: yes\nb:\nc: true\nd: 1e-05\ne: 1e+16\n"),
        ({"a": "1", "b": "5e12345", "c": "2020-01-31", "d": "null"}, "a: '1'\nb: '5e12345'\nc: '2020-01-31'\nd: 'null'\n"),
        ({"a": "", "b": "x: y", "c": "it's", "d": "#x", "e": "é"}, "a: ''\nb: 'x: y'\nc: it's\nd: '#x'\ne: é\n"),
        ({"a": "'", "b": "a\nb", "c": "\t"}, "a: \"'\"\nb: \"a\\nb\"\nc: \"\\t\"\n"),
        ({"a": [], "b": {}, "c": [None, [1, [2]], {"d": 1, "e": [3]}]}, "a: []\nb: {}\nc:\n- \n- - 1\n  - - 2\n- d: 1\n  e:\n  - 3\n"),
        ({True: 1, None: 2, 1.5: 3, "a\nb": 4}, 'true: 1\nnull: 2\n1.5: 3\n"a\\nb": 4\n'),
        ({"a": datetime.datetime(2020, 1, 31, 1, 2, 3)}, "a: 2020-01-31 01:02:03\n"),
        ({1: "a", "0x1": "b"}, "1: a\n'0x1': b\n"),
        (["a", {"b": {"c": 1}}], "- a\n- b:\n    c: 1\n"),
        ({"a": datetime.date(2020, 1, 31)}, "a: 2020-01-31\n"),
        ({}, "{}\n"),
    ],
)  # fmt: skip
def test_values_are_written_as_dvc_writes_them(value: Any, text: str) -> None:
    assert yaml.dump(value).decode() == text


def test_long_texts_fold_as_dvc_folds_them() -> None:
    plain = "python train.py " + "--option value " * 6 + "--last"
    single = "a: " + "word " * 20 + "end"
    double = "a\n" + "word " * 20 + "end"
    assert yaml.dump({"cmd": plain, "s": single, "d": double}).decode() == (
        "cmd: python train.py --option value --option value --option value --option value\n"
        "  --option value --option value --last\n"
        "s: 'a: word word word word word word word word word word word word word word word\n"
        "  word word word word word end'\n"
        'd: "a\\nword word word word word word word word word word word word word word word\n'
        '  word word word word word end"\n'
    )


def test_a_word_longer_than_the_line_gets_its_own() -> None:
    path = "x" * 90
    data = yaml.dump({"path": path})
    assert data.decode() == f"path: \n  {path}\n"
    assert yaml.load(data, name="f") == {"path": path}


def test_a_text_that_ruamel_would_change_by_folding_stays_as_it_is() -> None:
    value = {"a": "y" * 90 + "\tword and more words after it"}
    data = yaml.dump(value)
    assert yaml.load(data, name="f") == value


def test_a_value_that_occurs_twice_is_written_twice() -> None:
    shared = {"x": datetime.date(2020, 1, 31)}
    assert yaml.dump({"a": shared, "b": shared}) == b"a:\n  x: 2020-01-31\nb:\n  x: 2020-01-31\n"


# --- editing ----------------------------------------------------------------------------------------

COMMENTED = """\
# head
outs: # list
# item
- md5: abc # inline
  size: 6

  path: f.txt # p
  meta: {a: [1, 2]}
# tail
meta:
  foo: "bar"
"""


def test_an_edit_keeps_comments_and_the_order_of_keys() -> None:
    old = yaml.load(COMMENTED.encode(), name="f")
    (out,) = old["outs"]
    new = {"meta": old["meta"], "outs": [{"hash": "md5", **out, "md5": "def", "size": 7}]}
    assert yaml.edit(COMMENTED.encode(), new, name="f").decode() == (
        "# head\nouts: # list\n# item\n- md5: def # inline\n  size: 7\n\n  path: f.txt # p\n  meta: {a: [1, 2]}\n"
        "  hash: md5\n# tail\nmeta:\n  foo: bar\n"
    )


def test_an_equal_value_leaves_every_byte() -> None:
    old = yaml.load(COMMENTED.encode(), name="f")
    assert yaml.edit(COMMENTED.encode(), dict(reversed(old.items())), name="f") == COMMENTED.encode()


def test_a_plain_file_is_edited_by_its_values() -> None:
    old = b"outs:\n- md5: abc\n  path: f\nmeta:\n  a: 1\n"
    new = {"desc": "d", "outs": [{"path": "f", "size": 1, "md5": "def"}]}
    assert yaml.edit(old, new, name="f") == b"outs:\n- md5: def\n  path: f\n  size: 1\ndesc: d\n"


def test_a_list_of_another_length_is_replaced() -> None:
    assert yaml.edit(b"a: [1, 2] # c\nb: 1\n", {"a": [1], "b": 1}, name="f") == b"a: [1]    # c\nb: 1\n"
    assert yaml.edit(b"- 1\n- 2\n", [3], name="f") == b"- 3\n"


def test_another_kind_of_value_is_written_anew() -> None:
    assert yaml.edit(b"# c\na: 1\n", ["x"], name="f") == b"- x\n"
    assert yaml.edit(b"", {"a": 1}, name="f") == b"a: 1\n"


def test_a_large_file_without_comments_is_not_sent_through_the_round_trip() -> None:
    old = b"a: [1]\n" + b"".join(b"k%d:   value\n" % number for number in range(20000))
    value = yaml.load(old, name="f")
    value["k0"] = "x"
    program = (
        "import sys\nfrom kist.formats import yaml\nold = sys.stdin.buffer.read()\n"
        "value = yaml.load(old, name='f')\nvalue['k0'] = 'x'\nnew = yaml.edit(old, value, name='f')\n"
        "assert yaml.load(new, name='f') == value\n"
        "assert not any(name.startswith('ruamel') for name in sys.modules), 'ruamel was imported'\n"
    )
    assert len(old) > yaml.MAX_ROUND_TRIP_BYTES
    subprocess.run([sys.executable, "-c", program], input=old, check=True)


def test_an_edit_that_the_round_trip_gets_wrong_loses_comments_but_no_values() -> None:
    # ruamel puts the comment of the removed item inside the text that follows.
    old = b"a: 1\nc: # t\n# x\n- d\n- e # y\nb: z\n"
    for new in ({"a": 1, "c": [], "b": "z"}, {"c": {}, "b": "z"}, {"c": ["d"], "a": None}):
        assert yaml.load(yaml.edit(old, new, name="f"), name="f") == new


def test_what_cannot_be_read_cannot_be_edited() -> None:
    with pytest.raises(YamlError):
        yaml.edit(b"a: [", {"a": 1}, name="f")


@pytest.mark.parametrize(
    "data",
    [b"a: &x 1\nb: *x\n", b"%YAML 1.1\n---\na: yes\n", b"a:\tb\n", b"? a\n: b\n", b"a: [1,\n 2]\n", b"a: 012\n", b"a: \xff\n"],
)  # fmt: skip
def test_the_fast_reader_leaves_what_is_not_plain_to_the_full_one(data: bytes) -> None:
    with pytest.raises(_yaml_fast.NotPlain):
        _yaml_fast.parse(data)


@pytest.mark.parametrize("value", [1, "a", {"k" * 600: 1}, {"a": (1, 2)}, {"a": b"x"}, {(1,): 1}])
def test_the_fast_writer_leaves_what_is_not_plain_to_the_full_one(value: Any) -> None:
    with pytest.raises(_yaml_fast.NotPlain):
        _yaml_write.render(value)
