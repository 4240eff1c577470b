"""Paths, credentials and answers of S3, without a store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoloader_sdk.discovery.errors import SourceError, SourceForbidden, SourceMissing
from autoloader_sdk.discovery.s3 import S3Store
from autoloader_sdk.discovery.s3_access import S3Access, S3Path, current_keys, key_problem, s3_path
from autoloader_sdk.discovery.s3_errors import code_of, source_error

ACCESS = S3Access("key", "secret")


@pytest.mark.parametrize("scheme", ["s3", "s3a", "s3n", "S3A"])
def test_hadoops_schemes_are_one(scheme: str) -> None:
    assert str(s3_path(f"{scheme}://bucket/a%20b/ü")) == "s3://bucket/a%20b/ü"
    assert s3_path(f"{scheme}://bucket") == S3Path("bucket", "")


@pytest.mark.parametrize("path", ["s3:///a", "gs://bucket/a", "bucket/a"])
def test_a_path_without_a_bucket_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"source\.path"):
        s3_path(path)


@pytest.mark.parametrize("key", ["a//b", "/a", "a/./b", "../a", "a/..", "a\tb", "a\nb", "a\x7f"])
def test_a_key_that_spark_cannot_read_has_a_sentence_why(key: str) -> None:
    assert "rename the object" in (key_problem(key) or "")
    with pytest.raises(ValueError, match=r"source\.path"):
        S3Store(f"s3://bucket/{key}", ACCESS)


@pytest.mark.parametrize("key", ["", "a", "a/", "a:b", ".hidden/..x", "a b/[1]", "ü/%2F"])
def test_most_keys_have_no_problem(key: str) -> None:
    assert key_problem(key) is None


def test_no_repr_shows_a_secret() -> None:
    assert "hunter2" not in repr(S3Access("k", "hunter2", "hunter2token"))


def test_a_listing_is_taken_for_ordered_only_where_aws_promises_it() -> None:
    assert ACCESS.is_ordered("plain")
    assert not ACCESS.is_ordered("fast--use1-az4--x-s3")
    assert not S3Access("key", "secret", endpoint="https://minio.example.org").is_ordered("plain")


# Answers of AWS that no store on this machine gives.
ANSWERS = [
    ("<Error><Code>ExpiredToken</Code></Error>", SourceForbidden, "expired (give a new one"),
    ("<Error><Code>InvalidToken</Code></Error>", SourceForbidden, "aws_session_token is not valid"),
    ("<Error><Code>RequestTimeTooSkewed</Code></Error>", SourceForbidden, "clock"),
    ("status code: 403 Forbidden: ", SourceForbidden, "s3:ListBucket"),
    ("status code: 404 Not Found: <Code>NoSuchBucket</Code>", SourceMissing, "there is no bucket 'b'"),
    (
        "status code: 400: <Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>",
        SourceError,
        "is in another region than us-east-1, since none is given: set source.credentials.region to 'eu-west-1'",
    ),
    ("<Code>PermanentRedirect</Code>", SourceError, "set source.credentials.region"),
    ("Received redirect without LOCATION, this normally indicates", SourceError, "is in another region"),
    ("status code: 503: <Code>SlowDown</Code>", SourceError, "answers SlowDown"),
    ("error sending request", SourceError, "does not answer"),
]


@pytest.mark.parametrize(("text", "kind", "said"), ANSWERS)
def test_each_answer_is_a_sentence_that_names_the_bucket(text: str, kind: type[SourceError], said: str) -> None:
    error = source_error("b", ACCESS, code_of(text), text)
    assert type(error) is kind
    assert said in str(error)
    assert "'b'" in str(error)


def test_keys_that_renew_themselves_are_asked_for_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a program that gives keys for a while, as single sign-on and roles do; those of a file are read each time."""
    asked, program = tmp_path / "asked", tmp_path / "keys.sh"
    until = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    answer = {"Version": 1, "AccessKeyId": "k", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": until}
    program.write_text(f"echo once >> {asked}\necho '{json.dumps(answer)}'\n")
    (tmp_path / "config").write_text(f"[profile short]\ncredential_process = sh {program}\n")
    kept = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(kept))
    monkeypatch.setenv("AWS_PROFILE", "short")
    assert [current_keys(S3Access()) for _ in range(3)] == [("k", "s", "t")] * 3
    assert asked.read_text() == "once\n"
    monkeypatch.setenv("AWS_PROFILE", "kept")
    for secret in ("one", "another"):
        kept.write_text(f"[kept]\naws_access_key_id = k\naws_secret_access_key = {secret}\n")
        assert current_keys(S3Access()) == ("k", secret, None)
