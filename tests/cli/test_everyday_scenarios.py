"""Stories F, G and I again, with save, switch, restore and log in place of the rituals.

Each ritual's lines are what `test_scenarios` runs; here one line stands for them. Comments that begin with "Glue" mark
lines that are not the story's own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .test_scenarios import Desk, Office, md5_of


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def cached(desk: Desk) -> set[str]:
    """Returns the ids of the objects in a desk's cache."""
    return {path.parent.name + path.name for path in (desk.top / ".dvc/cache/files/md5").glob("??/*")}


def test_story_f_a_files_whole_life(office: Office) -> None:
    desk = office.desk("life")
    desk("kist init")
    desk("kist save -m 'Initialize DVC'")
    assert desk("git show --name-only --format=").split() == [".dvc/.gitignore", ".dvc/config", ".dvcignore"]
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
    # Nothing of it is left over, and the file itself is the person's own again.
    assert desk("git show --name-only --format=").split() == [".gitignore", "test.json.dvc"]
    assert desk.read(".gitignore") == "/test2.json\n" and desk.read("test.json") == first
    # On a terminal it asks; here it needs the word.
    desk("kist gc -ac", code=1)
    assert office.stored() == cached(desk) == {md5_of(first), md5_of(second)}
    desk("kist gc -ac -f")
    assert office.stored() == cached(desk) == {md5_of(second)}

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
    """Also story H: a job fills the data branch, old data leaves it, and storage is freed but for what models need."""
    desk = office.desk("project")
    desk("kist init --quiet")
    desk(f"kist remote add -d storage {office.storage}")
    desk(f"git init --quiet --bare {office.top}/hub.git && git remote add origin {office.top}/hub.git")
    desk("kist save -m 'An empty project' --push")
    desk("kist switch -c data/prices")
    days = ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]
    prices = {day: f"prices of {day}\n" for day in days}

    def job(day: str) -> None:
        """What the timer runs: a day's file comes into the branch; the others do not have to be there."""
        etl("git pull --quiet --ff-only")
        etl.write(f"prices/{day}.csv", prices[day])
        etl(f"kist save prices -m 'Prices of {day}' --tag prices-{day} --push")

    desk.write("prices/README", "a file a day\n")
    desk("kist save prices -m 'Prices' --push")
    # The job has a clone of its own, of its branch alone.
    etl = office.desk("etl")
    etl("rm -rf .git && git clone --quiet --branch data/prices ../hub.git .")
    for day in days[:3]:
        job(day)
    # What it never fetched is in the branch all the same.
    assert not etl.exists("prices/README")
    assert etl("kist list . prices").split() == [f"{day}.csv" for day in days[:3]] + ["README"]

    # A task begins with the data of a day; data, code and weights are one commit.
    desk("git fetch --quiet --tags")
    desk("kist switch -c task/forecast prices-2024-02-29")
    desk.write("train.py", "print('trained')\n")
    desk.write("weights.bin", "weights of February\n")
    desk("git add train.py")
    desk("kist save weights.bin -m 'First forecast' --tag forecast-1 --push")
    row = json.loads(desk("kist log weights.bin --json"))[0]
    assert row["tags"] == ["forecast-1"]
    assert desk(f"git show {row['commit']}:train.py") == "print('trained')\n"
    # Which data made it: the newest version of the data in that commit's history.
    data = json.loads(desk(f"kist log prices --rev {row['commit']} -n 1 --json"))[0]
    assert (data["subject"], data["tags"]) == ("Prices of 2024-02-29", ["prices-2024-02-29"])

    job(days[3])
    # Old data leaves the branch of data: first a look, which changes nothing.
    said = etl("kist expire --before 2024-04-01")
    assert "3 files" in said and "nothing has changed yet" in said
    assert etl("git status --porcelain") == "" and etl.exists("prices/2024-01-31.csv")
    etl("kist expire --before 2024-04-01 --apply")
    assert os.listdir(etl.top / "prices") == ["2024-04-30.csv"]
    etl("kist save -m 'Without the first quarter' --push")
    # The job goes on, and brings nothing back.
    prices["2024-05-31"] = "prices of May\n"
    job("2024-05-31")
    assert etl("kist list . prices").split() == ["2024-04-30.csv", "2024-05-31.csv", "README"]
    # Nothing is gone from the storage yet.
    assert {md5_of(text) for text in prices.values()} <= office.stored()

    # Storage is freed by gc. What a branch or a tag still names stays: the task was trained with two of the days.
    for day in ("2024-01-31", "2024-03-31", "2024-04-30"):
        etl(f"git tag --delete prices-{day} && git push --quiet origin :refs/tags/prices-{day}")
    etl("git fetch --quiet origin '+refs/heads/*:refs/heads/*' --update-head-ok --tags")
    said = etl("kist gc --all-branches --all-tags --cloud --dry")
    assert "prices/2024-03-31.csv" not in said
    etl("kist gc --all-branches --all-tags --cloud --force")
    assert md5_of(prices["2024-03-31"]) not in office.stored()
    kept = [text for day, text in prices.items() if day != "2024-03-31"]
    assert {md5_of(text) for text in [*kept, "weights of February\n"]} <= office.stored()

    # Someone new gets the model with its data, and the present data, whole.
    other = office.desk("other")
    other("rm -rf .git && git clone --quiet ../hub.git .")
    other("kist switch forecast-1")
    assert sorted(os.listdir(other.top / "prices")) == ["2024-01-31.csv", "2024-02-29.csv", "README"]
    assert other.read("prices/2024-01-31.csv") == prices["2024-01-31"]
    assert other.read("weights.bin") == "weights of February\n"
    other("kist switch data/prices")
    assert sorted(os.listdir(other.top / "prices")) == ["2024-04-30.csv", "2024-05-31.csv", "README"]
    assert not other.exists("weights.bin")
    assert other("kist status") == "Data and pipelines are up to date.\n"


def test_story_i_a_model_is_bound_to_a_tag(office: Office) -> None:
    desk = office.desk("models")
    desk("kist init --quiet")
    # Glue: a storage that is a folder, and the Git side of a server.
    desk(f"kist remote add -d storage {office.storage}")
    desk(f"git init --quiet --bare {office.top}/server.git && git remote add origin {office.top}/server.git")
    desk.write("model.bin", "weights v0\n")
    desk("mkdir tracked && kist add model.bin --file tracked/model.dvc")
    for version in ("v1", "v2", "v3"):
        desk.write("model.bin", f"weights {version}\n")
        # add, push, git add, git commit, git tag, git push, git push of the tag: one line, and nothing to forget.
        desk(f"kist save model.bin -m 'the text of {version}' --tag {version} --push")
        assert desk("git ls-files '*.dvc'") == "tracked/model.dvc\n"
        assert desk("git status --porcelain") == ""
        # The server has the branch, and the tag at it.
        heads = desk(f"git ls-remote origin master 'refs/tags/{version}^{{}}'").split()
        assert heads[::2] == [desk("git rev-parse HEAD").strip()] * 2
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
