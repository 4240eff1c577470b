"""A tenant's connection sees and writes that tenant's rows alone, whatever statement is sent through it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from sqlalchemy import and_, delete, exists, func, insert, literal_column, select, text, union_all, update

from autoloader_server.db.bulk import insert_many
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import batches, processed_files, run_errors, runs
from autoloader_server.db.tenancy import ACROSS_TENANTS

NOW = datetime(2026, 11, 28, tzinfo=UTC)
A, B = "acme", "other"


def run(ingestion_id: str, **values: object) -> dict[str, object]:
    known = {"id": str(uuid.uuid4()), "status": "success", "trigger": "manual", "created_at": NOW}
    return {**known, "ingestion_id": ingestion_id, **values}


def batch(ingestion_id: str, **values: object) -> dict[str, object]:
    known = {"id": str(uuid.uuid4()), "run_id": "r", "generation": 0, "status": "LANDED", "files": 1, "bytes": 1}
    return {
        **known,
        "table_name": "t",
        "table_uuid": "u",
        "base_snapshot_id": 1,
        "created_at": NOW,
        "ingestion_id": ingestion_id,
        **values,
    }


def file(path: str, batch_id: str | None) -> dict[str, object]:
    known = {"ingestion_id": "i", "identity": "x", "status": "SUCCESS", "size": 1, "first_seen_at": NOW}
    return {**known, "path": path, "batch_id": batch_id}


@pytest.fixture
def both(database: Database) -> tuple[Database, Database]:
    """Two tenants with rows that are alike: two runs of the ingestion `i`, one batch, a file in it and one outside."""
    found = []
    for tenant in (A, B):
        its = database.of_tenant(tenant)
        with its.write() as connection:
            connection.execute(insert(runs), [run("i"), run("i", status="failed")])
            row = batch("i")
            connection.execute(insert(batches).values(row))
            rows = [file(f"/{tenant}/in", str(row["id"])), file(f"/{tenant}/out", None)]
            insert_many(connection, processed_files, list(rows[0]), [list(each.values()) for each in rows])
        found.append(its)
    return found[0], found[1]


def test_new_rows_are_the_tenants(database: Database, both: tuple[Database, Database]) -> None:
    with database.read() as connection:
        for table, each in ((runs, 2), (batches, 1), (processed_files, 2)):
            counts = select(table.c.tenant_id, func.count()).group_by(table.c.tenant_id).order_by(table.c.tenant_id)
            assert [tuple(row) for row in connection.execute(counts)] == [(A, each), (B, each)]
    with database.for_rows_of(A).write() as connection:
        connection.execute(insert(runs).values(run("j")))
        assert connection.execute(select(func.count()).select_from(runs)).scalar() == 5
    with database.write() as connection:
        connection.execute(insert(runs).values(run("k")))
        whose = select(runs.c.ingestion_id, runs.c.tenant_id).where(runs.c.ingestion_id.in_(["j", "k"]))
        assert {tuple(row) for row in connection.execute(whose)} == {("j", A), ("k", "default")}


def test_a_select_reads_the_tenants_rows(both: tuple[Database, Database]) -> None:
    files, other = processed_files, processed_files.alias("other")
    joined = select(files.c.path, batches.c.id).outerjoin(batches, batches.c.id == files.c.batch_id)
    twice = select(files.c.path, other.c.path).join(other, other.c.size == files.c.size).order_by(files.c.path)
    within = (
        select(runs.c.id)
        .where(runs.c.ingestion_id.in_(select(files.c.ingestion_id)))
        .where(exists().where(batches.c.ingestion_id == runs.c.ingestion_id))
    )
    sub = select(runs.c.status).order_by(runs.c.status).limit(10).subquery()
    for tenant, database in zip((A, B), both, strict=True):
        own = {f"/{tenant}/in", f"/{tenant}/out"}
        with database.read() as connection:
            assert set(connection.execute(select(files.c.path)).scalars()) == own
            assert connection.execute(select(func.count()).where(runs.c.ingestion_id == "i")).scalar() == 2
            rows = connection.execute(joined).all()
            # Outside of every batch it is there all the same.
            assert {row.path: row.id is None for row in rows} == {f"/{tenant}/in": False, f"/{tenant}/out": True}
            assert len(connection.execute(twice).all()) == 4
            assert len(connection.execute(within).all()) == 2
            assert connection.execute(select(func.count()).select_from(sub)).scalar() == 2
            assert len(connection.execute(union_all(select(files.c.path), select(runs.c.id))).all()) == 4
            assert connection.execute(select(exists().where(files.c.path == f"/{A}/in"))).scalar() is (tenant == A)
            scalar = select(select(func.count(runs.c.id)).scalar_subquery())
            assert connection.execute(scalar).scalar() == 2
            everyone = select(func.count()).select_from(files).execution_options(**ACROSS_TENANTS)
            assert connection.execute(everyone).scalar() == 4
            assert connection.execute(text("SELECT 1")).scalar() == 1
            assert connection.execute(select(literal_column("1"))).scalar() == 1


def test_a_change_touches_the_tenants_rows(database: Database, both: tuple[Database, Database]) -> None:
    first, second = both
    files = processed_files
    with first.write() as connection:
        assert connection.execute(update(runs).values(status="lost")).rowcount == 2
        returned = connection.execute(update(batches).values(status="BURNED").returning(batches.c.id)).all()
        assert len(returned) == 1
        mine = select(files.c.id).where(files.c.path.like("%/in"))
        assert connection.execute(delete(files).where(files.c.id.in_(mine))).rowcount == 1
        # By the id of another's row.
        with database.read() as all_of_them:
            theirs = all_of_them.execute(select(runs.c.id).where(runs.c.tenant_id == B)).scalars().first()
        assert connection.execute(update(runs).where(runs.c.id == theirs).values(status="x")).rowcount == 0
        assert connection.execute(delete(runs).where(runs.c.id == theirs)).rowcount == 0
    with second.read() as connection:
        assert set(connection.execute(select(runs.c.status)).scalars()) == {"success", "failed"}
        assert connection.execute(select(batches.c.status)).scalars().all() == ["LANDED"]
        assert connection.execute(select(func.count()).select_from(files)).scalar() == 2


def test_a_locked_row_is_the_tenants(both: tuple[Database, Database]) -> None:
    newest = select(runs.c.id).where(runs.c.ingestion_id == "i").limit(1).scalar_subquery()
    with both[0].write() as connection:
        found = (
            connection.execute(select(runs.c.tenant_id).where(runs.c.id == newest).with_for_update()).scalars().all()
        )
    assert found == [A]


def test_a_statement_that_cannot_be_bound_is_not_sent(both: tuple[Database, Database]) -> None:
    joined = update(runs).where(runs.c.id == batches.c.run_id).values(status="x")
    using = delete(runs).where(runs.c.id == batches.c.run_id)
    for statement in (text("SELECT path FROM processed_files"), joined, using):
        with both[0].write() as connection, pytest.raises(TypeError, match="cannot be bound to a tenant"):
            connection.execute(statement)


def test_patience_keeps_the_tenant(both: tuple[Database, Database]) -> None:
    with both[0].patient(1.0).read() as connection:
        assert connection.execute(select(func.count()).select_from(runs)).scalar() == 2


def test_an_insert_from_a_select_reads_the_tenants_rows(both: tuple[Database, Database]) -> None:
    columns = ["run_id", "error_type", "message", "timestamp"]
    source = select(runs.c.id, runs.c.status, runs.c.ingestion_id, runs.c.created_at).where(
        and_(runs.c.status == "failed")
    )
    with both[0].write() as connection:
        connection.execute(insert(run_errors).from_select(columns, source))
        assert connection.execute(select(func.count()).select_from(run_errors)).scalar() == 1
