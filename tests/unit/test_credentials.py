"""A source's credentials: given or by reference, refused where they cannot work, and never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autoloader_sdk.models.source import Source
from autoloader_server.security.credentials import CredentialMissing, resolve
from autoloader_server.security.redact import MASK, redact
from autoloader_server.security.secrets import SecretBox

KEYS = {"aws_access_key_id": "AN-ACCESS-KEY", "aws_secret_access_key": "hunter2-hunter2"}


def source(**credentials: Any) -> Source:
    return Source.model_validate({"type": "s3", "path": "s3://bucket/x/", "credentials": credentials})


def test_references_are_followed_at_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("first-secret\n", encoding="utf-8")
    monkeypatch.setenv("THE_KEY", "key-of-the-environment")
    given = {
        "aws_access_key_id": {"env": "THE_KEY"},
        "aws_secret_access_key": {"file": str(file)},
        "region": "eu-west-1",
    }
    assert source(**given).credentials == given
    assert resolve(given) == {
        "aws_access_key_id": "key-of-the-environment",
        "aws_secret_access_key": "first-secret",
        "region": "eu-west-1",
    }
    file.write_text("second-secret", encoding="utf-8")
    assert resolve(given)["aws_secret_access_key"] == "second-secret"
    assert redact("first-secret second-secret key-of-the-environment eu-west-1") == f"{MASK} {MASK} {MASK} eu-west-1"


def test_a_reference_that_leads_nowhere_says_which_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(CredentialMissing, match=r"source\.credentials\.region refers to the variable 'NOT_THERE'"):
        resolve({"region": {"env": "NOT_THERE"}})
    with pytest.raises(
        CredentialMissing,
        match=r"source\.credentials\.region refers to the file .*none', which cannot be read: No such",
    ):
        resolve({"region": {"file": str(tmp_path / "none")}})
    (tmp_path / "empty").touch()
    with pytest.raises(CredentialMissing, match="holds no credential"):
        resolve({"region": {"file": str(tmp_path / "empty")}})
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(CredentialMissing, match="it is not text"):
        resolve({"region": {"file": str(tmp_path / "binary")}})


@pytest.mark.parametrize(
    ("credentials", "field", "said"),
    [
        ({"aws_acces_key_id": "x"}, "aws_acces_key_id", "did you mean 'aws_access_key_id'?"),
        ({"aws_access_key_id": "hunter2x"}, "aws_secret_access_key", "it belongs to aws_access_key_id"),
        ({"aws_secret_access_key": "hunter2x"}, "aws_access_key_id", "it belongs to aws_secret_access_key"),
        ({"aws_session_token": "hunter2x"}, "aws_access_key_id", "it belongs to aws_session_token"),
        ({"region": "hunter2x", "aws_region": "b"}, "aws_region", "something else than region"),
        ({"endpoint_url": "hunter2x:9000"}, "endpoint_url", "https://host:port"),
        ({"endpoint": "https://user:hunter2x@host"}, "endpoint", "https://host:port"),
        ({"region": 7}, "region", "text"),
        ({"region": {"env": ""}}, "region", "names no variable"),
        ({"region": {"file": "hunter2x"}}, "region", "absolute"),
        ({"region": {"vault": "hunter2x"}}, "region", 'a reference is {"env": "NAME"}'),
        ({"region": {"env": "A", "file": "/hunter2x"}}, "region", "and nothing else"),
    ],
)
def test_credentials_that_cannot_work_are_refused_where_they_are_given(
    credentials: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        source(**credentials)
    [error] = caught.value.errors()
    assert error["loc"] == ("credentials", field)
    assert said in error["msg"]
    assert "hunter2x" not in str(caught.value)


@pytest.mark.parametrize("path", ["s3://bucket//x", "s3a://bucket/a/../b", "s3://bucket/a\tb"])
def test_a_path_that_spark_cannot_read_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="which Spark can not read"):
        Source.model_validate({"type": "s3", "path": path})


def test_what_is_encrypted_is_what_was_given_and_only_secrets_are_masked(tmp_path: Path) -> None:
    given = {**KEYS, "endpoint_url": "https://store.example.org", "aws_session_token": {"env": "TOKEN_VARIABLE"}}
    box = SecretBox(None, tmp_path / "secrets.key")
    assert box.decrypt(box.encrypt(given)) == given
    assert redact(f"{KEYS['aws_secret_access_key']} https://store.example.org TOKEN_VARIABLE") == (
        f"{MASK} https://store.example.org TOKEN_VARIABLE"
    )
