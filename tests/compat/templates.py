"""The repositories that cases start from, each made by the real DVC (legacy ones by hand)."""

from __future__ import annotations

import hashlib
import json
import os

from .helpers import Action, World, append, commit, delete, dvc, git, make_folder, write


def _git_only() -> tuple[Action, ...]:
    return (git("init -q -b main"), write("readme.md", "# project\n"), commit("start"))


def _empty() -> tuple[Action, ...]:
    return (*_git_only(), dvc("init"), commit("init"))


def _storage() -> tuple[Action, ...]:
    return (
        *_empty(),
        make_folder("remote", cwd="."),
        dvc("remote add -d storage ../remote"),
        commit("remote"),
    )


def _untracked() -> tuple[Action, ...]:
    return (
        *_storage(),
        write("file.txt", "one\n"),
        write("exec.sh", "#!/bin/sh\n", mode=0o755),
        write("data/a.txt", "a\n"),
        write("data/sub/b.txt", "b\n"),
        write("data/sub/c.txt", "c\n"),
        write("data/empty", ""),
    )


def _tracked() -> tuple[Action, ...]:
    return (*_untracked(), dvc("add file.txt exec.sh data"), commit("first"), git("tag v1"))


def _pushed() -> tuple[Action, ...]:
    return (*_tracked(), dvc("push"))


def _second_version() -> tuple[Action, ...]:
    return (
        write("file.txt", "two\n"),
        write("data/a.txt", "a, changed\n"),
        write("data/new.txt", "new\n"),
        delete("data/sub/c.txt"),
        dvc("add file.txt data"),
    )


def _two_versions() -> tuple[Action, ...]:
    """Version one on the branch `old` and the tag v1, version two on main and v2; both pushed."""
    return (*_pushed(), git("branch old"), *_second_version(), commit("second"), git("tag v2"), dvc("push"))


def _second_not_pushed() -> tuple[Action, ...]:
    return (*_pushed(), git("branch old"), *_second_version(), commit("second"), git("tag v2"))


def _clone() -> tuple[Action, ...]:
    """A clone with nothing but what Git carries."""
    return (*_two_versions(), git("clone -q repo clone", cwd="."))


_PIPELINE = """\
stages:
  prepare:
    cmd: mkdir -p prepared && cp file.txt prepared/x
    deps:
    - file.txt
    outs:
    - prepared
  train:
    cmd: cp prepared/x model && echo '{"acc":1}' > metrics.json && echo '{"loss":1}' > cached.json
    deps:
    - prepared
    params:
    - lr
    outs:
    - model
    metrics:
    - cached.json
    - metrics.json:
        cache: false
"""


def _pipeline() -> tuple[Action, ...]:
    return (
        *_tracked(),
        write("params.yaml", "lr: 0.5\n"),
        write("dvc.yaml", _PIPELINE),
        dvc("repro"),
        commit("pipeline"),
        dvc("push"),
    )


def _plain() -> tuple[Action, ...]:
    """Without an executable file: for one that is linked DVC changes the mode of the cache object."""
    return (
        *_storage(),
        write("file.txt", "one\n"),
        write("data/a.txt", "a\n"),
        write("data/sub/b.txt", "b\n"),
        write("data/sub/c.txt", "c\n"),
        write("data/empty", ""),
        dvc("add file.txt data"),
        commit("first"),
        git("tag v1"),
    )


def _many() -> tuple[Action, ...]:
    """Several data files in folders, for `-R`, `--glob` and working below the root."""
    return (
        *_storage(),
        *(write(f"raw/{name}.csv", f"{name}\n") for name in ("a", "b", "c")),
        write("raw/deep/d.csv", "d\n"),
        write("raw/notes.txt", "notes\n"),
        dvc("add raw/a.csv raw/b.csv raw/c.csv raw/deep/d.csv raw/notes.txt"),
        commit("many"),
    )


def _no_scm() -> tuple[Action, ...]:
    return (
        make_folder("remote", cwd="."),
        dvc("init --no-scm"),
        dvc("remote add -d storage ../remote"),
        write("file.txt", "one\n"),
        write("data/a.txt", "a\n"),
        dvc("add file.txt data"),
    )


