"""`kist config`: wording, exit codes, JSON, and what switching autostage on entails."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kist.testing.project import Project


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    return Project(str(tmp_path / "project"))


def test_an_option_is_set_shown_and_removed_in_silence(empty: Project) -> None:
    assert empty.kist("config", "core.autostage", "true") == (0, "", "")
    assert empty.read(".dvc/config") == "[core]\n    autostage = true\n"
    assert empty.kist("config", "core.autostage").out == "true\n"
    assert empty.kist("config", "--unset", "core.autostage") == (0, "", "")
    assert empty.kist("config", "core.autostage") == (0, "", "")


def test_comments_and_order_stay(empty: Project) -> None:
    empty.write(
        {".dvc/config": "# ours\n['remote \"r\"']\n    url = s3://b  # there\n[core]\n    remote = r\n"}
    )
    empty.kist("config", "core.autostage", "true")
    empty.kist("config", "remote.r.jobs", "3")
    assert empty.read(".dvc/config") == (
        "# ours\n['remote \"r\"']\n    url = s3://b  # there\n    jobs = 3\n[core]\n    remote = r\n    autostage = true\n"
    )


def test_all_levels_are_listed_and_named(empty: Project, tmp_path: Path) -> None:
    empty.kist("config", "--system", "core.analytics", "false")
    empty.kist("config", "--global", "core.remote", "g")
    empty.kist("config", "cache.dir", "../c")
    empty.kist("config", "--local", "core.remote", "l")
    assert empty.kist("config", "--list", "--show-origin", cwd=".dvc").out == (
        f"{tmp_path}/system/config\tcore.analytics=false\n{tmp_path}/global/config\tcore.remote=g\n"
        f".dvc/config\tcache.dir={tmp_path}/c\n.dvc/config.local\tcore.remote=l\n"
    )
    assert empty.kist("config", "-l", "--local").out == "core.remote=l\n"
    assert empty.kist("config", "core.remote").out == "l\n"
    assert empty.kist("config", "--global", "core.remote").out == "g\n"
    assert empty.kist("config", "--show-origin", "core.remote").out == ".dvc/config.local\tl\n"


def test_json_has_name_value_level_and_file(empty: Project) -> None:
    empty.write({".dvc/config": "[core]\nremote = r\n[cache]\ntype = hardlink, copy\n"})
    rows = [
        {"name": "core.remote", "value": "r", "level": "project", "file": ".dvc/config"},
        {"name": "cache.type", "value": ["hardlink", "copy"], "level": "project", "file": ".dvc/config"},
    ]
    assert json.loads(empty.kist("config", "--list", "--json").out) == rows
    assert json.loads(empty.kist("--json", "config", "cache.type").out) == rows[1]
    assert json.loads(empty.kist("config", "core.autostage", "--json").out) is None


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["core.remot", "x"], 251, "cannot set 'core.remot': unknown option", "did you mean 'core.remote'?"),
        (["cor.remote", "x"], 251, "cannot set 'cor.remote': unknown section 'cor'", "did you mean 'core'?"),
        (["core.autostage", "yes"], 251, "cannot set 'core.autostage': expected true or false", ""),
        (["--project", "core.remote"], 251, "has no section 'core'", ""),
        (["-u", "core.remote"], 251, "has no section 'core'", ""),
        ([], 1, "no name is given", "kist config --list"),
        (["-l", "core.remote"], 1, "cannot use --list with", ""),
        (["--show-origin", "core.remote", "x"], 1, "cannot use --show-origin with", ""),
        (["core"], 254, "section.option", ""),
        (["--local", "--global", "-l"], 254, "not allowed with", ""),
    ],
)
def test_mistakes_are_one_line_and_a_hint(
    empty: Project, words: list[str], code: int, message: str, hint: str
) -> None:
    answer = empty.try_kist("config", *words)
    assert answer.code == code
    assert answer.out == ""
    first, *rest = answer.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert len(rest) <= 1
    assert hint in answer.err


def test_an_unknown_name_shows_nothing_and_a_hint(empty: Project) -> None:
    answer = empty.kist("config", "core.remot")
    assert (answer.out, answer.err) == (
        "",
        "hint: 'core.remot': unknown option; did you mean 'core.remote'?\n",
    )


def test_garbage_is_named_with_its_line_by_every_command(empty: Project) -> None:
    empty.write({".dvc/config": "[core]\nremote\n"})
    for words in (
        ["config", "-l"],
        ["config", "core.remote", "x"],
        ["remote", "list"],
        ["status"],
        ["cache", "dir"],
    ):
        answer = empty.try_kist(*words)
        assert answer.code == 251
        assert answer.err.splitlines()[0] == (
            f"error: cannot read config file '{empty.path('.dvc/config')}', line 2: 'remote' is neither a section nor an option"
        )
    assert empty.read(".dvc/config") == "[core]\nremote\n"


def test_an_unknown_option_stops_other_commands_and_can_be_mended(empty: Project) -> None:
    empty.write({".dvc/config": "[core]\nremot = x\n"})
    answer = empty.try_kist("status")
    assert answer.code == 251
    assert "line 2: 'core.remot': unknown option" in answer.err
    assert empty.kist("config", "-l").out == "core.remot=x\n"
    empty.kist("config", "--unset", "core.remot")
    empty.kist("status")


def test_an_unknown_feature_is_a_warning(empty: Project) -> None:
    answer = empty.kist("config", "feature.x", "1")
    assert answer.err.startswith("warning: 'feature.x'")


def test_a_secret_in_the_shared_file_is_warned_of_without_showing_it(empty: Project) -> None:
    empty.kist("remote", "add", "r", "https://x")
    answer = empty.kist("config", "remote.r.password", "hush")
    assert "hush" not in answer.err + answer.out
    assert "warning: the password of remote 'r' is in '.dvc/config' now, which Git shares" in answer.err
    assert "warning" not in empty.kist("config", "--local", "remote.r.password", "hush").err


def test_switching_autostage_on_stages_what_was_made_before(empty: Project) -> None:
    empty.git("commit", "--quiet", "--message", "Initialize DVC")
    empty.write({"data/test.json": "{}\n", "notes.txt": "mine\n"})
    empty.kist("add", "data/test.json")
    assert empty.git("diff", "--cached", "--name-only") == ""
    answer = empty.kist("config", "core.autostage", "true")
    assert answer.out == "Staged what was not staged yet: 'data/.gitignore', 'data/test.json.dvc'\n"
    assert empty.git("diff", "--cached", "--name-only").split() == ["data/.gitignore", "data/test.json.dvc"]
    empty.git("add", ".dvc/config")
    empty.git("commit", "--quiet", "--message", "Autostage config changed.")
    assert "data/test.json.dvc" in empty.git("ls-files")
    assert empty.kist("config", "core.autostage", "true").out == ""


def test_changed_metafiles_are_staged_too_and_other_repositories_left_alone(empty: Project) -> None:
    empty.write({"a.bin": "1\n", "dvc.yaml": "stages: {}\n", "code/.gitignore": "*.o\n"})
    empty.kist("add", "a.bin")
    empty.git("add", "a.bin.dvc", ".gitignore")
    empty.git("commit", "--quiet", "--message", "one")
    empty.write({"a.bin": "2\n", "inner/x.dvc": "outs: []\n"})
    os.makedirs(empty.path("inner/.dvc"))
    empty.kist("add", "a.bin")
    answer = empty.kist("config", "--local", "core.autostage", "TRUE")
    assert answer.out == "Staged what was not staged yet: 'a.bin.dvc', 'dvc.yaml'\n"
    assert empty.git("status", "--porcelain").splitlines() == [
        "M  a.bin.dvc",
        "A  dvc.yaml",
        "?? code/",
        "?? inner/",
    ]


def test_a_repository_below_the_top_of_git_stages_its_own(tmp_path: Path) -> None:
    top = Project(str(tmp_path / "top"))
    os.makedirs(top.path("sub"))
    top.kist("init", "--subdir", "--quiet", cwd="sub")
    top.write({"x.dvc": "outs: []\n", "sub/y.dvc": "outs: []\n"})
    top.git("commit", "--quiet", "--message", "one")
    assert (
        top.kist("config", "core.autostage", "true", cwd="sub").out
        == "Staged what was not staged yet: 'y.dvc'\n"
    )
    assert top.git("diff", "--cached", "--name-only") == "sub/y.dvc\n"


def test_without_git_autostage_is_just_a_setting(tmp_path: Path) -> None:
    plain = Project(str(tmp_path / "plain"), git=False)
    plain.write({"x.dvc": "outs: []\n"})
    assert plain.kist("config", "core.autostage", "true") == (0, "", "")


def test_outside_a_repository_the_other_levels_work(tmp_path: Path, empty: Project) -> None:
    os.makedirs(tmp_path / "elsewhere")
    for words in (["core.remote", "x"], ["--local", "core.remote"], ["-u", "core.remote"]):
        answer = empty.try_kist("config", *words, cwd="../elsewhere")
        assert answer.code == 251
        assert "this is not inside a repository" in answer.err
    empty.kist("config", "--global", "core.analytics", "false", cwd="../elsewhere")
    assert empty.kist("config", "-l", cwd="../elsewhere").out == "core.analytics=false\n"
