"""`kist exp`: experiments as Git references. Not here: what its subcommands do (cli.exp_actions, cli.exp_show)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.parser import number, number_above_0

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kist.cli.context import Context

_REPRO_FLAGS = (
    (("-f", "--force"), "Also run stages that did not change; replace an experiment of the same name."),
    (("-i", "--interactive"), "Ask before each stage."),
    (("-s", "--single-item"), "Only the targets, without what they depend on."),
    (("-p", "--pipeline"), "All stages that are connected with the targets."),
    (("-P", "--all-pipelines"), "All stages of the repository."),
    (("-R", "--recursive"), "Folders mean all stages below them."),
    (("--downstream",), "The targets, and all that depends on them."),
    (("--force-downstream",), "Run all that depends on a stage that ran."),
    (("--pull",), "Fetch data and the history of runs where they are missing."),
    (("--allow-missing",), "Data that is merely missing is no change."),
    (("--dry",), "Only show the commands that would run."),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands with DVC's options."""
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)

    def subcommand(name: str, summary: str, *aliases: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=summary, aliases=aliases)

    _add_run(subcommand("run", "Run a pipeline as an experiment."))
    _add_show(subcommand("show", "Show experiments with their metrics and parameters."))
    _add_diff(subcommand("diff", "Show how two experiments differ."))
    _add_list(subcommand("list", "List experiments.", "ls"))
    _add_save(subcommand("save", "Make an experiment of the workspace as it is."))
    apply = subcommand("apply", "Make the workspace what an experiment is.")
    apply.add_argument("exp", metavar="EXPERIMENT", help="Name or commit of the experiment.")
    apply.add_argument("-f", "--force", action="store_true", help="Drop data that is stored nowhere.")
    apply.add_argument(
        "--no-force", dest="force", action="store_false", help="Refuse to drop such data: the default."
    )
    branch = subcommand("branch", "Make a branch of an experiment.")
    branch.add_argument("exp", metavar="EXPERIMENT", help="Name or commit of the experiment.")
    branch.add_argument(
        "branch", nargs="?", metavar="BRANCH", help="Name of the branch; default: EXPERIMENT-branch."
    )
    _add_remove(subcommand("remove", "Remove experiments.", "rm"))
    _add_rename(subcommand("rename", "Give an experiment another name."))
    for verb, summary in (
        ("push", "Send experiments and their data."),
        ("pull", "Get experiments and their data."),
    ):
        _add_share(subcommand(verb, summary))
    subcommand("clean", "Remove temporary files of experiments.")
    runner = commands.add_parser("exec-run")  # without help: it is what the pool starts
    runner.add_argument("task")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets", nargs="*", help="Stages, metafiles or outputs; default: all stages of dvc.yaml here."
    )
    for names, text in _REPRO_FLAGS:
        parser.add_argument(*names, action="store_true", help=text)
    parser.add_argument(
        "-k",
        "--keep-going",
        dest="on_error",
        action="store_const",
        const="keep going",
        default="stop",
        help="After a failure go on with stages that do not depend on it.",
    )
    parser.add_argument(
        "--ignore-errors",
        dest="on_error",
        action="store_const",
        const="ignore",
        help="After a failure go on with all stages.",
    )
    parser.add_argument(
        "-n", "--name", metavar="NAME", help="What the experiment is called; default: two words."
    )
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="[FILE:]NAME=VALUE",
        help="Change a parameter first; with --queue several values make several experiments.",
    )
    parser.add_argument("-m", "--message", metavar="TEXT", help="The message of the experiment's commit.")
    parser.add_argument("--queue", action="store_true", help="Only put it into the queue.")
    parser.add_argument("--run-all", action="store_true", help="Run all experiments of the queue.")
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="With --run-all: so many at once; default: 1."
    )
    parser.add_argument(
        "--temp", action="store_true", help="Run it in a folder of its own, not in the workspace."
    )
    parser.add_argument(
        "--no-hydra", action="store_true", help="Accepted for scripts; Hydra is not composed yet."
    )
    parser.add_argument(
        "-C",
        "--copy-paths",
        action="append",
        default=[],
        metavar="PATH",
        help="With --temp or --queue: also copy this, which Git does not track.",
    )


