"""`kist git-hook`: what Git's hooks and its merge driver call; takes DVC's command lines too.

Source: githooks(5), gitattributes(5), DVC 3.67.1 for the arguments. Implements docs/spec/merging.md, sections 7 and 9.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from kist.errors import KistError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kist.cli.context import Context
    from kist.repo.push_check import PushedRef

_INSIDE = "KIST_INSIDE"  # the command of ours that started git, and does itself what a hook would do


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a subcommand for each hook, and the driver."""
    hooks = parser.add_subparsers(dest="hook", metavar="HOOK", required=True)
    for name, summary in (
        ("pre-commit", "Show what changed before a commit."),
        ("post-checkout", "Bring the data along after a checkout."),
        ("post-merge", "Bring the data along after a merge."),
        ("post-rewrite", "Bring the data along after a rebase."),
        ("pre-push", "Refuse to push a branch whose data is not on its remote."),
    ):
        hook = hooks.add_parser(name, help=summary, description=summary)
        hook.add_argument("args", nargs="*", help="What Git or the pre-commit tool passes.")
        if name == "pre-push":
            hook.add_argument(
                "--allow-missing", action="store_true", help="Say what is missing, and let it pass."
            )
    summary = "Merge one metafile for Git."
    driver = hooks.add_parser("merge-driver", help=summary, description=summary)
    driver.add_argument("--ancestor", required=True, metavar="FILE", help="The common ancestor's version.")
    driver.add_argument("--our", required=True, metavar="FILE", help="Our version; replaced by the result.")
    driver.add_argument("--their", required=True, metavar="FILE", help="The other side's version.")
    driver.add_argument("--path", metavar="PATH", help="The path that is merged, relative to the top.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0, or 1 where Git is to stop."""
    if args.hook == "merge-driver":
        return _drive(args, context)
    if context.environ.get(_INSIDE):
        return 0
    return _HOOKS[args.hook](args, context)


def _drive(args: argparse.Namespace, context: Context) -> int:
    from kist.repo.merging import Files, drive
    from kist.repo.repository import find_root

    top = context.cwd
    files = Files(args.ancestor, args.our, args.their, args.path)
    place = os.path.dirname(os.path.join(top, args.path or ""))
    repository = _at(context, place).repository() if find_root(place) is not None else None
    try:
        is_clean, lines = drive(files, repository=repository, cwd=top, environ=context.environ)
    except (KistError, OSError) as error:
        # Any other status than 1 makes Git give up the whole merge.
        is_clean, lines = False, [f"cannot merge '{args.path or args.our}': {error}"]
    finally:
        if repository is not None:
            repository.close()
    for line in lines:
        context.console.note(f"kist: {line}")
    return 0 if is_clean else 1


def _at(context: Context, directory: str) -> Context:
    """Returns a context like this one, in another directory."""
    return type(context)(
        cwd=directory,
        environ=context.environ,
        console=context.console,
        progress=context.progress,
        quiet=context.quiet,
        verbose=context.verbose,
        wait_for_lock=context.wait_for_lock,
    )


def _contexts(context: Context) -> list[Context]:
    """Returns a context in each repository of this working tree: Git runs hooks in its top, ours may lie below."""
    from kist.git.locate import find_paths
    from kist.git.process import GitProgram
    from kist.repo.repository import find_root

    roots: dict[str, None] = {}
    here = find_root(context.cwd)
    if here is not None:
        roots[here] = None
    paths = find_paths(context.cwd)
    if paths is not None:
        listed = GitProgram(paths.top, context.environ).run(["ls-files", "-z", "--", ":(glob)**/.dvc/config"])
        for path in os.fsdecode(listed).split("\0"):
            root = os.path.join(paths.top, path.removesuffix(".dvc/config").rstrip("/"))
            if path and os.path.isdir(os.path.join(root, ".dvc")):
                roots[os.path.normpath(root)] = None
    return [_at(context, root) for root in roots]


def _run(context: Context, words: list[str]) -> int:
    """Returns the worst status of one of our own commands, run in each repository."""
    return max([_run_in(each, words) for each in _contexts(context)], default=0)


def _run_in(context: Context, words: list[str]) -> int:
    from kist.cli.run import load_module, make_parser
    from kist.cli.table import find_command

    command = find_command(words[0])
    assert command is not None
    module = load_module(command)
    args = make_parser(command, module).parse_args(words[1:])
    args.quiet, args.verbose = context.quiet, context.verbose
    try:
        return module.run(args, context)
    finally:
        context.close()


def _pre_commit(args: argparse.Namespace, context: Context) -> int:
    return _run(context, ["status"])


def _post_checkout(args: argparse.Namespace, context: Context) -> int:
    from kist.git.locate import find_paths
    from kist.git.unfinished import has_commits_to_rebase

    # The pre-commit tool tells by a variable what Git says by the third argument: 1 for a whole commit.
    is_whole = (
        args.args[2] if len(args.args) > 2 else context.environ.get("PRE_COMMIT_CHECKOUT_TYPE")
    ) == "1"
    paths = find_paths(context.cwd)
    if not is_whole or paths is None or has_commits_to_rebase(paths.git_dir):
        return 0
    return _run(context, ["checkout"])


def _post_merge(args: argparse.Namespace, context: Context) -> int:
    return _run(context, ["checkout"])


def _post_rewrite(args: argparse.Namespace, context: Context) -> int:
    by = args.args[0] if args.args else context.environ.get("PRE_COMMIT_REWRITE_COMMAND")
    return _run(context, ["checkout"]) if by == "rebase" else 0


def _pushed_refs(context: Context) -> list[PushedRef]:
    """Returns what is about to be pushed: Git writes it to stdin, the pre-commit tool into variables."""
    from kist.repo.push_check import PushedRef, read_refs

    environ = context.environ
    if environ.get("PRE_COMMIT"):
        # It names no commit where all of the history is new to the remote.
        commit = environ.get("PRE_COMMIT_TO_REF") or environ.get("PRE_COMMIT_LOCAL_BRANCH") or "HEAD"
        return [PushedRef(environ.get("PRE_COMMIT_REMOTE_BRANCH") or "refs/heads/HEAD", commit)]
    if sys.stdin is not None and not sys.stdin.isatty():
        return read_refs(sys.stdin.read())
    return [PushedRef("refs/heads/HEAD", "HEAD")]


def _pre_push(args: argparse.Namespace, context: Context) -> int:
    from kist.git.clone import get_flag
    from kist.repo.merging import git_program
    from kist.repo.push_check import refuse_missing

    refs = _pushed_refs(context)
    for each in _contexts(context) if refs else []:
        repository = each.repository()
        if repository.git is None:
            continue
        git = git_program(repository)
        may_lack = args.allow_missing or context.environ.get("KIST_ALLOW_MISSING", "") not in ("", "0")
        try:
            if get_flag(git, "kist.push"):
                _run_in(each, ["push"])
            for note in refuse_missing(repository, refs):
                context.console.note(note)
        except KistError as error:
            if not may_lack and not get_flag(git, "kist.allowMissing"):
                raise
            context.console.warn(error.message)
        finally:
            repository.close()
    return 0


_HOOKS: dict[str, Callable[[argparse.Namespace, Context], int]] = {
    "pre-commit": _pre_commit,
    "post-checkout": _post_checkout,
    "post-merge": _post_merge,
    "post-rewrite": _post_rewrite,
    "pre-push": _pre_push,
}
