"""What the subcommands of `kist exp` do and say, but for `show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.base.shell import shell_line
from kist.errors import KistError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from kist.cli.context import Context
    from kist.compare.values import Table
    from kist.experiments.refs import Experiment
    from kist.repo.exp_refs import Range
    from kist.repo.exp_share import Shared, ShareOptions
    from kist.repo.repro import ReproOptions


def range_of(args: argparse.Namespace) -> Range:
    """Returns the baselines that the options name."""
    from kist.repo.exp_refs import Range

    return Range(args.rev, args.num if args.num > 0 else -1, args.all_commits)


def _has_range(args: argparse.Namespace) -> bool:
    return bool(args.rev or args.all_commits or args.num != 1)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the experiment ran."""
    if args.run_all:
        from kist.cli.queue_actions import run_all

        return run_all(args, context)
    if args.queue or args.temp:
        from kist.cli import queue_actions

        options = _repro_options(args, context)
        return (queue_actions.add_to_queue if args.queue else queue_actions.run_beside)(
            args, context, options
        )
    return _run_here(args, context)


def _run_here(args: argparse.Namespace, context: Context) -> int:
    from kist.cli.repro_words import teller
    from kist.experiments.overrides import parse_override
    from kist.repo.exp_run import RunRequest, run_experiment

    console = context.console
    overrides = [parse_override(text) for text in args.set_param]
    request = RunRequest(args.name, overrides, args.message, args.force)
    repository = context.repository()

    def named(name: str) -> None:
        console.info(f"Reproducing experiment '{name}'")

    result = run_experiment(
        repository, args.targets, request, _repro_options(args, context), teller(context), named
    )
    for note in repository.take_notes():
        console.warn(note)
    if result.repro.error is not None:
        raise result.repro.error
    if result.experiment is not None:
        console.info(
            f"\nRan experiment(s): {result.experiment.name}\n"
            "Experiment results have been applied to your workspace."
        )
        _push_by_itself(context, result.experiment)
    return 0


def _push_by_itself(context: Context, experiment: Experiment) -> None:
    """Pushes a new experiment where `exp.auto_push` asks for it; a failure is no failure of the experiment."""
    from kist.repo.exp_refs import Range
    from kist.repo.exp_share import ShareOptions, push_experiments

    repository = context.repository()
    asked = context.environ.get("DVC_EXP_AUTO_PUSH", "").lower()
    if asked not in ("1", "true", "yes", "on", "y") and (
        asked or not repository.settings.boolean("exp", "auto_push", False)
    ):
        return
    named = context.environ.get("DVC_EXP_GIT_REMOTE") or repository.settings.text("exp", "git_remote")
    try:
        push_experiments(repository, named or "origin", [experiment.ref], Range(), ShareOptions())
    except KistError as error:
        context.console.warn(f"cannot push experiment '{experiment.name}': {error.message}")


def _repro_options(args: argparse.Namespace, context: Context) -> ReproOptions:
    from kist.repo.repro import ReproOptions
    from kist.repo.repro_plan import Scope

    return ReproOptions(
        scope=Scope(
            single=args.single_item,
            whole=args.pipeline,
            everything=args.all_pipelines,
            downstream=args.downstream,
            recursive=args.recursive,
        ),
        force=args.force,
        force_downstream=args.force_downstream,
        allow_missing=args.allow_missing,
        pull=args.pull,
        on_error=args.on_error,
        dry=args.dry,
        confirm=context.console.confirm if args.interactive else None,
    )


