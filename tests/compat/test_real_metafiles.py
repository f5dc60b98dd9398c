"""Real metafiles of public repositories, from DVC 0.9 to 3.x: all load, those included that DVC 3.67 refuses."""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest

from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.metafile import parse_metafile, render_metafile, stage_checksum
from kist.formats.records import Dependency, Digest, Output

pytestmark = pytest.mark.compat


def find_data() -> str | None:
    """Returns the folder of the real repositories: KIST_SHARED_DATA, or a `data` beside a folder above this file."""
    given = os.environ.get("KIST_SHARED_DATA")
    places = [given] if given else []
    place = os.path.dirname(os.path.abspath(__file__))
    while not given and place != os.path.dirname(place):
        place = os.path.dirname(place)
        places.append(os.path.join(place, "shared", "data"))
    found = [os.path.join(place, "real-repos") for place in places]
    return next((place for place in found if os.path.isdir(place)), None)


ROOT = find_data()
needs_data = pytest.mark.skipif(
    ROOT is None, reason="no real repositories here; KIST_SHARED_DATA names their folder"
)


class Expected(NamedTuple):
    """What one file says, as one reads it: numbers of entries, and the first content id of each kind."""

    outs: int
    deps: int
    out: str | None = None
    dep: str | None = None
    checksum: str | None = None
    is_checksum_current: bool = False
    cmd: str | None = None
    frozen: bool = False
    wdir: str = "."


def first(entries: tuple[Output, ...] | tuple[Dependency, ...]) -> str | None:
    return next((f"{entry.digest.algorithm}:{entry.digest.value}" for entry in entries if entry.digest), None)


