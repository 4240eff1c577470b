"""What takes Spark, by each client over each way to our service: loads, schema versions, held batches, refresh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_clients import OURS, Place, each, got, looped
from tests.parts import sparks
from tests.parts.listening import listening

from autoloader_sdk import AsyncClient, Client, errors
from autoloader_server.app import create_app
from autoloader_server.service import Service
from autoloader_server.spark.sessions import SparkSessions

# Within the process a client starts the Spark of its own home.
pytestmark = pytest.mark.sparks(sparks.LOCAL)


@pytest.fixture(params=OURS)
def place(
    request: pytest.FixtureRequest, service: Service, home: Path, own_database_url: str, tmp_path: Path
) -> Iterator[Place]:
    kind, _, way = str(request.param).partition(", ")
    client = Client if kind == "plain" else AsyncClient
    folder = tmp_path / "data"
    folder.mkdir()
    if way == "embedded":
        yield Place(lambda: client.local(home, database_url=own_database_url), folder)
    else:
        with listening(create_app(service)) as url:
            yield Place(lambda: client(url), folder)


def test_what_takes_spark(place: Place, lake: SparkSessions, namespace: str, tmp_path: Path) -> None:
    folder, table = place.folder, f"lake.{namespace}.orders"

    def count() -> int:
        spark = lake.session()
        spark.catalog.refreshTable(table)
        return spark.table(table).count()

    async def ended(run: Any) -> Any:
        return await got(run.wait(180, progress=False, check=False))

    async def scenario(client: Any) -> None:
        (folder / "a.csv").write_text("id,n\n1,x\n2,y\n")
        (folder / "bad.csv").write_text('id,n\n3,"open\n')
        orders = await got(
            client.ingestions.create(
                name="orders",
                source=folder,
                format="csv",
                destination=table,
                quality={"row_count_threshold": 2, "on_low_row_count": "hold"},
            )
        )
        preview = await got(orders.preview())
        assert ([column.name for column in preview.schema_], preview.file_count) == (["id", "n"], 2)
        run = await ended(await got(orders.run()))
        assert (run.status, run.metrics.files_processed, run.metrics.records_ingested) == ("partial", 1, 2)
        assert [Path(error.file).name for error in run.errors] == ["bad.csv"]
        assert {event.kind for event in await each(run.follow(poll=0))} == {"status", "progress", "failure"}
        assert (await each(run.logs()))[0].message == "started (manual)"
        assert "its rows are in" in (await got(orders.files.why("a.csv"))).sentence

        # What a run that is cancelled has not loaded the next one does.
        (folder / "b.csv").write_text("id,n,more\n4,z,!\n5,z,!\n")
        cancelled = await got(orders.run())
        await got(cancelled.cancel())
        stopped = await ended(cancelled)
        assert stopped.status in ("cancelled", "success")  # where it was done before it heard of that
        again = await ended(await got(orders.run()))
        # What it had published before it heard of that stays, and is its own.
        assert (again.status, stopped.metrics.records_ingested + again.metrics.records_ingested) == ("success", 2)

        assert [version.version for version in await got(orders.schema_versions())] == [2]
        version = await got(orders.schema_versions.get(2))
        assert [change.column_name for change in version.changes] == ["more"]
        assert (await got(orders.schema_versions.latest())).version == 2
        assert str(await got(orders.schema_versions.diff())).endswith("+ more string")

        # A batch that is too small is held; what is said of it is done.
        (folder / "few.csv").write_text("id,n,more\n6,z,!\n")
        held_back = await ended(await got(orders.run()))
        assert (held_back.status, held_back.metrics.files_processed) == ("success", 0)
        (held,) = await got(orders.batches(status="held"))
        assert (held.status, held.files, held.records) == ("HELD", 1, 1)
        released = await ended(await got(held.release()))
        assert (released.status, released.metrics.records_ingested) == ("success", 1)
        assert (await got(held.reload())).status == "LANDED"
        with pytest.raises(errors.Conflict):
            await got(held.drop())
        (folder / "fewer.csv").write_text("id,n,more\n7,z,!\n")
        await ended(await got(orders.run()))
        (held,) = await got(orders.batches(status="held"))
        assert (await ended(await got(held.drop()))).metrics.files_processed == 0
        assert [Path(file.path).name for file in await each(orders.files(status="SKIPPED"))] == ["fewer.csv"]
        assert {batch.status for batch in await looped(client, orders.batches)} == {"LANDED", "BURNED"}
        assert count() == 5

        # Everything anew, with no row twice.
        refreshed = await got(orders.refresh_full())
        assert [(step.operation, step.status) for step in refreshed.operations] == [
            ("table_dropped", "success"),
            ("processed_files_cleared", "success"),
            ("run_triggered", "success"),
        ]
        assert (await ended(refreshed.run)).metrics.records_ingested == 6
        assert count() == 6
        (folder / "new.csv").write_text("id,n,more\n8,z,!\n9,z,!\n")
        refreshed = await got(orders.refresh_new_only())
        assert [step.operation for step in refreshed.operations] == ["table_dropped", "run_triggered"]
        assert (await ended(refreshed.run)).metrics.records_ingested == 2
        assert count() == 2

        # The same as code: exported, changed in its file, and applied.
        (exported,) = await got(client.export(tmp_path / "code", "orders"))
        assert not await got(client.diff(exported))
        exported.write_text(exported.read_text().replace("row_count_threshold: 2", "row_count_threshold: 1"))
        assert [entry.name for entry in await got(client.diff(exported)) if entry.differs] == ["orders"]
        await got(client.apply(exported))
        assert (await got(orders.reload())).data.quality.row_count_threshold == 1

        (cluster,) = await got(client.clusters.list())
        assert (await got(cluster.test_connection())).status == "success"
        await got(orders.delete(delete_table=True))
        assert not lake.session().catalog.tableExists(table)

    place.play(scenario)
