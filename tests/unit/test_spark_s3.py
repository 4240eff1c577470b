"""Each set of credentials has a scheme of its own, and what it reads is known under s3:// all the same."""

from __future__ import annotations

import re

import pytest

from autoloader_sdk.discovery.s3_access import S3Access
from autoloader_sdk.models.source import Source
from autoloader_server.engine.place import Place
from autoloader_server.security.redact import redact
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


@pytest.mark.parametrize("token", [None, "a token for a while"])
def test_the_services_own_keys_are_for_the_local_spark_alone_and_shown_nowhere(
    token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the service's own secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    source = Source.model_validate({"type": "s3", "path": "s3://bucket/"})

    def place(credentials: dict[str, str], *, local: bool) -> Place:
        return Place.of(source, lambda: credentials, print, spark_is_local=local)

    elsewhere = place({}, local=False).options
    assert not {"fs.s3a.access.key", "fs.s3a.secret.key", "fs.s3a.session.token"} & elsewhere.keys()
    given = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    assert place(given, local=True).options["fs.s3a.access.key"] == "k"
    own = place({}, local=True)
    assert own.options["fs.s3a.access.key"] == "own-key"
    assert own.options.get("fs.s3a.session.token") == token
    kind = "Simple" if token is None else "Temporary"
    assert own.options["fs.s3a.aws.credentials.provider"].endswith(f".{kind}AWSCredentialsProvider")
    for secret in ("the service's own secret", *([token] if token else [])):
        assert secret not in repr(own)
        assert secret not in redact(f"Map(fs.s3a.secret.key -> {secret})")


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
