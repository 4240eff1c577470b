"""Clusters: test-connection says what a server has and lacks, and a session that is lost in the middle is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql.connect.session import SparkSession
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion
from tests.integration.test_load_avro_orc import avro
from tests.integration.test_spark_hello import spark_of_version
from tests.parts import spark35, sparks
from tests.parts.object_stores import Seaweed
from tests.parts.sparks import Running

from autoloader_sdk.models import ConnectionTest
from autoloader_server.engine.iceberg import Table
from autoloader_server.service import Service
from autoloader_server.services import clusters
from autoloader_server.settings import Settings
from autoloader_server.spark.sessions import SparkSessions, connect, release

CSV = "a,b\n1,x\n2,y\n"


def answer_of(folder: Path, cluster: Mapping[str, Any]) -> ConnectionTest:
    settings = Settings.load(home=folder / "service", clusters=[{"id": "c", **cluster}])
    service = Service.open(settings)
    try:
        return clusters.test_connection(service, "c")
    finally:
        service.close()


@pytest.mark.sparks(sparks.OLD, sparks.NEW)
def test_a_cluster_that_has_everything_says_what_it_has(
    remote: str, lake: SparkSessions, spark: str, tmp_path: Path
) -> None:
    found = answer_of(tmp_path, {"url": remote, "catalog": "lake"})
    assert (found.status, found.cluster_id, found.spark_version) == ("success", "c", spark35.VERSION), found
    assert (found.catalog, found.iceberg_version) == ("lake", "1.4.3" if spark == sparks.OLD else "1.11.0")
    assert found.available_memory_gb is not None
    assert found.missing == []


@pytest.mark.sparks(sparks.OLD)
def test_a_catalog_that_is_not_there_is_named(remote: str, lake: SparkSessions, ingest: Ingest, tmp_path: Path) -> None:
    found = answer_of(tmp_path, {"url": remote, "catalog": "warehouse"})
    assert found.status == "failed"
    assert "there is no catalog 'warehouse'" in found.missing[0]
    assert "iceberg-spark-runtime-3.5_2.12" in found.missing[0]
    ran = ingest("csv", {"a.csv": CSV}, destination={"catalog": "warehouse"}).load()
    assert ran.status == "failed"
    assert "there is no catalog 'warehouse'" in str(ran.message)
    assert [error.category for error in ran.errors] == ["missing"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on which Iceberg's SQL is not switched on, and with a catalog of a jar that is not there."""
    with spark35.running(tmp_path_factory.mktemp("bare"), extensions=False) as server:
        yield server.url


def test_a_server_without_icebergs_extensions_is_told_so(bare: str, tmp_path: Path) -> None:
    found = answer_of(tmp_path, {"url": bare, "catalog": "lake"})
    assert (found.status, found.iceberg_version) == ("failed", "1.4.3")
    assert "spark.sql.extensions=" in found.missing[0]
    assert "iceberg-spark-runtime-3.5_2.12" in found.missing[0]


def test_a_server_without_icebergs_jar_is_told_which(bare: str, tmp_path: Path) -> None:
    found = answer_of(tmp_path, {"url": bare, "catalog": "absent"})
    assert found.status == "failed"
    assert "has no Iceberg: it needs the jar org.apache.iceberg:iceberg-spark-runtime-3.5_2.12" in found.missing[0]


