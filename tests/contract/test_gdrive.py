"""Google Drive remotes against a stand-in of our own, which Google's client library works with (tests/peers)."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kist.errors import KistError
from kist.remotes import gdrive, sessions
from kist.remotes.gdrive import GdriveStorage
from kist.remotes.storage import (
    Body,
    ExtraMissingError,
    Place,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StoragePermissionError,
    StorageRefusedError,
)
from kist.remotes.table import open_storage
from kist.testing.gdrive_server import FOLDER, ROOT, GdriveServer, refusal
from kist.testing.storage_contract import StorageContract, body_of, read_all
from kist.testing.web_server import Handler, WebServer

PART_BYTES = 256 << 10
OBJECT = "files/md5/0a/1b2c3d4e5f60718293a4b5c6d7e8f9"


def kept_login(**changes: object) -> dict[str, Any]:
    """Returns a login as DVC keeps one."""
    return {
        "access_token": "t0ken",
        "client_id": GdriveServer.client[0],
        "client_secret": GdriveServer.client[1],
        "refresh_token": "refresh-secret",
        "token_expiry": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3000)),
        "token_uri": None,
        "_class": "OAuth2Credentials",
        "_module": "oauth2client.client",
        **changes,
    }


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes parts small: what they hold does not matter."""
    for module in (gdrive, sessions):
        monkeypatch.setattr(module, "PART_BYTES", PART_BYTES)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GdriveServer]:
    """Yields a running stand-in."""
    with GdriveServer(str(tmp_path)) as server:
        yield server


@pytest.fixture
def login(tmp_path: Path) -> Path:
    """Returns a file with a login."""
    path = tmp_path / "logins" / "ann.json"
    path.parent.mkdir()
    path.write_text(json.dumps(kept_login()))
    return path


def opened(
    server: GdriveServer,
    login: Path | None = None,
    *,
    url: str = "gdrive://root/my data/store",
    **options: str,
) -> GdriveStorage:
    """Returns the storage at a server, in a folder that is not there yet."""
    if login is not None:
        options["gdrive_user_credentials_file"] = str(login)
    environ = {"KIST_GDRIVE_ENDPOINT": server.url, "HOME": server.folder}
    storage = open_storage(Place("store", url, "gdrive", options, environ))
    assert isinstance(storage, GdriveStorage)
    return storage


