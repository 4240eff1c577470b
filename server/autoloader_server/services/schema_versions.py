"""How a table's schema changed by an ingestion's runs, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from autoloader_sdk.models import SchemaVersion, SchemaVersions
from autoloader_server.db.tables import ingestions, schema_versions
from autoloader_server.services.errors import NotFound
from autoloader_server.services.ingestions import row_of

if TYPE_CHECKING:
    from autoloader_server.service import Service

_SHOWN = (
    *("id", "ingestion_id", "version", "detected_at", "schema_json", "changes_json"),
    *("strategy_applied", "affected_files"),
)


def find(service: Service, ingestion_id: str) -> SchemaVersions:
    """All versions; without any the table is as it was made, which counts as 1. Raises NotFound."""
    query = (
        select(*(schema_versions.c[name] for name in _SHOWN))
        .join(ingestions, ingestions.c.id == schema_versions.c.ingestion_id)
        # One beyond is only meant: its columns are not in the table yet.
        .where(ingestions.c.id == ingestion_id, schema_versions.c.version <= ingestions.c.schema_version)
        .order_by(schema_versions.c.version)
    )
    with service.database.read() as connection:
        row_of(connection, ingestion_id)
        rows = connection.execute(query).mappings().all()
    versions = [SchemaVersion.model_validate(dict(row)) for row in rows]
    return SchemaVersions(
        versions=versions, total=len(versions), current_version=versions[-1].version if versions else 1
    )


def get(service: Service, ingestion_id: str, version: int | None) -> SchemaVersion:
    """One version, or the latest (None); raises NotFound."""
    versions = find(service, ingestion_id).versions
    if version is None:
        if not versions:
            raise NotFound(f"no schema versions: the schema of ingestion {ingestion_id} has not changed")
        return versions[-1]
    found = next((each for each in versions if each.version == version), None)
    if found is None:
        raise NotFound(f"schema version {version} of ingestion {ingestion_id} not found")
    return found
