"""Ignore rules and `.gitignore` upkeep beside the real DVC."""

from __future__ import annotations

import os
import random
import shlex

import pytest

from kist.formats.gitignore import add_entry, remove_entry

from .helpers import Beside, Case, RealDvc, Step, World, append, case, delete, make_folder, tool, write

_MATRIX: dict[str, str] = {
    "stars": "*.log\na*b\n*\n!keep*\n",
    "directories": "build/\n!build/keep\ndeep/dir/\n",
    "tied": "/top.txt\nsub/inner.txt\n/sub/deep\n",
    "any depth": "**/cache\nsub/**/x.txt\n",
    "contents": "sub/**\n!sub/keep.txt\n",
    "contents of all": "**\n!keep.txt\n",
    "contents with a slash": "sub/**/\n",
    "any directory": "*/\n",
    "any directory, any depth": "**/\n**/*/\n",
    "negation without a slash": "*.log\n!sub\n",
    "negation with a slash": "*.log\n!sub/\n",
    "sets": "[a-c].txt\nx[12]\n[]]\n[[:digit:]]\n[^k]eep.txt\n",
    "escapes": "\\#hash\n\\!bang\nstar\\*\n",
    "comments and space": "  # no\n#no\n\n  *.log  \n\tkeep.txt\t\n",
    "carriage returns": "*.log\r\nbuild/\r\n",
    "runs": "*.l*\n*.log\n*g\nbuild/\nb*/\n!x\n!*.txt\n*.txt\n",
    "many of a kind": "keep.txt\n*.txt\nk*\n",
    "parents": "sub/deep\n!sub/deep/x.txt\n",
    "nothing": "# only a comment\n",
    "other text": "*.lög\nä/\n",
}
_PATHS = [
    "a.log", "b", "ab", "axxb", "keep.txt", "build", "build/keep", "build/x/y", "top.txt", "sub", "sub/top.txt",
    "sub/inner.txt", "sub/keep.txt", "sub/a.log", "sub/deep", "sub/deep/x.txt", "deep/dir", "deep/dir/z", "cache",
    "sub/cache/x", "a.txt", "x1", "]", "7", "#hash", "!bang", "star*", "star1", "x", "g]", ".git", ".git/config",
    ".dvc", ".dvc/config", ".dvcignore", ".hg", "nested", "nested/x", "keep", "ä/b", "a.lög", ".", "..",
    "../out.log", "./a.log", "sub/../a.log", "sub//a.log", "sub/",
]  # fmt: skip
_TREE: tuple[Step, ...] = (
    make_folder("build/x"),
    make_folder("sub/deep"),
    make_folder("deep/dir"),
    make_folder("nested/.dvc"),
    make_folder("ä"),
    write("keep.txt", ""),
)
_ASKED = " ".join(shlex.quote(path) for path in _PATHS)

MATRIX = tuple(
    case(
        name,
        "empty",
        *_TREE,
        write(".dvcignore", text),
        tool(f"check-ignore {_ASKED}", stdout="exact"),
        tool(f"check-ignore -d -n {_ASKED}", stdout="exact"),
    )
    for name, text in _MATRIX.items()
) + tuple(
    case(
        f"{name}, in a directory",
        "empty",
        *_TREE,
        write(".dvcignore", "*.log\n"),
        write("sub/.dvcignore", text),
        tool(f"check-ignore {_ASKED}", stdout="exact"),
    )
    for name, text in _MATRIX.items()
)

