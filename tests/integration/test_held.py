"""Batches with too few rows, on a real table: loaded with a warning, or held until somebody releases or drops them."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion, Ran
from tests.parts import sparks

from autoloader_sdk.cli.group import autoloader
from autoloader_sdk.models import BatchData, IngestionUpdate, RefreshRequest
from autoloader_server.db.tables import batches
from autoloader_server.services import batches as batch_service
from autoloader_server.services import ingestions
from autoloader_server.services.batches import Decision
from autoloader_server.services.clear import clear_processed_files
from autoloader_server.services.refresh import refresh

GOOD = "a,b\n1,x\n2,y\n"
FEW = "a,b\n3,z\n"
REASON = "a batch of 1 row, fewer than quality.row_count_threshold (2)"
HOLD = {"row_count_threshold": 2, "on_low_row_count": "hold"}


def held(ingestion: Ingestion) -> list[BatchData]:
    return batch_service.find(ingestion.service, ingestion.id, status=["held"]).items


def decide(ingestion: Ingestion, decision: Decision) -> Ran:
    """Say it of the one batch that is held, and wait for the run that does it."""
    (batch,) = held(ingestion)
    return ingestion.wait(batch_service.decide(ingestion.service, ingestion.id, batch.id, decision).run_id)


def branches(ingestion: Ingestion) -> list[str]:
    rows = ingestion.sql("SELECT name FROM {table}.refs WHERE type = 'BRANCH' AND name != 'main'")
    return [row[0] for row in rows]


def attempts(ingestion: Ingestion) -> int:
    """How often the newest batch was staged."""
    query = select(batches.c.attempt).where(batches.c.ingestion_id == ingestion.id)
    with ingestion.service.database.read() as connection:
        return int(connection.execute(query.order_by(batches.c.created_at.desc()).limit(1)).scalar_one())


@pytest.fixture
def waiting(ingest: Ingest) -> Ingestion:
    """An ingestion with a file that is loaded, and one that is held."""
    made = ingest("csv", {"a.csv": GOOD}, quality=HOLD)
    assert made.load().files == 1
    ran = made.load({"few.csv": FEW})
    assert (ran.status, ran.files, ran.records) == ("success", 0, 0)
    return made


def test_the_command_lists_and_releases_what_is_held(waiting: Ingestion) -> None:
    settings = waiting.service.settings
    assert settings.database_url is not None
    environment = {"AUTOLOADER_DATABASE_URL": settings.database_url.get_secret_value()}

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(autoloader, ["--home", str(settings.home), "batches", *arguments], env=environment)

    listed = command("list", waiting.id, "--status", "held").output
    (batch,) = held(waiting)
    assert listed.splitlines()[1].split(maxsplit=4) == [batch.id, "HELD", "1", "1", REASON]
    released = command("release", waiting.id, batch.id)
    assert (released.exit_code, "1 file" in released.output) == (0, True), released.output
    assert waiting.values("a") == [1, 2, 3]
    assert "holds no batch" in command("drop", waiting.id, batch.id).output


def test_too_few_rows_are_loaded_and_the_run_says_so(ingest: Ingest) -> None:
    loaded = ingest("csv", {"few.csv": FEW}, quality={"row_count_threshold": 2})
    ran = loaded.load()
    assert (ran.status, ran.message, ran.files, ran.records) == ("success", None, 1, 1)
    assert ran.notes == [f"loaded all the same: {REASON}"]
    assert loaded.rows() == [(3, "z")]


def test_enough_rows_are_loaded_without_a_word(ingest: Ingest) -> None:
    ran = ingest("csv", {"a.csv": GOOD}, quality=HOLD).load()
    assert (ran.status, ran.files, ran.notes) == ("success", 1, [])


def test_a_held_batch_is_in_no_table_and_each_run_tells_of_it(waiting: Ingestion) -> None:
    assert waiting.rows() == [(1, "x"), (2, "y")]
    known = waiting.files()["few.csv"]
    assert (known.status, known.reason) == ("HELD", f"held: {REASON}")
    (batch,) = held(waiting)
    assert (batch.files, batch.records, batch.reason) == (1, 1, REASON)
    assert len(branches(waiting)) == 1
    again = waiting.load({"b.csv": "a,b\n4,w\n5,v\n"})
    assert (again.status, again.message, again.files) == ("success", None, 1)
    assert again.notes == [f"held: 1 file in 1 batch to be released or dropped, such as {REASON}"]
    assert waiting.rows() == [(1, "x"), (2, "y"), (4, "w"), (5, "v")]
    assert len(branches(waiting)) == 1


def test_the_run_that_holds_a_batch_says_so(ingest: Ingest) -> None:
    loaded = ingest("csv", {"few.csv": FEW}, quality=HOLD)
    ran = loaded.load()
    assert (ran.status, ran.message) == ("success", f"nothing was loaded; 1 file held back: {REASON}")
    assert ran.errors == []


@pytest.mark.sparks(*sparks.ALL)
def test_a_released_batch_is_published_once_as_it_was_staged_though_the_table_moved_on(waiting: Ingestion) -> None:
    waiting.load({"b.csv": "a,b\n4,w\n5,v\n"})
    waiting.sql("INSERT INTO {table} VALUES (9, 'theirs', NULL)")
    waiting.sql("ALTER TABLE {table} ADD COLUMNS (c STRING)")
    catalog, name = "lake", waiting.table.replace("`", "").split(".", 1)[1]
    waiting.sql(
        f"CALL {catalog}.system.expire_snapshots(table => '{name}', "
        "older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1)"
    )
    ran = decide(waiting, "release")
    assert (ran.status, ran.files, ran.records) == ("success", 1, 1)
    expected = [(1, "x"), (2, "y"), (3, "z"), (4, "w"), (5, "v"), (9, "theirs")]
    assert waiting.rows("a", "b") == expected
    assert waiting.files()["few.csv"].status == "SUCCESS"
    assert waiting.files()["few.csv"].records == 1
    assert (held(waiting), branches(waiting)) == ([], [])
    assert waiting.load().files == 0
    assert waiting.rows("a", "b") == expected


def test_a_released_batch_whose_branch_is_gone_is_staged_again(waiting: Ingestion) -> None:
    assert attempts(waiting) == 1
    (branch,) = branches(waiting)
    waiting.sql(f"ALTER TABLE {{table}} DROP BRANCH `{branch}`")
    name = waiting.table.replace("`", "").split(".", 1)[1]
    waiting.sql(
        f"CALL lake.system.expire_snapshots(table => '{name}', "
        "older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1)"
    )
    assert decide(waiting, "release").files == 1
    assert attempts(waiting) == 2
    assert waiting.rows() == [(1, "x"), (2, "y"), (3, "z")]


@pytest.mark.sparks(*sparks.ALL)
def test_a_dropped_batch_is_not_loaded_until_its_file_changes(waiting: Ingestion) -> None:
    ran = decide(waiting, "drop")
    assert (ran.status, ran.files) == ("success", 0)
    known = waiting.files()["few.csv"]
    assert (known.status, known.reason) == ("SKIPPED", f"dropped by a call; it was held: {REASON}")
    assert (held(waiting), branches(waiting)) == ([], [])
    assert waiting.load().files == 0
    assert waiting.rows() == [(1, "x"), (2, "y")]
    assert waiting.load({"few.csv": "a,b\n3,z\n4,w\n"}).files == 1
    assert waiting.rows() == [(1, "x"), (2, "y"), (3, "z"), (4, "w")]


def test_a_file_that_changes_while_it_is_held_is_loaded_in_its_new_content(waiting: Ingestion) -> None:
    assert waiting.load({"few.csv": "a,b\n30,new\n40,new\n"}).files == 0
    ran = decide(waiting, "release")
    assert (ran.status, ran.files) == ("success", 1)
    assert waiting.rows() == [(1, "x"), (2, "y"), (30, "new"), (40, "new")]


def test_a_file_that_is_gone_when_its_batch_is_released_fails_alone(waiting: Ingestion) -> None:
    waiting.place.remove("few.csv")
    ran = decide(waiting, "release")
    assert [(error.file, error.category) for error in ran.errors] == [("few.csv", "missing")]
    assert waiting.rows() == [(1, "x"), (2, "y")]


def test_a_release_after_the_table_was_dropped_says_so_and_a_clear_is_the_way_out(waiting: Ingestion) -> None:
    waiting.sql("DROP TABLE {table}")
    ran = decide(waiting, "release")
    assert ran.status == "failed"
    assert [error.category for error in ran.errors] == ["table_changed"]
    assert "is gone" in ran.errors[0].message
    clear_processed_files(waiting.service, waiting.id)
    assert waiting.load().files == 2
    assert waiting.rows() == [(1, "x"), (2, "y"), (3, "z")]


def test_a_release_after_a_column_was_dropped_loads_what_the_table_has(waiting: Ingestion) -> None:
    waiting.sql("ALTER TABLE {table} DROP COLUMN b")
    assert decide(waiting, "release").files == 1
    assert waiting.rows("a") == [(1,), (2,), (3,)]


def test_a_held_batch_without_rows_is_recorded_when_it_is_released(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD}, quality=HOLD)
    loaded.load()
    assert "a batch of 0 rows" in (loaded.load({"none.csv": "a,b\n"}).message or "")
    ran = decide(loaded, "release")
    assert (ran.status, ran.files, ran.records) == ("success", 1, 0)
    assert loaded.files()["none.csv"].status == "SUCCESS"


@pytest.mark.parametrize("mode", ["full", "new_only"])
def test_a_refresh_judges_again_what_was_held(waiting: Ingestion, mode: Any) -> None:
    ingestions.change(waiting.service, waiting.id, IngestionUpdate.model_validate({"quality": {}}))
    answer = refresh(waiting.service, waiting.id, RefreshRequest(confirm=True), mode)
    assert answer.run_id is not None
    assert waiting.wait(answer.run_id).status == "success"
    assert waiting.rows() == ([(1, "x"), (2, "y"), (3, "z")] if mode == "full" else [(3, "z")])
    assert held(waiting) == []


def test_a_path_that_one_ingestion_holds_is_not_loaded_by_another_into_the_same_table(
    ingest: Ingest, waiting: Ingestion
) -> None:
    to = {"table": waiting.spec.destination.table}
    other = ingest("csv", folder=waiting.place, destination=to)
    ran = other.load()
    assert ran.files == 0
    assert any("1 files wait" in note for note in ran.notes)
    assert decide(waiting, "release").files == 1
    other.load()
    assert other.files()["few.csv"].status == "SKIPPED"
    assert waiting.rows() == [(1, "x"), (2, "y"), (3, "z")]


def test_a_column_that_only_a_held_batch_has_is_not_dropped_and_its_release_drops_no_newer_one(ingest: Ingest) -> None:
    loaded = ingest(
        "csv",
        {"a.csv": GOOD},
        quality=HOLD,
        on_schema_change="sync_all_columns",
        limits={"max_files_per_batch": 1},
    )
    loaded.load()
    assert loaded.load({"few.csv": "a,b,held\n3,z,kept\n"}).files == 0
    ran = loaded.load({"more.csv": "a,b,newer\n4,w,1\n5,v,2\n"})
    assert any(note.startswith("no column was dropped, though") and "are held" in note for note in ran.notes)
    ran = decide(loaded, "release")
    assert any(note.startswith("no column was dropped, though") and "had been held" in note for note in ran.notes)
    assert loaded.rows("a", "held", "newer") == [
        (1, None, None),
        (2, None, None),
        (3, "kept", None),
        (4, None, 1),
        (5, None, 2),
    ]
