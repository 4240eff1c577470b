"""Many rows at once: COPY on PostgreSQL, the driver's own `executemany` on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from autoloader_server.db.tenancy import DEFAULT_TENANT, TENANT


def insert_many(connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert `rows`, values in the order of the columns `names`, in the caller's transaction.

    Columns that are not named get the database's default, `tenant_id` the connection's. Values are stored as
    SQLAlchemy would store them.
    """
    if not rows:
        return
    own = connection.get_execution_options().get(TENANT, DEFAULT_TENANT)
    names, rows = [*names, "tenant_id"], [[*row, own] for row in rows]
    converters = [_converter(connection, table, name) for name in names]
    stored = [
        tuple(value if convert is None else convert(value) for convert, value in zip(converters, row, strict=True))
        for row in rows
    ]
    columns = ", ".join(f'"{name}"' for name in names)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(names))
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})', stored)
    else:
        _copy(connection, f'COPY "{table.name}" ({columns}) FROM STDIN', stored)


def _copy(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    dialect = connection.dialect
    assert dialect.dbapi is not None
    cursor: Any = connection.connection.cursor()
    try:
        with cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except dialect.dbapi.Error as error:
        # As for every other statement: callers know SQLAlchemy's errors, not the driver's.
        raise DBAPIError.instance(statement, None, error, dialect.dbapi.Error, dialect=dialect) from error


def _converter(connection: Connection, table: Table, name: str) -> Callable[[Any], Any] | None:
    dialect = connection.dialect
    return table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
