"""Ingestions, as existing clients know them."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from autoloader_sdk._http.asgi import LoopThread, PlainASGI
from autoloader_server.db.tables import batches, processed_files
from autoloader_server.db.tables import ingestions as table
from autoloader_server.embedded import BASE_URL, open_service
from autoloader_server.security.secrets import SecretBox
from autoloader_server.service import Service

API = "/api/v1"
PATH = f"{API}/ingestions"
Body = dict[str, Any]


def changed(body: Body, path: str, value: Any) -> Body:
    copy = deepcopy(body)
    *parents, last = path.split(".")
    at = copy
    for name in parents:
        at = at.setdefault(name, {})
    at[last] = value
    return copy


def fields_at_fault(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [".".join(str(part) for part in fault["loc"][1:]) for fault in answer.json()["detail"]]


def test_a_new_ingestion_is_a_draft_with_an_id_of_twelve_hex_digits(http: httpx.Client, body: Body) -> None:
    answer = http.post(PATH, json=body)
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch(r"ing_[0-9a-f]{12}", made["id"])
    assert made["status"] == "draft"
    assert made["tenant_id"] == "default"
    assert made["prefect_deployment_id"] is None
    assert made["source"]["path"] == body["source"]["path"]
    assert made["destination"]["write_mode"] == "append"
    assert set(made["metadata"]) >= {
        *("checkpoint_location", "last_run_id", "last_run_time", "next_run_time"),
        *("schema_version", "estimated_monthly_cost"),
    }
    for moment in (made["created_at"], made["updated_at"]):
        assert datetime.fromisoformat(moment).utcoffset() is not None
    assert http.get(f"{PATH}/{made['id']}").json() == made


def test_a_table_is_not_loaded_into_and_another_ones_quarantine(http: httpx.Client, body: Body) -> None:
    aside = body | {"on_bad_record": "quarantine"}
    other = changed(body, "destination.table", body["destination"]["table"].upper() + "__QUARANTINE")
    first = http.post(PATH, json=aside).json()["id"]
    answer = http.post(PATH, json=other)
    assert fields_at_fault(answer) == ["destination.table"]
    assert first in answer.text
    assert http.delete(f"{PATH}/{first}").status_code == 204
    second = http.post(PATH, json=other).json()["id"]
    answer = http.post(PATH, json=aside)
    assert fields_at_fault(answer) == ["on_bad_record"]
    assert second in answer.text
    assert http.post(PATH, json=body).status_code == 201


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schedule", {}),
        ("schedule", dict.fromkeys(("frequency", "time", "timezone", "cron_expression", "backfill"))),
        ("schedule.backfill", {"enabled": False}),
        ("quality.row_count_threshold", None),
        ("format.options", {"multiline": False}),
        ("format.schema", {"inference": "auto", "evolution_enabled": False, "schema_json": None}),
        ("source.file_pattern", "2026-*/{a,b}?.csv"),
        ("source.min_age_seconds", 300),
        ("destination.lineage_columns", ["_source_file"]),
        ("cluster_id", "a-cluster-that-nobody-knows"),
    ],
)
def test_what_clients_send_in_practice_is_taken_and_echoed(
    http: httpx.Client, body: Body, path: str, value: Any
) -> None:
    answer = http.post(PATH, json=changed(body, path, value))
    assert answer.status_code == 201, answer.text
    shown: Any = answer.json()
    for name in path.split("."):
        shown = shown[name]
    if isinstance(value, dict):
        assert {name: shown.get(name) for name in value} == value
    else:
        assert shown == value


@pytest.mark.parametrize(
    ("schema", "rule", "echoed"),
    [
        (None, None, "ignore"),
        ({"evolution_enabled": True}, None, "append_new_columns"),
        ({"evolution_enabled": True}, "ignore", "ignore"),
        ({"evolution_enabled": False}, "append_new_columns", "append_new_columns"),
    ],
)
def test_the_schema_rule_in_force_is_echoed(
    http: httpx.Client, body: Body, schema: Body | None, rule: str | None, echoed: str
) -> None:
    sent = changed(body, "format.schema", schema) | {"on_schema_change": rule}
    assert http.post(PATH, json=sent).json()["on_schema_change"] == echoed


@pytest.mark.parametrize(
    ("path", "value", "field", "hint"),
    [
        ("nmae", "x", "nmae", "name"),
        ("source.file_patern", "*", "source.file_patern", "file_pattern"),
        ("source.min_age_seconds", -1, "source.min_age_seconds", "greater than or equal to 0"),
        ("source.file_pattern", "{a,b.csv", "source.file_pattern", "a '{' is not closed"),
        (
            "format.schema",
            {"inference": "manual", "schema_json": {"type": "struct", "fields": [{"type": "long"}]}},
            "format.schema.schema_json",
            "field 0 has no name",
        ),
        (
            "format.schema",
            {"inference": "manual", "schema_json": {"type": "struct", "fields": [{"name": "a"}]}},
            "format.schema.schema_json",
            "field 'a' has no type that Spark knows",
        ),
        (
            "format.schema",
            {"inference": "manual", "schema_json": {"type": "struct", "fields": [{"name": "a", "type": "lnog"}]}},
            "format.schema.schema_json",
            "lnog",
        ),
        ("source.type", "ftp", "source.type", "local"),
        ("format.type", "cvs", "format.type", "csv"),
        ("format.options.multilne", True, "format.options.multilne", "multiline"),
        ("format.options", {"line_separator": "|~"}, "format.options", "one character of ASCII, or a usual line end"),
        ("format.options", {"quote": "“"}, "format.options", "format.options.quote"),
        ("destination.write_mode", "overwrite", "destination.write_mode", "append"),
        ("schedule.frequency", "dayly", "schedule.frequency", "daily"),
        ("schedule.time", "25:00", "schedule.time", "HH:MM"),
        ("schedule.timezone", "Europe/Berlim", "schedule.timezone", "Europe/Berlin"),
        ("schedule.cron_expression", "0 0 31 2", "schedule.cron_expression", "five fields"),
        ("schedule.cron_expression", "0 61 * * *", "schedule.cron_expression", "61"),
        ("on_schema_change", "append", "on_schema_change", "append_new_columns"),
        ("name", "", "name", ""),
        ("source.path", "relative/folder", "source.path", "absolute"),
    ],
)
def test_a_wrong_field_or_value_is_named_with_the_nearest_right_one_and_nothing_is_saved(
    http: httpx.Client, body: Body, *, path: str, value: Any, field: str, hint: str
) -> None:
    answer = http.post(PATH, json=changed(body, path, value))
    assert fields_at_fault(answer) == [field]
    assert hint in answer.json()["detail"][0]["msg"]
    assert http.get(PATH).json() == []


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("source", {"type": "gcs", "path": "gs://bucket/a/"}, "source.type"),
        ("source", {"type": "azure_blob", "path": "abfss://c@a.dfs.core.windows.net/x"}, "source.type"),
    ],
)
def test_a_value_that_a_later_version_will_know_is_refused_by_name(
    http: httpx.Client, body: Body, path: str, value: Any, field: str
) -> None:
    answer = http.post(PATH, json=changed(body, path, value))
    assert fields_at_fault(answer) == [field]
    assert "later version" in answer.json()["detail"][0]["msg"]
    assert http.get(PATH).json() == []


def test_what_replaces_rows_must_be_able_to_tell_them(http: httpx.Client, body: Body) -> None:
    replacing = changed(body, "source.on_changed_file", "replace")
    answer = http.post(PATH, json=replacing)
    assert fields_at_fault(answer) == ["source.on_changed_file"]
    assert "destination.lineage_columns" in answer.json()["detail"][0]["msg"]
    made = http.post(PATH, json=changed(replacing, "destination.lineage_columns", ["_source_file"]))
    assert made.status_code == 201


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("schedule", {"frequency": "daily", "time": "02:00"}, "nothing will fire the schedule"),
        ("schedule.backfill", {"enabled": True}, "backfill"),
        ("quality", {"alerts_enabled": True, "alert_recipients": ["a@example.org"]}, "alert"),
        ("quality", {"on_low_row_count": "hold"}, "on_low_row_count"),
        ("destination.optimization", {"z_ordering_enabled": True, "z_ordering_columns": ["a"]}, "z-ordering"),
        ("cluster_id", "elsewhere", "cluster_id"),
    ],
)
def test_a_field_that_does_nothing_is_taken_and_warned_of(
    http: httpx.Client, body: Body, path: str, value: Any, word: str
) -> None:
    made = http.post(PATH, json=changed(body, path, value)).json()
    assert any(word in warning for warning in made["warnings"])
    assert http.get(f"{PATH}/{made['id']}").json()["warnings"] == made["warnings"]


def test_a_plain_ingestion_has_no_warnings(http: httpx.Client, body: Body) -> None:
    assert http.post(PATH, json=body).json()["warnings"] == []


def test_a_threshold_is_judged_by_and_echoed(http: httpx.Client, body: Body) -> None:
    made = http.post(PATH, json={**body, "quality": {"row_count_threshold": 5}}).json()
    assert made["warnings"] == []
    assert (made["quality"]["row_count_threshold"], made["quality"]["on_low_row_count"]) == (5, None)
    changed_to = http.put(
        f"{PATH}/{made['id']}", json={"quality": {"row_count_threshold": 5, "on_low_row_count": "hold"}}
    )
    assert changed_to.json()["quality"]["on_low_row_count"] == "hold"


SECRET = "wJalrXUtnFEMI/K7MDENG+bPx"


def test_credentials_are_never_sent_back_and_lie_encrypted(http: httpx.Client, service: Service, body: Body) -> None:
    sent = changed(body, "source.credentials", {"user": "someone-special", "password": SECRET})
    answer = http.post(PATH, json=sent)
    assert answer.json()["source"]["credentials"] == {"user": "***", "password": "***"}
    everything = (answer.text, http.get(PATH).text, http.get(f"{PATH}/{answer.json()['id']}").text)
    assert not any(SECRET in text or "someone-special" in text for text in everything)
    with service.database.read() as connection:
        row = connection.execute(select(table.c.spec, table.c.credentials)).one()
    assert SECRET not in str(row.spec)
    assert SECRET.encode() not in row.credentials
    assert service.secrets.decrypt(row.credentials) == {"user": "someone-special", "password": SECRET}
    service.database.close()
    assert not any(SECRET.encode() in file.read_bytes() for file in service.home.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body["source"]["credentials"].update({"pasword": [SECRET]}) or body | {"nmae": SECRET},
        lambda body: changed(body, "source", {"type": "local", "path": SECRET, "credentials": {"password": SECRET}}),
        lambda body: changed(body, "source.credentials", SECRET),
        lambda body: changed(body, "format", {"type": "csv", "password": SECRET}),
    ],
)
def test_no_error_repeats_what_was_sent(
    http: httpx.Client, body: Body, spoil: Callable[[Body], Body], caplog: pytest.LogCaptureFixture
) -> None:
    answer = http.post(PATH, json=spoil(changed(body, "source.credentials", {"password": SECRET})))
    assert answer.status_code == 422
    assert SECRET not in answer.text
    assert SECRET not in caplog.text
    assert all(set(fault) == {"type", "loc", "msg"} for fault in answer.json()["detail"])


def test_a_body_that_is_no_json_is_422_without_its_text(http: httpx.Client) -> None:
    sent = '{"password": "' + SECRET + '"'
    answer = http.post(PATH, content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert SECRET not in answer.text


def test_the_list_is_filtered_by_status_and_source_type(http: httpx.Client, body: Body) -> None:
    first, second = (http.post(PATH, json=body | {"name": name}).json()["id"] for name in ("a", "b"))
    assert [each["id"] for each in http.get(PATH).json()] == [first, second]
    http.post(f"{PATH}/{first}/pause")
    assert [each["id"] for each in http.get(PATH, params={"status": "paused"}).json()] == [first]
    assert [each["id"] for each in http.get(PATH, params={"status": "draft"}).json()] == [second]
    assert http.get(PATH, params={"status": "ACTIVE"}).json() == []
    wrong = http.get(PATH, params={"status": "drft"})
    assert (wrong.status_code, wrong.json()["detail"][0]["msg"]) == (422, "unknown status 'drft'; did you mean draft?")
    assert len(http.get(PATH, params={"source_type": "local"}).json()) == 2
    assert http.get(PATH, params={"source_type": "s3"}).json() == []
    assert http.get(PATH, params={"source_type": "local", "status": "paused"}).json()[0]["id"] == first


def test_following_the_link_header_shows_each_ingestion_once(http: httpx.Client, body: Body) -> None:
    made = [http.post(PATH, json=body | {"name": f"n{number}"}).json()["id"] for number in range(7)]
    seen: list[str] = []
    answer = http.get(PATH, params={"limit": 3, "status": "draft"})
    while True:
        assert isinstance(answer.json(), list)
        seen += [each["id"] for each in answer.json()]
        if "next" not in answer.links:
            break
        answer = http.get(answer.links["next"]["url"])
    assert seen == made
    assert "link" not in http.get(PATH).headers


@pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24", "WzFd"])
def test_a_made_up_cursor_is_422(http: httpx.Client, cursor: str) -> None:
    assert fields_at_fault(http.get(PATH, params={"cursor": cursor})) == ["cursor"]


def test_put_changes_what_was_given_and_nothing_else(http: httpx.Client, ingestion: str, body: Body) -> None:
    before = http.get(f"{PATH}/{ingestion}").json()
    answer = http.put(f"{PATH}/{ingestion}", json={"schedule": {"frequency": "daily", "time": "03:30"}})
    assert answer.status_code == 200
    assert answer.json()["schedule"]["time"] == "03:30"
    assert answer.json()["updated_at"] > before["updated_at"]
    same = ("id", "name", "status", "source", "format", "destination", "quality", "created_at")
    assert {name: answer.json()[name] for name in same} == {name: before[name] for name in same}

    http.put(f"{PATH}/{ingestion}", json={"quality": {"row_count_threshold": 7}})
    answer = http.put(f"{PATH}/{ingestion}", json={"alert_recipients": ["a@example.org"]})
    assert answer.json()["quality"]["alert_recipients"] == ["a@example.org"]
    assert answer.json()["quality"]["row_count_threshold"] == 7
    assert answer.json()["schedule"]["time"] == "03:30"
    assert http.put(f"{PATH}/{ingestion}", json={"status": "active"}).json()["status"] == "active"


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"scheduel": {}}, "scheduel"),
        ({"schedule": {"time": "3 am"}}, "schedule.time"),
        ({"status": "on"}, "status"),
        ({"name": "other"}, "name"),
        ({"destination": {"table": "other"}}, "destination"),
        ({"source": {"path": "/elsewhere"}}, "source.path"),
        ({"source": {"type": "s3"}}, "source.type"),
        ({"source": {"file_patern": "*.csv"}}, "source.file_patern"),
        ({"source": {"file_pattern": "{a"}}, "source.file_pattern"),
        ({"source": {"on_changed_file": "replace"}}, "source.on_changed_file"),
        ({"source": {"credentials": {"key": "***"}}}, "source.credentials.key"),
        ({"format": {"type": "parquet"}}, "format.type"),
        ({"format": {"options": {"headr": True}}}, "format.options.headr"),
        ({"format": {"schema": {"schema_json": {"type": "struct"}}}}, "format.schema.schema_json"),
        ({"on_schema_change": "appends"}, "on_schema_change"),
        ({"on_bad_record": "drop"}, "on_bad_record"),
        ({"limits": {"max_files_per_batch": 0}}, "limits.max_files_per_batch"),
        ({"cluster_id": ""}, "cluster_id"),
    ],
)
def test_put_refuses_what_it_cannot_change(http: httpx.Client, ingestion: str, sent: Body, field: str) -> None:
    before = http.get(f"{PATH}/{ingestion}").json()
    assert fields_at_fault(http.put(f"{PATH}/{ingestion}", json=sent)) == [field]
    assert http.get(f"{PATH}/{ingestion}").json() == before


def test_put_changes_rules_and_how_files_are_read(
    http: httpx.Client, service: Service, ingestion: str, add_run: Callable[..., str]
) -> None:
    before = http.get(f"{PATH}/{ingestion}").json()
    sent = {
        "on_schema_change": "fail",
        "on_bad_record": "rescue",
        "limits": {"max_attempts": 7},
        "cluster_id": "elsewhere",
        # What does not change may be sent along, as `GET` answers it.
        "source": {"type": before["source"]["type"], "path": before["source"]["path"], "file_pattern": "*.txt"},
        "format": {"type": before["format"]["type"], "options": {"delimiter": ";"}},
    }
    after = http.put(f"{PATH}/{ingestion}", json=sent).json()
    assert after["on_schema_change"] == "fail"
    assert after["on_bad_record"] == "rescue"
    assert after["limits"]["max_attempts"] == 7
    assert after["cluster_id"] == "elsewhere"
    assert after["source"] == before["source"] | {"file_pattern": "*.txt"}
    assert after["format"]["options"] == {"delimiter": ";"}
    assert after["destination"] == before["destination"]
    assert http.put(f"{PATH}/{ingestion}", json={"source": {"file_pattern": None}}).json()["source"] == before["source"]

    run = add_run(ingestion, status="running")
    answer = http.put(f"{PATH}/{ingestion}", json={"on_bad_record": "fail"})
    assert answer.status_code == 409
    assert f"run {run} is going" in answer.json()["detail"]
    # What it is already is no change, and all else may change while a run is going.
    same = {"on_bad_record": "rescue", "on_schema_change": "ignore"}
    assert http.put(f"{PATH}/{ingestion}", json=same).json()["on_schema_change"] == "ignore"


@pytest.mark.parametrize(
    "source",
    [{"on_changed_file": "hold"}, {"include_existing": False}, {"modified_after": "2026-01-01T00:00:00Z"}],
    ids=lambda source: next(iter(source)),
)
def test_put_changes_no_rule_by_which_files_were_judged(
    http: httpx.Client, service: Service, ingestion: str, source: Body
) -> None:
    (name,) = source
    if name == "on_changed_file":
        assert http.put(f"{PATH}/{ingestion}", json={"source": {name: "append"}}).status_code == 200
    before = http.get(f"{PATH}/{ingestion}").json()["source"]
    assert http.put(f"{PATH}/{ingestion}", json={"source": source}).status_code == 200
    assert http.put(f"{PATH}/{ingestion}", json={"source": {name: before[name]}}).json()["source"] == before
    row = {"ingestion_id": ingestion, "path": "/a", "identity": "1", "size": 1, "status": "DISCOVERED"}
    with service.database.write() as connection:
        connection.execute(insert(processed_files).values(row | {"first_seen_at": datetime.now(UTC)}))
    answer = http.put(f"{PATH}/{ingestion}", json={"source": source})
    assert answer.status_code == 409
    assert f"source.{name} cannot change any more" in answer.json()["detail"]
    assert http.get(f"{PATH}/{ingestion}").json()["source"] == before
    for free in ({"file_pattern": "*.csv"}, {"min_age_seconds": 60}):
        assert http.put(f"{PATH}/{ingestion}", json={"source": free}).status_code == 200


@pytest.mark.parametrize("change", [{"on_bad_record": "rescue"}, {"cluster_id": "elsewhere"}], ids=str)
@pytest.mark.parametrize(
    "left", [{"status": "OPEN"}, {"status": "HELD"}, {"status": "LANDED"}, {"status": "BURNING"}], ids=str
)
def test_put_waits_for_what_another_rule_or_cluster_has_begun(
    http: httpx.Client, service: Service, ingestion: str, change: Body, left: Body
) -> None:
    row = {"id": "b", "ingestion_id": ingestion, "run_id": "r7", "generation": 0, "files": 1, "bytes": 1}
    row |= {"table_name": "t", "table_uuid": "u", "base_snapshot_id": 1, "created_at": datetime.now(UTC)}
    with service.database.write() as connection:
        connection.execute(insert(batches).values(row | left))
    answer = http.put(f"{PATH}/{ingestion}", json=change)
    assert answer.status_code == 409
    assert f"{next(iter(change))} cannot change while run r7" in answer.json()["detail"]
    with service.database.write() as connection:
        connection.execute(update(batches).values(status="LANDED", branches_dropped=True))
    assert http.put(f"{PATH}/{ingestion}", json=change).status_code == 200


def test_credentials_that_cannot_be_decrypted_are_not_taken_away_by_what_was_answered(
    http: httpx.Client, service: Service, ingestion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.put(f"{PATH}/{ingestion}", json={"source": {"credentials": {"a": "secret"}}})
    with monkeypatch.context() as patched:
        patched.setattr(service, "secrets", SecretBox(None, service.home / "elsewhere.key"))
        shown = http.get(f"{PATH}/{ingestion}").json()
        assert shown["source"]["credentials"] == {}
        http.put(f"{PATH}/{ingestion}", json={"source": shown["source"]})
    assert http.get(f"{PATH}/{ingestion}").json()["source"]["credentials"] == {"a": "***"}


def test_put_gives_new_credentials_and_takes_them_away(http: httpx.Client, service: Service, ingestion: str) -> None:
    def kept() -> dict[str, str]:
        with service.database.read() as connection:
            stored = connection.execute(select(table.c.credentials).where(table.c.id == ingestion)).scalar()
        return dict(service.secrets.decrypt(stored)) if stored is not None else {}

    for keys in ({"a": "old-secret"}, {"b": "new-secret"}):
        answer = http.put(f"{PATH}/{ingestion}", json={"source": {"credentials": keys}})
        assert answer.json()["source"]["credentials"] == dict.fromkeys(keys, "***")
        assert "-secret" not in answer.text
        assert kept() == keys
    http.put(f"{PATH}/{ingestion}", json={"source": {"file_pattern": "*.csv"}})
    assert kept() == {"b": "new-secret"}
    answer = http.put(f"{PATH}/{ingestion}", json={"source": {"credentials": None}})
    assert (answer.json()["source"]["credentials"], kept()) == (None, {})


def test_pause_and_resume(http: httpx.Client, ingestion: str) -> None:
    answer = http.post(f"{PATH}/{ingestion}/pause")
    assert (answer.status_code, answer.json()) == (200, {"status": "paused"})
    assert http.get(f"{PATH}/{ingestion}").json()["status"] == "paused"
    answer = http.post(f"{PATH}/{ingestion}/resume")
    assert (answer.status_code, answer.json()) == (200, {"status": "active"})
    assert http.get(f"{PATH}/{ingestion}").json()["status"] == "active"


def test_delete_answers_204_and_keeps_the_run_history(
    http: httpx.Client, service: Service, ingestion: str, add_run: Callable[..., str]
) -> None:
    run_id = add_run(ingestion)
    answer = http.delete(f"{PATH}/{ingestion}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert http.get(f"{PATH}/{ingestion}").status_code == 404
    assert http.get(PATH).json() == []
    assert [run["id"] for run in http.get(f"{PATH}/{ingestion}/runs").json()] == [run_id]
    assert http.get(f"{PATH}/{ingestion}/runs/{run_id}").status_code == 200
    with service.database.read() as connection:
        tombstone = connection.execute(select(table).where(table.c.id == ingestion)).one()
    assert tombstone.deleted_at is not None
    assert tombstone.generation == 1, "work of an older generation must be burned"


def test_delete_ends_what_waits_and_asks_what_goes_to_stop(http: httpx.Client, ingestion: str, going: str) -> None:
    waiting = http.post(f"{PATH}/{ingestion}/run").json()["run_id"]
    http.delete(f"{PATH}/{ingestion}")
    assert http.get(f"{PATH}/{ingestion}/runs/{waiting}").json()["status"] == "cancelled"
    assert http.get(f"{PATH}/{ingestion}/runs/{going}").json()["cancel_requested"] is True


def test_a_table_that_another_ingestion_loads_into_is_not_dropped(
    http: httpx.Client, ingestion: str, body: Body
) -> None:
    other = http.post(PATH, json=changed(body, "destination.table", "ORDERS") | {"name": "other"}).json()["id"]
    answer = http.delete(f"{PATH}/{ingestion}", params={"delete_table": True})
    assert answer.status_code == 409
    assert other in answer.json()["detail"]
    assert http.get(f"{PATH}/{ingestion}").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/run"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("DELETE", "/processed-files"),
        ("GET", "/files"),
        ("GET", "/runs/9b2d4a52-0000-0000-0000-000000000000"),
        ("POST", "/runs/9b2d4a52-0000-0000-0000-000000000000/retry"),
        ("POST", "/runs/9b2d4a52-0000-0000-0000-000000000000/cancel"),
        ("GET", "/schema-versions"),
        ("GET", "/schema-versions/2"),
        ("GET", "/schema-versions/latest"),
    ],
)
def test_an_unknown_ingestion_is_404_with_not_found(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, f"{PATH}/ing_000000000000{path}", json={} if method == "PUT" else None)
    assert answer.status_code == 404
    assert "not found" in answer.json()["detail"]


def test_names_may_be_there_twice_unless_asked_otherwise(http: httpx.Client, ingestion: str, body: Body) -> None:
    answer = http.post(PATH, json=body, params={"unique_name": True})
    assert answer.status_code == 409
    assert ingestion in answer.json()["detail"]
    assert http.post(PATH, json=body).status_code == 201
    assert http.post(PATH, json=body | {"name": "b"}, params={"unique_name": True}).status_code == 201


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a`b", "a.b", "ü", "; DROP TABLE ingestions --", "x" * 255])
def test_awkward_names_are_kept_as_they_are(http: httpx.Client, body: Body, name: str) -> None:
    made = http.post(PATH, json=changed(body, "destination.table", name) | {"name": name})
    assert made.status_code == 201, made.text
    assert made.json()["name"] == name
    assert made.json()["destination"]["table"] == name


def test_a_folder_that_does_not_exist_yet_can_be_configured(http: httpx.Client, body: Body, tmp_path: Path) -> None:
    assert http.post(PATH, json=changed(body, "source.path", str(tmp_path / "later"))).status_code == 201


def test_where_spark_cannot_drop_the_table_the_ingestion_stays(tmp_path: Path, body: Body) -> None:
    cluster = {"id": "away", "url": "sc://spark.example", "token": "env:A_VARIABLE_THAT_IS_NOT_SET"}
    opened = open_service(tmp_path / "home", clusters=[cluster])
    thread = LoopThread()
    with httpx.Client(transport=PlainASGI(opened.app, thread), base_url=BASE_URL) as http:
        made = http.post(PATH, json=body | {"cluster_id": "away"}).json()["id"]
        answer = http.delete(f"{PATH}/{made}", params={"delete_table": True})
        tested = http.post(f"{API}/clusters/away/test-connection")
        still_there = http.get(f"{PATH}/{made}")
    thread.stop()
    opened.close()
    assert answer.status_code == 503
    assert "lake.bronze.orders" in answer.json()["detail"]
    assert "A_VARIABLE_THAT_IS_NOT_SET" in answer.json()["detail"]
    assert still_there.status_code == 200
    assert (tested.status_code, tested.json()["status"]) == (200, "failed")
    assert "A_VARIABLE_THAT_IS_NOT_SET" in tested.json()["message"]
