"""`plots modify`: how the plots of a stage are drawn, written into `dvc.yaml`.

Not here: drawing them (plots). Source: DVC 3.67.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kist.base import atomic
from kist.errors import InputError, MissingError
from kist.formats.dvcyaml import parse_dvcyaml
from kist.formats.dvcyaml_edit import with_plot
from kist.repo.collect import Stage, WorkspaceSource, collect
from kist.repo.metafiles import Changes, read_bytes
from kist.repo.plot_files import find_template

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class NotAPlotError(InputError):
    """An output is no plot, or has no such option; or its stage cannot be changed by a command. Exit 255, as DVC."""

    code = "not-a-plot"
    exit_code = 255


class NoSuchOutputError(MissingError):
    """No stage has an output of this name. Exit 255, as DVC."""

    code = "no-such-output"
    exit_code = 255


def modify_plot(
    repository: Repository, target: str, options: Mapping[str, Any], unset: Sequence[str] | None = None
) -> Stage:
    """Changes how an output is drawn; an output that is no plot becomes one.

    Args:
        options: what to set.
        unset: names of options to take away.

    Returns: the stage as it was.

    Raises: NoSuchOutputError, NotAPlotError, TemplateMissingError, FormatError.
    """
    if options.get("template"):
        find_template(repository, options["template"])
    path = repository.rel(target)
    with repository.lock():
        stage, written, plot = _find(repository, path, target)
        if unset is not None and not plot:
            raise NotAPlotError(f"cannot change '{target}': it is no plot", hint="kist plots modify --help")
        known = dict(plot) if isinstance(plot, dict) else {}
        absent = [name for name in unset or () if name not in known]
        if absent:
            raise NotAPlotError(
                f"cannot unset '{absent[0]}' of '{target}': it is not set",
                hint=f"set there: {', '.join(known) or 'nothing'}",
            )
        wanted = {key: value for key, value in known.items() if key not in (unset or ())} | dict(options)
        assert stage.name is not None
        absolute = repository.abspath(stage.file)
        previous = read_bytes(absolute) or b""
        entry = parse_dvcyaml(previous, name=stage.file).stages.get(stage.name)
        if entry is None or "${" in str(entry.body):
            raise NotAPlotError(
                f"cannot change '{target}': its stage is made from `foreach`, `matrix` or `${{}}`",
                hint=f"edit '{stage.file}' by hand",
            )
        data = with_plot(previous, stage.name, written, wanted, name=stage.file)
        changes = Changes(repository)
        if data != previous:
            atomic.write_file(absolute, data)
            changes.note(stage.file)
        changes.finish()
        return stage


def _find(repository: Repository, path: str, target: str) -> tuple[Stage, str, Any]:
    """Returns the stage of an output, and the output's path and plot options as written."""
    for stage in collect(WorkspaceSource(repository)):
        for out in stage.outs:
            if out.path == path:
                if stage.name is None:
                    raise NotAPlotError(
                        f"cannot change '{target}': '{stage.file}' is no pipeline",
                        hint="write the plot under `plots` at the top of dvc.yaml",
                    )
                return stage, out.output.path, out.output.plot
    raise NoSuchOutputError(f"cannot find '{target}': no stage has such an output", hint="kist stage list")
