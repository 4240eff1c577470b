"""What a Spark server lacks is named by the coordinate that goes with its version, a vendor's too."""

from __future__ import annotations

import pytest

from autoloader_server.engine.needs import lacking


@pytest.mark.parametrize(
    ("message", "version", "jar"),
    [
        ("Failed to find data source: avro", "3.5.7", "org.apache.spark:spark-avro_2.12:3.5.7"),
        ("Failed to find the data source: AVRO", "3.5.7-vendor.2", "org.apache.spark:spark-avro_2.12:3.5.7"),
        ("Failed to find data source: avro", "3.5.1.1-build9", "org.apache.spark:spark-avro_2.12:3.5.1"),
        ("Failed to find data source: avro", "4.1.4", "org.apache.spark:spark-avro_2.13:4.1.4"),
        ("Cannot find catalog plugin class", "3.5.7-vendor.2", "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:"),
        ("Cannot find catalog plugin class", "4.0.1", "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:"),
        ('No FileSystem for scheme "s3a"', "3.5.7", "org.apache.hadoop:hadoop-aws:3.3.4"),
        ('No FileSystem for scheme "s3a"', "4.1.4", "org.apache.hadoop:hadoop-aws:3.4.2"),
    ],
)
def test_the_jar_that_is_missing_is_named(message: str, version: str, jar: str) -> None:
    assert jar in str(lacking(message, version))


def test_another_error_is_not_taken_for_a_missing_jar() -> None:
    assert lacking("[DIVIDE_BY_ZERO] Division by zero", "3.5.7") is None
