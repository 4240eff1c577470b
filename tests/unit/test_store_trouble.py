"""What an error of Spark's tells of a store, in the words of both S3 connectors; and what it does not."""

from __future__ import annotations

import pytest

from autoloader_server.engine.errors import AUTH, CONNECTIVITY
from autoloader_server.engine.store_trouble import Trouble, trouble

NEW_KEYS = "the store says that the keys have expired: give new ones in source.credentials, and run again"
REFUSED = (
    "the store refused Spark (400 Bad Request): the keys may have expired, or the region is another one; "
    "mend source.credentials, and run again"
)
REGION = "the bucket is in the region eu-central-1: set source.credentials.region to it, and run again"
AWAY = "the store does not answer Spark, or fails: run again when it is back"
TABLE = "the store of the table refuses Spark, or fails: see to the catalog, and run again"
UNREAD = "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file s3://b/x.\n\nJVM stacktrace:\n"

# Captured from Hadoop 3.3 (Spark 3.5) and 3.4 (Spark 4.1); shortened.
SAID = {
    "3.4, expired": (
        UNREAD + "Caused by: org.apache.hadoop.fs.s3a.AWSBadRequestException: open s3a://b/x at 0 on s3a://b/x: "
        "software.amazon.awssdk.services.s3.model.S3Exception: The provided token has expired. (Service: S3, Status "
        "Code: 400, Request ID: null):ExpiredToken: The provided token has expired.",
        Trouble(AUTH, NEW_KEYS),
    ),
    "3.4, a HEAD has no body": (
        (
            "(org.apache.hadoop.fs.s3a.AWSBadRequestException) getFileStatus on s3://b/x: "
            "software.amazon.awssdk.services."
            "s3.model.S3Exception: Bad Request (Service: S3, Status Code: 400, Request ID: null)"
        ),
        Trouble(AUTH, REFUSED),
    ),
    "3.4, another region": (
        (
            "(org.apache.hadoop.fs.s3a.AWSRedirectException) Received permanent redirect response to region "
            "[eu-central-1]."
            "  This likely indicates that the S3 region configured in fs.s3a.endpoint.region does not match"
        ),
        Trouble(CONNECTIVITY, REGION),
    ),
    "3.3, another region": (
        (
            "(org.apache.hadoop.fs.s3a.AWSRedirectException) getFileStatus on s3://b/x: "
            "com.amazonaws.services.s3.model."
            "AmazonS3Exception: The bucket is in this region: eu-central-1. Please use this region to retry"
        ),
        Trouble(CONNECTIVITY, REGION),
    ),
    "3.3, no answer": (
        (
            "(org.apache.hadoop.fs.s3a.AWSClientIOException) getFileStatus on s3://b/x: "
            "com.amazonaws.SdkClientException: "
            "Unable to execute HTTP request: The target server failed to respond"
        ),
        Trouble(CONNECTIVITY, AWAY),
    ),
    "3.4, throttled": (
        (
            "(org.apache.hadoop.fs.s3a.AWSServiceThrottledException) getFileStatus on s3://b/x: software.amazon.awssdk."
            "services.s3.model.S3Exception: Please reduce your request rate. (Service: S3, Status Code: 503)"
        ),
        Trouble(CONNECTIVITY, AWAY),
    ),
    "broken within an object": (
        UNREAD + "Caused by: org.apache.iceberg.aws.shaded.org.apache.http.ConnectionClosedException: Premature end of "
        "Content-Length delimited message body (expected: 10; received: 5)\n"
        "\tat org.apache.hadoop.fs.s3a.S3AInputStream.lambda$read$3(S3AInputStream.java:500)",
        Trouble(CONNECTIVITY, AWAY),
    ),
    "the table's own store": (
        (
            "(org.apache.iceberg.exceptions.RuntimeIOException)\nCaused by: software.amazon.awssdk.services.s3.model."
            "S3Exception: The provided token has expired. (Service: S3, Status Code: 400): ExpiredToken"
        ),
        Trouble(AUTH, TABLE),
    ),
    # A connection that Spark's own parts have lost is no store's.
    "broken elsewhere": ("Caused by: java.net.SocketException: Connection reset\n\tat org.apache.spark.rpc.X", None),
    "one object may not be read": (
        UNREAD + "Caused by: java.nio.file.AccessDeniedException: s3a://b/x: getFileStatus on s3a://b/x: com.amazonaws."
        "services.s3.model.AmazonS3Exception: Forbidden (Service: Amazon S3; Status Code: 403)",
        None,
    ),
    "damaged": (UNREAD + "Caused by: java.util.zip.ZipException: invalid block type", None),
    "a record that tells of it": (
        (
            "[MALFORMED_RECORD_IN_PARSING] Malformed records are detected in record parsing: [1,Unable to "
            "execute HTTP\n"
            "Caused by: org.apache.hadoop.fs.s3a.AWSClientIOException: Unable to execute HTTP request]."
        ),
        None,
    ),
    "a value that tells of it": (
        "[CAST_INVALID_INPUT] The value 'software.amazon.awssdk.services.s3.model.S3Exception: Status Code: 400' of",
        None,
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_a_store_is_told_from_a_file(name: str) -> None:
    text, wanted = SAID[name]
    assert trouble(text) == wanted
