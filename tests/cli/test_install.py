"""`kist install`: hooks, driver and attributes, put in once, beside what is there, and taken away again."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from kist.formats import yaml
from kist.repo.hooks import DRIVER, HOOKS
from kist.testing.project import Project

from .helpers import project_at

ATTRIBUTES = "*.dvc merge=kist\ndvc.lock merge=kist\n.gitignore merge=kist\n"


def hooks(project: Project, folder: str = ".git/hooks") -> dict[str, str]:
    """Returns the scripts of the hooks folder, without Git's examples."""
    names = os.listdir(project.path(folder)) if project.exists(folder) else []
    return {name: project.read(f"{folder}/{name}") for name in names if not name.endswith(".sample")}


def put_hook(project: Project, name: str, script: str) -> None:
    project.write({f".git/hooks/{name}": script})
    os.chmod(project.path(f".git/hooks/{name}"), 0o755)


def settings(project: Project) -> dict[str, str]:
    done = subprocess.run(
        ["git", "config", "--local", "--get-regexp", r"^merge\."],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def everything(project: Project) -> tuple[object, ...]:
    return (
        hooks(project),
        settings(project),
        project.read(".gitattributes") if project.exists(".gitattributes") else None,
        project.read(".git/info/attributes") if project.exists(".git/info/attributes") else None,
        project.read(".pre-commit-config.yaml") if project.exists(".pre-commit-config.yaml") else None,
    )


def test_hooks_settings_and_attributes_are_made(project: Project) -> None:
    answer = project.kist("install")
    assert set(hooks(project)) == set(HOOKS)
    for name, script in hooks(project).items():
        assert script.startswith("#!/bin/sh\n")
        assert f'kist git-hook {name} "$@"' in script
        assert stat.S_IMODE(os.stat(project.path(f".git/hooks/{name}")).st_mode) == 0o755
    assert settings(project) == {
        "merge.kist.name": "Kist merge driver",
        "merge.kist.driver": DRIVER,
        "merge.dvc.name": "Kist merge driver",
        "merge.dvc.driver": DRIVER,
    }
    assert project.read(".gitattributes") == project.read(".git/info/attributes") == ATTRIBUTES
    assert "Installed hook 'pre-push'.\n" in answer.out
    assert "\tgit add .gitattributes\n" in answer.out


def test_a_second_run_changes_nothing(project: Project) -> None:
    project.kist("install")
    before = everything(project)
    times = (
        os.stat(project.path(".git/config")).st_mtime_ns,
        os.stat(project.path(".gitattributes")).st_mtime_ns,
    )
    assert project.kist("install").out == "Everything is installed.\n"
    assert everything(project) == before
    assert times == (
        os.stat(project.path(".git/config")).st_mtime_ns,
        os.stat(project.path(".gitattributes")).st_mtime_ns,
    )


def test_what_is_missing_is_put_in_again(project: Project) -> None:
    project.kist("install")
    before = everything(project)
    os.unlink(project.path(".git/hooks/pre-push"))
    project.git("config", "merge.kist.driver", "kist git-hook merge-driver of an older version")
    answer = project.kist("install")
    assert answer.out == "Installed hook 'pre-push'.\nInstalled setting 'merge.kist.driver'.\n"
    assert everything(project) == before


def test_remove_undoes_it(project: Project) -> None:
    before = everything(project)
    project.kist("install")
    project.kist("install", "--remove")
    assert everything(project) == before
    assert project.kist("install", "--remove").out == "Nothing to remove.\n"


def test_autostage_stages_the_attributes(project: Project) -> None:
    project.kist("config", "--quiet", "core.autostage", "true")
    project.kist("install")
    assert "A  .gitattributes" in project.git("status", "--porcelain")


# What is there already


def test_a_hook_of_a_person_runs_first_with_its_arguments_and_input(project: Project) -> None:
    put_hook(project, "pre-push", '#!/bin/sh\necho "$@" > seen\ncat >> seen\n')
    answer = project.kist("install")
    assert "hook 'pre-push' that was there runs first" in answer.err
    done = subprocess.run(
        [project.path(".git/hooks/pre-push"), "origin", "an address"],
        cwd=project.root,
        input=b"one two\n\nthree\n",
        env={**os.environ, "PATH": os.defpath},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert project.read("seen") == "origin an address\none two\n\nthree\n"
    assert done.stderr == b"kist is not on the search path: its pre-push hook does nothing\n"


def test_without_input_a_hook_gets_none(project: Project) -> None:
    put_hook(project, "pre-push", "#!/bin/sh\ncat > seen\n")
    project.kist("install")
    subprocess.run(
        [project.path(".git/hooks/pre-push")],
        cwd=project.root,
        stdin=subprocess.DEVNULL,
        check=True,
        capture_output=True,
    )
    assert project.read("seen") == ""


@pytest.mark.parametrize("name", ["pre-commit", "pre-push"])
def test_a_hook_of_a_person_that_fails_ends_it(project: Project, name: str) -> None:
    put_hook(project, name, "#!/bin/sh\nexit 7\n")
    project.kist("install")
    done = subprocess.run(
        [project.path(f".git/hooks/{name}")], cwd=project.root, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 7


def test_a_hook_that_is_switched_off_stays_so(project: Project) -> None:
    put_hook(project, "pre-commit", "#!/bin/sh\nexit 7\n")
    os.chmod(project.path(".git/hooks/pre-commit"), 0o644)
    project.kist("install")
    done = subprocess.run(
        [project.path(".git/hooks/pre-commit")],
        cwd=project.root,
        env={**os.environ, "PATH": os.defpath},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_a_hook_of_a_person_comes_back_with_remove(project: Project) -> None:
    put_hook(project, "post-checkout", "#!/bin/sh\necho mine\n")
    before = hooks(project)
    project.kist("install")
    project.kist("install")
    assert hooks(project)["post-checkout.before-kist"] == before["post-checkout"]
    project.kist("install", "--remove")
    assert hooks(project) == before


def test_remove_leaves_a_hook_that_is_not_ours(project: Project) -> None:
    project.kist("install")
    put_hook(project, "pre-push", "#!/bin/sh\necho mine\n")
    project.kist("install", "--remove")
    assert hooks(project) == {"pre-push": "#!/bin/sh\necho mine\n"}


def test_two_hooks_of_one_name_are_not_thrown_away(project: Project) -> None:
    put_hook(project, "pre-push", "#!/bin/sh\necho first\n")
    project.kist("install")
    put_hook(project, "pre-push", "#!/bin/sh\necho second\n")
    answer = project.try_kist("install")
    assert answer.code == 1
    assert "pre-push.before-kist" in answer.err
    assert hooks(project)["pre-push"] == "#!/bin/sh\necho second\n"
    assert hooks(project)["pre-push.before-kist"] == "#!/bin/sh\necho first\n"


def test_an_install_that_was_killed_after_it_kept_a_hook_goes_on(project: Project) -> None:
    put_hook(project, "pre-push", "#!/bin/sh\necho mine\n")
    os.link(project.path(".git/hooks/pre-push"), project.path(".git/hooks/pre-push.before-kist"))
    project.kist("install")
    assert hooks(project)["pre-push.before-kist"] == "#!/bin/sh\necho mine\n"
    assert "kist git-hook pre-push" in hooks(project)["pre-push"]


def test_hooks_and_driver_of_dvc_are_replaced(project: Project) -> None:
    put_hook(project, "pre-push", "#!/usr/bin/sh\nexec dvc git-hook pre-push $@\n")
    project.git("config", "merge.dvc.driver", "dvc git-hook merge-driver --ancestor %O --our %A --their %B ")
    answer = project.kist("install")
    assert "hook 'pre-push' of DVC is replaced" in answer.err
    assert "pre-push.before-kist" not in hooks(project)
    assert settings(project)["merge.dvc.driver"] == DRIVER


def test_a_driver_of_a_person_stays(project: Project) -> None:
    project.git("config", "merge.dvc.driver", "my-driver %A")
    answer = project.kist("install")
    assert "setting 'merge.dvc.driver' is left as it is: my-driver %A" in answer.err
    project.kist("install", "--remove")
    assert settings(project) == {"merge.dvc.driver": "my-driver %A"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("*.txt text", "*.txt text\n" + ATTRIBUTES),
        ("*.dvc merge=dvc\n", "*.dvc merge=dvc\ndvc.lock merge=kist\n.gitignore merge=kist\n"),
        (".gitignore merge=union\n", ".gitignore merge=union\n*.dvc merge=kist\ndvc.lock merge=kist\n"),
        ("dvc.lock -merge\n", "dvc.lock -merge\n*.dvc merge=kist\n.gitignore merge=kist\n"),
    ],
)
def test_attributes_of_a_person_stay(project: Project, before: str, after: str) -> None:
    project.write({".gitattributes": before})
    answer = project.kist("install")
    assert project.read(".gitattributes") == after
    assert ("is left as it is" in answer.err) == (".gitignore" in before or "dvc.lock" in before)
    project.kist("install", "--remove")
    assert project.read(".gitattributes").rstrip("\n") == before.rstrip("\n")


# Other places


def test_the_configured_hooks_folder_is_used(project: Project) -> None:
    project.git("config", "core.hooksPath", "tools/hooks")
    project.kist("install")
    assert set(hooks(project, "tools/hooks")) == set(HOOKS)
    assert hooks(project) == {}


def test_a_hooks_folder_for_many_repositories_is_said(project: Project, tmp_path: Path) -> None:
    project.git("config", "core.hooksPath", str(tmp_path / "everywhere"))
    answer = project.kist("install")
    assert "other repositories may use these hooks too" in answer.err
    assert (tmp_path / "everywhere" / "pre-push").exists()


def test_in_a_working_tree_the_shared_hooks_are_used(project: Project) -> None:
    project.git("worktree", "add", "--quiet", project.root + "-tree")
    main = project.root
    project.root += "-tree"
    project.kist("install")
    project.root = main
    assert set(hooks(project)) == set(HOOKS)
    assert project.kist("install").out.startswith("Installed file '.gitattributes'")  # it belongs to a branch


def test_below_the_top_of_git_the_attributes_are_beside_the_repository(tmp_path: Path) -> None:
    git = tmp_path / "git"
    below = git / "below"
    below.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet"], cwd=git, check=True)
    project = project_at(str(below))
    project.kist("init", "--quiet", "--subdir")
    project.kist("install")
    assert (below / ".gitattributes").read_text() == ATTRIBUTES
    assert (git / ".git" / "hooks" / "pre-push").exists()


def test_without_git_there_is_nothing_to_install(tmp_path: Path) -> None:
    project = Project(str(tmp_path / "plain"), git=False)
    answer = project.kist("install")
    assert "there is no Git repository here" in answer.err
    assert sorted(os.listdir(project.root)) == [".dvc", ".dvcignore"]


# The pre-commit tool


def test_the_pre_commit_tool_gets_its_entries(project: Project) -> None:
    answer = project.kist("install", "--use-pre-commit-tool")
    assert hooks(project) == {}
    assert set(settings(project)) >= {"merge.kist.driver"}
    value = yaml.load(project.read(".pre-commit-config.yaml").encode(), name="x")
    assert [repo["repo"] for repo in value["repos"]] == ["local"]
    found = {
        hook["id"]: (hook["entry"], hook["stages"], hook["language"]) for hook in value["repos"][0]["hooks"]
    }
    assert found == {f"kist-{name}": (f"kist git-hook {name}", [name], "system") for name in HOOKS}
    assert "pre-commit install --hook-type post-checkout" in answer.err
    assert ".pre-commit-config.yaml" in answer.out
    assert project.kist("install", "--use-pre-commit-tool").out == "Everything is installed.\n"


@pytest.mark.parametrize(
    "before",
    [
        "# ours\nrepos:\n- repo: https://example.invalid/x  # why\n  rev: v1\n  hooks:\n  # a note\n  - id: y\n",
        "# ours\nrepos:\n  - repo: https://example.invalid/x  # why\n    rev: v1\n    hooks:\n      # a note\n      - id: y\n",
        "# ours\nrepos:\n-   repo: https://example.invalid/x  # why\n    rev: v1\n    hooks:\n    # a note\n    -   id: y",
    ],
)
def test_entries_of_a_person_and_their_comments_stay(project: Project, before: str) -> None:
    project.write({".pre-commit-config.yaml": before})
    project.kist("install", "--use-pre-commit-tool")
    after = project.read(".pre-commit-config.yaml")
    assert after.startswith(before)
    assert len(yaml.load(after.encode(), name="x")["repos"]) == 2
    project.kist("install", "--remove")
    assert project.read(".pre-commit-config.yaml").rstrip("\n") == before.rstrip("\n")


def test_entries_that_somebody_edited_are_put_right(project: Project) -> None:
    project.kist("install", "--use-pre-commit-tool")
    right = project.read(".pre-commit-config.yaml")
    project.write({".pre-commit-config.yaml": right.replace("kist git-hook pre-push", "kist git-hook")})
    project.kist("install", "--use-pre-commit-tool")
    assert project.read(".pre-commit-config.yaml") == right


def test_repos_that_are_no_list_are_refused(project: Project) -> None:
    project.write({".pre-commit-config.yaml": "repos: 1\n"})
    answer = project.try_kist("install", "--use-pre-commit-tool")
    assert answer.code == 1
    assert project.read(".pre-commit-config.yaml") == "repos: 1\n"
