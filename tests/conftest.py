"""For all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from tests.parts import postgres as part
from tests.parts import sparks
from tests.parts.object_stores import bucket, ministack, seaweed  # noqa: F401 - fixtures of all tests
from tests.parts.postgres import PostgresServer
from tests.parts.sparks import Running

from autoloader_server.db.engine import Database
from autoloader_server.db.migrate import migrate

pytest_addoption = sparks.add_option
pytest_generate_tests = sparks.generate


def pytest_configure() -> None:
    # Servers that are killed and started again pay for the second compiler of Java and never get to what it brings; and
    # shuffles of 200 partitions for a few rows (`expire_snapshots` has three) cost as much as ten runs.
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -Dspark.sql.shuffle.partitions=2")
    # Whoever ends us by SIGTERM (a time limit) must not leave the servers behind that we have started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell that starts us in the background has us ignore Ctrl-C, and so would every process that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: files are dealt out whole, and short ones even out the end."""
    folders = ("chaos", "integration", "contract", "unit")
    items.sort(key=lambda item: (item.path.name != "test_interleavings.py", folders.index(item.path.parent.name)))


@pytest.fixture(scope="session")
def spark(request: pytest.FixtureRequest) -> str:
    """Which Spark this test runs on."""
    return str(getattr(request, "param", sparks.LOCAL))


@pytest.fixture(scope="session")
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Running]]:
    """The Spark servers, each kept for all tests that ask for it."""

    def make_database() -> str:
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.make_database()

    with sparks.servers(lambda: tmp_path_factory.mktemp("home"), make_database) as of:
        yield of


@pytest.fixture(scope="session")
def home(servers: Callable[[str], Running], spark: str) -> Path:
    """The state folder of the Spark server that this test runs on."""
    return servers(spark).home


@pytest.fixture(scope="session")
def remote(servers: Callable[[str], Running], spark: str) -> str | None:
    """The URL of the Spark server, where it is not the local one."""
    return servers(spark).url


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The one PostgreSQL server of all tests but those that stop it."""
    with part.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """A database with our tables, to be copied from."""
    return part.migrated_template(postgres)


@contextmanager
def _database_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database for one test, on PostgreSQL with our tables in it; whoever opens a service migrates anyway."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.make_database(request.getfixturevalue("postgres_template"))
    yield url
    server.drop_database(url)


@pytest.fixture
def own_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database for this test alone: SQLite's, or with `--on cluster` one of PostgreSQL."""
    kind = "postgresql" if sparks.on_cluster(request.config) else "sqlite"
    with _database_of(kind, request, tmp_path) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """What runs on both databases asks for this, or for what stands below."""
    return str(request.param)


@pytest.fixture
def empty_database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.make_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database for this test alone."""
    with _database_of(database_kind, request, tmp_path) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """That database, opened, with our tables."""
    database = Database(database_url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def quick_database(database_url: str) -> Iterator[Database]:
    """The same for many small transactions, none of which has to survive a power cut."""
    database = Database(database_url)
    if database.is_sqlite:
        event.listen(database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    migrate(database)
    yield database
    database.close()
