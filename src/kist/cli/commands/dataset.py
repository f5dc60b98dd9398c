"""`kist dataset`: notes which version of data of another repository is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.errors import InputError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.datasets import Dataset

_SHORT = 9


class DatasetOptionError(InputError):
    """`--rev` and `--path` belong to datasets of repositories."""

    code = "dataset-option"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `add` and `update` with DVC's options."""
    below = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = below.add_parser("add", help="Add a dataset.", description="Add a dataset to dvc.yaml.")
    kinds = add.add_mutually_exclusive_group(required=True)
    kinds.add_argument(
        "--dvc", metavar="URL", help="A repository of Git with data: a folder on this machine."
    )
    kinds.add_argument("--dc", metavar="NAME", help="A dataset of DataChain; not supported yet.")
    kinds.add_argument("--url", metavar="URL", help="A storage that keeps versions; not supported yet.")
    add.add_argument("name", help="What it is called here.")
    add.add_argument("--rev", metavar="REVISION", help="A branch, tag or commit; default: HEAD.")
    add.add_argument("--path", metavar="PATH", help="A file or folder in the repository.")
    add.add_argument("-f", "--force", action="store_true", help="Replace a dataset of this name.")
    update = below.add_parser(
        "update", help="Take the newest version.", description="Take the newest version."
    )
    update.add_argument("name", help="What it is called here.")
    update.add_argument(
        "--rev", "--version", nargs="?", metavar="REVISION", help="Another branch, tag or commit from now on."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    return (_add if args.action == "add" else _update)(args, context)


def _add(args: argparse.Namespace, context: Context) -> int:
    from kist.cli.hints import print_tracking_hint
    from kist.repo.datasets import Dataset, add_dataset

    kind = next(one for one in ("dvc", "dc", "url") if getattr(args, one) is not None)
    if kind != "dvc" and (args.rev or args.path):
        option = "--rev" if args.rev else "--path"
        raise DatasetOptionError(f"cannot use '{option}' without '--dvc'", hint="kist dataset add --help")
    repository = context.repository()
    wanted = Dataset("", args.name, getattr(args, kind), kind, args.path or "", args.rev)
    done = add_dataset(repository, wanted, force=args.force)
    context.console.info(f"Adding {args.name} ({_named(done.after)})")
    print_tracking_hint(context, [repository.shown(path) for path in done.to_stage])
    return 0


def _update(args: argparse.Namespace, context: Context) -> int:
    from kist.cli.hints import print_tracking_hint
    from kist.repo.datasets import update_dataset

    repository = context.repository()
    before, after, to_stage = update_dataset(repository, args.name, args.rev)
    if before == after:
        context.console.info("Nothing to update")
    elif before.rev_lock is None:
        context.console.info(f"Updating {args.name} ({_named(after)})")
    else:
        commits = [(one.rev_lock or "")[:_SHORT] for one in (before, after)]
        context.console.info(f"Updating {args.name} ({' -> '.join(commits)})")
    print_tracking_hint(context, [repository.shown(path) for path in to_stage])
    return 0


def _named(dataset: Dataset) -> str:
    address = dataset.url
    if dataset.path:
        address += ":/" + dataset.path.lstrip("/")
    return f"{address} @ {dataset.rev}" if dataset.rev else address
