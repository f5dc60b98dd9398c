"""`make demo`: the main job from beginning to end, each command as a person would type it, with its output.

Works in a folder of its own that is gone afterwards, with an empty home directory and no network. Exit status 1, with
the reason, when something is not as expected. The data is made by demo_data.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile

import demo_data

LIMIT_BYTES = 5_000_000
_ENVIRON = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    "GIT_AUTHOR_DATE": "2024-03-01T12:00:00+0000",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.invalid",
    "GIT_COMMITTER_DATE": "2024-03-01T12:00:00+0000",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C.UTF-8",
    "NO_COLOR": "1",
}


class DemoError(Exception):
    """Something was not as it has to be."""


class Demo:
    """A shell that shows what it does and insists on what comes out."""

    def __init__(self, top: str) -> None:
        """Args: top: an empty folder."""
        self.top = top
        self.here = top
        self.count = 0
        home = os.path.join(top, "home")
        os.mkdir(home)
        self.environ = {"PATH": os.environ["PATH"], "HOME": home, **_ENVIRON}

    def title(self, text: str) -> None:
        """Says what comes next."""
        print(f"\n# {text}", flush=True)

    def cd(self, folder: str) -> None:
        """Goes to another folder."""
        print(f"$ cd {folder}", flush=True)
        self.here = os.path.normpath(os.path.join(self.here, folder))

    def run(self, command: str, *expected: str, status: int = 0) -> str:
        """Runs a command, shows it with its output, and returns the output.

        Args:
            expected: each must be in the output.
            status: the right exit status.

        Raises: DemoError.
        """
        print(f"$ {command}", flush=True)
        done = subprocess.run(
            shlex.split(command),
            check=False,
            cwd=self.here,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        print(done.stdout, end="", flush=True)
        self.count += 1
        if done.returncode != status:
            raise DemoError(f"`{command}` ended with {done.returncode} instead of {status}")
        for text in expected:
            if text not in done.stdout:
                raise DemoError(f"`{command}` did not print '{text}'")
        return done.stdout

    def path(self, relative: str) -> str:
        """Returns the absolute path of something in the present folder."""
        return os.path.join(self.here, relative)


def content(folder: str) -> dict[str, bytes]:
    """Returns what the table and the pictures of a working folder hold."""
    paths = ["moon.csv", *(f"images/{name}" for name in sorted(os.listdir(os.path.join(folder, "images"))))]
    found = {}
    for path in paths:
        with open(os.path.join(folder, path), "rb") as stream:
            found[path] = stream.read()
    return found


def expect_content(folder: str, expected: dict[str, bytes]) -> None:
    """Raises DemoError if a working folder does not hold exactly what was once recorded."""
    found = content(folder)
    different = sorted(
        path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)
    )
    if different:
        raise DemoError(f"'{different[0]}' in '{os.path.basename(folder)}' is not what was recorded")


def flip_bit(path: str) -> None:
    """Changes one bit of a file and nothing else that can be seen: size, time and permissions stay."""
    before = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as stream:
        stream.seek(before.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(before.st_size // 2)
        stream.write(bytes([byte ^ 1]))
    os.chmod(path, before.st_mode & 0o7777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def object_of(folder: str, data: bytes) -> str:
    """Returns the path of the object with this content, below a cache or a storage folder."""
    import hashlib

    oid = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return f"{folder}/files/md5/{oid[:2]}/{oid[2:]}"


def track(demo: Demo) -> dict[str, bytes]:
    """Makes the first version and sends it to the storage; returns its content."""
    demo.title(
        "A table and a folder of pictures: the Moon in January 2024, computed and drawn by tools/demo_data.py."
    )
    demo.run("git init -q -b main moon")
    demo.cd("moon")
    demo_data.write_version(demo.here, 1)
    demo.run("kist init -q")
    demo.run("head -n 4 moon.csv", "2024-01-01,")
    demo.run("kist add moon.csv images", "git add")
    demo.run("cat images.dvc", "nfiles: 31")
    demo.run("kist remote add -d storage ../storage")
    demo.run("git add -A")
    demo.run("git commit -q -m 'January'")
    demo.run("git tag v1")
    demo.run("kist push", "33 files pushed")
    return content(demo.here)


def change(demo: Demo) -> dict[str, bytes]:
    """Makes the second version and sends it; returns its content."""
    demo.title("The second version: February comes in, thin crescents are redrawn, the dark day goes.")
    demo_data.write_version(demo.here, 2)
    demo.run("kist status", "modified:           images", "modified:           moon.csv")
    demo.run("kist data status", "modified: images/")
    demo.run("kist add moon.csv images")
    demo.run("git commit -q -a -m 'February'")
    demo.run("git tag v2")
    demo.run("kist diff v1 v2", "images/2024-02-01.png", "files summary: 29 added, 1 deleted")
    demo.run("kist push", "files pushed")
    demo.run("kist push", "Everything is up to date.")
    return content(demo.here)


def clone(demo: Demo, first: dict[str, bytes], second: dict[str, bytes]) -> None:
    """Gets everything in another place, and goes back and forth."""
    demo.title("Somebody else clones the repository, gets the data, and goes back and forth.")
    demo.cd("..")
    demo.run("git clone -q moon copy")
    demo.cd("copy")
    demo.run("kist pull", "A\timages/")
    expect_content(demo.here, second)
    demo.run("kist fetch --all-tags", "fetched")
    for version, expected in (("v1", first), ("v2", second), ("v1", first), ("main", second)):
        demo.run(f"git checkout -q {version}")
        demo.run("kist checkout", "M\timages/")
        expect_content(demo.here, expected)
    demo.run("kist status", "Data and pipelines are up to date.")
    demo.run("kist status --cloud", "in sync")


def damage_here(demo: Demo, second: dict[str, bytes]) -> None:
    """Damages a working file and an object of the cache; both are found and healed."""
    picture = "images/2024-02-24.png"
    demo.title(f"One bit of {picture} flips; its size and time stay. It is found, and put right.")
    flip_bit(demo.path(picture))
    demo.run("kist data status --granular", f"modified: {picture}")
    demo.run("kist checkout --force images", "M\timages/")
    expect_content(demo.here, second)

    demo.title(
        "One bit flips in the cache. The damaged object is never handed out; the storage has a good one."
    )
    flip_bit(object_of(demo.path(".dvc/cache"), second[picture]))
    demo.run(f"rm {picture}")
    demo.run("kist checkout", "damaged in the cache", status=255)
    demo.run("kist pull", "fetched")
    expect_content(demo.here, second)
    demo.run("kist status", "Data and pipelines are up to date.")


def damage_there(demo: Demo, second: dict[str, bytes]) -> None:
    """Damages the storage; a third clone refuses the object, the owner's push heals it."""
    demo.title("One bit flips in the storage. A new clone refuses that object, and gets everything else.")
    demo.cd("..")
    picture = "images/2024-02-24.png"
    flip_bit(object_of(demo.path("storage"), second[picture]))
    demo.run("git clone -q moon third")
    demo.cd("third")
    demo.run("kist pull", "is damaged in remote 'storage'", status=1)
    if len(content(demo.here)) != len(second) - 1 or os.path.exists(demo.path(picture)):
        raise DemoError("the damaged picture was handed out, or a good one was not")
    demo.title("Whoever has the good one pushes, and all is well again.")
    demo.cd("../moon")
    demo.run("kist push", "1 file pushed")
    demo.cd("../third")
    demo.run("kist pull", "1 file fetched")
    expect_content(demo.here, second)
    demo.run("kist status", "Data and pipelines are up to date.")


def play(demo: Demo) -> None:
    """Plays all acts. Raises: DemoError."""
    first = track(demo)
    second = change(demo)
    if sum(len(data) for data in [*first.values(), *second.values()]) > LIMIT_BYTES:
        raise DemoError("the data is larger than it says")
    clone(demo, first, second)
    damage_here(demo, second)
    damage_there(demo, second)


def main() -> int:
    """Returns the exit status."""
    top = tempfile.mkdtemp(prefix="kist-demo-")
    demo = Demo(top)
    try:
        play(demo)
    except (DemoError, OSError, subprocess.TimeoutExpired) as error:
        print(f"\nerror: the demo failed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(top, ignore_errors=True)
    print(f"\n# All {demo.count} commands did what they should. The folder of this demo is gone again.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
