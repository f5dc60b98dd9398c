"""Prints the requirements of the named dependency groups of pyproject.toml, one a line; pip before 25.1 cannot."""

from __future__ import annotations

import sys
import tomllib


def main() -> None:
    with open("pyproject.toml", "rb") as stream:
        groups = tomllib.load(stream)["dependency-groups"]
    for name in sys.argv[1:]:
        print("\n".join(groups[name]))


if __name__ == "__main__":
    main()
