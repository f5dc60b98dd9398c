"""`kist report`: what a change did, in Markdown: printed, written, or posted as a comment that is kept up to date."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from kist.cli.context import Context
    from kist.repo.forges import Request
    from kist.repo.report import Report

FORGES = ("github", "gitlab", "bitbucket")


class NowhereToPostError(InputError):
    """It is not known which request is to get the comment, or there is no token. Options and variables say it."""

    code = "nowhere-to-post"


class _Surroundings(NamedTuple):
    """What a CI system says of the request that it runs for; None where it says nothing.

    Attributes:
        base: the revision that the request is to be compared with; a branch is meant where it left it.
    """

    forge: str | None = None
    api: str | None = None
    project: str | None = None
    number: str | None = None
    token: str | None = None
    base: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `report`."""
    parser.add_argument(
        "base",
        nargs="?",
        help="The revision to compare with; default: where the request's branch left, or HEAD.",
    )
    parser.add_argument(
        "--rev", default="workspace", help="The revision that is reported; default: the workspace."
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="Write the report to this file.")
    parser.add_argument("--title", default="", help="The heading.")
    parser.add_argument(
        "--post", action="store_true", help="Post it as a comment, or change the one of before."
    )
    parser.add_argument(
        "--name", default="report", help="Which comment to change, if a request gets several reports."
    )
    parser.add_argument("--forge", choices=FORGES, help="Where to post; default: as the CI system says.")
    parser.add_argument("--project", metavar="OWNER/NAME", help="The project with the request.")
    parser.add_argument("--number", type=int, help="The number of the pull or merge request.")
    parser.add_argument("--api", metavar="URL", help="The address of the forge's interface.")
    parser.add_argument("--json", action="store_true", help="Print the values as JSON.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the report is printed, written or posted."""
    from kist.repo.report import make_report, render_report

    around = surroundings(context.environ)
    request = _request(args, around, context.environ) if args.post else None  # a mistake costs no time then
    repository = context.repository()
    base = args.base or _base(context, around.base)
    report = make_report(repository, base, args.rev)
    shown = report._replace(old=_shown(report.old))
    text = render_report(shown, title=args.title)
    if args.out is not None:
        from kist.base import atomic

        atomic.write_file(os.path.join(context.cwd, args.out), text.encode())
    if request is not None:
        from kist.repo.forges import post_comment

        number, is_new = post_comment(request, text, name=args.name)
        if not context.as_json:
            context.console.info(f"Comment {number} {'posted' if is_new else 'brought up to date'}.")
    if context.as_json:
        context.console.data_json(_document(report))
    elif args.out is None and request is None:
        context.console.out(text, end="")
    return 0


def surroundings(environ: Mapping[str, str]) -> _Surroundings:
    """Returns what the environment says of a CI system.

    Source: the documentation of GitHub Actions, GitLab CI and Bitbucket Pipelines on their variables.
    """
    get = environ.get
    if get("GITHUB_ACTIONS"):
        found = re.fullmatch(r"refs/pull/(\d+)/.*", get("GITHUB_REF", ""))
        branch = get("GITHUB_BASE_REF")
        return _Surroundings(
            "github",
            get("GITHUB_API_URL") or "https://api.github.com",
            get("GITHUB_REPOSITORY"),
            found[1] if found else None,
            get("GITHUB_TOKEN"),
            f"origin/{branch}" if branch else None,
        )
    if get("GITLAB_CI"):
        branch = get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
        return _Surroundings(
            "gitlab",
            get("CI_API_V4_URL"),
            get("CI_PROJECT_ID"),
            get("CI_MERGE_REQUEST_IID"),
            get("GITLAB_TOKEN"),
            get("CI_MERGE_REQUEST_DIFF_BASE_SHA") or (f"origin/{branch}" if branch else None),
        )
    if get("BITBUCKET_BUILD_NUMBER"):
        branch = get("BITBUCKET_PR_DESTINATION_BRANCH")
        return _Surroundings(
            "bitbucket",
            "https://api.bitbucket.org/2.0",
            get("BITBUCKET_REPO_FULL_NAME"),
            get("BITBUCKET_PR_ID"),
            get("BITBUCKET_TOKEN"),
            f"origin/{branch}" if branch else None,
        )
    return _Surroundings()


_API = {
    "github": "https://api.github.com",
    "gitlab": "https://gitlab.com/api/v4",
    "bitbucket": "https://api.bitbucket.org/2.0",
}


def _request(args: argparse.Namespace, around: _Surroundings, environ: Mapping[str, str]) -> Request:
    from kist.repo.forges import Request

    forge = args.forge or around.forge
    if forge is None:
        raise NowhereToPostError(
            "cannot post the report: it is not known where to",
            hint="name it with `--forge`, `--project` and `--number`",
        )
    same = around if around.forge == forge else _Surroundings()
    variable = f"{forge.upper()}_TOKEN"
    token = environ.get("KIST_REPORT_TOKEN") or same.token or environ.get(variable)
    project, number = args.project or same.project, args.number or same.number
    if not project or not number:
        raise NowhereToPostError(
            f"cannot post the report to {forge}: it is not known to which request",
            hint="name it with `--project` and `--number`",
        )
    if not token:
        raise NowhereToPostError(
            f"cannot post the report to {forge}: there is no token",
            hint=f"set KIST_REPORT_TOKEN or {variable}",
        )
    api = (args.api or same.api or _API[forge]).rstrip("/")
    return Request(forge, api, project, int(number), token)


def _base(context: Context, wanted: str | None) -> str:
    """Returns the revision to compare with: where a request's branch left the other one, or HEAD."""
    from kist.git.repository import RevisionMissingError

    git = context.repository().git
    if wanted is None or git is None:
        return "HEAD"
    from kist.git.porcelain import Porcelain

    try:
        git.resolve(wanted)
    except RevisionMissingError as error:
        raise RevisionMissingError(
            f"cannot compare with '{wanted}': it is not in this clone",
            hint="let CI clone the whole history, or name a revision",
        ) from error
    found = Porcelain(git, context.environ, inside="report").merge_base(wanted, "HEAD")
    return found or wanted


def _shown(rev: str) -> str:
    return rev[:7] if re.fullmatch("[0-9a-f]{40}", rev) else rev


def _document(report: Report) -> dict[str, object]:
    return {
        "old": report.old,
        "new": report.new,
        "metrics": report.metrics,
        "params": report.params,
        "data": [change._asdict() for change in report.data],
        "failed": list(report.failed),
    }
