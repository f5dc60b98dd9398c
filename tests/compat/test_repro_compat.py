"""`repro` beside the real DVC: what runs, what is said, what is left, and that the other tool then finds nothing to do."""

from __future__ import annotations

import re

import pytest

from .helpers import (
    AS_A_RUN,
    AS_LINES,
    DVC,
    KIST,
    Action,
    Beside,
    Case,
    Command,
    World,
    case,
    chmod,
    delete,
    rename,
    replace,
    tool,
    write,
)

UP_TO_DATE = "Data and pipelines are up to date."


def settled(*, but: tuple[str, ...] = ()) -> Action:
    """Returns a step after which each world's other tool finds nothing to do, and changes nothing.

    Args: but: stages that run every time.
    """

    def act(world: World) -> None:
        other = KIST if world.tool == DVC else DVC
        lock = world.path("repo", "dvc.lock")
        with open(lock, "rb") as stream:
            before = stream.read()
        result = world.run(["repro"], "repo", by=other)
        assert result.code == 0, (other, result)
        ran = re.findall(r"Running stage '(.*)':|Stage '(.*)' is cached", result.stdout)
        assert {one or two for one, two in ran} == set(but), (other, result.stdout)
        if not but:
            assert UP_TO_DATE in result.stdout, (other, result.stdout)
        if not but and other == KIST:  # of DVC `repro` tells enough, and each run of it takes its time
            assert UP_TO_DATE in world.run(["status"], "repo", by=other).stdout
        with open(lock, "rb") as stream:
            assert stream.read() == before, other

    return act


def repro(words: str = "", *, code: int = 0) -> Command:
    """Returns a step that runs `repro` and compares what it says word for word."""
    return tool(f"repro {words}", stdout=AS_A_RUN, code=code)


def changed(name: str, *steps: Action, but: tuple[str, ...] = ()) -> Case:
    """Returns a case: the pipeline, a change, `repro`, and then the other tool, which has nothing to do."""
    return case(name, "matrix", *steps, repro(), settled(but=but))


def refused(name: str, *steps: Action, except_for: tuple[str, ...]) -> Case:
    """Returns a case in which a stage lacks something that it reads."""
    because = "R5: DVC removes outputs before it sees that a stage cannot run"
    return case(name, "matrix", *steps, repro(code=255), except_for=except_for, because=because)


def given(words: str, *steps: Action, how: str = AS_A_RUN) -> Case:
    """Returns a case with options, after which the other tool may have something to do.

    Args: how: AS_LINES where DVC takes stages that do not depend on each other in the order of a set.
    """
    return case(words, "matrix", *steps, tool(f"repro {words}", stdout=how))


