"""`config`, `remote` and `cache dir` beside the real DVC: files, output and exit codes."""

from __future__ import annotations

import os
import shutil

import pytest

from .helpers import Action, Beside, Case, Step, World, make_folder, tool, write
from .helpers import case as plain_case

_SECTIONS_FOR_ALL = """\
['remote "b"']
url=s3://a/b
jobs = 4
[Core]
Remote = B
  autostage = True

[plots]
[cache]
type = hardlink, symlink
dir = ../../x y
[db "d"]
url = u
[remote "A"]
url = /abs
[remote "c"]
url = "q"
"""


def case(name: str, start: str, *steps: Step, except_for: tuple[str, ...] = (), because: str = "") -> Case:
    """Returns a case on a terminal that is wide enough: DVC breaks long lines of `remote list`, Kist does not."""
    return plain_case(name, start, _widen, *steps, except_for=except_for, because=because)


def _widen(world: World) -> None:
    world.env["COLUMNS"] = "1000"


def _keep(name: str) -> Action:
    """Returns a step that keeps a copy of the project's file for the comparison at the end."""
    return lambda world: (
        str(shutil.copyfile(world.path("repo", ".dvc", "config"), world.path("repo", name))) and None
    )


def _show_user_config() -> Action:
    """Returns a step that puts the user's own configuration where it is compared."""

    def act(world: World) -> None:
        source = world.path("home", "global", "config")
        if os.path.exists(source):
            shutil.copyfile(source, world.path("repo", "user-config"))

    return act


def seen(line: str, code: int = 0, cwd: str = "repo") -> Step:
    """Returns a step whose output must be the same, byte for byte."""
    return tool(line, code=code, stdout="exact", cwd=cwd)


def _remotes(options: str = "") -> Action:
    """Returns a step that keeps the output of `remote list` for the comparison at the end.

    How wide its columns are depends on the length of the world's own path.
    """

    def act(world: World) -> None:
        result = world.run(["remote", "list", *options.split()], "repo")
        assert result.code == 0
        with open(world.path("repo", "listed"), "a") as stream:
            stream.write("\n".join(" ".join(line.split()) for line in result.stdout.splitlines()) + "\n--\n")

    return act


def _listing() -> tuple[Step, ...]:
    return (seen("config -l --show-origin"), _remotes())


_NO_EMPTY_FILE = "DVC leaves an empty local file where it had nothing to change; Kist makes none"

OPTIONS = (
    case("a plain option", "empty", seen("config core.autostage true"), seen("config core.autostage"), *_listing()),
    case("an option that is changed", "storage", seen("config core.remote other"), seen("config core.remote"), *_listing()),
    case("an option that is removed", "storage", seen("config -u core.remote"), *_listing()),
    case("the last option is removed", "empty", seen("config core.interactive true"), seen("config --unset core.interactive")),
    case("removed with a value given", "storage", seen("config -u core.remote x")),
    case("an option that is not set", "storage", seen("config core.autostage"), seen("config --project core.autostage", 251)),
    case("an option of an unknown section", "storage", seen("config nosuch.x"), seen("config --local nosuch.x", 251)),
    case("an unknown option", "storage", seen("config core.nosuch"), seen("config core.nosuch 1", 251), seen("config nosuch.x 1", 251)),
    case("removing what is not there", "storage", seen("config -u core.autostage", 251), seen("config -u nosuch.x", 251)),
    case("keys in upper case", "storage", seen("config CORE.Remote"), seen("config core.AutoStage true"), *_listing()),
    case("an unknown feature", "empty", seen("config feature.foo 1"), seen("config core.autostage true"), *_listing()),
    case("an option of a remote", "storage", seen("config remote.storage.jobs 3"), seen("config remote.storage"), *_listing()),
    case("a remote by its address", "storage", seen("config remote.new.url ../x"), seen("config remote.x.jobs 1", 251), *_listing()),
    case("an option of a database", "empty", seen("config db.d.url x"), seen("config db.d.nosuch x", 251), *_listing()),
    case("all levels", "storage",
         seen("config --local core.remote l"), seen("config --global core.remote g"), seen("config --system core.analytics false"),
         seen("config core.remote"), seen("config --global core.remote"), seen("config --show-origin core.remote"),
         seen("config -l --global"), seen("config -l --local --show-origin"), *_listing(), _show_user_config()),
    case("from a folder below", "storage", make_folder("sub"),
         seen("config cache.dir ../store", cwd="repo/sub"), seen("config cache.dir", cwd="repo/sub"),
         seen("config --show-origin cache.dir", cwd="repo/sub"), seen("config -l --show-origin", cwd="repo/sub")),
    case("a list for cache.type", "empty", seen("config cache.type hardlink,symlink"), seen("config cache.type"), *_listing()),
    case("a list with blanks", "empty", seen("config cache.type 'reflink, copy'"), seen("config cache.type foo", 251), seen("config cache.type REFLINK", 251), seen("config cache.type ''", 251)),
    case("a file that DVC would write otherwise", "empty", write(".dvc/config", _SECTIONS_FOR_ALL), seen("config -l"), seen("config cache.type"), seen("config core.interactive false"), seen("config -l")),
    case("outside a repository", "git only", seen("config -l"), seen("config core.remote"), seen("config core.remote x", 251), seen("config --local core.remote", 251), seen("config --global core.analytics false"), seen("config core.analytics"), _show_user_config()),
    case("arguments that do not go together", "storage",
         seen("config", 1), seen("config -u", 1), seen("config -l core.remote", 1), seen("config -l -u", 1),
         seen("config --show-origin core.remote x", 1), tool("config nodot", code=254), tool("config core.a.b", code=254),
         tool("config --local --global -l", code=254), tool("config --nosuch", code=254)),
    case("-q", "storage", seen("-q config core.remote"), seen("-q config -l"), seen("-q config core.nosuch")),
)  # fmt: skip

