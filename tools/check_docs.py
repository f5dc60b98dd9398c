"""Checks the documentation: links lead somewhere, docs/status.md has every command, tests that are named exist.

Exit status 1, with a line for each defect, when something is wrong.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from kist.cli.table import all_commands

STATES = ("works", "partly", "not yet")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+\s+(.*?)\s*#*$", re.MULTILINE)
_TEST = re.compile(r"((?:tests|src/kist/testing)/[\w/]*)?\b((?:test_\w+|\w+_contract)\.py)(?:::(\w+))?")
_ROW = re.compile(r"^\| `kist ([^`]+)` \| ([^|]+) \| ([^|]*) \|", re.MULTILINE)


def pages() -> list[str]:
    """Returns the paths of all Markdown files that Git knows or would add."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "*.md"]
    return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


def read(path: str) -> str:
    """Returns the text of a file."""
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def anchors(text: str) -> set[str]:
    """Returns the anchors that the headings of a page get."""
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def broken_links(path: str) -> list[str]:
    """Returns a line for each link of a page that leads nowhere."""
    defects = []
    text = _FENCE.sub("", read(path))
    for link in _LINK.findall(re.sub(r"`[^`\n]*`", "", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(target):
            defects.append(f"{path}: link to '{link}': there is no '{target}'")
        elif anchor and target.endswith(".md") and anchor not in anchors(read(target)):
            defects.append(f"{path}: link to '{link}': '{target}' has no such heading")
    return defects


def status_defects() -> list[str]:
    """Returns a line for each command that docs/status.md does not speak of, or says something unknown about."""
    rows = {
        name: (state.strip(), tests.strip()) for name, state, tests in _ROW.findall(read("docs/status.md"))
    }
    defects = [
        f"docs/status.md: no row for `kist {command.name}`"
        for command in all_commands()
        if command.name not in rows
    ]
    for name, (state, tests) in rows.items():
        if state not in STATES:
            defects.append(f"docs/status.md: '{state}' of `kist {name}` is none of {', '.join(STATES)}")
        for test in re.findall(r"`(tests/[^`]+)`", tests):
            if not os.path.exists(test):
                defects.append(f"docs/status.md: `kist {name}` names '{test}', which does not exist")
        if state != "not yet" and "`tests/" not in tests:
            defects.append(f"docs/status.md: `kist {name}` names no test")
    return defects


def functions(path: str) -> set[str]:
    """Returns the names of the test functions of a file."""
    return set(re.findall(r"^ *(?:async )?def (test_\w+)\(", read(path), re.MULTILINE))


def missing_tests(page: str) -> list[str]:
    """Returns a line for each test that a page names and that does not exist.

    A test is `tests/cli/test_x.py::test_y`, or `test_x.py::test_y` where the page says in which folder; then one of
    the files of that name must have it.
    """
    command = ["git", "ls-files", "-co", "--exclude-standard", "tests", "src/kist/testing"]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    defects = []
    for folder, name, function in _TEST.findall(read(page)):
        meant = [
            path
            for path in files
            if (path == folder + name if folder else os.path.basename(path) == name) and os.path.exists(path)
        ]
        if not meant:
            defects.append(f"{page}: there is no '{folder}{name}'")
        elif function and not any(function in functions(path) for path in meant):
            defects.append(f"{page}: '{folder}{name}' has no '{function}'")
    return defects


def main() -> int:
    """Returns the exit status."""
    defects = [defect for page in pages() for defect in broken_links(page)] + status_defects()
    defects += [
        defect
        for page in pages()
        if page.startswith(("docs/spec/", "docs/design/")) or page == "docs/status.md"
        for defect in missing_tests(page)
    ]
    for defect in defects:
        print(defect)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