class TestMyDrive(StorageContract):
    """In a folder of the person's own Drive."""

    @pytest.fixture
    def storage(self, server: GdriveServer, login: Path) -> GdriveStorage:
        """Returns an empty storage."""
        return opened(server, login)

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Returns what the login holds."""
        return ["t0ken", "refresh-secret", GdriveServer.client[1]]


@pytest.mark.slow
class TestSharedDrive(StorageContract):
    """In a shared drive, whose folder is named by its id."""

    @pytest.fixture
    def storage(self, server: GdriveServer, login: Path) -> GdriveStorage:
        """Returns an empty storage."""
        folder = server.add("team", server.add_drive("birds"), FOLDER)
        return opened(server, login, url=f"gdrive://{folder.id}")


@pytest.mark.slow
class TestApplicationData(StorageContract):
    """In the hidden folder of the program."""

    @pytest.fixture
    def storage(self, server: GdriveServer, login: Path) -> GdriveStorage:
        """Returns an empty storage."""
        return opened(server, login, url="gdrive://appDataFolder/store")


def test_folders_of_one_name_are_one_folder(server: GdriveServer, login: Path) -> None:
    older, newer = (server.add("store", ROOT, FOLDER) for _ in range(2))
    server.add("a", older.id, data=b"in the older")
    server.add("b", newer.id, data=b"in the newer")
    server.add("A", newer.id, data=b"another name")
    storage = opened(server, login, url="gdrive://root/store")
    assert {item.key: item.size for item in storage.list("")} == {"a": 12, "b": 12, "A": 12}
    for key in ("a", "b"):
        assert read_all(storage, key).startswith(b"in the")
    assert read_all(storage, "A") == b"another name"
    storage.write("c", Body.of(b"x"))
    assert server.find("store/c")[0].parent == older.id
    storage.delete(["a"])
    assert storage.head("a") is None and storage.head("A") is not None


def test_of_files_of_one_name_the_newest_counts_and_a_write_leaves_one(
    server: GdriveServer, login: Path
) -> None:
    storage = opened(server, login, url="gdrive://root/store")
    storage.write("x", Body.of(b"first"))
    folder = server.find("store")[0].id
    for data in (b"second, from another client", b"third"):
        server.add("x", folder, data=data)
    assert read_all(storage, "x") == b"third"
    assert [(item.key, item.size) for item in storage.list("")] == [("x", 5)]
    item = storage.head("x")
    assert item is not None and item.md5 == hashlib.md5(b"third", usedforsecurity=False).hexdigest()
    storage.write("x", Body.of(b"fourth"))
    assert [each.data for each in server.find("store/x")] == [b"fourth"]
    server.add("x", folder, data=b"fifth")
    storage.delete(["x"])
    assert server.find("store/x") == []


def test_two_clients_may_write_one_name_at_once(server: GdriveServer, login: Path) -> None:
    first, second = opened(server, login), opened(server, login)
    for storage in (first, second):
        assert list(storage.list("")) == []
    threads = [
        threading.Thread(target=storage.write, args=(OBJECT, body_of(b"the same")))
        for storage in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for storage in (first, second):
        assert read_all(storage, OBJECT) == b"the same"
        assert [item.key for item in storage.list("files/")] == [OBJECT]


def test_a_folder_that_somebody_threw_away_is_made_again(server: GdriveServer, login: Path) -> None:
    storage = opened(server, login)
    storage.write("deep/a", Body.of(b"1"))
    server.find("my data")[0].is_trashed = True
    assert storage.head("deep/a") is None
    storage.write("deep/b", Body.of(b"2"))
    assert [item.key for item in storage.list("")] == ["deep/b"]
    for each in list(server.files.values()):
        if each.parent is not None:
            del server.files[each.id]
    assert list(storage.list("")) == []
    storage.write("deep/c", Body.of(b"3"))
    assert read_all(storage, "deep/c") == b"3"


def test_many_folders_are_listed_in_few_requests(server: GdriveServer, login: Path) -> None:
    store = server.add("store", ROOT, FOLDER)
    md5 = server.add("md5", server.add("files", store.id, FOLDER).id, FOLDER)
    for number in range(256):
        folder = server.add(f"{number:02x}", md5.id, FOLDER)
        server.add("0" * 30, folder.id, data=b"x")
    storage = opened(server, login, url="gdrive://root/store")
    server.requests.clear()
    assert len(list(storage.list("files/md5/"))) == 256
    assert server.requests.total() < 16
    server.requests.clear()
    for number in range(20):
        storage.write(f"files/md5/{number:02x}/{'1' * 30}", Body.of(b"y"))
    assert server.requests.total() == 20, "what was just listed is not asked for"


def test_the_trash_takes_what_is_deleted_where_the_options_say_so(server: GdriveServer, login: Path) -> None:
    storage = opened(server, login, gdrive_trash_only="true")
    storage.write("x", Body.of(b"1"))
    storage.delete(["x"])
    assert storage.head("x") is None
    assert [each.is_trashed for each in server.files.values() if each.name == "x"] == [True]
    storage = opened(server, login)
    storage.write("y", Body.of(b"1"))
    storage.delete(["y"])
    assert [each for each in server.files.values() if each.name == "y"] == []


def test_what_google_takes_for_malware_is_read_where_the_options_say_so(
    server: GdriveServer, login: Path
) -> None:
    opened(server, login).write("x", Body.of(b"a model"))
    server.find("my data/store/x")[0].is_abusive = True
    with pytest.raises(StoragePermissionError, match="malware") as caught:
        read_all(opened(server, login), "x")
    assert caught.value.hint == "kist remote modify store gdrive_acknowledge_abuse true"
    assert read_all(opened(server, login, gdrive_acknowledge_abuse="true"), "x") == b"a model"


@pytest.mark.parametrize(
    ("status", "reason", "kind", "text"),
    [
        (403, "userRateLimitExceeded", StorageFailedError, "fewer requests"),
        (403, "rateLimitExceeded", StorageFailedError, "fewer requests"),
        (429, "rateLimitExceeded", StorageFailedError, "fewer requests"),
        (403, "storageQuotaExceeded", StorageRefusedError, "the Drive is full"),
        (403, "insufficientFilePermissions", StoragePermissionError, "insufficientFilePermissions"),
        (400, "invalid", StorageRefusedError, "invalid"),
        (500, "backendError", StorageFailedError, "500"),
    ],
)
def test_each_refusal_is_told_apart(
    server: GdriveServer, login: Path, status: int, reason: str, kind: type[KistError], text: str
) -> None:
    storage = opened(server, login)
    storage.write("x", Body.of(b"1"))

    def refuse(handler: Handler) -> bool:
        handler.answer(status, json.dumps(refusal(status, reason)).encode(), {"Retry-After": "7"})
        return True

    server.fault = refuse
    for call in (lambda: storage.head("x"), lambda: storage.write("y", Body.of(b"2"))):
        with pytest.raises(kind, match=text) as caught:
            call()
        assert "t0ken" not in caught.value.message
        if isinstance(caught.value, StorageFailedError):
            assert caught.value.retry_after_s == 7


def test_a_limit_without_a_time_waits_longer_than_usual(server: GdriveServer, login: Path) -> None:
    storage = opened(server, login)

    def refuse(handler: Handler) -> bool:
        handler.answer(403, json.dumps(refusal(403, "rateLimitExceeded")).encode())
        return True

    server.fault = refuse
    with pytest.raises(StorageFailedError) as caught:
        storage.head("x")
    assert (caught.value.retry_after_s or 0) >= 5


def test_half_of_a_body_is_seen_at_once(server: GdriveServer, login: Path) -> None:
    storage = opened(server, login)

    def half(handler: Handler) -> bool:
        handler.keeps_half = "/upload/" in handler.path
        return False

    server.fault = half
    with pytest.raises(StorageFailedError, match="other bytes"):
        storage.write("x", body_of(b"whole"))
    server.fault = None
    storage.write("x", body_of(b"whole"))
    assert [each.data for each in server.find("my data/store/x")] == [b"whole"]


def test_a_folder_that_nobody_shared_is_said_to_be_missing(server: GdriveServer, login: Path) -> None:
    with pytest.raises(StorageMissingError, match="no folder '1unknown'"):
        opened(server, login, url="gdrive://1unknown/x").head("y")
    with pytest.raises(StorageRefusedError, match="names no folder"):
        opened(server, login, url="gdrive://")


# Logins


def test_a_login_is_renewed_and_kept_where_it_was(server: GdriveServer, login: Path) -> None:
    login.write_text(json.dumps(kept_login(token_expiry="2020-01-01T00:00:00Z", more="is kept")))
    opened(server, login).head("x")
    kept = json.loads(login.read_text())
    assert kept["access_token"] in server.tokens - {"t0ken"}
    assert kept["refresh_token"] == "refresh-secret" and kept["more"] == "is kept"
    assert stat.S_IMODE(os.stat(login).st_mode) == 0o600
    opened(server, login).head("x")
    assert len(server.forms) == 1


def test_a_token_that_ended_before_its_time_is_renewed(server: GdriveServer, login: Path) -> None:
    storage = opened(server, login)
    storage.write("x", Body.of(b"1"))
    server.tokens.clear()
    assert read_all(storage, "x") == b"1"
    assert len(server.forms) == 1


def test_a_login_lies_where_dvc_keeps_it(server: GdriveServer) -> None:
    options = {"gdrive_client_id": "mine.example", "gdrive_client_secret": "s"}
    cache = os.path.join(server.folder, ".cache", "pydrive2fs", "mine.example")
    os.makedirs(cache)
    for name, more in (("default", {}), ("work", {"profile": "work"})):
        with open(os.path.join(cache, f"{name}.json"), "w", encoding="utf-8") as stream:
            json.dump(kept_login(access_token=f"t-{name}"), stream)
        server.tokens = {f"t-{name}"}
        opened(server, **options, **more).head("x")
    assert server.forms == []


@pytest.mark.parametrize(
    ("options", "text", "hint"),
    [
        ({}, "'gdrive_client_id' is needed", "kist remote modify store gdrive_client_id CLIENT_ID"),
        (
            {"gdrive_client_id": "a"},
            "'gdrive_client_secret' is needed",
            "kist remote modify --local store gdrive_client_secret CLIENT_SECRET",
        ),
        (
            {"gdrive_client_id": "a", "gdrive_client_secret": "hush"},
            "no terminal to log in",
            "log in on a terminal with `kist remote check store`",
        ),
        (
            {"gdrive_use_service_account": "true"},
            "there is no 'gdrive_service_account_json_file_path'",
            "kist remote modify --local store gdrive_service_account_json_file_path FILE",
        ),
    ],
)
def test_what_lacks_for_a_login_is_named(
    server: GdriveServer, options: dict[str, str], text: str, hint: str
) -> None:
    with pytest.raises(StorageAuthError, match=text) as caught:
        opened(server, **options).head("x")
    assert caught.value.hint == hint
    assert "hush" not in caught.value.message


def test_a_login_that_was_taken_back_is_said_to_be_that(server: GdriveServer, login: Path) -> None:
    server.refresh_tokens.clear()
    login.write_text(json.dumps(kept_login(access_token=None)))
    options = {"gdrive_client_id": "a", "gdrive_client_secret": "hush"}
    with pytest.raises(StorageAuthError, match="expired or revoked") as caught:
        opened(server, login, **options).head("x")
    assert "refresh-secret" not in caught.value.message
    login.write_text("[]")
    with pytest.raises(StorageAuthError, match="holds no credentials"):
        opened(server, login, **options).head("x")


def test_a_person_logs_in_by_the_browser_once(server: GdriveServer) -> None:
    options = {"gdrive_client_id": server.client[0], "gdrive_client_secret": server.client[1]}
    environ = {"KIST_GDRIVE_ENDPOINT": server.url, "HOME": server.folder}
    shown: list[str] = []

    def browse(address: str) -> None:
        shown.append(address)
        threading.Thread(target=lambda: urllib.request.urlopen(address).read(), daemon=True).start()

    place = Place("store", "gdrive://root/store", "gdrive", options, environ, None, browse)
    open_storage(place).write("x", Body.of(b"1"))
    assert "code_challenge_method=S256" in shown[0] and server.client[1] not in shown[0]
    path = os.path.join(server.folder, ".cache", "pydrive2fs", server.client[0], "default.json")
    with open(path, encoding="utf-8") as stream:
        kept = json.load(stream)
    assert kept["refresh_token"] == "refresh-secret" and kept["_class"] == "OAuth2Credentials"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert read_all(open_storage(place), "x") == b"1"
    assert len(shown) == 1


def test_only_the_page_that_was_opened_can_log_in(server: GdriveServer) -> None:
    options = {"gdrive_client_id": server.client[0], "gdrive_client_secret": server.client[1]}
    environ = {"KIST_GDRIVE_ENDPOINT": server.url, "HOME": server.folder}
    seen: list[int] = []

    def browse(address: str) -> None:
        redirect = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))["redirect_uri"]

        def work() -> None:
            try:
                urllib.request.urlopen(f"{redirect}?code=mine&state=guessed")
            except urllib.error.HTTPError as error:
                seen.append(error.code)
            urllib.request.urlopen(address).read()

        threading.Thread(target=work, daemon=True).start()

    place = Place("store", "gdrive://root/store", "gdrive", options, environ, None, browse)
    open_storage(place).head("x")
    assert seen == [404]


def service_account(server: GdriveServer) -> dict[str, str]:
    """Returns a service account's key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "robot@birds.example",
        "private_key_id": "1",
        "private_key": text.decode("ascii"),
        "token_uri": f"{server.url}/token",
    }


