"""The stand-in for Google Drive works with Google's own client library: what Kist wrote it reads, and the other way round."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.test_gdrive import kept_login, opened
from tests.peers import servers

from kist.remotes.storage import Body
from kist.testing.gdrive_server import GdriveServer
from kist.testing.project import Project
from kist.testing.storage_contract import read_all

GOOGLE = """
import io, json, sys
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload

document = json.loads(get_static_doc("drive", "v3"))
document["rootUrl"] = sys.argv[1] + "/"
files = build_from_document(document, credentials=Credentials("t0ken")).files()
FOLDER = "application/vnd.google-apps.folder"

def ids(name, parent):
    found = files.list(q=f"'{parent}' in parents and name = '{name}' and trashed = false", pageSize=1).execute()
    return [each["id"] for each in found["files"]]

def media(data, **more):
    return MediaIoBaseUpload(io.BytesIO(data), "application/octet-stream", **more)

base = ids("base", "root")[0]
ours = ids("ours", base)[0]
assert files.get_media(fileId=ours).execute() == b"from kist" * 1000
target = io.BytesIO()
download = MediaIoBaseDownload(target, files.get_media(fileId=ours), chunksize=4000)
while not download.next_chunk()[1]:
    pass
assert target.getvalue() == b"from kist" * 1000
assert files.get(fileId=ours, fields="size").execute()["size"] == "9000"
folder = files.create(body={"name": "it's deep", "mimeType": FOLDER, "parents": [base]}).execute()["id"]
files.create(body={"name": "theirs", "parents": [folder]}, media_body=media(b"from google")).execute()
large = bytes(range(256)) * 2048
begun = files.create(
    body={"name": "large", "parents": [folder]}, media_body=media(large, chunksize=256 << 10, resumable=True)
)
done = None
while done is None:
    done = begun.next_chunk()[1]
files.update(fileId=done["id"], media_body=media(large[::-1])).execute()
gone = files.create(body={"name": "gone", "parents": [base]}, media_body=media(b"x")).execute()["id"]
files.delete(fileId=gone).execute()
try:
    files.get(fileId=gone).execute()
except HttpError as error:
    assert error.resp.status == 404
else:
    raise AssertionError("it is there")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GdriveServer]:
    """Yields a running stand-in."""
    with GdriveServer(str(tmp_path / "unused")) as server:
        yield server


def test_googles_library_and_kist_read_each_other(server: GdriveServer, tmp_path: Path) -> None:
    login = tmp_path / "login.json"
    login.write_text(json.dumps(kept_login()))
    storage = opened(server, login, url="gdrive://root/base")
    storage.write("ours", Body.of(b"from kist" * 1000))
    python = servers.program("gdrive", "bin/python")
    done = subprocess.run(
        [python, "-c", GOOGLE, server.url], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert read_all(storage, "it's deep/theirs") == b"from google"
    assert read_all(storage, "it's deep/large") == (bytes(range(256)) * 2048)[::-1]
    assert {item.key for item in storage.list("")} == {"ours", "it's deep/theirs", "it's deep/large"}


def test_a_push_and_a_pull(
    server: GdriveServer, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = tmp_path / "login.json"
    login.write_text(json.dumps(kept_login()))
    monkeypatch.setenv("KIST_GDRIVE_ENDPOINT", server.url)
    project.kist("remote", "add", "-d", "store", "gdrive://root/data")
    project.kist("remote", "modify", "--local", "store", "gdrive_user_credentials_file", str(login))
    project.kist("push")
    assert server.find("data/files/md5/5b/bf5a52328e7439ae6e719dfe712200")
    subprocess.run(["rm", "-rf", project.path(".dvc/cache"), project.path("data")], check=True)
    project.kist("pull")
    assert project.read("data/one.txt") == "one\n"
    assert project.kist("push").out == "Everything is up to date.\n"