COMMAND_LINE = (
    case("all", "empty", write(".dvcignore", "a*\n*a\n"), tool("check-ignore -d -a aa b", stdout="exact")),
    case("nothing matches", "empty", tool("check-ignore a b", code=1, stdout="exact")),
    case("nothing matches, details", "empty", tool("check-ignore -d -n a b", code=1, stdout="exact")),
    case("quiet", "empty", write(".dvcignore", "a\n"), tool("check-ignore -q a", stdout="exact")),
    case("quiet, nothing matches", "empty", tool("check-ignore -q a", code=1, stdout="exact")),
    case(
        "standard input",
        "empty",
        write(".dvcignore", "a*\n"),
        tool("check-ignore --stdin", stdin="a\nb\nab\n\na1\n", stdout="exact"),
        tool("check-ignore --stdin -d -n", stdin="a\nb\nab", stdout="exact"),
        tool("check-ignore --stdin", code=1, stdin="", stdout="exact"),
    ),
    case(
        "from a directory",
        "empty",
        write(".dvcignore", "*.log\n"),
        write("sub/.dvcignore", "!a.log\n"),
        tool("check-ignore -d a.log b.log ../c.log x", cwd="repo/sub", stdout="exact"),
    ),
    case("neither targets nor input", "empty", tool("check-ignore", code=255)),
    case("targets and input", "empty", tool("check-ignore --stdin a", code=255)),
    case("-n alone", "empty", tool("check-ignore -n a", code=255)),
    case("-a alone", "empty", tool("check-ignore -a a", code=255)),
    case("-q and -d", "empty", tool("check-ignore -q -d a", code=255)),
    case("an unknown option", "empty", tool("check-ignore --what a", code=254)),
    case("outside of a repository", "empty", tool("check-ignore a", code=253, cwd=".")),
)

_DATA: tuple[Step, ...] = tuple(
    write(f"data/{path}", path)
    for path in ("a.txt", "a.tmp", "b/a.tmp", "b/keep.tmp", "b/c/x", "out/y", "out/keep", ".hidden", ".hg")
)
_WALKS = tuple(
    case(name, "empty", *_DATA, write(".dvcignore", text), tool("add data"), tool("status", stdout="exact"))
    for name, text in {
        "nothing ignored": "# no\n",
        "files left out of a manifest": "*.tmp\n",
        "a directory left out": "out/\n",
        "taken back in": "*.tmp\n!keep.tmp\n",
        "taken back in with its directory": "*.tmp\n!b\n",
        "not taken back in": "out\n!out/keep\n",
        "tied to the root": "/data/b/c\n",
        "contents": "/data/out/**\n!/data/out/keep\n",
    }.items()
)
WALKS = (
    *_WALKS,
    case(
        "what is built in",
        "empty",
        *_DATA,
        write("data/b/.git", "gitdir: x"),
        write("data/c/.hg/x", ""),
        write(".dvcignore", "*.tmp\n!keep.tmp\n"),
        tool("check-ignore -d data/b/.git data/c/.hg/x data/c/.hg data/.hg", stdout="exact"),
        tool("add data"),
    ),
    case(
        "a repository inside the data",
        "empty",
        *_DATA,
        write("data/b/.dvc/config", ""),
        tool("add data"),
        tool("status", stdout="exact"),
    ),
    case(
        "metafiles below an ignored directory do not count",
        "tracked",
        write("old/x.dvc", "not: [a metafile"),
        write(".dvcignore", "old/\n"),
        tool("status", stdout="exact"),
    ),
    case(
        "metafiles that git ignores do not count",
        "tracked",
        write("old/x.dvc", "not: [a metafile"),
        append(".gitignore", "old/*.dvc\n"),
        tool("status", stdout="exact"),
    ),
    case(
        "metafiles that git ignores do not count, tracked or not",
        "tracked",
        append(".gitignore", "*.dvc\n"),
        tool("status --json", stdout="as JSON"),
    ),
    case(
        "metafiles in info/exclude do not count",
        "tracked",
        write(".git/info/exclude", "*.dvc\n"),
        tool("status --json", stdout="as JSON"),
    ),
)

