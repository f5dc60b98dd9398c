"""Makes the archives beside this file: repositories written by old DVC versions, kept as tests.

Run by hand, once for each version, with a program of that version:

    python tests/golden/repos/make_repos.py 1.11.16 path/to/dvc

How each was installed, on Python 3.11 by uv, so that its dependencies are those of its day:

    1.11.16  uv pip install --exclude-newer 2021-03-01 dvc==1.11.16 'setuptools<60'
    2.10.2   uv pip install --exclude-newer 2022-12-15 dvc==2.10.2 'fsspec<2022.8'
    2.58.2   uv pip install --exclude-newer 2023-06-15 dvc==2.58.2

An archive holds `repo` (a clone with Git history and cache, without workspace data), `remote` (a storage folder)
and `expected/v1`, `expected/v2`: the tracked data of the two tagged commits as it lay in the workspace.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

PIPELINE = """\
stages:
  count:
    cmd: mkdir -p out && wc -l < table.csv > out/rows && echo '{"rows":2}' > rows.json
    deps:
    - table.csv
    params:
    - seed
    outs:
    - out
    metrics:
    - rows.json:
        cache: false
"""

# Both versions of every tracked file; line ends matter, since old ids are made over "\\n" alone.
TRACKED = {
    "v1": {
        "table.csv": b"id,name\r\n1,ada\r\n",
        "exec.sh": b"#!/bin/sh\necho one\n",
        "data/a.txt": b"a\n",
        "data/crlf.txt": b"one\r\ntwo\r\n",
        "data/sub/b.bin": b"\x00\r\n\xff",
        "data/sub/empty": b"",
        "data/sub/old.txt": b"old\n",
    },
    "v2": {
        "table.csv": b"id,name\r\n1,ada\r\n2,grace\r\n",
        "exec.sh": b"#!/bin/sh\necho two\n",
        "data/a.txt": b"a, changed\n",
        "data/crlf.txt": b"one\r\ntwo\r\n",
        "data/sub/b.bin": b"\x00\r\n\xff",
        "data/sub/empty": b"",
        "data/\u00fc new.txt": b"new\n",
    },
}
TARGETS = ("table.csv", "exec.sh", "data")
PRODUCED = ("out",)


def environment(home: str) -> dict[str, str]:
    """Returns an environment in which the same steps give the same commits."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "LC_ALL": "C.UTF-8",
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.invalid",
        "GIT_AUTHOR_DATE": "2024-01-01T00:00:00 +0000",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.invalid",
        "GIT_COMMITTER_DATE": "2024-01-01T00:00:00 +0000",
    }


def write_version(repo: str, version: str) -> None:
    """Replaces the tracked data by that of a version."""
    for target in TARGETS:
        path = os.path.join(repo, target)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.unlink(path)
    for name, content in TRACKED[version].items():
        path = os.path.join(repo, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)
    os.chmod(os.path.join(repo, "exec.sh"), 0o755)


def build(work: str, dvc: str) -> None:
    """Makes the repository, the remote and what is expected of them."""
    env = environment(os.path.join(work, "home"))
    repo = os.path.join(work, "repo")
    for folder in ("home", "repo", "remote"):
        os.makedirs(os.path.join(work, folder))

    def run(*argv: str) -> None:
        subprocess.run(argv, cwd=repo, env=env, check=True, stdin=subprocess.DEVNULL)

    run("git", "init", "-q", "-b", "main")
    run(dvc, "init", "-q")
    run(dvc, "remote", "add", "-q", "-d", "storage", "../remote")
    with open(os.path.join(repo, "dvc.yaml"), "w") as stream:
        stream.write(PIPELINE)
    for version in TRACKED:
        write_version(repo, version)
        with open(os.path.join(repo, "params.yaml"), "w") as stream:
            stream.write(f"seed: {version[1:]}\n")
        run(dvc, "add", "-q", *TARGETS)
        run(dvc, "repro", "-q")
        run("git", "add", "-A")
        run("git", "commit", "-q", "-m", version)
        run("git", "tag", version)
        run(dvc, "push", "-q")
        for name in (*TARGETS, *PRODUCED):
            source = os.path.join(repo, name)
            target = os.path.join(work, "expected", version, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.isdir(source):
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
    for name in (*TARGETS, *PRODUCED):
        path = os.path.join(repo, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    shutil.rmtree(os.path.join(repo, ".dvc", "tmp"))
    shutil.rmtree(os.path.join(repo, ".git", "hooks"))
    run("git", "gc", "-q")


def pack(work: str, target: str) -> None:
    """Writes the archive: same content, same bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for top in ("expected", "remote", "repo"):
            names = [top]
            for folder, folders, files in os.walk(os.path.join(work, top)):
                names += [os.path.relpath(os.path.join(folder, name), work) for name in folders + files]
            for name in sorted(names):
                member = archive.gettarinfo(os.path.join(work, name), name)
                member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
                if member.isfile():
                    with open(os.path.join(work, name), "rb") as stream:
                        archive.addfile(member, stream)
                else:
                    archive.addfile(member)
    with open(target, "wb") as stream:
        stream.write(gzip.compress(raw.getvalue(), mtime=0))


def main(version: str, dvc: str) -> None:
    """Makes one archive beside this file."""
    with tempfile.TemporaryDirectory() as work:
        build(work, os.path.abspath(dvc))
        pack(work, os.path.join(os.path.dirname(os.path.abspath(__file__)), f"dvc-{version}.tar.gz"))


if __name__ == "__main__":
    main(*sys.argv[1:])
