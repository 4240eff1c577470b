"""The one redactor: whatever is logged, stored as an error or answered goes through it.

It knows secrets in two ways: values that were registered (credentials, tokens), and the shapes in which
secrets usually travel (`key=value`, URLs with a password, Bearer tokens, AWS keys, private keys).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from threading import Lock
from urllib.parse import quote

MASK = "***"
# Shorter ones would black out ordinary words; they are still caught where they stand beside a telling name.
_SHORTEST_KNOWN = 6

_TELLING_NAME = (
    r"[\w.\-]*?(?:pass(?:word|wd|phrase)|pwd|secret(?:[._\-]?(?:access)?[._\-]?key)?|token|credentials?"
    r"|authorization|sas|signature|x-amz-security-token"
    r"|(?:api|access|private|shared|encryption|secrets)[._\-]?key(?:[._\-]?id)?|account[._\-]?key[\w.\-]*)"
)
_VALUE = r"""(?:\\?"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,;&'"<>(){}\[\]]+)"""
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        MASK,
    ),
    (re.compile(r"\b(Bearer|Basic)(\s+|%20)[A-Za-z0-9\-._~+/]+=*", re.IGNORECASE), rf"\1\2{MASK}"),
    (re.compile(r"(?<=://)([^/\s:@]*):([^/\s]+)@"), rf"\1:{MASK}@"),
    (
        re.compile(
            rf"""(?<![\w.\-])({_TELLING_NAME}\\?["']?\s*(?:=|:(?!//)|=>)\s*)(?!\*\*\*){_VALUE}""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"), MASK),
    (re.compile(r"\bautoloader_[A-Za-z0-9_\-]{43}(?![A-Za-z0-9_\-])"), MASK),
    (re.compile(r"(?<=[?&]sig=)[^&\s]+", re.IGNORECASE), MASK),
)


class Redactor:
    """Masks known secret values and the usual shapes of secrets in a text."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._lock = Lock()

    def register(self, values: Iterable[object]) -> None:
        """Mask these values from now on, as they are and as URLs, JSON and reprs write them."""
        found = {
            form
            for value in values
            if isinstance(value, str) and len(value) >= _SHORTEST_KNOWN
            for form in (
                value,
                quote(value, safe=""),
                quote(value),
                json.dumps(value)[1:-1],
                repr(value)[1:-1],
            )
        }
        with self._lock:
            known = self._known | found
            if known != self._known:
                self._known = known
                # The longest first: one secret may begin with another.
                self._pattern = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True))))

    def __call__(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


redact = Redactor()


class RedactingFilter(logging.Filter):
    """Put on a handler: each record that passes is redacted, its traceback too."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def logger(name: str) -> logging.Logger:
    """A logger whose own records are redacted whatever handlers the embedding program has."""
    found = logging.getLogger(name)
    if not any(isinstance(each, RedactingFilter) for each in found.filters):
        found.addFilter(RedactingFilter())
    return found
