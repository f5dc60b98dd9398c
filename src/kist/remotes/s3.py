"""S3 and what speaks its protocol, Alibaba OSS included.

Single requests go through obstore, a tenth of the processor time of botocore's; botocore resolves profiles and single
sign-on, and writes large values in parts that can be continued. Not here: threads and retries (transfer.engine).
Implements docs/spec/storage.md. Source: DVC's option names; AWS's API reference of S3.
"""

from __future__ import annotations

import datetime
import functools
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import obstore
from obstore.store import S3Store

from kist.errors import KistError
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    Place,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StoragePermissionError,
    StorageRefusedError,
    StorageUnreachableError,
    Upload,
)

_WHOLE_BYTES = 16 << 20
_BLOCK_BYTES = 8 << 20
_TIMEOUT_S = 30.0
_WRONG_KEYS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AuthorizationHeader",
)
_EXTRA_HEADERS = {
    "acl": "ACL",
    "grant_read": "GrantRead",
    "grant_read_acp": "GrantReadACP",
    "grant_write_acp": "GrantWriteACP",
    "grant_full_control": "GrantFullControl",
    "sse_customer_algorithm": "SSECustomerAlgorithm",
}
_PERMISSIONS = {
    "read": "s3:GetObject",
    "write": "s3:PutObject",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}


def open_storage(place: Place) -> S3Storage:
    """Returns the storage at an address `s3://BUCKET/FOLDER`, or `oss://BUCKET/FOLDER`."""
    return S3Storage(place)


