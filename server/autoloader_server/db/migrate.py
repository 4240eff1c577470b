"""Bring a database to the newest schema, by Alembic, which alone makes tables."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select, text

from autoloader_server.db.engine import Database
from autoloader_server.db.locks import only_one
from autoloader_server.db.tables import ledger
from autoloader_server.security.redact import redact


def scripts() -> Path:
    """The folder of migrations: inside the package when installed from a wheel, at the top of a checkout otherwise."""
    packaged = Path(__file__).with_name("migrations")
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "alembic"


def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade `database` to `revision`; a database that is there already is left as it is.

    Raises RuntimeError where the database was made by a newer version of this package, or cannot hold every path.
    """
    # Its steps are told at INFO, to whoever starts the service.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    directory = ScriptDirectory.from_config(config)
    with database.read() as connection:
        if not database.is_sqlite and (encoding := connection.execute(text("SHOW server_encoding")).scalar()) != "UTF8":
            raise RuntimeError(
                f"the database {database.url.database!r} has the encoding {encoding}, in which not every path can be "
                "written: make it with ENCODING 'UTF8'"
            )
        current = MigrationContext.configure(connection).get_current_revision()
    if revision == "head" and current == directory.get_current_head():
        return
    try:
        known = current is None or directory.get_revision(current) is not None
    except CommandError:
        known = False
    if not known:
        # What SQLAlchemy hides is not all: libpq takes a password in the query as well.
        shown = redact(database.url.render_as_string(hide_password=True))
        raise RuntimeError(f"{shown} was made by a newer autoloader (revision {current}): upgrade autoloader-sdk")
    with database.write() as connection:
        if not database.is_sqlite:
            # Another process may be at it, and large tables take their time.
            for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
                connection.execute(text(f"SET LOCAL {limit} = 0"))
        only_one(connection, "migration")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def ledger_id(database: Database) -> str:
    """The identity of this ledger, made at the first call."""
    with database.read() as connection:
        found = connection.execute(select(ledger.c.id)).scalar()
    if found is None:
        with database.write() as connection:
            only_one(connection, "ledger id")
            found = connection.execute(select(ledger.c.id)).scalar()
            if found is None:
                found = str(uuid.uuid4())
                connection.execute(ledger.insert().values(id=found, created_at=datetime.now(UTC)))
    return str(found)
