"""Stories F, G and I again, with save, switch, restore and log in place of the rituals.

Each ritual's lines are what `test_scenarios` runs; here one line stands for them. Comments that begin with "Glue" mark
lines that are not the story's own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .test_scenarios import Office, md5_of


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_story_f_a_files_whole_life(office: Office) -> None:
    desk = office.desk("life")
    desk("kist init")
    desk("kist save -m 'Initialize DVC'")
    desk('echo "{\\"test\\": \\"test data.\\"}" >> test.json')
    desk("kist save test.json -m 'Add test data'")
    assert desk("git ls-files test.json.dvc .gitignore") == ".gitignore\ntest.json.dvc\n"
    assert desk("git status --porcelain") == ""
    # Glue: a storage that is a folder.
    desk(f"kist remote add -d storage {office.storage}")
    desk("kist save -m 'Configure remote storage'")
    assert desk("git show --name-only --format=") == ".dvc/config\n"
    desk("kist push")
    first = '{"test": "test data."}\n'
    assert office.stored() == {md5_of(first)}

    # Glue: neither the workspace nor the cache has it any more.
    desk("rm test.json && rm -r .dvc/cache")
    desk("kist restore test.json")
    assert desk.read("test.json") == first

    # Glue: the Git side of a hub.
    desk(f"git init --quiet --bare {office.top}/hub.git && git remote add origin {office.top}/hub.git")
    desk('echo "{"test": "test2 data."}" >> test2.json')
    desk("kist save test2.json -m 'Data added' --push")
    second = "{test: test2 data.}\n"
    assert office.stored() == {md5_of(first), md5_of(second)}
    assert desk("git ls-remote origin master").split()[0] == desk("git rev-parse HEAD").strip()
    desk("kist remove test.json.dvc")
    desk("kist save -m 'removed' --push")
    desk("kist gc -ac -f")
    assert office.stored() == {md5_of(second)}

    desk("kist switch -c version_2")
    desk.write("test2.json", "changed\n")
    desk("kist save -m 'changed'")
    desk("kist switch master")
    assert desk.read("test2.json") == second
    desk("kist switch version_2")
    assert desk.read("test2.json") == "changed\n"
    rows = json.loads(desk("kist log test2.json --json"))
    assert [row["subject"] for row in rows] == ["changed", "Data added"]
    # The removed file is in the history for ever; only its data was given up.
    rows = json.loads(desk("kist log test.json --json"))
    assert [(row["subject"], row["outputs"][0]["change"]) for row in rows] == [
        ("removed", "removed"),
        ("Add test data", "added"),
    ]


def test_story_g_a_branch_of_data_and_a_branch_of_a_task(office: Office) -> None:
    desk = office.desk("project")
    desk("kist init --quiet")
    desk(f"kist remote add -d storage {office.storage}")
    desk("kist save -m 'An empty project'")
    desk("kist switch -c data/prices")
    desk.write("prices/2024-01.csv", "1\n")
    desk("kist save prices -m 'January'")
    desk.write("prices/2024-02.csv", "2\n")
    desk("kist save -m 'February' --tag prices-2024-02")
    desk("kist switch master")
    assert not desk.exists("prices/2024-01.csv")
    desk("kist switch -c task/forecast prices-2024-02")
    desk.write("train.py", "print('trained')\n")
    desk.write("weights.bin", "weights\n")
    desk("git add train.py")
    desk("kist save weights.bin -m 'First forecast'")
    # Which data and code trained which model: one commit has all three.
    row = json.loads(desk("kist log weights.bin --json"))[0]
    assert desk(f"git show {row['commit']}:train.py") == "print('trained')\n"
    desk("kist switch data/prices")
    desk.write("prices/2024-03.csv", "3\n")
    desk("kist save -m 'March'")
    desk(f"kist switch {row['commit']}")
    assert sorted(os.listdir(desk.top / "prices")) == ["2024-01.csv", "2024-02.csv"]
    assert desk.read("weights.bin") == "weights\n"
    assert "up to date" in desk("kist status")


def test_story_i_a_model_is_bound_to_a_tag(office: Office) -> None:
    desk = office.desk("models")
    desk("kist init --quiet")
    # Glue: a storage that is a folder, and the Git side of a server.
    desk(f"kist remote add -d storage {office.storage}")
    desk(f"git init --quiet --bare {office.top}/server.git && git remote add origin {office.top}/server.git")
    for version in ("v1", "v2", "v3"):
        desk.write("model.bin", f"weights {version}\n")
        # add, push, git add, git commit, git tag, git push, git push of the tag: one line, and nothing to forget.
        desk(f"kist save model.bin -m 'the text of {version}' --tag {version} --push")
        assert desk(f"git tag --list --format='%(contents)' {version}").strip() == f"the text of {version}"
    assert office.stored() == {md5_of(f"weights {version}\n") for version in ("v1", "v2", "v3")}

    clone = office.desk("clone")
    clone("rm -rf .git && git clone --quiet ../server.git .")
    for version in ("v1", "v2", "v3"):
        clone(f"kist switch -c branch-{version} {version}")
        assert clone.read("model.bin") == f"weights {version}\n"
    clone("kist restore model.bin --rev v2")
    assert clone.read("model.bin") == "weights v2\n"
    clone("kist save -m 'back to the second'")
    rows = json.loads(clone("kist log model.bin --json --cloud"))
    assert [(row["tags"], row["in_remote"]) for row in rows] == [
        ([], True),
        (["v3"], True),
        (["v2"], True),
        (["v1"], True),
    ]
