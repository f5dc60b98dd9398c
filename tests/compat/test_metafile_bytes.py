"""The bytes of `.dvc` and `dvc.lock` beside those that the real DVC writes over the same file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.metafile import parse_metafile, render_metafile, with_checksum
from kist.formats.records import Metafile, Output

from .helpers import RealDvc, environment

pytestmark = pytest.mark.compat

OLD_MD5 = "5988519f8465218abb23ce0e0e8b1384"


class Repository:
    """A repository driven by the real DVC."""

    def __init__(self, dvc: RealDvc, root: Path) -> None:
        self.dvc = dvc
        self.root = root / "repo"
        self.env = environment(str(root))
        (root / "home").mkdir()
        self.root.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=self.root, env=self.env, check=True)
        self.run("init", "-q")

    def run(self, *arguments: str) -> None:
        result = self.dvc.run(arguments, str(self.root), self.env)
        assert result.code == 0, result.stderr

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


@pytest.fixture
def repository(real_dvc: RealDvc, tmp_path: Path) -> Repository:
    return Repository(real_dvc, tmp_path)


def render_anew(written: bytes) -> bytes:
    """Returns the bytes of a fresh file that says what DVC's says."""
    return render_metafile(parse_metafile(written, name="x.dvc"))


NAMES = (
    "file.txt", "1", "null", "yes", "a b.txt", "ü é.txt", "it's.txt", "a # b", "x" * 90, "word " * 18 + "x", "- a", "@x", "a: b",
)  # fmt: skip


def test_a_file_of_any_name_has_the_same_metafile(repository: Repository) -> None:
    for name in NAMES:
        repository.write(name, "hello\n")
    repository.run("add", "-q", *("./" + name for name in NAMES))
    for name in NAMES:
        written = repository.read(name + ".dvc")
        assert render_anew(written) == written, name


def test_an_executable_has_the_same_metafile(repository: Repository) -> None:
    repository.write("run.sh", "echo\n")
    os.chmod(repository.root / "run.sh", 0o755)
    repository.run("add", "-q", "run.sh")
    assert b"isexec: true" in repository.read("run.sh.dvc")
    assert render_anew(repository.read("run.sh.dvc")) == repository.read("run.sh.dvc")


def test_a_directory_has_the_same_metafile(repository: Repository) -> None:
    repository.write("data/a", "1\n")
    repository.write("data/sub/b", "2\n")
    repository.run("add", "-q", "data")
    assert render_anew(repository.read("data.dvc")) == repository.read("data.dvc")


def test_an_import_has_the_same_metafile_and_checksum(repository: Repository) -> None:
    repository.write("../outside/ext.txt", "ext\n")
    repository.run("import-url", "-q", "../outside/ext.txt")
    repository.run("import-url", "-q", "--no-exec", "../outside/ext.txt", "later.txt")
    for name in ("ext.txt.dvc", "later.txt.dvc"):
        assert render_anew(repository.read(name)) == repository.read(name)
    m = parse_metafile(repository.read("ext.txt.dvc"), name="ext.txt.dvc")
    assert m.checksum is not None
    assert with_checksum(m._replace(checksum=None)) == m


EDITED = {
    "comments": """\
# head
outs: # list
# item
- md5: {md5} # inline
  # before size
  size: 6

  hash: md5
  path: f.txt # p
  desc: "a: b"
  labels: [x, y]
  meta: {{a: [1, 2], b: }}
# tail
meta:
    deep:
        - 1   # one

desc: 'text'
""",
    "DVC 2": "outs:\n- md5: {md5}\n  size: 6\n  path: f.txt\n",
    "defaults of DVC 0": "wdir: .\nouts:\n- cache: true\n  md5: {md5}\n  persist: false\n  path: f.txt\n",
    "no content id": "outs:\n- path: f.txt\n",
    "flow style": "outs: [{{md5: {md5}, path: f.txt}}]\n",
    "other indentation": '---\nouts:\n    - md5: "{md5}"\n      path: "f.txt"\n      desc: "q"\n\n\n# c\n',
    "folded and literal texts": "desc: >-\n  a\n  b\nouts:\n- md5: {md5}\n  path: f.txt\n  desc: |\n    c\n    d\n",
    "long text": "outs:\n- md5: {md5}\n  path: f.txt\n  desc: " + "word " * 40 + "end\n",
    "locked": "locked: true\nouts:\n- md5: {md5}\n  path: f.txt\n  push: true\n",
    "keys of all kinds": "always_changed: true\nfrozen: true\nouts:\n- persist: true\n  type: t\n  remote: r\n"
    "  push: false\n  path: f.txt\n  md5: {md5}\n  isexec: true\n  nfiles: 3\n",
    "Windows line ends": "outs:\r\n- md5: {md5}\r\n  path: f.txt\r\n  desc: d # c\r\n",
    "anchors": "meta: &m\n  a: 1\nouts:\n- md5: {md5}\n  path: f.txt\n  meta: *m\n",
}


@pytest.mark.parametrize("case", sorted(EDITED))
def test_data_added_again_changes_the_same_bytes(repository: Repository, case: str) -> None:
    previous = EDITED[case].format(md5=OLD_MD5).encode()
    repository.run("remote", "add", "-q", "r", "../remote")
    repository.write("f.txt", "changed\n")
    (repository.root / "f.txt.dvc").write_bytes(previous)
    repository.run("add", "-q", "f.txt")
    written = repository.read("f.txt.dvc")
    new = parse_metafile(written, name="f.txt.dvc").outs[0]
    assert new.digest is not None and new.digest.value != OLD_MD5
    old = parse_metafile(previous, name="f.txt.dvc")
    out = old.outs[0]._replace(digest=new.digest, size=new.size, nfiles=None, isexec=False)
    assert render_metafile(old._replace(outs=(out,)), previous) == written


