"""What keeps Spark from an object store, whichever file it was about to read: no file is to blame for it."""

from __future__ import annotations

import re
from typing import NamedTuple

from autoloader_server.engine.errors import AUTH, CONNECTIVITY


class Trouble(NamedTuple):
    """A category of errors, and what is wrong and what to do."""

    category: str
    sentence: str


# Lines that begin with an exception of the S3 connectors of Hadoop 3.3 and 3.4 or of the two SDKs of Amazon's that they
# are on: what else an error tells may be out of the files.
_OF_A_STORE = re.compile(
    r"^\s*(?:Caused by: |\()?(?:(?:org\.apache\.hadoop\.fs\.s3a|software\.amazon\.awssdk|com\.amazonaws)[\w.]*\b.*|"
    # Of no keys at all it is said as if a file were closed.
    r"java\.nio\.file\.AccessDeniedException\b.*: org\.apache\.hadoop\.fs\.s3a\.auth\.NoAuthWithAWSException: .*)$",
    re.MULTILINE,
)
# A connection that breaks within an object has an exception of Java's own; the frames tell who was reading.
_BROKEN = re.compile(
    r"^\s*(?:Caused by: |\()?\S*\b(?:SocketException|SocketTimeoutException|SSLException|ConnectionClosedException|"
    r"NoHttpResponseException)\b",
    re.MULTILINE,
)
_READING = "at org.apache.hadoop.fs.s3a."
# A record that was parsed had been read.
_PARSED = re.compile(r"MALFORMED_|BadRecordException")
_EXPIRED = re.compile(r"ExpiredToken|TokenRefreshRequired|token has expired", re.IGNORECASE)
_NO_KEYS = re.compile(
    r"NoAuthWithAWSException|NoAwsCredentialsException|No AWS Credentials provided|Unable to load (?:AWS )?credentials"
)
_ELSEWHERE = re.compile(r"AWSRedirectException|PermanentRedirect|Status Code: 301|AuthorizationHeaderMalformed")
_REGION = re.compile(r"region \[([a-z0-9-]+)\]|in this region: ([a-z0-9-]+)|expecting '([a-z0-9-]+)'")
_REFUSED = re.compile(r"AWSBadRequestException|Status Code: 400")
_AWAY = re.compile(
    r"Unable to execute HTTP request|AWSClientIOException|AWSServiceThrottledException|AWSServiceIOException|"
    r"AWSStatus500Exception|Status Code: 50\d"
)
_NO_ANSWER = Trouble(CONNECTIVITY, "the store does not answer Spark, or fails: run again when it is back")


def trouble(text: str) -> Trouble | None:
    """What an error of Spark's tells of a store; None of any other error, and where one object may be at fault."""
    if _PARSED.search(text):
        return None
    found = _told_by("\n".join(line[0] for line in _OF_A_STORE.finditer(text)))
    if found is None and _READING in text and _BROKEN.search(text):
        found = _NO_ANSWER
    if found is not None and "fs.s3a" not in text:
        # Iceberg's own way to a store, which no source is read by.
        sentence = "the store of the table refuses Spark, or fails: see to the catalog, and run again"
        return found._replace(sentence=sentence)
    return found


def _told_by(said: str) -> Trouble | None:
    if _EXPIRED.search(said):
        return Trouble(
            AUTH, "the store says that the keys have expired: give new ones in source.credentials, and run again"
        )
    if _NO_KEYS.search(said):
        what = "Spark has no keys for the store, which the service has: give source.credentials, or give the cluster's"
        return Trouble(AUTH, f"{what} Spark keys of its own, and run again")
    if _ELSEWHERE.search(said):
        named = _REGION.search(said)
        region = next((name for name in named.groups() if name), None) if named else None
        where = f"in the region {region}" if region else "in another region"
        return Trouble(CONNECTIVITY, f"the bucket is {where}: set source.credentials.region to it, and run again")
    if _REFUSED.search(said):
        what = "the store refused Spark (400 Bad Request): the keys may have expired, or the region is another one"
        return Trouble(AUTH, f"{what}; mend source.credentials, and run again")
    return _NO_ANSWER if _AWAY.search(said) else None
