"""Runs commands of the real DVC, each in a fork of one process that has its modules loaded.

Run by DVC's own interpreter. Reads one request a line on standard input, answers with one line. What runs
is DVC's own entry point with a fresh process state; only the import time, nine tenths of the cost, is shared.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any, NoReturn

MODULES = (
    "dvc.cli.parser",
    "dvc.repo",
    "dvc.repo.index",
    "dvc.repo.brancher",
    "dvc.stage.cache",
    "dvc.stage.serialize",
    "dvc.dirs",
    "dvc.ignore",
    "dvc.scm",
    "dvc.output",
    "dvc.cachemgr",
    "dvc.repo.experiments",
    "dvc_data.index",
    "dvc_data.index.checkout",
    "dvc_data.hashfile.transfer",
    "dvc_data.hashfile.db.local",
    "dvc_objects.fs.local",
    "scmrepo.git",
    "dulwich.repo",
    "pygit2",
    "ruamel.yaml",
    "rich.console",
    "networkx",
)


def run_in_child(request: dict[str, Any]) -> NoReturn:
    """Never returns: becomes the command."""
    os.umask(0o022)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    given = os.open(request["stdin"], os.O_RDONLY)
    os.dup2(given, 0)
    os.close(given)
    for number, path in ((1, request["stdout"]), (2, request["stderr"])):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, number)
        os.close(target)
    sys.argv = ["dvc", *request["argv"]]
    sys.exit(importlib.import_module("dvc.cli").main(request["argv"]))


def serve() -> None:
    """Answers requests until standard input ends."""
    for name in MODULES:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    answers.write("ready\n")
    answers.flush()
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run_in_child(request)
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    serve()
