"""A Spark Connect session to a cluster, from the place where the SDK runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoloader_sdk.errors import AutoloaderError, MissingExtra, NotFound

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession


def session(url: str | None) -> SparkSession:
    """A Spark Connect session at `url` (`sc://host:port/;token=…`); one per URL in a process.

    Raises:
        AutoloaderError: there is no URL to connect to.
        MissingExtra: pyspark is not installed.
    """
    if not url:
        raise AutoloaderError(
            "the service names no Spark Connect address (spark_connect_url) for this cluster. A service that runs on "
            "the Spark of its own machine never does: there, Client.local(home) with its home folder reads the table"
        )
    try:
        from pyspark.sql.connect.session import SparkSession as ConnectSession
    except ImportError as missing:
        raise MissingExtra("reading a table with Spark", "local") from missing
    made: SparkSession = ConnectSession.builder.remote(url).getOrCreate()
    return made


def read_table(spark: SparkSession, catalog: str, database: str, table: str) -> DataFrame:
    """The table as it is now.

    Raises:
        NotFound: there is no such table.
    """
    name = quoted_table(catalog, database, table)
    if not spark.catalog.tableExists(name):
        raise NotFound(
            f"there is no table {name}: the first run of its ingestion makes it, unless it was there and was dropped"
        )
    spark.catalog.refreshTable(name)  # Iceberg's catalog keeps a table for 30 s: without this, old rows
    return spark.table(name)


def quoted_table(catalog: str, database: str, table: str) -> str:
    """The table's name as Spark SQL reads it, whatever characters it holds."""
    return ".".join(map(identifier, (catalog, database, table)))


def identifier(name: str) -> str:
    """A name as Spark SQL takes it, whatever it holds. Nothing else quotes names, here or in the service."""
    return "`" + name.replace("`", "``") + "`"
