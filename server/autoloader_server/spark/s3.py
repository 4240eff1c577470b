"""How Spark reads a source in S3 with that source's credentials, and with no other's.

Hadoop caches its file systems by scheme and bucket: after one read with A's keys, B's keys read A's bucket too. So each
set of credentials has a scheme of its own, made from a hash of them: `al3f9c…://bucket/key`, and a
rotated key gets a new one. What Spark tells of a file (`_metadata.file_path`, errors) is told with that scheme.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from autoloader_sdk.discovery.s3_access import DEFAULT_REGION, S3Access

_IMPLEMENTATION = "org.apache.hadoop.fs.s3a.S3AFileSystem"
_PROVIDERS = "org.apache.hadoop.fs.s3a"
ALIAS_LENGTH = 18
_ALIAS = re.compile(r"\bal[0-9a-f]{16}(?=://)")


@dataclass(frozen=True, slots=True)
class S3Reads:
    """What a reader is given: `options`, and paths under `scheme`."""

    scheme: str
    options: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, access: S3Access) -> Self:
        """For a source's access; without keys the cluster's own identity reads."""
        values = (access.access_key_id, access.secret_access_key, access.session_token, access.endpoint, access.region)
        seen = hashlib.sha256(repr(values).encode()).hexdigest()
        scheme = f"al{seen}"[:ALIAS_LENGTH]
        options = {
            f"fs.{scheme}.impl": _IMPLEMENTATION,
            # A store that is away is an error after seconds, and the run is tried again; by default after minutes.
            "fs.s3a.attempts.maximum": "3",
            "fs.s3a.retry.limit": "3",
        }
        if access.endpoint is not None:
            options |= {
                "fs.s3a.endpoint": access.endpoint,
                "fs.s3a.path.style.access": "true",
                "fs.s3a.connection.ssl.enabled": str(access.endpoint.startswith("https://")).lower(),
            }
        if region := access.region or (DEFAULT_REGION if access.endpoint else None):
            options["fs.s3a.endpoint.region"] = region
        if access.access_key_id is not None:
            kind = "TemporaryAWSCredentialsProvider" if access.session_token else "SimpleAWSCredentialsProvider"
            options |= {
                "fs.s3a.aws.credentials.provider": f"{_PROVIDERS}.{kind}",
                "fs.s3a.access.key": access.access_key_id,
                "fs.s3a.secret.key": access.secret_access_key or "",
            }
            if access.session_token:
                options["fs.s3a.session.token"] = access.session_token
        return cls(scheme, options)

    def path(self, path: str) -> str:
        """A path of the ledger, `s3://bucket/key`, as these reads take it; not escaped."""
        return self.scheme + path.removeprefix("s3")


def unalias(text: str) -> str:
    """A path or a message of Spark's with `s3` in the place of our schemes; no path is decoded."""
    return _ALIAS.sub("s3", text)
