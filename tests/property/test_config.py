"""The parser of configuration files beside ConfigObj, with which DVC reads and writes them."""

from __future__ import annotations

import io

import pytest
from configobj import ConfigObj, ConfigObjError
from hypothesis import assume, given
from hypothesis import strategies as st

from kist.errors import ConfigError
from kist.formats.config import (
    NAMED_KINDS,
    Model,
    SectionKey,
    Value,
    parse_config,
    remove_section,
    section_key,
    set_option,
    unset_option,
    write_model,
)

# Letters that mean something to one of the two readers, and a few that do not.
_SPECIAL = "'\"#,=[]; \t$()\\"
_TEXT = st.text(st.sampled_from(_SPECIAL + "abzAZ019é日/:.-_\n"), max_size=12)
_KEYS = st.text(st.sampled_from("abcdefxyz_"), min_size=1, max_size=6)
_NAMES = st.text(st.sampled_from("abcé019 -_./#]["), max_size=8)
_VALUES: st.SearchStrategy[Value] = st.one_of(_TEXT, st.lists(_TEXT, max_size=3).map(tuple))
_SECTIONS = st.one_of(
    st.sampled_from(["core", "cache", "feature", "plots"]).map(SectionKey),
    st.builds(SectionKey, st.sampled_from(["remote", "machine", "db"]), _NAMES),
)
_MODELS = st.dictionaries(_SECTIONS, st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=4)
_LINES = st.one_of(
    st.builds("{} = {}".format, _KEYS, _TEXT.map(lambda text: text.replace("\n", ""))),
    st.builds("[{}]".format, _NAMES),
    st.builds("['remote \"{}\"']{}".format, _NAMES, st.sampled_from(["", " # c", "#"])),
    st.builds("    {}= {} # {}".format, _KEYS, _NAMES, _NAMES),
    st.text(st.sampled_from(_SPECIAL + "ab"), max_size=10),
    st.just("# comment"),
    st.just(""),
)
_FILES = st.lists(_LINES, max_size=8).map("\n".join)


def written_by_configobj(model: Model) -> bytes:
    order = [key for key in model if key.kind not in NAMED_KINDS]
    for kind in NAMED_KINDS:
        order += [key for key in model if key.kind == kind]
    content = {
        key.title: {
            name: list(value) if isinstance(value, tuple) else value for name, value in model[key].items()
        }
        for key in order
        if model[key] or key.kind in NAMED_KINDS
    }
    stream = io.BytesIO()
    # DVC leaves the encoding out, and so cannot write text that is not ASCII.
    ConfigObj(content, interpolation=False, encoding="utf-8").write(stream)
    return stream.getvalue()


def read_by_configobj(data: bytes) -> dict[SectionKey, dict[str, object]]:
    content = ConfigObj(io.BytesIO(data), interpolation=False).dict()
    found = {}
    for title, options in content.items():
        if not isinstance(options, dict) or any(isinstance(value, dict) for value in options.values()):
            raise ConfigObjError("not in the shape of a configuration")
        found[section_key(title)] = {
            name.lower(): tuple(value) if isinstance(value, list) else value
            for name, value in options.items()
        }
    return found


def _written(model: Model) -> Model:
    """Returns what of a model is in a file: plain sections without options are not."""
    return {key: options for key, options in model.items() if options or key.kind in NAMED_KINDS}


@given(_MODELS)
def test_what_configobj_writes_is_read_to_the_same_values(model: Model) -> None:
    try:
        data = written_by_configobj(model)
        back = read_by_configobj(data)
    except (ConfigObjError, UnicodeError):
        assume(False)
    assume(back == _written(model))
    assert parse_config(data, name="config").model() == back


@given(_MODELS)
def test_what_is_written_equals_what_configobj_writes_and_is_read_by_it(model: Model) -> None:
    try:
        data = write_model(b"", model, name="config")
    except ConfigError:
        assume(False)
    wanted = _written(model)
    assert read_by_configobj(data) == wanted
    try:
        theirs = written_by_configobj(model)
        theirs_is_right = read_by_configobj(theirs) == wanted
    except ConfigObjError:
        theirs_is_right = False
    if theirs_is_right:
        assert data == theirs


@given(_FILES)
def test_whatever_is_accepted_is_read_as_configobj_reads_it(text: str) -> None:
    data = text.encode("utf-8")
    try:
        ours = parse_config(data, name="config").model()
    except ConfigError:
        return
    assert ours == read_by_configobj(data)


@given(_FILES, _SECTIONS, _KEYS, _VALUES)
def test_an_edit_changes_one_option_and_loses_no_comment(
    text: str, key: SectionKey, option: str, value: Value
) -> None:
    data = f"# first\n{text}\n# last".encode()
    try:
        before = parse_config(data, name="config")
        after = set_option(data, key, option, value, name="config")
    except ConfigError:
        assume(False)
    wanted = before.model()
    wanted.setdefault(key, {})[option] = value
    assert parse_config(after, name="config").model() == wanted
    for comment in [line for line in text.splitlines() if line.lstrip().startswith("#")]:
        assert comment.encode() in after
    assert after.startswith(b"# first\n")
    undone = unset_option(after, key, option, name="config")
    del wanted[key][option]
    assert {k: v for k, v in parse_config(undone, name="config").model().items() if v} == {
        k: v for k, v in wanted.items() if v
    }


@given(_FILES, _SECTIONS)
def test_removing_a_section_leaves_the_others(text: str, key: SectionKey) -> None:
    data = f"{text}\n# last\n".encode()
    try:
        wanted = parse_config(data, name="config").model()
    except ConfigError:
        assume(False)
    after = remove_section(data, key, name="config")
    wanted.pop(key, None)
    assert parse_config(after, name="config").model() == wanted
    assert b"# last" in after


@given(st.binary(max_size=60))
def test_garbage_is_refused_with_file_and_line_or_read(data: bytes) -> None:
    try:
        parse_config(data, name="somewhere/config")
    except ConfigError as error:
        assert "'somewhere/config', line " in error.message
        assert "\n" not in error.message


def test_the_oracle_itself_refuses_garbage() -> None:
    with pytest.raises(ConfigObjError):
        read_by_configobj(b"[core\n")
