"""Mistakes that people make with each command: one line that says what is wrong, one that says what to do."""

from __future__ import annotations

import pytest

from kist.testing.project import Project

MISTAKES = [
    (("add", "nothing"), 1, "cannot add 'nothing': it does not exist", "ls ."),
    (("add", "sub/nothing"), 1, "cannot add 'sub/nothing': it does not exist", "ls sub"),
    (("add", "data.dvc"), 1, "cannot add 'data.dvc': it is a metafile", "kist add data"),
    (("add",), 254, "`kist add` needs 'targets'", "kist add --help"),
    (
        ("add", "model.bin/x"),
        1,
        "cannot add 'model.bin/x': 'model.bin' is tracked as a file",
        "kist add model.bin",
    ),
    (("add", "/"), 1, "cannot use '/': it is outside of the repository", "name a path that is in it"),
    (("add", ".git/config"), 1, "cannot add '.git/config': it belongs to Git", "name another path"),
    (
        ("add", "--file", "notes.txt", "code.py"),
        1,
        "cannot write 'notes.txt': a metafile's name ends in '.dvc'",
        "kist add --file notes.txt.dvc code.py",
    ),
    (
        ("add", "-r", "store", "code.py"),
        1,
        "cannot add: --remote goes with --to-remote",
        "add `--to-remote`, or leave it out",
    ),
    (
        ("add", "http://127.0.0.1:1/x", "--out", "x"),
        1,
        "cannot reach remote 'http://127.0.0.1:1/x' at 'http://127.0.0.1:1/x': connection refused",
        "is the address right, and the server running?",
    ),
    (("--cd", "no/where", "status"), 255, "cannot change to 'no/where': no such file or directory", "ls no"),
    (
        ("checkout", ".."),
        255,
        "cannot use '..': it is outside of the repository",
        "name a path that is in it",
    ),
    (("log", "dta"), 1, "cannot find 'dta': no version has data of this name", "did you mean 'data'?"),
    (("log", "zzzzzz"), 1, "cannot find 'zzzzzz': no version has data of this name", "kist log"),
    (("restore", "modle.bin"), 1, "cannot restore 'modle.bin'", "did you mean 'model.bin'?"),
    (("restore", "zzzzzz"), 1, "cannot restore 'zzzzzz'", "kist log zzzzzz"),
    (("remove", "dat"), 1, "cannot remove 'dat': it is no '.dvc' file", "did you mean 'data.dvc'?"),
    (("remove", "./data"), 1, "cannot remove './data': it is no '.dvc' file", "kist remove data.dvc"),
    (("remove", "modle.bin.dvc"), 1, "cannot remove 'modle.bin.dvc'", "did you mean 'model.bin.dvc'?"),
    (("remove", "else.dvc"), 1, "cannot remove 'else.dvc': it does not exist", "kist list . -R"),
    (("move", "dat", "x"), 1, "cannot move 'dat': no '.dvc' file", "did you mean 'data'?"),
    (
        ("move", "data", "code.py"),
        1,
        "cannot move 'data' to 'code.py': that path exists",
        "name another path",
    ),
    (("move", "data"), 254, "`kist move` needs 'dst'", "kist move --help"),
    (("move",), 254, "`kist move` needs 'src' and 'dst'", "kist move --help"),
    (("unprotect", "sub/nothing"), 255, "cannot unprotect 'sub/nothing': it does not exist", "ls sub"),
    (("list", ".", "dta"), 1, "cannot find 'dta'", "did you mean 'data'?"),
    (("list", ".", "sub/tabel.csv"), 1, "cannot find 'sub/tabel.csv'", "did you mean 'sub/table.csv'?"),
    (("list", ".", "no/such/path"), 1, "cannot find 'no/such/path'", "kist list "),
    (("list", "data.csv"), 1, "cannot open 'data.csv': there is no such folder", "name the repository first"),
    (
        ("list", ".", "-R", "-L", "x"),
        254,
        "`kist list`: -L/--level: 'x' is not a whole number",
        "kist list --help",
    ),
    (("du", ".", "dta"), 255, "cannot find 'dta'", "did you mean 'data'?"),
    (("checkout", "dat"), 255, "cannot find 'dat'", "did you mean 'data'?"),
    (("push", "zzzzzz"), 1, "cannot find 'zzzzzz'", "kist list . -R --dvc-only"),
    (("push",), 1, "cannot choose a remote: none is set up", "kist remote add -d NAME ADDRESS"),
    (("push", "-j", "0"), 254, "`kist push`: -j/--jobs: '0' is not above 0", "kist push --help"),
    (
        ("fetch", "--max-size", "x"),
        254,
        "`kist fetch`: --max-size: 'x' is not a whole number",
        "kist fetch --help",
    ),
    (("remote",), 254, "`kist remote` needs a command", "choose from: add, default"),
    (
        ("help", "remote", "ad"),
        254,
        "`kist remote` has no command 'ad'",
        "did you mean `kist help remote add`?",
    ),
    (("help", "root", "deeper"), 254, "`kist root` has no command 'deeper'", "kist help root"),
    (
        ("config", "cache.typ", "copy"),
        251,
        "cannot set 'cache.typ': unknown option",
        "did you mean 'cache.type'?",
    ),
    (
        ("config", "core.autostage", "maybe"),
        251,
        "cannot set 'core.autostage': expected true or false",
        "kist config core.autostage VALUE",
    ),
    (("config", "core.zzzzzz", "x"), 251, "cannot set 'core.zzzzzz': unknown option", "kist config --list"),
    (
        ("config", "--unset", "zzz.zzz"),
        251,
        "cannot find 'zzz.zzz'",
        "kist config --list --show-origin",
    ),
    (("gc",), 255, "cannot tell what to keep: one of -w, -a, -T, -A,", "kist gc -A --dry"),
    (("gc", "-w", "-j", "x"), 254, "`kist gc`: -j/--jobs: 'x' is not a whole number", "kist gc --help"),
    (("gc", "-w", "-n", "x"), 254, "`kist gc`: -n/--num: 'x' is not a whole number", "kist gc --help"),
    (("log", "-n", "0"), 254, "`kist log`: -n: '0' is not above 0", "kist log --help"),
    (
        ("fsck", "--sample", "200%"),
        254,
        "`kist fsck`: --sample: '200%' is not a share such as 5%",
        "kist fsck --help",
    ),
    (("init",), 1, "'.dvc' exists", "`kist init --force` makes it anew"),
    (
        ("init", "--subdir", "--no-scm"),
        255,
        "--no-scm and --subdir exclude each other",
        "leave one of them out",
    ),
]


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES]
)
def test_a_mistake_is_told_in_one_line_with_a_hint(
    project: Project, words: tuple[str, ...], code: int, error: str, hint: str
) -> None:
    answer = project.try_kist(*words)
    assert (answer.code, answer.out) == (code, "")
    first, second = answer.err.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith(f"hint: {hint}")


