"""Tokens: made, listed, revoked, and told apart. Kept as hashes; the token itself is shown once."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, delete, func, or_, select, update

from autoloader_sdk.models import NewToken, Scope, TokenCreate, TokenData
from autoloader_server.db.clock import now
from autoloader_server.db.engine import DATABASE_AWAY, Database
from autoloader_server.db.locks import only_one
from autoloader_server.db.tables import tokens
from autoloader_server.security.callers import Caller
from autoloader_server.security.redact import logger
from autoloader_server.services.errors import Conflict, Fault, Invalid, NotAllowed, NotFound, NotLetIn

_log = logger(__name__)

#: By it people, and scanners for secrets, tell what it is.
PREFIX = "autoloader_"
# As many random bits as any key has that is used today (256).
_BYTES = 32
# A use is written down at most so often: a write for each read would be the dearest part of it.
_USE_KEPT_EVERY = timedelta(minutes=1)
# How long an ended token is told of, and why it is not let in; and how many of one's own may be valid at once.
_KEPT_AFTER = timedelta(days=30)
_MOST_CHILDREN = 1_000
#: What is derived without the scope `admin` lasts no longer.
MOST_DERIVED = timedelta(hours=24)


def create(database: Database, caller: Caller, body: TokenCreate) -> NewToken:
    """A new token of the caller's tenant, or of any one for who runs the service.

    A caller with a token gets one of at most its own scope, and no longer than its own: it ends with that one. Without
    the scope `admin` it lasts a day at most.

    Raises NotAllowed for more than that, Invalid for a time that is too long.
    """
    if body.tenant not in (None, caller.tenant) and not caller.holds_service:
        raise NotAllowed(f"a token of tenant '{body.tenant}' is made by who runs the service, or one of its own tokens")
    if not caller.may(body.scope):
        raise NotAllowed(f"a token of scope '{caller.scope}' cannot make one of scope '{body.scope}'")
    if not caller.may("admin") and body.expires_in > MOST_DERIVED:
        hours = MOST_DERIVED // timedelta(hours=1)
        why = f"without the scope 'admin' a token can be made for at most {hours} hours ({hours * 3600})"
        raise Invalid([Fault(("body", "expires_in"), why)])
    token = PREFIX + secrets.token_urlsafe(_BYTES)
    moment = now()
    expires = moment + body.expires_in
    row = {
        "id": str(uuid.uuid4()),
        "tenant_id": body.tenant or caller.tenant,
        "name": body.name,
        "scope": body.scope,
        "hash": _hash(token),
        "parent_id": caller.token_id,
        "created_at": moment,
        "expires_at": expires if caller.expires_at is None else min(expires, caller.expires_at),
    }
    with database.write() as connection:
        only_one(connection, "tokens")
        if caller.token_id is not None:
            if _is_revoked(connection, caller.token_id):
                raise NotLetIn("the token was revoked")
            its = (tokens.c.parent_id == caller.token_id, tokens.c.revoked_at.is_(None), tokens.c.expires_at > moment)
            if connection.execute(select(func.count()).where(*its)).scalar_one() >= _MOST_CHILDREN:
                raise Conflict(f"{_MOST_CHILDREN} tokens that were derived from this one are valid: end some of them")
        connection.execute(tokens.insert().values(row))
    return NewToken(**_data({**row, "revoked_at": None, "last_used_at": None}).model_dump(), token=token)


def find(database: Database, caller: Caller) -> list[TokenData]:
    """The tokens of the caller's tenant, or of all for who runs the service; newest first, also those that ended."""
    with _seen_by(database, caller).read() as connection:
        rows = connection.execute(select(tokens).order_by(tokens.c.created_at.desc(), tokens.c.id)).mappings().all()
    return [_data(row) for row in rows]


def revoke(database: Database, caller: Caller, wanted: str) -> TokenData:
    """End a token, by its id or its name, and all that were derived from it. One that has ended stays as it is.

    Raises NotFound; Conflict where several that have not ended have that name; NotAllowed where the caller is no
    admin, and the token is neither its own nor derived from its own.
    """
    with _seen_by(database, caller).write() as connection:
        only_one(connection, "tokens")
        row = _named(connection, wanted)
        if not caller.may("admin") and caller.token_id not in _ancestors(connection, row):
            raise NotAllowed("without the scope 'admin' only the own token, and what was derived from it, can be ended")
        ended = {row["id"]}
        while derived := _derived(connection, ended):
            ended |= derived
        going = tokens.c.revoked_at.is_(None)
        connection.execute(update(tokens).where(tokens.c.id.in_(ended), going).values(revoked_at=now()))
        return _data(connection.execute(select(tokens).where(tokens.c.id == row["id"])).mappings().one())


