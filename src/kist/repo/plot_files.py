"""What plots read and write beside their data: templates, the page with its images, PNG and SVG.

Not here: which plots there are (plots). Implements docs/spec/plots.md, sections 4 to 6.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kist.base import atomic
from kist.compare import plot_templates
from kist.compare.plot_page import Block, page
from kist.compare.plot_page import Picture as Shown
from kist.compare.plot_spec import Filled, TemplateError, drawable, fill_template
from kist.errors import InputError, MissingError
from kist.repo.metafiles import read_bytes
from kist.repo.plots import Picture, Plot

if TYPE_CHECKING:
    from kist.repo.repository import Repository

PAGE = "index.html"
IMAGES = "static"
_SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
_VEGA_LITE = "6.4"
_SCALE = 2.0


class TemplateMissingError(MissingError):
    """A template is neither in `.dvc/plots`, nor a file, nor one of ours. Exit 255, as DVC."""

    code = "plot-template-missing"
    exit_code = 255


class PictureToolError(InputError):
    """PNG and SVG need a package that is not installed."""

    code = "plot-pictures"


class PictureFailedError(InputError):
    """A drawing cannot be made into a picture; the template or the data are to blame."""

    code = "plot-picture-failed"


def find_template(repository: Repository, name: str | None) -> dict[str, Any]:
    """Returns a template: of `.dvc/plots`, a file, or one of ours.

    Args: name: with or without ".json"; None for the usual one.

    Raises: TemplateMissingError, TemplateError.
    """
    name = name or plot_templates.DEFAULT
    folder = os.path.join(repository.dvc_dir, "plots")
    base, _ = os.path.splitext(name)
    for path in (
        os.path.join(folder, name),
        os.path.join(folder, base + ".json"),
        os.path.join(repository.cwd, name),
    ):
        if os.path.isfile(path):
            return _parse_template(read_bytes(path) or b"", name)
    found = plot_templates.built_in(name)
    if found is None:
        raise TemplateMissingError(f"cannot find template '{name}'", hint="kist plots templates")
    return found


def _parse_template(data: bytes, name: str) -> dict[str, Any]:
    import json

    try:
        value = json.loads(data)
    except ValueError as error:
        raise TemplateError(f"cannot read template '{name}': {error}") from error
    if not isinstance(value, dict):
        raise TemplateError(f"cannot read template '{name}': expected a mapping")
    return value


def filled(repository: Repository, plot: Plot, *, split: bool = False) -> Filled:
    """Returns a drawing as Vega-Lite; of a plot without any row an empty one.

    Raises: TemplateMissingError, TemplateError.
    """
    template = find_template(repository, plot.template)
    if plot.drawing is None or not plot.drawing.rows:
        return Filled({}, {})
    return fill_template(template, plot.drawing, name=plot.template or plot_templates.DEFAULT, split=split)


def write_picture(folder: str, picture: Picture) -> str:
    """Writes an image of a version into a folder, which is made; returns its absolute path.

    Its name is that of version and path, with "_" for "/".
    """
    folder = os.path.abspath(folder)
    os.makedirs(folder, exist_ok=True)
    name = f"{picture.version}_{picture.path}".replace("/", "_").replace(os.sep, "_").replace("\0", "_")
    path = os.path.join(folder, name)
    atomic.write_file(path, picture.data, durable=False)
    return path


def write_page(
    repository: Repository, plots: Sequence[Plot], folder: str, *, template_path: str | None = None
) -> str:
    """Writes the page and its images into a folder, which is made; returns the page's absolute path.

    Args:
        folder: relative to the person's folder, or absolute.
        template_path: absolute path of a page of the person's own.

    Raises: TemplateMissingError, TemplateError, PageTemplateError, OSError.
    """
    folder = os.path.join(repository.cwd, folder)
    template = None
    if template_path is not None:
        with open(template_path, encoding="utf-8") as stream:
            template = stream.read()
    blocks = []
    for plot in sorted(plots, key=_place):
        if plot.drawing is None:
            shown = tuple(
                Shown(one.version, os.path.relpath(write_picture(os.path.join(folder, IMAGES), one), folder))
                for one in plot.pictures
            )
            blocks.append(Block(plot.name, pictures=shown))
        else:
            blocks.append(Block(plot.name, spec=drawable(filled(repository, plot).content)))
    text = page([block for block in blocks if block.spec or block.pictures], vega_scripts(), template)
    path = os.path.join(folder, PAGE)
    os.makedirs(folder, exist_ok=True)
    atomic.write_file(path, text.encode("utf-8", "surrogateescape"), durable=False)
    return path


def vega_scripts() -> list[str]:
    """Returns the scripts that draw, as texts."""
    folder = os.path.join(os.path.dirname(plot_templates.__file__), "vega")
    texts = []
    for name in _SCRIPTS:
        with open(os.path.join(folder, name), encoding="utf-8") as stream:
            texts.append(stream.read())
    return texts


def _place(plot: Plot) -> tuple[bool, str, int, str]:
    """Returns what plots are sorted by: drawings first, then images by folder, and by number where they have one."""
    if plot.drawing is not None:
        return (False, "", 0, "")
    folder, name = os.path.split(plot.name)
    stem = os.path.splitext(name)[0]
    number = int(stem) if stem.isascii() and stem.isdigit() else -1
    return (True, folder, number, name)


def write_drawing(repository: Repository, plot: Plot, path: str) -> None:
    """Writes a drawing as PNG or SVG, as the path ends.

    Raises: PictureToolError, PictureFailedError, TemplateError, OSError.
    """
    try:
        import vl_convert  # 88 MB, and only for this: the extra `plots`
    except ImportError as error:
        raise PictureToolError(
            f"cannot write '{path}': the package that draws pictures is not installed",
            hint="pip install 'kist[plots]'",
        ) from error
    content = drawable(filled(repository, plot).content)
    try:
        if path.endswith(".svg"):
            data = vl_convert.vegalite_to_svg(content, vl_version=_VEGA_LITE).encode()
        else:
            data = vl_convert.vegalite_to_png(content, vl_version=_VEGA_LITE, scale=_SCALE)
    except ValueError as error:
        raise PictureFailedError(f"cannot draw '{plot.name}': {' '.join(str(error).split())}") from error
    atomic.write_file(os.path.join(repository.cwd, path), data, durable=False)