_WRONG = (
    "core.interactive maybe", "core.checksum_jobs 0", "core.checksum_jobs x", "core.checksum_jobs 5.0", "cache.shared all",
    "parsing.bool x", "hydra.enabled 1", "studio.offline no", "state.row_limit x", "core.check_update yes",
    "cache.verify 1", "cache.slow_link_warning x", "plots.auto_open x", "exp.auto_push x",
)  # fmt: skip
_RIGHT = (
    "core.analytics TRUE", "core.remote FOO", "core.checksum_jobs 04", "cache.shared GROUP", "cache.protected true",
    "parsing.bool store_true", "parsing.list nargs", "exp.code x", "exp.auto_push true", "core.experiments true",
    "core.machine m", "cache.s3 x", "state.dir s", "index.dir s", "plots.html_template t", "plots.out_dir o",
    "core.site_cache_dir sc", "hydra.config_dir h", "hydra.plugins_path h", "studio.token t", "feature.machine true",
)  # fmt: skip
_REMOTE_WRONG = (
    "s ask_password x", "s ask_passphrase 1", "s timeout x", "s type foo", "l type foo", "l shared x", "h auth foo",
    "h jobs 0", "h jobs -1", "h checksum_jobs 0", "h verify x", "w timeout x", "hd replication 3", "s3 use_ssl maybe",
    "s3 read_timeout x", "s3 cache_regions true", "s3 keyfile x", "l password x", "h profile x", "wh kerb_ticket k",
    "gd region x", "az timeout x", "nosuch jobs 1",
)  # fmt: skip
_REMOTE_RIGHT = (
    "s keyfile k", "s type reflink,copy", "s port 22", "s user u", "s gss_auth true", "s max_sessions 3", "s timeout -3",
    "s3 credentialpath k", "s3 configpath k", "s3 ssl_verify k", "s3 ssl_verify false", "s3 sse k", "s3 profile p",
    "s3 region r", "s3 endpointurl http://h:1", "s3 access_key_id a", "s3 listobjects true", "s3 version_aware true",
    "s3 worktree true", "s3 verify true", "s3 no_traverse true", "s3 connect_timeout 1", "s3 acl a", "s3 grant_read id=1",
    "w cert_path k", "w key_path k", "w bearer_token_command c", "w custom_auth_header X", "h auth BASIC",
    "h ask_password true", "h method put", "h ssl_verify maybe", "gs credentialpath k", "gs projectname p",
    "gd gdrive_user_credentials_file k", "gd gdrive_service_account_json_file_path k", "gd gdrive_use_service_account true",
    "gd gdrive_trash_only true", "hd kerb_ticket k", "wh data_proxy_target k", "wh kerberos true",
    "az account_name a", "az allow_anonymous_login true", "az exclude_environment_credential true", "az timeout 1",
    "o oss_key_id k", "o oss_endpoint e", "l type copy", "l shared group", "l url ../other", "r jobs 3", "r profile p",
)  # fmt: skip
_ALL_SCHEMES = (
    "s ssh://h/p", "s3 s3://b/p", "w webdavs://h/p", "h https://h/p", "gs gs://b", "gd gdrive://x/y", "hd hdfs://h/p",
    "wh webhdfs://h/p", "az azure://c", "o oss://b", "l ../l", "r remote://s3/sub",
)  # fmt: skip

