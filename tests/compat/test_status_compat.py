"""`status` beside the real DVC: its JSON, its text, its exit codes."""

from __future__ import annotations

import pytest

from .helpers import (
    Beside,
    Case,
    Command,
    append,
    case,
    chmod,
    delete,
    dvc,
    git,
    make_folder,
    replace,
    tool,
    write,
)

_JSON = tool("status --json", stdout="as JSON")
_TEXT = tool("status", stdout="as lines")  # DVC lists stages in the order of the file system
_QUIET_SAME = tool("status -q", stdout="exact")
_QUIET_CHANGED = tool("status -q", code=1, stdout="exact")
_CLOUD = tool("status -c --json", stdout="as JSON")
_CLOUD_TEXT = tool("status -c", stdout="as lines")


def _seen(
    name: str,
    start: str,
    *steps: object,
    changed: bool = True,
    except_for: tuple[str, ...] = (),
    because: str = "",
) -> Case:
    """Returns a case that looks at one state by every form of `status`."""
    forms: tuple[Command, ...] = (_JSON, _TEXT, _QUIET_CHANGED if changed else _QUIET_SAME)
    return case(name, start, *steps, *forms, except_for=except_for, because=because)  # type: ignore[arg-type]


LOCAL = (
    # DVC has a second line there, an address of its own.
    case("nothing tracked", "empty", _JSON, tool("status"), _QUIET_SAME, tool("status -R .")),
    case("nothing tracked, nothing committed", "nothing", git("init -q"), dvc("init"), _JSON, _QUIET_SAME),
    _seen(
        "nothing committed",
        "nothing",
        git("init -q"),
        dvc("init"),
        write("f", "1"),
        dvc("add f"),
        write("f", "2"),
    ),
    _seen("nothing changed", "tracked", changed=False),
    _seen("a modified file", "tracked", write("file.txt", "two\n")),
    _seen("a touched file", "tracked", write("file.txt", "one\n"), changed=False),
    _seen("a file of the same size", "tracked", write("file.txt", "two\n")),
    _seen("a deleted file", "tracked", delete("file.txt")),
    _seen("a deleted folder", "tracked", delete("data")),
    _seen("a new member", "tracked", write("data/n", "n")),
    _seen("a deleted member", "tracked", delete("data/a.txt")),
    _seen("a file where a folder was", "tracked", delete("data"), write("data", "x")),
    _seen("a folder where a file was", "tracked", delete("file.txt"), write("file.txt/x", "x")),
    _seen(
        "an object missing in the cache",
        "tracked",
        delete(".dvc/cache/files/md5/5b/bf5a52328e7439ae6e719dfe712200"),
    ),
    _seen("the whole cache missing", "tracked", delete(".dvc/cache")),
    _seen("data and cache missing", "clone", delete("file.txt", "data", ".dvc/cache")),
    _seen("a .dvc file without hash", "tracked", write("file.txt.dvc", "outs:\n- path: file.txt\n")),
    _seen("an executable bit that came", "tracked", chmod("file.txt", 0o755), changed=False),
    _seen("an executable bit that went", "tracked", chmod("exec.sh", 0o644), changed=False),
    _seen("a new empty folder inside", "tracked", make_folder("data/void"), changed=False),
    _seen(
        "a new ignored member",
        "tracked",
        append(".dvcignore", "*.log\n"),
        write("data/x.log", "x"),
        changed=False,
    ),
    _seen("2.x data", "legacy", changed=False),
    _seen(
        "2.x data that changed",
        "legacy",
        write("table.csv", "x\n"),
        write("data/a.txt", "x"),
        except_for=("repo/.dvc/cache/3c",),
        because="rule R4: DVC's status stores the manifest of the data it sees, whose files nothing has stored",
    ),
    _seen("2.x data with other line ends", "legacy", write("table.csv", "head\nrow\n"), changed=False),
    _seen("several folders", "many", write("raw/a.csv", "2"), delete("raw/deep/d.csv")),
    case(
        "from a folder below",
        "many",
        write("raw/a.csv", "2"),
        tool("status", cwd="repo/raw/deep", stdout="exact"),
    ),
    case(
        "JSON from a folder below",
        "many",
        write("raw/a.csv", "2"),
        tool("status --json", cwd="repo/raw/deep", stdout="as JSON"),
    ),
    _seen("without Git", "no scm", write("file.txt", "2")),
)