def save(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the experiment is saved."""
    from kist.repo.exp_run import save_experiment

    saved = save_experiment(
        context.repository(),
        args.targets,
        name=args.name,
        force=args.force,
        recursive=args.recursive,
        untracked=args.include_untracked,
        message=args.message,
    )
    _push_by_itself(context, saved)
    if context.as_json:
        context.console.data_json({"ref": saved.sha, "name": saved.name})
        return 0
    context.console.info(
        f"Experiment has been saved as: {saved.name}\n\nTo make a branch of it, run:\n\n"
        f"\t{shell_line('kist', 'exp', 'branch', saved.name)} <branch>"
    )
    return 0


def apply(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the workspace is the experiment."""
    from kist.repo.exp_apply import apply_experiment

    console = context.console
    repository = context.repository()
    done = apply_experiment(repository, args.exp, force=args.force)
    for note in repository.take_notes():
        console.warn(note)
    console.info(
        f"Changes for experiment '{done.experiment.name}' have been applied to your current workspace."
    )
    if done.kept is not None:
        console.info(f"What was there before is kept: git stash apply {done.kept[:12]}")
    error = done.data.error(repository)
    if error is not None:
        raise error
    return 0


def branch(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the branch is made."""
    from kist.repo.exp_edit import branch_experiment

    found, name = branch_experiment(context.repository(), args.exp, args.branch)
    context.console.info(
        f"Git branch '{name}' has been created from experiment '{found.name}'.\n"
        f"To switch to the new branch run:\n\n\t{shell_line('git', 'checkout', name)}"
    )
    return 0


def list_them(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.repo.exp_refs import experiments_of, in_range, names_of, place_of

    place = place_of(context.repository(), "list experiments")
    found = in_range(place, experiments_of(place, args.git_remote), range_of(args))
    names = names_of(place.git, found)
    console = context.console
    if context.as_json:
        console.data_json(
            {baseline: [{"name": one.name, "rev": one.sha} for one in own] for baseline, own in found.items()}
        )
        return 0
    for baseline, own in found.items():
        if not (args.name_only or args.sha_only):
            console.out(f"{names.get(baseline, baseline[:7])}:")
        for one in own:
            if args.name_only or args.sha_only:
                console.out(one.name if args.name_only else one.sha)
            elif args.git_remote is not None:
                console.out(f"\t{one.name}")
            else:
                console.out(f"\t{one.sha[:7]} [{one.name}]")
    return 0


def remove(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the experiments are gone."""
    from kist.repo.exp_edit import remove_experiments

    if args.queue:
        from kist.experiments.queue import QUEUED
        from kist.repo.exp_pool import remove_tasks

        tasks = remove_tasks(context.repository(), [], [QUEUED])
        if tasks:
            context.console.info(f"Removed experiments: {_joined([repr(task.name) for task in tasks])}")
        if not args.names and not _has_range(args):
            return 0
    chosen = range_of(args) if _has_range(args) else None
    gone = remove_experiments(
        context.repository(), args.names, chosen=chosen, keep=args.keep, remote=args.git_remote
    )
    if gone:
        context.console.info(f"Removed experiments: {_joined([repr(one.name) for one in gone])}")
    else:
        context.console.info("No experiments to remove.")
    return 0


def rename(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the experiment has its new name."""
    from kist.repo.exp_edit import rename_experiment

    rename_experiment(context.repository(), args.old, args.new, force=args.force, remote=args.git_remote)
    context.console.info(f"Renamed experiments: '{args.old}'")
    return 0


def push(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the Git remote has the experiments and the remote their data."""
    from kist.repo.exp_share import push_experiments

    done = push_experiments(
        context.repository(), args.git_remote, args.names, range_of(args), _share_options(args)
    )
    return _report(args, context, done, "push", "Pushed", "to")


def pull(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the experiments are here and their data in the cache."""
    from kist.repo.exp_share import pull_experiments

    done = pull_experiments(
        context.repository(), args.git_remote, args.names, range_of(args), _share_options(args)
    )
    return _report(args, context, done, "fetch", "Pulled", "from")


def _share_options(args: argparse.Namespace) -> ShareOptions:
    from kist.repo.exp_share import ShareOptions

    return ShareOptions(args.remote, not args.no_cache, args.run_cache, args.force, args.jobs)


def _report(
    args: argparse.Namespace, context: Context, done: Shared, verb: str, said: str, preposition: str
) -> int:
    from kist.cli.transfer_options import report_failures

    console = context.console
    for note in done.notes:
        console.note(note)
    if done.same:
        names = _joined([one.name for one in done.same])
        console.info(f"Experiment {names} is up to date on Git remote '{args.git_remote}'.")
    if done.moved:
        names = _joined([one.name for one in done.moved])
        console.info(f"{said} experiment {names} {preposition} Git remote '{args.git_remote}'.")
    if not done.same and not done.moved and (done.data is None or not done.data.failed):
        console.info("No experiments to " + args.action + ".")
    if done.data is not None:
        report_failures(context.repository(), done.data, verb)
    return 0


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def clean(_args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.repo.exp_edit import clean_experiments

    clean_experiments(context.repository())
    return 0


def diff(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.cli.differences import PRECISION, json_text, warn_of_failures
    from kist.cli.tables import table_lines
    from kist.repo.exp_diff import diff_experiments

    repository = context.repository()
    found = diff_experiments(
        repository, args.a_rev, args.b_rev, everything=args.all, only_of_stages=args.param_deps
    )
    failed = dict.fromkeys([*found.metrics.failed, *found.params.failed])
    warn_of_failures(context, list(failed), "metrics and parameters")
    parts = {
        kind: {repository.shown(path): names for path, names in part.changes.items()}
        for kind, part in (("metrics", found.metrics), ("params", found.params))
    }
    if context.as_json:
        context.console.out(json_text(parts))
        return 0
    names = (args.a_rev or "HEAD", args.b_rev or "workspace")
    precision = args.precision or PRECISION
    for kind, title in (("metrics", "Metric"), ("params", "Param")):
        if not parts[kind]:
            continue
        if kind == "params" and parts["metrics"]:
            context.console.out()
        table = _difference_table(
            parts[kind], title, names, precision if kind == "metrics" else None, shows_path=not args.no_path
        )
        for line in table_lines(table, markdown=args.md):
            context.console.out(line)
    return 0


def _difference_table(
    changes: Mapping[str, Mapping[str, Mapping[str, Any]]],
    title: str,
    names: tuple[str, str],
    precision: int | None,
    *,
    shows_path: bool,
) -> Table:
    """Returns differences as DVC lays them out here: parameters are not rounded, and what is no number is said."""
    from kist.cli.exp_table import short_cell
    from kist.compare.values import Table

    rows = []
    for path, own in changes.items():
        for name, change in sorted(own.items()):
            versions = [short_cell(change.get(key), precision) for key in ("old", "new")]
            difference = short_cell(change["diff"], precision) if "diff" in change else "diff not supported"
            rows.append([path, name, *versions, difference])
    first = 0 if shows_path else 1
    return Table(["Path", title, *names, "Change"][first:], [row[first:] for row in rows])
