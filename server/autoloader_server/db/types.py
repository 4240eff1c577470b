"""Column types that behave alike on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, String, Text
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. Aware on the way in and out, UTC in the database.

    SQLite through SQLAlchemy drops the zone without converting, so it is converted here, and a naive time is refused.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone was about to be stored: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Sentence(TypeDecorator[str]):
    """What a person reads. It may quote a file's content, and PostgreSQL stores no NUL character."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else value.replace("\0", "\N{SYMBOL FOR NULL}")


def bytewise_text() -> Text:
    """Text that compares as bytes on both databases (SQLite's BINARY does already): page ranges rely on it."""
    return Text().with_variant(Text(collation="C"), "postgresql")


def code(length: int = 32) -> String:
    """A short identifier or state name."""
    return String(length)
