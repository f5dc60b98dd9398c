"""`kist stage`: adds stages to `dvc.yaml`, lists them, and says how long they took."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from kist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kist.cli.context import Context
    from kist.formats.dvcyaml_edit import StageText

_OUTPUTS = (
    (("-o", "--outs"), "outs", "An output, a file or folder."),
    (("-O", "--outs-no-cache"), "outs_no_cache", "An output that the cache does not keep."),
    (("--outs-persist",), "outs_persist", "An output that is not removed before the stage runs."),
    (("--outs-persist-no-cache",), "outs_persist_no_cache", "Such an output that the cache does not keep."),
    (("-m", "--metrics"), "metrics", "A file of metrics."),
    (("-M", "--metrics-no-cache"), "metrics_no_cache", "A file of metrics that the cache does not keep."),
    (("--plots",), "plots", "A file of plots."),
    (("--plots-no-cache",), "plots_no_cache", "A file of plots that the cache does not keep."),
)


class NoCommandError(InputError):
    """A stage needs a command."""

    code = "no-command"


class TwiceNamedError(InputError):
    """A path is named twice for a stage, in ways that exclude each other."""

    code = "named-twice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `add` and `list` with DVC's options, and `times`."""
    below = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = below.add_parser("add", help="Add a stage.", description="Add a stage to dvc.yaml.")
    add.add_argument("-n", "--name", required=True, help="Name of the stage.")
    add.add_argument("-f", "--force", action="store_true", help="Replace a stage of this name.")
    add.add_argument(
        "-d", "--deps", action="append", default=[], metavar="PATH", help="What the command reads."
    )
    add.add_argument(
        "-p",
        "--params",
        action="append",
        default=[],
        metavar="[FILE:]KEYS",
        help="Parameters that it reads, of params.yaml or another file.",
    )
    for names, dest, text in _OUTPUTS:
        add.add_argument(*names, dest=dest, action="append", default=[], metavar="PATH", help=text)
    add.add_argument("-w", "--wdir", metavar="PATH", help="Where the command runs.")
    add.add_argument("--always-changed", action="store_true", help="It runs each time.")
    add.add_argument("--desc", metavar="TEXT", help="A line for people.")
    add.add_argument("--run", action="store_true", help="Run it at once.")
    add.add_argument("command", nargs=argparse.REMAINDER, help="The command.")
    listing = below.add_parser("list", help="List stages.", description="List stages.")
    listing.add_argument("targets", nargs="*", help="Stages, metafiles or, with -R, folders.")
    listing.add_argument("--all", action="store_true", help="All stages of the repository.")
    listing.add_argument(
        "--fail", action="store_true", help="Stop at the first metafile that cannot be read."
    )
    listing.add_argument("-R", "--recursive", action="store_true", help="Folders mean all stages below them.")
    listing.add_argument("--name-only", "--names-only", action="store_true", help="Only the names.")
    listing.add_argument("--json", action="store_true", help="Print name -> text as JSON.")
    times = below.add_parser(
        "times", help="Show how long stages took.", description="Show what the last run of each stage took."
    )
    times.add_argument("targets", nargs="*", help="Stages or metafiles; default: all stages that ran here.")
    times.add_argument("--json", action="store_true", help="Print name -> figures as JSON.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    return {"add": _add, "list": _list, "times": _times}[args.action](args, context)


def _add(args: argparse.Namespace, context: Context) -> int:
    from kist.cli.hints import print_tracking_hint
    from kist.repo.stages import add_stage

    repository = context.repository()
    to_stage = add_stage(repository, stage_text(args), force=args.force)
    context.console.info(f"Added stage '{args.name}' in 'dvc.yaml'")
    if args.run:
        to_stage = [*to_stage, *_run(context, args.name)]
    print_tracking_hint(context, [repository.shown(path) for path in dict.fromkeys(to_stage)])
    return 0


def _run(context: Context, name: str) -> list[str]:
    """Runs a stage; returns the files that the person still has to stage."""
    from kist.cli.repro_words import teller
    from kist.repo.repro import ReproOptions, repro
    from kist.repo.repro_plan import Scope

    options = ReproOptions(Scope(single=True), force=False)
    return repro(context.repository(), [name], options, teller(context)).to_stage


def stage_text(args: argparse.Namespace) -> StageText:
    """Returns the stage that the options describe.

    Raises: NoCommandError, TwiceNamedError.
    """
    from kist.formats.dvcyaml_edit import StageText

    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not words:
        raise NoCommandError(
            "cannot add a stage without a command", hint="kist stage add -n NAME -o OUTPUT COMMAND"
        )
    kept, plain = {"persist": True}, {"cache": False}
    outs = _with_options((args.outs, {}), (args.outs_no_cache, plain), (args.outs_persist, kept))
    outs |= _with_options((args.outs_persist_no_cache, plain | kept))
    metrics = _with_options((args.metrics, {}), (args.metrics_no_cache, plain))
    plots = _with_options((args.plots, {}), (args.plots_no_cache, plain))
    stage = StageText(
        args.name,
        command_text(words),
        tuple(args.deps),
        _params(args.params),
        outs,
        metrics,
        plots,
        wdir=args.wdir,
        desc=args.desc,
        always_changed=args.always_changed,
    )
    given = [path for _, dest, _ in _OUTPUTS for path in getattr(args, dest)]
    for path in given:
        if given.count(path) > 1 or path in args.deps:
            raise TwiceNamedError(
                f"cannot add stage '{args.name}': '{path}' is named twice",
                hint="name each path once, as an output or as a dependency",
            )
    for file in stage.params:
        if file in args.deps:
            raise TwiceNamedError(
                f"cannot add stage '{args.name}': '{file}' is named as a dependency and with parameters",
                hint="leave one of them out",
            )
    return stage


def _with_options(*groups: tuple[list[str], dict[str, bool]]) -> dict[str, dict[str, bool]]:
    return {path: options for paths, options in groups for path in paths}


def command_text(words: Sequence[str]) -> str:
    """Returns the command that words of a command line make, as DVC joins them."""
    if len(words) == 1:
        return words[0]
    return " ".join(f'"{word}"' if (" " in word and '"' not in word) or not word else word for word in words)


def _params(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for item in given:
        file, colon, listed = item.rpartition(":")
        keys = tuple(key for key in listed.split(",") if key)
        name = (file if colon else "") or "params.yaml"
        found[name] = (*found.get(name, ()), *keys)
    return found


def _list(args: argparse.Namespace, context: Context) -> int:
    from kist.repo.stages import describe, list_stages
    from kist.repo.targets import shown_stage

    repository = context.repository()
    stages = list_stages(
        repository, args.targets, everything=args.all, recursive=args.recursive, strict=args.fail
    )
    rows = [(shown_stage(repository, stage), describe(stage)) for stage in stages]
    if context.as_json:
        context.console.data_json(dict(rows))
        return 0
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        context.console.out(name if args.name_only else f"{name:<{width}}  {text}")
    return 0


def _times(args: argparse.Namespace, context: Context) -> int:
    """Prints what the last run of each stage took, the longest first."""
    from kist.cli.render_progress import human_size
    from kist.repo.stage_times import read_times
    from kist.repo.stages import list_stages
    from kist.repo.targets import shown_stage

    repository = context.repository()
    known = read_times(repository.dvc_dir)
    stages = list_stages(repository, args.targets, everything=not args.targets)
    rows = [
        (shown_stage(repository, stage), known[stage.address]) for stage in stages if stage.address in known
    ]
    rows.sort(key=lambda row: -row[1].wall_s)
    console = context.console
    if context.as_json:
        console.data_json({name: took._asdict() for name, took in rows})
        return 0
    if not rows:
        console.info("No stage ran here yet.")
        console.hint("kist repro")
        return 0
    width = max(len("stage"), *(len(name) for name, _ in rows))
    console.out(f"{'stage':<{width}}  {'time':>10}  {'CPU':>10}  {'memory':>8}  ended")
    for name, took in rows:
        ended = time.strftime("%Y-%m-%d %H:%M", time.localtime(took.ended_s))
        figures = (
            f"{_duration(took.wall_s):>10}  {_duration(took.cpu_s):>10}  {human_size(took.memory_bytes):>8}"
        )
        console.out(f"{name:<{width}}  {figures}  {ended}")
    return 0


def _duration(seconds: float) -> str:
    """Returns a time as people read it: `0.52 s`, `3 m 20 s`, `2 h 05 m`."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"
