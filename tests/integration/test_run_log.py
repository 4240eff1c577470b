"""The log of a run tells what was done, in its order, with each file that could not be loaded."""

from __future__ import annotations

import re

from sqlalchemy import select
from tests.integration.conftest import Ingest

from autoloader_server.db.tables import runs
from autoloader_server.services import run_logs


def test_a_run_tells_its_steps_its_batches_and_its_failures(ingest: Ingest) -> None:
    orders = ingest("csv", {"a.csv": "id,n\n1,x\n", "b.csv": "id,n\n2,y\n", "c.csv": b"\x1f\x8b\x00broken"})
    assert orders.load().status == "partial"
    with orders.service.database.read() as connection:
        run_id = connection.execute(select(runs.c.id)).scalar_one()
    lines = run_logs.find(orders.service, orders.id, run_id).items
    told = [re.sub(r"[0-9a-f]{32}", "…", line.message) for line in lines]
    assert told[:2] == ["started (manual)", "discovering"]
    batch = next(message for message in told if message.startswith("batch …: "))
    assert batch == "batch …: 2 files, 18 bytes"
    landed = told.index("batch … has landed: 2 rows are in the table")
    assert told.index("discovered") < told.index(batch) < told.index("loading") < told.index("publishing") < landed
    (failed,) = (line for line in lines if line.level == "error")
    assert failed.message.startswith(f"{orders.at('c.csv')} failed: ")
    assert told[-1] == "ended: partial: 2 files loaded; 1 file could not be"
    assert len(set(told)) == len(told), "a line stands twice"

    # Page by page, and from some line on.
    first = run_logs.find(orders.service, orders.id, run_id, limit=3)
    assert [line.id for line in first.items] == [line.id for line in lines[:3]]
    rest = run_logs.find(orders.service, orders.id, run_id, cursor=first.next_cursor)
    assert [line.id for line in rest.items] == [line.id for line in lines[3:]]
    assert rest.next_cursor is None
    assert run_logs.find(orders.service, orders.id, run_id, after=lines[-1].id).items == []
