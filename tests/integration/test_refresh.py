"""Refreshes on a real table: all rows once, or only the new files' rows, also where a run is going or a step dies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import select
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion, Ran

from autoloader_sdk.models import RefreshOperation, RefreshRequest
from autoloader_server.db.tables import ingestions, processed_files
from autoloader_server.engine import killpoints
from autoloader_server.engine.work import Work
from autoloader_server.services import refresh as refreshing
from autoloader_server.services.refresh import refresh

GOOD = "a,b\n1,x\n2,y\n"
MORE = "a,b\n3,z\n"
Mode = Literal["full", "new_only"]
modes = pytest.mark.parametrize("mode", ["full", "new_only"])


def ask(ingestion: Ingestion, mode: Mode, *, force: bool = False, **fields: Any) -> RefreshOperation:
    return refresh(ingestion.service, ingestion.id, RefreshRequest(confirm=True, **fields), mode, force=force)


def refreshed(ingestion: Ingestion, mode: Mode, **fields: Any) -> Ran:
    answer = ask(ingestion, mode, **fields)
    assert answer.status == "accepted", answer
    assert answer.run_id is not None
    return ingestion.wait(answer.run_id)


def steps(answer: RefreshOperation) -> list[tuple[str, str]]:
    return [(step.operation, step.status) for step in answer.operations]


def test_after_a_full_refresh_all_rows_are_there_once(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD, "b.csv": MORE})
    loaded.load()
    loaded.sql("INSERT INTO {table} VALUES (9, 'theirs', NULL)")
    answer = ask(loaded, "full")
    assert steps(answer) == [
        ("table_dropped", "success"),
        ("processed_files_cleared", "success"),
        ("run_triggered", "success"),
    ]
    dropped, cleared, run = (step.details or {} for step in answer.operations)
    to = loaded.spec.destination
    assert dropped == {"table_name": f"lake.{to.database}.{to.table}", "existed": True}
    assert cleared == {"files_cleared": 2}
    assert run == {"run_id": answer.run_id, "run_url": f"/api/v1/ingestions/{loaded.id}/runs/{answer.run_id}"}
    assert (answer.impact.files_to_process, answer.impact.files_skipped) == (2, 0)
    assert answer.run_id is not None
    ran = loaded.wait(answer.run_id)
    assert (ran.status, ran.files, ran.records) == ("success", 2, 3)
    assert loaded.rows() == [(1, "x"), (2, "y"), (3, "z")]
    assert loaded.load({"c.csv": "a,b\n4,w\n"}).files == 1
    assert loaded.values("a") == [1, 2, 3, 4]


def test_after_a_new_only_refresh_just_the_new_files_rows_are_there(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    loaded.write({"b.csv": MORE})
    answer = ask(loaded, "new_only")
    assert steps(answer) == [("table_dropped", "success"), ("run_triggered", "success")]
    assert (answer.impact.files_to_process, answer.impact.files_skipped) == (1, 1)
    assert answer.run_id is not None
    ran = loaded.wait(answer.run_id)
    assert (ran.status, ran.files, ran.records) == ("success", 1, 1)
    assert loaded.rows() == [(3, "z")]
    assert {name: known.status for name, known in loaded.files().items()} == {"a.csv": "SUCCESS", "b.csv": "SUCCESS"}
    assert loaded.load().files == 0
    assert loaded.load({"c.csv": "a,b\n4,w\n"}).files == 1
    assert loaded.values("a") == [3, 4]


def test_a_file_that_changed_counts_as_new_once_its_earlier_rows_are_dropped(ingest: Ingest) -> None:
    loaded = ingest("csv", {"held.csv": GOOD, "later.csv": GOOD})
    loaded.load()
    loaded.load({"held.csv": MORE})
    assert loaded.files()["held.csv"].status == "HELD"
    loaded.write({"later.csv": "a,b\n4,w\n"})
    assert refreshed(loaded, "new_only").records == 2
    assert loaded.values("a") == [3, 4]
    assert loaded.load({"later.csv": "a,b\n5,v\n"}).files == 0
    assert loaded.files()["later.csv"].status == "HELD", "its rows are in the new table"


@modes
def test_a_table_that_never_was_is_no_failure(ingest: Ingest, mode: Mode) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    answer = ask(loaded, mode, auto_run=False)
    assert answer.operations[0].details is not None
    assert answer.operations[0].details["existed"] is False
    assert (answer.status, answer.run_id) == ("accepted", None)
    assert steps(answer)[-1][0] != "run_triggered"
    assert loaded.load().records == 2


@modes
def test_a_shared_table_is_dropped_by_force_alone_and_the_other_ingestion_says_so(ingest: Ingest, mode: Mode) -> None:
    first = ingest("csv", {"a.csv": GOOD})
    other = ingest("csv", {"b.csv": MORE}, destination={"table": first.spec.destination.table})
    first.load()
    other.load()
    refused = ask(first, mode)
    assert [step.error_code for step in refused.operations] == ["TABLE_DROP_FAILED"]
    assert first.values("a") == [1, 2, 3]
    answer = ask(first, mode, force=True)
    assert any("will fail until they are refreshed" in sentence for sentence in answer.warnings)
    assert answer.run_id is not None
    first.wait(answer.run_id)
    ran = other.load({"c.csv": MORE})
    assert [error.category for error in ran.errors] == ["table_changed"]


@modes
def test_a_table_of_another_ledger_is_not_dropped(ingest: Ingest, mode: Mode) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    loaded.sql("ALTER TABLE {table} SET TBLPROPERTIES ('autoloader.ledger-id' = 'somebody else')")
    answer = ask(loaded, mode)
    assert [step.error_code for step in answer.operations] == ["TABLE_DROP_FAILED"]
    assert answer.notes == ["nothing was changed"]
    assert loaded.values("a") == [1, 2]


@pytest.mark.parametrize("failing", ["forget_files", "request_run"])
def test_a_step_that_fails_is_told_and_the_next_refresh_does_all(
    ingest: Ingest, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = ingest("csv", {"a.csv": GOOD, "b.csv": MORE})
    loaded.load()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(refreshing, failing, fail)
        answer = ask(loaded, "full")
    code = {"forget_files": "FILE_CLEAR_FAILED", "request_run": "RUN_TRIGGER_FAILED"}[failing]
    assert (answer.status, answer.run_id) == ("partial_failure", None)
    assert [step.status for step in answer.operations] == ["success"] * (len(answer.operations) - 1) + ["failed"]
    assert (answer.operations[-1].error, answer.operations[-1].error_code) == ("the disk is full", code)
    assert answer.notes
    assert answer.impact.files_to_process == 0
    if failing == "forget_files":
        ran = loaded.load({"c.csv": "a,b\n4,w\n"})
        assert [error.category for error in ran.errors] == ["table_changed"]
    rows = [1, 2, 3, 4] if failing == "forget_files" else [1, 2, 3]
    assert refreshed(loaded, "full").records == len(rows)
    assert loaded.values("a") == rows


@modes
@pytest.mark.parametrize("point", ["stage_recorded", "published", "recorded"])
def test_a_run_that_is_going_is_ended_and_leaves_no_row_twice(
    ingest: Ingest, mode: Mode, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refresh is asked for while the run is between two of its steps, and goes on after the answer."""
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    answers: list[RefreshOperation] = []
    reach = Work.reach
    reached = killpoints.reach

    def asked(name: str) -> None:
        if name == point and not answers:
            # In a thread of its own, as a request is: what Spark does for a run is interrupted by the run's tag.
            with ThreadPoolExecutor(1) as pool:
                answers.append(pool.submit(ask, loaded, mode).result())

    def of_the_run(work: Work, name: str) -> None:
        asked(name)
        reach(work, name)

    def of_all(name: str, home: Path) -> None:
        asked(name)
        reached(name, home)

    monkeypatch.setattr(Work, "reach", of_the_run)
    monkeypatch.setattr(killpoints, "reach", of_all)
    ran = loaded.load({"b.csv": MORE})
    (answer,) = answers
    assert answer.status == "accepted", answer
    assert ran.status == ("success" if point == "recorded" else "cancelled"), ran
    assert answer.run_id is not None
    assert loaded.wait(answer.run_id).status == "success"
    landed = point == "recorded"
    if mode == "full":
        assert loaded.values("a") == [1, 2, 3]
    else:
        # What was recorded before the drop was loaded before it.
        table = loaded.service.spark.session().catalog.tableExists(loaded.table)
        assert (loaded.values("a") if table else []) == ([] if landed else [3])
    assert loaded.load({"c.csv": "a,b\n4,w\n"}).records == 1


def test_needs_repair_is_cured_by_a_refresh(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    with loaded.service.database.write() as connection:
        connection.execute(
            ingestions.update().where(ingestions.c.id == loaded.id).values(status="error", status_reason="NEEDS_REPAIR")
        )
    assert refreshed(loaded, "full").status == "success"
    with loaded.service.database.read() as connection:
        row = connection.execute(select(ingestions).where(ingestions.c.id == loaded.id)).one()
        files = connection.execute(select(processed_files).where(processed_files.c.ingestion_id == loaded.id)).all()
    assert (row.status, row.status_reason) == ("active", None)
    assert [file.status for file in files] == ["SUCCESS"]
