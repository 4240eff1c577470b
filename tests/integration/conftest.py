"""A ledger and a namespace for each test, on the Spark servers that all tests share.

    def test_…(ingest: Ingest) -> None:
        orders = ingest("csv", {"a.csv": "id,n\\n1,x\\n"})      # a folder, its files, an ingestion
        assert orders.load().status == "success"               # a run, waited for
        assert orders.rows() == [(1, "x")]                     # the table
        assert orders.load({"b.csv": "id,n\\n2,y\\n"}).files == 1

See `Ingestion` in ingesting.py for what it answers. `service` is the embedded service behind it. The server is the
local one, and for tests that are marked so (tests/parts/sparks.py) in turn one of Spark 3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.homes import namespace_of
from tests.integration.folders import BucketFolder, Folder, LocalFolder
from tests.integration.ingesting import Content, Ingestion
from tests.parts import sparks

from autoloader_server.service import Service
from autoloader_server.settings import Settings
from autoloader_server.spark.sessions import SparkSessions

Ingest = Callable[..., Ingestion]


@pytest.fixture(scope="session")
def lake(home: Path, remote: str | None) -> Iterator[SparkSessions]:
    """The one session that all tests share."""
    sessions = SparkSessions(home, remote, idle_seconds=600)
    yield sessions
    sessions.close()


@pytest.fixture
def service(home: Path, lake: SparkSessions, own_database_url: str) -> Iterator[Service]:
    """A service with a ledger of its own, on the shared Spark server."""
    opened = Service.open(Settings.load(home=home, database_url=own_database_url))
    opened.spark.close()
    opened.spark = lake
    yield opened
    assert opened.queue.wait_idle(60)
    opened.queue.close()
    opened.database.close()


@pytest.fixture
def namespace(tmp_path: Path) -> str:
    """A namespace of the lake for this test alone."""
    return namespace_of(tmp_path)


@pytest.fixture
def new_folder(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> Callable[[str], Folder]:
    """Makes a folder for an ingestion's files: a local one, or with `--on cluster` one of SeaweedFS."""

    def make(name: str) -> Folder:
        if sparks.on_cluster(request.config):
            return BucketFolder(request.getfixturevalue("bucket"), f"{namespace}/{name}")
        folder = tmp_path / name
        folder.mkdir()
        return LocalFolder(folder)

    return make


@pytest.fixture
def ingest(service: Service, namespace: str, new_folder: Callable[[str], Folder]) -> Ingest:
    """Makes an ingestion over a new folder with these files. Further fields of IngestionCreate by keyword.

    Columns are appended and `_source_file` is asked for, unless the test says otherwise (`destination={…}` and
    `source={…}` are merged). `folder` is one of this machine, or another ingestion's `place`.
    """
    made: list[Ingestion] = []

    def make(
        kind: str,
        files: Mapping[str, Content] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
        folder: Path | Folder | None = None,
        source: Mapping[str, Any] | None = None,
        destination: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Ingestion:
        if folder is None:
            folder = new_folder(f"source{len(made)}")
        place = LocalFolder(folder) if isinstance(folder, Path) else folder
        given = Ingestion(
            service,
            {
                "name": f"test {len(made)}",
                "source": place.source | dict(source or {}),
                "format": {"type": kind, "options": dict(options or {})} | ({"schema": schema} if schema else {}),
                "destination": {
                    "catalog": "lake",
                    "database": namespace,
                    "table": f"t{len(made)}",
                    "lineage_columns": ["_source_file"],
                }
                | dict(destination or {}),
                "on_schema_change": "append_new_columns",
            }
            | fields,
            place,
        )
        made.append(given)
        given.write(files or {})
        return given

    return make
