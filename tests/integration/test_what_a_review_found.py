"""Rows that were lost or doubled once, each by the steps that did it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import select, update
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion

from autoloader_server.db.tables import ingestions, processed_files
from autoloader_server.service import Service
from autoloader_server.services import ingestions as ingestion_service
from autoloader_server.services.clear import clear_processed_files
from autoloader_server.services.queue import RunQueue

_RUN = """
import sys
from autoloader_server.service import Service
from autoloader_server.services import runs
from autoloader_server.settings import Settings
service = Service.open(Settings.load(home=sys.argv[1], database_url=sys.argv[2]))
runs.request(service, sys.argv[3])
service.queue.wait_idle()
"""


def killed_at(point: str, service: Service, ingestion: Ingestion) -> None:
    """A run in a process of its own, which is killed there. The queue of this one would take it up as well."""
    assert service.queue.wait_idle(60)
    service.queue.close()
    url = service.database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", _RUN, str(service.settings.home), url, ingestion.id]
    done = subprocess.run(command, env={**os.environ, "AUTOLOADER_KILL_AT": point}, check=False, timeout=120)
    assert done.returncode == -9
    service._queue = RunQueue(service)
    service.queue.start()


def test_a_table_that_is_away_for_a_while_does_not_make_a_landed_batch_load_twice(
    ingest: Ingest, service: Service
) -> None:
    numbers = ingest("csv", {"a.csv": "n\n1\n2\n"})
    assert numbers.load().status == "success"
    numbers.write({"b.csv": "n\n3\n"})
    killed_at("published", service, numbers)
    there = numbers.table.partition(".")[2]
    away = there.removesuffix("`") + "_away`"
    numbers.sql(f"ALTER TABLE {{table}} RENAME TO {away}")
    meanwhile = numbers.load()
    assert meanwhile.status == "failed"
    assert "gone" in (meanwhile.message or "")
    numbers.sql(f"ALTER TABLE lake.{away} RENAME TO {there}")
    assert numbers.load().status == "success"
    assert sorted(row[0] for row in numbers.rows()) == [1, 2, 3]


def test_a_file_that_another_ingestion_was_loading_in_vain_is_loaded_after_all(
    ingest: Ingest, service: Service
) -> None:
    first = ingest("csv", {"seed.csv": "n\n1\n"})
    assert first.load().records == 1
    second = ingest("csv", folder=first.place, destination={"table": first.spec.destination.table})
    first.write({"f.csv": "n\n2\n"})
    killed_at("claimed", service, first)
    waits = second.load()
    assert waits.records == 0
    assert any("wait" in note for note in waits.notes)
    ingestion_service.delete(service, first.id)
    deadline = time.monotonic() + 60
    while first.files()["f.csv"].status == "PROCESSING":
        assert time.monotonic() < deadline, "nobody took back what the deleted ingestion had left"
        time.sleep(0.05)
    assert second.load().records == 1
    assert sorted(row[0] for row in second.rows()) == [1, 2]


def test_a_clear_that_dies_half_way_is_not_followed_by_a_load_of_half_the_files(
    ingest: Ingest, service: Service
) -> None:
    numbers = ingest("csv", {f"{n}.csv": f"n\n{n}\n" for n in range(3)})
    assert numbers.load().records == 3
    numbers.sql("DROP TABLE {table}")
    with service.database.write() as connection:  # as far as a clear got that was killed after its first rows
        some = select(processed_files.c.id).where(processed_files.c.ingestion_id == numbers.id).limit(1)
        connection.execute(processed_files.delete().where(processed_files.c.id.in_(some)))
        connection.execute(update(ingestions).values(generation=ingestions.c.generation + 1))
    assert numbers.load().status == "failed"
    clear_processed_files(service, numbers.id)
    assert numbers.load().records == 3


def test_what_landed_before_a_clear_is_still_missed_when_its_table_is_dropped(ingest: Ingest, service: Service) -> None:
    numbers = ingest("csv", {"a.csv": "n\n1\n"})
    killed_at("published", service, numbers)
    clear_processed_files(service, numbers.id)
    assert numbers.load().status == "success"
    numbers.sql("DROP TABLE {table}")
    after = numbers.load({"b.csv": "n\n2\n"})
    assert after.status == "failed"
    assert "gone" in (after.message or "")


def test_a_folder_that_became_a_file_does_not_block_the_others(
    ingest: Ingest, service: Service, tmp_path: Path
) -> None:
    numbers = ingest("csv", {"d/c.csv": "n\n1\n"}, folder=tmp_path / "source")
    killed_at("stage_recorded", service, numbers)
    (numbers.folder / "d" / "c.csv").unlink()
    (numbers.folder / "d").rmdir()
    numbers.write({"d": "no folder any more\n", "e.csv": "n\n2\n"})
    numbers.load()
    files = numbers.files()
    assert files["d/c.csv"].status == "FAILED"
    assert files["e.csv"].status == "SUCCESS"


def test_a_column_that_was_dropped_while_a_batch_was_open_is_not_left_out_of_its_rows(
    ingest: Ingest, service: Service
) -> None:
    numbers = ingest("csv", {"a.csv": "n,x\n1,one\n"})
    assert numbers.load().records == 1
    numbers.write({"b.csv": "n,x\n2,two\n"})
    killed_at("claimed", service, numbers)
    numbers.sql("ALTER TABLE {table} DROP COLUMN x")
    assert numbers.load().records == 1
    assert numbers.rows("n", "x") == [(1, None), (2, "two")]