PIPELINES = (
    _seen("nothing changed", "pipeline", changed=False),
    _seen("a changed dependency", "pipeline", write("file.txt", "two\n")),
    _seen("a changed param", "pipeline", replace("params.yaml", "0.5", "0.7")),
    _seen("a deleted param", "pipeline", write("params.yaml", "other: 1\n")),
    _seen("a deleted params file", "pipeline", delete("params.yaml")),
    _seen("a changed output", "pipeline", write("model", "x")),
    _seen("a deleted output", "pipeline", delete("prepared")),
    _seen("a deleted dependency", "pipeline", delete("file.txt")),
    _seen("a changed command", "pipeline", replace("dvc.yaml", "cp prepared/x", "cp  prepared/x")),
    _seen(
        "a new dependency",
        "pipeline",
        replace("dvc.yaml", "    - prepared\n    params", "    - prepared\n    - exec.sh\n    params"),
    ),
    _seen("a metric that is not cached", "pipeline", write("metrics.json", "{}")),
    _seen("no lock", "pipeline", delete("dvc.lock")),
    _seen(
        "a frozen stage",
        "pipeline",
        dvc("freeze train"),
        write("prepared/x", "x"),
        replace("params.yaml", "0.5", "0.7"),
    ),
    _seen(
        "a stage that always runs",
        "pipeline",
        replace("dvc.yaml", "  train:\n", "  train:\n    always_changed: true\n"),
    ),
)

TARGETS = (
    case(
        "a .dvc file",
        "tracked",
        write("file.txt", "2"),
        write("data/n", "n"),
        tool("status --json file.txt.dvc", stdout="as JSON"),
    ),
    case(
        "two .dvc files",
        "tracked",
        write("file.txt", "2"),
        write("data/n", "n"),
        tool("status --json file.txt.dvc data.dvc", stdout="as JSON"),
    ),
    case(
        "an output",
        "tracked",
        write("file.txt", "2"),
        write("data/n", "n"),
        tool("status --json data", stdout="as JSON"),
    ),
    case(
        "a path inside a tracked folder",
        "tracked",
        write("data/a.txt", "2"),
        write("data/n", "n"),
        tool("status --json data/a.txt", stdout="as JSON"),
    ),
    case(
        "a stage",
        "pipeline",
        write("model", "2"),
        write("file.txt", "2"),
        tool("status --json train", stdout="as JSON"),
    ),
    case(
        "one output of a stage",
        "pipeline",
        write("model", "2"),
        write("metrics.json", "2"),
        write("prepared/x", "2"),
        tool("status --json model", stdout="as JSON"),
        tool("status --json cached.json", stdout="as JSON"),
        tool("status --json -d metrics.json", stdout="as JSON"),
        tool("status --json prepared/x", stdout="as JSON"),
        tool("status --json model train", stdout="as JSON"),
        tool("status -q prepared", code=1),
    ),
    case(
        "-d",
        "pipeline",
        write("model", "2"),
        write("file.txt", "2"),
        tool("status --json -d train", stdout="as JSON"),
    ),
    case(
        "dvc.yaml",
        "pipeline",
        write("model", "2"),
        write("file.txt", "2"),
        tool("status --json dvc.yaml", stdout="as JSON"),
    ),
    case(
        "dvc.yaml:stage",
        "pipeline",
        write("model", "2"),
        tool("status --json dvc.yaml:train", stdout="as JSON"),
    ),
    case(":stage", "pipeline", write("model", "2"), tool("status --json :train", stdout="as JSON")),
    case(
        "-R",
        "many",
        write("raw/a.csv", "2"),
        write("raw/deep/d.csv", "2"),
        tool("status --json -R raw/deep", stdout="as JSON"),
    ),
    case("a folder without -R", "many", write("raw/a.csv", "2"), tool("status --json raw", code=1)),
    case("-R with nothing below", "many", make_folder("void"), tool("status -R void", stdout="exact")),
    case("an unknown target", "tracked", tool("status nope", code=1)),
    case("an unknown .dvc file", "tracked", tool("status nope.dvc", code=1)),
    case("--no-updates", "tracked", tool("status --no-updates --json", stdout="as JSON")),
    case(
        "-q of one target",
        "tracked",
        write("file.txt", "2"),
        tool("status -q data.dvc"),
        tool("status -q file.txt.dvc", code=1),
    ),
    case("outside any repository", "git only", tool("status", code=253)),
    case("an unknown option", "tracked", tool("status --nope", code=254)),
    case("a broken .dvc file", "tracked", write("bad.dvc", "outs: [\n"), tool("status", code=1)),
    case("an unknown key", "tracked", append("file.txt.dvc", "nope: 1\n"), tool("status", code=1)),
    case(
        "a damaged metafile",
        "pipeline",
        write("file.txt.dvc", "<<<<<<< HEAD\nouts:\n=======\n"),
        tool("status --json", code=1),
        tool("status -q", code=1),
        tool("status -c", code=1),
        git("checkout -q file.txt.dvc"),
        write("dvc.lock", "stages: [\n"),
        tool("status --json", code=1),
        tool("status -q data.dvc"),
    ),
    case(
        "a .dvc file of nothing",
        "tracked",
        write("bad.dvc", ""),
        tool("status", kist_code=1, because="fault F19: an empty .dvc file is reported"),
    ),
    case(
        "an unknown config option",
        "tracked",
        append(".dvc/config", "[core]\n    nope = 1\n"),
        tool("status", code=251),
    ),
)