TYPES = (
    case("wrong values", "empty", *(seen(f"config {line}", 251) for line in _WRONG), seen("config -l")),
    case("all options of plain sections", "empty", make_folder("sub"), *(seen(f"config {line}", cwd="repo/sub") for line in _RIGHT), *_listing()),
    *(
        case(f"options of all schemes, {start + 1} to {start + 12}", "empty", make_folder("sub"),
             *(seen(f"remote add {line}", cwd="repo/sub") for line in _ALL_SCHEMES),
             *(seen(f"remote modify {line}", cwd="repo/sub") for line in _REMOTE_RIGHT[start : start + 12]),
             *_listing())
        for start in range(0, len(_REMOTE_RIGHT), 12)
    ),
    *(
        case(f"wrong options of all schemes, {start + 1} to {start + 12}", "empty",
             *(seen(f"remote add {line}") for line in _ALL_SCHEMES),
             *(seen(f"remote modify {line}", 251) for line in _REMOTE_WRONG[start : start + 12]),
             *_listing())
        for start in range(0, len(_REMOTE_WRONG), 12)
    ),
)  # fmt: skip

_VALUES = (
    "a b", " a", "a ", 'a"b', "a'b", "a'b\"c", "a#b", "a,b", "", '"quoted"', "'q'", "a%20b", "${x}", "a\nb", "[x]", "a = b",
    ";x", "!x", "t\tt", 'x"', "'", '"', "a;b", "=", "it's, \"q\"", "a,", ",", "#", "a\\b", "$HOME", "~", "a,b,c",
)  # fmt: skip


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\"'\"'") + "'"


VALUES = tuple(
    case(
        f"values that need quotes, and some that do not, {start + 1} to {start + 8}", "empty",
        *(step for number, value in enumerate(_VALUES[start : start + 8]) for step in (
            seen(f"remote add v{number} s3://b"),
            seen(f"remote modify v{number} profile -- {_quoted(value)}"),
            seen(f"config remote.v{number}.profile"),
        )),
        seen("config -l"),
    )
    for start in range(0, len(_VALUES), 8)
)  # fmt: skip

