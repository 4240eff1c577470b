"""Finding what is new among a million keys: against the bare listing of the same server, on both databases."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, text
from tests.parts import postgres

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_sdk.discovery.listing import list_source
from autoloader_sdk.discovery.s3 import S3Store
from autoloader_sdk.discovery.s3_access import S3Access
from autoloader_sdk.models import FileStatus, IngestionCreate
from autoloader_server.db.bulk import insert_many
from autoloader_server.db.clock import now
from autoloader_server.db.engine import Database
from autoloader_server.db.migrate import migrate
from autoloader_server.db.tables import processed_files
from autoloader_server.engine.discover import discover, identities
from benchmarks.figures import Figure, at_least, at_most, below, in_turns, say
from benchmarks.listing_server import PREFIX, SIZE, key
from benchmarks.place import peak_megabytes

KEYS = 1_000_000
# One in so many is not recorded yet.
NEW = 100
MANY = 10_000_000
_ROUNDS = 3
_RANGE = 100_000
_PAGE = 10_000
_ROWS_AT_ONCE = 50_000
_SOURCE = f"s3://bench/{PREFIX}"
_SPEC = IngestionCreate.model_validate(
    {
        "name": "bench",
        "source": {"type": "s3", "path": _SOURCE},
        "format": {"type": "json"},
        "destination": {"catalog": "lake", "database": "bench", "table": "bench"},
    }
)


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="autoloader-bench-") as name, listing(KEYS) as endpoint:
        folder = Path(name)
        alone = _in_a_fresh_process("list", endpoint)
        figures = [
            at_least(
                "listing 1,000,000 keys", 1 / alone["ours"], 1 / alone["bare"], "bare obstore", 0.85, "listings/s"
            ),
            below("the same: peak memory", alone["megabytes"], 120, "MB"),
        ]
        say("  recording a million files in SQLite …")
        figures += _discovery("SQLite", f"sqlite:///{folder / 'ledger.db'}", endpoint, 3)
        with postgres.running() as server:
            say("  recording a million files in PostgreSQL …")
            figures += _discovery("PostgreSQL", server.make_database(), endpoint, 2)
            figures.append(_many(server.make_database(), server.make_database()))
    return figures


@contextmanager
def listing(keys: int) -> Iterator[str]:
    """The URL of a store that lists so many keys."""
    command = [sys.executable, "-m", "benchmarks.listing_server", str(keys)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def _discovery(kind: str, url: str, endpoint: str, most: float) -> list[Figure]:
    database = Database(url)
    migrate(database)
    _record(database, "bench", KEYS, missing=NEW)
    database.close()
    found = _in_a_fresh_process("discover", endpoint, url)
    what = f"1% new among 1,000,000, {kind}"
    return [
        at_most(what, found["discover"], found["list"], "listing alone", most),
        below("the same: peak memory", found["megabytes"], 200, "MB"),
    ]


def _record(database: Database, ingestion_id: str, keys: int, missing: int = 0) -> None:
    """Rows of loaded files, but for one in `missing`."""
    at = now()
    names = ("ingestion_id", "path", "identity", "status", "size", "etag", "modified_at", "first_seen_at", "loaded_at")
    rows: list[tuple[Any, ...]] = []

    def write() -> None:
        with database.write() as connection:
            insert_many(connection, processed_files, names, rows)
        rows.clear()

    for number in range(keys):
        if missing and number % missing == 0:
            continue
        etag = f'"{number:032x}"'
        one = Entry(f"s3://bench/{key(number)}", SIZE, 0, etag)
        rows.append((ingestion_id, one.path, identity(one), FileStatus.SUCCESS, SIZE, etag, at, at, at))
        if len(rows) == _ROWS_AT_ONCE:
            write()
    write()
    with database.write() as connection:
        connection.execute(text("ANALYZE processed_files"))


def _many(one_million: str, ten_million: str) -> Figure:
    """Reading what a ledger knows of 100,000 keys in a row: one that has a million rows, and one that has ten."""
    say("  recording a million and ten million files in a ledger each in PostgreSQL …")
    ledgers = {KEYS: Database(one_million), MANY: Database(ten_million)}
    for keys, database in ledgers.items():
        migrate(database)
        _record(database, "one", keys)

    def read(keys: int) -> float:
        start = time.perf_counter()
        with ledgers[keys].read() as connection:
            for first in range(keys // 2, keys // 2 + _RANGE, _PAGE):
                page = [Entry(f"s3://bench/{key(first + at)}", SIZE, 0, None) for at in (0, _PAGE - 1)]
                assert len(identities(connection, "one", page)) == _PAGE
        return time.perf_counter() - start

    took = in_turns({"10 million": lambda: read(MANY), "1 million": lambda: read(KEYS)}, rounds=7)
    for database in ledgers.values():
        database.close()
    return at_most("100,000 keys against 10 million rows", took["10 million"], took["1 million"], "1 million rows", 1.3)


def _in_a_fresh_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.discovery", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _store(endpoint: str) -> S3Store:
    return S3Store(_SOURCE, S3Access("bench", "bench-secret", endpoint=endpoint, region="us-east-1"))


def _listed(endpoint: str) -> None:
    listed = sum(len(page) for page in list_source(_store(endpoint)))
    assert listed == KEYS, listed


def _bare(endpoint: str) -> None:
    import obstore
    from obstore.store import S3Store as Objects

    store = Objects(
        "bench",
        access_key_id="bench",
        secret_access_key="bench-secret",  # noqa: S106 - of a server that asks for none
        endpoint=endpoint,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    listed = sum(chunk.num_rows for chunk in obstore.list(store, PREFIX, chunk_size=_PAGE, return_arrow=True))
    assert listed == KEYS, listed


def _list(endpoint: str) -> dict[str, float]:
    took = in_turns({"ours": lambda: _listed(endpoint)}, rounds=1, warmups=0)
    megabytes = peak_megabytes()  # before anything else has listed here
    took = in_turns({"ours": lambda: _listed(endpoint), "bare": lambda: _bare(endpoint)}, rounds=_ROUNDS, warmups=0)
    return {**took, "megabytes": megabytes}


def _discover(endpoint: str, url: str) -> dict[str, float]:
    database = Database(url)

    def find() -> float:
        start = time.perf_counter()
        created_at = datetime.now(UTC)
        found = discover(database, "bench", _store(endpoint), _SPEC, created_at, lambda _: None)
        took = time.perf_counter() - start
        assert (found.listed, found.new) == (KEYS, KEYS // NEW), found
        with database.write() as connection:
            connection.execute(delete(processed_files).where(processed_files.c.status == FileStatus.DISCOVERED))
        return took

    took = in_turns({"discover": find}, rounds=1, warmups=0)
    megabytes = peak_megabytes()
    took = in_turns({"discover": find, "list": lambda: _listed(endpoint)}, rounds=_ROUNDS, warmups=0)
    return {**took, "megabytes": megabytes}


if __name__ == "__main__":
    json.dump(_list(*sys.argv[2:]) if sys.argv[1] == "list" else _discover(*sys.argv[2:]), sys.stdout)
