"""`destination.partitioning`: a table that is partitioned by the columns asked for, and by nothing unasked.

That it stays so where rows are replaced or columns dropped is tested in test_replace.py and test_evolution.py.
"""

from __future__ import annotations

from typing import Any

from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion

CITIES = "id,City,a.b\n1,Bonn,x\n2,Ulm,x\n3,Ulm,x\n"


def partitions(loaded: Ingestion) -> dict[tuple[Any, ...], int] | None:
    """Rows by the values that the table is partitioned by; None where it is not partitioned."""
    frame = loaded.service.spark.session().table(f"{loaded.table}.partitions")
    if "partition" not in frame.columns:
        return None
    return {tuple(row["partition"].asDict().items()): row["record_count"] for row in frame.collect()}


def test_a_table_is_partitioned_by_the_columns_asked_for(ingest: Ingest) -> None:
    asked = {"enabled": True, "columns": ["a.b", "city"]}
    loaded = ingest("csv", {"a.csv": CITIES}, destination={"partitioning": asked})
    assert loaded.load().errors == []
    assert loaded.load({"b.csv": "id,City,a.b\n4,Ulm,y\n5,,x\n"}).errors == []
    assert partitions(loaded) == {
        (("a.b", "x"), ("City", "Bonn")): 1,
        (("a.b", "x"), ("City", "Ulm")): 2,
        (("a.b", "y"), ("City", "Ulm")): 1,
        (("a.b", "x"), ("City", None)): 1,
    }
    assert loaded.values("id") == [1, 2, 3, 4, 5]


def test_a_table_is_not_partitioned_where_that_is_not_enabled(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": CITIES}, destination={"partitioning": {"enabled": False, "columns": ["City"]}})
    assert loaded.load().errors == []
    assert partitions(loaded) is None


def test_a_partition_column_that_the_data_does_not_have_is_named_and_no_table_is_made(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": CITIES}, destination={"partitioning": {"enabled": True, "columns": ["town"]}})
    ran = loaded.load()
    assert (ran.status, ran.files) == ("failed", 0)
    has = "'id', 'City', 'a.b', '_source_file'"
    message = f"destination.partitioning.columns: there is no column 'town' in the data; it has {has}"
    assert [(error.file, error.category, error.message) for error in ran.errors] == [(None, "schema_mismatch", message)]
    assert not loaded.service.spark.session().catalog.tableExists(loaded.table)
    # The files wait: with the column they are loaded.
    assert loaded.load({"a.csv": "id,town\n1,Bonn\n"}).files == 1
    assert partitions(loaded) == {(("town", "Bonn"),): 1}
