"""Reports as Markdown."""

from __future__ import annotations

from kist.repo.report import DataChange, Image, Report, StageTime, duration, render_report

EMPTY = Report("HEAD", "workspace", {}, {}, [])


def test_a_change_of_everything_is_told_in_tables() -> None:
    report = Report(
        "v1",
        "workspace",
        {
            "metrics.json": {
                "acc": {"old": 0.9, "new": 0.925, "diff": 0.025},
                "loss": {"old": 0.5, "new": None},
            }
        },
        {
            "params.yaml": {"lr": {"old": 1, "new": 3, "diff": 2}},
            "b.yaml": {"name": {"old": None, "new": "x|y"}},
        },
        [
            DataChange("added", "data/new.txt"),
            DataChange("modified", "data/"),
            DataChange("renamed", "old", "new"),
        ],
        images=[Image("loss [1]", "plots/loss.svg")],
        times=[StageTime("train", 75.2, 512_000_000), StageTime("eval", 3.25)],
    )
    assert render_report(report) == (
        "## `workspace` against `v1`\n"
        "\n"
        "### Metrics (`metrics.json`)\n"
        "\n"
        "| Metric | `v1` | `workspace` | Change |\n"
        "|---|---|---|---|\n"
        "| `acc` | 0.9 | 0.925 | +0.025 |\n"
        "| `loss` | 0.5 |  |  |\n"
        "\n"
        "### Parameters\n"
        "\n"
        "| File | Parameter | `v1` | `workspace` | Change |\n"
        "|---|---|---|---|---|\n"
        "| `params.yaml` | `lr` | 1 | 3 | +2 |\n"
        "| `b.yaml` | `name` |  | `x\\|y` |  |\n"
        "\n"
        "### Data\n"
        "\n"
        "Files: 1 added, 0 modified, 1 renamed.\n"
        "\n"
        "| Change | Path |\n"
        "|---|---|\n"
        "| added | `data/new.txt` |\n"
        "| modified | `data/` |\n"
        "| renamed | `old` → `new` |\n"
        "\n"
        "### Plots\n"
        "\n"
        "![loss \\[1\\]](plots/loss.svg)\n"
        "\n"
        "### Stages\n"
        "\n"
        "| Stage | Time | Peak memory |\n"
        "|---|---|---|\n"
        "| `train` | 1 min 15 s | 512 MB |\n"
        "| `eval` | 3.2 s |  |\n"
    )


def test_nothing_is_said_to_be_nothing() -> None:
    text = render_report(EMPTY._replace(failed=["HEAD"]), title="Nightly")
    assert text == (
        "## Nightly\n\nNeither metrics, nor parameters, nor data differ.\n\n"
        "Not all metrics and parameters could be read of `HEAD`.\n"
    )


def test_a_long_table_is_cut_and_the_rest_counted() -> None:
    text = render_report(
        EMPTY._replace(data=[DataChange("added", f"{number}.txt") for number in range(1234)])
    )
    assert text.count("| added |") == 50
    assert "Files: 1234 added." in text
    assert "… and 1,184 more." in text


def test_no_name_breaks_out_of_its_cell() -> None:
    hostile = ["a`b", "`", "@everyone", "[x](http://x)", "a\n| b |", "<img src=x>", "``", "a\\|<img src=x>"]
    changes = [DataChange("added", name) for name in hostile]
    text = render_report(EMPTY._replace(data=changes))
    rows = [line for line in text.splitlines() if line.startswith("| added | ")]
    assert [row.removeprefix("| added | ").removesuffix(" |") for row in rows] == [
        "``a`b``",
        "`` ` ``",
        "`@everyone`",
        "`[x](http://x)`",
        "`a \\| b \\|`",
        "`<img src=x>`",
        "``` `` ```",
        "`a\\ \\|<img src=x>`",
    ]


def test_times_are_said_as_a_person_says_them() -> None:
    assert [duration(seconds) for seconds in (0.04, 59.94, 60, 3599.6, 7260)] == [
        "0.0 s",
        "59.9 s",
        "1 min 00 s",
        "1 h 00 min",
        "2 h 01 min",
    ]
