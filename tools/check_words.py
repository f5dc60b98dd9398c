"""Checks that no file holds what belongs to one machine or one moment: absolute paths, left-over marks.

Exit status 1, with a line for each finding, when there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys

# Written in pieces, so that this file is not its own first finding.
_FORBIDDEN = {
    "a path of one machine": re.compile(
        r"(?<![\w.])(?<!gdrive:/)/(?:wor" + r"k|roo" + r"t)(?:/|\b(?!\.|\w))"
    ),
    "a path out of the tree": re.compile(r"\.\./shar" + r"ed/(?:facts|design|data)"),
    "a mark of unfinished work": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    "a conflict mark": re.compile(r"^(?:<{7} |>{7} )", re.MULTILINE),
}
_ALLOWED = re.compile(r"words: allowed")


def main() -> int:
    """Returns the exit status."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    found = 0
    for name in sorted(filter(None, names)):
        try:
            with open(name, encoding="utf-8") as stream:
                lines = stream.read().splitlines()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # no text, or removed and not yet committed
        for number, line in enumerate(lines, 1):
            for what, pattern in _FORBIDDEN.items():
                if pattern.search(line) and not _ALLOWED.search(line):
                    print(f"{name}:{number}: {what}: {line.strip()[:100]}")
                    found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
