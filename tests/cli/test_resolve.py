"""`kist resolve`: what is listed, what a choice does, what stays for Git, and what is never thrown away."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from kist.formats.lockfile import render_lockfile
from kist.formats.metafile import parse_metafile
from kist.formats.records import Dependency, Digest, LockedStage, Lockfile, Output
from kist.testing.project import Project

from .helpers import copy_of, made_project, try_git


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository whose branch `theirs` and present branch `ours` changed the same things; nothing is merged yet."""
    project = made_project(tmp_path_factory.mktemp("template"))
    project.kist("install", "--quiet")
    project.git("config", "core.hooksPath", project.path(".git/no-hooks"))
    project.git("branch", "--move", "ours")
    project.commit()
    project.git("checkout", "--quiet", "-b", "theirs")
    project.write({"data/one.txt": "one, theirs\n", "data/two.txt": "two, theirs\n", "data/new.txt": "new\n"})
    project.write({"model.bin": "a model of theirs\n"})
    project.kist("add", "--quiet", "data", "model.bin")
    project.commit()
    project.git("checkout", "--quiet", "ours")
    project.kist("checkout", "--quiet")
    project.write({"data/one.txt": "one, ours\n", "data/two.txt": "two, ours\n", "data/mine.txt": "mine\n"})
    project.write({"model.bin": "our model\n"})
    project.kist("add", "--quiet", "data", "model.bin")
    project.commit()
    return project


@pytest.fixture
def forked(template: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    return copy_of(template, tmp_path)


@pytest.fixture
def stopped(forked: Project) -> Project:
    """The same in the middle of a merge of `theirs`: two files in `data` and `model.bin` clash."""
    status, said = try_git(forked, "merge", "theirs")
    assert status == 1, said
    return forked


def unmerged(project: Project) -> list[str]:
    return project.git("diff", "--name-only", "--diff-filter=U").split()


def clashes(project: Project) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(project.kist("resolve", "--json").out)["clashes"]
    return found


def test_without_a_merge_there_is_nothing_to_do(project: Project) -> None:
    assert project.kist("resolve").out == "Nothing clashes.\n"
    assert project.kist("resolve", "--theirs").out == "Nothing clashes.\n"
    document = json.loads(project.kist("resolve", "--json").out)
    assert (document["clashes"], document["settled"]) == ([], [])


def test_the_driver_says_what_clashes_and_how_to_go_on(forked: Project) -> None:
    _, said = try_git(forked, "merge", "theirs")
    assert "kist: 'data.dvc' clashes: 'data/one.txt', 'data/two.txt'; finish with `kist resolve`" in said
    assert "kist: 'model.dvc" not in said
    assert "kist: 'model.bin.dvc' clashes: 'model.bin'" in said


def test_the_list_names_both_sides_with_sizes_and_commits(stopped: Project) -> None:
    out = stopped.kist("resolve").out
    assert "Ours is 'ours', theirs is 'theirs'." in out
    assert "\tmodel.bin\tours: changed, 10 B\ttheirs: changed, 18 B\n" in out
    ours, theirs = (stopped.git("rev-parse", "--short=7", name).strip() for name in ("ours", "theirs"))
    assert f"ours 2024-01-01 {ours} A Person; theirs 2024-01-01 {theirs} A Person" in out


def test_the_list_as_json(stopped: Project) -> None:
    document = json.loads(stopped.kist("resolve", "--json").out)
    ours, theirs = (stopped.git("rev-parse", name).strip() for name in ("ours", "theirs"))
    assert document["operation"] == "merge"
    assert document["theirs"] == {"name": "'theirs'", "commit": theirs}
    assert [item["path"] for item in document["clashes"]] == ["data/one.txt", "data/two.txt", "model.bin"]
    item = document["clashes"][2]
    assert item == {
        "metafile": "model.bin.dvc",
        "path": "model.bin",
        "field": None,
        "note": None,
        "choice": None,
        "ours": {
            "state": "changed",
            "oids": [hashlib.md5(b"our model\n").hexdigest()],
            "size": 10,
            "changed": {"commit": ours, "date": "2024-01-01T00:00:00+00:00", "author": "A Person"},
        },
        "theirs": {
            "state": "changed",
            "oids": [hashlib.md5(b"a model of theirs\n").hexdigest()],
            "size": 18,
            "changed": {"commit": theirs, "date": "2024-01-01T00:00:00+00:00", "author": "A Person"},
        },
    }
    assert stopped.try_kist("resolve", "--quiet").code == 1


def test_listing_changes_nothing(stopped: Project) -> None:
    before = stopped.git("ls-files", "--stage"), stopped.read("data.dvc"), stopped.files("data")
    stopped.kist("resolve")
    assert (stopped.git("ls-files", "--stage"), stopped.read("data.dvc"), stopped.files("data")) == before


@pytest.mark.parametrize(
    ("side", "one", "model"),
    [("--ours", "one, ours\n", "our model\n"), ("--theirs", "one, theirs\n", "a model of theirs\n")],
)
def test_one_choice_finishes_all_and_brings_the_data(
    stopped: Project, side: str, one: str, model: str
) -> None:
    answer = stopped.kist("resolve", side)
    assert unmerged(stopped) == []
    assert stopped.read("data/one.txt") == one
    assert stopped.read("data/new.txt") == "new\n"
    assert stopped.read("data/mine.txt") == "mine\n"
    assert stopped.read("model.bin") == model
    name = side.removeprefix("--")
    assert f"{name} ('{name}')\tdata/one.txt\n" in answer.out
    assert "hint: git commit\n" in answer.err
    stopped.git("commit", "--quiet", "--no-edit")
    assert stopped.git("status", "--porcelain") == ""
    assert stopped.kist("status").out == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("data/one.txt", {"data/one.txt"}),
        ("data", {"data/one.txt", "data/two.txt"}),
        ("data.dvc", {"data/one.txt", "data/two.txt"}),
        ("model.bin", {"model.bin"}),
        (".", {"data/one.txt", "data/two.txt", "model.bin"}),
    ],
)
def test_a_target_means_what_is_at_it_or_below(stopped: Project, target: str, meant: set[str]) -> None:
    answer = json.loads(stopped.kist("resolve", "--theirs", "--json", target).out)
    assert {item["path"] for item in answer["chosen"]} == meant
    assert {item["path"] for item in answer["left"]} == {"data/one.txt", "data/two.txt", "model.bin"} - meant