@pytest.mark.parametrize("is_environment", [False, True], ids=["a file", "the environment"])
def test_a_service_account_signs_for_itself_or_for_a_person(
    server: GdriveServer, tmp_path: Path, is_environment: bool
) -> None:
    import base64

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    info = service_account(server)
    options = {
        "gdrive_use_service_account": "true",
        "gdrive_service_account_user_email": "ann@birds.example",
    }
    environ = {"KIST_GDRIVE_ENDPOINT": server.url}
    if is_environment:
        environ["GDRIVE_CREDENTIALS_DATA"] = json.dumps(info)
    else:
        (tmp_path / "robot.json").write_text(json.dumps(info))
        options["gdrive_service_account_json_file_path"] = str(tmp_path / "robot.json")
    storage = open_storage(Place("store", "gdrive://root/store", "gdrive", options, environ))
    storage.write("x", Body.of(b"1"))
    head, claims, signature = (base64.urlsafe_b64decode(part + b"==") for part in server.assertions[0])
    said = json.loads(claims)
    assert (said["iss"], said["sub"]) == ("robot@birds.example", "ann@birds.example")
    assert "https://www.googleapis.com/auth/drive" in said["scope"].split()
    assert json.loads(head)["alg"] == "RS256"
    key = serialization.load_pem_private_key(info["private_key"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    signed = b".".join(server.assertions[0][:2])
    key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    assert len(server.assertions) == 1


def test_a_login_comes_from_the_environment(server: GdriveServer) -> None:
    environ = {"KIST_GDRIVE_ENDPOINT": server.url, "GDRIVE_CREDENTIALS_DATA": json.dumps(kept_login())}
    open_storage(Place("store", "gdrive://root/x", "gdrive", {}, environ)).write("x", Body.of(b"1"))
    environ["GDRIVE_CREDENTIALS_DATA"] = "{not json"
    with pytest.raises(StorageAuthError, match="GDRIVE_CREDENTIALS_DATA") as caught:
        open_storage(Place("store", "gdrive://root/x", "gdrive", {}, environ)).head("x")
    assert "not json" not in caught.value.message


def test_the_last_part_of_a_large_value_makes_it_visible(server: GdriveServer, login: Path) -> None:
    storage = opened(server, login)
    storage.write(OBJECT, Body.of(b"old"))
    data = os.urandom(PART_BYTES + 5)
    upload = storage.begin(OBJECT, len(data))
    storage.put_part(upload, 0, 0, data[:PART_BYTES])
    again = opened(server, login)
    continued = again.begin(OBJECT, len(data), before=upload.id)
    assert set(continued.parts) == {0}
    again.put_part(continued, 1, PART_BYTES, data[PART_BYTES:])
    assert read_all(again, OBJECT) == b"old"
    item = again.finish(continued, {0: "", 1: ""})
    assert item.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert read_all(again, OBJECT) == data
    assert len(server.find("my data/store/" + OBJECT)) == 1
    elsewhere = "http://127.0.0.1:9/session/1"
    assert again.begin("other", 10, before=elsewhere).id.startswith(server.url)


def test_a_part_whose_answer_was_lost_is_not_sent_twice(server: GdriveServer, login: Path) -> None:
    storage = opened(server, login)
    data = os.urandom(2 * PART_BYTES + 5)
    upload = storage.begin(OBJECT, len(data))
    lost: list[str] = []

    def loses(handler: Handler) -> bool:
        """Takes the part, and breaks off before the answer."""
        if handler.command != "PUT" or handler.headers.get("Content-Range", "").startswith("bytes *"):
            return False
        lost.append(handler.path)
        server.fault = None
        name = handler.path.rpartition("/")[2]
        length = int(handler.headers["Content-Length"])
        server.sessions[name].data.extend(handler.rfile.read(length))
        handler.close_connection = True
        handler.connection.close()
        return True

    for number in range(2):
        part = data[number * PART_BYTES : (number + 1) * PART_BYTES]
        server.fault = loses
        with pytest.raises(StorageFailedError):
            storage.put_part(upload, number, number * PART_BYTES, part)
        storage.put_part(upload, number, number * PART_BYTES, part)
    storage.put_part(upload, 2, 2 * PART_BYTES, data[2 * PART_BYTES :])
    storage.finish(upload, {0: "", 1: "", 2: ""})
    assert read_all(storage, OBJECT) == data and len(lost) == 2


def test_a_token_does_not_follow_a_redirect_to_another_origin(
    server: GdriveServer, login: Path, tmp_path: Path
) -> None:
    """F67."""
    storage = opened(server, login)
    storage.write("x", Body.of(b"1"))
    with WebServer(str(tmp_path / "elsewhere")) as other:

        def send_away(handler: Handler) -> bool:
            handler.answer(307, b"", {"Location": f"{other.url}{handler.path}"})
            return True

        server.fault = send_away
        for call in (lambda: storage.head("x"), lambda: storage.write("x", Body.of(b"2"))):
            with pytest.raises(KistError):
                call()
        assert other.seen_headers
        assert all("Authorization" not in headers for headers in other.seen_headers)


@pytest.mark.parametrize("kind", ["gdrive", "gs"])
def test_a_library_that_lacks_is_named_with_the_line_that_installs_it(
    server: GdriveServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name in ("google.auth", "google.auth.crypt", "google.auth.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    environ = {"GDRIVE_CREDENTIALS_DATA": json.dumps({"client_email": "a", "private_key": "b"})}
    options = {"gdrive_use_service_account": "true"} if kind == "gdrive" else {}
    storage = open_storage(Place("store", f"{kind}://bucket/x", kind, options, environ))
    with pytest.raises(ExtraMissingError) as caught:
        storage.head("y")
    assert caught.value.hint == f"pip install 'kist[{kind}]'"


def test_a_large_value_whose_folder_was_thrown_away_is_not_called_stored(
    server: GdriveServer, login: Path
) -> None:
    storage = opened(server, login)
    step = storage.abilities.part_bytes
    data = b"x" * (step + 10)
    upload = storage.begin("deep/x", len(data))
    storage.put_part(upload, 0, 0, data[:step])
    server.find("my data")[0].is_trashed = True
    storage.put_part(upload, 1, step, data[step:])
    with pytest.raises(StorageRefusedError, match="thrown away"):
        storage.finish(upload, {0: "", 1: ""})
    again = storage.begin("deep/x", len(data), before=upload.id)
    for number in range(2):
        storage.put_part(again, number, number * step, data[number * step : (number + 1) * step])
    storage.finish(again, {0: "", 1: ""})
    assert read_all(storage, "deep/x") == data