# DVC puts these names into .gitignore in a way that does not hide them (docs/spec/ignore.md, 5.2).
TORTURE = [
    "plain", "in ner", " lead", "f*", "q?x", "b[1]", "x]y", "#h", "a#b", "!e", "a!b", "back\\slash", "tail\\", "ünï",
    "tab\there", "\ttab", "tail\t", "$(x)", "~t", ".hid", "quote'", 'dq"', "colon:a", "{b}", "%2F", "😀", "a&b", "(p)",
    "c^d", "**", "nb\u00a0", "e\u0301", "=", "+x", "a,b", "a;b", "@", "`",
]  # fmt: skip
_BEFORE = {
    "no file": None,
    "other lines": "x\n",
    "no line end": "x",
    "carriage returns": "x\r\ny\r\n",
    "carriage returns, no line end": "x\r\ny",
    "empty": "",
    "one empty line": "\n",
    "empty lines and a comment": "\n\n# c\n",
    "hidden by another rule": "nam[e]\n",
    "taken back in": "/name\n!name\n",
    "twice": "/name\n/name\nz\n",
    "with space around": " /name \nbar\n",
    "in the middle": "bar\n/name\nbaz",
    "already there, no line end": "/name",
    "hidden with its directory's files": "*\n!.gitignore\n!*.dvc\n",
    "negated": "!name\n",
}
_UPKEEP_STEPS: tuple[Step, ...] = (tool("add sub/name"), tool("remove sub/name.dvc"))
UPKEEP_ADD = tuple(
    case(
        name,
        "empty",
        write("sub/name", "x"),
        *(() if text is None else (write("sub/.gitignore", text),)),
        tool("add sub/name"),
    )
    for name, text in _BEFORE.items()
)
_UPKEEP_REMOVE = tuple(
    case(
        name,
        "empty",
        write("sub/name", "x"),
        *(() if text is None else (write("sub/.gitignore", text),)),
        *_UPKEEP_STEPS,
    )
    for name, text in _BEFORE.items()
)
UPKEEP_REMOVE = (
    *_UPKEEP_REMOVE,
    case(
        "a file that disappears with its last line",
        "tracked",
        tool("remove file.txt.dvc"),
        tool("remove data.dvc"),
    ),
    case(
        "no .gitignore any more",
        "tracked",
        delete(".gitignore"),
        tool("remove file.txt.dvc"),
    ),
)


def _personal(pattern: str, where: str) -> Step:
    """Returns a step that makes Git ignore a pattern for one person, in one of the places that Git knows."""

    def act(world: World) -> None:
        listed = "home/.config/git/ignore" if where == "the default file" else "home/personal"
        write(listed, pattern + "\n", cwd=".")(world)
        if where == "core.excludesFile":
            world.run_git(f"config core.excludesFile {shlex.quote(world.path('home/personal'))}")
        elif where == "core.excludesFile below home":
            world.run_git("config core.excludesFile '~/personal'")
        elif where == "core.excludesFile in an included file":
            write(".git/more", "[core]\n\texcludesFile = ~/personal\n")(world)
            world.run_git("config include.path more")
        elif where == "info/exclude":
            write(".git/info/exclude", pattern + "\n")(world)

    return act


_PLACES = (
    "the default file",
    "core.excludesFile",
    "core.excludesFile below home",
    "core.excludesFile in an included file",
    "info/exclude",
)
PERSONAL = tuple(
    case(f"{where}: {name}", "many", _personal(pattern, where), *steps)
    for where in _PLACES
    for name, pattern, steps in (
        (
            "a folder of metafiles",
            "deep/",
            (
                tool("status --json", stdout="as JSON"),
                delete("raw/a.csv", "raw/deep/d.csv"),
                tool("checkout"),
            ),
        ),
        (
            "a metafile",
            "a.csv.dvc",
            (delete("raw/a.csv", "raw/b.csv"), tool("status --json", stdout="as JSON")),
        ),
        ("data", "new", (write("raw/new", "new\n"), tool("add raw/new"))),
        (
            "data, taken back in",
            "new",
            (append("raw/.gitignore", "!new\n"), write("raw/new", "n\n"), tool("add raw/new")),
        ),
    )
)


@pytest.mark.parametrize("checked", PERSONAL, ids=lambda checked: checked.name)
def test_what_git_ignores_for_one_person_counts_as_in_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", MATRIX, ids=lambda checked: checked.name)
def test_check_ignore_says_what_dvc_says(checked: Case, beside: Beside) -> None:
    beside.check(_without_failing_codes(checked))


def _without_failing_codes(checked: Case) -> Case:
    # "nothing" matches built-in names at least, so every case of the matrix ends with 0.
    assert all(not hasattr(step, "code") or step.code == 0 for step in checked.steps)
    return checked


@pytest.mark.parametrize("checked", COMMAND_LINE, ids=lambda checked: checked.name)
def test_check_ignore_takes_the_options_of_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", WALKS, ids=lambda checked: checked.name)
def test_a_walk_leaves_out_what_dvc_leaves_out(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", UPKEEP_ADD, ids=lambda checked: checked.name)
def test_add_writes_the_gitignore_of_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", UPKEEP_REMOVE, ids=lambda checked: checked.name)
def test_remove_leaves_the_gitignore_of_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)


