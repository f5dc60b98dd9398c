"""How `repro --explain` and `status --explain` say why stages run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kist.cli.context import Context
    from kist.repo.explain import Explained


def print_explained(context: Context, found: Sequence[Explained]) -> None:
    """Prints a block for each stage that would run, and a line for each other one; or JSON."""
    console = context.console
    if context.as_json:
        console.data_json([item._asdict() for item in found])
        return
    for stage, runs, reasons in found:
        is_data = stage.endswith(".dvc")
        word = ("changed" if is_data else "runs") if runs else "skipped"
        if not runs and len(reasons) == 1:
            console.info(f"{stage}: {word}, {reasons[0]}")
            continue
        console.info(f"{stage}: {console.paint(word, 'yellow')}")
        for reason in reasons:
            console.info(f"  {reason}")
