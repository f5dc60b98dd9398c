"""The Homebrew formula: what it takes from the release, what from pip's report, and what it refuses."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tools.make_formula import FormulaError, published_url, read_release, read_resources, render

INFO = b"Metadata-Version: 2.4\nName: kist\nVersion: 1.2.3\nSummary: Data: and so on\nLicense-Expression: Apache-2.0\n"
HOST = "https://files.example.org/packages"


def make_sdist(folder: Path, info: bytes = INFO) -> Path:
    """Makes a source distribution with nothing but metadata."""
    path = folder / "kist-1.2.3.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("kist-1.2.3/PKG-INFO")
        member.size = len(info)
        archive.addfile(member, io.BytesIO(info))
    return path


def item(name: str, url: str, *, requested: bool = False, sha256: str | None = "ab") -> dict[str, Any]:
    """Returns a package as pip reports it."""
    hashes = {} if sha256 is None else {"sha256": sha256}
    return {
        "metadata": {"name": name},
        "requested": requested,
        "download_info": {"url": url, "archive_info": {"hashes": hashes}},
    }


def test_the_formula_has_the_release_and_all_that_comes_with_it(tmp_path: Path) -> None:
    path = make_sdist(tmp_path)
    report = {
        "install": [
            item("kist", f"file://{path}", requested=True),
            item("urllib3", f"{HOST}/u/urllib3-2.tar.gz"),
            item("ruamel.yaml", f"{HOST}/r/ruamel_yaml-1.tar.gz", sha256="cd"),
        ]
    }
    release, resources = read_release(str(path)), read_resources(report)
    url = published_url(release, resources)
    text = render(release, resources, url=url, homepage="https://kist.example.org", python="3.13")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    wanted = f"""\
class Kist < Formula
  include Language::Python::Virtualenv

  desc "Data"
  homepage "https://kist.example.org"
  url "{HOST}/source/k/kist/kist-1.2.3.tar.gz"
  sha256 "{sha256}"
  license "Apache-2.0"

  depends_on "python@3.13"

  resource "ruamel-yaml" do
    url "{HOST}/r/ruamel_yaml-1.tar.gz"
    sha256 "cd"
  end

  resource "urllib3" do
    url "{HOST}/u/urllib3-2.tar.gz"
    sha256 "ab"
  end

  def install
"""
    assert wanted in text
    assert 'shell_output("#{bin}/kist --version")' in text
    opened = sum(
        line.lstrip().startswith(("class ", "def ")) or line.endswith(" do") for line in text.splitlines()
    )
    assert opened == sum(line.strip() == "end" for line in text.splitlines()) == 5


@pytest.mark.parametrize(
    ("url", "sha256"),
    [
        ("file:///wheels/urllib3-2.tar.gz", "ab"),
        (f"{HOST}/u/urllib3-2-py3-none-any.whl", "ab"),
        (f"{HOST}/u/urllib3-2.tar.gz", None),
    ],
)
def test_what_homebrew_cannot_get_or_check_is_refused(url: str, sha256: str | None) -> None:
    with pytest.raises(FormulaError, match=r"source of 'urllib3'"):
        read_resources({"install": [item("urllib3", url, sha256=sha256)]})


@pytest.mark.parametrize("info", [b"", INFO.replace(b"License-Expression", b"License")])
def test_a_release_that_does_not_say_what_it_is_is_refused(tmp_path: Path, info: bytes) -> None:
    with pytest.raises(FormulaError, match="lacks a name"):
        read_release(str(make_sdist(tmp_path, info)))


def test_what_is_no_source_distribution_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(FormulaError, match="is no source distribution"):
        read_release(str(tmp_path / "text"))
    with pytest.raises(FormulaError, match="is no source distribution"):
        read_release(str(tmp_path / "nothing"))


def test_without_dependencies_the_address_has_to_be_given(tmp_path: Path) -> None:
    with pytest.raises(FormulaError, match="--url"):
        published_url(read_release(str(make_sdist(tmp_path))), [])
