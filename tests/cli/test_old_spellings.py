"""What metafiles of older versions say that means something else now: one warning each, on stderr."""

from __future__ import annotations

from kist.testing.project import Project

PIPELINE = "stages:\n  train:\n    cmd: train\n    live:\n      training:\n        summary: true\n"


def warnings(text: str) -> list[str]:
    """Returns the warnings in an output."""
    return [line for line in text.splitlines() if line.startswith("warning: ")]


def old_output(name: str) -> str:
    """Returns a metafile of DVC 0.x."""
    return f"outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: {name}\n  tags:\n    v1:\n      md5: d41d8cd98f00b204e9800998ecf8427e\n"


def test_a_pipeline_of_dvc_2_is_read_with_a_warning(project: Project) -> None:
    project.write({"dvc.yaml": PIPELINE})
    answer = project.kist("status", "--json")
    assert warnings(answer.err) == [
        "warning: 'dvc.yaml': 'live' of stage 'train' is read as the plots output 'training'; "
        "write it under 'plots', for DVC 3 refuses 'live'"
    ]
    assert "warning" not in answer.out


def test_a_warning_comes_once_however_often_a_command_reads_the_file(project: Project) -> None:
    project.write({"old.dvc": old_output("old"), "old": ""})
    answer = project.try_kist("push", "old.dvc", "old.dvc", "old")
    assert len(warnings(answer.err)) == 1
    assert "'old.dvc': output 'old': 'tags' have no effect" in answer.err


def test_it_comes_with_an_error_too_and_not_with_quiet(project: Project) -> None:
    project.write({"old.dvc": old_output("old")})
    answer = project.try_kist("checkout", "nothing")
    assert answer.code == 255
    assert len(warnings(answer.err)) == 1
    assert warnings(project.try_kist("checkout", "nothing", "-q").err) == []


def test_of_many_warnings_the_first_are_shown_and_the_rest_with_verbose(project: Project) -> None:
    project.write({f"old{number}.dvc": old_output(f"old{number}") for number in range(6)})
    found = warnings(project.kist("status").err)
    assert [line.split("'")[1] for line in found[:-1]] == ["old0.dvc", "old1.dvc", "old2.dvc"]
    assert found[-1] == "warning: 3 more notes on old spellings; give `-v` to see them"
    assert len(warnings(project.kist("status", "-v").err)) == 6


def test_what_a_commit_says_is_not_warned_of(project: Project) -> None:
    project.write({"old.dvc": old_output("old")})
    project.commit()
    project.write({"old.dvc": "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: old\n"})
    assert warnings(project.kist("diff", "HEAD").err) == []