class S3Storage:
    """A folder of a bucket."""

    def __init__(self, place: Place) -> None:
        parts = urllib.parse.urlsplit(place.url)
        self.name = place.name
        self.url = place.url
        self.bucket = parts.netloc
        self._folder = urllib.parse.unquote(parts.path).strip("/")
        self._options = _oss_options(place.options) if place.scheme == "oss" else dict(place.options)
        self._place = place
        self._lock = threading.Lock()
        self._client: Any = None
        self.abilities = Abilities(
            parts=True, part_bytes=5 << 20, resumes=True, deletes=1000, streams=32, most_streams=96
        )
        if not self.bucket:
            raise StorageRefusedError(
                f"cannot use remote '{self.name}': its address names no bucket",
                hint=f"kist remote modify {self.name} url s3://BUCKET/FOLDER",
            )

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}" if self._folder else key

    def _key(self, path: str) -> str:
        return path[len(self._folder) + 1 :] if self._folder else path

    # Connections

    @functools.cached_property
    def _session(self) -> Any:
        """botocore's session: profiles, environment, single sign-on, instance roles."""
        import botocore.session  # 0.4 s, and plain keys need none of it

        session = botocore.session.Session(profile=self._options.get("profile"))
        for option, variable in (("credentialpath", "credentials_file"), ("configpath", "config_file")):
            if self._options.get(option):
                session.set_config_variable(variable, self._options[option])
        return session

    @functools.cached_property
    def _endpoint(self) -> str | None:
        found = self._options.get("endpointurl")
        if found is None and not self._has_plain_keys:
            with self._translated("use", ""):
                found = self._session.get_scoped_config().get("endpoint_url")
        environ = self._place.environ
        return found or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")

    @property
    def _has_plain_keys(self) -> bool:
        if self._options.get("profile") or self._options.get("credentialpath"):
            return False
        if self._options.get("access_key_id") or self._is_anonymous:
            return True
        environ = self._place.environ
        return bool(
            environ.get("AWS_ACCESS_KEY_ID")
            and environ.get("AWS_SECRET_ACCESS_KEY")
            and not environ.get("AWS_PROFILE")
        )

    @property
    def _is_anonymous(self) -> bool:
        return (self._options.get("allow_anonymous_login") or "").lower() == "true"

    @functools.cached_property
    def _region(self) -> str:
        environ = self._place.environ
        found = self._options.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        if found is None and not self._has_plain_keys:
            found = self._session.get_config_variable("region")
        if found is None and self._endpoint is None:
            found = _region_of(self.bucket)
        return found or "us-east-1"

    def _credentials(self) -> dict[str, Any]:
        """Returns keys in obstore's words; asked again when they expire."""
        with self._translated("use", ""):
            found = self._session.get_credentials()
            frozen = found.get_frozen_credentials() if found is not None else None
        if frozen is None:
            profile = self._options.get("profile")
            raise StorageAuthError(
                f"cannot use remote '{self.name}': there are no credentials"
                + (
                    f" in profile '{profile}'"
                    if profile
                    else " in the configuration, the environment or ~/.aws"
                ),
                hint=f"kist remote modify --local {self.name} access_key_id ID"
                if not profile
                else f"aws configure --profile {profile}",
            )
        expires = getattr(found, "_expiry_time", None)
        if expires is None:
            expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires,
        }

    @functools.cached_property
    def _store(self) -> Any:
        options = self._options
        config: dict[str, Any] = {"region": self._region, "virtual_hosted_style_request": False}
        endpoint = self._endpoint
        is_plain = (options.get("use_ssl") or "").lower() == "false"
        if endpoint is not None:
            if "://" not in endpoint:
                endpoint = ("http://" if is_plain else "https://") + endpoint
            config["endpoint"] = endpoint.rstrip("/")
        provider = None
        if self._is_anonymous:
            config["skip_signature"] = True
        elif options.get("access_key_id"):
            config["access_key_id"] = options["access_key_id"]
            config["secret_access_key"] = options.get("secret_access_key", "")
            if options.get("session_token"):
                config["session_token"] = options["session_token"]
        elif self._has_plain_keys:
            environ = self._place.environ
            config["access_key_id"] = environ["AWS_ACCESS_KEY_ID"]
            config["secret_access_key"] = environ["AWS_SECRET_ACCESS_KEY"]
            if environ.get("AWS_SESSION_TOKEN"):
                config["session_token"] = environ["AWS_SESSION_TOKEN"]
        else:
            provider = self._credentials
            provider()  # so that what is wrong with them is said in our words
        if options.get("sse"):
            config["server_side_encryption"] = options["sse"]
        if options.get("sse_kms_key_id"):
            config["sse_kms_key_id"] = options["sse_kms_key_id"]
        client: dict[str, Any] = {
            "timeout": datetime.timedelta(hours=1),
            "connect_timeout": datetime.timedelta(
                seconds=float(options.get("connect_timeout") or _TIMEOUT_S)
            ),
            "read_timeout": datetime.timedelta(seconds=float(options.get("read_timeout") or _TIMEOUT_S)),
            "user_agent": "kist",
            "allow_http": True,
        }
        verify = options.get("ssl_verify")
        if verify is not None and verify.lower() == "false":
            client["allow_invalid_certificates"] = True
        elif verify is not None and verify.lower() != "true":
            with open(verify, "rb") as stream:
                client["root_certificate"] = stream.read()
        return S3Store(
            self.bucket,
            config=config,  # type: ignore[arg-type]
            client_options=client,  # type: ignore[arg-type]
            retry_config={"max_retries": 0},
            credential_provider=provider,  # type: ignore[arg-type]
        )

    @property
    def _boto(self) -> Any:
        """botocore's client, for what obstore cannot do."""
        with self._lock:
            if self._client is None:
                from botocore import UNSIGNED
                from botocore.config import Config

                options = self._options
                config = Config(
                    retries={"total_max_attempts": 1},
                    s3={"addressing_style": "path"} if self._endpoint else None,
                    max_pool_connections=self.abilities.most_streams,
                    connect_timeout=float(options.get("connect_timeout") or _TIMEOUT_S),
                    read_timeout=float(options.get("read_timeout") or _TIMEOUT_S),
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    signature_version=UNSIGNED if self._is_anonymous else None,
                )
                verify: str | bool = options.get("ssl_verify") or True
                if isinstance(verify, str) and verify.lower() in ("true", "false"):
                    verify = verify.lower() == "true"
                with self._translated("use", ""):
                    self._client = self._session.create_client(
                        "s3",
                        region_name=self._region,
                        endpoint_url=self._endpoint,
                        use_ssl=(options.get("use_ssl") or "").lower() != "false",
                        verify=verify,
                        aws_access_key_id=options.get("access_key_id"),
                        aws_secret_access_key=options.get("secret_access_key"),
                        aws_session_token=options.get("session_token"),
                        config=config,
                    )
            return self._client

    def _translated(self, verb: str, key: str) -> _Translated:
        return _Translated(self, verb, key)

    # Values

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        try:
            with self._translated("read", key):
                found = obstore.head(self._store, self._path(key))
        except StorageMissingError:
            return None
        return self._item(found)

    def _item(self, found: Any) -> Item:
        return Item(
            self._key(found["path"]),
            found["size"],
            tag=found["e_tag"],
            version=found.get("version"),
            modified_s=found["last_modified"].timestamp(),
        )

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage."""
        # obstore lists folders: what follows the last "/" is compared here.
        folder = self._path(prefix.rpartition("/")[0]).strip("/")
        try:
            with self._translated("list", prefix):
                for page in obstore.list(self._store, folder or None, chunk_size=1000):
                    for found in page:
                        item = self._item(found)
                        if item.key.startswith(prefix):
                            yield item
        except StorageMissingError as error:
            if "bucket" in error.message:
                raise

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        with self._translated("read", key):
            if size is not None:
                data = (
                    bytes(obstore.get_range(self._store, self._path(key), start=first, length=size))
                    if size
                    else b""
                )
                if len(data) != size:
                    raise StorageFailedError(f"cannot read '{key}': {len(data)} bytes came of {size}")
                yield data
                return
            options: Any = {"range": {"offset": first}} if first else None
            found = obstore.get(self._store, self._path(key), options=options)
            expected = found.meta["size"] - first
            if expected <= _WHOLE_BYTES:
                data = bytes(found.bytes())
                if len(data) != expected:
                    raise StorageFailedError(f"cannot read '{key}': {len(data)} bytes came of {expected}")
                yield data
                return
            have = 0
            for block in found.stream(min_chunk_size=_BLOCK_BYTES):
                have += len(block)
                yield bytes(block)
            if have != expected:
                raise StorageFailedError(f"cannot read '{key}': {have} bytes came of {expected}")

    def write(self, key: str, body: Body) -> Item:
        """As of Storage."""
        data = b"".join(body.open())
        if len(data) != body.size:
            raise StorageFailedError(f"cannot write '{key}': its bytes changed while they were read")
        extra = self._extra_headers()
        with self._translated("write", key):
            if extra:
                done = self._boto.put_object(Bucket=self.bucket, Key=self._path(key), Body=data, **extra)
                tag, version = done.get("ETag"), done.get("VersionId")
            else:
                put = obstore.put(self._store, self._path(key), data, use_multipart=False)
                tag, version = put["e_tag"], put["version"]
        plain = (tag or "").strip('"')
        if (
            body.md5 is not None
            and len(plain) == 32
            and plain != body.md5.hex()
            and not self._options.get("sse")
        ):
            raise StorageFailedError(
                f"cannot write '{key}': the service stored other bytes (its ETag is {plain})"
            )
        return Item(key, body.size, tag=tag, version=version)

    def _extra_headers(self) -> dict[str, str]:
        found = {
            name: self._options[option]
            for option, name in _EXTRA_HEADERS.items()
            if self._options.get(option)
        }
        if self._options.get("sse_customer_key"):
            found["SSECustomerKey"] = self._options["sse_customer_key"]
        if found or self._options.get("sse_customer_key"):
            for option, name in (("sse", "ServerSideEncryption"), ("sse_kms_key_id", "SSEKMSKeyId")):
                if self._options.get(option):
                    found[name] = self._options[option]
        return found

    # Parts

    def begin(self, key: str, size: int) -> Upload:
        """As of Storage: an upload that was begun for this key and size is found by a mark in its list of parts."""
        path = self._path(key)
        with self._translated("write", key):
            listed = self._boto.list_multipart_uploads(Bucket=self.bucket, Prefix=path)
            for found in listed.get("Uploads", []):
                if found["Key"] != path:
                    continue
                parts = self._parts(path, found["UploadId"])
                if sum(length for length, _ in parts.values()) <= size:
                    return Upload(key, found["UploadId"], parts)
            extra = self._extra_headers() or {
                name: self._options[option]
                for option, name in (("sse", "ServerSideEncryption"), ("sse_kms_key_id", "SSEKMSKeyId"))
                if self._options.get(option)
            }
            made = self._boto.create_multipart_upload(Bucket=self.bucket, Key=path, **extra)
        return Upload(key, made["UploadId"], {})

    def _parts(self, path: str, upload_id: str) -> dict[int, tuple[int, str]]:
        parts: dict[int, tuple[int, str]] = {}
        marker = 0
        while True:
            page = self._boto.list_parts(
                Bucket=self.bucket, Key=path, UploadId=upload_id, PartNumberMarker=marker
            )
            for part in page.get("Parts", []):
                parts[part["PartNumber"] - 1] = (part["Size"], part["ETag"])
            if not page.get("IsTruncated"):
                return parts
            marker = page["NextPartNumberMarker"]

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """As of Storage."""
        with self._translated("write", upload.key):
            done = self._boto.upload_part(
                Bucket=self.bucket,
                Key=self._path(upload.key),
                UploadId=upload.id,
                PartNumber=number + 1,
                Body=data,
            )
        tag: str = done["ETag"]
        return tag

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        parts = [{"PartNumber": number + 1, "ETag": tags[number]} for number in sorted(tags)]
        with self._translated("write", upload.key):
            done = self._boto.complete_multipart_upload(
                Bucket=self.bucket,
                Key=self._path(upload.key),
                UploadId=upload.id,
                MultipartUpload={"Parts": parts},
            )
        item = self.head(upload.key)
        if item is None:
            raise StorageFailedError(f"cannot write '{upload.key}': it is not there after its last part")
        return item._replace(version=done.get("VersionId"))

    def abort(self, upload: Upload) -> None:
        """As of Storage."""
        try:
            with self._translated("write", upload.key):
                self._boto.abort_multipart_upload(
                    Bucket=self.bucket, Key=self._path(upload.key), UploadId=upload.id
                )
        except StorageMissingError:
            pass

    def delete(self, keys: Sequence[str]) -> None:
        """As of Storage."""
        with self._translated("delete", keys[0] if keys else ""):
            try:
                obstore.delete(self._store, [self._path(key) for key in keys])
            except FileNotFoundError:
                pass

    def close(self) -> None:
        """Ends connections."""
        if self._client is not None:
            self._client.close()


class _Translated:
    """Turns what obstore and botocore raise into our errors."""

    def __init__(self, storage: S3Storage, verb: str, key: str) -> None:
        self._storage = storage
        self._verb = verb
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (KistError, GeneratorExit)) or not isinstance(error, Exception):
            return
        raise self._error(error) from error

    def _error(self, error: Exception) -> Exception:
        storage, verb = self._storage, self._verb
        name, text = type(error).__name__, str(error)
        response = getattr(error, "response", None)
        code = str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
        status = (
            response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(response, dict) else 0
        )
        profile = storage._options.get("profile") or storage._place.environ.get("AWS_PROFILE") or "default"
        if "SSO" in name or name in ("TokenRetrievalError", "UnauthorizedSSOTokenError"):
            return StorageAuthError(
                f"cannot use remote '{storage.name}': the login of profile '{profile}' has expired",
                hint=f"aws sso login --profile {profile}",
            )
        if name == "ProfileNotFound":
            return StorageAuthError(
                f"cannot use remote '{storage.name}': there is no profile '{profile}'",
                hint=f"aws configure --profile {profile}",
            )
        if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
            return StorageAuthError(f"cannot use remote '{storage.name}': {text.rstrip('.')}")
        if "NoSuchBucket" in text or code == "NoSuchBucket":
            return StorageMissingError(
                f"cannot use remote '{storage.name}': there is no bucket '{storage.bucket}'",
                hint=f"make it, or: kist remote modify {storage.name} url s3://BUCKET/FOLDER",
            )
        if (
            isinstance(error, FileNotFoundError)
            or status == 404
            or code in ("NoSuchKey", "NoSuchUpload", "404")
        ):
            return StorageMissingError(
                f"cannot {verb} '{self._key}' of remote '{storage.name}': it is not there"
            )
        if name == "UnauthenticatedError" or status == 401 or any(word in text for word in _WRONG_KEYS):
            return StorageAuthError(
                f"cannot use remote '{storage.name}': the service does not accept the keys",
                hint=f"kist remote modify --local {storage.name} access_key_id ID",
            )
        if name == "PermissionDeniedError" or status == 403:
            permission = _PERMISSIONS.get(verb, "s3:GetObject")
            return StoragePermissionError(
                f"cannot {verb} '{self._key}' of remote '{storage.name}': the keys are wrong, or lack '{permission}'"
                f" on bucket '{storage.bucket}' (403)",
                hint="ask whoever owns the bucket for it",
            )
        if any(word in text for word in ("Connection refused", "dns error", "failed to lookup")) or name in (
            "EndpointConnectionError",
            "ConnectTimeoutError",
        ):
            return StorageUnreachableError(
                f"cannot reach remote '{storage.name}' at '{storage._endpoint or 'AWS'}'",
                hint="is the address right, and the network there?",
            )
        if name in ("InvalidPathError", "NotSupportedError") or status in (400, 405, 411, 413):
            return StorageRefusedError(
                f"cannot {verb} '{self._key}' of remote '{storage.name}': {_short(text)}"
            )
        return StorageFailedError(f"cannot {verb} '{self._key}' of remote '{storage.name}': {_short(text)}")


def _short(text: str) -> str:
    """Returns the first sentence or so of a library's message, on one line."""
    line = " ".join(text.split("\n\nDebug source:", maxsplit=1)[0].split())
    return line if len(line) <= 200 else line[:197] + "..."


def _region_of(bucket: str) -> str | None:
    """Returns the region that AWS says a bucket is in."""
    import urllib3

    try:
        answer = urllib3.request(
            "HEAD", f"https://{bucket}.s3.amazonaws.com", timeout=5.0, retries=False, redirect=False
        )
    except urllib3.exceptions.HTTPError:
        return None
    return answer.headers.get("x-amz-bucket-region")


def _oss_options(options: Mapping[str, str]) -> dict[str, str]:
    """Returns the options of an OSS remote in S3's words."""
    names = {
        "oss_key_id": "access_key_id",
        "oss_key_secret": "secret_access_key",
        "oss_endpoint": "endpointurl",
    }
    return {names.get(option, option): value for option, value in options.items()}
