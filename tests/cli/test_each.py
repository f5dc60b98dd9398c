"""Stages that take the items of a directory one by one."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from kist.base.processes import pid_space
from kist.testing.project import Answer, Project

SCRIPT = """\
echo "$KIST_ITEM_NAME" >> ran
find "${KIST_ITEM:-in}" -type f | while read -r file; do
  mkdir -p "${KIST_OUT:-out}/sub"
  tr a-z A-Z < "$file" > "${KIST_OUT:-out}/sub/$(basename "$file").up"
done
"""
STAGES = """\
stages:
  up:
    cmd: sh up.sh
    deps: [in, up.sh]
    params: [lr]
    outs: [out]
    meta: {kist: {each: in}}
"""
ITEMS = {"in/a": "a\n", "in/b": "b\n", "in/c/one": "one\n", "in/c/two": "two\n"}


def run(project: Project, *words: str) -> Answer:
    return project.try_kist(*words)


@pytest.fixture
def each(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("SHELL", "/bin/sh")
    project.write({"dvc.yaml": STAGES, "up.sh": SCRIPT, "params.yaml": "lr: 1\n", **ITEMS})
    return project


def ran(project: Project, *words: str) -> list[str]:
    """Returns the items that the command ran for."""
    if project.exists("ran"):
        os.unlink(project.path("ran"))
    done = run(project, "repro", *words)
    assert done.code == 0, done
    return sorted(project.read("ran").split()) if project.exists("ran") else []


def outputs(project: Project) -> dict[str, str]:
    return project.files("out")


ALL = {"sub/a.up": "A\n", "sub/b.up": "B\n", "sub/one.up": "ONE\n", "sub/two.up": "TWO\n"}


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_each_item_runs_once_and_unchanged_ones_never_again(each: Project, jobs: str) -> None:
    assert ran(each, "-j", jobs) == ["a", "b", "c"]
    assert outputs(each) == ALL
    each.write({"in/b": "changed\n", "in/d": "new\n"})
    assert ran(each, "-j", jobs) == ["b", "d"]
    assert outputs(each) == ALL | {"sub/b.up": "CHANGED\n", "sub/d.up": "NEW\n"}
    assert run(each, "repro").out.endswith("Data and pipelines are up to date.\n")


def test_of_an_item_that_is_gone_nothing_is_left(each: Project) -> None:
    ran(each)
    os.unlink(each.path("in/a"))
    os.unlink(each.path("in/c/two"))
    assert ran(each) == ["c"]
    assert outputs(each) == {"sub/b.up": "B\n", "sub/one.up": "ONE\n"}
    os.unlink(each.path("in/b"))
    assert ran(each) == []
    assert outputs(each) == {"sub/one.up": "ONE\n"}


def test_a_change_of_what_all_items_share_runs_all_of_them(each: Project) -> None:
    ran(each)
    each.write({"params.yaml": "lr: 2\n"})
    assert ran(each) == ["a", "b", "c"]
    each.write({"up.sh": SCRIPT + "# other\n"})
    assert ran(each) == ["a", "b", "c"]
    each.write({"dvc.yaml": STAGES.replace("sh up.sh", "sh ./up.sh")})
    assert ran(each) == ["a", "b", "c"]
    each.write({"in/a": "other\n"})
    assert ran(each, "--force") == ["a", "b", "c"]
    each.write({"in/a": "third\n"})
    assert ran(each, "--no-run-cache") == ["a", "b", "c"]


def test_what_an_item_made_that_changed_meanwhile_is_not_kept(each: Project) -> None:
    each.write({"up.sh": "test -e edited || { echo changed > in/b; touch edited; }\n" + SCRIPT})
    assert ran(each) == ["a", "b", "c"]
    assert outputs(each) == ALL | {"sub/b.up": "CHANGED\n"}
    each.write({"in/b": "b\n"})
    assert ran(each) == ["b"]
    assert outputs(each) == ALL


def test_the_lock_is_that_of_the_whole_directory_at_once(each: Project) -> None:
    ran(each, "-j", "2")
    lock = each.read("dvc.lock")
    os.unlink(each.path("dvc.lock"))
    each.write({"dvc.yaml": STAGES.replace("    meta: {kist: {each: in}}\n", "")})
    assert run(each, "repro", "-f").code == 0
    assert each.read("dvc.lock") == lock


def test_after_a_failure_only_what_is_not_finished_runs(each: Project) -> None:
    broken = SCRIPT.replace("find ", 'test "$KIST_ITEM_NAME" != b || test -e mended || exit 5\nfind ', 1)
    each.write({"up.sh": broken})
    done = run(each, "repro")
    assert done.code == 255
    assert "failed to run: sh up.sh, exited with 5" in done.err
    each.write({"mended": ""})
    assert ran(each) == ["b", "c"]
    assert outputs(each) == ALL


def test_what_people_write_into_the_output_is_gone(each: Project) -> None:
    ran(each)
    each.write({"out/sub/a.up": "mine\n", "out/mine": "mine\n", "in/b": "x\n"})
    assert ran(each) == ["b"]
    assert outputs(each) == ALL | {"sub/b.up": "X\n"}


def test_items_that_make_the_same_path_are_named(each: Project) -> None:
    each.write({"up.sh": 'touch "$KIST_OUT/same"\n'})
    done = run(each, "repro")
    assert done.code == 255
    assert "the items 'a' and 'b' both make 'same'" in done.err
    each.write(
        {
            "up.sh": "test $KIST_ITEM_NAME = a && mkdir $KIST_OUT/x && touch $KIST_OUT/x/y || touch $KIST_OUT/x\n"
        }
    )
    done = run(each, "repro")
    assert done.code == 255
    assert "'x'" in done.err


def test_a_link_to_a_folder_is_refused_instead_of_lost(each: Project) -> None:
    each.write({"up.sh": 'mkdir "$KIST_OUT/d"\nln -s d "$KIST_OUT/l"\n'})
    done = run(each, "repro")
    assert done.code == 255
    assert "the item 'a' made 'l', a link to a folder" in done.err


def test_working_folders_of_the_dead_are_removed_but_not_those_of_another_container(each: Project) -> None:
    gone = subprocess.run(["sh", "-c", "echo $$"], check=True, capture_output=True, text=True).stdout.strip()
    boot, _, number = pid_space().partition(".")
    dead, elsewhere = (f"each-{gone}-1-{boot}.{int(number) + more}" for more in (0, 1))
    for name in (dead, elsewhere):
        os.makedirs(each.path(f".dvc/tmp/kist/{name}"))
    ran(each)
    assert [name for name in os.listdir(each.path(".dvc/tmp/kist")) if name.startswith("each-")] == [
        elsewhere
    ]


def test_a_lost_or_damaged_record_runs_its_item_again(each: Project) -> None:
    ran(each)
    records = each.path(".dvc/cache/kist-each")
    kept = sorted(os.path.join(folder, name) for folder, _, names in os.walk(records) for name in names)
    assert len(kept) == 3
    with open(kept[0], "wb") as stream:
        stream.write(b'[{"md5": "..", "relpath": "../../x"}]')
    os.unlink(kept[1])
    each.write({"in/z": "z\n"})
    assert len(ran(each)) == 3
    assert outputs(each) == ALL | {"sub/z.up": "Z\n"}


def test_gc_keeps_what_present_results_consist_of(each: Project) -> None:
    ran(each)
    each.write({"in/b": "x\n"})
    ran(each)
    assert run(each, "gc", "-w", "-f").code == 0
    each.write({"in/d": "d\n"})
    assert ran(each) == ["d"]
    each.write({"in/b": "b\n"})
    assert ran(each) == ["b"]


def test_without_commit_nothing_is_kept(each: Project) -> None:
    assert ran(each, "--no-commit") == ["a", "b", "c"]
    assert not each.exists(".dvc/cache/kist-each")
    assert outputs(each) == ALL


def test_each_line_names_its_item_where_several_run(each: Project) -> None:
    each.write({"up.sh": SCRIPT + "echo done\n"})
    done = run(each, "repro", "-j", "2")
    lines = done.out.splitlines()
    assert {"up[a] | done", "up[b] | done", "up[c] | done"} <= set(lines)
    assert "up | 3 of 3 items are to run" in lines
    assert json.loads(run(each, "stage", "times", "--json").out)["up"]["wall_s"] > 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("each: in}", "each: nope}", "`each` names 'nope', which is no dependency"),
        ("each: in}", "each: up.sh}", "'up.sh' is no directory"),
        ("[out]", "[out, more]", "it has to have one output"),
        ("[out]", "[{out: {persist: true}}]", "it has to have one output"),
    ],
)
def test_a_stage_that_cannot_run_item_by_item_is_refused(
    each: Project, old: str, new: str, message: str
) -> None:
    each.write({"dvc.yaml": STAGES.replace(old, new)})
    done = run(each, "repro")
    assert done.code == 255
    assert message in done.err
