"""Loads from S3: with the ingestion's own rights and no other's, and under the exact key of each object."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql.types import IntegerType, StructField, StructType
from sqlalchemy import select
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion
from tests.integration.test_load_parquet import parquet
from tests.parts import spark35, sparks
from tests.parts.object_stores import Bucket, ObjectStore, Seaweed

from autoloader_sdk.discovery.s3 import S3Store
from autoloader_sdk.discovery.s3_access import S3Access
from autoloader_sdk.models import IngestionUpdate
from autoloader_server.db.tables import run_errors, run_logs
from autoloader_server.engine import place as engine_place
from autoloader_server.engine.formats.base import Looks
from autoloader_server.engine.formats.csv_files import Csv
from autoloader_server.engine.formats.json_files import Json
from autoloader_server.engine.place import Place
from autoloader_server.services import ingestions
from autoloader_server.services import runs as run_service
from autoloader_server.spark.s3 import S3Reads
from autoloader_server.spark.sessions import connect, release

# Their connectors are of different SDKs.
on_both = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
ROW = '{"a": 1}\n'
# SeaweedFS keeps a backslash as a slash.
KEYS = [
    "two words",
    "percent%20twenty",
    "per%cent",
    "plus+plus",
    "hash#tag",
    "[1]",
    "{a,b}",
    "star*",
    "question?",
    "ü",
    "😀",
    "quo'te\"`",
    "a&b=c;d@f$g",
    "at 10:30",
    "dot.",
    "<angle>|^~",
    "comma,c",
    " leading",
    "/".join(["y" * 230] * 4),
]


def source(bucket: Bucket, key: str = "", **credentials: Any) -> dict[str, Any]:
    return {"type": "s3", "path": bucket.path(key), "credentials": {**bucket.credentials, **credentials}}


@on_both
def test_two_ingestions_on_one_server_never_read_through_each_others_keys(
    ingest: Ingest,
    seaweed: Seaweed,
) -> None:
    a, b = seaweed.bucket(), seaweed.bucket()
    for bucket in (a, b):
        bucket.put("x.json", f'{{"a": "{bucket.name}"}}\n')
    assert ingest("json", source=source(a)).load().status == "success"
    assert ingest("json", source=source(b)).load().status == "success"
    # A's bucket was read a moment ago, in the same Spark; with B's keys it is closed all the same.
    crossed = ingest("json", source={"type": "s3", "path": a.path(), "credentials": b.credentials})
    ran = crossed.load()
    assert ran.status == "failed"
    assert [error.category for error in ran.errors] == ["auth"]
    assert repr(a.name) in (ran.message or "")
    for secret in (a.credentials["aws_secret_access_key"], b.credentials["aws_secret_access_key"]):
        assert secret not in (ran.message or "")


@on_both
def test_spark_reads_with_an_ingestions_own_keys_even_if_the_service_could_list_with_others(
    ingest: Ingest, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = seaweed.bucket(), seaweed.bucket()
    a.put("x.json", ROW)
    assert ingest("json", source=source(a)).load().status == "success"
    crossed = ingest("json", source={"type": "s3", "path": a.path(), "credentials": b.credentials})

    def let_in(path: str, _access: S3Access, **more: Any) -> S3Store:
        return S3Store(path, S3Access.of(a.credentials), **more)

    with monkeypatch.context() as patched:
        patched.setattr(engine_place, "S3Store", let_in)
        ran = crossed.load()
    assert (ran.status, ran.records) == ("failed", 0)
    assert {error.category for error in ran.errors if error.file is not None} == {"auth"}


@on_both
def test_spark_itself_is_refused_with_the_keys_of_another(ingest: Ingest, seaweed: Seaweed) -> None:
    """The worker is refused before Spark is asked; so Spark is asked here without it."""
    a, b = seaweed.bucket(), seaweed.bucket()
    a.put("x.json", ROW)
    spark = ingest("json", source=source(a)).service.spark.session()
    own, other = (S3Reads.of(S3Access.of(bucket.credentials)) for bucket in (a, b))
    path = a.path("x.json")
    for _ in range(2):
        assert spark.read.options(**own.options).schema("a int").json(own.path(path)).collect()[0][0] == 1
        with pytest.raises(Exception, match=r"AccessDenied|403|Forbidden"):
            spark.read.options(**other.options).schema("a int").json(other.path(path)).collect()


@on_both
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_each_key_is_loaded_under_its_exact_path(ingest: Ingest, seaweed: Seaweed, kind: str) -> None:
    bucket = seaweed.bucket()
    row = ROW if kind == "json" else "a,b\n1,2\n"
    keys = [f"d/{name}.{kind}" for name in KEYS]
    for key in keys:
        bucket.put(key, row)
    loaded = ingest(kind, source=source(bucket, "d/"))
    ran = loaded.load()
    assert ran.errors == []
    expected = {bucket.path(key): 1 for key in keys}
    assert loaded.counts() == expected
    assert {path: known.records for path, known in loaded.files().items()} == expected
    assert loaded.load().message == "nothing new"


@on_both
def test_changed_vanished_and_new_objects_are_told_apart(ingest: Ingest, seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    for name in ("a", "b", "c"):
        bucket.put(f"d/{name}.json", ROW)
    loaded = ingest("json", source=source(bucket, "d"))
    assert loaded.load().records == 3
    bucket.put("d/a.json", ROW * 2)
    bucket.delete("d/b.json")
    bucket.put("d/e.json", ROW * 4)
    bucket.put("d/_SUCCESS", b"")
    bucket.put("d/empty.json", b"")
    ran = loaded.load()
    assert (ran.status, ran.files, ran.records) == ("success", 1, 4)
    files = loaded.files()
    assert files[bucket.path("d/a.json")].status == "HELD"
    assert files[bucket.path("d/empty.json")].status == "SKIPPED"
    assert files[bucket.path("d/_SUCCESS")].status == "SKIPPED"
    assert len(loaded.rows()) == 7


@on_both
def test_one_closed_object_among_many_fails_alone_and_is_taken_up_when_it_is_open(
    ingest: Ingest,
    seaweed: Seaweed,
) -> None:
    bucket = seaweed.bucket()
    for key in ("open/a.json", "open/b.json", "closed/c.json"):
        bucket.put(key, ROW)
    loaded = ingest("json", source=source(bucket, **seaweed.partial(bucket)))
    ran = loaded.load()
    assert (ran.status, ran.files) == ("partial", 2)
    [failed] = ran.errors
    assert (failed.file, failed.category) == (bucket.path("closed/c.json"), "auth")
    assert "may not be read" in failed.message
    (last,) = run_service.find(loaded.service, loaded.id).items
    opened = IngestionUpdate.model_validate({"source": {"credentials": bucket.credentials}})
    ingestions.change(loaded.service, loaded.id, opened)
    assert loaded.wait(run_service.retry(loaded.service, loaded.id, last.id).run_id).files == 1
    assert loaded.counts() == dict.fromkeys(map(bucket.path, ("open/a.json", "open/b.json", "closed/c.json")), 1)


@on_both
def test_no_secret_stands_in_a_plan(ingest: Ingest, seaweed: Seaweed, capsys: pytest.CaptureFixture[str]) -> None:
    """What records are told apart by are expressions, whose options EXPLAIN, the SQL tab and errors show."""
    bucket = seaweed.bucket()
    bucket.put("x.csv", "a\n1\nx\n")
    bucket.put("x.json", '{"a": 1}\n{"a": "x"}\n')
    loaded = ingest("csv", source=source(bucket))
    place = Place.of(loaded.spec.source, lambda: bucket.credentials, lambda _: None)
    schema = StructType([StructField("a", IntegerType())])
    readers: list[tuple[str, str, Csv | Json]] = [
        ("x.csv", "csvtostructs", Csv({}, place)),
        ("x.json", "jsontostructs", Json({}, place, sifts=True)),
    ]
    for name, expression, reader in readers:
        looks = Looks.of(reader.look([(bucket.path(name), 8)], None)).good
        frame = reader.sifted(loaded.service.spark.session(), looks, schema, all_known=False)
        assert frame.count() == 2
        frame.explain(extended=True)
        told = capsys.readouterr().out
        assert expression in told.lower().replace("from_csv", "csvtostructs").replace("from_json", "jsontostructs")
        assert bucket.credentials["aws_secret_access_key"] not in told


def test_no_key_stands_in_what_a_cluster_shows_of_our_requests(seaweed: Seaweed, tmp_path: Path) -> None:
    """Its page of Spark Connect, and its event log, hold the text of each: the options of a read among it."""
    bucket = seaweed.bucket()
    bucket.put("x.csv", "a\n1\n")
    events = tmp_path / "events"
    events.mkdir()
    keys = {**bucket.credentials, "aws_session_token": 'a "quoted" t0ken'}
    settings = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": events.as_uri()}
    with spark35.running(tmp_path / "home", settings=settings) as server:
        session = connect(server.url)
        for given in (bucket.credentials, keys):
            reads = S3Reads.of(S3Access.of(given))
            frame = session.read.options(**reads.options).csv(reads.path(bucket.path("x.csv")))
            if given is bucket.credentials:
                assert frame.count() == 2
            else:
                with pytest.raises(Exception, match=r"x\.csv|403|Forbidden|denied"):
                    frame.count()
        release(session)
    told = "".join(path.read_text() for path in events.rglob("*") if path.is_file())
    assert "ConnectOperationStarted" in told
    assert "x.csv" in told
    for name in ("aws_access_key_id", "aws_secret_access_key"):
        assert bucket.credentials[name] not in told, name
    assert "t0ken" not in told


def test_bad_objects_are_named_and_the_others_loaded(ingest: Ingest, seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    bucket.put("d/good.json", ROW)
    loaded = ingest("json", source=source(bucket, "d/"))
    loaded.load()
    bucket.put("d/bad [1].json", '{"a": "text"}\n')
    bucket.put("d/cut.json.gz", gzip.compress(ROW.encode() * 1000)[:-20])
    bucket.put("d/whole.json.gz", gzip.compress(ROW.encode() * 3))
    ran = loaded.load()
    assert (ran.status, ran.files, ran.records) == ("partial", 1, 3)
    assert {error.file for error in ran.errors} == {bucket.path("d/bad [1].json"), bucket.path("d/cut.json.gz")}
    assert not [error for error in ran.errors if "://" in error.message and "s3://" not in error.message]


@on_both
def test_parquet_is_loaded_from_s3(ingest: Ingest, seaweed: Seaweed) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    bucket = seaweed.bucket()
    for number in range(3):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"a": [number]}), buffer)
        bucket.put(f"d/{number}.parquet", buffer.getvalue())
    bucket.put("d/bad.parquet", b"no parquet at all")
    loaded = ingest("parquet", source=source(bucket, "d/"))
    ran = loaded.load()
    assert (ran.status, ran.files) == ("partial", 3)
    assert loaded.values("a") == [0, 1, 2]


@on_both
def test_keys_that_no_reader_can_tell_fail_with_the_reason_and_the_rest_is_loaded(
    ingest: Ingest,
    ministack: ObjectStore,
) -> None:
    bucket = ministack.bucket()
    bad = ["d/x//y.json", "d/tab\tt.json", "d/./z.json", "d/../w.json"]
    for key in ["d/a.json", "d/back\\slash.json", "d/zz.json", *bad]:
        bucket.put(key, ROW)
    loaded = ingest("json", source=source(bucket, "d/"))
    ran = loaded.load()
    assert (ran.status, ran.files) == ("partial", 3)
    assert {error.file for error in ran.errors} == {bucket.path(key) for key in bad}
    assert all("which Spark can not read" in error.message for error in ran.errors)
    assert [note for note in ran.notes if "slower lister" in note]
    assert loaded.load().message == "nothing new"


def test_an_object_and_a_folder_marker_of_one_name_load_once(ingest: Ingest, ministack: ObjectStore) -> None:
    bucket = ministack.bucket()
    bucket.put("d/a.json", ROW)
    bucket.put("d/a.json/", b"")
    loaded = ingest("json", source=source(bucket, "d/"))
    assert loaded.load().records == 1
    for _ in range(2):
        assert loaded.load().message == "nothing new"
    assert loaded.files()[bucket.path("d/a.json")].status == "SUCCESS"


@on_both
def test_keys_by_reference_are_followed_at_each_run_and_never_sent_back(
    ingest: Ingest,
    seaweed: Seaweed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = seaweed.bucket()
    bucket.put("x.json", ROW)
    keys = bucket.credentials
    monkeypatch.setenv("THE_SECRET", "not-yet-right")
    loaded = ingest("json", source=source(bucket, aws_secret_access_key={"env": "THE_SECRET"}))
    refused = loaded.load()
    assert refused.status == "failed"
    assert "aws_secret_access_key is not the one" in (refused.message or "")
    monkeypatch.delenv("THE_SECRET")
    missing = loaded.load()
    assert (missing.status, missing.errors[0].category) == ("failed", "auth")
    assert "refers to the variable 'THE_SECRET'" in (missing.message or "")
    monkeypatch.setenv("THE_SECRET", keys["aws_secret_access_key"])
    assert loaded.load().status == "success"
    answered = ingestions.get(loaded.service, loaded.id)
    assert set((answered.source.credentials or {}).values()) == {"***"}
    assert keys["aws_secret_access_key"] not in _everything_written(loaded)


@pytest.mark.sparks(sparks.LOCAL)
def test_the_local_spark_reads_with_the_keys_of_the_services_profile(
    ingest: Ingest, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    a, b = seaweed.bucket(), seaweed.bucket()
    for bucket in (a, b):
        bucket.put("x.json", ROW)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    profiles = [
        f"[{bucket.name}]\naws_access_key_id = {bucket.credentials['aws_access_key_id']}\n"
        f"aws_secret_access_key = {bucket.credentials['aws_secret_access_key']}\n"
        for bucket in (a, b)
    ]
    (tmp_path / "credentials").write_text("\n".join(profiles))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    place = {"endpoint_url": a.credentials["endpoint_url"], "region": "us-east-1"}
    loaded = ingest("json", source={"type": "s3", "path": a.path(), "credentials": place})
    nobody = loaded.load()
    assert (nobody.status, nobody.errors[0].category) == ("failed", "auth")
    monkeypatch.setenv("AWS_PROFILE", b.name)
    assert (loaded.load().status, loaded.load().errors[0].category) == ("failed", "auth")
    monkeypatch.setenv("AWS_PROFILE", a.name)
    assert loaded.load().records == 1
    assert a.credentials["aws_secret_access_key"] not in _everything_written(loaded)


@pytest.mark.sparks(sparks.OLD)
@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_a_cluster_without_keys_for_the_bucket_fails_the_run_and_blames_no_file(
    ingest: Ingest, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    bucket = seaweed.bucket()
    content = ROW if kind == "json" else parquet({"a": [1]})
    for at in range(20):
        bucket.put(f"{at}", content)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.credentials["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.credentials["aws_secret_access_key"])
    place = {"endpoint_url": bucket.credentials["endpoint_url"], "region": "us-east-1"}
    loaded = ingest(kind, source={"type": "s3", "path": bucket.path(), "credentials": place})
    ran = loaded.load()
    assert (ran.status, {error.file for error in ran.errors}) == ("failed", {None})
    assert ran.errors[0].category == "auth"
    assert "Spark has no keys for the store" in ran.errors[0].message
    bucket.put("more", content)
    given = IngestionUpdate.model_validate({"source": {"credentials": bucket.credentials}})
    ingestions.change(loaded.service, loaded.id, given)
    assert loaded.load().records == 21


@on_both
def test_keys_for_a_while_are_loaded_with_their_token(ingest: Ingest, ministack: ObjectStore) -> None:
    bucket = ministack.bucket()
    bucket.put("x.json", ROW)
    assert ingest("json", source=source(bucket, aws_session_token="for a while")).load().records == 1


@on_both
def test_a_bucket_that_is_not_there_fails_the_run_as_missing(ingest: Ingest, seaweed: Seaweed) -> None:
    keys = seaweed._keys("rootkey", "rootsecret")
    ran = ingest("json", source={"type": "s3", "path": "s3://nobodys-bucket/x/", "credentials": keys}).load()
    assert (ran.status, ran.errors[0].category) == ("failed", "missing")
    assert "there is no bucket 'nobodys-bucket'" in (ran.message or "")


def _everything_written(loaded: Ingestion) -> str:
    with loaded.service.database.read() as connection:
        errors = connection.execute(select(run_errors.c.message)).scalars().all()
        rows = connection.exec_driver_sql("SELECT * FROM ingestions").all()
        lines = connection.execute(select(run_logs)).all()
    return f"{errors} {rows} {lines}"
