"""Sessions with Spark for users: with the cluster that is meant, its token and catalog, apart from those of runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.integration.conftest import Ingest
from tests.parts import sparks
from tests.parts.listening import nobody

from autoloader_sdk import AutoloaderError
from autoloader_sdk.config import Secret
from autoloader_sdk.spark import read_table, session, with_token
from autoloader_server.service import Service
from autoloader_server.settings import Settings
from autoloader_server.spark.errors import SparkUnavailable
from autoloader_server.spark.local import LocalSpark


def address_of(home: Path, remote: str | None) -> tuple[str, str | None]:
    """Where the server of this test is, as a service tells it: the URL without the token; and the token, if any."""
    whole = remote or LocalSpark(home).ensure()
    token = re.search(r";(?:token=|authorization=Bearer%20)([^;]+)", whole)
    return (whole, None) if token is None else (whole.replace(token[0], ""), token[1])


@pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
def test_a_session_has_the_catalog_and_reads_the_table(
    ingest: Ingest, home: Path, remote: str | None, namespace: str
) -> None:
    orders = ingest("csv", {"a.csv": "id,n\n1,x\n"})
    assert orders.load().status == "success"
    url, token = address_of(home, remote)
    spark = session(url, token=token, catalog="lake")
    assert spark.catalog.currentCatalog() == "lake"
    table = orders.spec.destination.table
    assert [tuple(row)[:2] for row in read_table(spark, "lake", namespace, table).collect()] == [(1, "x")]
    assert spark.sql(f"SELECT n FROM {namespace}.{orders.table.rpartition('.')[2]}").collect()[0][0] == "x"
    assert spark.createDataFrame([(1,)], "a int").count() == 1
    assert session(url, token=token, catalog="lake") is spark
    other = session(url, token=token)
    assert other is not spark
    other.catalog.setCurrentCatalog("spark_catalog")
    assert spark.catalog.currentCatalog() == "lake"
    spark.stop()
    assert session(url, token=token, catalog="lake").catalog.currentCatalog() == "lake"
    for each in (other, session(url, token=token, catalog="lake")):
        each.stop()


@pytest.mark.sparks(sparks.LOCAL)
def test_a_clusters_token_is_read_when_a_session_is_asked_for(home: Path, tmp_path: Path) -> None:
    url, token = address_of(home, None)
    kept = tmp_path / "token"
    kept.write_text("an-0ld-token")
    cluster = {"id": "c", "url": f"{url.rstrip(';/')}/;use_ssl=false", "token": f"file:{kept}"}
    service = Service.open(Settings.load(home=tmp_path / "service", clusters=[cluster]))
    try:
        with pytest.raises(SparkUnavailable, match="refuses the token") as refused:
            service.spark_of("c").session()
        assert "an-0ld-token" not in str(refused.value)
        kept.write_text(str(token))
        assert service.spark_of("c").session().range(3).count() == 3
        kept.unlink()
        # One that is there goes on; whoever needs a new one is told.
        assert service.spark_of("c").session().range(3).count() == 3
        service.spark_of("c").close()
        with pytest.raises(SparkUnavailable, match="cluster 'c': its token should be in the file"):
            service.spark_of("c").session()
    finally:
        service.close()


@pytest.mark.sparks(sparks.LOCAL)
def test_each_address_has_a_session_of_its_own_and_a_wrong_token_is_told(home: Path, remote: str | None) -> None:
    url, token = address_of(home, remote)
    assert token is not None
    right = session(url, token=token)
    for wrong in (None, "wr0ng/with+a=slash"):
        with pytest.raises(AutoloaderError, match="could not be reached with Spark Connect") as caught:
            session(url, token=wrong)
        assert token not in str(caught.value)
        assert "wr0ng" not in str(caught.value)
        assert "must be empty" not in str(caught.value)
        assert "RPC that terminated" not in str(caught.value)
    away = nobody().replace("http://", "sc://")
    with pytest.raises(AutoloaderError, match=f"{away} could not be reached"):
        session(away)
    assert session(url, token=token) is right
    right.stop()


def test_a_users_session_is_none_of_the_runs(ingest: Ingest, service: Service, tmp_path: Path) -> None:
    orders = ingest("csv", {"a.csv": "id,n\n1,x\n"})
    own = service.spark_of(None).for_user()
    assert service.spark_of(None).for_user() is own
    own.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    own.catalog.setCurrentCatalog("spark_catalog")
    assert orders.load().status == "success"
    assert orders.rows() == [(1, "x")]
    assert service.spark.session().conf.get("spark.sql.session.timeZone") == "UTC"
    own.stop()
    again = service.spark_of(None).for_user()
    assert again.sql("SELECT 1").collect()[0][0] == 1


def test_a_service_that_names_no_address_says_how_the_table_is_read_otherwise() -> None:
    with pytest.raises(AutoloaderError, match=r"Client\.local\(home\)"):
        session(None)


def test_a_client_of_spark_that_is_too_old_is_told_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyspark

    monkeypatch.setattr(pyspark, "__version__", "3.4.1")
    with pytest.raises(AutoloaderError, match=r"3\.4\.1 is installed, .* pip install 'autoloader-sdk\[spark\]'"):
        session("sc://127.0.0.1:1")


@pytest.mark.parametrize(
    ("told", "token", "used"),
    [
        ("sc://h:1/;token=***", "", "sc://h:1/"),
        ("sc://h:1/;use_ssl=true;token=***;user_id=me", "", "sc://h:1/;use_ssl=true;user_id=me"),
        ("sc://h:1/;token=***", "mine", "sc://h:1/;token=mine"),
        ("sc://h:1/;use_ssl=false;authorization=Bearer%20***", "m", "sc://h:1/;use_ssl=false;authorization=Bearer%20m"),
    ],
)
def test_a_token_that_the_service_has_masked_is_not_sent(told: str, token: str, used: str) -> None:
    assert with_token(told, Secret(token)) == used