REMOTES = (
    case("add", "empty", seen("remote add st ../r"), seen("remote add -d St2 s3://b/p"), seen("remote add ORIGIN https://x/y,z#w"), *_listing()),
    case("add what is there", "storage", seen("remote add storage s3://x", 251), seen("remote add -f storage s3://x"), *_listing()),
    case("add over a remote with options", "storage", seen("remote modify storage jobs 3"), seen("remote add --force storage ../x"), *_listing()),
    case("add on every level", "storage", seen("remote add --local -d x s3://l"), seen("remote add x s3://p"), seen("remote add --global x ../g"), seen("remote add --system y s3://s"), *_listing(), _remotes("--local"), _remotes("--project"), _remotes("--global"), _show_user_config()),
    case("addresses of folders", "empty", make_folder("sub"), *(seen(f"remote add {line}", cwd="repo/sub") for line in ("a ../l", "b /tmp/../tmp/x", "c ~/x", "d '$HOME/x'", "e 'a b'", "f ../a%20b", "g .", "h ./x/", "i ''", "j file:///x/../y")), *_listing()),
    case("an address that nobody knows", "storage", seen("remote add x foo://y", 251), seen("remote modify storage url foo://x", 251), seen("config remote.x.url foo://x", 251)),
    case("names", "empty", *(seen(f"remote add {name} s3://x") for name in ("'a b'", "'b#c'", "a/b", "a.b", "'we\"ird]'", "' sp '", "dash-1_2")), *_listing()),
    case("columns", "empty", *(seen(f"remote add {name} s3://b") for name in ("x", "seven77", "eight888", "nine99999")), seen("remote default nine99999"), seen("remote list")),
    case("too few and too many arguments", "storage", tool("remote add x", code=254), tool("remote", code=254), tool("remote nosuch", code=254), tool("remote rename storage", code=254), tool("remote remove", code=254), tool("remote add a b c", code=254), tool("cache", code=254)),
    case("modify", "storage", seen("remote modify storage jobs 4"), seen("remote modify storage jobs 5"), seen("remote modify STORAGE url s3://b"), *_listing()),
    case("modify without a value", "storage", seen("remote modify storage jobs", 251)),
    case("modify and remove an option", "storage", seen("remote modify storage jobs 4"), seen("remote modify --local storage jobs 5"), seen("remote modify storage jobs -u"), seen("remote modify -u storage jobs"), seen("config -u --local remote.storage.jobs"), *_listing(), seen("remote modify storage url -u", 251)),
    case("modify a local option", "storage", seen("remote modify --local storage jobs 5"), seen("remote modify --local storage jobs --unset"), *_listing()),
    case("modify a remote of another level", "storage", seen("remote add --local x s3://b"), seen("remote modify x jobs 2", 251), seen("remote modify --project x jobs 2", 251), seen("remote modify --local x jobs 2"), seen("remote modify --global storage jobs 2", 251), *_listing()),
    case("a secret on a level", "empty", seen("remote add h https://x"), seen("remote modify --local h user u"), seen("remote modify --local h password p"), seen("remote modify --project h password p"), *_listing()),
    case("secrets hidden in options with a level", "empty", seen("remote add s s3://x"), seen("remote modify s access_key_id i"), seen("remote modify --local s secret_access_key k"), *_listing()),
    case("default", "storage", seen("remote add x s3://b"), seen("remote default"), seen("remote default X"), seen("remote default"), seen("remote default nosuch", 251), seen("remote default -u"), seen("remote default", 1), seen("remote default -u"), *_listing()),
    case("default on levels", "storage", seen("remote add --global g s3://b"), seen("remote add --local l s3://b"), seen("remote default --local", 1), seen("remote default --project"), seen("remote default --local g"), seen("remote default l"), seen("remote default --global storage", 251), seen("remote default --project l", 251), seen("remote default -u --local"), *_listing(), _remotes("--local"), _show_user_config()),
    case("remove", "storage", seen("remote add x s3://b"), seen("remote remove storage"), seen("remote remove storage", 251), *_listing(), seen("remote remove x"), *_listing(), except_for=("repo/.dvc/config.local",), because=_NO_EMPTY_FILE),
    case("remove one that is the default elsewhere", "storage", seen("remote default --local storage"), seen("remote remove storage"), *_listing()),
    case("remove on a level", "storage", seen("remote add --local storage s3://l"), seen("remote default --local storage"), seen("remote remove --local storage"), *_listing()),
    case("remove a user's own", "empty", seen("remote add --global -d g s3://b"), seen("remote add x s3://b"), seen("remote default g"), seen("remote remove g", 251), seen("remote remove --global g"), *_listing(), _show_user_config(), except_for=("repo/.dvc/config.local",), because=_NO_EMPTY_FILE),
    case("rename", "storage", seen("remote add x s3://b"), seen("remote rename storage other"), *_listing(), seen("remote rename other x", 251), seen("remote rename x x", 251), seen("remote rename nosuch z", 251), seen("remote rename x z/z"), *_listing(), except_for=("repo/.dvc/config.local",), because=_NO_EMPTY_FILE),
    case("rename one that is the default elsewhere", "storage", seen("remote default --local storage"), seen("remote rename storage other"), *_listing()),
    case("rename on a level", "storage", seen("remote add --local x s3://b"), seen("remote rename --local x y"), seen("remote rename --local storage z", 251), *_listing()),
    case("outside a repository", "git only", _remotes(), seen("remote add x s3://x", 251), seen("remote add --global x ../x"), _remotes(), _remotes("--global"), seen("remote default", 1), _show_user_config()),
)  # fmt: skip

