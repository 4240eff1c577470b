"""Where S3 objects are and with what rights: one normal form for paths, one for credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from autoloader_sdk.discovery.errors import SourceForbidden

# Hadoop's names for the same store; on the wire, in the ledger and in the table it is always s3://.
_SCHEME = re.compile(r"s3[an]?://", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
DEFAULT_REGION = "us-east-1"


class S3Path(NamedTuple):
    """A bucket and a key, or the beginning of keys."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def s3_path(path: str) -> S3Path:
    """`s3://bucket/key`, also written `s3a://` or `s3n://`. The key is a raw name: nothing in it is decoded."""
    scheme = _SCHEME.match(path)
    if scheme is None:
        raise ValueError(f"source.path {path!r} is not a path of S3: it starts with s3://")
    bucket, _, key = path[scheme.end() :].partition("/")
    if not bucket:
        raise ValueError(f"source.path {path!r} names no bucket: write s3://bucket/folder/")
    return S3Path(bucket, key)


def key_problem(key: str) -> str | None:
    """Why Spark can not read an object of this key, as a sentence; None for nearly all."""
    segments = key.split("/")
    if "" in segments[:-1]:
        what = "an empty folder name (// or a / at its beginning)"
    elif "." in segments or ".." in segments:
        what = "a folder called . or .."
    elif _CONTROL.search(key):
        what = "a control character"
    else:
        return None
    return f"the key has {what} in it, which Spark can not read: rename the object"


@dataclass(frozen=True, slots=True)
class S3Access:
    """Keys, endpoint and region of a source. No keys: those of the environment, found as the AWS tools find them.

    Reprs and errors never show a secret.
    """

    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    region: str | None = None

    @classmethod
    def of(cls, credentials: Mapping[str, Any] | None) -> Self:
        """Read the contract's `source.credentials`, references resolved; the environment tells what they leave out.

        Keys come as a pair or not at all (the models see to it): none of the environment's is mixed with given ones.
        """
        given = {name: str(value) for name, value in (credentials or {}).items() if value not in (None, "")}
        endpoint = given.get("endpoint_url") or given.get("endpoint") or _environment("AWS_ENDPOINT_URL_S3")
        region = given.get("region") or given.get("aws_region") or _environment("AWS_REGION")
        return cls(
            access_key_id=given.get("aws_access_key_id"),
            secret_access_key=given.get("aws_secret_access_key"),
            session_token=given.get("aws_session_token"),
            endpoint=(endpoint or _environment("AWS_ENDPOINT_URL") or "").rstrip("/") or None,
            region=region or _environment("AWS_DEFAULT_REGION"),
        )

    def with_keys(self, keys: Keys) -> Self:
        """The same store with these keys."""
        return replace(
            self,
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            session_token=keys.token,
        )

    @property
    def has_keys(self) -> bool:
        """Whether keys are given, and need not be looked for."""
        return self.access_key_id is not None

    @property
    def where(self) -> str:
        """The store, for an error message."""
        return re.sub(r"//[^/@]*@", "//", self.endpoint) if self.endpoint else "Amazon S3"

    def is_ordered(self, bucket: str) -> bool:
        """Whether listings come in the order of their keys' bytes.

        Known of general purpose buckets of AWS; not of its directory buckets, and of other stores nobody can tell.
        """
        return self.endpoint is None and not bucket.endswith("--x-s3")


class Keys(NamedTuple):
    """What signs a request."""

    access_key_id: str
    secret_access_key: str
    token: str | None


# Keys that renew themselves shortly before they expire (a role, single sign-on), and a hash of where they were found:
# asked for anew, a role would give others each time, and Spark keeps a client for each.
_renewing: tuple[int, Any] | None = None


def _own_credentials() -> Any:
    """What botocore finds in the environment, or None."""
    import botocore.credentials
    import botocore.session

    global _renewing  # noqa: PLW0603 - one process has one identity of its own
    place = _own_place()
    if _renewing is not None and _renewing[0] == place:
        return _renewing[1]
    found = botocore.session.get_session().get_credentials()
    _renewing = (place, found) if isinstance(found, botocore.credentials.RefreshableCredentials) else None
    return found


def _own_place() -> int:
    """A hash of what tells botocore where the keys are: variables, and the state of its two files."""
    files = []
    for name, usual in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
        try:
            found = Path(os.environ.get(name, f"~/.aws/{usual}")).expanduser().stat()
        except (OSError, RuntimeError):
            files.append((0, 0))
        else:
            files.append((found.st_mtime_ns, found.st_size))
    variables = sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_") or name == "HOME")
    return hash((*files, *variables))


def current_keys(access: S3Access) -> Keys:
    """The given keys, or those of the environment at this moment (variables, profile, SSO, role of the machine).

    Raises SourceForbidden where there are none.
    """
    if access.access_key_id is not None:
        return Keys(access.access_key_id, access.secret_access_key or "", access.session_token)
    import botocore.exceptions

    why = "there are none in its environment"
    try:
        found = _own_credentials()
        frozen = found.get_frozen_credentials() if found is not None else None
    except botocore.exceptions.BotoCoreError as error:
        frozen, why = None, str(error)
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        raise SourceForbidden(
            access.where,
            f"no credentials are given for {access.where} and the service has none of its own ({why}): set "
            "source.credentials.aws_access_key_id and aws_secret_access_key",
        )
    return Keys(frozen.access_key, frozen.secret_key, frozen.token)


def _environment(name: str) -> str | None:
    return os.environ.get(name) or None
