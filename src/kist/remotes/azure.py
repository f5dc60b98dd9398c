"""Azure Blob Storage.

Credentials: a connection string, an account's key, a SAS token, a service principal, or what Azure offers by itself
(managed identity, workload identity, `az login`). Not here: threads and retries (transfer.engine). Implements
docs/spec/storage.md. Source: DVC's option names.
"""

from __future__ import annotations

import functools
import urllib.parse
from typing import Any

from obstore.store import AzureStore

from kist.base.shell import shell_line
from kist.remotes.cloud import CloudStorage
from kist.remotes.storage import Abilities, Place, StorageAuthError, StorageMissingError

_PERMISSIONS = {
    "read": "Storage Blob Data Reader",
    "write": "Storage Blob Data Contributor",
    "list": "Storage Blob Data Reader",
    "delete": "Storage Blob Data Contributor",
}


def open_storage(place: Place) -> AzureStorage:
    """Returns the storage at an address `azure://CONTAINER/FOLDER`."""
    return AzureStorage(place)


class AzureStorage(CloudStorage):
    """A folder of a container."""

    kind = "container"

    def __init__(self, place: Place) -> None:
        parts = urllib.parse.urlsplit(place.url)
        able = Abilities(page=5000, deletes=100, streams=32, most_streams=96)
        super().__init__(place, bucket=parts.netloc, folder=urllib.parse.unquote(parts.path), abilities=able)

    def _setting(self, option: str, *variables: str) -> str | None:
        found = self.options.get(option)
        return found or next((value for name in variables if (value := self.place.environ.get(name))), None)

    @functools.cached_property
    def store(self) -> Any:
        """As of CloudStorage."""
        config: dict[str, Any] = {}
        account = self._setting("account_name", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
        key = self._setting("account_key", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
        token = self._setting("sas_token", "AZURE_STORAGE_SAS_TOKEN")
        text = self._setting("connection_string", "AZURE_STORAGE_CONNECTION_STRING")
        if text is not None:
            pairs = dict(part.split("=", 1) for part in text.strip().strip(";").split(";") if "=" in part)
            account = pairs.get("AccountName", account)
            key = pairs.get("AccountKey", key)
            token = pairs.get("SharedAccessSignature", token)
            if "BlobEndpoint" in pairs:
                config["endpoint"] = pairs["BlobEndpoint"].rstrip("/")
            elif "EndpointSuffix" in pairs and account:
                protocol = pairs.get("DefaultEndpointsProtocol", "https")
                config["endpoint"] = f"{protocol}://{account}.blob.{pairs['EndpointSuffix']}"
        if account is None:
            raise StorageAuthError(
                f"cannot use remote '{self.name}': no account is named",
                hint=shell_line("kist", "remote", "modify", self.name, "account_name", "ACCOUNT"),
            )
        config["account_name"] = account
        if self.is_anonymous:
            config["skip_signature"] = True
        elif key:
            config["account_key"] = key
        elif token:
            config["sas_key"] = token.lstrip("?")
        else:
            for option, variable in (
                ("tenant_id", "AZURE_TENANT_ID"),
                ("client_id", "AZURE_CLIENT_ID"),
                ("client_secret", "AZURE_CLIENT_SECRET"),
            ):
                value = self._setting(option, variable)
                if value:
                    config[option] = value
            if "client_secret" not in config and not self.place.environ.get("AZURE_FEDERATED_TOKEN_FILE"):
                config["use_azure_cli"] = not self.place.environ.get("IDENTITY_ENDPOINT")
        with self.translated("use", ""):
            return AzureStore(
                self.bucket,
                config=config,  # type: ignore[arg-type]
                client_options=self.client_options(),  # type: ignore[arg-type]
                retry_config={"max_retries": 0},
            )

    def permission(self, verb: str) -> str:
        """As of CloudStorage."""
        return _PERMISSIONS.get(verb, "Storage Blob Data Reader")

    def refusal(self, error: Exception, verb: str, key: str) -> Exception | None:
        """As of CloudStorage."""
        text = str(error)
        if "ContainerNotFound" in text or "The specified container does not exist" in text:
            return StorageMissingError(
                f"cannot use remote '{self.name}': there is no container '{self.bucket}'",
                hint=shell_line("kist", "remote", "modify", self.name, "url", "azure://CONTAINER/FOLDER"),
            )
        if (
            "AuthenticationFailed" in text
            or "az account get-access-token" in text
            or "azure cli" in text.lower()
        ):
            return StorageAuthError(
                f"cannot use remote '{self.name}': Azure does not accept the credentials, or there are none",
                hint="az login",
            )
        return None