CLOUD = (
    case(
        "nothing tracked", "empty", _CLOUD, tool("status -c"), tool("status -c -q"), tool("status -c -r nope")
    ),
    case("nothing tracked, a remote", "storage", _CLOUD, tool("status -c -q")),
    case(
        "data from an address",
        "storage",
        write("other/q", "q", cwd="."),
        dvc("import-url ../other/q q"),
        _CLOUD,
        tool("push"),
        _CLOUD,
    ),
    case("nothing pushed", "tracked", _CLOUD, _CLOUD_TEXT, tool("status -c -q", code=1)),
    case("all pushed", "pushed", _CLOUD, _CLOUD_TEXT, tool("status -c -q")),
    case("a member missing in the remote", "pushed", delete("../remote/files/md5/5b"), _CLOUD),
    case(
        "the cache lost",
        "pushed",
        delete(".dvc/cache"),
        _CLOUD,
        _CLOUD_TEXT,
        except_for=("repo/.dvc/cache",),
        because="rule R4: DVC puts the manifest, without its files, into the cache; looking changes nothing here",
    ),
    case(
        "missing in both",
        "tracked",
        delete(".dvc/cache"),
        tool("status -c --json file.txt.dvc exec.sh.dvc", stdout="as JSON"),
        tool("status -c file.txt.dvc exec.sh.dvc", stdout="as lines"),
        tool(
            "status -c -q data.dvc",
            kist_code=1,
            because="fault F18: what is missing is named; DVC says nothing of a directory whose manifest is lost",
        ),
    ),
    case("one target", "tracked", tool("status -c --json file.txt.dvc", stdout="as JSON")),
    case("a path inside a tracked folder", "tracked", tool("status -c --json data/a.txt", stdout="as JSON")),
    case(
        "-r",
        "tracked",
        make_folder("other", cwd="."),
        dvc("remote add other ../other"),
        dvc("push -r other"),
        tool("status -c -r other --json", stdout="as JSON"),
    ),
    case("-r alone means the cloud", "tracked", tool("status -r storage --json", stdout="as JSON")),
    case("-r of an unknown remote", "tracked", tool("status -c -r nope", code=1)),
    case("no remote at all", "tracked", dvc("remote remove storage"), tool("status -c", code=1)),
    case("-a", "second not pushed", delete("../remote/files"), tool("status -c -a --json", stdout="as JSON")),
    case("-T", "second not pushed", tool("status -c -T --json", stdout="as JSON")),
    case("-A", "second not pushed", tool("status -c -A --json", stdout="as JSON")),
    case("-j", "tracked", tool("status -c -j 2 --json", stdout="as JSON")),
    case(
        "-a on another branch",
        "second not pushed",
        git("checkout -q old"),
        tool("status -c -a --json", stdout="as JSON"),
    ),
    # Where several paths hold the same content, DVC names the first in the order of the file system, Kist all: no two
    # outputs that are asked for at once are equal here.
    case(
        "a pipeline",
        "pipeline",
        delete("../remote/files"),
        tool("status -c --json prepare data.dvc exec.sh.dvc", stdout="as JSON"),
        tool("status -c --json train", stdout="as JSON"),
    ),
    case("push: false", "tracked", append("file.txt.dvc", "  push: false\n"), _CLOUD),
    case("2.x data", "legacy", _CLOUD),
    case("2.x data, remote lost", "legacy", delete("../remote"), make_folder("../remote"), _CLOUD),
)


@pytest.mark.parametrize("checked", LOCAL, ids=lambda checked: checked.name)
def test_status_of_data_says_what_dvc_says(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", PIPELINES, ids=lambda checked: checked.name)
def test_status_of_pipelines_says_what_dvc_says(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", TARGETS, ids=lambda checked: checked.name)
def test_status_of_targets_says_what_dvc_says(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", CLOUD, ids=lambda checked: checked.name)
def test_status_of_the_remote_says_what_dvc_says(checked: Case, beside: Beside) -> None:
    beside.check(checked)