def test_names_are_spelled_in_gitignore_as_dvc_spells_them(beside: Beside) -> None:
    world, _ = beside.worlds("empty")
    for number, name in enumerate(TORTURE):
        write(f"d{number}/{name}", name)(world)
    paths = [f"d{number}/{name}" for number, name in enumerate(TORTURE)]
    result = world.run(["add", *paths], "repo")
    assert result.code == 0, result
    wrong = []
    for number, name in enumerate(TORTURE):
        with open(world.path("repo", f"d{number}", ".gitignore"), "rb") as stream:
            theirs = stream.read()
        if add_entry(b"", name) != theirs or remove_entry(theirs, name) is not None:
            wrong.append((name, theirs, add_entry(b"", name)))
    assert wrong == []


@pytest.mark.parametrize("name", ["end ", "end  ", "cr\r"])
def test_dvc_recognises_what_we_write_for_names_that_it_spells_wrongly(name: str, beside: Beside) -> None:
    world, _ = beside.worlds("empty")
    ours = add_entry(b"", name)
    write(f"d/{name}", "x")(world)
    write("d/.gitignore", ours)(world)
    assert world.run_git(f"check-ignore {shlex.quote(f'd/{name}')}")
    if not name.endswith("\r"):
        assert world.run(["add", f"d/{name}"], "repo").code == 0
        with open(world.path("repo", "d", ".gitignore"), "rb") as stream:
            assert stream.read() == ours


_NAMES = ["a", "b", "ab", "foo", "foo.txt", "a.b", "x1", "s p", "ü", "A", "-", "]", "a.tmp", "b.txt"]
_PIECES = [
    "a",
    "b",
    "foo",
    "*",
    "?",
    "*.txt",
    "[ab]",
    "[a-c]",
    "x[12]",
    ".b",
    "\\*",
    "\\a",
    " ",
    "ü",
    "[]a]",
    "[b-]",
]


def _random_pattern(chance: random.Random) -> str:
    components = [
        "".join(chance.choices(_PIECES, k=chance.choice([1, 1, 1, 2])))
        if chance.random() < 0.75
        else chance.choice(["**", "a", "b", "*"])
        for _ in range(chance.choice([1, 1, 1, 2, 2, 3]))
    ]
    body = "/".join(
        component.replace("***", "*") if component != "**" else component for component in components
    )
    start = chance.choice(["", "", "", "", "/", "!", "!", "!/"])
    return start + body.strip() + chance.choice(["", "", "", "/"])


def _grow(world: World, chance: random.Random, folder: str, depth: int) -> list[str]:
    found = []
    for name in chance.sample(_NAMES, chance.choice([3, 5])):
        path = f"{folder}/{name}" if folder else name
        found.append(path)
        if depth and chance.random() < 0.5:
            os.makedirs(world.path("repo", path))
            found += _grow(world, chance, path, depth - 1)
        else:
            write(path, "")(world)
    return found


@pytest.mark.parametrize("seed", range(25))
def test_random_trees_are_ignored_alike(seed: int, beside: Beside, real_dvc: RealDvc) -> None:
    theirs, ours = beside.worlds("empty")
    chance = random.Random(seed)
    for folder in ("readme.md", ".gitignore"):
        if os.path.exists(theirs.path("repo", folder)):
            os.unlink(theirs.path("repo", folder))
    paths = _grow(theirs, chance, "", 2)
    folders = [path for path in paths if os.path.isdir(theirs.path("repo", path))]
    rules = {}
    for folder in ["", *chance.sample(folders, min(2, len(folders)))]:
        rules[folder] = [_random_pattern(chance) for _ in range(chance.choice([1, 2, 3, 4]))]
        write(f"{folder}/.dvcignore" if folder else ".dvcignore", "\n".join(rules[folder]) + "\n")(theirs)
    arguments = ["check-ignore", *(f"./{path}" for path in paths)]
    expected = real_dvc.run(arguments, theirs.path("repo"), theirs.env)
    assert expected.code in (0, 1), expected
    ours.root = theirs.root  # the same tree: nothing is written by either
    result = ours.run(arguments, "repo")
    assert (result.code, result.stdout) == (expected.code, expected.stdout), rules
