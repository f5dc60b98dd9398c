"""Nested ignore files in a real tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kist.workspace.ignores import (
    GITIGNORE,
    MAX_IGNORE_BYTES,
    IgnoreFileTooLargeError,
    IgnoreFileUnreadableError,
    IgnoreTree,
)


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def kept(tree: IgnoreTree, rel_dir: str = "") -> list[str]:
    """Returns the files that a walk from the top down finds, as commands walk."""

    def walk(rel: str) -> list[str]:
        matcher = tree.enter(rel)
        found = []
        with os.scandir(os.path.join(tree.root, rel)) as entries:
            for entry in entries:
                is_dir = entry.is_dir(follow_symlinks=False)
                if matcher.is_ignored(entry.name, is_dir):
                    continue
                found += walk(matcher.join(entry.name)) if is_dir else [matcher.join(entry.name)]
        return found

    return sorted(walk(rel_dir))


def test_a_deeper_file_wins(tmp_path: Path) -> None:
    write(tmp_path, {".dvcignore": "*.log\n", "d/.dvcignore": "!a.log\nb.txt\n"})
    write(tmp_path, {"a.log": "", "d/a.log": "", "d/b.log": "", "d/b.txt": "", "b.txt": "", "d/e/a.log": ""})
    assert kept(IgnoreTree(str(tmp_path))) == [".dvcignore", "b.txt", "d/.dvcignore", "d/a.log", "d/e/a.log"]


def test_nothing_below_an_ignored_directory_comes_back(tmp_path: Path) -> None:
    write(
        tmp_path, {".dvcignore": "out\n!out/keep\n", "out/keep": "", "out/.dvcignore": "!*\n", "out/d/x": ""}
    )
    tree = IgnoreTree(str(tmp_path))
    assert kept(tree) == [".dvcignore"]
    assert tree.is_path_ignored("out/keep", False)
    assert tree.is_path_ignored("out/d/x", False)
    assert tree.enter("out/d").is_ignored("x", False)
    assert tree.enter("out/d").is_excluded
    assert not tree.is_path_ignored("", True)


def test_the_tools_own_directories_are_never_looked_into(tmp_path: Path) -> None:
    write(tmp_path, {".dvc/config": "", ".git/HEAD": "", "d/.hg/x": "", "d/.git": "gitdir: x", "d/.hgx": ""})
    write(tmp_path, {".dvcignore": "!.git\n!.dvc/\n", "e/.hg": "a file", "e/.gitx": ""})
    assert kept(IgnoreTree(str(tmp_path))) == [".dvcignore", "d/.hgx", "e/.gitx", "e/.hg"]


def test_a_repository_within_the_repository_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"a": "", "d/nested/.dvc/config": "", "d/nested/x": "", "d/y": "", ".dvcignore": "!nested\n"},
    )
    tree = IgnoreTree(str(tmp_path))
    assert kept(tree) == [".dvcignore", "a", "d/y"]
    assert tree.is_path_ignored("d/nested/x", False)
    assert not IgnoreTree(str(tmp_path), kind=GITIGNORE).is_path_ignored("d/nested/x", False)


def test_an_ignored_dvcignore_is_not_read(tmp_path: Path) -> None:
    write(
        tmp_path, {".dvcignore": "/d/.dvcignore\n", "d/.dvcignore": "x\n", "d/x": "", "e/.dvcignore": "x\n"}
    )
    write(tmp_path, {"e/x": ""})
    assert kept(IgnoreTree(str(tmp_path))) == [".dvcignore", "d/x", "e/.dvcignore"]


def test_a_nested_dvcignore_can_exclude_its_own_directory(tmp_path: Path) -> None:
    write(tmp_path, {"d/.dvcignore": "**\n!keep\n", "d/keep": "", "d/e/f": "", "x": ""})
    tree = IgnoreTree(str(tmp_path))
    assert kept(tree) == ["x"]
    match = tree.explain("d/keep", False)
    assert match is not None
    assert match.is_ignored
    assert match.label == "d/.dvcignore:1:**"


@pytest.mark.parametrize("name", ["a[1]", "#d", "!d", "[x"])
def test_a_dvcignore_below_a_name_that_dvc_misreads_says_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path, {f"{name}/.dvcignore": "x\n", f"{name}/x": "", "b*/.dvcignore": "x\n", "b*/x": ""})
    tree = IgnoreTree(str(tmp_path))
    assert not tree.is_path_ignored(f"{name}/x", False)
    assert tree.is_path_ignored("b*/x", False)


def test_only_dotted_names_need_asking_where_no_line_can_match(tmp_path: Path) -> None:
    write(tmp_path, {".dvcignore": "# only a comment\n/a/b\n", "a/b": "", "c/d": ""})
    tree = IgnoreTree(str(tmp_path))
    assert tree.enter("").is_trivial
    assert not tree.enter("a").is_trivial
    assert tree.enter("c").is_trivial
    assert tree.enter("c").is_ignored(".git", False)


def test_child_and_enter_agree(tmp_path: Path) -> None:
    write(tmp_path, {".dvcignore": "/a/b/c*\nx/**/z\n", "a/b/.dvcignore": "!c2\n", "x/y/z": ""})
    tree = IgnoreTree(str(tmp_path))
    by_child = tree.enter("").child("a").child("b")
    for name in ("c1", "c2", "d"):
        assert by_child.is_ignored(name, False) == tree.enter("a/b").is_ignored(name, False)
    assert [name for name in ("c1", "c2", "d") if by_child.is_ignored(name, False)] == ["c1"]
    assert tree.enter("").child("x").child("y").is_ignored("z", False)


def test_more_directories_than_are_remembered_answer_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kist.workspace.ignores._MEMORY_LIMIT", 3)
    for number in range(10):
        write(tmp_path, {f"d{number}/e/.dvcignore": f"x{number}\n"})
    tree = IgnoreTree(str(tmp_path))
    for _ in range(2):
        for number in range(10):
            assert tree.is_path_ignored(f"d{number}/e/x{number}", False)
            assert not tree.is_path_ignored(f"d{number}/e/x", False)


def test_git_reads_info_exclude_below_all_files_of_the_tree(tmp_path: Path) -> None:
    write(
        tmp_path, {".git/HEAD": "ref: refs/heads/main\n", ".git/objects/x": "", ".git/info/exclude": "a\nb\n"}
    )
    write(tmp_path, {".gitignore": "!b\n", "global": "a\nc\n!d\n"})
    tree = IgnoreTree(str(tmp_path), kind=GITIGNORE, weaker_files=[str(tmp_path / "global")])
    assert {name: tree.is_path_ignored(name, False) for name in "abcd"} == {
        "a": True,
        "b": False,
        "c": True,
        "d": False,
    }
    bare = IgnoreTree(str(tmp_path), kind=GITIGNORE, reads_git_exclude=False)
    assert not bare.is_path_ignored("a", False)


def test_a_linked_gitignore_is_not_followed_and_a_linked_dvcignore_is(tmp_path: Path) -> None:
    write(tmp_path, {"real": "x\n"})
    (tmp_path / ".gitignore").symlink_to("real")
    (tmp_path / ".dvcignore").symlink_to("real")
    assert not IgnoreTree(str(tmp_path), kind=GITIGNORE).is_path_ignored("x", False)
    assert IgnoreTree(str(tmp_path)).is_path_ignored("x", False)


def test_what_is_no_regular_file_is_no_ignore_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".dvcignore")
    (tmp_path / "d" / ".dvcignore").mkdir(parents=True)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / ".dvcignore").symlink_to("nowhere")
    tree = IgnoreTree(str(tmp_path))
    assert not tree.is_path_ignored("d/x", False)
    assert not tree.is_path_ignored("e/x", False)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / ".dvcignore", "wb") as stream:
        stream.truncate(MAX_IGNORE_BYTES + 1)
    with pytest.raises(IgnoreFileTooLargeError, match="more than the limit"):
        IgnoreTree(str(tmp_path)).enter("")


def test_a_file_that_cannot_be_read_is_an_error_and_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {".dvcignore": "x\n"})

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("kist.workspace.ignores.os.open", refuse)  # root may read everything
    with pytest.raises(IgnoreFileUnreadableError, match=r"cannot read '.*\.dvcignore': Permission denied"):
        IgnoreTree(str(tmp_path)).enter("")


def test_the_deciding_line_is_named(tmp_path: Path) -> None:
    write(tmp_path, {".dvcignore": "# c\n*.log\n!keep\nout/\n*.l*\n", "d/.dvcignore": "\nb.*\n"})
    write(tmp_path, {"n/.dvc/config": ""})
    tree = IgnoreTree(str(tmp_path))
    labels = {
        path: (match.label if (match := tree.explain(path, path in ("out", "n"))) else None)
        for path in (
            "a.log",
            "keep",
            "out",
            "out/x",
            "d/b.x",
            "none",
            ".git/x",
            "n",
            "n/x",
            "d/.hg/x",
            ".dvc/tmp",
        )
    }
    assert labels == {
        "a.log": ".dvcignore:5:*.l*",
        "keep": ".dvcignore:3:!keep",
        "out": ".dvcignore:4:out/",
        "out/x": ".dvcignore:4:out/",
        "d/b.x": "d/.dvcignore:2:b.*",
        "none": None,
        ".git/x": ":.git",
        "n": "in sub_repo:n",
        "n/x": "in sub_repo:n",
        "d/.hg/x": ":.hg/",
        ".dvc/tmp": ":.dvc/",
    }


def test_among_neighbouring_lines_dvc_names_the_first_and_git_the_last(tmp_path: Path) -> None:
    write(tmp_path, {".dvcignore": "a*\n*b\n", ".gitignore": "a*\n*b\n"})
    for kind, line in ((".dvcignore", 1), (".gitignore", 2)):
        match = IgnoreTree(str(tmp_path), kind=kind).explain("ab", False)
        assert match is not None
        assert (match.source, match.line) == (kind, line)


def test_a_line_that_also_matches_a_built_in_name_is_named_but_cannot_take_it_back_in(tmp_path: Path) -> None:
    write(tmp_path, {".dvcignore": "*t\n!.dvc\n"})
    tree = IgnoreTree(str(tmp_path))
    by_line, built_in = tree.explain(".git", True), tree.explain(".dvc", True)
    assert by_line is not None
    assert by_line.label == ".dvcignore:1:*t"
    assert built_in is not None
    assert (built_in.is_ignored, built_in.label) == (True, ":.dvc/")