def test_targets_are_relative_to_where_the_person_stands(stopped: Project) -> None:
    answer = json.loads(stopped.kist("resolve", "--theirs", "--json", "../model.bin", cwd="sub").out)
    assert [item["path"] for item in answer["chosen"]] == ["../model.bin"]


def test_a_target_at_which_nothing_clashes_is_refused(stopped: Project) -> None:
    answer = stopped.try_kist("resolve", "--theirs", "data/mine.txt", "model.bin")
    assert answer.code == 1
    assert answer.err.startswith("error: cannot resolve 'data/mine.txt': nothing clashes there\n")
    assert len(unmerged(stopped)) == 2


def test_sides_can_be_chosen_one_after_the_other(stopped: Project) -> None:
    stopped.kist("resolve", "--ours", "data/one.txt")
    assert unmerged(stopped) == ["data.dvc", "model.bin.dvc"]
    assert [item["choice"] for item in clashes(stopped)] == ["ours", None, None]
    assert "ours: changed, 10 B (chosen)" in stopped.kist("resolve").out
    stopped.kist("resolve", "--theirs", "data/two.txt")
    assert unmerged(stopped) == ["model.bin.dvc"]
    stopped.kist("resolve", "--theirs", "model.bin")
    assert unmerged(stopped) == []
    assert stopped.read("data/one.txt") == "one, ours\n"
    assert stopped.read("data/two.txt") == "two, theirs\n"
    assert not stopped.exists(".dvc/tmp/kist/choices.json")


def test_what_was_chosen_before_stays_when_the_rest_is_chosen_otherwise(stopped: Project) -> None:
    stopped.kist("resolve", "--ours", "data/one.txt")
    stopped.kist("resolve", "--theirs", "data/two.txt", "model.bin")
    assert stopped.read("data/one.txt") == "one, ours\n"


def test_a_choice_does_not_count_for_another_merge(stopped: Project) -> None:
    stopped.kist("resolve", "--theirs", "data/one.txt")
    stopped.git("merge", "--abort")
    stopped.write({"data/one.txt": "another\n"})
    stopped.kist("add", "--quiet", "data")
    stopped.commit()
    assert try_git(stopped, "merge", "theirs")[0] == 1
    assert [item["choice"] for item in clashes(stopped)] == [None, None, None]