OLD, NEW, HTTP = "md5-dos2unix:", "md5:", "checksum:"
METAFILES: dict[str, Expected] = {
    "crmne+dvc-workshop/Posts.xml.dvc": Expected(
        1,
        1,
        out=OLD + "c1fa36d90caa8489a317eee917d8bf03",
        dep=OLD + "5988519f8465218abb23ce0e0e8b1384",
        checksum="0ce6bf0bf2600d923595192ac700231a",
        cmd="tar xvf data/Posts.xml.tgz -C data/",
    ),
    "crmne+dvc-workshop/data/Posts.xml.tgz.dvc": Expected(
        1, 0, out=OLD + "5988519f8465218abb23ce0e0e8b1384", checksum="b463a8a565836bd4e4f61afe336279af"
    ),
    "dmpetrov+dvc_tutorial_full/Dvcfile": Expected(0, 1, dep=OLD + "63b5f2bb4b90db0158b8147cc1c53024"),
    "dmpetrov+dvc_tutorial_full/data/train.zip.dvc": Expected(
        1, 0, out=OLD + "fd47d523fa82bb9c282b897b55be0442"
    ),
    "dmpetrov+dvc_tutorial_full/model.h5.dvc": Expected(
        2,
        3,
        out=OLD + "eb37924e366d35cdb611fe2322a9da7d",
        dep=OLD + "1e0f2497cbfa495e651a9cdaea4e5cc3",
        cmd="python code/model.py",
    ),
    "dmpetrov+dvc_tutorial_full/plot_loss.jpeg.dvc": Expected(
        2,
        3,
        out=OLD + "63b5f2bb4b90db0158b8147cc1c53024",
        dep=OLD + "52ad7b9310037aa53e53768ad824956a",
        cmd="python code/plot.py",
    ),
    "dmpetrov+dvc_tutorial_full/process.dvc": Expected(
        1,
        2,
        out=OLD + "da49cf17236a5f2b4cf7046518b272d8.dir",
        dep=OLD + "a24ee1c973ce36b72dca73572ee1136b",
        cmd="python code/process_files.py",
    ),
    "dmpetrov+dvc_tutorial_full/train.dvc": Expected(
        1,
        1,
        out=OLD + "0dd437f2f04fbf54355beab021494baa.dir",
        dep=OLD + "fd47d523fa82bb9c282b897b55be0442",
        cmd="unzip -d data/ data/train.zip",
    ),
    "iterative+cnn_tutorial/Dvcfile": Expected(0, 1, dep=OLD + "96a9ba9855b09f667ff4bcd26ccd25a5"),
    "iterative+cnn_tutorial/data/train.zip.dvc": Expected(1, 0, out=OLD + "fd47d523fa82bb9c282b897b55be0442"),
    "iterative+cnn_tutorial/model.h5.dvc": Expected(
        2,
        3,
        out=OLD + "ac7eeacefcdc8e67689e141bacfd893f",
        dep=OLD + "01a3a0f27a5c0419ef05dc4ebeac83ce",
        cmd="python code/model.py",
    ),
    "iterative+cnn_tutorial/plot_loss.jpeg.dvc": Expected(
        2,
        3,
        out=OLD + "96a9ba9855b09f667ff4bcd26ccd25a5",
        dep=OLD + "52ad7b9310037aa53e53768ad824956a",
        cmd="python code/plot.py",
    ),
    "iterative+cnn_tutorial/process.dvc": Expected(
        1,
        2,
        out=OLD + "da49cf17236a5f2b4cf7046518b272d8.dir",
        dep=OLD + "a24ee1c973ce36b72dca73572ee1136b",
        cmd="python code/process_files.py",
    ),
    "iterative+cnn_tutorial/train.dvc": Expected(
        1,
        1,
        out=OLD + "0dd437f2f04fbf54355beab021494baa.dir",
        dep=OLD + "fd47d523fa82bb9c282b897b55be0442",
        cmd="unzip -d data/ -q data/train.zip",
    ),
    "iterative+dataset-registry/blog/cats-dogs.dvc": Expected(
        1, 0, out=NEW + "84453a3661e17405f48087e6cf409c51.dir"
    ),
    "iterative+dataset-registry/dvc-course/hymenoptera_data.dvc": Expected(
        1, 0, out=NEW + "70257f9e4b0b3ec72deeed5e1b880c3b.dir"
    ),
    "iterative+dataset-registry/get-started/data.xml.dvc": Expected(
        1, 0, out=NEW + "22a1a2931c8370d3aeedd7183606fd7f"
    ),
    "iterative+dataset-registry/github-issues/dataset.parquet.dvc": Expected(
        1, 0, out=NEW + "572e23808b1fd6fe6b2b628feebc890c.dir"
    ),
    "iterative+dataset-registry/images/dvc-logo-outlines.png.dvc": Expected(
        1, 0, out=NEW + "5846bf188572bbc78a10124f36e92631"
    ),
    "iterative+dataset-registry/images/owl_sticker.png.dvc": Expected(
        1, 0, out=NEW + "fa8b9e82c893eb401f30c353bd550ada"
    ),
    "iterative+dataset-registry/images/owl_sticker.svg.dvc": Expected(
        1, 0, out=NEW + "52e64ff3607484b4e0d798a2f61b0cc7"
    ),
    "iterative+dataset-registry/tutorials/nlp/Posts.xml.zip.dvc": Expected(
        1, 0, out=NEW + "ce68b98d82545628782c66192c96f2d2", wdir="../.."
    ),
    "iterative+dataset-registry/tutorials/nlp/pipeline.zip.dvc": Expected(
        1, 0, out=NEW + "1d2070ee188fc5e4d94ad920e6cc82aa", wdir="../.."
    ),
    "iterative+dataset-registry/tutorials/versioning/data.zip.dvc": Expected(
        1, 0, out=NEW + "fa9c0eb4173d86695b4e800219651360", wdir="../.."
    ),
    "iterative+dataset-registry/tutorials/versioning/new-labels.zip.dvc": Expected(
        1, 0, out=NEW + "2eaa473159443e75e6fb7b29e56c0787", wdir="../.."
    ),
    "iterative+dataset-registry/use-cases/cats-dogs.dvc": Expected(
        1, 0, out=NEW + "22e3f61e52c0ba45334d973244efc155.dir"
    ),
    "iterative+dataset-registry/use-cases/pool_data.dvc": Expected(
        1, 0, out=NEW + "14d187e749ee5614e105741c719fa185.dir"
    ),
    "iterative+dataset-registry/workshop/dvc_discord_channel.csv.dvc": Expected(
        1, 0, out=NEW + "c99631b236e0daa26c7658382c91c1f3"
    ),
    "iterative+dataset-registry/workshop/satellite-data.dvc": Expected(
        1, 0, out=NEW + "04dd843f68ab4819fadd53fba5aacdc3.dir"
    ),
    "iterative+example-get-started-s3/data/data.xml.dvc": Expected(
        1,
        1,
        out=OLD + "a304afb96060aad90176268345e10355",
        checksum="263395583f35403c8e0b1b94b30bea32",
        is_checksum_current=True,
        frozen=True,
    ),
    "iterative+example-get-started/data/data.xml.dvc": Expected(
        1,
        1,
        out=NEW + "22a1a2931c8370d3aeedd7183606fd7f",
        checksum="f5ea021eddd7b1df6de80b904cba1da6",
        is_checksum_current=True,
        frozen=True,
    ),
    "iterative+vscode-dvc-demo/data.dvc": Expected(1, 0, out=OLD + "ab3353d41bd7a24a20a31f29b64e3b3c.dir"),
    "khuyentran1401+cicd-mlops-demo/data/raw.dvc": Expected(
        1, 0, out=OLD + "84a0e37242f885ea418b9953761d35de.dir"
    ),
    "lenskit+lk-demo-experiment/data/ml-100k.zip.dvc": Expected(
        1,
        1,
        out=OLD + "0e33842e24a9c977be4e0107933c0723",
        dep=HTTP + '"4b227d-598cfd31b571f"',
        checksum="c58972d169d1d74ae2725eaf03d2be2a",
        is_checksum_current=True,
    ),
    "lenskit+lk-demo-experiment/data/ml-10m.zip.dvc": Expected(
        1,
        1,
        out=OLD + "ce571fd55effeba0271552578f2648bd",
        dep=HTTP + '"3e875b9-598cfd2c58a4b"',
        checksum="89772f0e18d4f6eae5dce0c98c112b85",
        is_checksum_current=True,
    ),
    "lenskit+lk-demo-experiment/data/ml-1m.zip.dvc": Expected(
        1,
        1,
        out=OLD + "c4d9eecfca2ab87c1945afe126590906",
        dep=HTTP + '"5a4b6d-598cfd38b04f2"',
        checksum="9172c8b0baa288775c98a4defcce7622",
        is_checksum_current=True,
    ),
    "lenskit+lk-demo-experiment/data/ml-20m.zip.dvc": Expected(
        1,
        1,
        out=OLD + "cd245b17a1ae2cc31bb14903e1204af3",
        dep=HTTP + '"bd7f3fe-598cfd87ca0d4"',
        checksum="178bd8c1fc68bdc5256ab9e05635a233",
        is_checksum_current=True,
    ),
    "lenskit+lk-demo-experiment/data/ml-25m.zip.dvc": Expected(
        1,
        1,
        out=OLD + "6b51fb2759a8657d3bfcbfc42b592ada",
        dep=HTTP + '"f9d7b6a-598cfd314523f"',
        checksum="5f93c96ae43c400d6f2df08243fe800d",
        is_checksum_current=True,
    ),
    "lenskit+lk-demo-experiment/data/ml-32m.zip.dvc": Expected(
        1,
        1,
        out=NEW + "d472be332d4daa821edc399621853b57",
        dep=HTTP + '"e3e1678-6079c1f365e0c"',
        checksum="a20815138c63eaf2fd3a70764aa372c6",
        is_checksum_current=True,
        frozen=True,
    ),
    "lenskit+lk-demo-experiment/data/ml-latest-small.zip.dvc": Expected(
        1,
        1,
        out=OLD + "31a303aabbc519bd33d025e44d6c2570",
        dep=HTTP + '"eed1a-598cfd387dc5a"',
        checksum="46b84b963d246bb8a809dc437d382104",
        is_checksum_current=True,
    ),
}
# stages, outputs, dependencies, parameters, first content id of an output
LOCKFILES: dict[str, tuple[int, int, int, int, str | None]] = {
    "iterative+evidently-dvc/pipelines/monitor/dvc.lock": (
        4,
        8,
        10,
        8,
        OLD + "7f3aa625f80cfdbcaccfa5ab4b7dcf4c",
    ),
    "iterative+evidently-dvc/pipelines/predict/dvc.lock": (
        2,
        3,
        3,
        4,
        NEW + "5d3e8995f608062bc2eb27b62943f54c",
    ),
    "iterative+evidently-dvc/pipelines/train/dvc.lock": (
        4,
        5,
        8,
        3,
        NEW + "d50bd5a6f55131e72a7bedc334e2fce1",
    ),
    "iterative+example-get-started-s3/dvc.lock": (4, 5, 9, 6, OLD + "20b786b6e6f80e2b3fcf17827ad18597.dir"),
    "iterative+example-get-started/dvc.lock": (4, 4, 9, 7, NEW + "153aad06d376b6595932470e459ef42a.dir"),
    "iterative+pipeline-conifguration/multi-params-files/dvc.lock": (3, 0, 3, 5, None),
    "iterative+pipeline-conifguration/multi-validation-datasets/dvc.lock": (
        9,
        5,
        10,
        19,
        OLD + "2ddba229241405e66fc772699d85b60c",
    ),
    "iterative+pipeline-conifguration/single-params-file/dvc.lock": (3, 0, 3, 4, None),
    "iterative+vscode-dvc-demo/dvc.lock": (1, 4, 2, 3, OLD + "e5caf6a079cb54536c5bbf9fb9bd2d6f"),
    "khuyentran1401+cicd-mlops-demo/dvc.lock": (3, 4, 7, 7, OLD + "3377ebd11434a04b64fe3ca5cb3cc455.dir"),
    "lenskit+lk-demo-experiment/data/dvc.lock": (7, 7, 7, 0, NEW + "de14113b10f15d7058eee60d7b0b739b.dir"),
    "lenskit+lk-demo-experiment/dvc.lock": (143, 157, 441, 0, NEW + "d1ee4c13858f196e3f033b1edbd6cee2"),
    "lenskit+lk-demo-experiment/runs/dvc.lock": (
        195,
        195,
        324,
        0,
        OLD + "863329ca2ac54f53d9f92a3563159420.dir",
    ),
}


