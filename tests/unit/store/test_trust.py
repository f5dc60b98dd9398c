"""Trust records against a plain dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.store import trust as trust_module
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.store.trust import Trust, _find

# Few values, and digests that repeat inside of each other, so that a search at a wrong offset would show.
_DIGESTS = st.sampled_from(
    [b"\1" * 16, b"\1" * 15 + b"\2", b"\1\2" * 8, b"\2\1" * 8, b"\2" + b"\1" * 15, b"\2" * 16, b"\3" * 16]
)
_STEPS = st.lists(
    st.tuples(st.dictionaries(_DIGESTS, st.binary(min_size=32, max_size=32)), st.sets(_DIGESTS)), max_size=4
)


@given(_STEPS, st.sets(_DIGESTS), st.sampled_from([0, 20_000]))
def test_records_are_those_of_a_dictionary(
    steps: list[tuple[dict[bytes, bytes], set[bytes]]], wanted: set[bytes], many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust_module, "_MANY", many)
        index = StatIndex(":memory:")
        patch.setattr("os.path.exists", lambda path: True)
        trust = Trust(index, LooseStore("/store"))
        model: dict[bytes, bytes] = {}
        for added, gone in steps:
            trust.add([digest + record for digest, record in added.items()], gone=gone)
            for digest in gone:
                model.pop(digest, None)
            model.update(added)
            assert trust.records(wanted) == {digest: model[digest] for digest in wanted & model.keys()}
        index.close()


@given(st.lists(_DIGESTS, max_size=6), _DIGESTS)
def test_a_digest_is_found_only_at_a_whole_position(column: list[bytes], digest: bytes) -> None:
    assert _find(b"".join(column), digest) == (column.index(digest) if digest in column else -1)


def test_two_stores_do_not_trust_for_each_other(tmp_path: object) -> None:
    index = StatIndex(f"{tmp_path}/index")
    Trust(index, LooseStore("/one")).add([b"\1" * 48])
    assert Trust(index, LooseStore("/one")).records([b"\1" * 16]) == {b"\1" * 16: b"\1" * 32}
    assert Trust(index, LooseStore("/two")).records([b"\1" * 16]) == {}
    index.close()
