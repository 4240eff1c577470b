"""The ledger, read and cleared."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, event, func, select, update

from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.service import Service
from autoloader_server.services import clear
from autoloader_server.services.clear import clear_processed_files

API = "/api/v1"
AddFiles = Callable[..., None]


@pytest.fixture
def path(ingestion: str) -> str:
    return f"{API}/ingestions/{ingestion}"


@pytest.fixture
def add_files(service: Service, ingestion: str) -> AddFiles:
    """Writes rows of the ledger, as the engine would have left them."""

    def add(*paths: str, **values: Any) -> None:
        row: dict[str, Any] = {
            "ingestion_id": ingestion,
            "identity": "e",
            "size": 7,
            "first_seen_at": datetime.now(UTC),
        }
        row |= {"status": "SUCCESS"} | values
        with service.database.write() as connection:
            connection.execute(processed_files.insert(), [row | {"path": path} for path in paths])

    return add


def shown(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [file["path"] for file in answer.json()]


def test_a_file_tells_what_became_of_it(http: httpx.Client, path: str, add_files: AddFiles) -> None:
    run_id, batch_id, moment = str(uuid.uuid4()), str(uuid.uuid4()), datetime(2026, 1, 2, tzinfo=UTC)
    add_files(
        "/d/a.csv",
        records=9,
        run_id=run_id,
        batch_id=batch_id,
        attempts=2,
        loaded_at=moment,
        modified_at=moment,
    )
    (file,) = http.get(f"{path}/files").json()
    assert file["first_seen_at"].endswith("Z")
    expected = {
        "path": "/d/a.csv",
        "status": "SUCCESS",
        "reason": None,
        "size": 7,
        "etag": None,
        "records": 9,
    }
    expected |= {"run_id": run_id, "batch_id": batch_id, "attempts": 2}
    expected |= {"modified_at": "2026-01-02T00:00:00Z", "loaded_at": "2026-01-02T00:00:00Z"}
    assert {name: file[name] for name in expected} == expected


def test_files_are_filtered_by_status_in_any_case(http: httpx.Client, path: str, add_files: AddFiles) -> None:
    add_files("/d/a", "/d/b")
    add_files("/d/c", status="FAILED", reason="line 3")
    add_files("/d/e", status="HELD")
    assert shown(http.get(f"{path}/files", params={"status": "failed"})) == ["/d/c"]
    assert shown(http.get(f"{path}/files", params={"status": ["FAILED", "HELD"]})) == ["/d/c", "/d/e"]
    wrong = http.get(f"{path}/files", params={"status": "FALED"})
    assert wrong.status_code == 422
    assert "did you mean FAILED?" in wrong.json()["detail"][0]["msg"]


def test_files_are_filtered_by_path_folder_or_name(http: httpx.Client, path: str, add_files: AddFiles) -> None:
    add_files("/d/x%/a.csv", "/d/x%/b.csv", "/d/xy/a.csv", "/d/x%.csv", "/e/xa.csv")
    assert shown(http.get(f"{path}/files", params={"path": "/d/x%"})) == ["/d/x%/a.csv", "/d/x%/b.csv"]
    assert shown(http.get(f"{path}/files", params={"path": "a.csv"})) == ["/d/x%/a.csv", "/d/xy/a.csv"]
    assert shown(http.get(f"{path}/files", params={"path": "/d/x%.csv"})) == ["/d/x%.csv"]


def test_following_the_link_header_shows_each_version_once_in_order_of_bytes(
    http: httpx.Client, path: str, add_files: AddFiles
) -> None:
    names = sorted(["/d/ü", "/d/a b", "/d/a%20b", "/d/a#", "/d/[1]", "/d/Z", "/d/z"], key=str.encode)
    add_files(*names)
    add_files("/d/z", ordinal=2, status="HELD")
    seen: list[tuple[str, int]] = []
    url = f"{path}/files?limit=3"
    while url:
        answer = http.get(url)
        seen += [(file["path"], file["ordinal"]) for file in answer.json()]
        url = answer.links.get("next", {}).get("url", "")
    assert seen == sorted([*((name, 1) for name in names), ("/d/z", 2)], key=lambda key: (key[0].encode(), key[1]))


def test_clear_forgets_the_files_and_says_how_many(
    http: httpx.Client, service: Service, path: str, ingestion: str, add_files: AddFiles
) -> None:
    add_files("/d/a", "/d/b", "/d/c")
    with service.database.write() as connection:
        connection.execute(update(ingestions).values(table_uuid="u", last_snapshot_id=5))
    answer = http.delete(f"{path}/processed-files")
    assert answer.status_code == 200
    message = "Cleared 3 processed file records"
    assert answer.json() == {"message": message, "files_cleared": 3, "ingestion_id": ingestion}
    assert http.get(f"{path}/files").json() == []
    with service.database.read() as connection:
        row = connection.execute(select(ingestions)).one()
    assert (row.generation, row.table_uuid, row.last_snapshot_id) == (1, None, None)
    assert http.delete(f"{path}/processed-files").json()["files_cleared"] == 0


def test_clear_leaves_the_files_of_a_batch_whose_fate_is_not_known(
    http: httpx.Client, service: Service, path: str, ingestion: str, add_files: AddFiles
) -> None:
    row = {
        "ingestion_id": ingestion,
        "run_id": "r",
        "generation": 0,
        "files": 1,
        "bytes": 1,
        "table_name": "t",
    }
    row |= {"table_uuid": "u", "base_snapshot_id": 1, "created_at": datetime.now(UTC)}
    with service.database.write() as connection:
        for status in ("OPEN", "BURNING", "HELD", "LANDED", "BURNED"):
            connection.execute(batches.insert().values(row | {"id": status, "status": status}))
    for status in ("OPEN", "BURNING", "HELD", "LANDED", "BURNED"):
        add_files(f"/d/{status}", batch_id=status)
    assert http.delete(f"{path}/processed-files").json()["files_cleared"] == 2
    assert shown(http.get(f"{path}/files")) == ["/d/BURNING", "/d/HELD", "/d/OPEN"]


def test_a_clear_that_dies_half_way_leaves_no_older_version_without_its_newer_one(
    service: Service, ingestion: str, add_files: AddFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        add_files(f"/d/{number}", ordinal=1, current=False, status="SKIPPED")
        add_files(f"/d/{number}", ordinal=2, identity="2")
    monkeypatch.setattr(clear, "ROWS_PER_TRANSACTION", 4)
    commit = service.database.write

    def dies_after(most: int) -> Callable[[], AbstractContextManager[Connection]]:
        count = itertools.count()

        @contextmanager
        def write() -> Iterator[Connection]:
            if next(count) == most:
                raise InterruptedError
            with commit() as connection:
                yield connection

        return write

    for transactions in (2, 3):
        monkeypatch.setattr(service.database, "write", dies_after(transactions))
        with pytest.raises(InterruptedError):
            clear_processed_files(service, ingestion)
        monkeypatch.setattr(service.database, "write", commit)
        with service.database.read() as connection:
            left = connection.execute(select(processed_files.c.path, processed_files.c.current)).all()
        assert {path for path, _ in left} == {path for path, current in left if current}
    clear_processed_files(service, ingestion)
    with service.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(processed_files)).scalar() == 0


def test_clear_takes_more_files_than_one_transaction_holds(
    http: httpx.Client, service: Service, path: str, add_files: AddFiles
) -> None:
    add_files(*(f"/d/{number:06}" for number in range(20_001)))
    assert http.delete(f"{path}/processed-files").json()["files_cleared"] == 20_001
    with service.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(processed_files)).scalar() == 0


def test_a_page_is_read_from_where_the_one_before_ended(
    http: httpx.Client, service: Service, path: str, add_files: AddFiles
) -> None:
    add_files(*(f"/d/{at:04}" for at in range(500)))
    asked: list[tuple[str, Any]] = []

    def remember(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM processed_files" in statement:
            asked.append((statement, parameters))

    following = http.get(f"{path}/files", params={"limit": 400}).links["next"]["url"]
    event.listen(service.database.engine, "before_cursor_execute", remember)
    try:
        assert len(http.get(following).json()) == 100
    finally:
        event.remove(service.database.engine, "before_cursor_execute", remember)
    ((statement, parameters),) = asked
    with service.database.read() as connection:
        if service.database.is_sqlite:
            explain = "EXPLAIN QUERY PLAN "
        else:  # so few rows it would read in any order, and sort them
            for way in ("seqscan", "bitmapscan", "sort"):
                connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
            explain = "EXPLAIN "
        told = " ".join(str(row) for row in connection.exec_driver_sql(explain + statement, parameters))
    sought = (
        r"\(path,ordinal\)>\(\?,\?\)" if service.database.is_sqlite else r"Index Cond: [^,]*ROW\(path, ordinal\) > ROW"
    )
    assert re.search(sought, told), told
    assert "SORT" not in told.upper(), told
