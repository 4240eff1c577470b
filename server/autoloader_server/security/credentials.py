"""A source's credentials as they are used: references are followed here, at each use, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoloader_server.security.redact import redact
from autoloader_server.security.secrets import secrets_in

_MOST_BYTES = 64 * 1024


class CredentialMissing(Exception):
    """A reference leads nowhere; the message names the credential and the place."""


def resolve(credentials: Mapping[str, Any] | None) -> dict[str, str]:
    """The credentials with each `{"env": NAME}` and `{"file": PATH}` replaced by what is there now.

    The secrets among them are masked in logs and errors from now on. Raises CredentialMissing.
    """
    found = {name: _value(name, value) for name, value in (credentials or {}).items() if value not in (None, "")}
    redact.register(secrets_in(found))
    return found


def _value(name: str, value: object) -> str:
    match value:
        case {"env": str(variable)}:
            if not (text := os.environ.get(variable)):
                raise CredentialMissing(
                    f"source.credentials.{name} refers to the variable {variable!r}, which the service does not have"
                )
            return text
        case {"file": str(path)}:
            return _content(name, path)
        case _:
            return str(value)


def _content(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MOST_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CredentialMissing(
            f"source.credentials.{name} refers to the file {path!r}, which cannot be read: {why}"
        ) from None
    if not text or len(text) > _MOST_BYTES:
        raise CredentialMissing(f"source.credentials.{name} refers to the file {path!r}, which holds no credential")
    return text
