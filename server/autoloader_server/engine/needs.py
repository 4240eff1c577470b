"""What a Spark server has to have for us, and which jar or setting it lacks where it has not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from autoloader_server.engine.sql import TableName, identifier

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
_ICEBERG = "1.11.0"
_NO_ICEBERG = re.compile(
    r"Cannot find catalog plugin class|CATALOG_PLUGIN|DATA_SOURCE_NOT_FOUND.*iceberg|"
    r"(?:ClassNotFoundException|NoClassDefFoundError):\s*org[./]apache[./]iceberg"
)
_NO_S3 = re.compile(
    r"S3AFileSystem not found|No FileSystem for scheme \"?s3a?|UNSUPPORTED_FILESYSTEM.*s3|"
    r"(?:ClassNotFoundException|NoClassDefFoundError):\s*(?:org[./]apache[./]hadoop[./]fs[./]s3a|com[./]amazonaws|"
    r"software[./]amazon)"
)
_NO_AVRO = re.compile(r"Failed to find (?:the )?data source: avro", re.IGNORECASE)
_NO_EXTENSIONS = re.compile(r"PARSE_SYNTAX_ERROR\].*?(?:'BRANCH'|'CREATE'|'CALL'|'DROP')", re.DOTALL)


def iceberg_jar(version: str) -> str:
    """The Maven coordinate of the Iceberg that goes with a Spark version."""
    line = ".".join(version.split(".")[:2])
    return f"org.apache.iceberg:iceberg-spark-runtime-{line}_{'2.12' if line == '3.5' else '2.13'}:{_ICEBERG}"


def s3_jars(version: str) -> str:
    """The Maven coordinates of what reads from S3 in a Spark version."""
    if version.startswith("3."):
        return "org.apache.hadoop:hadoop-aws:3.3.4 and com.amazonaws:aws-java-sdk-bundle:1.12.262"
    return "org.apache.hadoop:hadoop-aws:3.4.2 and software.amazon.awssdk:bundle:2.29.52"


def avro_jar(version: str) -> str:
    """The Maven coordinate of what reads Avro in a Spark version, also in one that a vendor has added to."""
    released = ".".join(version.partition("-")[0].split(".")[:3])
    return f"org.apache.spark:spark-avro_{'2.12' if version.startswith('3.') else '2.13'}:{released}"


def without_catalog(catalog: str, version: str) -> str:
    """The sentence for a catalog that a server does not have."""
    return (
        f"there is no catalog {catalog!r} on the Spark server: configure spark.sql.catalog.{catalog} there "
        f"(org.apache.iceberg.spark.SparkCatalog, of {iceberg_jar(version)}), or name another in destination.catalog"
    )


def without_extensions(version: str) -> str:
    """The sentence for a server on which Iceberg's SQL is not switched on."""
    return (
        f"Iceberg's SQL is not switched on: the Spark server needs spark.sql.extensions={EXTENSIONS} and the jar "
        f"{iceberg_jar(version)} when it starts"
    )


def lacking(message: str, version: str) -> str | None:
    """What the server lacks, where an error of Spark's tells of that; None where it tells of something else."""
    text = message.partition("JVM stacktrace:")[0]
    if _NO_ICEBERG.search(text):
        return f"the Spark server has no Iceberg: it needs the jar {iceberg_jar(version)} when it starts"
    if _NO_S3.search(text):
        return f"the Spark server cannot read from S3: it needs the jars {s3_jars(version)} when it starts"
    if _NO_AVRO.search(text):
        return f"the Spark server cannot read Avro: it needs the jar {avro_jar(version)} when it starts"
    if _NO_EXTENSIONS.search(text):
        return without_extensions(version)
    return None


def has_catalog(session: SparkSession, catalog: str) -> bool:
    """Whether the server has a catalog of this name. Spark itself would take it for a part of a namespace."""
    return catalog == "spark_catalog" or session.conf.get(f"spark.sql.catalog.{catalog}", None) is not None


def iceberg_version(session: SparkSession, catalog: str) -> str:
    """The version of the Iceberg behind a catalog; an error of Spark's where there is none."""
    return str(session.sql(f"SELECT {identifier(catalog)}.system.iceberg_version()").collect()[0][0])


def has_extensions(session: SparkSession, catalog: str) -> bool:
    """Whether the server understands Iceberg's SQL, asked of a table that is not there."""
    nowhere = TableName(catalog, "autoloader_none", "autoloader_none").quoted
    try:
        session.sql(f"ALTER TABLE {nowhere} DROP BRANCH autoloader_none").collect()
    except Exception as error:
        if not type(error).__module__.startswith("pyspark."):
            raise
        return "PARSE_SYNTAX_ERROR" not in str(error)
    return True