CHANGES = (
    changed("nothing"),
    changed("a dependency that is data", write("file.txt", "two\n")),
    changed("a dependency that Git has", write("sub.txt", "two\n")),
    changed("the mode of a dependency", chmod("code.sh", 0o644)),
    refused("a dependency is missing", delete("sub.txt"), except_for=("repo/prepared",)),
    changed("a param", replace("params.yaml", "0.5", "0.7")),
    changed("a param inside of a mapping", replace("params.yaml", "n: 3", "n: [1, {z: 2}]")),
    changed("a param that nobody reads", replace("params.yaml", "m: 1", "m: 2")),
    changed("a param of JSON", replace("other.json", "1", "null")),
    changed("a file of params as a whole", replace("whole.toml", "c = 2", "c = 'x'")),
    changed("a param of Python", replace("code.py", "DEPTH = 3", "DEPTH = (1, 2)")),
    refused("a param is missing", replace("params.yaml", "lr: 0.5", "lx: 1"), except_for=("repo/loss.csv", "repo/m.json", "repo/model", "repo: git status")),
    changed("a command", replace("dvc.yaml", "cp out_a report", "cp  out_a report")),
    changed("a command becomes a list", replace("dvc.yaml", "cmd: cp out_a report", "cmd: [cp out_a report]")),
    changed("a variable of a command", replace("conf.yaml", "ada", "eve")),
    changed("a mapping of a command", replace("conf.yaml", "depth: 3", "depth: 4, extra: [1, 2]")),
    changed("an output by hand", write("model", "mine\n")),
    changed("an output in a folder by hand", write("prepared/z", "mine\n")),
    changed("an output that the cache does not keep", write("report", "mine\n")),
    changed("an output is missing", delete("model")),
    changed("a folder of outputs is missing", delete("prepared")),
    changed("all outputs are missing", delete("prepared", "model", "out_a", "m.json", "loss.csv", "report")),
    changed("the cache is missing", delete(".dvc/cache")),
    changed("the history of runs is missing, and an output", delete(".dvc/cache/runs", "out_b")),
    changed("the lock is missing", delete("dvc.lock")),
    changed("a metric that the cache does not keep is missing", delete("m.json")),
    changed("an output that persists", write("kept.log", "mine\n")),
    changed("a dependency is moved", rename("sub.txt", "moved.txt"), replace("dvc.yaml", "sub.txt", "moved.txt")),
    changed("an output is renamed", replace("dvc.yaml", "report", "paper")),
    changed("an output is added", replace("dvc.yaml", "    - t.txt\n", "    - t.txt\n    - t2.txt\n"),
            replace("dvc.yaml", "> t.txt", "> t.txt && echo 2 > t2.txt")),
    changed("a dependency is taken away", replace("dvc.yaml", "    - sub.txt\n", "")),
    changed("a param is taken away", replace("dvc.yaml", "    - lr\n    - opt.n\n", "    - opt.n\n")),
    changed("a stage is renamed", replace("dvc.yaml", "  unkept:", "  renamed:")),
    changed("a stage is taken away", replace("dvc.yaml", "  templated:\n    cmd: echo ${name} ${opts} > t.txt\n    outs:\n    - t.txt\n", "")),
    changed("an item of foreach is added", replace("conf.yaml", "[a, b]", "[c, a, b]")),
    changed("an item of foreach is taken away", replace("conf.yaml", "[a, b]", "[a]")),
    changed("an axis of a matrix is longer", replace("dvc.yaml", "d: [x, y]", "d: [x, y, z]")),
    changed("an axis of a matrix is added", replace("dvc.yaml", "      d: [x, y]\n", "      d: [x, y]\n      e: [k]\n")),
    changed("cache: false is taken away", replace("dvc.yaml", "    - report:\n        cache: false\n", "    - report\n")),
    changed("order and comments", replace("dvc.yaml", "    - prepared\n    - code.sh\n", "    # first\n    - code.sh\n    - prepared\n")),
    changed("a frozen stage whose dependency changed", replace("dvc.yaml", "    cmd: cp out_a report", "    frozen: true\n    cmd: cp out_a report"), write("file.txt", "two\n")),
    changed("a frozen stage whose output changed", replace("dvc.yaml", "    cmd: cp out_a report", "    frozen: true\n    cmd: cp out_a report"), write("report", "two\n")),
    changed("a stage that always runs", replace("dvc.yaml", "    cmd: cp out_a report", "    always_changed: true\n    cmd: cp out_a report"), but=("unkept",)),
    changed("wdir", replace("dvc.yaml", "wdir: folder", "wdir: ./folder/."), ),
)  # fmt: skip

OPTIONS = (
    given("-f"),
    given("-f -s unkept"),
    given("-s unkept", write("file.txt", "2\n")),
    given("--force-downstream", write("sub.txt", "2\n")),
    given("--no-commit mx", replace("params.yaml", "0.5", "0.9"), how=AS_LINES),
    given("--no-run-cache", delete("model")),
    given("--no-run-cache mx", replace("params.yaml", "0.5", "0.9"), how=AS_LINES),
    given("-p unkept", write("file.txt", "2\n")),
    given("--glob 'mx@1*'", replace("params.yaml", "0.5", "0.9"), how=AS_LINES),
    given("--downstream each", delete("out_a"), how=AS_LINES),
    given("-q", write("sub.txt", "2\n")),
    given("mx each@b", replace("params.yaml", "0.5", "0.9"), how=AS_LINES),
    given("dvc.yaml:below file.txt.dvc", write("file.txt", "2\n")),
    given("-R .", write("file.txt", "2\n")),
)


@pytest.mark.parametrize("checked", CHANGES, ids=lambda checked: checked.name)
def test_repro_after_a_change_does_what_dvc_does(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", OPTIONS, ids=lambda checked: checked.name)
def test_options_of_repro_do_what_they_do_in_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)
