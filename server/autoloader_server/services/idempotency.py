"""Idempotency keys: a POST that is sent again under its key is answered again, and done once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from autoloader_server.db.clock import now
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import idempotency_keys
from autoloader_server.services.errors import Conflict, Fault, Invalid

KEPT = timedelta(hours=24)
# A request without an answer for so long died with its process. Doing it again is safe: the ids of what it
# makes follow from the key.
_ABANDONED = timedelta(seconds=60)


class StillWorking(Conflict):
    """The first request under this key has no answer yet."""

    def __init__(self) -> None:
        super().__init__("the first request with this Idempotency-Key is still worked on: ask again in a second")


@dataclass(frozen=True)
class Answer:
    """What was answered the first time."""

    status_code: int
    body: Any


def digest(method: str, path: str, body: bytes) -> str:
    """What makes two requests the same."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()


def begin(database: Database, key: str, request: str) -> Answer | None:
    """Reserve `key` for a request (a `digest`), or give the answer of the first one.

    Raises Invalid where the key was used for another request, StillWorking while the first is not answered
    yet.
    """
    try:
        return _begin(database, key, request)
    except IntegrityError:
        raise StillWorking from None


def _begin(database: Database, key: str, request: str) -> Answer | None:
    table, moment = idempotency_keys, now()
    with database.write() as connection:
        row = connection.execute(select(table).where(table.c.key == key).with_for_update()).one_or_none()
        if row is not None and moment - row.created_at > KEPT:
            connection.execute(delete(table).where(table.c.key == key))
            row = None
        if row is None:
            connection.execute(table.insert().values(key=key, request=request, created_at=moment))
            return None
        if row.request != request:
            raise Invalid(
                [Fault(("header", "Idempotency-Key"), "this key was used for another request: make a new one")]
            )
        if row.status_code is not None:
            return Answer(row.status_code, row.answer)
        if moment - row.created_at < _ABANDONED:
            raise StillWorking
        connection.execute(update(table).where(table.c.key == key).values(created_at=moment))
        return None


def finish(database: Database, key: str, answer: Answer | None) -> None:
    """Keep the answer; without one (a refusal, an error) the key is free again."""
    mine = idempotency_keys.c.key == key
    with database.write() as connection:
        if answer is None:
            connection.execute(delete(idempotency_keys).where(mine))
        else:
            values = {"status_code": answer.status_code, "answer": answer.body}
            connection.execute(update(idempotency_keys).where(mine).values(values))


def forget_old_keys(database: Database) -> None:
    """Delete the keys whose time is over."""
    with database.write() as connection:
        connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < now() - KEPT))