CACHE = (
    case("show and set", "empty", seen("cache dir"), seen("cache dir ../c"), seen("cache dir"), seen("config cache.dir"), seen("cache dir -u"), seen("cache dir"), seen("cache dir -u", 251)),
    case("levels", "empty", seen("cache dir --local", 251), seen("cache dir --local ~/c"), seen("cache dir"), seen("cache dir --local"), seen("cache dir --project", 251), seen("cache dir --global ../g"), seen("cache dir --global"), seen("cache dir --local --unset"), seen("cache dir"), _show_user_config()),
    case("places", "empty", make_folder("sub"), *(seen(f"cache dir {place}", cwd="repo/sub") for place in ("x", ".", "../..", "/tmp/x", "'a b'", "'$HOME/d'", "'a#b'")), seen("cache dir", cwd="repo/sub")),
    case("outside a repository", "git only", seen("cache dir", 251), seen("cache dir x", 251), seen("cache dir --global ../x"), seen("cache dir --global"), _show_user_config()),
)  # fmt: skip

_GARBAGE = (
    "core\n", "[core\n", "[core]\nremote\n", "[core]\nremote = a\nremote = b\n", "[core]\n[core]\n", '[core]\nremote = "a\n',
    "[core]\ntype = 'a' b\n", "\udcff\n", "[core]\n= 3\n", "[core]\nx = '''a\n",
)  # fmt: skip
_ODD = (
    "[Remote \"X\"]\nURL = s3://b\nJobs = 2\n", "[remote \"x\"]\nurl = s3://y\njobs = 1\n[remote \"X\"]\nurl = s3://z\n",
    "[core]\r\nremote = a\r\n", "[core]\nremote = a", "[core]   # c\nremote = 'a'  # d\n#e\n",
    "[cache]\ntype = hardlink,\n", "[cache]\ndir = ''\n", "[core]\nremote =\n", "[core]\n  remote   =   \"a b\"  \n",
    "[remote \"x\"]\nurl = '''s3://y'''\n", "[db \"d\"]\nurl=x\n[machine \"m\"]\ncloud=aws\n[remote \"r\"]\nurl=/x\n[core]\nremote=r\n",
)  # fmt: skip


def _raw(text: str) -> Action:
    return write(".dvc/config", text.encode("utf-8", "surrogateescape"))


READING = (
    case("garbage", "empty", *(step for text in _GARBAGE for step in (
        _raw(text), tool("config -l", code=251), tool("config core.autostage true", code=251),
    )), _raw("")),
    *(
        case(f"odd files, {start + 1} to {start + 4}", "empty", *(
            step for text in _ODD[start : start + 4] for step in (_raw(text), seen("config -l"), _remotes(), seen("cache dir"))
        ))
        for start in range(0, len(_ODD), 4)
    ),
    *(
        case(f"odd files rewritten, {start + 1} to {start + 6}", "empty", *(
            step for number, text in enumerate(_ODD[start : start + 6]) if "#" not in text and "dir = ''" not in text for step in (
            _raw(text), seen("config core.autostage true"), seen("config -l"), _keep(f"rewritten-{number}"),
        )))
        for start in range(0, len(_ODD), 6)
    ),
    case("an unknown option can be removed", "empty", _raw("[core]\nnosuch=1\n"), seen("config core.autostage true", 251), seen("config -u core.nosuch")),
    case("an unknown option stops other commands", "storage", _raw("[core]\nnosuch=1\n"), tool("status", code=251)),
    case("an unknown section stops other commands", "storage", _raw("[nosuch]\n"), tool("status", code=251)),
    case("a wrong value stops other commands", "storage", _raw("[core]\nautostage=yes\n"), tool("status", code=251)),
    case("`root` reads no settings", "storage", _raw("[core]\nnosuch=1\n"), seen("root")),
)  # fmt: skip

EVERYTHING = (*OPTIONS, *TYPES, *VALUES, *REMOTES, *CACHE, *READING)


@pytest.mark.parametrize("checked", EVERYTHING, ids=lambda checked: checked.name)
def test_configuration_is_read_and_written_as_dvc_does(checked: Case, beside: Beside) -> None:
    beside.check(checked)


# What Kist does otherwise, on purpose (docs/spec/config.md, section 7). DVC's own way stands in the first world.


