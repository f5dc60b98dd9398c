"""Which sections and options a configuration may have, and what their values look like.

Data and pure checks; no file names, no levels. Implements docs/spec/config.md, section 5. Source: DVC 3.67.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kist.formats.config import NAMED_KINDS, SectionKey, Value

TEXT = "text"
BOOL = "bool"
INT = "int"
POSITIVE = "positive"
LINKS = "links"
BOOL_OR_TEXT = "bool-or-text"
# An option of DVC whose type no text passes: whoever writes it makes every command of DVC fail.
IMPOSSIBLE = "impossible"

Type = str | tuple[str, ...]
"""One of the constants above, or the words to choose from."""

LINK_TYPES = ("reflink", "hardlink", "symlink", "copy")

PLAIN: dict[str, dict[str, Type]] = {
    "core": {
        "remote": TEXT,
        "checksum_jobs": POSITIVE,
        "interactive": BOOL,
        "analytics": BOOL,
        "hardlink_lock": BOOL,
        "no_scm": BOOL,
        "autostage": BOOL,
        "experiments": BOOL,
        "check_update": BOOL,
        "site_cache_dir": TEXT,
        "machine": TEXT,
    },
    "cache": {
        "dir": TEXT,
        "type": LINKS,
        "shared": ("group",),
        "slow_link_warning": BOOL,
        "verify": BOOL,
        "protected": BOOL,
        "local": TEXT,
        "s3": TEXT,
        "gs": TEXT,
        "hdfs": TEXT,
        "webhdfs": TEXT,
        "ssh": TEXT,
        "azure": TEXT,
    },
    "plots": {"html_template": TEXT, "auto_open": BOOL, "out_dir": TEXT},
    "exp": {
        "code": TEXT,
        "data": TEXT,
        "models": TEXT,
        "metrics": TEXT,
        "params": TEXT,
        "plots": TEXT,
        "live": TEXT,
        "auto_push": BOOL,
        "git_remote": TEXT,
    },
    "parsing": {"bool": ("store_true", "boolean_optional"), "list": ("nargs", "append")},
    "hydra": {
        "enabled": BOOL,
        "config_dir": TEXT,
        "config_module": TEXT,
        "config_name": TEXT,
        "plugins_path": TEXT,
    },
    "studio": {"token": TEXT, "url": TEXT, "repo_url": TEXT, "offline": BOOL},
    "feature": {"machine": BOOL},
    "state": {"dir": TEXT, "row_limit": INT, "row_cleanup_quota": INT},
    "index": {"dir": TEXT},
}


def _texts(*names: str) -> dict[str, Type]:
    return dict.fromkeys(names, TEXT)


_COMMON: dict[str, Type] = {
    "url": TEXT,
    "jobs": POSITIVE,
    "checksum_jobs": POSITIVE,
    "no_traverse": BOOL,
    "worktree": BOOL,
    "version_aware": BOOL,
    "verify": BOOL,
}
_LOCAL: dict[str, Type] = {"type": LINKS, "protected": BOOL, "shared": ("group",), "slow_link_warning": BOOL}
_HTTP: dict[str, Type] = {
    "auth": ("basic", "digest", "custom"),
    "custom_auth_header": TEXT,
    "user": TEXT,
    "password": TEXT,
    "ask_password": BOOL,
    "ssl_verify": BOOL_OR_TEXT,
    "method": TEXT,
    "connect_timeout": INT,
    "read_timeout": INT,
}
_WEBDAV: dict[str, Type] = {
    "user": TEXT,
    "password": TEXT,
    "ask_password": BOOL,
    "token": TEXT,
    "bearer_token_command": TEXT,
    "custom_auth_header": TEXT,
    "cert_path": TEXT,
    "key_path": TEXT,
    "timeout": INT,
    "ssl_verify": BOOL_OR_TEXT,
}
_S3: dict[str, Type] = {
    **_texts(
        "region",
        "profile",
        "credentialpath",
        "configpath",
        "endpointurl",
        "access_key_id",
        "secret_access_key",
        "session_token",
        "sse",
        "sse_kms_key_id",
        "sse_customer_algorithm",
        "sse_customer_key",
        "acl",
        "grant_read",
        "grant_read_acp",
        "grant_write_acp",
        "grant_full_control",
    ),
    "listobjects": BOOL,
    "use_ssl": BOOL,
    "allow_anonymous_login": BOOL,
    "ssl_verify": BOOL_OR_TEXT,
    "cache_regions": IMPOSSIBLE,
    "read_timeout": INT,
    "connect_timeout": INT,
}
_GS: dict[str, Type] = {
    "projectname": TEXT,
    "credentialpath": TEXT,
    "endpointurl": TEXT,
    "allow_anonymous_login": BOOL,
}
_AZURE: dict[str, Type] = {
    **_texts(
        "connection_string",
        "sas_token",
        "account_name",
        "account_key",
        "tenant_id",
        "client_id",
        "client_secret",
    ),
    "allow_anonymous_login": BOOL,
    "exclude_environment_credential": BOOL,
    "exclude_visual_studio_code_credential": BOOL,
    "exclude_shared_token_cache_credential": BOOL,
    "exclude_managed_identity_credential": BOOL,
    "timeout": INT,
    "read_timeout": INT,
    "connection_timeout": INT,
}
_SSH: dict[str, Type] = {
    "type": LINKS,
    "port": INT,
    "user": TEXT,
    "password": TEXT,
    "ask_password": BOOL,
    "passphrase": TEXT,
    "ask_passphrase": BOOL,
    "keyfile": TEXT,
    "timeout": INT,
    "gss_auth": BOOL,
    "allow_agent": BOOL,
    "max_sessions": INT,
}
_HDFS: dict[str, Type] = {"user": TEXT, "kerb_ticket": TEXT, "replication": IMPOSSIBLE}
_WEBHDFS: dict[str, Type] = {
    "kerberos": BOOL,
    "kerberos_principal": TEXT,
    "proxy_to": TEXT,
    "ssl_verify": BOOL_OR_TEXT,
    "token": TEXT,
    "use_https": BOOL,
    "user": TEXT,
    "password": TEXT,
    "data_proxy_target": TEXT,
}
_OSS: dict[str, Type] = {"oss_key_id": TEXT, "oss_key_secret": TEXT, "oss_endpoint": TEXT}
_GDRIVE: dict[str, Type] = {
    "profile": TEXT,
    "gdrive_use_service_account": BOOL,
    "gdrive_client_id": TEXT,
    "gdrive_client_secret": TEXT,
    "gdrive_user_credentials_file": TEXT,
    "gdrive_service_account_user_email": TEXT,
    "gdrive_service_account_json_file_path": TEXT,
    "gdrive_trash_only": BOOL,
    "gdrive_acknowledge_abuse": BOOL,
}

LOCAL = "local"
REFERENCE = "remote"
SCHEMES: dict[str, dict[str, Type]] = {
    LOCAL: _LOCAL,
    "file": _LOCAL,
    "s3": _S3,
    "gs": _GS,
    "azure": _AZURE,
    "ssh": _SSH,
    "http": _HTTP,
    "https": _HTTP,
    "webdav": _WEBDAV,
    "webdavs": _WEBDAV,
    "hdfs": _HDFS,
    "webhdfs": _WEBHDFS,
    "oss": _OSS,
    "gdrive": _GDRIVE,
}
"""Options of remotes besides the common ones, by the scheme of their address."""

NAMED: dict[str, dict[str, Type]] = {"db": {"url": TEXT, "username": TEXT, "password": TEXT}}

IGNORED_SECTIONS = frozenset({"global", "aws", "gcp"})
IGNORED_OPTIONS = frozenset({("core", "cloud"), ("core", "loglevel")})
"""What only DVC 0.9 and older knew."""

PATH_OPTIONS = frozenset(
    {
        "keyfile",
        "credentialpath",
        "configpath",
        "cert_path",
        "key_path",
        "gdrive_user_credentials_file",
        "gdrive_service_account_json_file_path",
    }
)
"""Options of remotes that hold a path; so do `cache.dir` and an address without a scheme."""

SECRET_OPTIONS = frozenset(
    {
        "password",
        "passphrase",
        "token",
        "secret_access_key",
        "session_token",
        "sse_customer_key",
        "connection_string",
        "sas_token",
        "account_key",
        "client_secret",
        "oss_key_secret",
        "gdrive_client_secret",
    }
)


def scheme_of(url: str) -> str:
    """Returns the scheme of an address in lower case, or LOCAL for a path."""
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator else LOCAL


def is_path(key: SectionKey, option: str, value: Value) -> bool:
    """Returns whether the value of this option is a path that is relative to its file."""
    if not isinstance(value, str):
        return False
    if key.kind == "cache":
        return option == "dir"
    if key.kind != "remote":
        return False
    return option in PATH_OPTIONS or (option == "url" and scheme_of(value) == LOCAL)


def is_secret(key: SectionKey, option: str) -> bool:
    """Returns whether the value of this option must not be shown in messages, or shared."""
    return (key.kind in ("remote", "db") and option in SECRET_OPTIONS) or (key.kind, option) == (
        "studio",
        "token",
    )


def known_options(key: SectionKey, url: str | None = None) -> Mapping[str, Type] | None:
    """Returns the options of a section with their types, or None when anything may stand there.

    Args:
        url: the address of a remote, on which its options depend.
    """
    if key.kind == "remote":
        scheme = scheme_of(url) if url is not None else ""
        return {**_COMMON, **SCHEMES[scheme]} if scheme in SCHEMES else None
    if key.kind in NAMED_KINDS:
        return NAMED.get(key.kind)
    return PLAIN.get(key.kind)


def is_known_section(key: SectionKey) -> bool:
    """Returns whether a section of this kind may be in a file."""
    return key.kind in PLAIN or key.kind in NAMED_KINDS


def is_ignored(key: SectionKey, option: str) -> bool:
    """Returns whether an option is one of DVC 0.9, which means nothing any more."""
    return key.kind in IGNORED_SECTIONS or (key.kind, option) in IGNORED_OPTIONS


def value_problem(kind: Type, value: Value) -> str | None:
    """Returns what is expected instead of `value`, or None when it is right."""
    if kind == LINKS:
        wrong = [item for item in link_types(value) if item not in LINK_TYPES]
        return f"expected some of {', '.join(LINK_TYPES)}" if wrong else None
    if not isinstance(value, str):
        return "expected one value, not a list; put it into quotes if the comma belongs to it"
    if isinstance(kind, tuple):
        return None if value.lower() in kind else f"expected {' or '.join(kind)}"
    if kind == BOOL:
        return None if value.lower() in ("true", "false") else "expected true or false"
    if kind in (INT, POSITIVE):
        number = integer(value)
        if number is None:
            return "expected a whole number"
        return "expected 1 or more" if kind == POSITIVE and number < 1 else None
    return "no text in a file can give it the value that DVC asks for" if kind == IMPOSSIBLE else None


def integer(value: str) -> int | None:
    """Returns the whole number that a text says, or None."""
    try:
        return int(value)
    except ValueError:
        return None


def link_types(value: Value) -> tuple[str, ...]:
    """Returns the link types that `cache.type` names, in its order."""
    items: Iterable[str] = value.split(",") if isinstance(value, str) else value
    return tuple(item.strip() for item in items)
