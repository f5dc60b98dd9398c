"""Writes a Homebrew formula of a release: `python tools/make_formula.py SDIST --homepage URL --output Formula/kist.rb`.

What is installed with Kist, and where its source lies, is what pip resolves for the Python that runs this; the formula
asks for the same Python. No address of a registry stands here: they all come from pip's report. A published file lies
at HOST/packages/source/LETTER/NAME/FILE, where HOST has the source of the dependencies; `--url` says another place.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_TEMPLATE = """\
# Written by tools/make_formula.py from {file}.
class {class_name} < Formula
  include Language::Python::Virtualenv

  desc {desc}
  homepage {homepage}
  url {url}
  sha256 {sha256}
  license {license}

  depends_on "python@{python}"

{resources}  def install
    virtualenv_install_with_resources
    man1.install_symlink Dir[libexec/"share/man/man1/*.1"]
    generate_completions_from_executable(bin/"{name}", "completion", shell_parameter_format: "--shell=")
  end

  test do
    assert_equal version.to_s, shell_output("#{{bin}}/{name} --version").strip
    system bin/"{name}", "init", "--no-scm"
    (testpath/"data.txt").write "data"
    system bin/"{name}", "add", "data.txt"
    assert_path_exists testpath/"data.txt.dvc"
  end
end
"""
_RESOURCE = """\
  resource {name} do
    url {url}
    sha256 {sha256}
  end

"""


class FormulaError(Exception):
    """A formula cannot be made from this; the text says why."""


class Release(NamedTuple):
    """What the formula says of the program itself.

    Attributes:
        name: as its metadata has it; likewise the version, the summary and the license, an SPDX expression.
        file: name of the source distribution.
        sha256: of that file, 64 hexadecimal digits.
    """

    name: str
    version: str
    summary: str
    license: str
    file: str
    sha256: str


class Resource(NamedTuple):
    """A source distribution that is installed with the program: its name, where it lies, and its SHA-256."""

    name: str
    url: str
    sha256: str


def read_release(path: str) -> Release:
    """Returns what a source distribution says of itself.

    Raises: FormulaError when it is none.
    """
    try:
        with open(path, "rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        with tarfile.open(path) as archive:
            top = archive.getnames()[0].partition("/")[0]
            member = archive.extractfile(f"{top}/PKG-INFO")
            fields = email.message_from_bytes(member.read() if member else b"")
    except (OSError, KeyError, IndexError, tarfile.TarError) as error:
        raise FormulaError(f"'{path}' is no source distribution: {error}") from error
    release = Release(
        name=str(fields["Name"]),
        version=str(fields["Version"]),
        summary=str(fields["Summary"]),
        license=str(fields["License-Expression"]),
        file=os.path.basename(path),
        sha256=sha256,
    )
    if "None" in release:
        raise FormulaError(f"'{path}' lacks a name, a version, a summary or a license")
    return release


def read_resources(report: dict[str, Any]) -> list[Resource]:
    """Returns what is installed besides, by name, from the report of `pip install --report`.

    Raises: FormulaError when something is no source distribution that Homebrew can get and check.
    """
    found = []
    for item in report["install"]:
        if item["requested"]:
            continue
        name, download = item["metadata"]["name"], item["download_info"]
        url = download["url"]
        sha256 = download.get("archive_info", {}).get("hashes", {}).get("sha256")
        if sha256 is None or urlsplit(url).scheme != "https" or not url.endswith(".tar.gz"):
            raise FormulaError(f"Homebrew cannot get or check the source of '{name}': {url}")
        found.append(Resource(_normal(name), url, sha256))
    return sorted(found)


def render(release: Release, resources: list[Resource], *, url: str, homepage: str, python: str) -> str:
    """Returns the text of the formula.

    Args:
        url: where the source distribution lies.
        python: version of Python, as 3.13.
    """
    return _TEMPLATE.format(
        file=release.file,
        class_name="".join(word.capitalize() for word in re.split(r"[-_.]+", release.name)),
        name=release.name,
        desc=_ruby(release.summary.partition(":")[0]),
        homepage=_ruby(homepage),
        url=_ruby(url),
        sha256=_ruby(release.sha256),
        license=_ruby(release.license),
        python=python,
        resources="".join(
            _RESOURCE.format(name=_ruby(one.name), url=_ruby(one.url), sha256=_ruby(one.sha256))
            for one in resources
        ),
    )


def published_url(release: Release, resources: list[Resource]) -> str:
    """Returns where the file lies once it is uploaded to where its dependencies are.

    Raises: FormulaError when there are none.
    """
    if not resources:
        raise FormulaError(f"nothing tells where '{release.file}' will lie; say it with --url")
    name = _normal(release.name)
    return f"https://{urlsplit(resources[0].url).netloc}/packages/source/{name[0]}/{name}/{release.file}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _ruby(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("#", "\\#")
    return f'"{escaped}"'


def pip_report(path: str) -> dict[str, Any]:
    """Returns what pip would install with a source distribution, everything from source.

    Raises: FormulaError with what pip said.
    """
    first = _run_pip(path)
    names = ",".join(item["metadata"]["name"] for item in first["install"])
    # In two steps: everything from source at once would also build what only builds the packages.
    return _run_pip("--no-binary", names, path)


def _run_pip(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    done = subprocess.run([*command, "--report", "-", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FormulaError(f"pip cannot resolve this: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sdist", help="the source distribution: dist/kist-VERSION.tar.gz")
    parser.add_argument("--homepage", required=True, help="address of the project's page")
    parser.add_argument("--url", help="where the source distribution lies (default: beside the dependencies)")
    parser.add_argument("--output", default="-", help="file to write (default: stdout)")
    options = parser.parse_args()
    try:
        release = read_release(options.sdist)
        resources = read_resources(pip_report(options.sdist))
        url = options.url or published_url(release, resources)
    except FormulaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = render(release, resources, url=url, homepage=options.homepage, python=python)
    if options.output == "-":
        sys.stdout.write(text)
        return 0
    os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    with open(options.output, "w", encoding="utf-8") as stream:
        stream.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
