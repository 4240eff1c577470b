"""The tables of the local catalog, made before any session asks for them.

Iceberg's JDBC catalog makes them at its first use in each session; two sessions that begin on a new home at once get in
each other's way there ("Cannot check and eventually update SQL schema").
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

# As Iceberg's schema version V1 has them (org.apache.iceberg.jdbc.JdbcUtil, Iceberg 1.11).
_TABLES = """
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255), property_value VARCHAR(1000),
    PRIMARY KEY (catalog_name, namespace, property_key)
);
"""


def catalog_file(home: Path) -> Path:
    """The database of the catalog ``lake``."""
    return home / "lake" / "catalog.db"


def make_catalog(file: Path) -> None:
    """Make the catalog's database where it is not there. Its journal mode is kept in the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_TABLES)
