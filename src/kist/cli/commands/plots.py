"""`kist plots`: draws what is declared as a plot, of one version or several; and says how stages' plots are drawn."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from kist.errors import InputError, MissingError

if TYPE_CHECKING:
    from kist.cli.context import Context
    from kist.repo.metrics import Failure
    from kist.repo.plots import Plot, PlotSet
    from kist.repo.repository import Repository

_FOLDER = "dvc_plots"
_PICTURES = (".png", ".svg")
_OPTIONS = ("template", "x", "y", "x_label", "y_label", "title", "header")
_COLUMNS = 80
_MOST_COLUMNS = 100


class PlotChoiceError(InputError):
    """What is asked for needs one plot, and there are several or none; or two ways of output exclude each other."""

    code = "plot-choice"
    exit_code = 1


class NoSuchTemplateError(MissingError):
    """A template that is to be printed is none of ours. Exit 1, as DVC."""

    code = "plot-template-unknown"
    exit_code = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `show`, `diff`, `modify` and `templates` with DVC's options, and `--show`."""
    below = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = below.add_parser("show", help="Draw plots.", description="Draw plots.")
    show.add_argument("targets", nargs="*", help="Only these files, folders or plots of dvc.yaml.")
    diff = below.add_parser(
        "diff", help="Draw plots of several versions.", description="Draw plots of several versions."
    )
    diff.add_argument("revisions", nargs="*", help="Revisions; default: HEAD and the workspace.")
    diff.add_argument(
        "--targets", nargs="*", metavar="PATH", default=[], help="Only these files, folders or plots."
    )
    diff.add_argument("-e", "--experiment", action="store_true", help=argparse.SUPPRESS)
    modify = below.add_parser(
        "modify",
        help="Change how a stage's plot is drawn.",
        description="Change how a stage's plot is drawn.",
    )
    modify.add_argument("target", help="A file that is an output of a stage.")
    for one in (show, diff, modify):
        _add_looks(one)
    for one in (show, diff):
        _add_outputs(one)
    modify.add_argument("--unset", nargs="*", metavar="NAME", help="Options to take away.")
    templates = below.add_parser(
        "templates", help="List templates, or print one.", description="List templates, or print one."
    )
    templates.add_argument("template", nargs="?", help="Print this one as JSON.")


