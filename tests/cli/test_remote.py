"""`kist remote`: wording, exit codes, JSON, secrets, and the lines of the stories word for word."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kist.cli.console import Console
from kist.testing.project import Project


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    return Project(str(tmp_path / "project"))


def test_remotes_are_listed_with_the_default_marked(empty: Project, tmp_path: Path) -> None:
    assert empty.kist("remote", "add", "near", "../st") == (0, "", "")
    assert (
        empty.kist("remote", "add", "-d", "Far", "s3://bucket/dir").out
        == "Setting 'far' as a default remote.\n"
    )
    assert empty.kist("remote", "list").out == (
        f"near    {tmp_path}/st".expandtabs(8) + "\nfar     s3://bucket/dir (default)\n"
    )
    assert json.loads(empty.kist("remote", "list", "--json").out) == [
        {
            "name": "near",
            "url": f"{tmp_path}/st",
            "default": False,
            "level": "project",
            "file": ".dvc/config",
        },
        {"name": "far", "url": "s3://bucket/dir", "default": True, "level": "project", "file": ".dvc/config"},
    ]
    assert empty.read(".dvc/config") == (
        "[core]\n    remote = far\n['remote \"near\"']\n    url = ../../st\n['remote \"far\"']\n    url = s3://bucket/dir\n"
    )


def test_an_address_alone_is_origin(empty: Project) -> None:
    assert empty.kist("remote", "add", "https://hub.invalid/me/project") == (0, "", "")
    assert empty.read(".dvc/config") == "['remote \"origin\"']\n    url = https://hub.invalid/me/project\n"
    assert "already" in empty.kist("remote", "add", "https://hub.invalid/me/project").out
    answer = empty.try_kist("remote", "add", "https://hub.invalid/other")
    assert answer.code == 251
    assert "hint: kist remote add NAME https://hub.invalid/other" in answer.err
    empty.kist("remote", "add", "-d", "-f", "../st")
    assert (
        empty.read(".dvc/config")
        == "[core]\n    remote = origin\n['remote \"origin\"']\n    url = ../../st\n"
    )


def test_a_name_alone_is_a_mistake(empty: Project) -> None:
    answer = empty.try_kist("remote", "add", "storage")
    assert answer.code == 254
    assert "hint: kist remote add storage ADDRESS" in answer.err
    assert empty.read(".dvc/config") == ""


def test_the_lines_of_sharing_a_project_leave_all_but_the_address_local(empty: Project) -> None:
    empty.kist("remote", "add", "https://hub.invalid/me/project")
    empty.kist("remote", "modify", "origin", "--local", "auth", "basic")
    empty.kist("remote", "modify", "origin", "--local", "user", "ada")
    empty.kist("remote", "modify", "origin", "--local", "ask_password", "true")
    assert empty.read(".dvc/config") == "['remote \"origin\"']\n    url = https://hub.invalid/me/project\n"
    assert empty.read(".dvc/config.local") == (
        "['remote \"origin\"']\n    auth = basic\n    user = ada\n    ask_password = true\n"
    )
    assert ".dvc/config.local" not in empty.git("status", "--porcelain", "--untracked-files=all")


def test_the_lines_of_a_model_over_ssh_work(empty: Project) -> None:
    empty.kist("remote", "add", "-d", "storage", "ssh://host/data")
    empty.kist("remote", "default", "storage")
    empty.kist("remote", "modify", "storage", "user", "ada")
    empty.kist("remote", "modify", "storage", "port", "2222")
    empty.kist("remote", "modify", "--local", "storage", "password", "hush")
    assert empty.read(".dvc/config") == (
        "[core]\n    remote = storage\n['remote \"storage\"']\n    url = ssh://host/data\n    user = ada\n    port = 2222\n"
    )
    assert empty.read(".dvc/config.local") == "['remote \"storage\"']\n    password = hush\n"


SECRETS = (
    ("https://h", "password"),
    ("ssh://h/p", "passphrase"),
    ("webdavs://h", "token"),
    ("s3://b", "secret_access_key"),
    ("s3://b", "session_token"),
    ("s3://b", "sse_customer_key"),
    ("azure://c", "connection_string"),
    ("azure://c", "sas_token"),
    ("azure://c", "account_key"),
    ("azure://c", "client_secret"),
    ("oss://b", "oss_key_secret"),
    ("gdrive://x", "gdrive_client_secret"),
)


@pytest.mark.parametrize(("url", "option"), SECRETS)
def test_a_secret_without_a_level_is_kept_local_and_said_so(empty: Project, url: str, option: str) -> None:
    empty.kist("remote", "add", "r", url)
    shared = empty.read(".dvc/config")
    answer = empty.kist("remote", "modify", "R", option, "hush")
    assert answer.out == ""
    assert answer.err == (
        f"The {option} of remote 'r' is kept in '.dvc/config.local', which is not shared; --project would share it.\n"
    )
    assert empty.read(".dvc/config") == shared
    assert empty.read(".dvc/config.local") == f"['remote \"r\"']\n    {option} = hush\n"


def test_a_secret_is_shared_only_on_request_and_pointed_out_later(empty: Project) -> None:
    empty.kist("remote", "add", "r", "https://h")
    assert empty.kist("remote", "modify", "--project", "r", "password", "hush") == (0, "", "")
    assert "password = hush" in empty.read(".dvc/config")
    answer = empty.kist("remote", "modify", "r", "password", "hush2")
    assert "warning: another password is still in '.dvc/config'" in answer.err
    assert "hint: kist remote modify --project r password --unset" in answer.err
    assert "hush" not in answer.err
    empty.kist("remote", "modify", "r", "password", "--unset")
    assert "password" not in empty.read(".dvc/config") + empty.read(".dvc/config.local")


def test_a_secret_that_is_left_out_is_asked_for(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.kist("remote", "add", "r", "https://h")
    answer = empty.try_kist("remote", "modify", "r", "password")
    assert answer.code == 255
    assert "cannot ask for" in answer.err
    asked = []

    # Typing needs a terminal; what the console does there has its own test.
    def ask(console: Console, prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr(Console, "ask_secret", ask)
    empty.kist("remote", "modify", "r", "password")
    assert asked == ["password of remote 'r'"]
    assert "password = typed" in empty.read(".dvc/config.local")
    assert empty.try_kist("remote", "modify", "nosuch", "password").code == 251
    assert len(asked) == 1


def test_the_default_is_shown_set_and_forgotten(empty: Project) -> None:
    empty.kist("remote", "add", "a", "s3://a")
    assert empty.try_kist("remote", "default") == (1, "No default remote set\n", "")
    assert json.loads(empty.try_kist("remote", "default", "--json").out) == {"name": None}
    empty.kist("remote", "default", "A")
    assert empty.kist("remote", "default").out == "a\n"
    assert json.loads(empty.kist("remote", "default", "--json").out) == {"name": "a"}
    empty.kist("remote", "default", "--unset")
    assert empty.try_kist("remote", "default").code == 1


def test_removing_and_renaming_leave_nothing_behind(empty: Project) -> None:
    empty.kist("remote", "add", "-d", "a", "https://h")
    empty.kist("remote", "modify", "a", "password", "hush")
    assert empty.kist("remote", "rename", "a", "b") == (0, "", "")
    assert empty.read(".dvc/config") == "[core]\n    remote = b\n['remote \"b\"']\n    url = https://h\n"
    assert empty.read(".dvc/config.local") == "['remote \"b\"']\n    password = hush\n"
    assert empty.kist("remote", "remove", "b") == (0, "", "")
    assert empty.read(".dvc/config") + empty.read(".dvc/config.local") == "\n\n"
    empty.kist("status")


def test_what_dvc_left_behind_stops_nothing(empty: Project) -> None:
    empty.write({".dvc/config.local": '[remote "gone"]\npassword = hush\n'})
    assert empty.kist("remote", "list").out == ""
    empty.kist("status")
    empty.kist("config", "core.autostage", "true")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["modify", "storgae", "jobs", "3"], 251, "hint: did you mean 'storage'?"),
        (["remove", "storgae"], 251, "hint: did you mean 'storage'?"),
        (["rename", "storgae", "x"], 251, "hint: did you mean 'storage'?"),
        (["default", "storgae"], 251, "hint: did you mean 'storage'?"),
        (["modify", "storage", "job", "3"], 251, "hint: did you mean 'remote.storage.jobs'?"),
        (["modify", "storage", "jobs"], 251, "no value is given"),
        (["modify", "storage", "jobs", "x"], 251, "expected a whole number"),
        (["modify", "storage", "url", "foo://x"], 251, "'foo://'"),
        (["modify", "storage", "url", "--unset"], 251, "no address"),
        (["add", "storage", "../y"], 251, "has it already"),
        (["rename", "storage", "storage"], 251, "already"),
        (["remove", "--global", "storage"], 251, "hint: give `--project`"),
        (["modfy"], 254, "did you mean `kist remote modify`?"),
        ([], 254, "needs a command"),
    ],
)
def test_mistakes_are_one_line_and_a_hint(empty: Project, words: list[str], code: int, message: str) -> None:
    empty.kist("remote", "add", "storage", "../st")
    before = empty.read(".dvc/config")
    answer = empty.try_kist("remote", *words)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert len(answer.err.splitlines()) <= 2
    assert empty.read(".dvc/config") == before


@pytest.mark.parametrize("option", ["version_aware", "worktree"])
@pytest.mark.parametrize("command", [("push",), ("status", "-c")])
def test_a_service_without_versions_cannot_keep_files_by_their_names(
    project: Project, option: str, command: tuple[str, ...]
) -> None:
    project.kist("remote", "add", "-d", "store", "azure://container/data")
    project.kist("remote", "modify", "store", "account_name", "birds")
    project.kist("remote", "modify", "store", option, "true")
    answer = project.try_kist(*command)
    assert answer.code != 0
    first, second = answer.err.splitlines()
    assert first.startswith(f"error: cannot use remote 'store': '{option}' needs a service with versions")
    assert second == f"hint: kist remote modify --unset store {option}"


def test_a_mistyped_remote_of_a_push_suggests_the_right_one(empty: Project) -> None:
    empty.kist("remote", "add", "storage", "../st")
    answer = empty.try_kist("push", "-r", "storgae")
    assert answer.code == 1
    assert "hint: did you mean 'storage'?" in answer.err


def test_outside_a_repository_only_the_other_levels_work(empty: Project, tmp_path: Path) -> None:
    os.makedirs(tmp_path / "elsewhere")
    assert empty.try_kist("remote", "add", "x", "s3://x", cwd="../elsewhere").code == 251
    assert empty.kist("remote", "list", cwd="../elsewhere").out == ""
    empty.kist("remote", "add", "--global", "x", "../st", cwd="../elsewhere")
    assert empty.kist("remote", "list", "--global").out == f"x       {tmp_path}/st\n"


ADDRESS, SHARED = "https://ada:p@ssw0rd@host/x", "https://ada@host/x"


def test_a_password_in_an_address_goes_to_the_local_file(empty: Project) -> None:
    answer = empty.kist("remote", "add", "r", ADDRESS)
    assert answer.err == (
        "The password in the address of remote 'r' is kept in '.dvc/config.local', which is not shared;"
        " --project would share it.\n"
    )
    assert empty.read(".dvc/config") == f"['remote \"r\"']\n    url = {SHARED}\n"
    assert empty.read(".dvc/config.local") == f"['remote \"r\"']\n    url = {ADDRESS}\n"
    empty.kist("remote", "add", "--default", ADDRESS)
    empty.kist("remote", "modify", "r", "url", ADDRESS.replace("/x", "/y"))
    assert "p@ss" not in empty.read(".dvc/config") and f"{SHARED[:-2]}/y" in empty.read(".dvc/config")
    assert empty.read(".dvc/config.local").count("p@ss") == 2
    answer = empty.kist("remote", "modify", "r", "url", "https://elsewhere/x")
    assert "another address of remote 'r' is in '.dvc/config.local', and has precedence" in answer.err
    assert "hint: kist remote modify --local r url --unset" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ["remote", "add", "--project", "r", ADDRESS],
        ["remote", "modify", "--project", "q", "url", ADDRESS],
        ["config", "remote.q.url", ADDRESS],
    ],
)
def test_a_password_in_an_address_that_is_to_be_shared_is_warned_of(empty: Project, words: list[str]) -> None:
    empty.kist("remote", "add", "q", "https://host/x")
    answer = empty.kist(*words)
    assert "' is in '.dvc/config' now, which Git shares" in answer.err and "p@ss" not in answer.err
    assert ADDRESS in empty.read(".dvc/config")


def test_an_address_with_a_user_alone_is_shared_as_it_is(empty: Project) -> None:
    assert empty.kist("remote", "add", "r", "ssh://ann@host:22/x") == (0, "", "")
    assert "ssh://ann@host:22/x" in empty.read(".dvc/config")


def test_a_list_shows_no_password(empty: Project) -> None:
    empty.kist("remote", "add", "r", "https://ann:hush@host/path")
    empty.write({".dvc/config": "['remote \"s\"']\n    url = ssh://ann:hush@host/path\n"})
    for words in ([], ["--json"], ["--project"], ["--local"]):
        out = empty.kist("remote", "list", *words).out
        assert "hush" not in out and "host/path" in out