def files(*, locks: bool) -> list[str]:
    """Returns the paths of the metafiles, relative to the folder of repositories."""
    assert ROOT is not None
    found = []
    for folder, _, names in os.walk(ROOT):
        for name in names:
            is_lock = name == "dvc.lock"
            if is_lock if locks else name.endswith(".dvc") or name == "Dvcfile":
                found.append(os.path.relpath(os.path.join(folder, name), ROOT))
    return sorted(found)


def read(path: str) -> bytes:
    assert ROOT is not None
    with open(os.path.join(ROOT, path), "rb") as stream:
        return stream.read()


@needs_data
def test_every_real_metafile_has_an_expected_result() -> None:
    assert files(locks=False) == sorted(METAFILES)
    assert files(locks=True) == sorted(LOCKFILES)


@needs_data
@pytest.mark.parametrize("path", sorted(METAFILES))
def test_every_real_metafile_is_read(path: str) -> None:
    m = parse_metafile(read(path), name=path)
    is_current = m.checksum is not None and stage_checksum(m) == m.checksum
    assert METAFILES[path] == Expected(
        len(m.outs),
        len(m.deps),
        first(m.outs),
        first(m.deps),
        m.checksum,
        is_current,
        m.cmd,
        m.frozen,
        m.wdir,
    )
    assert m.notices == ()


