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
from collections.abc import Iterator, Mapping
from typing import Any

from obstore.store import S3Store

from kist.base.shell import shell_line
from kist.remotes.cloud import TIMEOUT_S, CloudStorage, short
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
    "list versions": "s3:ListBucketVersions",
    "delete": "s3:DeleteObject",
}


def open_storage(place: Place) -> S3Storage:
    """Returns the storage at an address `s3://BUCKET/FOLDER`, or `oss://BUCKET/FOLDER`."""
    return S3Storage(place)


class S3Storage(CloudStorage):
    """A folder of a bucket."""

    def __init__(self, place: Place) -> None:
        if place.scheme == "oss":
            place = place._replace(options=_oss_options(place.options))
        parts = urllib.parse.urlsplit(place.url)
        able = Abilities(
            parts=True,
            part_bytes=5 << 20,
            resumes=True,
            deletes=1000,
            confirms=not (place.options.get("sse") or place.options.get("sse_customer_key")),
            streams=32,
            most_streams=96,
            versions=place.scheme == "s3",
        )
        super().__init__(place, bucket=parts.netloc, folder=urllib.parse.unquote(parts.path), abilities=able)
        self._lock = threading.Lock()
        self._client: Any = None

    # Connections

    @functools.cached_property
    def _session(self) -> Any:
        """botocore's session: profiles, environment, single sign-on, instance roles."""
        import botocore.session  # 0.4 s, and plain keys need none of it

        session = botocore.session.Session(profile=self.options.get("profile"))
        for option, variable in (("credentialpath", "credentials_file"), ("configpath", "config_file")):
            if self.options.get(option):
                session.set_config_variable(variable, self.options[option])
        return session

    @functools.cached_property
    def _endpoint(self) -> str | None:
        found = self.options.get("endpointurl")
        if found is None and not self._has_plain_keys:
            with self.translated("use", ""):
                found = self._session.get_scoped_config().get("endpoint_url")
        environ = self.place.environ
        return found or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")

    @property
    def _has_plain_keys(self) -> bool:
        if self.options.get("profile") or self.options.get("credentialpath"):
            return False
        if self.options.get("access_key_id") or self.is_anonymous:
            return True
        environ = self.place.environ
        return bool(
            environ.get("AWS_ACCESS_KEY_ID")
            and environ.get("AWS_SECRET_ACCESS_KEY")
            and not environ.get("AWS_PROFILE")
        )

    @functools.cached_property
    def _region(self) -> str:
        environ = self.place.environ
        found = self.options.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        if found is None and not self._has_plain_keys:
            found = self._session.get_config_variable("region")
        if found is None and self._endpoint is None:
            found = _region_of(self.bucket)
        return found or "us-east-1"

    def _credentials(self) -> dict[str, Any]:
        """Returns keys in obstore's words; asked again when they expire."""
        with self.translated("use", ""):
            found = self._session.get_credentials()
            frozen = found.get_frozen_credentials() if found is not None else None
        if frozen is None:
            profile = self.options.get("profile")
            raise StorageAuthError(
                f"cannot use remote '{self.name}': there are no credentials"
                + (
                    f" in profile '{profile}'"
                    if profile
                    else " in the configuration, the environment or ~/.aws"
                ),
                hint=shell_line("kist", "remote", "modify", "--local", self.name, "access_key_id", "ID")
                if not profile
                else shell_line("aws", "configure", "--profile", profile),
            )
        expires = getattr(found, "_expiry_time", None)
        if expires is None:
            expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token or None,
            "expires_at": expires.astimezone(datetime.UTC),  # no other kind of zone is taken
        }

    @functools.cached_property
    def store(self) -> Any:
        """As of CloudStorage."""
        options = self.options
        config: dict[str, Any] = {"region": self._region, "virtual_hosted_style_request": False}
        endpoint = self._endpoint
        is_plain = (options.get("use_ssl") or "").lower() == "false"
        if endpoint is not None:
            if "://" not in endpoint:
                endpoint = ("http://" if is_plain else "https://") + endpoint
            config["endpoint"] = endpoint.rstrip("/")
        provider = None
        if self.is_anonymous:
            config["skip_signature"] = True
        elif options.get("access_key_id"):
            config["access_key_id"] = options["access_key_id"]
            config["secret_access_key"] = options.get("secret_access_key", "")
            if options.get("session_token"):
                config["session_token"] = options["session_token"]
        elif self._has_plain_keys:
            environ = self.place.environ
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
        return S3Store(
            self.bucket,
            config=config,  # type: ignore[arg-type]
            client_options=self.client_options(),  # type: ignore[arg-type]
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

                options = self.options
                config = Config(
                    retries={"total_max_attempts": 1},
                    s3={"addressing_style": "path"} if self._endpoint else None,
                    max_pool_connections=self.abilities.most_streams,
                    connect_timeout=float(options.get("connect_timeout") or TIMEOUT_S),
                    read_timeout=float(options.get("read_timeout") or TIMEOUT_S),
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    signature_version=UNSIGNED if self.is_anonymous else None,
                )
                verify: str | bool = options.get("ssl_verify") or True
                if isinstance(verify, str) and verify.lower() in ("true", "false"):
                    verify = verify.lower() == "true"
                with self.translated("use", ""):
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
                    if self._endpoint is not None:
                        # botocore 1.40 asks for the bucket's region when it is redirected, is redirected again, and so
                        # on without end. Only AWS has regions to be sent to.
                        self._client.meta.events.register("before-call.s3", _stay_here)
            return self._client

    def permission(self, verb: str) -> str:
        """As of CloudStorage."""
        return _PERMISSIONS.get(verb, "s3:GetObject")

    def refusal(self, error: Exception, verb: str, key: str) -> Exception | None:
        """As of CloudStorage: what botocore raises, and what S3 says in its answers."""
        name, text = type(error).__name__, str(error)
        response = getattr(error, "response", None)
        if not isinstance(response, dict):
            response = {}
        code = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        profile = self.options.get("profile") or self.place.environ.get("AWS_PROFILE") or "default"
        if "SSO" in name or name == "TokenRetrievalError":
            return StorageAuthError(
                f"cannot use remote '{self.name}': the login of profile '{profile}' has expired",
                hint=shell_line("aws", "sso", "login", "--profile", profile),
            )
        if name == "ProfileNotFound":
            return StorageAuthError(
                f"cannot use remote '{self.name}': there is no profile '{profile}'",
                hint=shell_line("aws", "configure", "--profile", profile),
            )
        if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
            return StorageAuthError(f"cannot use remote '{self.name}': {text.rstrip('.')}")
        if "NoSuchBucket" in text:
            return StorageMissingError(
                f"cannot use remote '{self.name}': there is no bucket '{self.bucket}'",
                hint=shell_line("kist", "remote", "modify", self.name, "url", "s3://BUCKET/FOLDER"),
            )
        if status == 404 or code in ("NoSuchKey", "NoSuchUpload"):
            return StorageMissingError(f"cannot {verb} '{key}' of remote '{self.name}': it is not there")
        if status == 401 or any(word in text for word in _WRONG_KEYS):
            return StorageAuthError(
                f"cannot use remote '{self.name}': the service does not accept the keys",
                hint=shell_line("kist", "remote", "modify", "--local", self.name, "access_key_id", "ID"),
            )
        if name == "PermissionDeniedError" or status == 403:
            return StoragePermissionError(
                f"cannot {verb} '{key}' of remote '{self.name}': the keys are wrong, or lack '{self.permission(verb)}'"
                f" on bucket '{self.bucket}' (403)",
                hint="ask whoever owns the bucket for it",
            )
        if name in ("EndpointConnectionError", "ConnectTimeoutError"):
            return StorageUnreachableError(
                f"cannot reach remote '{self.name}' at '{self._endpoint or 'AWS'}'",
                hint="is the address right, and the network there?",
            )
        if type(error).__module__.startswith("botocore"):
            if status in (400, 405, 411, 413):
                return StorageRefusedError(f"cannot {verb} '{key}' of remote '{self.name}': {short(text)}")
            return StorageFailedError(f"cannot {verb} '{key}' of remote '{self.name}': {short(text)}")
        return None

    # Values

    def write(self, key: str, body: Body) -> Item:
        """As of Storage."""
        extra = self._extra_headers()
        if not extra:
            return super().write(key, body)
        data = b"".join(body.open())
        if len(data) != body.size:
            raise StorageFailedError(f"cannot write '{key}': its bytes changed while they were read")
        with self.translated("write", key):
            done = self._boto.put_object(Bucket=self.bucket, Key=self.path_of(key), Body=data, **extra)
        item = Item(key, body.size, tag=done.get("ETag"), version=done.get("VersionId"))
        self.compare(item, body)
        return item

    def compare(self, item: Item, body: Body) -> None:
        """As of CloudStorage; what the service encrypts has other tags."""
        if not self.options.get("sse") and not self.options.get("sse_customer_key"):
            super().compare(item, body)

    def _extra_headers(self) -> dict[str, str]:
        found = {
            name: self.options[option] for option, name in _EXTRA_HEADERS.items() if self.options.get(option)
        }
        if self.options.get("sse_customer_key"):
            found["SSECustomerKey"] = self.options["sse_customer_key"]
        if found or self.options.get("sse_customer_key"):
            for option, name in (("sse", "ServerSideEncryption"), ("sse_kms_key_id", "SSEKMSKeyId")):
                if self.options.get(option):
                    found[name] = self.options[option]
        return found

    # Versions

    @property
    def versions_hint(self) -> str:
        """As of VersionedStorage."""
        words = ["aws", "s3api", "put-bucket-versioning", "--bucket", self.bucket]
        if self._endpoint is not None:
            words += ["--endpoint-url", self._endpoint]
        return shell_line(*words, "--versioning-configuration", "Status=Enabled")

    def keeps_versions(self) -> bool | None:
        """As of VersionedStorage."""
        try:
            with self.translated("list", ""):
                found = self._boto.get_bucket_versioning(Bucket=self.bucket)
        except (StoragePermissionError, StorageRefusedError):
            return None
        return bool(found.get("Status") == "Enabled")

    def versions(self, prefix: str) -> Iterator[Item]:
        """As of VersionedStorage."""
        query: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.path_of(prefix)}
        while True:
            with self.translated("list versions", prefix):
                page = self._boto.list_object_versions(**query)
            for found in page.get("Versions", []):
                yield Item(
                    self._key(found["Key"]),
                    found["Size"],
                    tag=found.get("ETag"),
                    version=found["VersionId"],
                    modified_s=found["LastModified"].timestamp(),
                    is_latest=found["IsLatest"],
                )
            if not page.get("IsTruncated"):
                return
            query |= {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    # Parts

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """As of Storage: an upload that was begun for this key and size is found by a mark in its list of parts."""
        path = self.path_of(key)
        with self.translated("write", key):
            listed = self._boto.list_multipart_uploads(Bucket=self.bucket, Prefix=path)
            for found in listed.get("Uploads", []):
                if found["Key"] != path:
                    continue
                parts = self._parts(path, found["UploadId"])
                if sum(length for length, _ in parts.values()) <= size:
                    return Upload(key, found["UploadId"], parts)
            extra = self._extra_headers() or {
                name: self.options[option]
                for option, name in (("sse", "ServerSideEncryption"), ("sse_kms_key_id", "SSEKMSKeyId"))
                if self.options.get(option)
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
        with self.translated("write", upload.key):
            done = self._boto.upload_part(
                Bucket=self.bucket,
                Key=self.path_of(upload.key),
                UploadId=upload.id,
                PartNumber=number + 1,
                Body=data,
            )
        tag: str = done["ETag"]
        return tag

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        parts = [{"PartNumber": number + 1, "ETag": tags[number]} for number in sorted(tags)]
        with self.translated("write", upload.key):
            done = self._boto.complete_multipart_upload(
                Bucket=self.bucket,
                Key=self.path_of(upload.key),
                UploadId=upload.id,
                MultipartUpload={"Parts": parts},
            )
        version = done.get("VersionId")
        item = self.head_version(upload.key, version) if version else self.head(upload.key)
        if item is None:
            raise StorageFailedError(f"cannot write '{upload.key}': it is not there after its last part")
        return item._replace(version=version)

    def abort(self, upload: Upload) -> None:
        """As of Storage."""
        try:
            with self.translated("write", upload.key):
                self._boto.abort_multipart_upload(
                    Bucket=self.bucket, Key=self.path_of(upload.key), UploadId=upload.id
                )
        except StorageMissingError:
            pass

    def close(self) -> None:
        """Ends connections."""
        if self._client is not None:
            self._client.close()


def _stay_here(params: Mapping[str, Any], **_: object) -> None:
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


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
