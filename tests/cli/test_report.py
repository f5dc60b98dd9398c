"""`report`: what it prints, writes and posts, and what it takes from a CI system."""

from __future__ import annotations

import json

import pytest

from kist.cli.commands.report import surroundings
from kist.testing.project import Project


@pytest.fixture
def changed(project: Project) -> Project:
    """The project with a committed pipeline file of values, and changes of all kinds on top."""
    project.write(
        {
            "dvc.yaml": "metrics: [metrics.json]\nparams: [params.yaml]\n",
            "metrics.json": '{"acc": 0.5}\n',
            "params.yaml": "lr: 1\n",
        }
    )
    project.commit()
    project.write({"metrics.json": '{"acc": 0.75}\n', "params.yaml": "lr: 2\n", "model.bin": "another\n"})
    project.kist("add", "-q", "model.bin")
    return project


REPORT = """\
## `workspace` against `HEAD`

### Metrics (`metrics.json`)

| Metric | `HEAD` | `workspace` | Change |
|---|---|---|---|
| `acc` | 0.5 | 0.75 | +0.25 |

### Parameters (`params.yaml`)

| Parameter | `HEAD` | `workspace` | Change |
|---|---|---|---|
| `lr` | 1 | 2 | +1 |

### Data

Files: 1 modified.

| Change | Path |
|---|---|
| modified | `model.bin` |
"""


def test_a_report_is_printed_or_written(changed: Project) -> None:
    assert changed.kist("report").out == REPORT
    assert changed.kist("report", "-o", "report.md", "--title", "Night").out == ""
    assert changed.read("report.md") == REPORT.replace("`workspace` against `HEAD`", "Night")
    document = json.loads(changed.kist("report", "--json").out)
    assert document["data"] == [{"kind": "modified", "path": "model.bin", "new_path": None}]
    assert document["metrics"]["metrics.json"]["acc"]["diff"] == 0.25


def test_two_revisions_are_compared(changed: Project) -> None:
    changed.commit()
    assert "### Metrics" in changed.kist("report", "HEAD~1", "--rev", "HEAD").out
    assert "Neither metrics, nor parameters, nor data differ." in changed.kist("report").out


def test_without_a_place_or_a_token_nothing_is_posted(
    changed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "BITBUCKET_BUILD_NUMBER",
        "GITHUB_TOKEN",
        "KIST_REPORT_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    answer = changed.try_kist("report", "--post")
    assert answer.code == 255 and "it is not known where to" in answer.err
    answer = changed.try_kist("report", "--post", "--forge", "github")
    assert answer.code == 255 and "to which request" in answer.err
    answer = changed.try_kist("report", "--post", "--forge", "github", "--project", "a/b", "--number", "3")
    assert answer.code == 255 and "there is no token" in answer.err


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {
                "GITHUB_ACTIONS": "true",
                "GITHUB_REPOSITORY": "ann/net",
                "GITHUB_REF": "refs/pull/12/merge",
                "GITHUB_TOKEN": "t",
                "GITHUB_BASE_REF": "main",
            },
            ("github", "https://api.github.com", "ann/net", "12", "t", "origin/main"),
        ),
        (
            {
                "GITLAB_CI": "true",
                "CI_API_V4_URL": "https://x/api/v4",
                "CI_PROJECT_ID": "5",
                "CI_MERGE_REQUEST_IID": "7",
                "GITLAB_TOKEN": "t",
                "CI_MERGE_REQUEST_DIFF_BASE_SHA": "abc",
            },
            ("gitlab", "https://x/api/v4", "5", "7", "t", "abc"),
        ),
        (
            {
                "BITBUCKET_BUILD_NUMBER": "1",
                "BITBUCKET_REPO_FULL_NAME": "ann/net",
                "BITBUCKET_PR_ID": "9",
                "BITBUCKET_PR_DESTINATION_BRANCH": "main",
            },
            ("bitbucket", "https://api.bitbucket.org/2.0", "ann/net", "9", None, "origin/main"),
        ),
        ({}, (None, None, None, None, None, None)),
    ],
)
def test_a_ci_system_says_what_is_meant(environ: dict[str, str], expected: tuple[str | None, ...]) -> None:
    assert surroundings(environ) == expected


def test_a_request_is_compared_with_where_its_branch_left(
    changed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = changed.git("branch", "--show-current").strip()
    changed.git("update-ref", "refs/remotes/origin/main", "HEAD")
    changed.git("checkout", "-q", "-b", "work")
    changed.commit()
    changed.git("checkout", "-q", branch)
    changed.write({"params.yaml": "lr: 9\n"})
    changed.commit()
    changed.git("update-ref", "refs/remotes/origin/main", "HEAD")
    changed.git("checkout", "-q", "work")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_BASE_REF", "main")
    base = changed.git("merge-base", "origin/main", "HEAD").strip()
    assert changed.kist("report").out == REPORT.replace("`HEAD`", f"`{base[:7]}`")
    monkeypatch.setenv("GITHUB_BASE_REF", "none")
    assert "it is not in this clone" in changed.try_kist("report").err
