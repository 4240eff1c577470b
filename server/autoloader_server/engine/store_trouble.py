"""What keeps Spark from an object store, whichever file it was about to read: no file is to blame for it."""

from __future__ import annotations

import re
from typing import NamedTuple

from autoloader_server.engine.errors import AUTH, CONNECTIVITY


class Trouble(NamedTuple):
    """A category of errors, and what is wrong and what to do."""

    category: str
    sentence: str


# By the S3 connectors of Hadoop 3.3 and 3.4, which are on two SDKs of Amazon's.
_OF_A_STORE = re.compile(r"\bs3a?\b|fs\.s3a|services\.s3|amazonaws|awssdk")
_EXPIRED = re.compile(r"ExpiredToken|TokenRefreshRequired|token has expired", re.IGNORECASE)
_ELSEWHERE = re.compile(r"AWSRedirectException|PermanentRedirect|Status Code: 301|AuthorizationHeaderMalformed")
_REGION = re.compile(r"region \[([a-z0-9-]+)\]|in this region: ([a-z0-9-]+)|expecting '([a-z0-9-]+)'")
_REFUSED = re.compile(r"AWSBadRequestException|Status Code: 400")
_AWAY = re.compile(
    r"Unable to execute HTTP request|NoHttpResponseException|AWSClientIOException|AWSServiceThrottledException|"
    r"AWSServiceIOException|AWSStatus500Exception|Status Code: 50\d|Connect to \S+ failed|ConnectTimeoutException"
)


def trouble(text: str) -> Trouble | None:
    """What an error of Spark's tells of a store; None of any other error, and where one object may be at fault."""
    if _OF_A_STORE.search(text) is None:
        return None
    if _EXPIRED.search(text):
        return Trouble(
            AUTH, "the store says that the keys have expired: give new ones in source.credentials, and run again"
        )
    if _ELSEWHERE.search(text):
        named = _REGION.search(text)
        region = next((name for name in named.groups() if name), None) if named else None
        where = f"in the region {region}" if region else "in another region"
        return Trouble(CONNECTIVITY, f"the bucket is {where}: set source.credentials.region to it, and run again")
    if _REFUSED.search(text):
        what = "the store refused Spark (400 Bad Request): the keys may have expired, or the region is another one"
        return Trouble(AUTH, f"{what}; mend source.credentials, and run again")
    if _AWAY.search(text):
        return Trouble(CONNECTIVITY, "the store does not answer Spark, or fails: run again when it is back")
    return None