def test_an_address_alone_adds_origin_where_dvc_refuses(beside: Beside) -> None:
    theirs, ours = beside.worlds("empty")
    assert theirs.run(["remote", "add", "../st"], "repo").code == 254
    assert ours.run(["remote", "add", "../st"], "repo").code == 0
    assert theirs.run(["remote", "add", "origin", "../st"], "repo").code == 0
    assert _config(ours) == _config(theirs)


def test_a_secret_without_a_level_goes_to_the_local_file(beside: Beside) -> None:
    theirs, ours = beside.worlds("empty")
    for world in (theirs, ours):
        assert world.run(["remote", "add", "h", "https://x"], "repo").code == 0
        assert world.run(["remote", "modify", "h", "password", "pw"], "repo").code == 0
    assert "pw" in _config(theirs)
    assert "pw" not in _config(ours)
    # The real DVC finds it there.
    assert ours.run(["config", "remote.h.password"], "repo", by="dvc").stdout == "pw\n"


def test_comments_stay_and_dvc_reads_the_same(beside: Beside) -> None:
    theirs, ours = beside.worlds("empty")
    text = '# top\n[remote "x"]\nurl = s3://b # here\n[core]\n# inside\n'
    for world in (theirs, ours):
        write(".dvc/config", text)(world)
        for line in (
            "config core.autostage true",
            "remote modify x jobs 3",
            "remote add -d y ../y",
            "remote rename x z",
        ):
            assert world.run(line.split(), "repo").code == 0
    assert "#" not in _config(theirs)
    assert _config(ours) == (
        "# top\n['remote \"z\"']\nurl = s3://b # here\n    jobs = 3\n[core]\n    autostage = true\n    remote = y\n# inside\n"
        "['remote \"y\"']\n    url = ../../y\n"
    )
    listed = [
        sorted(world.run(["config", "-l"], "repo", by="dvc").stdout.splitlines()) for world in (theirs, ours)
    ]
    assert theirs.neutral(str(listed[0])) == ours.neutral(str(listed[1]))


def test_a_removed_remote_leaves_nothing_that_stops_dvc(beside: Beside) -> None:
    theirs, ours = beside.worlds("storage")
    for world in (theirs, ours):
        assert world.run(["remote", "modify", "--local", "storage", "jobs", "3"], "repo").code == 0
    # DVC refuses, because what it would leave behind would stop it.
    assert theirs.run(["remote", "remove", "storage"], "repo").code == 251
    assert ours.run(["remote", "remove", "storage"], "repo").code == 0
    assert ours.run(["status"], "repo", by="dvc").code == 0
    assert ours.run(["config", "-l"], "repo", by="dvc").stdout == ""


def test_options_of_a_remote_without_address_stop_dvc_and_not_kist(beside: Beside) -> None:
    theirs, ours = beside.worlds("storage")
    for world in (theirs, ours):
        write(".dvc/config.local", '[remote "gone"]\npassword = x\n')(world)
    assert theirs.run(["config", "core.autostage", "true"], "repo").code == 251
    assert ours.run(["config", "core.autostage", "true"], "repo").code == 0
    assert ours.run(["status"], "repo").code == 0


def test_an_unknown_scheme_stops_dvc_and_kist_only_when_it_is_used(beside: Beside) -> None:
    theirs, ours = beside.worlds("tracked")
    for world in (theirs, ours):
        write(".dvc/config", '[remote "x"]\nurl = ck://y\n')(world)
    assert theirs.run(["status"], "repo").code == 251
    assert ours.run(["status"], "repo").code == 0
    assert ours.run(["push", "-r", "x"], "repo").code != 0


def test_text_that_is_not_ascii_is_written_and_dvc_reads_it(beside: Beside) -> None:
    theirs, ours = beside.worlds("empty")
    _widen(ours)
    assert theirs.run(["remote", "add", "é", "../Größe, b"], "repo").code == 255
    assert ours.run(["remote", "add", "é", "../Größe, b"], "repo").code == 0
    listed = [ours.run(["remote", "list"], "repo", by=tool).stdout for tool in ("dvc", "kist")]
    assert listed[0] == listed[1]
    assert "Größe, b" in listed[0]


def _config(world: World) -> str:
    with open(world.path("repo", ".dvc", "config"), encoding="utf-8") as stream:
        return stream.read()
