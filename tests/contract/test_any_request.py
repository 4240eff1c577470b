"""Whatever is sent, made up by our own OpenAPI document, no answer is a fault of ours or another than is declared.

Nothing is started: what would begin a load or drop a table is called for things that are not there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from autoloader_server.db.tables import batches, processed_files, run_errors, run_logs, schema_versions, tokens
from autoloader_server.embedded import BASE_URL, EmbeddedService
from autoloader_server.service import Service

INGESTION = "/api/v1/ingestions/{ingestion_id}"
NOT_THERE_YET = {f"GET {INGESTION}/flow-runs"}
WITH_CONSEQUENCES = {
    f"DELETE {INGESTION}",
    f"DELETE {INGESTION}/processed-files",
    f"POST {INGESTION}/run",
    f"POST {INGESTION}/runs/{{run_id}}/retry",
    f"POST {INGESTION}/refresh/full",
    f"POST {INGESTION}/refresh/new-only",
    f"POST {INGESTION}/batches/{{batch_id}}/release",
    f"POST {INGESTION}/batches/{{batch_id}}/drop",
    "POST /api/v1/clusters/{cluster_id}/test-connection",
}
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
# The same 15 for each route each time, and 45 where it has a body; `AUTOLOADER_TEST_REQUESTS=300` hunts through others.
EXAMPLES = int(os.environ.get("AUTOLOADER_TEST_REQUESTS", "15"))
SEEDED = "AUTOLOADER_TEST_REQUESTS" not in os.environ
MOST = (True, True, True, False)
HALF = (False, True)
SOME = (False, False, False, True)
Operation = APIOperation[Any, Any, Any, Any]
Request = Case[Any]


@pytest.fixture
def there(service: Service, ingestion: str, add_run: Callable[..., str]) -> dict[str, Any]:
    """Something of each kind, by the names that paths have for it."""
    run_id = add_run(ingestion, status="partial", error_count=1, notes=["a note"])
    made = datetime(2026, 1, 2, tzinfo=UTC)
    of = {"ingestion_id": ingestion}
    error = {"run_id": run_id, "file": "/d/a", "error_type": "data_malformed", "message": "not CSV", "timestamp": made}
    batch = {**of, "id": "b", "run_id": run_id, "generation": 0, "status": "LANDED", "files": 1, "bytes": 7}
    batch |= {"table_name": "t", "table_uuid": "u", "base_snapshot_id": 1, "created_at": made}
    file = {**of, "path": "/d/a", "identity": "e", "size": 7, "status": "SUCCESS", "batch_id": "b"}
    change = {"change_type": "NEW_COLUMN", "column_name": "b", "old_type": None, "new_type": "string"}
    version = {**of, "version": 1, "detected_at": made, "schema_json": {"type": "struct", "fields": []}}
    version |= {"changes_json": [change], "strategy_applied": "ignore", "affected_files": ["/d/a"]}
    token = {"id": "t", "name": "a token", "scope": "read", "hash": "0" * 64, "created_at": made, "expires_at": made}
    line = {"run_id": run_id, "timestamp": made, "level": "info", "message": "started"}
    with service.database.write() as connection:
        connection.execute(tokens.insert().values(token))
        connection.execute(run_logs.insert().values(line))
        connection.execute(run_errors.insert().values(error))
        connection.execute(batches.insert().values(batch))
        connection.execute(processed_files.insert().values(file | {"first_seen_at": made, "loaded_at": made}))
        connection.execute(schema_versions.insert().values(version))
    return of | {"run_id": run_id, "batch_id": "b", "version": 1, "cluster_id": "local", "token_id": "t"}


def requests(operation: Operation) -> st.SearchStrategy[Request]:
    """Requests as they are declared, and others."""
    sound = operation.as_strategy(GenerationMode.POSITIVE)
    # Nothing is wrong with a bare path: any text is a name.
    if not (operation.query or operation.body or operation.label.endswith("{version}")):
        return sound
    return sound | operation.as_strategy(GenerationMode.NEGATIVE)


def send_each(operation: Operation, send: Callable[[Request, st.DataObject], None]) -> None:
    some = settings(
        max_examples=EXAMPLES * (3 if operation.body else 1),
        derandomize=SEEDED,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    some(given(requests(operation), st.data())(send))()


def blended(data: st.DataObject, sound: Any, made_up: Any, taking: Sequence[bool] = SOME) -> Any:
    """A sound body with some of a made-up one's fields: a body that is all made up seldom gets past the first look."""
    if not isinstance(sound, dict) or not isinstance(made_up, dict):
        return made_up
    taken = {name: value for name, value in made_up.items() if data.draw(st.sampled_from(taking))}
    return sound | {name: blended(data, sound.get(name), value, HALF) for name, value in taken.items()}


def test_no_request_meets_a_fault_and_each_answer_is_as_declared(
    embedded: EmbeddedService, there: dict[str, Any], body: dict[str, Any]
) -> None:
    sound = body | {"schedule": {"frequency": "weekly", "time": "06:30", "timezone": "Europe/Berlin"}}
    sound |= {"quality": {"row_count_threshold": 5}, "on_schema_change": "append_new_columns"}
    answered: dict[str, list[int]] = defaultdict(list)

    def send(case: Request, data: st.DataObject) -> None:
        sent: Any = case.body
        if case.operation.label not in WITH_CONSEQUENCES:
            if case.path_parameters and data.draw(st.sampled_from(MOST)):
                case.path_parameters = {name: there[name] for name in case.path_parameters}
            case.query = blended(data, {}, case.query)
            if data.draw(st.sampled_from(MOST)):
                sent = case.body = blended(data, sound if case.method == "POST" else {}, sent)
        if isinstance(sent, dict) and isinstance(sent.get("source"), dict) and "path" in sent["source"]:
            # No other folder of this machine, and no bucket.
            sent["source"]["path"] = body["source"]["path"]
        response = case.call(base_url=BASE_URL)
        answered[case.operation.label].append(response.status_code)
        case.validate_response(response, checks=CHECKS)
        declared = {int(status) for status in case.operation.responses.status_codes}
        assert response.status_code in declared | {400, 404, 409}
        if response.status_code >= 400:
            assert response.json()["detail"]

    document = schemathesis.openapi.from_asgi("/openapi.json", embedded.app, headers={"Host": "127.0.0.1"})
    for found in document.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if operation.label not in NOT_THERE_YET:
            send_each(operation, send)
    assert {label for label, statuses in answered.items() if min(statuses) >= 300} == WITH_CONSEQUENCES
    assert not embedded.service.spark.started
