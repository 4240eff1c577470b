"""What is the same for all routes: health, errors, request ids, idempotency, who may call."""

from __future__ import annotations

import concurrent.futures
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from autoloader_sdk._http.asgi import LoopThread, PlainASGI
from autoloader_server.db.tables import idempotency_keys, ingestions, schema_versions
from autoloader_server.embedded import EmbeddedService, open_service
from autoloader_server.service import Service
from autoloader_server.services.idempotency import forget_old_keys

API = "/api/v1"
PATH = f"{API}/ingestions"


def test_the_root_names_the_service(http: httpx.Client) -> None:
    answer = http.get("/").json()
    assert answer["status"] == "healthy"
    assert answer["name"] == "autoloader"
    assert answer["version"] == metadata.version("autoloader-sdk")


def test_health_checks_the_database_and_starts_no_spark(http: httpx.Client, service: Service) -> None:
    answer = http.get("/health")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["database"]) == ("healthy", "healthy")
    assert answer.json()["spark"] == "not_started"
    assert not service.spark.started


def test_health_is_503_when_the_database_is_gone(http: httpx.Client, take_database_away: Callable[[], None]) -> None:
    take_database_away()
    answer = http.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    away = http.get(PATH)
    assert away.status_code == 503
    assert "database" in away.json()["detail"]


# As the contract has them, and what ours adds; a route that is not here is not promised to anybody.
ROUTES = {
    "GET /",
    "GET /health",
    "POST /api/v1/ingestions",
    "GET /api/v1/ingestions",
    "POST /api/v1/ingestions/test",
    "POST /api/v1/ingestions/estimate-cost",
    "GET /api/v1/ingestions/{ingestion_id}",
    "PUT /api/v1/ingestions/{ingestion_id}",
    "DELETE /api/v1/ingestions/{ingestion_id}",
    "POST /api/v1/ingestions/{ingestion_id}/run",
    "POST /api/v1/ingestions/{ingestion_id}/pause",
    "POST /api/v1/ingestions/{ingestion_id}/resume",
    "DELETE /api/v1/ingestions/{ingestion_id}/processed-files",
    "GET /api/v1/ingestions/{ingestion_id}/runs",
    "GET /api/v1/ingestions/{ingestion_id}/runs/{run_id}",
    "POST /api/v1/ingestions/{ingestion_id}/runs/{run_id}/retry",
    "POST /api/v1/ingestions/{ingestion_id}/refresh/full",
    "POST /api/v1/ingestions/{ingestion_id}/refresh/new-only",
    "GET /api/v1/ingestions/{ingestion_id}/schema-versions",
    "GET /api/v1/ingestions/{ingestion_id}/schema-versions/latest",
    "GET /api/v1/ingestions/{ingestion_id}/schema-versions/{version}",
    "GET /api/v1/clusters",
    "GET /api/v1/clusters/{cluster_id}",
    "POST /api/v1/clusters/{cluster_id}/test-connection",
    # Ours.
    "GET /api/v1/ingestions/{ingestion_id}/files",
    "GET /api/v1/ingestions/{ingestion_id}/files/why",
    "POST /api/v1/ingestions/{ingestion_id}/preview",
    "POST /api/v1/ingestions/{ingestion_id}/estimate-cost",
    "GET /api/v1/ingestions/{ingestion_id}/flow-runs",
    "POST /api/v1/ingestions/{ingestion_id}/runs/{run_id}/cancel",
    "GET /api/v1/ingestions/{ingestion_id}/runs/{run_id}/logs",
    "GET /api/v1/tokens",
    "POST /api/v1/tokens",
    "DELETE /api/v1/tokens/{token_id}",
    "GET /api/v1/ingestions/{ingestion_id}/batches",
    "GET /api/v1/ingestions/{ingestion_id}/batches/{batch_id}",
    "POST /api/v1/ingestions/{ingestion_id}/batches/{batch_id}/release",
    "POST /api/v1/ingestions/{ingestion_id}/batches/{batch_id}/drop",
}


def test_openapi_has_the_routes_of_the_contract(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} == ROUTES


def test_openapi_declares_each_parameter_that_a_path_has(http: httpx.Client) -> None:
    for path, methods in http.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path)), path


def test_what_comes_later_answers_501_with_a_sentence(http: httpx.Client) -> None:
    answer = http.get(f"{API}/ingestions/ing_0/flow-runs")
    assert answer.status_code == 501
    assert len(answer.json()["detail"].split()) > 3


