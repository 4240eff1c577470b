"""PostgreSQL behind the same surface as SQLite: its URL, its time limits, and what it takes otherwise."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from tests.chaos.waiting import until
from tests.parts import postgres as part
from tests.parts.postgres import PostgresServer

from autoloader_sdk.discovery.entries import Entry
from autoloader_sdk.models import FileStatus
from autoloader_server.db import postgres as module
from autoloader_server.db.bulk import insert_many
from autoloader_server.db.engine import DATABASE_AWAY, Database
from autoloader_server.db.tables import processed_files, run_errors
from autoloader_server.engine import ledger, run_record
from autoloader_server.service import LedgerUnavailable, open_database
from autoloader_server.settings import Settings

AWKWARD = [
    "Z",
    "a",
    "B",
    "_",
    "a b",
    "a%20b",
    "a'b",
    'a"b',
    "a\\b",
    "ä",
    "z",
    "€",
    "𐍈",
    "\t",
    "a\nb",
    "0" * 1024,
    "\\N",
]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_each_way_to_write_the_url_takes_the_one_driver(scheme: str) -> None:
    database = Database(f"{scheme}://me@127.0.0.1:1/ledger")
    assert database.url.drivername == "postgresql+psycopg"
    assert database.engine.driver == "psycopg"
    database.close()


@pytest.mark.parametrize("url", ["mysql://me@db/x", "postgresql+asyncpg://me@db/x", "postgresql+psycopg2://me@db/x"])
def test_another_database_or_driver_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SQLite or PostgreSQL"):
        Database(url)


def test_without_the_driver_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "psycopg" else importlib.util.find_spec(name))
    with pytest.raises(ValueError, match="database_url") as caught:
        open_database(Settings.load(home=tmp_path, database_url="postgresql://me:geheim@db/x"))
    assert "pip install 'autoloader-sdk[local,postgres]'" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=r"127\.0\.0\.1.* does not open: .*refused") as caught:
        open_database(Settings.load(home=tmp_path, database_url="postgresql://me:geheim@127.0.0.1:1/x"))
    assert "geheim" not in str(caught.value)


def test_a_database_in_which_not_every_path_can_be_written_is_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    postgres.run_sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(LedgerUnavailable, match="ENCODING 'UTF8'"):
        open_database(Settings.load(home=tmp_path, database_url=postgres.url("latin")))


def shown(database: Database, *names: str) -> dict[str, Any]:
    with database.read() as connection:
        return {name: connection.execute(text(f"SHOW {name}")).scalar() for name in names}


def test_nobody_waits_for_ever_and_the_url_has_the_last_word(postgres: PostgresServer) -> None:
    url = postgres.url("postgres")
    database = Database(url)
    limits = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "application_name")
    assert [*shown(database, *limits).values()] == ["30s", "2min", "15s", "autoloader"]
    database.close()
    database = Database(f"{url}?options=-c%20lock_timeout%3D5s&application_name=mine")
    assert [*shown(database, *limits).values()] == ["5s", "2min", "15s", "mine"]
    database.close()


def test_what_only_reads_is_a_snapshot_and_cannot_write(postgres: PostgresServer, postgres_template: str) -> None:
    url = postgres.make_database(postgres_template)
    database = Database(url)
    with database.read() as connection:
        assert errors_of(connection) == []
        with database.write() as other:
            run_record.report(other, "r", "unknown", "meanwhile")
        assert errors_of(connection) == []
    with pytest.raises(DBAPIError, match="read-only"), database.read() as connection:
        run_record.report(connection, "r", "unknown", "no")
    with database.write() as connection:
        assert len(errors_of(connection)) == 1
    database.close()
    postgres.drop_database(url)


def errors_of(connection: Connection) -> list[str]:
    return list(connection.execute(select(run_errors.c.message)).scalars())


def test_a_transaction_whose_connection_is_cut_off_says_that_the_database_is_away(postgres: PostgresServer) -> None:
    database = Database(postgres.url("postgres"))

    def cut_off() -> None:
        with database.write() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
            postgres.run_sql(f"SELECT pg_terminate_backend({pid})")
            connection.execute(text("SELECT 1"))

    with pytest.raises(DBAPIError) as caught:
        cut_off()
    assert isinstance(caught.value, DATABASE_AWAY)
    assert shown(database, "lock_timeout"), "the next transaction has another connection"
    database.close()


def test_only_who_is_patient_waits_for_a_server_that_is_away() -> None:
    database = Database("postgresql://me@127.0.0.1:1/x")
    tries: list[int] = []
    connect = database.engine.connect

    def counted() -> Connection:
        tries.append(1)
        return connect()

    database.engine.connect = counted  # type: ignore[method-assign]
    with pytest.raises(OperationalError), database.read():
        pass
    assert len(tries) == 1
    with pytest.raises(OperationalError), database.patient(1.5).read():
        pass
    assert len(tries) > 2
    database.close()


def test_a_transaction_that_waits_begins_when_the_server_is_back() -> None:
    with part.running() as server, ThreadPoolExecutor(1) as other:
        database = Database(server.url("postgres"))
        tries: list[int] = []
        event.listen(database.engine, "do_connect", lambda *_: tries.append(1))
        assert shown(database, "lock_timeout")
        server.stop("immediate")
        tries.clear()
        waiting = other.submit(shown, database.patient(60), "lock_timeout")
        until(lambda: len(tries) >= 2, "it tries again", 60)
        assert not waiting.done()
        server.start()
        assert waiting.result(60) == {"lock_timeout": "30s"}
        database.close()


def row(path: str) -> dict[str, Any]:
    entry = Entry(f"/source/{path}", 2**40, 1_800_000_000_123_456_000)
    return {"ingestion_id": "i", "ordinal": 1, "status": FileStatus.DISCOVERED, "reason": None} | ledger.listed(entry)


def stored(database: Database) -> list[Any]:
    """As the database has them, past SQLAlchemy's types."""
    columns = "path, ordinal, identity, current, status, reason, retryable, size, modified_at, first_seen_at"
    with database.read() as connection:
        return [tuple(each) for each in connection.execute(text(f"SELECT {columns} FROM processed_files ORDER BY id"))]


