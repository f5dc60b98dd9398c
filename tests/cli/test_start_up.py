"""What each start loads. Modules are counted, for they are what start-up time is made of; no time is asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROBE = """
import sys
before = set(sys.modules)
{action}
sys.stderr.write("\\n".join(set(sys.modules) - before))
"""

HEAVY = {
    "argparse",
    "configobj",
    "dataclasses",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "rich",
    "ruamel",
    "ruamel.yaml",
    "shutil",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
}


def loaded_by(action: str, cwd: Path) -> set[str]:
    """Returns the modules that a fresh interpreter loads for some statements."""
    code = _PROBE.format(action=action)
    result = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return set(result.stderr.splitlines())


def test_importing_the_package_loads_no_other_module(tmp_path: Path) -> None:
    assert loaded_by("import kist", tmp_path) - {"__future__"} == {"kist"}


def test_version_loads_nothing_but_itself(tmp_path: Path) -> None:
    loaded = loaded_by("from kist.cli.main import main; main(['--version'])", tmp_path)
    assert loaded - {"__future__"} == {"kist", "kist.cli", "kist.cli.main"}


def test_help_loads_the_table_and_no_command(tmp_path: Path) -> None:
    loaded = loaded_by("from kist.cli.main import main; main(['--help'])", tmp_path)
    assert loaded - {"__future__"} == {
        "kist",
        "kist.cli",
        "kist.cli.main",
        "kist.cli.overview",
        "kist.cli.table",
    }


def test_a_run_loads_one_command_and_nothing_heavy_but_argparse(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    loaded = loaded_by("from kist.cli.main import main; assert main(['root']) == 0", tmp_path)
    commands = {name for name in loaded if name.startswith("kist.cli.commands.")}
    assert commands == {"kist.cli.commands.root"}
    assert loaded & HEAVY == {"argparse"}


def test_a_mistyped_command_loads_no_command(tmp_path: Path) -> None:
    said_to_nobody = "import io; sys.stderr = io.StringIO(); main(['rot']); sys.stderr = sys.__stderr__"
    loaded = loaded_by(f"from kist.cli.main import main; {said_to_nobody}", tmp_path)
    assert not {name for name in loaded if name.startswith("kist.cli.commands")}
    assert not loaded & HEAVY
