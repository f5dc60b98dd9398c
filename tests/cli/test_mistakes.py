"""Mistakes that people make with each command: one line that says what is wrong, one that says what to do."""

from __future__ import annotations

import pytest

from kist.testing.project import Project

MISTAKES = [
    (("add", "nothing"), 1, "cannot add 'nothing': it does not exist", "ls ."),
    (("add", "sub/nothing"), 1, "cannot add 'sub/nothing': it does not exist", "ls sub"),
    (("add", "data.dvc"), 1, "cannot add 'data.dvc': it is a metafile", "kist add data"),
    (("add",), 254, "`kist add` needs 'targets'", "kist add --help"),
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


def test_a_mistyped_remote_is_an_error_of_a_listing_that_needs_none(project: Project) -> None:
    project.kist("remote", "add", "store", "../store")
    answer = project.try_kist("list", ".", "--remote", "stoer")
    assert answer.code == 1
    assert answer.err.endswith("hint: did you mean 'store'?\n")


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
