"""PostgreSQL as the ledger: its URL, its driver, and how long anybody waits for anybody."""

from __future__ import annotations

from importlib.util import find_spec

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL

DRIVER = "postgresql+psycopg"
_PLAIN = frozenset({"postgres", "postgresql"})
# As long as SQLite's busy time-out.
_LOCK_SECONDS = 30
# A worker that is stopped (SIGSTOP, a host asleep) in the middle of a transaction is cut off before the others, which
# wait for its locks, give up.
_IDLE_SECONDS = 15
_STATEMENT_SECONDS = 120
_SESSION = (
    f"-c lock_timeout={_LOCK_SECONDS}s -c idle_in_transaction_session_timeout={_IDLE_SECONDS}s "
    f"-c statement_timeout={_STATEMENT_SECONDS}s"
)
# A server that is gone without a word is noticed within half a minute, not after the system's two hours.
_CONNECTION: dict[str, str | int] = {
    "application_name": "autoloader",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def with_driver(url: URL) -> URL:
    """`postgres://…` and `postgresql://…` as the one driver takes them. Raises ValueError for any other one."""
    if url.drivername in _PLAIN:
        url = url.set(drivername=DRIVER)
    if url.drivername != DRIVER:
        raise ValueError(
            f"setting database_url: the ledger is SQLite or PostgreSQL (postgresql://…), not {url.drivername!r}"
        )
    if find_spec("psycopg") is None:
        raise ValueError(
            "setting database_url: PostgreSQL needs the driver psycopg, which is not installed: "
            "pip install 'autoloader-sdk[local,postgres]'"
        )
    return url


def engine(url: URL) -> Engine:
    """The connections to a server. What the URL itself says (`?connect_timeout=3`, `?options=…`) comes first."""
    given = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    # Of two values for one parameter the server takes the later.
    own = url.query.get("options", ())
    options = " ".join([_SESSION, own] if isinstance(own, str) else [_SESSION, *own])
    return create_engine(url, pool_pre_ping=True, connect_args={**given, "options": options})
