"""`kist queue`: experiments that wait, run and ended; the pool that works through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.parser import number_above_0

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands with DVC's options."""
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)

    def subcommand(name: str, summary: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=summary)

    start = subcommand("start", "Start a pool in the background.")
    start.add_argument(
        "-j", "--jobs", type=number_above_0, default=1, metavar="N", help="Experiments at once."
    )
    stop = subcommand("stop", "Let the pool start no more experiments.")
    stop.add_argument("--kill", action="store_true", help="Also end those that run; they count as failed.")
    status = subcommand("status", "Show experiments that wait, run and ended, and the pool.")
    status.add_argument("--json", action="store_true", help="Print JSON.")
    logs = subcommand("logs", "Show what an experiment printed.")
    logs.add_argument("task", metavar="TASK", help="Name or commit.")
    logs.add_argument("-e", "--encoding", metavar="NAME", default="utf-8", help="Encoding; default: utf-8.")
    logs.add_argument("-f", "--follow", action="store_true", help="Go on while it runs.")
    remove = subcommand("remove", "Take experiments out of the queue.")
    remove.add_argument("tasks", nargs="*", metavar="TASK", help="Names or commits.")
    remove.add_argument("--all", action="store_true", help="All that do not run.")
    remove.add_argument("--queued", action="store_true", help="All that wait.")
    remove.add_argument("--success", action="store_true", help="All that ended well.")
    remove.add_argument("--failed", action="store_true", help="All that failed.")
    kill = subcommand("kill", "End running experiments; they count as failed.")
    kill.add_argument("tasks", nargs="*", metavar="TASK", help="Names or commits; default: all.")
    kill.add_argument("-f", "--force", action="store_true", help="At once, without a chance to tidy up.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns the exit status of the subcommand."""
    from kist.cli import queue_actions as actions

    handlers = {
        "start": actions.start,
        "stop": actions.stop,
        "status": actions.status,
        "logs": actions.logs,
        "remove": actions.remove,
        "kill": actions.kill,
    }
    return handlers[args.action](args, context)
