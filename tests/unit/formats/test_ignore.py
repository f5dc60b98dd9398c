"""What a pattern means, one rule at a time; the oracles are in tests/property/test_ignore.py."""

from __future__ import annotations

import pytest

from kist.formats.ignore import DVC, DVC_NESTED, GIT, compile_patterns, parse_ignore


def says(lines: list[str | bytes], path: str, *, is_dir: bool = False, flavour: str = GIT) -> bool | None:
    return compile_patterns(lines, flavour=flavour).verdict(path, is_dir)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("foo", ["foo", "a/foo", "a/b/foo"], ["foo.txt", "xfoo", "foo/x"]),
        ("/foo", ["foo"], ["a/foo"]),
        ("a/foo", ["a/foo"], ["foo", "b/a/foo"]),
        ("*.txt", ["a.txt", ".txt", "d/a.txt"], ["a.txt.bak", "txt"]),
        ("a*b", ["ab", "axxb"], ["a", "b", "a/b"]),
        ("*a*a*", ["aa", "xaxax"], ["a", "xax"]),
        ("?", ["x"], ["", "xy"]),
        ("[ab]c", ["ac", "bc"], ["cc", "abc"]),
        ("[!ab]", ["c"], ["a", "b"]),
        ("[^ab]", ["c"], ["a"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[a-c]", ["a", "b", "c"], ["d", "-"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[[:digit:]x]", ["7", "x"], ["y", ":"]),
        ("[\\]]", ["]"], ["\\"]),
        ("**/foo", ["foo", "a/foo", "a/b/foo"], ["xfoo"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["b", "a/xb"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b"]),
        ("/**/a", ["a", "x/a"], ["xa"]),
        ("a/*/b", ["a/x/b"], ["a/b", "a/x/y/b"]),
        ("\\#a", ["#a"], ["\\#a"]),
        ("\\!a", ["!a"], ["a"]),
        ("a\\*", ["a*"], ["ab"]),
        ("a\\ ", ["a "], ["a"]),
        ("a  ", ["a"], ["a  "]),
        ("a\t", ["a\t"], ["a"]),
        (" a", [" a"], ["a"]),
        ("a.b", ["a.b"], ["axb"]),
        ("x**y", ["xy", "xaby"], ["x/y"]),
        ("a\\/b", ["a/b"], ["b"]),
        ("[a/b]c", ["ac"], ["b]c"]),
        ("ü?", ["üx"], ["üö", "ü"]),
        ("ü??", ["üö"], ["üx"]),
        ("a\nb", ["a\nb"], ["a"]),
    ],
)
def test_a_git_pattern_matches_what_git_says(pattern: str, matching: list[str], others: list[str]) -> None:
    assert [path for path in matching if says([pattern], path) is not True] == []
    assert [path for path in others if path and says([pattern], path) is not None] == []


@pytest.mark.parametrize(
    "line", ["", "   ", "# comment", "#", "!", "/", "!/", "[a", "a\\", "[[:no:]]", "//", "a//b"]
)
def test_a_line_without_meaning_matches_nothing(line: str) -> None:
    rules = compile_patterns([line])
    assert [
        path for path in ("a", "#", "!", "a/b", "[a", "a\\", "x") if rules.verdict(path, True) is not None
    ] == []


def test_a_slash_at_the_end_means_directories_only() -> None:
    assert says(["build/"], "build", is_dir=True) is True
    assert says(["build/"], "build", is_dir=False) is None
    assert says(["build/"], "deep/build", is_dir=True) is True


def test_the_last_matching_line_decides() -> None:
    lines: list[str | bytes] = ["*.log", "!keep*", "keep-not.log"]
    assert says(lines, "a.log") is True
    assert says(lines, "keep.log") is False
    assert says(lines, "keep-not.log") is True
    assert says(lines, "other") is None


def test_names_that_are_not_utf8_are_matched_by_their_bytes() -> None:
    name = b"caf\xe9.txt".decode("utf-8", "surrogateescape")
    assert says([b"caf\xe9.txt"], name) is True
    assert says(["caf?.txt"], name) is True
    assert says([b"caf\xe9*"], name, flavour=DVC) is True
    assert says(["*.txt"], name, flavour=DVC) is True
    assert says(["caf??.txt"], name) is None


def test_many_stars_cost_no_exponential_time() -> None:
    pattern = "*a" * 60 + "*b"
    assert says([pattern], "a" * 250) is None
    assert says([pattern], "a" * 250 + "b") is True


def test_a_file_is_cut_into_lines_as_git_does() -> None:
    rules = parse_ignore(b"\xef\xbb\xbfa\r\n\n# c\nb \\ \r\nlast\r")
    assert [(pattern.line, pattern.text) for pattern in rules.patterns] == [
        (1, "a"),
        (4, "b \\ "),
        (5, "last"),
    ]


def test_a_dvcignore_is_cut_into_lines_as_dvc_does() -> None:
    rules = parse_ignore(b"  a \r\n\tb\rc\\ \nd", flavour=DVC)
    assert [(pattern.line, pattern.text) for pattern in rules.patterns] == [(1, "a"), (2, "b"), (4, "d")]


def test_the_text_of_a_pattern_is_kept_as_written() -> None:
    assert compile_patterns(["ünï/*"]).patterns[0].text == "ünï/*"
    assert compile_patterns(["!/a/"], flavour=DVC).patterns[0].text == "!/a/"


def test_in_dvc_a_match_covers_what_is_below() -> None:
    lines: list[str | bytes] = ["*.log", "!keep"]
    assert says(lines, "keep/a.log", flavour=DVC) is False
    assert says(lines, "keep/a.log", flavour=GIT) is True
    assert says(["*.log", "!keep/"], "keep/a.log", flavour=DVC) is True
    assert says(["*.d", "!keep/"], "keep/a.d", is_dir=True, flavour=DVC) is False


def test_in_dvc_two_stars_at_the_end_mean_the_directory_itself_too() -> None:
    assert says(["a/**"], "a", is_dir=True, flavour=DVC) is True
    assert says(["a/**"], "a", is_dir=False, flavour=DVC) is None
    assert says(["a/**"], "a/b", flavour=DVC) is True
    assert says(["a/**"], "a", is_dir=True, flavour=GIT) is None


@pytest.mark.parametrize("pattern", ["*/", "**/", "**/*/", "/**/", "**/*/**"])
def test_in_dvc_any_directory_at_the_root_matches_nothing(pattern: str) -> None:
    assert says([pattern], "a", is_dir=True, flavour=DVC) is None
    assert says([pattern], "a/b", is_dir=True, flavour=DVC) is None


@pytest.mark.parametrize("pattern", ["*", "**", "/**", "**/*", "**/**"])
def test_in_dvc_stars_alone_match_everything(pattern: str) -> None:
    assert says([pattern], "a", flavour=DVC) is True
    assert says([pattern], "a/b", is_dir=True, flavour=DVC) is True


def test_in_dvc_brackets_know_no_classes_and_no_escapes() -> None:
    assert says(["[[:digit:]]"], "7", flavour=DVC) is None
    assert says(["[[:digit:]]"], "g]", flavour=DVC) is True
    assert says(["[\\x]"], "\\", flavour=DVC) is True


def test_in_a_nested_dvcignore_stars_exclude_the_whole_directory() -> None:
    for pattern in ("**", "/**", "**/", "/**/"):
        rules = compile_patterns([pattern], flavour=DVC_NESTED)
        assert rules.own_exclusion is not None, pattern
    assert compile_patterns(["**", "!**"], flavour=DVC_NESTED).own_exclusion is None
    assert compile_patterns(["*"], flavour=DVC_NESTED).own_exclusion is None
    assert compile_patterns(["**"], flavour=DVC).own_exclusion is None


def test_in_a_nested_dvcignore_a_first_backslash_is_dropped() -> None:
    assert says(["\\*x"], "ax", flavour=DVC_NESTED) is True
    assert says(["/\\*x"], "ax", flavour=DVC_NESTED) is True
    assert says(["a\\*x"], "abx", flavour=DVC_NESTED) is None
    assert says(["\\*x"], "ax", flavour=DVC) is None


def test_directories_where_the_same_patterns_are_alive_share_one_matcher() -> None:
    rules = compile_patterns(["*.tmp", "/only/here"])
    one = rules.descend(rules.start, "one")
    two = rules.descend(rules.descend(rules.start, "two"), "deep")
    assert rules.names(one) is rules.names(two)
    only = rules.descend(rules.start, "only")
    assert rules.names(only) is not rules.names(one)


def test_nothing_is_alive_where_no_pattern_can_match() -> None:
    rules = compile_patterns(["/a/b"])
    assert rules.names(rules.descend(rules.start, "c")) is None
    assert rules.names(rules.start) is None
    assert rules.names(rules.descend(rules.start, "a")) is not None
