"""Values in TOML text change, and all else stays."""

from __future__ import annotations

import pytest

from kist.formats.params import ParamsError, parse_params
from kist.formats.toml_edit import edit_toml

TEXT = b"""\
# top
lr = 0.1  # rate
name = "adam"

[opt]
n = 3
deep.x = [1, 2]

[[many]]
a = 1
"""


def values() -> dict[str, object]:
    return parse_params(TEXT, name="p.toml")


def test_only_the_named_value_changes() -> None:
    wanted = values() | {"lr": 0.5}
    assert edit_toml(TEXT, wanted, name="p.toml") == TEXT.replace(b"0.1", b"0.5")


def test_values_in_tables_change_too() -> None:
    wanted = values()
    wanted["opt"] = {"n": "x", "deep": {"x": [True]}}
    changed = edit_toml(TEXT, wanted, name="p.toml")
    assert changed == TEXT.replace(b"n = 3", b'n = "x"').replace(b"[1, 2]", b"[true]")


def test_a_key_goes_and_another_comes() -> None:
    wanted = values()
    del wanted["name"]
    changed = edit_toml(TEXT, wanted | {"new": {"a": 1.5}}, name="p.toml")
    assert parse_params(changed, name="p.toml") == wanted | {"new": {"a": 1.5}}
    assert b"# rate" in changed


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ParamsError):
        edit_toml(TEXT, values() | {"many": [{"a": 2}]}, name="p.toml")
    with pytest.raises(ParamsError):
        edit_toml(TEXT, values() | {"lr": None}, name="p.toml")
