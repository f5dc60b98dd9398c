"""`kist exp show`: JSON, CSV and Markdown as DVC's, or a table for the terminal.

Not here: collecting (repo.exp_show), lines and columns (exp_table), the table on a screen (exp_screen).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kist.cli.exp_table import (
    PRECISION,
    SHORT,
    Sheet,
    cells_of,
    created_of,
    label_of,
    make_sheet,
    state_cells,
    state_columns,
)

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.formats.records import Dependency, Output
    from kist.repo.exp_show import Group, Row
    from kist.repo.metrics import FileValues
    from kist.repo.repository import Repository

_FIXED = ("Experiment", "rev", "typ", "Created")


def show(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.cli.exp_actions import range_of
    from kist.repo.exp_show import ShowOptions, show_experiments

    repository = context.repository()
    options = ShowOptions(
        range_of(args),
        branches=args.all_branches,
        tags=args.all_tags,
        only_of_stages=args.param_deps,
        with_workspace=not args.hide_workspace,
        hidden=["failed"] * args.hide_failed + ["queued"] * args.hide_queued,
    )
    groups = show_experiments(repository, options)
    if context.as_json:
        from kist.cli.differences import json_text

        context.console.out(json_text([_document(repository, group) for group in groups]))
        return 0
    sheet = make_sheet(repository, groups, args)
    if args.csv:
        context.console.out(_csv(sheet, args), end="")
    elif args.md:
        from kist.cli.tables import table_lines

        for line in table_lines(_markdown_table(sheet, args), markdown=True):
            context.console.out(line)
    else:
        from kist.cli.exp_screen import print_screen

        print_screen(context, sheet, args)
    return 0


def _document(repository: Repository, group: Group) -> dict[str, Any]:
    return {
        **_state(repository, group.base),
        "experiments": [
            {
                "revs": [{**_state(repository, row), "experiments": None}],
                "executor": _executor(row),
                "name": row.name,
            }
            for row in group.experiments
        ]
        or None,
    }


def _executor(row: Row) -> dict[str, Any] | None:
    return None if row.state is None else {"state": row.state, "name": row.executor, "local": None}


def _state(repository: Repository, row: Row) -> dict[str, Any]:
    data = row.data
    if data.failure is not None:
        kind, message = data.failure
        return {"rev": row.rev, "name": row.name, "data": None, "error": {"type": kind, "msg": message}}
    return {
        "rev": row.rev,
        "name": row.name,
        "data": {
            "rev": row.rev,
            "timestamp": _iso(row.committed_s),
            "params": _files(repository, data.params),
            "metrics": _files(repository, data.metrics),
            "deps": {repository.shown(path): _figures(dep) for path, dep in data.deps.items()},
            "outs": {
                repository.shown(path): {
                    **_figures(out),
                    "use_cache": out.use_cache,
                    "is_data_source": is_source,
                }
                for path, (out, is_source) in data.outs.items()
            },
            "meta": {},
        },
        "error": None,
    }


def _files(repository: Repository, files: dict[str, FileValues]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, file in files.items():
        shown = repository.shown(path)
        if file.failure is None:
            found[shown] = {"data": file.values}
        else:
            found[shown] = {"error": {"type": file.failure.kind, "msg": file.failure.message}}
    return found


def _figures(item: Output | Dependency) -> dict[str, Any]:
    digest = item.digest.value if item.digest is not None else None
    return {"hash": digest, "size": item.size, "nfiles": item.nfiles}


def _iso(time_s: int | None) -> str | None:
    return None if time_s is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time_s))


def _markdown_table(sheet: Sheet, args: argparse.Namespace) -> Any:
    from kist.compare.values import Table

    now_s = time.time()
    precision = args.precision or PRECISION
    states = state_columns(sheet)
    rows = [
        [
            label_of(line, only_sha=args.sha),
            created_of(line, now_s),
            *state_cells(line, states, "-"),
            *cells_of(line, sheet.columns, precision),
        ]
        for line in sheet.lines
    ]
    return Table(["Experiment", "Created", *states, *(column.title for column in sheet.columns)], rows)


def _csv(sheet: Sheet, args: argparse.Namespace) -> str:
    import csv  # few ask for it
    import io

    stream = io.StringIO()
    writer = csv.writer(stream)
    states = state_columns(sheet)
    parent = [] if args.only_changed else ["parent"]  # nothing has one since DVC 3
    writer.writerow([*_FIXED, *parent, *states, *(column.title for column in sheet.columns)])
    for line in sheet.lines:
        row = line.row
        rev = row.rev if row.committed_s is None else row.rev[:SHORT]
        name = row.name or ""
        if line.typ == "baseline":
            rev, name = rev if args.sha else name or rev, ""
        values = ["" if text == "-" else text for text in cells_of(line, sheet.columns, args.precision)]
        writer.writerow(
            [
                name,
                rev,
                line.typ,
                _iso(row.committed_s) or "",
                *([""] * len(parent)),
                *state_cells(line, states, ""),
                *values,
            ]
        )
    return stream.getvalue()
