"""References and names of experiments."""

from __future__ import annotations

import pytest

from kist.experiments.names import new_name
from kist.experiments.refs import BadNameError, Experiment, by_baseline, check_name, parse_refs, ref_of

BASE = "ab" + "0" * 38


def test_a_reference_says_name_and_baseline_and_back() -> None:
    ref = ref_of(BASE, "e-1")
    assert ref == f"refs/exps/ab/{'0' * 38}/e-1"
    assert parse_refs({ref: "c" * 40}) == [Experiment("e-1", BASE, "c" * 40)]
    assert parse_refs({ref: "c" * 40})[0].ref == ref


@pytest.mark.parametrize(
    "ref",
    ["refs/exps/stash", "refs/exps/exec/EXEC_HEAD", "refs/exps/celery/stash", "refs/exps/apply/ORIG_HEAD"],
)
def test_references_of_other_kinds_are_no_experiments(ref: str) -> None:
    assert parse_refs({ref: "c" * 40}) == []


def test_experiments_are_kept_by_baseline() -> None:
    one, two = Experiment("a", BASE, "1" * 40), Experiment("b", BASE, "2" * 40)
    assert by_baseline([one, two]) == {BASE: [one, two]}


@pytest.mark.parametrize("name", ["e1", "lr=0.1", "a.b", "ä", "x_y-z"])
def test_usual_names_are_allowed(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "a/b", "a b", "a..b", ".a", "a.lock", "a.", "-a", "a~1", "a^", "a:b", "@", "a@{1}"]
)
def test_names_that_git_refuses_are_refused(name: str) -> None:
    with pytest.raises(BadNameError):
        check_name(name)


def test_made_names_are_two_words_that_are_not_taken() -> None:
    names = {new_name(()) for _ in range(50)}
    for name in names:
        check_name(name)
        assert name.count("-") == 1
    assert len(names) > 40


def test_a_name_is_found_where_all_are_taken() -> None:
    class Everything(frozenset[str]):
        def __contains__(self, name: object) -> bool:
            return not str(name).endswith("-3")

    assert new_name(Everything()).endswith("-3")
