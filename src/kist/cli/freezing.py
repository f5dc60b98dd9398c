"""What `freeze` and `unfreeze` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kist.cli.context import Context


def freeze(context: Context, targets: Sequence[str], *, frozen: bool) -> None:
    """Freezes each target, or takes that back, and says which file of pipelines it changes."""
    from kist.repo.stages import set_frozen

    repository = context.repository()
    for target in targets:
        stage = set_frozen(repository, target, frozen=frozen)
        if stage.name is not None:
            context.console.info(f"Modifying stage '{stage.name}' in '{repository.shown(stage.file)}'")