def _subdir() -> tuple[Action, ...]:
    """A data repository below the top of the Git repository."""
    return (
        *_git_only(),
        make_folder("project"),
        dvc("init --subdir", cwd="repo/project"),
        commit("init"),
        write("project/file.txt", "one\n"),
    )


def _digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _put_legacy(world: World, digest: str, content: bytes, stores: tuple[str, ...]) -> None:
    for store in stores:
        path = world.path(store, digest[:2], digest[2:])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)
        os.chmod(path, 0o444)


def legacy_data() -> Action:
    """Returns a step that writes tracked data as DVC 2.x did.

    No `hash` in the entries, objects right below the cache and the remote, and ids of text over `\\n` line
    ends, whatever the file holds.
    """

    def act(world: World) -> None:
        stores = ("repo/.dvc/cache", "remote")
        members = {"a.txt": b"a\n", "crlf.txt": b"one\r\ntwo\r\n", "sub/b.bin": b"\x00\r\n"}
        listed = []
        for name, content in members.items():
            hashed = content if b"\x00" in content else content.replace(b"\r\n", b"\n")
            _put_legacy(world, _digest(hashed), content, stores)
            listed.append({"md5": _digest(hashed), "relpath": name})
            write(f"data/{name}", content)(world)
        manifest = json.dumps(listed, sort_keys=True).encode()
        digest = _digest(manifest) + ".dir"
        _put_legacy(world, digest, manifest, stores)
        size = sum(len(content) for content in members.values())
        write("data.dvc", f"outs:\n- md5: {digest}\n  size: {size}\n  nfiles: 3\n  path: data\n")(world)
        content = b"head\r\nrow\r\n"
        digest = _digest(content.replace(b"\r\n", b"\n"))
        _put_legacy(world, digest, content, stores)
        write("table.csv", content)(world)
        write("table.csv.dvc", f"outs:\n- md5: {digest}\n  size: {len(content)}\n  path: table.csv\n")(world)

    return act


def _legacy() -> tuple[Action, ...]:
    return (*_storage(), legacy_data(), write(".gitignore", "/data\n/table.csv\n"), commit("2.x"))


def _ignoring() -> tuple[Action, ...]:
    return (
        *_untracked(),
        append(".dvcignore", "*.log\n!keep.log\nbuild/\n"),
        write("data/run.log", "noise\n"),
        write("data/keep.log", "kept\n"),
        write("data/build/x", "built\n"),
        write("other.log", "noise\n"),
        git("add .dvcignore"),
        git("commit -q -m ignore"),
    )


_ALL_KINDS = """\
vars:
- conf.yaml
stages:
  prepare:
    cmd: mkdir -p prepared && cp file.txt prepared/x && cp sub.txt prepared/y
    deps:
    - file.txt
    - sub.txt
    outs:
    - prepared
  train:
    cmd:
    - cat prepared/* > model
    - |
      echo '{"acc": 1}' > m.json
      echo "$DVC_STAGE" >> model
      printf 'step,loss\\n1,2\\n' > loss.csv
    deps:
    - prepared
    - code.sh
    params:
    - lr
    - opt.n
    - other.json:
      - seed
    - whole.toml:
    - code.py:
      - DEPTH
    outs:
    - model
    metrics:
    - m.json:
        cache: false
    plots:
    - loss.csv:
        x: step
  templated:
    cmd: echo ${name} ${opts} > t.txt
    outs:
    - t.txt
  each:
    foreach: ${items}
    do:
      cmd: echo ${item} > out_${item} && cat model >> out_${item}
      deps:
      - model
      outs:
      - out_${item}
  mx:
    matrix:
      m: [1, 2]
      d: [x, y]
    cmd: echo ${item.m} ${item.d} > mx_${key}
    params:
    - lr
    outs:
    - mx_${key}
  below:
    cmd: cp ../file.txt copy
    wdir: folder
    deps:
    - ../file.txt
    outs:
    - copy
  kept:
    cmd: cat file.txt >> kept.log
    deps:
    - file.txt
    outs:
    - kept.log:
        persist: true
  unkept:
    cmd: cp out_a report
    deps:
    - out_a
    outs:
    - report:
        cache: false
"""


