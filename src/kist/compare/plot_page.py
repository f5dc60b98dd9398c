"""A page of plots that opens without a network: the drawings as Vega-Lite, images beside it. Pure.

Nothing that stands in data or file names can become markup or script. Implements docs/spec/plots.md, section 5.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from kist.errors import InputError

_PLOTS = "{plot_divs}"
_PLACEHOLDERS = re.compile(r"\{(scripts|plot_divs|refresh_tag)\}")
_DANGEROUS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' file: data: blob:"
)
"""What the page may load: the images beside it. Vega's expressions are interpreted, so no text becomes code."""
_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Plots</title>
{{refresh_tag}}
<style>
  body {{ margin: 1.5rem; font: 14px/1.45 system-ui, sans-serif; color: #222; background: #fff; }}
  .plots {{ display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }}
  .plot {{ border: 1px solid #ddd; border-radius: 6px; padding: 1rem; overflow: auto; max-width: 100%; }}
  .plot h2 {{ margin: 0 0 .75rem; font-size: 1rem; font-weight: 600; overflow-wrap: anywhere; }}
  .images {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
  figure {{ margin: 0; }}
  figcaption {{ color: #555; margin-bottom: .25rem; }}
  figure img {{ max-width: min(100%, 640px); border: 1px solid #eee; }}
</style>
{{scripts}}
</head>
<body>
<main class="plots">
{_PLOTS}
</main>
</body>
</html>
"""


class PageTemplateError(InputError):
    """A page of the user's own has no place for the plots; the user adds it. Exit 255, as DVC."""

    code = "plot-page"
    exit_code = 255


class Picture(NamedTuple):
    """An image of one version: `address` relative to the page."""

    version: str
    address: str


class Block(NamedTuple):
    """One plot: `spec` for a drawing, else images."""

    name: str
    spec: Any = None
    pictures: tuple[Picture, ...] = ()


def page(blocks: Sequence[Block], scripts: Sequence[str], template: str | None = None) -> str:
    """Returns the page.

    Args:
        scripts: texts of scripts; they bring `vegaEmbed`.
        template: a page with `{plot_divs}`, and `{scripts}` in its head; None for our own.

    Raises: PageTemplateError.
    """
    template = _PAGE if template is None else template
    if _PLOTS not in template:
        raise PageTemplateError(
            f"cannot make the page: its template has no '{_PLOTS}'",
            hint="write {plot_divs} where plots belong",
        )
    divs = "\n".join(_block(f"plot-{number}", block) for number, block in enumerate(blocks))
    parts = {
        "scripts": "\n".join(f"<script>{text}</script>" for text in scripts),
        "plot_divs": divs,
        "refresh_tag": "",
    }
    return _PLACEHOLDERS.sub(lambda found: parts[found[1]], template)


def _block(name: str, block: Block) -> str:
    title = html.escape(block.name)
    if block.spec is None:
        inside = "\n".join(map(_figure, block.pictures))
        return f'<section class="plot"><h2>{title}</h2>\n<div class="images">\n{inside}\n</div></section>'
    return (
        f'<section class="plot"><div id="{name}"></div>\n'
        f"<script>vegaEmbed('#{name}', {script_json(block.spec)}, {{ast: true}});</script></section>"
    )


def _figure(picture: Picture) -> str:
    version = html.escape(picture.version)
    address = html.escape(quote(picture.address))
    return f'<figure><figcaption>{version}</figcaption><img src="{address}" alt="{version}"></figure>'


def script_json(value: Any) -> str:
    """Returns JSON that is safe inside of a script: nothing in it can end the script or start a comment."""
    text = json.dumps(value, default=str)
    return "".join(_DANGEROUS.get(char, char) for char in text) if _is_dangerous(text) else text


def _is_dangerous(text: str) -> bool:
    return any(char in text for char in _DANGEROUS)