@needs_data
@pytest.mark.parametrize("path", sorted(METAFILES))
def test_every_real_metafile_is_written_without_a_loss(path: str) -> None:
    data = read(path)
    m = parse_metafile(data, name=path)
    assert render_metafile(m, data) == data
    assert parse_metafile(render_metafile(m), name=path) == m
    if m.outs:
        digest = Digest("md5", "0123456789abcdef0123456789abcdef")
        changed = m._replace(outs=(m.outs[0]._replace(digest=digest, has_hash=True), *m.outs[1:]))
        assert parse_metafile(render_metafile(changed, data), name=path) == changed


@needs_data
@pytest.mark.parametrize("path", sorted(LOCKFILES))
def test_every_real_lock_file_is_read_and_written_without_a_loss(path: str) -> None:
    data = read(path)
    lock = parse_lockfile(data, name=path)
    stages = lock.stages.values()
    assert LOCKFILES[path] == (
        len(stages),
        sum(len(stage.outs) for stage in stages),
        sum(len(stage.deps) for stage in stages),
        sum(len(values) for stage in stages for values in stage.params.values()),
        next((first(stage.outs) for stage in stages if stage.outs), None),
    )
    assert render_lockfile(lock, data) == data
    assert parse_lockfile(render_lockfile(lock), name=path).stages.keys() == lock.stages.keys()
