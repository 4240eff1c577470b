"""What a user reads of a cluster's tables through the SDK: with the service elsewhere, and Spark at its own address."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.parts import sparks
from tests.parts.listening import listening

from autoloader_sdk import Client, NotFound
from autoloader_server.app import create_app
from autoloader_server.service import Service
from autoloader_server.settings import Settings

# Iceberg reads 5,000 rows at a time.
ROWS = 20_000

pytestmark = pytest.mark.sparks(sparks.OLD, sparks.NEW)


def test_tables_of_a_cluster_are_read_whole_whatever_its_iceberg(
    remote: str, spark: str, namespace: str, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "big.csv").write_text("id,s\n" + "".join(f"{n},x\n" for n in range(ROWS)))
    cluster = {"id": "c", "url": remote, "catalog": "lake"}
    service = Service.open(Settings.load(home=tmp_path / "service", clusters=[cluster]))
    try:
        with listening(create_app(service)) as url, Client(url) as client:
            orders = client.ingestions.create(
                name="orders",
                source=folder,
                format="csv",
                destination=f"lake.{namespace}.orders",
                on_bad_record="quarantine",
                cluster_id="c",
            )
            assert orders.run().wait(180, progress=False).metrics.records_ingested == ROWS
            with pytest.raises(NotFound, match="no bad record of 'orders' was set aside yet"):
                orders.quarantine()
            (folder / "bad.csv").write_text(f"id,s\n{ROWS},y\nten,z\n")
            assert orders.run().wait(180, progress=False).metrics.records_ingested == 1
            # The rows of each file are counted behind the run, by what the table holds of its source.
            assert service.queue.wait_idle(60)
            assert {Path(file.path).name: file.records for file in orders.files} == {"big.csv": ROWS, "bad.csv": 1}

            by_file = orders.table().groupBy("_source_file").count().collect()
            assert {Path(row[0]).name: row[1] for row in by_file} == {"big.csv": ROWS, "bad.csv": 1}
            assert [row[:3] for row in orders.quarantine().select("line", "record", "reason").collect()] == [
                (3, "ten,z", "'id' is no int: ten")
            ]
            for session in (orders.spark(), client.clusters.get("c").spark()):
                assert session.catalog.currentCatalog() == "lake"
                assert session.sql(f"SELECT max(id) FROM {namespace}.orders").collect()[0][0] == ROWS
    finally:
        service.close()