def caller_of(database: Database, token: str) -> Caller:
    """Who a token is of; its use is kept. Raises NotLetIn for one that is unknown, has expired or was revoked."""
    moment = now()
    with database.read() as connection:
        row = connection.execute(select(tokens).where(tokens.c.hash == _hash(token))).mappings().one_or_none()
    if row is None:
        raise NotLetIn("the token is not known here: it is not whole, or of another service")
    if row["revoked_at"] is not None:
        raise NotLetIn(f"the token '{row['name']}' was revoked on {_day(row['revoked_at'])}: ask for another one")
    if row["expires_at"] <= moment:
        raise NotLetIn(f"the token '{row['name']}' expired on {_day(row['expires_at'])}: ask for another one")
    if row["last_used_at"] is None or moment - row["last_used_at"] >= _USE_KEPT_EVERY:
        _keep_use(database, row, moment)
    scope: Scope = row["scope"]
    return Caller(row["tenant_id"], scope, row["name"], row["id"], row["expires_at"])


def _keep_use(database: Database, row: RowMapping, moment: datetime) -> None:
    """Write down that it was used. What only looks must not fail, or wait, for that."""
    same = tokens.c.last_used_at.is_not_distinct_from(row["last_used_at"])
    try:
        with database.write() as connection:
            connection.execute(update(tokens).where(tokens.c.id == row["id"], same).values(last_used_at=moment))
    except DATABASE_AWAY as error:
        _log.warning("the last use of token %s could not be written down: %s", row["id"], error.orig)


def forget_ended(database: Database) -> None:
    """Delete the tokens that ended some time ago; the newest of all stays, by which it is known that there were any."""
    moment = now() - _KEPT_AFTER
    newest = select(tokens.c.id).order_by(tokens.c.created_at.desc(), tokens.c.id).limit(1).scalar_subquery()
    ended = or_(tokens.c.expires_at < moment, tokens.c.revoked_at < moment)
    with database.write() as connection:
        connection.execute(delete(tokens).where(ended, tokens.c.id != newest))


def any_made(database: Database) -> bool:
    """Whether a token was ever made, of whatever tenant: from then on nobody comes in over HTTP without one."""
    with database.read() as connection:
        return connection.execute(select(tokens.c.id).limit(1)).first() is not None


def any_valid(database: Database) -> bool:
    """Whether somebody could come in now."""
    valid = select(tokens.c.id).where(tokens.c.revoked_at.is_(None), tokens.c.expires_at > now())
    with database.read() as connection:
        return connection.execute(valid.limit(1)).first() is not None


def _seen_by(database: Database, caller: Caller) -> Database:
    return database.for_rows_of(caller.tenant) if caller.holds_service else database


def _named(connection: Connection, wanted: str) -> RowMapping:
    by_id = connection.execute(select(tokens).where(tokens.c.id == wanted)).mappings().one_or_none()
    if by_id is not None:
        return by_id
    named = connection.execute(
        select(tokens).where(tokens.c.name == wanted).order_by(tokens.c.revoked_at.is_not(None), tokens.c.created_at)
    )
    rows = named.mappings().all()
    if not rows:
        raise NotFound(f"there is no token with the id or name '{wanted}'")
    moment = now()
    going = [row for row in rows if row["revoked_at"] is None and row["expires_at"] > moment]
    if len(going) > 1:
        raise Conflict(f"{len(going)} tokens are named '{wanted}': say which by its id")
    return (going or rows)[0]


def _ancestors(connection: Connection, row: RowMapping) -> set[str]:
    """The tokens that one was derived from, one from the other, and itself."""
    found, parent = {str(row["id"])}, row["parent_id"]
    while parent is not None and parent not in found:
        found.add(parent)
        parent = connection.execute(select(tokens.c.parent_id).where(tokens.c.id == parent)).scalar()
    return found


def _derived(connection: Connection, parents: set[str]) -> set[str]:
    """The tokens that were derived from `parents` and are not among them."""
    query = select(tokens.c.id).where(tokens.c.parent_id.in_(parents), tokens.c.id.not_in(parents))
    return set(connection.execute(query).scalars())


def _is_revoked(connection: Connection, token_id: str) -> bool:
    query = select(tokens.c.revoked_at).where(tokens.c.id == token_id)
    return connection.execute(query).scalar() is not None


def _hash(token: str) -> str:
    # Nobody can try all tokens: a slow hash, as for passwords, would bring nothing.
    return hashlib.sha256(token.encode()).hexdigest()


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _data(row: RowMapping | dict[str, object]) -> TokenData:
    shown = ("id", "name", "scope", "parent_id", "created_at", "expires_at", "revoked_at", "last_used_at")
    return TokenData.model_validate({"tenant": row["tenant_id"], **{name: row[name] for name in shown}})
