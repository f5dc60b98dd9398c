"""The stories, their command lines word for word, with a folder as the storage.

Lines go through a shell with `kist` on the PATH, as a person types them. Lines that set up a server name a server, and
only what they write is looked at; the storage is then put where the test can reach it. Comments that begin with "Glue"
mark lines that are not the story's own.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from hashlib import md5
from pathlib import Path

import pytest


class Desk:
    """A person's shell in one folder.

    Attributes:
        top: the folder.
        programs: the folder of `kist`.
    """

    def __init__(self, top: Path, programs: Path) -> None:
        self.top = top
        self.programs = programs

    def __call__(self, line: str, *, code: int = 0) -> str:
        """Runs a line, which must end with this status; returns what it wrote to stdout, and stderr after it."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.top,
            env={**os.environ, "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{line}: {done}"
        return done.stdout + done.stderr

    def read(self, rel: str) -> str:
        return (self.top / rel).read_text()

    def write(self, rel: str, text: str) -> None:
        path = self.top / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)

    def exists(self, rel: str) -> bool:
        return os.path.lexists(self.top / rel)


class Office:
    """Where desks are put up, all with the same storage.

    Attributes:
        storage: a folder that no command made yet.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.storage = top / "storage"
        self._programs = top / "programs"
        self._programs.mkdir()
        shim = self._programs / "kist"
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kist.cli.main "$@"\n')
        shim.chmod(0o755)

    def desk(self, name: str) -> Desk:
        """Returns a shell in a new Git repository."""
        path = self.top / name
        path.mkdir()
        desk = Desk(path, self._programs)
        desk("git init --quiet --initial-branch=master")
        return desk

    def clone(self, desk: Desk, name: str) -> Desk:
        """Returns a shell in a new clone of another desk's repository."""
        desk(f"git clone --quiet . ../{name}")
        return Desk(self.top / name, self._programs)

    def stored(self) -> set[str]:
        """Returns the ids of all objects in the storage."""
        return objects(self.storage / "files" / "md5")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def objects(folder: Path) -> set[str]:
    return {path.parent.name + path.name for path in folder.glob("??/*")}


