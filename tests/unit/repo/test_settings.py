"""Settings: levels, paths, types, remotes, and what is refused when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kist.errors import ConfigError
from kist.formats.config import SectionKey
from kist.repo.settings import (
    ConfigPaths,
    ConfigUnreadableError,
    InvalidSettingError,
    NoRemoteError,
    Settings,
    UnknownRemoteError,
    load_settings,
)

PATHS = ConfigPaths(
    "/etc/dvc/config", "/home/me/.config/dvc/config", "/p/.dvc/config", "/p/.dvc/config.local"
)


def load(
    project: str = "",
    *,
    local: str = "",
    user: str = "",
    system: str = "",
    check: bool = True,
    home: str = "/home/me",
) -> Settings:
    files = dict(zip(PATHS, (system, user, project, local), strict=True))

    def read(path: str | None) -> bytes | None:
        return files[path].encode() if files[path] else None

    return load_settings(PATHS, read, home=home, check=check)


def test_without_files_everything_has_its_default() -> None:
    settings = load()
    assert settings.core_remote is None
    assert (settings.autostage, settings.no_scm, settings.hardlink_lock, settings.shared_group) == (
        False,
    ) * 4
    assert settings.checksum_jobs is None
    assert settings.cache_dir is None
    assert settings.cache_types == ("reflink", "copy")
    assert settings.remotes == {}
    assert settings.default_remote() is None


def test_values_have_types() -> None:
    settings = load(
        "[core]\nremote = Store\nautostage = TRUE\nno_scm = true\nhardlink_lock = true\nchecksum_jobs = 04\n"
        "[cache]\nshared = Group\ntype = hardlink, symlink\n"
    )
    assert settings.core_remote == "store"
    assert settings.autostage and settings.no_scm and settings.hardlink_lock and settings.shared_group
    assert settings.checksum_jobs == 4
    assert settings.cache_types == ("hardlink", "symlink")


@pytest.mark.parametrize(
    "spelling", ["hardlink,symlink", '"hardlink,symlink"', '"hardlink, symlink"', "hardlink, symlink"]
)
def test_link_types_may_be_a_list_or_a_text(spelling: str) -> None:
    assert load(f"[cache]\ntype = {spelling}\n").cache_types == ("hardlink", "symlink")


def test_later_levels_win_option_by_option() -> None:
    settings = load(
        system='[core]\nremote = s\nautostage = true\n[remote "r"]\nurl = s3://s\njobs = 1\n',
        user="[core]\nremote = u\nchecksum_jobs = 2\n",
        project="[core]\nremote = p\n",
        local='[remote "R"]\njobs = 3\npassword = x\n',
        check=False,
    )
    assert (settings.core_remote, settings.autostage, settings.checksum_jobs) == ("p", True, 2)
    remote = settings.remote("r")
    assert (remote.location, remote.integer("jobs"), remote.text("password")) == ("s3://s", 3, "x")
    assert (remote.level, remote.file) == ("system", PATHS.system)
    setting = settings.get(SectionKey("remote", "r"), "jobs")
    assert setting is not None
    assert (setting.level, setting.file, setting.line) == ("local", PATHS.local, 2)
    assert settings.only("project").core_remote == "p"
    assert settings.up_to("global").core_remote == "u"


def test_relative_paths_start_at_their_own_file() -> None:
    settings = load(
        '[cache]\ndir = ../../c\n[remote "a"]\nurl = ../st\n[remote "b"]\nurl = .\n[remote "h"]\nurl = ~/st\n'
        '[remote "e"]\nurl = $HOME/st\n[remote "abs"]\nurl = /x/../y\n[remote "ssh"]\nurl = ssh://h/p\nkeyfile = k\n',
        user='[remote "g"]\nurl = st\n',
    )
    assert settings.cache_dir == "/c"
    assert {name: remote.location for name, remote in settings.remotes.items()} == {
        "g": "/home/me/.config/dvc/st",
        "a": "/p/st",
        "b": "/p/.dvc",
        "h": "/home/me/st",
        "e": "/p/.dvc/$HOME/st",
        "abs": "/x/../y",
        "ssh": "ssh://h/p",
    }
    assert settings.remote("a").url == "../st"
    assert settings.remote("a").scheme == "local"
    assert settings.remote("ssh").text("keyfile") == "/p/.dvc/k"
    assert load("[cache]\ndir = ~\n").cache_dir == "/home/me"


def test_a_remote_may_stand_on_another_one() -> None:
    settings = load(
        '[remote "base"]\nurl = s3://b/x/\nprofile = p\njobs = 2\n[remote "sub"]\nurl = remote://base/y\njobs = 3\n'
        '[remote "same"]\nurl = remote://BASE\n[remote "a"]\nurl = remote://c\n[remote "c"]\nurl = remote://a\n'
        '[remote "lost"]\nurl = remote://gone/x\n'
    )
    sub = settings.remote("sub")
    assert (sub.name, sub.location, sub.scheme) == ("sub", "s3://b/x/y", "s3")
    assert (sub.text("profile"), sub.integer("jobs")) == ("p", 3)
    assert settings.remote("same").location == "s3://b/x/"
    with pytest.raises(InvalidSettingError, match="refers to itself"):
        settings.remote("a")
    with pytest.raises(UnknownRemoteError, match="'gone'"):
        settings.remote("lost")


def test_options_of_remotes_have_types() -> None:
    remote = load('[remote "s"]\nurl = s3://b\nuse_ssl = False\nssl_verify = true\n').remote("s")
    assert remote.boolean("use_ssl", True) is False
    assert remote.boolean("allow_anonymous_login", False) is False
    assert remote.boolean("ssl_verify", False) is True
    assert remote.integer("read_timeout") is None


def test_the_remote_to_use_is_the_named_the_default_or_the_only_one() -> None:
    one = '[remote "a"]\nurl = s3://a\n'
    two = one + '[remote "b"]\nurl = s3://b\n'
    assert load(two).choose_remote("B").remote.name == "b"
    assert load("[core]\nremote = B\n" + two).choose_remote(None) == (load(two).remote("b"), False)
    assert load(one).choose_remote(None) == (load(one).remote("a"), True)
    with pytest.raises(NoRemoteError) as caught:
        load(two).choose_remote(None)
    assert (
        caught.value.hint
        == "choose one for all commands with `kist remote default NAME`, or for this one with `-r NAME`"
    )
    with pytest.raises(NoRemoteError) as caught:
        load().choose_remote(None)
    assert caught.value.hint == "kist remote add -d NAME ADDRESS"
    with pytest.raises(UnknownRemoteError):
        load("[core]\nremote = c\n" + one).choose_remote(None)


def test_a_mistyped_remote_suggests_the_right_one() -> None:
    settings = load('[remote "storage"]\nurl = s3://a\n')
    for name, hint in (("storgae", "did you mean 'storage'?"), ("zzz", "there are: storage")):
        with pytest.raises(UnknownRemoteError) as caught:
            settings.remote(name)
        assert caught.value.hint == hint
    with pytest.raises(UnknownRemoteError) as caught:
        load().remote("x")
    assert caught.value.hint == "kist remote add x ADDRESS"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[core]\n\nremot = x\n", "line 3: 'core.remot': unknown option", "did you mean 'core.remote'?"),
        ("[core]\nqqq = x\n", "line 2: 'core.qqq': unknown option", "kist config --project --unset core.qqq"),
        ("\n[cor]\n", "line 2: unknown section 'cor'", "did you mean 'core'?"),
        ("[qqq]\n", "line 1: unknown section 'qqq'", "mend line 1 of '/p/.dvc/config'"),
        ("[core]\nautostage = yes\n", "'core.autostage': expected true or false", None),
        ("[core]\nchecksum_jobs = 0\n", "'core.checksum_jobs': expected 1 or more", None),
        ("[core]\nchecksum_jobs = a\n", "'core.checksum_jobs': expected a whole number", None),
        ("[core]\nremote = a, b\n", "'core.remote': expected one value", None),
        ("[cache]\nshared = all\n", "'cache.shared': expected group", None),
        ("[cache]\ntype = hardlnk\n", "'cache.type': expected some of", None),
        ("[parsing]\nbool = x\n", "expected store_true or boolean_optional", None),
        ('[remote "r"]\nurl = s3://b\npassword = x\n', "'remote.r.password': unknown option", None),
        ('[remote "r"]\nurl = s3://b\nprofil = x\n', "unknown option", "did you mean 'remote.r.profile'?"),
        ('[remote "r"]\nurl = s3://b\ncache_regions = true\n', "DVC", None),
        ('[db "d"]\nx = 1\n', "'db.d.x': unknown option", None),
    ],
)
def test_what_is_wrong_is_refused_with_file_line_and_hint(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(InvalidSettingError) as caught:
        load(text)
    assert caught.value.message.startswith("cannot use config file '/p/.dvc/config', line ")
    assert message in caught.value.message
    assert caught.value.exit_code == 251
    if hint is not None:
        assert caught.value.hint == hint
    load(text, check=False)


@pytest.mark.parametrize(
    "text",
    [
        "[feature]\nfoo = 1\n",
        "[Global]\nCloud = AWS\n# c\nLogLevel = Info\n[AWS]\nStoragePath = x/y\nSpotPrice = \n[GCP]\nProjectName = \n",
        "[Core]\nCloud = AWS\nLogLevel = Info\n",
        '[remote "gone"]\npassword = x\n',
        '[remote "gone"]\n',
        '[remote "r"]\nurl = ck://x\nanything = 1\n',
        '[remote "r"]\nurl = remote://x\nanything = 1\n',
        '[machine "m"]\ncloud = aws\n',
        "[state]\ndir = x\nrow_limit = 1\n[index]\ndir = x\n",
        '[core]\nexperiments = true\n[cache]\nprotected = true\ns3 = x\n[remote "r"]\nurl = s3://b\nno_traverse = true\n',
    ],
)
def test_what_is_old_left_over_or_unused_is_accepted(text: str) -> None:
    assert list(load(text).problems()) == []


def test_an_unknown_scheme_is_an_error_when_the_remote_is_used() -> None:
    settings = load('[remote "r"]\nurl = ck://x\n')
    with pytest.raises(InvalidSettingError, match="'ck://'"):
        settings.remote("r")


def test_an_unknown_feature_is_a_warning() -> None:
    assert load("[feature]\nfoo = 1\nmachine = true\n").warnings() == [
        "'feature.foo' in '/p/.dvc/config' is not known; it has no effect"
    ]


def test_another_revision_is_read_from_its_bytes() -> None:
    settings = Settings.from_bytes(b'[remote "r"]\nurl = ../st\n', path="/p/.dvc/config")
    assert settings.remote("r").location == "/p/st"
    with pytest.raises(InvalidSettingError):
        Settings.from_bytes(b"[core]\nx = 1\n", path="/p/.dvc/config")


def test_missing_files_are_empty_and_unreadable_ones_are_named(tmp_path: Path) -> None:
    missing = ConfigPaths(None, str(tmp_path / "no" / "config"), None, str(tmp_path / "config.local"))
    assert load_settings(missing).levels == ()
    os.mkdir(tmp_path / "config.local")
    with pytest.raises(ConfigUnreadableError) as caught:
        load_settings(missing)
    assert str(tmp_path / "config.local") in caught.value.message
    assert isinstance(caught.value, ConfigError)
