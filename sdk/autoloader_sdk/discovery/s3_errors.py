"""What S3 answers, as errors that name the bucket and say what to do; nothing of what was sent is in them."""

from __future__ import annotations

import errno
import re

from autoloader_sdk.discovery.errors import SourceError, SourceForbidden, SourceMissing
from autoloader_sdk.discovery.s3_access import S3Access

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_REGION = re.compile(r"<Region>([\w-]+)</Region>|expecting '([\w-]+)'|x-amz-bucket-region: ([\w-]+)")

_KEYS = {
    "InvalidAccessKeyId": "the store does not know this aws_access_key_id",
    "SignatureDoesNotMatch": "aws_secret_access_key is not the one of this aws_access_key_id",
    "ExpiredToken": "the session token has expired (give a new one, with its keys)",
    "TokenRefreshRequired": "the session token has expired (give a new one, with its keys)",
    "InvalidToken": "aws_session_token is not valid (give it together with the keys that it was made for)",
    "InvalidClientTokenId": "the store does not know this aws_access_key_id",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "NotSignedUp": "the account of these keys is not signed up",
}
_REGIONS = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "Redirect"}


def code_of(text: str) -> str | None:
    """The error code in an answer, or the status where there is none (a HEAD has no body)."""
    found = _CODE.search(text) or _STATUS.search(text)
    return found[1] if found else None


def source_error(bucket: str, access: S3Access, code: str | None, text: str) -> SourceError:
    """Why a bucket could not be listed. `text` is searched for a region, and never shown as a whole."""
    where = f"s3://{bucket}"
    if code in _KEYS:
        return SourceForbidden(where, f"the bucket {bucket!r} refuses the credentials, since {_KEYS[code]}")
    if code in {"NoSuchBucket", "InvalidBucketName", "404"}:
        return SourceMissing(where, f"there is no bucket {bucket!r} at {access.where}: check source.path")
    if code in _REGIONS or "LOCATION" in text or code in {"301", "307"}:
        region = next((name for name in (_REGION.search(text) or re.match("", text)).groups() if name), None)  # type: ignore[union-attr]
        used = access.region or "us-east-1, since none is given"
        advice = f"set source.credentials.region to {region!r}" if region else "set source.credentials.region"
        return SourceError(where, f"the bucket {bucket!r} is in another region than {used}: {advice}")
    if code in {"AccessDenied", "AllAccessDisabled", "403", "401", "Unauthorized"}:
        return SourceForbidden(
            where,
            f"the bucket {bucket!r} may not be listed with these credentials: they need s3:ListBucket on it, and "
            "s3:GetObject on its objects",
        )
    if code is None:
        return SourceError(
            where,
            f"the bucket {bucket!r} could not be listed: {access.where} does not answer; check "
            "source.credentials.endpoint_url and the network",
        )
    return SourceError(where, f"the bucket {bucket!r} could not be listed: {access.where} answers {code}")


def object_error(error: BaseException, access: S3Access) -> OSError:
    """Why an object could not be read, as the error that `open` would raise for a file."""
    name, text = type(error).__name__, str(error)
    code = code_of(text)
    if isinstance(error, FileNotFoundError) or name == "NotFoundError":
        return FileNotFoundError(errno.ENOENT, "it is not there")
    if name in {"PermissionDeniedError", "UnauthenticatedError"} or code in {"401", "403", "AccessDenied", *_KEYS}:
        return PermissionError(errno.EACCES, _KEYS.get(code or "", "the credentials have no right to read it"))
    if name == "InvalidPathError":
        return FileNotFoundError(errno.ENOENT, "its key cannot be read")
    what = f"answers {code}" if code else "does not answer"
    return OSError(errno.EIO, f"{access.where} {what}")
