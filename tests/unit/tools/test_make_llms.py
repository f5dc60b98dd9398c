"""llms.txt: every page has its place, its title and its first sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.make_llms import llms_page

TOP = Path(__file__).parents[3]
PAGES = {
    "README.md": "# Bird\n\nWatches birds: all\nof them. And more.\n",
    "docs/howto/feed.md": "# How to `feed`\n\n<!-- made -->\n\nBirds [eat](x.md) seeds? Yes.\n",
}


def test_a_page_is_listed_with_its_title_and_first_sentence() -> None:
    text = llms_page(list(PAGES), PAGES.__getitem__)
    assert text.startswith("# Bird\n\n> Watches birds: all of them.\n\n")
    assert "## How-tos\n\n- [How to feed](docs/howto/feed.md): Birds eat seeds?\n" in text


@pytest.mark.parametrize("text", ["no title\n", "# Title alone\n", "# Title\n\n| a | table |\n"])
def test_a_page_that_says_nothing_of_itself_is_refused(text: str) -> None:
    pages = PAGES | {"docs/howto/bad.md": text}
    with pytest.raises(ValueError, match=r"docs/howto/bad\.md has no"):
        llms_page(list(pages), pages.__getitem__)


def test_a_page_without_a_section_is_refused() -> None:
    pages = PAGES | {"docs/poems/owl.md": "# Owl\n\nHoot.\n"}
    with pytest.raises(ValueError, match=r"no section for docs/poems/owl\.md"):
        llms_page(list(pages), pages.__getitem__)


def test_every_page_of_the_project_is_listed_once() -> None:
    links = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", (TOP / "llms.txt").read_text(), re.MULTILINE)
    assert len(links) == len(set(links))
    assert {str(path.relative_to(TOP)) for path in TOP.glob("docs/**/*.md")} <= set(links)
    assert [link for link in links if not (TOP / link).exists()] == []
