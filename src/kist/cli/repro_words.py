"""What is said while stages run, in DVC's words where scripts look for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kist.cli.context import Context
    from kist.repo.repro_events import Event


def teller(context: Context, *, is_mixed: bool = False) -> Callable[[Event], None]:
    """Returns what says each step; with `--json` on standard error.

    Args: is_mixed: several stages run at once, so that each line of a command says whose it is.
    """
    console = context.console
    say = console.note if context.as_json else console.info

    def tell(event: Event) -> None:
        kind, stage, text = event
        if kind == "gap":
            say("")
        elif kind == "running":
            say(f"Running stage '{stage}':")
        elif kind == "command":
            say(f"{stage} | > {text}" if is_mixed else f"> {text}")
            console.flush()  # before the command prints
        elif kind == "items":
            say(f"{stage} | {text} items are to run" if is_mixed else f"{text} items are to run")
        elif kind in ("output", "error output"):
            is_error = kind == "error output" or context.as_json
            console.passed_on(f"{stage} | {text}", is_error=is_error)
        elif kind == "unchanged":
            say(
                f"'{stage}' didn't change, skipping"
                if _is_file(stage)
                else f"Stage '{stage}' didn't change, skipping"
            )
        elif kind == "cached":
            say(f"Stage '{stage}' is cached - skipping run, checking out outputs")
        elif kind == "verifying":
            say(f"Verifying data sources in stage: '{stage}'")
        elif kind == "verifying frozen":
            say(f"Verifying outputs in frozen stage: '{stage}'")
        elif kind == "pulling":
            say(f"Pulling data for stage: '{stage}'")
        elif kind == "new lock":
            say(f"Generating lock file '{text}'")
        elif kind == "lock":
            say(f"Updating lock file '{text}'")
        else:
            console.warn(_warning(kind, stage, text))

    return tell


def _warning(kind: str, stage: str, text: str) -> str:
    if kind == "frozen":
        return f"'{stage}' is frozen: what it depends on is not reproduced"
    if kind == "changed meanwhile":
        return f"'{text}' changed while '{stage}' ran, which depends on it; recorded as it is now"
    if kind == "left out":
        return f"'{stage}' is left out, for '{text}' failed"
    ignored = " (ignored)" if kind == "failure ignored" else ""
    return f"cannot reproduce '{stage}': {text}{ignored}"


def _is_file(stage: str) -> bool:
    return stage.endswith(".dvc") or stage.rpartition("/")[2] == "Dvcfile"