def test_choices_that_are_garbage_are_asked_again(stopped: Project) -> None:
    stopped.kist("resolve", "--ours", "data/one.txt")
    stopped.write({".dvc/tmp/kist/choices.json": "[1"})
    assert [item["choice"] for item in clashes(stopped)] == [None, None, None]
    stopped.kist("resolve", "--theirs")
    assert unmerged(stopped) == []


class Terminal:
    """A person at the keyboard."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self.answers.pop(0) + "\n" if self.answers else ""


def test_each_clash_is_asked_for_once(stopped: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Terminal("what", "t", "o", "theirs")
    monkeypatch.setattr(sys, "stdin", person)
    answer = stopped.kist("resolve", "--each")
    assert person.answers == []
    assert answer.err.count("data/one.txt: ours (changed, 10 B) or theirs (changed, 12 B)? [o/t/s/q] ") == 2
    assert stopped.read("data/one.txt") == "one, theirs\n"
    assert stopped.read("data/two.txt") == "two, ours\n"
    assert stopped.read("model.bin") == "a model of theirs\n"
    assert unmerged(stopped) == []


def test_who_stops_answering_keeps_the_answers(stopped: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("s", "t", "q"))
    answer = stopped.kist("resolve", "--each")
    assert "2 left to choose" in answer.err
    assert [item["choice"] for item in clashes(stopped)] == [None, "theirs", None]


def test_nobody_is_asked_without_a_terminal(stopped: Project) -> None:
    answer = stopped.try_kist("resolve", "--each")
    assert answer.code == 1
    assert "hint: choose with `kist resolve --ours`" in answer.err


def test_two_ways_to_choose_are_a_mistake(stopped: Project) -> None:
    assert stopped.try_kist("resolve", "--ours", "--theirs").code == 254


def test_a_metafile_that_was_changed_since_is_not_overwritten(stopped: Project) -> None:
    stopped.write({"model.bin": "a third model\n"})
    stopped.kist("add", "--quiet", "model.bin")
    third = stopped.read("model.bin.dvc")
    answer = stopped.try_kist("resolve", "--theirs")
    assert answer.code == 1
    assert "git add model.bin.dvc" in answer.err
    assert stopped.read("model.bin.dvc") == third
    assert unmerged(stopped) == ["data.dvc", "model.bin.dvc"]
    stopped.git("add", "model.bin.dvc")
    stopped.kist("resolve", "--theirs")
    assert stopped.read("model.bin") == "a third model\n"
    assert stopped.read("data/one.txt") == "one, theirs\n"


def test_the_conflict_comes_back_with_git_checkout_merge(stopped: Project) -> None:
    before = stopped.read("data.dvc")
    stopped.write({"data.dvc": "outs: []\n"})
    assert try_git(stopped, "checkout", "--merge", "--", "data.dvc")[0] == 0
    assert stopped.read("data.dvc") == before


def test_unsaved_data_stays_and_is_named(stopped: Project) -> None:
    stopped.write({"model.bin": "never added\n"})
    answer = stopped.kist("resolve", "--theirs")
    assert unmerged(stopped) == []
    assert stopped.read("model.bin") == "never added\n"
    assert "warning: " in answer.err and "model.bin" in answer.err


def test_data_can_be_left_alone(stopped: Project) -> None:
    stopped.kist("resolve", "--theirs", "--no-checkout")
    assert stopped.read("model.bin") == "our model\n"


def test_gc_refuses_while_a_merge_is_unfinished(stopped: Project) -> None:
    before = stopped.objects()
    answer = stopped.try_kist("gc", "--workspace", "--force")
    assert answer.code != 0
    assert (
        "error: cannot remove unneeded data: a merge is unfinished: 'data.dvc', 'model.bin.dvc' clash"
        in answer.err
    )
    assert stopped.objects() == before
    stopped.kist("resolve", "--theirs")
    stopped.kist("gc", "--workspace", "--force")


def test_status_says_that_a_merge_is_unfinished(stopped: Project) -> None:
    answer = stopped.kist("status")
    assert (
        "warning: a merge is unfinished: 'data.dvc', 'model.bin.dvc' clash\nhint: kist resolve\n"
        in answer.err
    )
    assert json.loads(stopped.kist("status", "--json").out)
    stopped.kist("resolve", "--theirs")
    assert "unfinished" not in stopped.kist("status").err


@pytest.mark.parametrize(
    ("words", "model"),
    [(["checkout", "--ours"], "our model\n"), (["checkout", "--theirs"], "a model of theirs\n")],
)
def test_gits_own_ways_to_choose_work(stopped: Project, words: list[str], model: str) -> None:
    stopped.git(*words, "--", "data.dvc", "model.bin.dvc")
    stopped.git("add", "data.dvc", "model.bin.dvc")
    stopped.kist("checkout", "--quiet")
    assert stopped.read("model.bin") == model
    assert stopped.exists("data/new.txt") == (words[1] == "--theirs")


def test_a_merge_can_be_given_up(stopped: Project) -> None:
    stopped.kist("resolve", "--theirs", "data/one.txt")
    stopped.git("merge", "--abort")
    assert stopped.git("status", "--porcelain") == ""
    stopped.kist("checkout", "--quiet")
    assert stopped.read("data/one.txt") == "one, ours\n"
    assert not stopped.exists("data/new.txt")


def test_what_git_merged_without_the_driver_is_resolved_too(forked: Project) -> None:
    forked.git("config", "--remove-section", "merge.kist")
    assert try_git(forked, "merge", "theirs")[0] == 1
    assert "<<<<<<< " in forked.read("data.dvc")
    forked.kist("resolve", "--theirs")
    assert unmerged(forked) == []
    assert forked.files("data") == {
        "one.txt": "one, theirs\n",
        "two.txt": "two, theirs\n",
        "new.txt": "new\n",
        "mine.txt": "mine\n",
        "deep/three.txt": "three\n",
    }


def test_in_a_rebase_the_sides_have_names(forked: Project) -> None:
    forked.git("checkout", "--quiet", "theirs")
    assert try_git(forked, "rebase", "ours")[0] == 1
    commit = forked.git("rev-parse", "--short=7", "theirs").strip()
    out = forked.kist("resolve").out
    assert f"A rebase is unfinished. Ours is 'ours', theirs is commit {commit} of 'theirs'." in out
    answer = forked.kist("resolve", "--theirs")
    assert f"theirs (commit {commit} of 'theirs')\tmodel.bin" in answer.out
    assert "hint: git rebase --continue\n" in answer.err
    assert forked.read("model.bin") == "our model\n"  # the data comes when the rebase is over


@pytest.mark.parametrize(
    ("words", "theirs"), [(["cherry-pick", "theirs"], "commit "), (["revert", "theirs"], "what was before ")]
)
def test_other_operations_have_names_for_their_sides(forked: Project, words: list[str], theirs: str) -> None:
    assert try_git(forked, *words)[0] == 1
    commit = forked.git("rev-parse", "--short=7", "theirs").strip()
    assert (
        f"A {words[0]} is unfinished. Ours is 'ours', theirs is {theirs}{commit}."
        in forked.kist("resolve").out
    )


# Manifests that are elsewhere


@pytest.fixture
def apart(forked: Project) -> Project:
    """Objects that only `theirs` names are on the remote and not in the cache."""
    mine = set(forked.objects())
    forked.kist("remote", "add", "--default", "--quiet", "store", forked.root + "-store")
    forked.git("checkout", "--quiet", "theirs")
    forked.kist("checkout", "--quiet")
    forked.kist("push", "--quiet")
    theirs = {
        parse_metafile(forked.read(name).encode(), name=name).outs[0].digest
        for name in ("data.dvc", "model.bin.dvc")
    }
    forked.git("checkout", "--quiet", "ours")
    forked.kist("checkout", "--quiet")
    for digest in theirs:
        assert digest is not None and digest.value in mine
        os.unlink(forked.path(f".dvc/cache/files/md5/{digest.value[:2]}/{digest.value[2:]}"))
    return forked


def test_a_manifest_that_the_cache_lacks_is_fetched(apart: Project) -> None:
    assert try_git(apart, "merge", "theirs")[0] == 1
    assert [item["path"] for item in clashes(apart)] == ["data/one.txt", "data/two.txt", "model.bin"]
    answer = apart.kist("resolve", "--theirs")
    assert apart.read("data/one.txt") == "one, theirs\n"
    assert "hint: kist pull\n" in answer.err  # the model is on the remote alone
    apart.kist("pull", "--quiet")
    assert apart.read("model.bin") == "a model of theirs\n"


def test_a_manifest_that_cannot_be_had_is_a_clash_that_says_so(apart: Project) -> None:
    os.rename(apart.root + "-store", apart.root + "-away")
    _, said = try_git(apart, "merge", "theirs")
    line = next(line for line in said.splitlines() if line.startswith("kist: 'data.dvc' clashes: 'data' ("))
    assert "is missing from the cache" in line
    assert [item["path"] for item in clashes(apart)] == ["data", "model.bin"]
    os.rename(apart.root + "-away", apart.root + "-store")
    assert [item["path"] for item in clashes(apart)] == ["data/one.txt", "data/two.txt", "model.bin"]


def test_without_a_remote_too(forked: Project) -> None:
    shutil.rmtree(forked.path(".dvc/cache"))
    status, said = try_git(forked, "merge", "theirs")
    assert status == 1
    assert "no remote can be asked" in said
    forked.kist("resolve", "--theirs", "--no-checkout")
    assert unmerged(forked) == []
    assert forked.git("diff", "theirs", "--", "data.dvc", "model.bin.dvc") == ""


# Pipelines, and files beside the metafiles


def lock(**runs: tuple[str, str]) -> str:
    stages = {
        name: LockedStage(
            "go",
            (Dependency("in", Digest("md5", dep * 32), 1),),
            {},
            (Output(name, Digest("md5", out * 32), 1),),
        )
        for name, (dep, out) in runs.items()
    }
    return render_lockfile(Lockfile(stages)).decode()


def test_stages_of_a_pipeline_are_merged_and_resolved_by_name(forked: Project) -> None:
    stages = "".join(
        f"  {name}:\n    cmd: go\n    deps:\n    - in\n    outs:\n    - {name}\n" for name in "abc"
    )
    forked.git("reset", "--quiet", "--hard", "ours~1")
    forked.write(
        {
            "pipe/dvc.yaml": f"stages:\n{stages}",
            "pipe/dvc.lock": lock(a=("1", "a"), b=("1", "a"), c=("1", "a")),
        }
    )
    forked.commit()
    forked.git("branch", "--force", "theirs")
    forked.write({"pipe/dvc.lock": lock(a=("1", "b"), b=("2", "b"), c=("1", "a"))})
    forked.commit()
    forked.git("checkout", "--quiet", "theirs")
    forked.write({"pipe/dvc.lock": lock(a=("1", "a"), b=("3", "c"), c=("3", "c"))})
    forked.commit()
    forked.git("checkout", "--quiet", "ours")
    _, said = try_git(forked, "merge", "theirs")
    assert "kist: 'pipe/dvc.lock' clashes: 'b'" in said
    assert forked.read("pipe/dvc.lock") == lock(a=("1", "b"), b=("2", "b"), c=("3", "c"))
    assert [item["path"] for item in clashes(forked)] == ["pipe/dvc.yaml:b"]
    forked.kist("resolve", "--theirs", "--no-checkout", "pipe/dvc.yaml:b")
    assert forked.read("pipe/dvc.lock") == lock(a=("1", "b"), b=("3", "c"), c=("3", "c"))
    assert unmerged(forked) == []


def test_a_gitignore_that_one_side_emptied_needs_no_choice(forked: Project) -> None:
    forked.kist("remove", "--quiet", "sub/table.csv.dvc")
    forked.commit()
    assert not forked.exists("sub/.gitignore")
    forked.git("checkout", "--quiet", "theirs")
    forked.write({"sub/more.csv": "c\n"})
    forked.kist("add", "--quiet", "sub/more.csv")
    forked.commit()
    forked.git("checkout", "--quiet", "ours")
    try_git(forked, "merge", "theirs")
    assert "sub/.gitignore" in unmerged(forked)
    forked.kist("resolve", "--ours", "--no-checkout")
    assert unmerged(forked) == []
    assert forked.read("sub/.gitignore") == "/more.csv\n"


def test_a_gitignore_with_rules_of_a_person_is_gits(forked: Project) -> None:
    forked.write({".gitignore": forked.read(".gitignore") + "*.o\n"})
    forked.commit()
    forked.git("checkout", "--quiet", "theirs")
    forked.write({".gitignore": forked.read(".gitignore") + "*.a\n"})
    forked.commit()
    forked.git("checkout", "--quiet", "ours")
    try_git(forked, "merge", "theirs")
    assert "<<<<<<< " in forked.read(".gitignore")
    forked.kist("resolve", "--ours", "--no-checkout")
    assert unmerged(forked) == [".gitignore"]
