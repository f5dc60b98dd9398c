"""`kist dag`: shows which stages depend on which."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `dag`."""
    parser.add_argument(
        "target", nargs="?", help="A stage or an output: what it depends on; default: everything."
    )
    parser.add_argument("--dot", action="store_true", help="Print it for Graphviz.")
    parser.add_argument("--mermaid", action="store_true", help="Print it for Mermaid.")
    parser.add_argument("--md", action="store_true", help="Print it for Mermaid, in a block of Markdown.")
    parser.add_argument(
        "--collapse-foreach-matrix", action="store_true", help="The stages of one group are one."
    )
    parser.add_argument(
        "--full", action="store_true", help="With a target, everything that is connected with it."
    )
    parser.add_argument("-o", "--outs", action="store_true", help="Outputs instead of stages.")
    parser.add_argument(
        "--json", action="store_true", help="Print each name with what it depends on as JSON."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.pipeline.drawing import ASCII, UNICODE, draw
    from kist.repo.dag import as_dot, as_mermaid, dag

    found = dag(
        context.repository(),
        args.target,
        full=args.full,
        outputs=args.outs,
        collapse=args.collapse_foreach_matrix,
    )
    console = context.console
    if context.as_json:
        console.data_json(found.makers)
    elif args.mermaid or args.md:
        text = as_mermaid(found)
        console.out(f"```mermaid\n{text}\n```" if args.md else text)
    elif args.dot:
        console.out(as_dot(found))
    else:
        can_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        for line in draw(found.order(), found.makers, UNICODE if can_unicode else ASCII):
            console.out(line)
    return 0
