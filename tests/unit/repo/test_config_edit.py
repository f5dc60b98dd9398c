"""Changes of configuration files: which file, what is checked first, and what a failure leaves."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from kist.formats.config import ConfigSyntaxError, SectionKey
from kist.repo.config_edit import (
    CORE,
    ConfigEditor,
    ConfigUnwritableError,
    NoAddressError,
    NoSuchLevelError,
    NoSuchOptionError,
    NoSuchRemoteError,
    RemoteExistsError,
    is_secret,
    masked,
    option_key,
)
from kist.repo.settings import ConfigPaths, InvalidSettingError


@pytest.fixture
def editor(tmp_path: Path) -> ConfigEditor:
    (tmp_path / "p" / ".dvc").mkdir(parents=True)
    return make(tmp_path)


def make(tmp_path: Path, cwd: str = "p") -> ConfigEditor:
    paths = ConfigPaths(
        str(tmp_path / "system" / "config"),
        str(tmp_path / "user" / "config"),
        str(tmp_path / "p" / ".dvc" / "config"),
        str(tmp_path / "p" / ".dvc" / "config.local"),
    )
    return ConfigEditor(paths, cwd=str(tmp_path / cwd), home="/home/me")


def text(editor: ConfigEditor, level: str) -> str | None:
    path = editor.path_of(level)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def test_paths_are_stored_relative_to_their_file(editor: ConfigEditor, tmp_path: Path) -> None:
    editor.set_option("project", SectionKey("cache"), "dir", "../store")
    editor.add_remote("a", "x", level="global")
    editor.add_remote("b", "~/x")
    editor.add_remote("c", "/x/../y")
    editor.add_remote("d", "s3://x/../y")
    assert text(editor, "project") == (
        "[cache]\n    dir = ../../store\n['remote \"b\"']\n    url = ~/x\n['remote \"c\"']\n    url = /x/../y\n"
        "['remote \"d\"']\n    url = s3://x/../y\n"
    )
    assert text(editor, "global") == "['remote \"a\"']\n    url = ../p/x\n"
    below = make(tmp_path, "p/.dvc")
    below.add_remote("ssh", "ssh://h")
    below.modify_remote("ssh", "keyfile", "k")
    assert below.settings.remote("ssh").text("keyfile") == str(tmp_path / "p" / ".dvc" / "k")
    assert "    keyfile = k\n" in (text(below, "project") or "")


def test_what_is_refused_changes_no_file(editor: ConfigEditor) -> None:
    editor.add_remote("a", "s3://x")
    before = text(editor, "project")
    with pytest.raises(InvalidSettingError, match=r"cannot set 'core\.remot': unknown option"):
        editor.set_option("project", CORE, "remot", "x")
    with pytest.raises(InvalidSettingError, match="unknown section"):
        editor.set_option("project", SectionKey("cor"), "remote", "x")
    with pytest.raises(InvalidSettingError, match="expected true or false"):
        editor.set_option("local", CORE, "autostage", "yes")
    with pytest.raises(InvalidSettingError, match="unknown option"):
        editor.modify_remote("a", "password", "x", level="local")
    with pytest.raises(NoAddressError, match="foo://"):
        editor.add_remote("b", "foo://x")
    with pytest.raises(NoAddressError) as caught:
        editor.set_option("project", SectionKey("remote", "b"), "jobs", "1")
    assert caught.value.hint == "kist remote add b ADDRESS"
    with pytest.raises(NoAddressError):
        editor.unset_remote_option("a", "url")
    with pytest.raises(RemoteExistsError):
        editor.add_remote("A", "s3://y")
    assert text(editor, "project") == before
    assert text(editor, "local") is None


def test_an_address_that_does_not_suit_the_other_options_is_refused(editor: ConfigEditor) -> None:
    editor.add_remote("a", "s3://x")
    editor.modify_remote("a", "region", "r")
    with pytest.raises(InvalidSettingError, match=r"line 3: 'remote\.a\.region': unknown option"):
        editor.modify_remote("a", "url", "../y")


def test_wrong_options_of_other_levels_do_not_stop_a_change_below_them(editor: ConfigEditor) -> None:
    with open(editor.path_of("local"), "w", encoding="utf-8") as stream:
        stream.write("[core]\nnosuch = 1\n")
    editor.set_option("project", CORE, "autostage", "true")
    with pytest.raises(InvalidSettingError, match=r"config\.local', line 2"):
        editor.set_option("local", CORE, "autostage", "true")
    editor.unset_option("local", CORE, "nosuch")
    assert text(editor, "local") == "\n"


def test_garbage_is_never_overwritten(editor: ConfigEditor) -> None:
    with open(editor.path_of("project"), "w", encoding="utf-8") as stream:
        stream.write("[core\n")
    with pytest.raises(ConfigSyntaxError):
        editor.set_option("project", CORE, "autostage", "true")
    with pytest.raises(ConfigSyntaxError):
        editor.remove_remote("x")
    assert text(editor, "project") == "[core\n"


def test_outside_a_repository_only_the_other_levels_can_be_changed(tmp_path: Path) -> None:
    editor = ConfigEditor(ConfigPaths(None, str(tmp_path / "u" / "config"), None, None), cwd=str(tmp_path))
    for level in ("project", "local", "system"):
        with pytest.raises(NoSuchLevelError) as caught:
            editor.set_option(level, CORE, "remote", "x")
        assert caught.value.exit_code == 251
    with pytest.raises(NoSuchLevelError):
        editor.existing_remote("x", None)
    editor.set_option("global", CORE, "remote", "x")
    assert editor.get(None, CORE, "remote") is not None


def test_an_option_that_is_not_set_is_named_with_the_nearest(editor: ConfigEditor) -> None:
    assert editor.get(None, CORE, "remote") is None
    with pytest.raises(NoSuchOptionError, match="has no section 'core'"):
        editor.get("project", CORE, "remote")
    editor.set_option("project", CORE, "autostage", "true")
    with pytest.raises(NoSuchOptionError) as caught:
        editor.unset_option("project", CORE, "autostag")
    assert caught.value.hint == "did you mean 'core.autostage'?"


def test_origin_is_added_once(editor: ConfigEditor) -> None:
    assert editor.add_origin("../st") is True
    assert editor.add_origin("../st") is False
    before = text(editor, "project")
    with pytest.raises(RemoteExistsError) as caught:
        editor.add_origin("https://me:secret@h/x")
    assert caught.value.hint == "kist remote add NAME 'https://me:***@h/x'"
    assert text(editor, "project") == before
    assert editor.add_origin("../st", default=True) is False
    assert editor.settings.core_remote == "origin"
    assert editor.add_origin("s3://b", force=True) is True
    assert editor.settings.remote("origin").location == "s3://b"


def test_a_removed_remote_is_gone_from_both_files_of_the_repository(editor: ConfigEditor) -> None:
    editor.add_remote("a", "https://x", default=True)
    editor.modify_remote("a", "password", "pw", level="local")
    editor.set_default("a", level="local")
    editor.add_remote("a", "s3://mine", level="global", default=True)
    assert editor.remove_remote("A") == [editor.path_of("project"), editor.path_of("local")]
    assert (text(editor, "project"), text(editor, "local")) == ("\n", "\n")
    assert text(editor, "global") == "[core]\n    remote = a\n['remote \"a\"']\n    url = s3://mine\n"
    with pytest.raises(NoSuchRemoteError) as caught:
        editor.remove_remote("a")
    assert caught.value.hint == "give `--global`"
    editor.remove_remote("a", level="global")
    assert editor.settings.remotes == {}


def test_a_remote_is_removed_from_one_level_when_it_is_named(editor: ConfigEditor) -> None:
    editor.add_remote("a", "s3://x", default=True)
    editor.add_remote("a", "s3://y", level="local")
    assert editor.remove_remote("a", level="local") == [editor.path_of("local")]
    assert editor.settings.remote("a").location == "s3://x"
    assert editor.settings.core_remote == "a"


def test_a_file_that_has_nothing_of_a_removed_remote_stays_as_it_is(editor: ConfigEditor) -> None:
    editor.add_remote("a", "s3://x")
    with open(editor.path_of("local"), "w", encoding="utf-8") as stream:
        stream.write("[core]\nautostage=true\n")
    editor.remove_remote("a")
    assert text(editor, "local") == "[core]\nautostage=true\n"


def test_a_renamed_remote_has_its_new_name_in_both_files(editor: ConfigEditor) -> None:
    editor.add_remote("a", "https://x", default=True)
    editor.add_remote("b", "https://y")
    editor.modify_remote("a", "password", "pw", level="local")
    editor.set_default("a", level="local")
    editor.rename_remote("a", "New")
    remote = editor.settings.remote("new")
    assert (remote.location, remote.text("password")) == ("https://x", "pw")
    assert "a" not in editor.settings.remotes
    assert editor.read_level("project").core_remote == "new"
    assert editor.read_level("local").core_remote == "new"
    with pytest.raises(RemoteExistsError):
        editor.rename_remote("new", "B")
    with pytest.raises(NoSuchRemoteError) as caught:
        editor.rename_remote("nwe", "c")
    assert caught.value.hint == "did you mean 'new'?"


def test_a_remote_of_a_stronger_level_is_pointed_out(editor: ConfigEditor) -> None:
    editor.add_remote("a", "s3://x", level="local")
    with pytest.raises(NoAddressError) as caught:
        editor.modify_remote("a", "jobs", "2")
    assert caught.value.hint == f"its address is in '{editor.path_of('local')}': give `--local`"
    with pytest.raises(NoSuchRemoteError):
        editor.modify_remote("a", "jobs", "2", level="project")


def test_an_unset_secret_is_gone_from_both_files(editor: ConfigEditor) -> None:
    editor.add_remote("a", "https://x")
    for level in ("project", "local"):
        editor.modify_remote("a", "password", "pw", level=level)
        editor.modify_remote("a", "user", "u", level=level)
    editor.unset_remote_option("a", "password")
    editor.unset_remote_option("a", "user")
    assert text(editor, "project") == "['remote \"a\"']\n    url = https://x\n"
    assert text(editor, "local") == "['remote \"a\"']\n    user = u\n"
    editor.unset_remote_option("a", "user")


def test_a_full_disk_leaves_the_old_file(editor: ConfigEditor) -> None:
    editor.set_option("project", CORE, "autostage", "true")

    def full(path: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    failing = ConfigEditor(editor.paths, cwd="/", write=full)
    with pytest.raises(ConfigUnwritableError) as caught:
        failing.set_option("project", CORE, "autostage", "false")
    assert (
        caught.value.message
        == f"cannot write config file '{editor.path_of('project')}': no space left on device"
    )
    assert text(editor, "project") == "[core]\n    autostage = true\n"


def test_changes_at_the_same_time_are_all_kept(editor: ConfigEditor) -> None:
    def add(number: int) -> None:
        for count in range(5):
            editor.add_remote(f"r{number}-{count}", "s3://x")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(editor.settings.remotes) == 20


def test_the_mode_of_a_file_is_kept(editor: ConfigEditor) -> None:
    editor.set_option("local", CORE, "autostage", "true")
    os.chmod(editor.path_of("local"), 0o600)
    editor.set_option("local", CORE, "autostage", "false")
    assert os.stat(editor.path_of("local")).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("core.remote", (CORE, "remote")),
        ("CORE.Remote", (CORE, "remote")),
        ("remote.A.url", (SectionKey("remote", "a"), "url")),
        ("remote.a.b.url", (SectionKey("remote", "a.b"), "url")),
        ("remote.a", (SectionKey("remote"), "a")),
        ("db.d.url", (SectionKey("db", "d"), "url")),
        ("core", None),
        ("core.", None),
        ("core.a.b", None),
        ("remote.a.", None),
        ("", None),
    ],
)
def test_dotted_names_mean_sections_and_options(name: str, key: object) -> None:
    assert option_key(name) == key


def test_secrets_are_known_and_passwords_in_addresses_masked() -> None:
    assert is_secret("a", "Password")
    assert not is_secret("a", "user")
    assert masked("https://me:pw@h/x:y@z") == "https://me:***@h/x:y@z"
    assert masked("https://h/a:b@c") == "https://h/a:b@c"
    assert masked("ssh://me@h/x") == "ssh://me@h/x"
    assert masked("/a:b@c") == "/a:b@c"