def test_a_run_on_a_server_without_icebergs_extensions_says_so(
    bare: str, ingest: Ingest, service: Service, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    service.spark = SparkSessions(service.home, bare)
    try:
        ran = ingest("csv", {"a.csv": CSV}, folder=tmp_path / "in").load()
    finally:
        service.spark.close()
    assert ran.status == "failed"
    assert "Iceberg's SQL is not switched on" in str(ran.message)


def test_a_run_of_avro_on_a_server_without_its_jar_says_which(bare: str, ingest: Ingest, service: Service) -> None:
    service.spark = SparkSessions(service.home, bare)
    try:
        ran = ingest("avro", {"a.avro": avro({"a": "long"}, [{"a": 1}])}).load()
    finally:
        service.spark.close()
    assert ran.status == "failed"
    assert "cannot read Avro: it needs the jar org.apache.spark:spark-avro_2.12:3.5.7" in str(ran.message)


def test_a_run_on_a_server_without_icebergs_jar_or_the_s3_connector_says_which(
    bare: str,
    ingest: Ingest,
    service: Service,
    seaweed: Seaweed,
) -> None:
    bucket = seaweed.bucket()
    bucket.put("in/a.csv", CSV.encode())
    source = {"type": "s3", "path": bucket.path("in/"), "credentials": bucket.credentials}
    service.spark = SparkSessions(service.home, bare)
    try:
        no_iceberg = ingest("csv", {"a.csv": CSV}, destination={"catalog": "absent"}).load()
        no_s3 = ingest("csv", source=source).load()
    finally:
        service.spark.close()
    assert (no_iceberg.status, no_s3.status) == ("failed", "failed")
    assert "iceberg-spark-runtime-3.5_2.12" in str(no_iceberg.message)
    assert "hadoop-aws:3.3.4" in str(no_s3.message)


def test_a_cluster_that_is_not_reached_is_told_in_plain_words(tmp_path: Path) -> None:
    found = answer_of(tmp_path, {"url": "sc://127.0.0.1:1"})
    assert found.status == "failed"
    assert "nothing listens there" in str(found.message)


def test_a_run_on_a_cluster_that_is_not_reached_or_of_another_version_fails_and_the_next_one_loads(
    ingest: Ingest, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = ingest("csv", {"a.csv": CSV})
    good = service.spark
    with spark_of_version("2.4.8") as port:
        for url, said in (("sc://127.0.0.1:1", "nothing listens there"), (f"sc://127.0.0.1:{port}", "2.4.8")):
            monkeypatch.setattr(service, "spark", SparkSessions(service.home, url))
            ran = loaded.load()
            assert ran.status == "failed"
            assert said in str(ran.message)
            assert [error.category for error in ran.errors] == ["connectivity"]
            service.spark.close()
    monkeypatch.setattr(service, "spark", good)
    assert loaded.load().records == 2


def in_the_middle(monkeypatch: pytest.MonkeyPatch, happens: Any) -> None:
    """Once, when a run is about to write its files into the table."""
    append = Table.append
    left = [happens]

    def interrupted(table: Table, *arguments: Any) -> None:
        if left:
            left.pop()()
        append(table, *arguments)

    monkeypatch.setattr(Table, "append", interrupted)


def fails_and_is_made_good(loaded: Ingestion, lake: SparkSessions) -> None:
    before = lake.session()
    ran = loaded.load()
    assert ran.status == "failed"
    assert [error.category for error in ran.errors] == ["connectivity"]
    assert "has dropped our session" in str(ran.message)
    assert "run again" in str(ran.message)
    assert loaded.load().status == "success"
    assert lake.session() is not before
    assert loaded.rows() == [(1, "x"), (2, "y")]


def test_a_session_that_is_ended_in_the_middle_fails_the_run_and_the_next_one_has_another(
    ingest: Ingest, lake: SparkSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = ingest("csv", {"a.csv": CSV})
    session = lake.session()
    url = lake._url

    def evict() -> None:
        joined = "" if "/;" in str(url) else "/"
        other = SparkSession(connection=f"{url}{joined};session_id={session.session_id}")
        other.client.release_session()
        other.client._channel.close()

    in_the_middle(monkeypatch, evict)
    fails_and_is_made_good(loaded, lake)


def test_a_server_that_makes_another_session_without_a_word_is_seen_through(
    ingest: Ingest, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark 3.5 does: after a restart, and for a session that was idle for an hour."""
    server = spark35.start(tmp_path / "spark")
    remote = service.spark = SparkSessions(service.home, server.url)

    def restart() -> None:
        server.kill()
        server.ensure()

    try:
        in_the_middle(monkeypatch, restart)
        fails_and_is_made_good(ingest("csv", {"a.csv": CSV}), remote)
    finally:
        remote.close()
        server.stop()


@pytest.mark.sparks(sparks.OLD)
def test_statements_and_frames_of_ours_work_on_an_older_server(remote: str) -> None:
    session = connect(remote)
    try:
        assert session.sql("SELECT :a AS a, 'x' AS b", args={"a": 3}).collect() == [(3, "x")]
        assert session.sql("SELECT ? AS a", args=["x"]).collect() == [("x",)]
        made: Any = session.createDataFrame([(1, "x"), (2, None)], "a int, b string")
        assert made.collect() == [(1, "x"), (2, None)]
        assert made.toPandas().shape == (2, 2)
        assert repr(made) == "DataFrame[a: int, b: string]"
    finally:
        release(session)


def test_each_ingestion_runs_on_the_cluster_that_it_names(
    servers: Callable[[str], Running], namespace: str, tmp_path: Path
) -> None:
    old = servers(sparks.OLD)
    service = Service.open(
        Settings.load(
            home=servers(sparks.LOCAL).home,
            database_url=f"sqlite:///{tmp_path}/autoloader.db",
            clusters=[{"id": "old", "url": old.url, "catalog": "lake"}],
        )
    )
    try:
        made = {cluster: _on(service, cluster, namespace, tmp_path) for cluster in ("local", "old", "unknown")}
        # At once: each has its own session.
        runs = {cluster: ingestion.request() for cluster, ingestion in made.items()}
        for cluster, run_id in runs.items():
            ran = made[cluster].wait(run_id)
            assert (ran.status, ran.records) == ("success", 2), (cluster, ran)
        # A cluster that nobody knows is the local one.
        here = [(row.tableName, row.namespace) for row in _tables(service.spark, namespace)]
        assert sorted(here) == [("local", namespace), ("unknown", namespace)]
        there = [row.tableName for row in _tables(service.spark_of("old"), namespace)]
        assert there == ["old"]
        assert service.spark_of("old").session().table(f"lake.{namespace}.old").count() == 2
    finally:
        service.close()


def _on(service: Service, cluster: str, namespace: str, folder: Path) -> Ingestion:
    """An ingestion of one file into a table that is called like its cluster."""
    source = folder / cluster
    source.mkdir()
    (source / "a.csv").write_text(CSV)
    return Ingestion(
        service,
        {
            "name": cluster,
            "cluster_id": cluster,
            "source": {"type": "local", "path": str(source)},
            "format": {"type": "csv"},
            "destination": {"catalog": "lake", "database": namespace, "table": cluster},
        },
    )


def _tables(spark: SparkSessions, namespace: str) -> list[Any]:
    return spark.session().sql(f"SHOW TABLES IN lake.{namespace}").collect()
