"""Each set of credentials has a scheme of its own, and what it reads is known under s3:// all the same."""

from __future__ import annotations

import re

import pytest

from autoloader_sdk.discovery.s3_access import S3Access
from autoloader_server.spark.s3 import S3Reads, unalias

A = S3Access("key-a", "secret-a", endpoint="http://127.0.0.1:9000", region="eu-west-1")
OTHERS = [
    S3Access("key-b", "secret-a", endpoint="http://127.0.0.1:9000", region="eu-west-1"),
    S3Access("key-a", "secret-b", endpoint="http://127.0.0.1:9000", region="eu-west-1"),
    S3Access("key-a", "secret-a", "token", endpoint="http://127.0.0.1:9000", region="eu-west-1"),
    S3Access("key-a", "secret-a", endpoint="http://127.0.0.1:9001", region="eu-west-1"),
    S3Access("key-a", "secret-a", endpoint="http://127.0.0.1:9000"),
    S3Access(),
]


@pytest.mark.parametrize("other", OTHERS)
def test_other_credentials_have_another_scheme_and_the_same_ones_the_same(other: S3Access) -> None:
    assert S3Reads.of(A) == S3Reads.of(S3Access("key-a", "secret-a", endpoint=A.endpoint, region=A.region))
    assert S3Reads.of(A).scheme != S3Reads.of(other).scheme
    assert re.fullmatch(r"al[0-9a-f]{16}", S3Reads.of(other).scheme)


@pytest.mark.parametrize("path", ["s3://bucket/a b/%20/ü", "s3://s3/s3://x"])
def test_a_path_goes_there_and_back(path: str) -> None:
    reads = S3Reads.of(A)
    assert reads.path(path) == reads.scheme + path[2:]
    assert unalias(reads.path(path)) == path
    assert unalias(f"on {reads.path(path)}: AccessDenied") == f"on {path}: AccessDenied"


def test_the_options_are_those_of_the_credentials() -> None:
    options = S3Reads.of(A).options
    assert options[f"fs.{S3Reads.of(A).scheme}.impl"].endswith("S3AFileSystem")
    assert (options["fs.s3a.access.key"], options["fs.s3a.secret.key"]) == ("key-a", "secret-a")
    assert options["fs.s3a.connection.ssl.enabled"] == "false"
    assert "Simple" in options["fs.s3a.aws.credentials.provider"]
    with_token = S3Reads.of(OTHERS[2]).options
    assert "Temporary" in with_token["fs.s3a.aws.credentials.provider"]
    assert with_token["fs.s3a.session.token"] == "token"
    # The cluster's own identity, and its own idea of where S3 is.
    own = S3Reads.of(S3Access()).options
    assert not [name for name in own if "key" in name or "endpoint" in name or "provider" in name]
