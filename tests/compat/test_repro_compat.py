"""`repro` beside the real DVC: what runs, what is said, what is left, and that the other tool then finds nothing to do."""

from __future__ import annotations

import random
import re

import pytest

from .helpers import (
    AS_A_RUN,
    AS_LINES,
    DVC,
    EXACT,
    KIST,
    NOT_COMPARED,
    Action,
    Beside,
    Case,
    Command,
    World,
    case,
    chmod,
    delete,
    dvc,
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
    changed(
        "params of all kinds of files",
        replace("params.yaml", "n: 3", "n: [1, {z: 2}]"),
        replace("other.json", "1", "null"),
        replace("whole.toml", "c = 2", "c = 'x'"),
        replace("code.py", "DEPTH = 3", "DEPTH = (1, 2)"),
    ),
    changed("a param that nobody reads", replace("params.yaml", "m: 1", "m: 2")),
    refused(
        "a param is missing",
        replace("params.yaml", "lr: 0.5", "lx: 1"),
        except_for=("repo/loss.csv", "repo/m.json", "repo/model", "repo: git status"),
    ),
    changed("a command", replace("dvc.yaml", "cp out_a report", "cp  out_a report")),
    changed("a command becomes a list", replace("dvc.yaml", "cmd: cp out_a report", "cmd: [cp out_a report]")),
    changed("a variable of a command", replace("conf.yaml", "ada", "eve"), replace("conf.yaml", "3", "4, extra: [1, 2]")),
    changed("outputs by hand", write("model", "mine\n"), write("prepared/z", "mine\n"), write("report", "mine\n")),
    changed("an output is missing", delete("model", "m.json")),
    changed("all outputs are missing", delete("prepared", "model", "out_a", "m.json", "loss.csv", "report")),
    changed("the cache is missing", delete(".dvc/cache")),
    changed("the history of runs is missing, and an output", delete(".dvc/cache/runs", "out_b")),
    changed("the lock is missing", delete("dvc.lock")),
    changed("an output that persists", write("kept.log", "mine\n")),
    changed("a dependency is moved", rename("sub.txt", "moved.txt"), replace("dvc.yaml", "sub.txt", "moved.txt")),
    changed("an output is renamed", replace("dvc.yaml", "report", "paper")),
    changed(
        "an output is added",
        replace("dvc.yaml", "    - t.txt\n", "    - t.txt\n    - t2.txt\n"),
        replace("dvc.yaml", "> t.txt", "> t.txt && echo 2 > t2.txt"),
    ),
    changed(
        "a dependency, a param and a stage are taken away, and the order is another",
        replace("dvc.yaml", "    - sub.txt\n", ""),
        replace("dvc.yaml", "    - lr\n    - opt.n\n", "    - opt.n\n"),
        replace("dvc.yaml", "    - prepared\n    - code.sh\n", "    # first\n    - code.sh\n    - prepared\n"),
        replace("dvc.yaml", "  templated:\n    cmd: echo ${name} ${opts} > t.txt\n    outs:\n    - t.txt\n", ""),
    ),
    changed("a stage is renamed", replace("dvc.yaml", "  unkept:", "  renamed:")),
    changed("an item of foreach is added", replace("conf.yaml", "[a, b]", "[c, a]")),
    changed("an axis of a matrix is longer", replace("dvc.yaml", "d: [x, y]", "d: [x, y, z]")),
    changed("an axis of a matrix is added", replace("dvc.yaml", "      d: [x, y]\n", "      d: [x, y]\n      e: [k]\n")),
    changed("cache: false is taken away", replace("dvc.yaml", "    - report:\n        cache: false\n", "    - report\n")),
    changed(
        "a frozen stage whose dependency changed",
        replace("dvc.yaml", "    cmd: cp out_a report", "    frozen: true\n    cmd: cp out_a report"),
        write("file.txt", "two\n"),
    ),
    changed(
        "a frozen stage whose output changed",
        replace("dvc.yaml", "    cmd: cp out_a report", "    frozen: true\n    cmd: cp out_a report"),
        write("report", "two\n"),
    ),
    changed(
        "a stage that always runs",
        replace("dvc.yaml", "    cmd: cp out_a report", "    always_changed: true\n    cmd: cp out_a report"),
        but=("unkept",),
    ),
    changed("wdir", replace("dvc.yaml", "wdir: folder", "wdir: ./folder/.")),
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


_FAILING = """\
stages:
  good: {cmd: cp file.txt good.txt, deps: [file.txt], outs: [good.txt]}
  bad: {cmd: cp good.txt bad.txt && exit 3, deps: [good.txt], outs: [bad.txt]}
  below: {cmd: cp bad.txt below.txt, deps: [bad.txt], outs: [below.txt]}
  beside: {cmd: cp good.txt beside.txt, deps: [good.txt], outs: [beside.txt]}
"""
_KEPT = (
    ("repo/.gitignore", "repo: git status"),
    "a line of a finished stage stays, or Git would take its data up; DVC takes it out",
)


def failing(words: str, *, code: int = 255, how: str = NOT_COMPARED) -> Case:
    """Returns a case with a stage that fails."""
    steps = (
        write("file.txt", "one\n"),
        write("dvc.yaml", _FAILING),
        tool(f"repro {words}", code=code, stdout=how),
    )
    if code == 0:
        return case(f"a failure {words}", "empty", *steps)
    return case(f"a failure {words}", "empty", *steps, except_for=_KEPT[0], because=_KEPT[1])


def linked(kind: str) -> Case:
    """Returns a case with a cache that is linked to."""
    return case(
        f"outputs as {kind}s",
        "matrix",
        dvc(f"config cache.type {kind}"),
        write("sub.txt", "2\n"),
        repro(),
        write("sub.txt", "sub\n"),
        repro(),
        settled(),
    )


_GONE = (dvc("push -q --run-cache"), delete(".dvc/cache", "prepared", "model", "file.txt"))
OTHERS = (
    failing("", how=AS_A_RUN),
    failing("-k"),
    failing("--ignore-errors", code=0, how=AS_A_RUN),
    linked("hardlink"),
    linked("symlink"),
    case("--pull", "matrix with a remote", *_GONE, repro("--pull train")),
    case("--pull of runs", "matrix with a remote", *_GONE, delete("dvc.lock"), repro("--pull train")),
    case("--allow-missing", "matrix with a remote", *_GONE, delete(".dvc/tmp"), repro("--allow-missing")),
    case(
        "--allow-missing of other data",
        "matrix with a remote",
        *_GONE,
        write("file.txt.dvc", "outs:\n- md5: 26ab0db90d72e28ad0ba1e22ee510510\n  size: 2\n  hash: md5\n  path: file.txt\n"),
        repro("--allow-missing --dry prepare", code=255),
    ),
    case("core.autostage", "matrix", dvc("config core.autostage true"), write("sub.txt", "2\n"), repro()),
    case("without Git", "no scm", write("dvc.yaml", "stages:\n  s: {cmd: cp file.txt s, deps: [file.txt], outs: [s]}\n"), repro()),
    case("below the root", "matrix", write("sub.txt", "2\n"), tool("repro ../dvc.yaml:unkept", cwd="repo/folder", stdout=AS_A_RUN)),
    case("a command with pipes and quotes", "empty", write("dvc.yaml", "stages:\n  s:\n    cmd: printf '%s\\n' \"a  b\" | tr a c > s\n    outs: [s]\n"), repro()),
    case("no pipeline here", "empty", repro(code=255)),
    case("no stage of this name", "matrix", repro("nope", code=255)),
)  # fmt: skip


@pytest.mark.parametrize("checked", CHANGES, ids=lambda checked: checked.name)
def test_repro_after_a_change_does_what_dvc_does(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", OPTIONS, ids=lambda checked: checked.name)
def test_options_of_repro_do_what_they_do_in_dvc(checked: Case, beside: Beside) -> None:
    beside.check(checked)


@pytest.mark.parametrize("checked", OTHERS, ids=lambda checked: checked.name)
def test_repro_elsewhere_does_what_dvc_does(checked: Case, beside: Beside) -> None:
    beside.check(checked)


def random_pipeline(seed: int) -> str:
    """Returns a `dvc.yaml` of 14 stages that read files and folders of each other, in mixed order."""
    chance = random.Random(seed)
    outs: list[str] = ["file.txt"]
    stages = []
    for number in range(14):
        reads = chance.sample(outs, min(len(outs), chance.randint(0, 3)))
        made = f"o{number}"
        is_folder = chance.random() < 0.3
        read = " ".join(f"{path}/*" if path.startswith("d") and "/" not in path else path for path in reads)
        write_to = f"d{number}/in" if is_folder else made
        make = f"mkdir d{number} && " if is_folder else ""
        lines = [
            f"  s{number}:",
            f"    cmd: {make}cat {read or '/dev/null'} > {write_to} && echo {number} >> {write_to}",
        ]
        if reads:
            lines += ["    deps:", *(f"    - {path}" for path in reads)]
        if chance.random() < 0.4:
            lines += ["    params:", f"    - {chance.choice(['lr', 'opt', 'opt.n'])}"]
        kind = chance.choice(["outs", "outs", "metrics", "plots"])
        options = chance.choice(["", "", ": {cache: false}", ": {push: false}"])
        lines += [f"    {kind}:", f"    - {f'd{number}' if is_folder else made}{options}"]
        outs.append(chance.choice([f"d{number}", f"d{number}/in"]) if is_folder else made)
        stages.append("\n".join(lines))
    chance.shuffle(stages)
    return "stages:\n" + "\n".join(stages) + "\n"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_pipeline_of_chance_is_listed_drawn_and_run_as_by_dvc(seed: int, beside: Beside) -> None:
    chosen = case(
        f"pipeline {seed}",
        "empty",
        write("file.txt", "one\n"),
        write("params.yaml", "lr: 0.5\nopt: {n: 3, m: [1, x]}\n"),
        write("dvc.yaml", random_pipeline(seed)),
        tool("stage list", stdout=EXACT),
        tool("dag --dot", stdout=EXACT),
        tool("repro", stdout=AS_A_RUN),
        write("params.yaml", "lr: 0.5\nopt: {n: 4, m: [1, x]}\n"),
        tool("repro", stdout=AS_A_RUN),
        settled(),
    )
    beside.check(chosen)