def _add_range(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("-A", "--all-commits", action="store_true", help=f"{what} of all commits.")
    parser.add_argument("--rev", action="append", default=[], metavar="REV", help=f"{what} of this commit.")
    parser.add_argument(
        "-n",
        "--num",
        type=number,
        default=1,
        metavar="N",
        help="From each commit so many, by first parents; below 1: all.",
    )


def _add_show(parser: argparse.ArgumentParser) -> None:
    _add_range(parser, "Experiments")
    parser.add_argument("-a", "--all-branches", action="store_true", help="Experiments of all branches.")
    parser.add_argument("-T", "--all-tags", action="store_true", help="Experiments of all tags.")
    parser.add_argument("--no-pager", action="store_true", help="Print all at once, on a terminal too.")
    parser.add_argument("--only-changed", action="store_true", help="Only columns whose values differ.")
    parser.add_argument("--drop", metavar="REGEX", help="Leave out columns whose names match.")
    parser.add_argument(
        "--keep", metavar="REGEX", help="Keep columns whose names match, whatever else leaves out."
    )
    parser.add_argument("--param-deps", action="store_true", help="Only parameters that stages depend on.")
    parser.add_argument("--sort-by", metavar="[FILE:]NAME", help="Sort experiments by a metric or parameter.")
    parser.add_argument("--sort-order", choices=("asc", "desc"), default="asc", help="Default: asc.")
    parser.add_argument("--sha", action="store_true", help="Commits instead of names.")
    parser.add_argument("--hide-failed", action="store_true", help="Leave out experiments that failed.")
    parser.add_argument("--hide-queued", action="store_true", help="Leave out experiments that wait.")
    parser.add_argument("--hide-workspace", action="store_true", help="Leave out the workspace.")
    parser.add_argument("--json", "--show-json", action="store_true", help="Print JSON, in DVC's shape.")
    parser.add_argument("--csv", "--show-csv", action="store_true", help="Print CSV.")
    parser.add_argument("--md", "--show-md", action="store_true", help="Print a Markdown table.")
    parser.add_argument(
        "--precision", type=int, metavar="N", help="Digits after the point in the table; default: 5."
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="Accepted for scripts; nothing is remembered."
    )
    parser.add_argument("--no-fetch", action="store_true", help="Accepted for scripts; nothing is fetched.")


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a_rev", nargs="?", metavar="OLD", help="Experiment or revision; default: HEAD.")
    parser.add_argument(
        "b_rev", nargs="?", metavar="NEW", help="Experiment or revision; default: the workspace."
    )
    parser.add_argument("--all", action="store_true", help="Also what is equal.")
    parser.add_argument("--param-deps", action="store_true", help="Only parameters that stages depend on.")
    parser.add_argument("--json", "--show-json", action="store_true", help="Print JSON, in DVC's shape.")
    parser.add_argument("--md", "--show-md", action="store_true", help="Print Markdown tables.")
    parser.add_argument("--no-path", action="store_true", help="Leave out the column of paths.")
    parser.add_argument("--precision", type=int, metavar="N", help="Digits after the point; default: 5.")


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("git_remote", nargs="?", metavar="GIT_REMOTE", help="List those of a Git remote.")
    _add_range(parser, "Experiments")
    parser.add_argument("--name-only", "--names-only", action="store_true", help="Only the names.")
    parser.add_argument("--sha-only", "--shas-only", action="store_true", help="Only the commits.")
    parser.add_argument("--json", action="store_true", help="Print commit -> experiments as JSON.")


def _add_save(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="Store the outputs of these stages or metafiles only.")
    parser.add_argument(
        "-R", "--recursive", action="store_true", help="Folders mean all metafiles below them."
    )
    parser.add_argument("-f", "--force", action="store_true", help="Replace an experiment of the same name.")
    parser.add_argument("--json", action="store_true", help='Print {"ref": COMMIT, "name": NAME}.')
    parser.add_argument("-n", "--name", metavar="NAME", help="What it is called; default: two words.")
    parser.add_argument(
        "-I",
        "--include-untracked",
        action="append",
        default=[],
        metavar="PATH",
        help="A file or folder that belongs to it although Git does not track it.",
    )
    parser.add_argument("-m", "--message", metavar="TEXT", help="The message of its commit.")


def _add_remove(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="Names or commits.")
    _add_range(parser, "Experiments")
    parser.add_argument("--keep", action="store_true", help="All but those that are named.")
    parser.add_argument("--queue", action="store_true", help="Those that wait in the queue.")
    parser.add_argument("-g", "--git-remote", metavar="GIT_REMOTE", help="Remove them from a Git remote.")


def _add_rename(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="The experiment.")
    parser.add_argument("new", metavar="NEW", help="Its new name.")
    parser.add_argument("-g", "--git-remote", metavar="GIT_REMOTE", help="Rename it on a Git remote.")
    parser.add_argument("-f", "--force", action="store_true", help="Replace an experiment of the new name.")


def _add_share(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("git_remote", metavar="GIT_REMOTE", help="Name or address of the Git remote.")
    parser.add_argument(
        "names", nargs="*", metavar="EXPERIMENT", help="Names or commits; default: those of HEAD."
    )
    _add_range(parser, "Experiments")
    parser.add_argument(
        "-f", "--force", action="store_true", help="Replace other experiments of the same name."
    )
    parser.add_argument("--no-cache", action="store_true", help="Only the experiments, not their data.")
    parser.add_argument(
        "-r", "--remote", metavar="NAME", help="The remote for the data; default: core.remote."
    )
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many processes may work at once."
    )
    parser.add_argument("--run-cache", action="store_true", help="Also the history of stage runs.")
    parser.add_argument(
        "--no-run-cache", dest="run_cache", action="store_false", help="Without it: the default."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns the exit status of the subcommand."""
    if args.action == "show":
        from kist.cli.exp_show import show

        return show(args, context)
    if args.action == "exec-run":
        from kist.cli.queue_actions import run_one

        return run_one(args, context)
    from kist.cli import exp_actions as actions

    names = {"ls": "list", "rm": "remove"}
    handlers: dict[str, Callable[[argparse.Namespace, Context], int]] = {
        "run": actions.run,
        "diff": actions.diff,
        "list": actions.list_them,
        "save": actions.save,
        "apply": actions.apply,
        "branch": actions.branch,
        "remove": actions.remove,
        "rename": actions.rename,
        "push": actions.push,
        "pull": actions.pull,
        "clean": actions.clean,
    }
    return handlers[names.get(args.action, args.action)](args, context)