@pytest.mark.parametrize(
    "text",
    [
        "outs: [",
        "<<<<<<< HEAD\n",
        "outs:\n- md5: zz\n  path: model.bin\n",
        "words",
        "outs:\n- path: a\n  sie: 4\n",
    ],
)
@pytest.mark.parametrize("command", ["status", "push", "checkout"])
def test_a_metafile_that_cannot_be_read_is_told_with_a_way_out(
    project: Project, text: str, command: str
) -> None:
    project.write({"model.bin.dvc": text})
    answer = project.try_kist(command)
    assert answer.code == (255 if command == "checkout" else 1)
    first, *_, last = answer.err.splitlines()  # between them the line itself
    assert first.startswith("error: cannot read 'model.bin.dvc': line ")
    assert last == "hint: mend the file, or take the last version back with `git checkout -- model.bin.dvc`"


def test_a_mistyped_remote_is_an_error_of_a_listing_that_needs_none(project: Project) -> None:
    project.kist("remote", "add", "store", "../store")
    answer = project.try_kist("list", ".", "--remote", "stoer")
    assert answer.code == 1
    assert answer.err.endswith("hint: did you mean 'store'?\n")


def test_a_metafile_of_another_folder_names_its_data_from_there(project: Project) -> None:
    project.write({"new.bin": "new\n", "notes/x": ""})
    project.kist("add", "--file", "notes/new.dvc", "new.bin")
    assert project.read("notes/new.dvc").startswith("wdir: ..\nouts:\n")
    assert "/new.bin\n" in project.read(".gitignore")
    assert project.kist("status").out == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize(
    ("text", "message", "excerpt"),
    [
        ("stages:\n  a:\n    cmd: x\n    dep: [b]\n", "did you mean 'deps'?", "    4 |     dep: [b]\n      |     ^\n"),
        ("stages:\n  a:\n    cmd: 3\n", "expected a text or a list", "    3 |     cmd: 3\n      |     ^\n"),
        ("stages:\n  a:\n    cmd: x\n   outs: [b]\n", "line 4, column 4", "    4 |    outs: [b]\n      |    ^\n"),
        ("stages:\n  a:\n    cmd: echo ${x.y}\n", "'x.y' is not defined", "    3 |     cmd: echo ${x.y}\n      |     ^\n"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_pipeline_is_shown_with_its_line(
    project: Project, text: str, message: str, excerpt: str
) -> None:
    project.write({"dvc.yaml": text})
    answer = project.try_kist("repro")
    assert answer.code == 255
    assert message in answer.err
    assert excerpt in answer.err