def _add_looks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-t", "--template", nargs="?", metavar="NAME", help="A template, by name or file.")
    parser.add_argument("-x", metavar="FIELD", help="Field of the x axis.")
    parser.add_argument("-y", metavar="FIELD", help="Field of the y axis.")
    parser.add_argument(
        "--no-header",
        action="store_false",
        dest="header",
        default=None,
        help="The table has no line of names.",
    )
    parser.add_argument("--title", metavar="TEXT", help="Title of the plot.")
    parser.add_argument("--x-label", metavar="TEXT", help="Title of the x axis.")
    parser.add_argument("--y-label", metavar="TEXT", help="Title of the y axis.")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--out",
        metavar="PATH",
        help=f"Folder of the page; default: {_FOLDER}. A path that ends in .png or .svg: one picture.",
    )
    parser.add_argument("--show", action="store_true", help="Draw in the terminal.")
    parser.add_argument("--show-vega", action="store_true", help="Print one plot as Vega-Lite.")
    parser.add_argument("--json", action="store_true", help="Print JSON, in DVC's shape.")
    parser.add_argument(
        "--split", action="store_true", help="In JSON, leave data and looks beside the template."
    )
    parser.add_argument("--open", action="store_true", help="Open the page in a browser.")
    parser.add_argument(
        "--html-template", metavar="PATH", help="A page of your own, with {plot_divs} and {scripts}."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    if args.action == "templates":
        return _templates(args, context)
    if args.action == "modify":
        return _modify(args, context)
    return _draw(args, context)


def _templates(args: argparse.Namespace, context: Context) -> int:
    from kist.compare.plot_templates import NAMES, built_in

    if args.template is None:
        for name in NAMES:
            context.console.out(name)
        return 0
    template = built_in(args.template)
    if template is None:
        raise NoSuchTemplateError(f"cannot find template '{args.template}'", hint="kist plots templates")
    context.console.data_json(template)
    return 0


def _looks(args: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name in _OPTIONS if (value := getattr(args, name)) is not None}


def _modify(args: argparse.Namespace, context: Context) -> int:
    from kist.repo.plots_modify import modify_plot

    repository = context.repository()
    stage = modify_plot(repository, args.target, _looks(args), args.unset)
    context.console.info(f"Modifying stage '{stage.name}' in '{repository.shown(stage.file)}'")
    return 0


def _draw(args: argparse.Namespace, context: Context) -> int:
    from kist.cli.unmarked import repository_or_folder
    from kist.repo.plots import collect_plots, revisions_to_compare

    if args.show_vega and (context.as_json or len(args.targets) != 1):
        reason = "'--json' excludes it" if context.as_json else "it takes one target"
        raise PlotChoiceError(
            f"cannot use '--show-vega': {reason}", hint="kist plots show --show-vega TARGET"
        )
    repository = repository_or_folder(context)
    revs = ["workspace"] if args.action == "show" else revisions_to_compare(repository, args.revisions)
    found = collect_plots(repository, revs, targets=args.targets, options=_looks(args))
    failed = dict.fromkeys(
        [*found.failures, *(failure.version for plot in found.plots for failure in plot.failures)]
    )
    if context.as_json:
        return _print_json(args, context, repository, found)
    for version, failure in found.failures.items():
        context.console.warn(f"'{version}': {failure.message}")
    for plot in found.plots:
        for one in plot.failures:
            context.console.warn(f"'{one.version}': {one.failure.message}")
    if not found.plots:
        reason = "what is declared cannot be read" if failed else "none is declared"
        context.console.warn(f"there are no plots to draw: {reason}")
        return 0
    plots = _once(found.plots)
    if args.show_vega:
        _print_vega(context, repository, plots)
    elif args.show:
        _print_charts(context, plots)
    elif args.out and args.out.lower().endswith(_PICTURES):
        _write_picture(args, context, repository, plots)
    else:
        _write_page(args, context, repository, plots)
    return 0


def _once(plots: list[Plot]) -> list[Plot]:
    """Returns plots without files that were named as targets and are declared, too: JSON has both, as DVC's."""
    targets = {plot.name for plot in plots}
    declared = [plot.name.rpartition("::")[2] for plot in plots if "::" in plot.name]
    found = []
    for plot in plots:
        _, colons, name = plot.name.rpartition("::")
        if colons and name in targets and declared.count(name) == 1:
            drawing = plot.drawing
            if drawing is not None and drawing.title == plot.name:
                drawing = drawing._replace(title=name)
            found.append(plot._replace(name=name, drawing=drawing))
        elif colons or name not in declared:
            found.append(plot)
    return found


def _folder(args: argparse.Namespace, repository: Repository) -> str:
    return args.out or repository.settings.text("plots", "out_dir") or _FOLDER


def _print_json(args: argparse.Namespace, context: Context, repository: Repository, found: PlotSet) -> int:
    from kist.cli.differences import json_text
    from kist.repo.plot_files import filled, write_picture

    folder = os.path.join(context.cwd, _folder(args, repository))
    errors: list[dict[str, Any]] = []
    data: dict[str, Any] = {}
    for plot in found.plots:
        if plot.drawing is None:
            data[plot.name] = [
                {"type": "image", "revisions": [one.version], "url": write_picture(folder, one)}
                for one in plot.pictures
            ]
        else:
            content, apart = filled(repository, plot, split=args.split)
            item = {"type": "vega", "revisions": plot.drawing.versions, "content": content}
            item |= {"anchor_definitions": apart} if args.split else {}
            data[plot.name] = [item] if plot.drawing.rows else []
        for one in plot.failures:
            source = {} if one.source is None else {"source": one.source}
            errors.append({"name": plot.name, "rev": one.version, **source, **_error(one.failure)})
    errors += [{"rev": rev, **_error(failure)} for rev, failure in found.failures.items()]
    document = {"errors": errors, "data": data}
    context.console.out(json_text({key: value for key, value in document.items() if value}))
    return 0


def _error(failure: Failure) -> dict[str, str]:
    return {"type": failure.kind, "msg": failure.message}


def _print_vega(context: Context, repository: Repository, plots: list[Plot]) -> None:
    from kist.cli.differences import json_text
    from kist.repo.plot_files import filled

    for plot in plots:
        if plot.drawing is not None:
            context.console.out(json_text(filled(repository, plot).content))
            return


def _print_charts(context: Context, plots: list[Plot]) -> None:
    import shutil  # for the width of the terminal

    from kist.cli.console import visible
    from kist.compare.plot_text import text_chart

    columns = min(shutil.get_terminal_size((_COLUMNS, 24)).columns, _MOST_COLUMNS)
    console = context.console
    is_coloured = console.paint("", "green") != ""
    for number, plot in enumerate(plots):
        if number:
            console.out()
        if plot.drawing is None:
            console.out(f"{visible(plot.name)}\n  (an image; `kist plots show` makes a page with it)")
            continue
        drawing = plot.drawing._replace(
            title=visible(plot.drawing.title), x_label=visible(plot.drawing.x_label or "")
        )
        joins = plot.template is None or not plot.template.startswith("scatter")
        paint = console.paint if is_coloured else None
        for line in text_chart(drawing, width=columns, paint=paint, joins=joins):
            console.out(line)


def _write_picture(
    args: argparse.Namespace, context: Context, repository: Repository, plots: list[Plot]
) -> None:
    from kist.repo.plot_files import write_drawing

    drawn = [plot for plot in plots if plot.drawing is not None and plot.drawing.rows]
    if len(drawn) != 1:
        names = ", ".join(f"'{plot.name}'" for plot in drawn) or "none"
        raise PlotChoiceError(
            f"cannot write '{args.out}': one plot goes into a picture; there are: {names}",
            hint="name one of them: `kist plots show NAME --out plot.svg`",
        )
    write_drawing(repository, drawn[0], args.out)
    context.console.info(args.out)


def _write_page(
    args: argparse.Namespace, context: Context, repository: Repository, plots: list[Plot]
) -> None:
    import pathlib  # for the address of a file alone

    from kist.repo.plot_files import write_page

    template = args.html_template and os.path.join(context.cwd, args.html_template)
    configured = repository.settings.text("plots", "html_template")
    if not template and configured:
        template = os.path.join(repository.dvc_dir, configured)
    path = write_page(repository, plots, _folder(args, repository), template_path=template or None)
    address = pathlib.Path(os.path.realpath(path)).as_uri()
    context.console.out(address)
    if args.open or repository.settings.boolean("plots", "auto_open", default=False):
        import webbrowser  # only where a page is opened

        webbrowser.open(address)
