"""What a claim writes down about the table whose rows count."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from sqlalchemy import insert, select
from tests.unit.model_world import LEDGER

from autoloader_sdk.models import FileStatus, IngestionCreate, Limits
from autoloader_server.db.engine import Database
from autoloader_server.db.migrate import migrate
from autoloader_server.db.tables import ingestions, processed_files, runs
from autoloader_server.engine import batch_record, ledger
from autoloader_server.engine.batch_record import Landed
from autoloader_server.engine.claim import claim_batch
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.lease import Lease
from autoloader_server.engine.work import Ready, Work
from autoloader_server.spark.sessions import SparkSessions

SPEC = {
    "name": "n",
    "source": {"type": "local", "path": "/source"},
    "format": {"type": "csv"},
    "destination": {"catalog": "lake", "database": "b", "table": "t"},
}
READY = Ready("table-1", 1)


def claiming(database: Database, home: Path, name: str) -> Work:
    """A run of an ingestion of this name, over one file."""
    moment = datetime.now(UTC)
    lease = Lease(database, f"run-{name}", seconds=60, renew_seconds=15)
    row = {"id": name, "name": name, "status": "active", "spec": SPEC, "created_at": moment, "updated_at": moment}
    file = {"ingestion_id": name, "path": "/source/a.csv", "identity": "v1", "size": 1, "status": FileStatus.DISCOVERED}
    its_run = {"id": f"run-{name}", "ingestion_id": name, "status": "running", "trigger": "manual"}
    with database.write() as connection:
        connection.execute(insert(ingestions).values(row))
        connection.execute(insert(processed_files).values(**file, first_seen_at=moment))
        connection.execute(insert(runs).values(**its_run, created_at=moment, **lease.columns()))
    return Work(
        database=database,
        sessions=SparkSessions(home),
        home=home,
        ledger_id=LEDGER,
        run_id=f"run-{name}",
        ingestion_id=name,
        generation=0,
        spec=IngestionCreate.model_validate(SPEC),
        limits=Limits(),
        lease=lease,
        created_at=moment,
        closing=Event(),
        check_beside_bytes=0,
    )


def test_an_ingestion_whose_files_another_one_has_loaded_remembers_the_table_that_holds_their_rows(
    database_url: str,
    tmp_path: Path,
) -> None:
    database = Database(database_url)
    migrate(database)
    looks = [Look("/source/a.csv", 1, group=0)]
    taken = []
    for name in ("first", "second"):
        work = claiming(database, tmp_path, name)
        with database.read() as connection:
            files = ledger.waiting(connection, name, 10)
        batch, _ = claim_batch(work, READY, files, looks, replaces=False)
        taken.append(batch is not None)
        if batch is not None:
            with database.write() as connection:
                batch_record.record(connection, work.lease, batch.id, name, work.run_id, Landed(2, 1, 1))
    with database.read() as connection:
        known = connection.execute(select(ingestions.c.table_uuid).order_by(ingestions.c.id)).scalars().all()
        statuses = connection.execute(select(processed_files.c.status).order_by(processed_files.c.id)).scalars().all()
    database.close()
    assert taken == [True, False]
    assert statuses == [FileStatus.SUCCESS, FileStatus.SKIPPED]
    assert known == ["table-1", "table-1"]
