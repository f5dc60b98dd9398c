"""A repository with some tracked data, for the tests of verbs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.testing.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A committed repository: `data/` (3 files), `model.bin` and `sub/table.csv` are tracked, `code.py` is Git's."""
    made = Project(str(tmp_path / "project"))
    made.write(
        {
            "data/one.txt": "one\n",
            "data/two.txt": "two\n",
            "data/deep/three.txt": "three\n",
            "model.bin": "model\n",
            "sub/table.csv": "a,b\n",
            "code.py": "print()\n",
        }
    )
    made.kist("add", "--quiet", "data", "model.bin", "sub/table.csv")
    made.commit()
    return made
