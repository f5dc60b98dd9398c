"""Makes llms.txt, the table of contents for programs that read: each page with its title and first sentence.

Only makes it: `make docs` writes and `make check` compares it, through make_reference.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

_SECTIONS = (
    ("Start", ("README.md", "docs/tutorial")),
    ("How-tos", ("docs/howto",)),
    ("Reference", ("docs/reference", "docs/status.md", "docs/benchmarks.md")),
    ("Formats and promises", ("docs/spec",)),
    ("Optional", ("docs/design", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
)
_NOTES = """\
Commands, options, exit codes and files are DVC's: what is known of `dvc` holds for `kist`. Beyond that, `kist save`,
`switch`, `sync`, `restore` and `log` do data and Git in one step; `--json` gives data on stdout, `--progress json`
progress on stderr; errors come as lines `error:` and `hint:` on stderr; `kist COMMAND --help` has every option.
"""


def llms_page(paths: list[str], read: Callable[[str], str]) -> str:
    """Returns the text of llms.txt.

    Args:
        paths: all Markdown files of the project.
        read: returns the text of one of them.

    Raises: ValueError when a page has no place, no title or no first sentence.
    """
    docs = {path for path in paths if path.startswith("docs/")}
    title, summary = _heading("README.md", read), _first_sentence(_first_paragraph("README.md", read))
    parts = [f"# {title}\n", f"> {summary}\n", _NOTES]
    for section, places in _SECTIONS:
        parts.append(f"## {section}\n")
        for place in places:
            below = sorted(path for path in paths if path == place or path.startswith(place + os.sep))
            docs -= set(below)
            parts += [
                f"- [{_heading(path, read)}]({path}): {_first_sentence(_first_paragraph(path, read))}"
                for path in below
            ]
        parts.append("")
    if docs:
        raise ValueError(f"llms.txt has no section for {', '.join(sorted(docs))}")
    return "\n".join(parts).rstrip() + "\n"


def _heading(path: str, read: Callable[[str], str]) -> str:
    found = re.search(r"^# (.+)$", read(path), re.MULTILINE)
    if not found:
        raise ValueError(f"{path} has no title")
    return found[1].replace("`", "")


def _first_paragraph(path: str, read: Callable[[str], str]) -> str:
    body = re.split(r"^# .+$", read(path), maxsplit=1, flags=re.MULTILINE)[1]
    for block in body.split("\n\n"):
        if block.strip() and not block.lstrip().startswith(("<!--", "#", "```", "|")):
            return " ".join(block.split())
    raise ValueError(f"{path} has no text")


def _first_sentence(text: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text.removeprefix("**Decision.** "))
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
