"""Secrets at rest, in logs and in errors; who may listen where."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from autoloader_server.security.loopback import is_loopback
from autoloader_server.security.redact import MASK, RedactingFilter, Redactor, logger
from autoloader_server.security.secrets import SecretBox, SecretsKeyError

SECRET = "wJalrXUtnFEMI/K7MDENG+bPx=="
# What a secret may look like: no blanks, quotes or separators, or it is in quotes.
secrets = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="/+=-_.~!$%^*"), min_size=8)
names = st.sampled_from(
    [
        "password",
        "db_password",
        "PASSWORD",
        "token",
        "aws_secret_access_key",
        "fs.s3a.secret.key",
        "api-key",
        "sas",
    ]
)


@given(
    secret=secrets,
    name=names,
    form=st.sampled_from(["{n}={s}", "{n}: {s}", '"{n}": "{s}"', "{{'{n}': '{s}'}}", ";{n}={s};x=1"]),
)
def test_what_stands_beside_a_telling_name_is_masked(secret: str, name: str, form: str) -> None:
    text = "before " + form.format(n=name, s=secret) + " after"
    shown = Redactor()(text)
    assert MASK in shown
    assert secret not in shown.removeprefix("before ").removesuffix(" after").replace(name, "")
    assert shown.startswith("before ")
    assert shown.endswith("after")


@given(secret=st.text(min_size=6), before=st.text(), after=st.text())
def test_a_registered_value_is_masked_wherever_it_stands(secret: str, before: str, after: str) -> None:
    redact = Redactor()
    redact.register([secret])
    assert secret not in redact(f"{before}{secret}{after}").replace(MASK, "\0")
    assert json.dumps(secret)[1:-1] not in redact(json.dumps({"x": secret})).replace(MASK, "\0")
    assert repr(secret)[1:-1] not in redact(repr([secret])).replace(MASK, "\0")


@given(st.text())
def test_redacting_never_fails_and_redacting_again_changes_nothing(text: str) -> None:
    once = Redactor()(text)
    assert Redactor()(once) == once


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:p@ss@db/x", "postgresql://me:***@db/x"),
        ("sc://localhost:1/;token=abc;user_id=me", "sc://localhost:1/;token=***;user_id=me"),
        ("Authorization: Bearer abc.def", "Authorization: *** ***"),
        ("curl -H 'x: Bearer abc.def' y", "curl -H 'x: Bearer ***' y"),
        ("key AKIAABCDEFGHIJKLMNOP here", "key *** here"),
        ("https://a.blob/c?sv=1&sig=ab%2Fc&x=1", "https://a.blob/c?sv=1&sig=***&x=1"),
        ("the file /d/a.csv, line 3: 4 tokens expected", "the file /d/a.csv, line 3: 4 tokens expected"),
        ("s3://bucket/key.csv: not found", "s3://bucket/key.csv: not found"),
    ],
)
def test_usual_shapes(text: str, shown: str) -> None:
    assert Redactor()(text) == shown


def test_a_private_key_is_masked_whole() -> None:
    text = "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- b"
    assert Redactor()(text) == "a *** b"


def test_logged_secrets_and_tracebacks_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    log = logging.getLogger("a-program-of-ours")
    log.addHandler(handler)
    log.propagate = False
    try:
        int(f"password={SECRET}")
    except ValueError:
        log.exception("cannot connect with %s", f"token={SECRET}")
    assert SECRET not in stream.getvalue()
    assert "cannot connect with token=***" in stream.getvalue()
    assert "ValueError: invalid literal for int() with base 10: 'password=***" in stream.getvalue()
    logger("autoloader_server.test").error("token=%s", SECRET)
    assert SECRET not in caplog.text


def test_a_key_is_made_at_the_first_need_for_this_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "home" / "secrets.key"
    box = SecretBox(None, file)
    assert not file.exists()
    token = box.encrypt({"password": SECRET})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET.encode() not in token
    assert SecretBox(None, file).decrypt(token) == {"password": SECRET}
    assert list(file.parent.iterdir()) == [file]


def test_boxes_that_are_opened_at_once_make_one_key(tmp_path: Path) -> None:
    boxes = [SecretBox(None, tmp_path / "secrets.key") for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        tokens = list(pool.map(lambda box: box.encrypt({"a": "b"}), boxes))
    assert [boxes[0].decrypt(token) for token in tokens] == [{"a": "b"}] * 16


def test_another_key_is_a_clear_error(tmp_path: Path) -> None:
    token = SecretBox(None, tmp_path / "a").encrypt({"password": SECRET})
    with pytest.raises(SecretsKeyError, match="another key") as caught:
        SecretBox(SecretStr(Fernet.generate_key().decode()), tmp_path / "b").decrypt(token)
    assert SECRET not in str(caught.value)
    with pytest.raises(SecretsKeyError, match="is not there"):
        SecretBox(None, tmp_path / "c").decrypt(token)
    assert not (tmp_path / "c").exists(), "a new key would never decrypt it"


@pytest.mark.parametrize("key", ["short", "", "not base64 at all!"])
def test_a_malformed_key_is_a_clear_error_without_the_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(SecretsKeyError, match="no usable key") as caught:
        SecretBox(SecretStr(key), tmp_path / "k").encrypt({})
    assert not key or key not in str(caught.value)


def test_keys_can_be_replaced_newest_first(tmp_path: Path) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    token = SecretBox(SecretStr(old), tmp_path / "k").encrypt({"a": "b"})
    both = SecretBox(SecretStr(f"{new},{old}"), tmp_path / "k")
    assert both.decrypt(token) == {"a": "b"}
    assert SecretBox(SecretStr(new), tmp_path / "k").decrypt(both.encrypt({"c": "d"})) == {"c": "d"}


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secrets.key"
    file.write_bytes(Fernet.generate_key())
    os.chmod(file, 0o644)
    with pytest.raises(SecretsKeyError, match="chmod 600"):
        SecretBox(None, file).encrypt({})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.2"])
def test_loopback_may_be_listened_on(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.0.1", "example.org", "127.0.0.1.nip.io", "localhost.evil"]
)
def test_nothing_else_may_without_a_token(host: str) -> None:
    assert not is_loopback(host)
