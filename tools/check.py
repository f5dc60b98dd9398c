"""Runs every check of `make check` and says which failed, with its output. Exit status 1 when one did.

All checks run, also after a failure, so that one run shows everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BIN = os.path.dirname(sys.executable)
MOST_LINES = 60


def tool(name: str, *arguments: str) -> list[str]:
    """Returns the command line of a program of the development environment."""
    return [os.path.join(BIN, name), *arguments]


def script(name: str, *arguments: str) -> list[str]:
    """Returns the command line of one of our own checks."""
    return [sys.executable, os.path.join(HERE, name), *arguments]


def shell_scripts() -> list[str]:
    """Returns our shell scripts."""
    found = [os.path.join(HERE, name) for name in sorted(os.listdir(HERE)) if name.endswith(".sh")]
    return [*found, os.path.join(ROOT, ".ci", "run")]


CHECKS: list[tuple[str, list[str]]] = [
    ("format", tool("ruff", "format", "--check", "--output-format", "concise", ".")),
    ("lint", tool("ruff", "check", "--output-format", "concise", ".")),
    ("types", tool("mypy")),
    ("layers", tool("lint-imports", "--no-cache")),
    ("unused code", tool("vulture")),
    ("dependencies", tool("deptry", "src")),
    ("shell", ["bash", "-n", *shell_scripts()]),
    ("reference pages", script("make_reference.py", "--check")),
    ("docs", script("check_docs.py")),
    ("words", script("check_words.py")),
]


def main() -> int:
    """Returns the exit status."""
    failed = []
    for name, command in CHECKS:
        began = time.monotonic()
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        verdict = "ok" if result.returncode == 0 else "FAILED"
        print(f"{name:<16} {verdict:<7} {time.monotonic() - began:5.1f} s", flush=True)
        if result.returncode != 0:
            failed.append(name)
            lines = (result.stdout + result.stderr).rstrip().splitlines()
            print("\n".join(lines[:MOST_LINES]), flush=True)
            if len(lines) > MOST_LINES:
                print(f"... {len(lines) - MOST_LINES} more lines: {' '.join(command)}", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