def test_a_moved_file_has_its_keys_in_the_same_order(repository: Repository) -> None:
    repository.run("remote", "add", "-q", "r", "../remote")
    repository.write("f.txt", "hello\n")
    repository.write(
        "f.txt.dvc",
        f"meta: 3\nfrozen: true\ndesc: d\nalways_changed: true\nouts:\n- path: f.txt\n  meta: {{a: [1]}}\n  labels: [l]\n"
        f"  desc: d\n  type: t\n  push: false\n  remote: r\n  persist: true\n  cache: false\n  md5: {OLD_MD5}\n",
    )
    repository.run("add", "-q", "f.txt")
    repository.run("move", "-q", "f.txt", "g.txt")
    assert render_anew(repository.read("g.txt.dvc")) == repository.read("g.txt.dvc")


def test_an_output_of_another_file_of_a_metafile_is_written_alike(repository: Repository) -> None:
    previous = f"outs:\n- md5: {OLD_MD5}\n  path: f.txt\n- path: g\n".encode()
    repository.write("f.txt", "changed\n")
    (repository.root / "f.txt.dvc").write_bytes(previous)
    repository.run("add", "-q", "f.txt")
    written = repository.read("f.txt.dvc")
    old = parse_metafile(previous, name="f.txt.dvc")
    new = parse_metafile(written, name="f.txt.dvc")
    first: Output = old.outs[0]._replace(digest=new.outs[0].digest, size=new.outs[0].size)
    assert render_metafile(Metafile((first, old.outs[1])), previous) == written


PIPELINE = """\
stages:
  one:
    cmd: "{cmd}"
    deps: [z.txt, a.txt]
    params: [x, {{q.yaml: [k.z, b, c]}}, {{a.yaml: }}]
    outs: [one.txt, dir]
  two-x_3:
    cmd: [echo 'it''s' > two.txt, "echo \\"a\\\\nb\\"; true", 'true']
    deps: [one.txt]
    outs:
    - two.txt: {{cache: false}}
"""
COMMAND = "mkdir -p dir && echo 1 > dir/a && echo {word} > one.txt && echo " + "word " * 30 + "> /dev/null"


@pytest.mark.parametrize("with_comments", [False, True])
def test_a_lock_file_has_the_same_bytes_fresh_and_after_a_change(
    repository: Repository, with_comments: bool
) -> None:
    repository.write("dvc.yaml", PIPELINE.format(cmd=COMMAND.format(word="one")))
    repository.write("params.yaml", "x: 1e-5\n")
    repository.write("q.yaml", "k: {z: [1, {a: '2'}, [3, ~]]}\nb: yes\nc: 'null'\n")
    repository.write("a.yaml", "c: null\nz: {a: {b: 1}}\nlong: " + "text " * 40 + '\ntwo: "a\\nb"\n')
    repository.write("z.txt", "z\n")
    repository.write("a.txt", "a\n")
    repository.run("repro", "-q")
    written = repository.read("dvc.lock")
    lock = parse_lockfile(written, name="dvc.lock")
    assert render_lockfile(lock) == written
    if with_comments:
        # Where DVC keeps comments; Kist keeps those between stages, too.
        commented = (
            written.decode()
            .replace("stages:", "stages: # all")
            .replace("  one:\n", "  one: # 1\n    # first\n")
        )
        written = commented.encode()
        (repository.root / "dvc.lock").write_bytes(written)
    repository.write("dvc.yaml", PIPELINE.format(cmd=COMMAND.format(word="other")))
    repository.write("params.yaml", "x: yes\n")
    repository.write("a.txt", "aa\n")
    repository.run("repro", "-q")
    again = repository.read("dvc.lock")
    assert again != written
    assert render_lockfile(parse_lockfile(again, name="dvc.lock"), written) == again


def test_an_entry_of_dvc_2_in_a_lock_file_is_written_in_the_same_order(repository: Repository) -> None:
    previous = f"""\
schema: '2.0'
stages: # all
  a:
    # first
    cmd: cat in.txt > out.txt
    deps:
    - md5: {OLD_MD5}
      path: in.txt
      size: 2
    outs:
    - path: out.txt
      size: 2
      md5: {OLD_MD5}
  b:
    cmd: echo 1 > b.txt
    outs:
    - path: b.txt
      md5: b026324c6904b2a9cb4b88d6d61c81d1
      size: 2
"""
    repository.write("in.txt", "in\n")
    repository.write("b.txt", "1\n")
    repository.write(
        "dvc.yaml",
        "stages:\n  a:\n    cmd: cat in.txt > out.txt\n    deps: [in.txt]\n    outs: [out.txt]\n"
        "  b:\n    cmd: echo 1 > b.txt\n    outs: [b.txt]\n    frozen: true\n",
    )
    repository.write("dvc.lock", previous)
    repository.run("repro", "-q", "a")
    written = repository.read("dvc.lock")
    assert b"hash: md5" in written
    assert render_lockfile(parse_lockfile(written, name="dvc.lock"), previous.encode()) == written
