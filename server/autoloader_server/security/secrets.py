"""Credentials at rest: encrypted with Fernet (AES-CBC and HMAC, package `cryptography`)."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from autoloader_server.security.redact import redact

_PUBLIC = frozenset({"endpoint_url", "endpoint", "region", "aws_region"})


class SecretsKeyError(Exception):
    """The key is malformed, readable by others, or not the one that the credentials were encrypted with."""


class SecretBox:
    """Encrypts and decrypts the credentials of sources.

    The key is `key` where one is given, else what `key_file` holds, made there at the first need (mode 0600).
    Several keys, newest first, parted by commas or new lines, let a key be replaced: the first encrypts, all
    of them decrypt.
    """

    def __init__(self, key: SecretStr | None, key_file: Path) -> None:
        self._given = key
        self._file = key_file
        self._fernet: MultiFernet | None = None
        self._lock = Lock()

    def encrypt(self, value: dict[str, Any]) -> bytes:
        """`value` as an opaque token; its secrets are masked in logs and errors from now on."""
        redact.register(secrets_in(value))
        return self._keys(make=True).encrypt(json.dumps(value).encode())

    def decrypt(self, token: bytes) -> dict[str, Any]:
        """What was encrypted.

        Raises SecretsKeyError where the key is not there or is another one.
        """
        try:
            plain = self._keys(make=False).decrypt(token)
        except InvalidToken:
            raise SecretsKeyError(
                f"the stored credentials cannot be decrypted with {self._place}: "
                "they were encrypted with another key. Bring that key back, or store the credentials again."
            ) from None
        value: dict[str, Any] = json.loads(plain)
        redact.register(secrets_in(value))
        return value

    @property
    def _place(self) -> str:
        return "AUTOLOADER_SECRETS_KEY" if self._given is not None else f"the key in {self._file}"

    def _keys(self, *, make: bool) -> MultiFernet:
        with self._lock:
            if self._fernet is None:
                text = self._given.get_secret_value() if self._given is not None else self._read(make=make)
                keys = text.replace(",", "\n").split()
                try:
                    self._fernet = MultiFernet([Fernet(key) for key in keys])
                except ValueError:
                    raise SecretsKeyError(
                        f"{self._place} holds no usable key: it must be 32 bytes in URL-safe base64, as "
                        "`cryptography.fernet.Fernet.generate_key()` makes it"
                    ) from None
                redact.register(keys)
            return self._fernet

    def _read(self, *, make: bool) -> str:
        if not self._file.exists():
            if not make:
                raise SecretsKeyError(
                    f"there are stored credentials, but the key file {self._file} is not there: bring it "
                    "back, set AUTOLOADER_SECRETS_KEY, or store the credentials again"
                )
            _create(self._file)
        mode = stat.S_IMODE(self._file.stat().st_mode)
        if os.name == "posix" and mode & 0o077:
            raise SecretsKeyError(f"others can read the key file {self._file} (mode {mode:o}): chmod 600 it")
        return self._file.read_text(encoding="ascii")


def _create(file: Path) -> None:
    """Write a new key, all or nothing; where another process was quicker, its key stays."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".secrets-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(Fernet.generate_key() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(name, file)
        except FileExistsError:
            return
    finally:
        os.unlink(name)


def secrets_in(credentials: Mapping[str, Any]) -> list[str]:
    """The values that must not be seen: not where a store is, nor a reference, which only says where a secret is."""
    return [value for name, value in credentials.items() if isinstance(value, str) and name not in _PUBLIC]