def test_each_answer_has_a_request_id_and_keeps_the_callers(http: httpx.Client) -> None:
    assert http.get("/").headers["Autoloader-Version"] == http.get("/").json()["version"]
    first, second = (http.get("/").headers["X-Request-ID"] for _ in range(2))
    assert first != second
    for path in ("/", "/nowhere", f"{PATH}/ing_0"):
        assert http.get(path, headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"
    for bad in ("a b", "x" * 200, "<script>"):
        assert http.get("/", headers={"X-Request-ID": bad}).headers["X-Request-ID"] != bad


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PATCH", PATH, 405), ("GET", f"{API}/clusters/nowhere", 404)],
)
def test_errors_have_a_detail(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_a_fault_of_ours_is_500_with_the_request_id_of_its_log_and_no_secret(
    http: httpx.Client, embedded: EmbeddedService, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("connecting with password=hunter2-itself failed")

    embedded.app.add_api_route("/fail", fail, methods=["GET", "POST"])
    answer = http.get("/fail", headers={"X-Request-ID": "mine-2"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] == "mine-2"
    assert "mine-2" in answer.json()["detail"]
    assert "hunter2" not in answer.text + caplog.text
    assert "password=***" in caplog.text
    for _ in range(2):
        assert http.post("/fail", headers={"Idempotency-Key": "k"}).status_code == 500


# Who may call.


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "0.0.0.0", ""])
def test_another_host_name_is_refused(http: httpx.Client, host: str) -> None:
    answer = http.get(PATH, headers={"Host": host})
    assert answer.status_code == 403
    assert "Host" in answer.json()["detail"]
    assert "X-Request-ID" in answer.headers


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_this_machines_names_are_let_in(http: httpx.Client, host: str) -> None:
    assert http.get(PATH, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:9999", "file://", "http://localhost.evil"]
)
def test_a_page_of_another_site_is_refused(http: httpx.Client, body: dict[str, Any], origin: str) -> None:
    assert http.post(PATH, json=body, headers={"Origin": origin}).status_code == 403
    assert http.get(PATH).json() == []


def test_the_port_in_host_and_origin_must_be_ours(embedded: EmbeddedService) -> None:
    thread = LoopThread()
    with httpx.Client(transport=PlainASGI(embedded.app, thread), base_url="http://127.0.0.1:8123") as client:
        assert client.get(PATH).status_code == 200
        assert client.get(PATH, headers={"Host": "localhost"}).status_code == 200
        assert client.get(PATH, headers={"Host": "localhost:8124"}).status_code == 403
        assert client.get(PATH, headers={"Origin": "http://localhost:8123"}).status_code == 200
        assert client.get(PATH, headers={"Origin": "http://localhost:3000"}).status_code == 403
        assert client.get(PATH, headers={"Origin": "http://localhost"}).status_code == 403
    thread.stop()


# Idempotency keys.


def test_the_same_request_under_one_key_is_done_once(http: httpx.Client, body: dict[str, Any]) -> None:
    first, second = (http.post(PATH, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len(http.get(PATH).json()) == 1
    assert http.post(PATH, json=body, headers={"Idempotency-Key": "k2"}).json()["id"] != first.json()["id"]


def test_another_request_under_a_used_key_is_refused(http: httpx.Client, body: dict[str, Any]) -> None:
    made = http.post(PATH, json=body, headers={"Idempotency-Key": "k"}).json()["id"]
    assert http.post(PATH, json=body | {"name": "b"}, headers={"Idempotency-Key": "k"}).status_code == 422
    assert http.post(f"{PATH}/{made}/pause", headers={"Idempotency-Key": "k"}).status_code == 422
    assert http.get(f"{PATH}/{made}").json()["status"] == "draft"
    assert len(http.get(PATH).json()) == 1


def test_two_at_the_same_moment_make_one(http: httpx.Client, body: dict[str, Any]) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(http.post, PATH, json=body, headers={"Idempotency-Key": "k"}) for _ in range(8)]
        answers = [each.result() for each in sent]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(http.get(PATH).json()) == 1


def test_after_a_refusal_the_key_may_be_used_again(http: httpx.Client, body: dict[str, Any]) -> None:
    wrong = body | {"on_schema_change": "sometimes"}
    assert http.post(PATH, json=wrong, headers={"Idempotency-Key": "k"}).status_code == 422
    assert http.post(PATH, json=body, headers={"Idempotency-Key": "k"}).status_code == 201


def test_a_request_whose_process_died_is_done_again_without_doubling(
    http: httpx.Client, service: Service, body: dict[str, Any], going: str, ingestion: str
) -> None:
    run_path = f"{PATH}/{ingestion}/run"
    urls: tuple[tuple[str, dict[str, Any]], ...] = ((PATH, {"json": body}), (run_path, {}))
    first = [http.post(url, headers={"Idempotency-Key": f"k{url}"}, **sent).json() for url, sent in urls]
    with service.database.write() as connection:
        before = datetime.now(UTC) - timedelta(minutes=5)
        connection.execute(update(idempotency_keys).values(status_code=None, answer=None, created_at=before))
    again = [http.post(url, headers={"Idempotency-Key": f"k{url}"}, **sent).json() for url, sent in urls]
    assert again[0] == first[0]
    assert again[1]["run_id"] == first[1]["run_id"]
    assert len(http.get(PATH).json()) == 2


def test_keys_are_forgotten_after_a_day(http: httpx.Client, service: Service, body: dict[str, Any]) -> None:
    for key in ("old", "new"):
        http.post(PATH, json=body, headers={"Idempotency-Key": key})
    with service.database.write() as connection:
        before = datetime.now(UTC) - timedelta(hours=25)
        connection.execute(update(idempotency_keys).where(idempotency_keys.c.key == "old").values(created_at=before))
    forget_old_keys(service.database)
    with service.database.read() as connection:
        assert connection.execute(select(idempotency_keys.c.key)).scalars().all() == ["new"]


# Clusters and schema versions.


def test_the_local_cluster_is_always_there(http: httpx.Client) -> None:
    (cluster,) = http.get(f"{API}/clusters").json()
    assert cluster["id"] == "local"
    assert set(cluster) >= {
        "id",
        "name",
        "status",
        "workers",
        "dbu_per_worker",
        "spark_connect_url",
        "pricing",
    }
    assert cluster["pricing"] == {"dbu_rate": 0.0}
    assert http.get(f"{API}/clusters/local").json() == cluster


def test_configured_clusters_are_shown_without_their_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TOKEN", "a-very-secret-token")
    cluster: dict[str, Any] = {
        "id": "big",
        "name": "Big",
        "url": "sc://spark.example:443/;use_ssl=true",
        "token": "env:THE_TOKEN",
    }
    cluster |= {"dbu_rate": 0.5, "workers": 8, "dbu_per_worker": 2}
    opened = open_service(tmp_path / "home", clusters=[cluster])
    thread = LoopThread()
    try:
        with httpx.Client(transport=PlainASGI(opened.app, thread), base_url=opened.base_url) as client:
            answer = client.get(f"{API}/clusters/big")
    finally:
        thread.stop()
        opened.close()
    assert answer.json()["workers"] == 8
    assert answer.json()["pricing"] == {"dbu_rate": 0.5}
    assert "a-very-secret-token" not in answer.text
    assert opened.service.settings.clusters[0].remote().endswith(";use_ssl=true;token=a-very-secret-token")


@pytest.mark.parametrize("path", ["/clusters/nowhere", "/clusters/nowhere/test-connection"])
def test_an_unknown_cluster_is_404_and_never_connects(http: httpx.Client, path: str) -> None:
    answer = http.request("POST" if path.endswith("connection") else "GET", API + path)
    assert answer.status_code == 404
    assert "not found" in answer.json()["detail"]


def test_an_ingestion_without_changes_has_no_schema_versions(http: httpx.Client, ingestion: str) -> None:
    path = f"{PATH}/{ingestion}/schema-versions"
    assert http.get(path).json() == {"versions": [], "total": 0, "current_version": 1}
    latest = http.get(f"{path}/latest")
    assert latest.status_code == 404
    assert "no schema versions" in latest.json()["detail"]
    assert http.get(f"{path}/2").status_code == 404


def test_schema_versions_carry_both_sets_of_names(http: httpx.Client, service: Service, ingestion: str) -> None:
    change = {"change_type": "NEW_COLUMN", "column_name": "b", "old_type": None, "new_type": "string"}
    schema = {"type": "struct", "fields": []}
    row = {
        "ingestion_id": ingestion,
        "detected_at": datetime.now(UTC),
        "schema_json": schema,
        "changes_json": [change],
    }
    with service.database.write() as connection:
        for version in (2, 3, 4):
            values = row | {
                "version": version,
                "strategy_applied": "append_new_columns",
                "affected_files": ["/d/a"],
            }
            connection.execute(schema_versions.insert().values(values))
        assert connection.execute(select(func.count()).select_from(schema_versions)).scalar() == 3
        # The fourth is only meant: its column is not in the table yet.
        connection.execute(update(ingestions).where(ingestions.c.id == ingestion).values(schema_version=3))
    path = f"{PATH}/{ingestion}/schema-versions"
    answer = http.get(path).json()
    assert ([each["version"] for each in answer["versions"]], answer["total"], answer["current_version"]) == (
        [2, 3],
        2,
        3,
    )
    latest = http.get(f"{path}/latest").json()
    assert latest == http.get(f"{path}/3").json() == answer["versions"][1]
    assert latest["schema_json"] == latest["schema"] == schema
    assert latest["changes_json"] == latest["changes"] == [change]
    assert latest["strategy_applied"] == latest["resolution_type"] == "append_new_columns"


@pytest.mark.parametrize("name", ["a%00b", "x" * 3000, "%F0%90%8D%88"])
def test_an_id_that_no_database_could_hold_is_no_error_of_ours(http: httpx.Client, name: str) -> None:
    for path in (f"{PATH}/{name}", f"{PATH}/{name}/runs/{name}"):
        assert http.get(path).status_code in (404, 422), path


def test_a_name_that_the_database_cannot_hold_is_refused_or_kept(http: httpx.Client, body: dict[str, Any]) -> None:
    for change in ({"name": "a\0b"}, {"cluster_id": "c" * 300}):
        answer = http.post(PATH, json=body | change)
        assert answer.status_code in (201, 422), answer.text


def test_a_filter_that_the_database_cannot_take_is_refused_as_any_other(http: httpx.Client, database_kind: str) -> None:
    answer = http.get(PATH, params={"source_type": "a\0b"})
    if database_kind == "sqlite":
        assert (answer.status_code, answer.json()) == (200, [])
    else:
        assert answer.status_code == 422
        assert ["cannot store" in fault["msg"] for fault in answer.json()["detail"]] == [True]