def _matrix() -> tuple[Action, ...]:
    """A pipeline with all kinds of dependencies, params, outputs and groups."""
    return (
        *_empty(),
        write("file.txt", "one\n"),
        write("sub.txt", "sub\n"),
        write("code.sh", "echo 1\n", mode=0o755),
        write("conf.yaml", "name: ada\nopts: {depth: 3, fast: true}\nitems: [a, b]\n"),
        write("params.yaml", "lr: 0.5\nopt: {n: 3, m: 1}\n"),
        write("other.json", '{"seed": 1, "x": 2}\n'),
        write("whole.toml", "a = 1\n[b]\nc = 2\n"),
        write("code.py", "DEPTH = 3\nWIDTH = 4\n"),
        make_folder("folder"),
        write("folder/readme", "x\n"),
        write("dvc.yaml", _ALL_KINDS),
        dvc("add file.txt"),
        dvc("repro"),
        commit("pipeline"),
    )


def _other_repository() -> tuple[Action, ...]:
    """A repository `source` with data of all kinds on a storage of its own, and `repo`, which takes from it."""
    there = "source"
    return (
        *_storage(),
        make_folder(there, cwd="."),
        make_folder("source-store", cwd="."),
        git("init -q -b main", cwd=there),
        dvc("init", cwd=there),
        dvc("remote add -d store ../source-store", cwd=there),
        write("data/a.txt", "a\n", cwd=there),
        write("data/sub/b.txt", "b\n", cwd=there),
        write("file.bin", "file\n", cwd=there),
        write("exec.sh", "#!/bin/sh\n", cwd=there, mode=0o755),
        write("code/run.py", "run\n", cwd=there, mode=0o755),
        write("code/deep/x", "x\n", cwd=there),
        write("mixed/in-git", "git\n", cwd=there),
        write("mixed/one", "one\n", cwd=there),
        write("mixed/all/two", "two\n", cwd=there),
        dvc("add data file.bin exec.sh mixed/one mixed/all", cwd=there),
        commit("one", cwd=there),
        git("tag v1", cwd=there),
        dvc("push", cwd=there),
    )


def _newer_source() -> tuple[Action, ...]:
    """Steps after which `source` has another commit, in which `data` changed and `file.bin` did not."""
    there = "source"
    return (
        write("data/new.txt", "new\n", cwd=there),
        dvc("add data", cwd=there),
        commit("two", cwd=there),
        dvc("push", cwd=there),
    )


def _imported() -> tuple[Action, ...]:
    """`repo` has a folder, a part of it, and files of Git of `source`, which has moved on."""
    return (
        *_other_repository(),
        dvc("import ../source data"),
        dvc("import ../source file.bin --rev v1"),
        dvc("import ../source data/sub -o part --rev main"),
        dvc("import ../source code"),
        commit("imports"),
        *_newer_source(),
    )


def _given() -> tuple[Action, ...]:
    """Files and folders outside of the repository, `given`."""
    return (
        *_storage(),
        write("one.txt", "one\n", cwd="given", mode=0o755),
        write("two.txt", "two\n", cwd="given"),
        write("folder/a", "a\n", cwd="given"),
        write("folder/sub/b", "b\n", cwd="given"),
    )


TEMPLATES: dict[str, tuple[Action, ...]] = {
    "nothing": (),
    "git only": _git_only(),
    "empty": _empty(),
    "storage": _storage(),
    "untracked": _untracked(),
    "tracked": _tracked(),
    "pushed": _pushed(),
    "two versions": _two_versions(),
    "second not pushed": _second_not_pushed(),
    "clone": _clone(),
    "pipeline": _pipeline(),
    "matrix": _matrix(),
    "matrix with a remote": (
        *_matrix(),
        make_folder("remote", cwd="."),
        dvc("remote add -d storage ../remote"),
        commit("remote"),
    ),
    "plain": _plain(),
    "plain, two versions": (*_plain(), *_second_version(), commit("second")),
    "many": _many(),
    "no scm": _no_scm(),
    "subdir": _subdir(),
    "legacy": _legacy(),
    "ignoring": _ignoring(),
    "other repository": _other_repository(),
    "imported": _imported(),
    "given": _given(),
}
