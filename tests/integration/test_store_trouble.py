"""A store that fails in the middle of a run: keys that expire, a bucket elsewhere, a store that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion
from tests.parts import sparks
from tests.parts.object_stores import Bucket, Seaweed
from tests.parts.store_proxy import BROKEN, ELSEWHERE, EXPIRED, GONE, Proxy, proxied

from autoloader_server.db.clock import now
from autoloader_server.engine import ledger
from autoloader_server.engine.work import Work

# Their connectors are of different SDKs.
pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)


@pytest.fixture(scope="module")
def front(seaweed: Seaweed) -> Iterator[Proxy]:
    with proxied(seaweed) as proxy:
        yield proxy


@pytest.fixture
def proxy(front: Proxy) -> Iterator[Proxy]:
    yield front
    front.clear()


def made(ingest: Ingest, bucket: Bucket, proxy: Proxy, **fields: Any) -> Ingestion:
    credentials = {**bucket.credentials, "endpoint_url": proxy.url}
    source = {"type": "s3", "path": bucket.path(), "credentials": credentials}
    return ingest("json", source=source, **fields)


SAID = {
    "expired": (EXPIRED, "auth", "expired"),
    "elsewhere": (ELSEWHERE, "connectivity", "region"),
    "gone": (GONE, "connectivity", "not answer"),
}


@pytest.mark.parametrize("trouble", SAID)
def test_a_run_that_cannot_list_says_why(ingest: Ingest, seaweed: Seaweed, proxy: Proxy, trouble: str) -> None:
    answer, category, word = SAID[trouble]
    bucket = seaweed.bucket()
    bucket.put("a.json", '{"a": 1}\n')
    loaded = made(ingest, bucket, proxy)
    proxy.answer = answer
    ran = loaded.load()
    assert ran.status == "failed"
    assert [error.category for error in ran.errors] == [category]
    assert word in (ran.message or "")
    proxy.answer = None
    assert loaded.load().records == 1


def test_a_record_that_tells_of_a_store_is_a_bad_record(ingest: Ingest) -> None:
    error = (
        "software.amazon.awssdk.services.s3.model.S3Exception: The provided token has expired. (Status Code: 400)\n"
        "Caused by: org.apache.hadoop.fs.s3a.AWSBadRequestException: ExpiredToken\n"
    )
    loaded = ingest("csv", {"a.csv": f'n,log\n1,fine\n2,"{error}"\n'})
    assert loaded.load().records == 2
    ran = loaded.load({"c.csv": f'n,log\n4,"{error}"\nfive,"{error}"\n', "d.csv": "n,log\n6,fine\n"})
    assert {name: one.category for name, one in ran.failed().items()} == {"c.csv": "data_malformed"}
    assert ran.files == 1


READING = {**SAID, "broken": (BROKEN, "connectivity", "not answer")}


@pytest.mark.parametrize(
    ("trouble", "reading"),
    [*((name, False) for name in SAID), *((name, True) for name in READING)],
    ids=lambda value: value if isinstance(value, str) else "read" if value else "there",
)
def test_what_spark_alone_cannot_read_is_loaded_when_it_can(
    ingest: Ingest,
    seaweed: Seaweed,
    proxy: Proxy,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
    remote: str | None,
    *,
    reading: bool,
) -> None:
    answer, category, word = READING[trouble]
    bucket = seaweed.bucket()
    bucket.put("a.json", '{"a": 1}\n')
    loaded = made(ingest, bucket, proxy)
    assert loaded.load().records == 1
    bucket.put("b.json", '{"a": 2}\n')
    bucket.put("c.json", '{"a": 3}\n')
    reach = Work.reach

    def reached(work: Work, point: str) -> None:
        if point == "branch_created":
            proxy.answer = answer
            proxy.meant = lambda asked: asked.by_spark and (asked.reads or not reading)
        reach(work, point)

    monkeypatch.setattr(Work, "reach", reached)
    ran = loaded.load()
    assert proxy.met, "Spark was to meet it"
    assert (ran.status, ran.records) == ("failed", 0)
    if reading and remote is not None:
        # Spark 3.5 does not come to say why. So it may have been the store: they are tried again.
        assert {error.category for error in ran.errors} == {"unknown"}
        monkeypatch.setattr(ledger, "now", lambda: now() + timedelta(hours=2))
    else:
        assert {error.category for error in ran.errors} == {category}
        assert word in (ran.message or "")
    assert bucket.credentials["aws_secret_access_key"] not in str(ran)
    monkeypatch.setattr(Work, "reach", reach)
    proxy.answer = None
    ran = loaded.load()
    assert (ran.status, ran.errors) == ("success", [])
    assert loaded.values("a") == [1, 2, 3]
