"""The versions of a table's schema, as rows: written down before a column is changed, counted once it is.

A version above the ingestion's `schema_version` is only meant: its worker may have died before it changed the columns,
or after. Whoever loads next looks at the table, and counts it or writes another in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from autoloader_server.db.clock import now
from autoloader_server.db.tables import ingestions, schema_versions
from autoloader_server.engine.changes import Change

Schema = dict[str, Any]
"""A StructType as JSON has it."""

# Of those that brought one change; `affected_files` of the version names all.
_MOST_FILES = 20


class Meant(NamedTuple):
    """A version that is not counted yet: the columns that the table is to have with it, and what changes."""

    version: int
    schema: Schema
    changes: list[dict[str, Any]]


def intend(
    connection: Connection, ingestion_id: str, schema: Schema, changes: Sequence[Change], *, strategy: str
) -> None:
    """Write down the next version, in the place of one that came to nothing."""
    counted = _counted(connection, ingestion_id)
    columns = schema_versions.c
    connection.execute(delete(schema_versions).where(columns.ingestion_id == ingestion_id, columns.version > counted))
    connection.execute(
        insert(schema_versions).values(
            ingestion_id=ingestion_id,
            version=counted + 1,
            detected_at=now(),
            schema_json=schema,
            changes_json=[
                {
                    "change_type": change.kind,
                    "column_name": change.name,
                    "old_type": None if change.old is None else change.old.simpleString(),
                    "new_type": None if change.new is None else change.new.simpleString(),
                    "files": list(change.files[:_MOST_FILES]),
                }
                for change in changes
            ],
            strategy_applied=strategy,
            affected_files=list(dict.fromkeys(path for change in changes for path in change.files)),
        )
    )


def meant(connection: Connection, ingestion_id: str) -> Meant | None:
    """The version that was written down and is not counted, if there is one."""
    columns = schema_versions.c
    row = connection.execute(
        select(columns.version, columns.schema_json, columns.changes_json).where(
            columns.ingestion_id == ingestion_id, columns.version > _counted(connection, ingestion_id)
        )
    ).one_or_none()
    return None if row is None else Meant(*row)


def count(connection: Connection, ingestion_id: str, version: int, schema: Schema) -> None:
    """The changes of this version are made, and the table's schema is this by now."""
    columns = schema_versions.c
    connection.execute(
        update(schema_versions)
        .where(columns.ingestion_id == ingestion_id, columns.version == version)
        .values(schema_json=schema)
    )
    connection.execute(update(ingestions).where(ingestions.c.id == ingestion_id).values(schema_version=version))


def _counted(connection: Connection, ingestion_id: str) -> int:
    return int(
        connection.execute(select(ingestions.c.schema_version).where(ingestions.c.id == ingestion_id)).scalar_one()
    )