def md5_of(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


HUB_LINES = (
    "kist remote modify origin --local auth basic",
    "kist remote modify origin --local user ada",
    "kist remote modify origin --local ask_password true",
)


def test_story_a_a_project_is_shared_and_an_old_version_comes_back(office: Office) -> None:
    ada = office.desk("ada")
    ada("kist init --quiet")
    ada("kist remote add https://hub.invalid/ada/project.dvc")
    for line in HUB_LINES:
        ada(line)
    assert ada.read(".dvc/config") == "['remote \"origin\"']\n    url = https://hub.invalid/ada/project.dvc\n"
    assert ada.read(".dvc/config.local") == (
        "['remote \"origin\"']\n    auth = basic\n    user = ada\n    ask_password = true\n"
    )
    assert "config.local" not in ada("git status --short --untracked-files=all")

    # Glue: a storage that is a folder, and two versions of the data.
    ada(f"rm .dvc/config.local && kist remote modify origin url {office.storage}")
    ada.write("data/one.txt", "one\n")
    ada.write("data/two.txt", "two\n")
    ada("kist add data && git add . && git commit --quiet -m first && git tag first")
    ada("kist push -r origin")
    ada.write("data/one.txt", "one, better\n")
    (ada.top / "data/two.txt").unlink()
    ada.write("data/three.txt", "three\n")
    ada("kist add data && git add . && git commit --quiet -m second")
    ada("kist push -r origin")

    colleague = office.clone(ada, "colleague")
    colleague("kist pull -r origin")
    assert sorted(os.listdir(colleague.top / "data")) == ["one.txt", "three.txt"]
    assert colleague.read("data/one.txt") == "one, better\n"
    assert colleague.read("data/three.txt") == "three\n"

    ada("git checkout --quiet first")
    ada("kist checkout")
    assert sorted(os.listdir(ada.top / "data")) == ["one.txt", "two.txt"]
    assert (ada.read("data/one.txt"), ada.read("data/two.txt")) == ("one\n", "two\n")
    assert "up to date" in ada("kist status")


def test_story_c_labels_change_and_only_what_changed_is_stored(office: Office) -> None:
    desk = office.desk("labels")
    desk("kist init --quiet")
    for number in range(5):
        desk.write(f"data/images/{number}.png", f"picture {number}\n")
        desk.write(f"data/labels/{number}.json", f"label {number}, first try\n")
    desk("kist add data && git add . && git commit --quiet -m 'first labels'")
    cache = desk.top / ".dvc/cache/files/md5"
    before = objects(cache)
    for number in range(5):
        desk.write(f"data/labels/{number}.json", f"label {number}, second try\n")
    desk.write("data/images/5.png", "picture 5\n")
    desk.write("data/labels/5.json", "label 5\n")
    desk("kist add data && git add . && git commit --quiet -m 'second labels'")
    new = {oid for oid in objects(cache) - before if not oid.endswith(".dir")}
    texts = [f"label {number}, second try\n" for number in range(5)] + ["picture 5\n", "label 5\n"]
    assert new == {md5_of(text) for text in texts}
    assert len(objects(cache)) == len(before) + len(texts) + 1  # and one manifest

    desk("git checkout --quiet HEAD~1")
    desk("kist checkout")
    assert sorted(os.listdir(desk.top / "data/labels")) == [f"{number}.json" for number in range(5)]
    assert [desk.read(f"data/labels/{number}.json") for number in range(5)] == [
        f"label {number}, first try\n" for number in range(5)
    ]
    assert not desk.exists("data/images/5.png")


def test_story_f_a_files_whole_life(office: Office) -> None:
    desk = office.desk("life")
    desk("kist init")
    assert desk("git status --porcelain") == "A  .dvc/.gitignore\nA  .dvc/config\nA  .dvcignore\n"
    desk("git commit -m 'Initialize DVC'")
    desk('echo "{\\"test\\": \\"test data.\\"}" >> test.json')
    said = desk("kist add test.json")
    assert "To track the changes with git, run:\n\n\tgit add test.json.dvc .gitignore\n" in said
    assert "To enable auto staging, run:\n\n\tkist config core.autostage true\n" in said
    desk("kist config core.autostage true")
    desk("git add .dvc/config")
    desk("git commit -m 'Autostage config changed.'")
    # The metafile was staged with the switch, so it went with the commit before.
    assert "nothing to commit" in desk("git commit -m 'Add test data'", code=1)
    assert desk("git ls-files test.json.dvc .gitignore") == ".gitignore\ntest.json.dvc\n"

    desk("kist remote add -d storage s3://bucket/dir")
    # `aws sso login --profile work` is a line for Amazon; the next one writes to the local file alone.
    desk("kist remote modify --local storage profile work")
    assert desk.read(".dvc/config.local") == "['remote \"storage\"']\n    profile = work\n"
    assert "profile" not in desk.read(".dvc/config")
    # Glue: a storage that is a folder.
    desk(f"rm .dvc/config.local && kist remote modify storage url {office.storage}")
    desk("git add .dvc/config")
    desk("git commit -m 'Configure remote storage'")
    desk("kist push")
    first = '{"test": "test data."}\n'
    assert office.stored() == {md5_of(first)}
    # Glue: neither the workspace nor the cache has it any more.
    desk("rm test.json && rm -r .dvc/cache")
    desk("kist pull")
    assert desk.read("test.json") == first

    desk('echo "{"test": "test2 data."}" >> test2.json')
    desk("kist add test2.json")
    desk("git commit -m 'Data added'")
    desk("kist push")
    second = "{test: test2 data.}\n"
    assert office.stored() == {md5_of(first), md5_of(second)}
    desk("kist remove test.json.dvc")
    assert "test.json\n" not in desk.read(".gitignore").replace("/", "").splitlines(keepends=True)
    desk("git commit -am 'removed'")
    # `kist gc -ac` stands here in the story; the command does not exist yet.

    # Glue: the branch of the story, made after the removal, with a changed test2.json.
    desk("git checkout --quiet -b version_2")
    desk.write("test2.json", "changed\n")
    desk("kist add test2.json && git commit -m 'changed'")
    desk("git checkout master")
    desk("kist checkout")
    assert desk.read("test2.json") == second
    desk("git checkout version_2")
    desk("kist checkout")
    assert desk.read("test2.json") == "changed\n"


def test_story_i_a_model_is_bound_to_a_tag(office: Office) -> None:
    desk = office.desk("models")
    desk("kist init")
    desk("kist remote add -d storage ssh://models.invalid/srv/models")
    desk("kist remote default storage")
    desk("kist remote modify storage user ada")
    desk("kist remote modify storage port 2222")
    desk("kist remote modify --local storage password secret")
    assert desk.read(".dvc/config") == (
        "[core]\n    remote = storage\n"
        "['remote \"storage\"']\n    url = ssh://models.invalid/srv/models\n    user = ada\n    port = 2222\n"
    )
    assert desk.read(".dvc/config.local") == "['remote \"storage\"']\n    password = secret\n"
    # Glue: a storage that is a folder, told to every clone.
    desk(f"rm .dvc/config.local && kist remote add -f -d storage {office.storage} && git add .dvc/config")

    desk.write("model.bin", "weights 0\n")
    desk("kist add model.bin")
    desk("kist push")
    assert desk("git status --porcelain").splitlines()[-2:] == ["?? .gitignore", "?? model.bin.dvc"]
    for version in ("v1", "v2", "v3"):
        desk.write("model.bin", f"weights {version}\n")
        desk("kist add model.bin --file dvc/model.dvc")
        desk("kist push dvc/model.dvc")
        desk(
            "git add dvc/model.dvc .gitignore && git commit --quiet -m 'a version'"
        )  # forgotten in the story
        desk(f'git tag -a "{version}" -m "the text of {version}"')
    assert "wdir: ..\n" in desk.read("dvc/model.dvc")
    desk("rm model.bin && rm -r .dvc/cache")
    desk("kist pull dvc/model.dvc")
    assert desk.read("model.bin") == "weights v3\n"

    clone = office.clone(desk, "clone")
    for version in ("v1", "v2", "v3"):
        clone(f"git checkout --quiet tags/{version} -b branch-{version}")
        clone("kist pull")
        assert clone.read("model.bin") == f"weights {version}\n"
    # A plain `add` goes on with the same metafile.
    desk.write("model.bin", "weights 4\n")
    desk("kist add model.bin")
    assert not desk.exists("model.bin.dvc")
    assert md5_of("weights 4\n") in desk.read("dvc/model.dvc")


def test_story_k_the_metafile_and_the_data_stand_in_one_tree(office: Office) -> None:
    desk = office.desk("marketing")
    desk("kist init --quiet")
    # Glue: the Git side of the hub.
    desk(f"git init --quiet --bare {office.top}/hub.git && git remote add origin {office.top}/hub.git")
    desk("kist remote add origin https://hub.invalid/ada/marketing.dvc")
    desk("kist remote modify origin --local auth basic")
    desk("kist remote modify origin --local user ada")
    desk("kist remote modify origin --local password secret")
    assert "secret" not in desk.read(".dvc/config")
    assert "secret" in desk.read(".dvc/config.local")
    # Glue: a storage that is a folder.
    desk(f"rm .dvc/config.local && kist remote modify origin url {office.storage}")
    desk.write("data/raw/marketing_campaign.csv", "ID,Income\n1,58138\n")
    desk("kist add data/raw")
    desk("kist push")
    desk("git add .")
    desk("git commit -m 'push data and code'")
    desk("git push origin master")

    listed = desk("kist list -R . --rev origin/master").splitlines()
    assert {"data/raw.dvc", "data/raw/marketing_campaign.csv"} <= set(listed)
    clone = Desk(office.top / "clone", desk.programs)
    desk(f"git clone --quiet --branch master {office.top}/hub.git {clone.top}")
    clone("kist pull")
    assert clone.read("data/raw/marketing_campaign.csv") == "ID,Income\n1,58138\n"
    assert clone.exists("data/raw.dvc")


PIPELINE = """\
stages:
  process_data:
    cmd: python src/process_data.py
    deps:
    - data/raw.csv
    - src/process_data.py
    outs:
    - data/clean.csv
  segment:
    cmd: python src/segment.py
    deps:
    - data/clean.csv
    - src/segment.py
    outs:
    - data/segments
  analyze:
    cmd: python src/run_notebook.py
    deps:
    - data/segments
    - src/run_notebook.py
    metrics:
    - metrics.json:
        cache: false
"""
CODE = {name: f"print('{name}')\n" for name in ("process_data", "segment", "run_notebook")}
RAW, CLEAN, METRICS = "a,b\n1,2\n1,2\n", "a,b\n1,2\n", '{"segments": 2}\n'
SEGMENTS = {"high.csv": "a,b\n", "low.csv": "1,2\n"}


def locked(path: str, text: str) -> str:
    """Returns how `dvc.lock` names a file."""
    return f"    - path: {path}\n      hash: md5\n      md5: {md5_of(text)}\n      size: {len(text)}\n"


def lock_text() -> str:
    """Returns the `dvc.lock` that a run of the pipeline leaves."""
    entries = ", ".join(
        f'{{"md5": "{md5_of(text)}", "relpath": "{name}"}}' for name, text in sorted(SEGMENTS.items())
    )
    size = sum(len(text) for text in SEGMENTS.values())
    segments = (
        f"    - path: data/segments\n      hash: md5\n      md5: {md5_of(f'[{entries}]')}.dir\n"
        f"      size: {size}\n      nfiles: {len(SEGMENTS)}\n"
    )
    code = {name: locked(f"src/{name}.py", text) for name, text in CODE.items()}
    return (
        "schema: '2.0'\nstages:\n"
        f"  process_data:\n    cmd: python src/process_data.py\n    deps:\n{locked('data/raw.csv', RAW)}"
        f"{code['process_data']}    outs:\n{locked('data/clean.csv', CLEAN)}"
        f"  segment:\n    cmd: python src/segment.py\n    deps:\n{locked('data/clean.csv', CLEAN)}"
        f"{code['segment']}    outs:\n{segments}"
        f"  analyze:\n    cmd: python src/run_notebook.py\n    deps:\n{segments}"
        f"{code['run_notebook']}    outs:\n{locked('metrics.json', METRICS)}"
    )


def test_story_o_what_a_pipeline_made_is_shared_without_running_it(office: Office) -> None:
    desk = office.desk("pipeline")
    desk("kist init --quiet")
    desk(f"kist remote add -d storage {office.storage}")
    # Glue: the repository as a run of the pipeline leaves it; outputs were not added.
    desk.write("data/raw.csv", RAW)
    desk.write("data/clean.csv", CLEAN)
    desk.write("metrics.json", METRICS)
    for name, text in SEGMENTS.items():
        desk.write(f"data/segments/{name}", text)
    for name, text in CODE.items():
        desk.write(f"src/{name}.py", text)
    desk.write("dvc.yaml", PIPELINE)
    desk.write("dvc.lock", lock_text())
    desk.write("data/.gitignore", "/clean.csv\n/segments\n")
    desk("kist commit --force")
    assert desk.read("dvc.lock") == lock_text()
    assert "Data and pipelines are up to date." in desk("kist status")
    desk("kist push")
    desk("git add . && git commit --quiet -m 'a pipeline'")
    assert len(office.stored()) == 1 + len(SEGMENTS) + 1

    other = office.clone(desk, "other")
    assert not other.exists("data/clean.csv")
    other("kist pull")
    assert other.read("data/clean.csv") == CLEAN
    assert {name: other.read(f"data/segments/{name}") for name in SEGMENTS} == SEGMENTS
    assert "Data and pipelines are up to date." in other("kist status")
    assert other("git status --porcelain") == ""
    other.write("src/segment.py", "print('changed')\n")
    said = other("kist status")
    assert "segment:" in said and "src/segment.py" in said