def test_many_rows_at_once_are_stored_as_one_by_one(database: Database) -> None:
    rows = [row(name) | {"reason": None if name == "a" else f"\\N\t{name}\n"} for name in AWKWARD]
    with database.write() as connection:
        for each in rows:
            connection.execute(insert(processed_files).values(each))
    one_by_one = stored(database)
    with database.write() as connection:
        connection.execute(processed_files.delete())
        insert_many(connection, processed_files, list(rows[0]), [list(each.values()) for each in rows])
        insert_many(connection, processed_files, list(rows[0]), [])
    assert stored(database) == one_by_one
    with database.read() as connection:
        found = connection.execute(select(processed_files.c.first_seen_at)).scalars().first()
    assert found is not None
    assert found.tzinfo is UTC
    assert abs((datetime.now(UTC) - found).total_seconds()) < 3600


def test_many_rows_that_break_a_rule_are_refused_as_one_is(database: Database) -> None:
    rows = [list(row("a").values())] * 2
    with pytest.raises(IntegrityError), database.write() as connection:
        insert_many(connection, processed_files, list(row("a")), rows)
    assert stored(database) == []


def test_paths_are_in_the_order_of_their_bytes(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(processed_files), [row(name) for name in AWKWARD])
    path = processed_files.c.path
    with database.read() as connection:
        found = connection.execute(select(path).order_by(path)).scalars().all()
        between = connection.execute(select(path).where(path >= "/source/B", path <= "/source/a b")).scalars().all()
    assert found == sorted((f"/source/{name}" for name in AWKWARD), key=str.encode)
    assert set(between) == {f"/source/{name}" for name in ("B", "Z", "\\N", "_", "a", "a\tb", "a\nb", "a b")} & set(
        found
    )


def test_a_sentence_that_quotes_a_nul_character_can_be_stored(database: Database) -> None:
    with database.write() as connection:
        run_record.report(connection, "r", "data_malformed", "its first record is 'a\0b'")
    with database.read() as connection:
        assert errors_of(connection) == ["its first record is 'a␀b'"]
