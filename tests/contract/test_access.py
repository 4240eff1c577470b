"""Tokens: who is let in, to what, and to whose rows; on the application as it is reached over a network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select, update
from tests.contract.conftest import API

from autoloader_sdk._http.asgi import LoopThread, PlainASGI
from autoloader_sdk.models import SCOPES, Scope, TokenCreate
from autoloader_server.app import create_app
from autoloader_server.db.tables import idempotency_keys, ingestions, runs, tokens
from autoloader_server.embedded import BASE_URL
from autoloader_server.security.callers import HOLDER
from autoloader_server.service import Service
from autoloader_server.services import tokens as use_cases
from autoloader_server.services.errors import Conflict

NOBODY = "autoloader_" + "x" * 43
# What each route asks for. One that is not named here fails the test: somebody has to think of it.
NEEDED: dict[tuple[str, str], Scope] = {
    ("POST", "/ingestions"): "admin",
    ("GET", "/ingestions"): "read",
    ("GET", "/ingestions/{ingestion_id}"): "read",
    ("PUT", "/ingestions/{ingestion_id}"): "admin",
    ("DELETE", "/ingestions/{ingestion_id}"): "admin",
    ("POST", "/ingestions/test"): "admin",
    ("POST", "/ingestions/estimate-cost"): "admin",
    ("POST", "/ingestions/{ingestion_id}/preview"): "operate",
    ("POST", "/ingestions/{ingestion_id}/estimate-cost"): "operate",
    ("POST", "/ingestions/{ingestion_id}/pause"): "operate",
    ("POST", "/ingestions/{ingestion_id}/resume"): "operate",
    ("DELETE", "/ingestions/{ingestion_id}/processed-files"): "admin",
    ("POST", "/ingestions/{ingestion_id}/run"): "operate",
    ("GET", "/ingestions/{ingestion_id}/runs"): "read",
    ("GET", "/ingestions/{ingestion_id}/runs/{run_id}"): "read",
    ("GET", "/ingestions/{ingestion_id}/runs/{run_id}/logs"): "read",
    ("POST", "/ingestions/{ingestion_id}/runs/{run_id}/retry"): "operate",
    ("POST", "/ingestions/{ingestion_id}/runs/{run_id}/cancel"): "operate",
    ("GET", "/ingestions/{ingestion_id}/flow-runs"): "read",
    ("POST", "/ingestions/{ingestion_id}/refresh/full"): "admin",
    ("POST", "/ingestions/{ingestion_id}/refresh/new-only"): "admin",
    ("GET", "/ingestions/{ingestion_id}/files"): "read",
    ("GET", "/ingestions/{ingestion_id}/files/why"): "read",
    ("GET", "/ingestions/{ingestion_id}/batches"): "read",
    ("GET", "/ingestions/{ingestion_id}/batches/{batch_id}"): "read",
    ("POST", "/ingestions/{ingestion_id}/batches/{batch_id}/release"): "operate",
    ("POST", "/ingestions/{ingestion_id}/batches/{batch_id}/drop"): "operate",
    ("GET", "/ingestions/{ingestion_id}/schema-versions"): "read",
    ("GET", "/clusters"): "read",
    ("GET", "/clusters/{cluster_id}"): "read",
    ("POST", "/clusters/{cluster_id}/test-connection"): "operate",
    # With a read token one makes a read token, and ends it.
    ("POST", "/tokens"): "read",
    ("GET", "/tokens"): "read",
    ("DELETE", "/tokens/{token_id}"): "read",
}

Open = Callable[[str | None], httpx.Client]


@contextmanager
def clients(service: Service, *, beyond_loopback: bool) -> Iterator[Open]:
    """Clients by token, of an application that others can reach, or that programs of this machine can."""
    app, thread = create_app(service, beyond_loopback=beyond_loopback), LoopThread()
    opened: list[httpx.Client] = []

    def client(token: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        url = "http://autoloader.example.org" if beyond_loopback else BASE_URL
        opened.append(httpx.Client(transport=PlainASGI(app, thread), base_url=url, headers=headers, timeout=30))
        return opened[-1]

    yield client
    for each in opened:
        each.close()
    thread.stop()


@pytest.fixture
def reached(service: Service) -> Iterator[Open]:
    with clients(service, beyond_loopback=True) as client:
        yield client


@pytest.fixture
def make(service: Service) -> Callable[..., str]:
    """Makes a token, as `autoloader token create` does."""

    def token(scope: Scope = "admin", **given: Any) -> str:
        body = TokenCreate(**{"name": f"a {scope} token", "scope": scope, **given})
        return use_cases.create(service.database, HOLDER, body).token

    return token


@pytest.fixture
def on_s3(body: dict[str, Any]) -> dict[str, Any]:
    """An ingestion that any tenant can have."""
    credentials = {"aws_access_key_id": "id", "aws_secret_access_key": "secret key", "region": "eu-west-1"}
    return body | {"source": {"type": "s3", "path": "s3://bucket/orders/", "credentials": credentials}}


def routes(service: Service) -> list[tuple[str, str]]:
    app = create_app(service)
    return [
        (method, route.path.removeprefix(API))
        for route in app.routes
        if isinstance(route, APIRoute) and route.path.startswith(API)
        for method in sorted(route.methods or ())
    ]


def filled(path: str, **ids: str) -> str:
    known = {"ingestion_id": "ing_000000000000", "run_id": "r", "batch_id": "b", "cluster_id": "c", "token_id": "t"}
    return API + path.format(**known | ids)


@pytest.mark.parametrize("scope", SCOPES)
def test_each_route_asks_for_its_scope(service: Service, reached: Open, make: Callable[..., str], scope: Scope) -> None:
    client = reached(make(scope))
    for method, path in routes(service):
        answer = client.request(method, filled(path), json={} if method in ("POST", "PUT") else None)
        allowed = SCOPES.index(scope) >= SCOPES.index(NEEDED[method, path])
        if path.startswith("/tokens"):
            assert answer.status_code in (200, 404, 422), (method, path)
            continue
        assert answer.status_code not in (401, 500), (method, path, answer.text)
        assert (answer.status_code != 403) == allowed, (method, path, answer.text)
        if not allowed:
            needed = NEEDED[method, path]
            said = f"this needs a token of scope '{needed}', and 'a {scope} token' has the scope '{scope}'"
            assert answer.json() == {"detail": said}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "asks for a token"),
        ("", "asks for a token"),
        ("Bearer ", "asks for a token"),
        ("Basic dXNlcjpwYXNz", "asks for a token"),
        (f"Bearer {NOBODY}", "is not known here"),
        (f"bearer {NOBODY}", "is not known here"),
        ("Bearer with blanks in it", "is not known here"),
    ],
)
def test_without_a_token_that_is_known_nothing_is_answered(
    service: Service, reached: Open, header: str | None, said: str
) -> None:
    client = reached(None)
    for method, path in routes(service):
        answer = client.request(method, filled(path), headers={} if header is None else {"Authorization": header})
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert said in answer.json()["detail"]
        assert NOBODY not in answer.text
        assert "***" not in answer.text, "the redactor has taken our own words for a secret"
    for path in ("/docs", "/openapi.json", "/api/v1/nothing"):
        assert client.get(path).status_code == 401
    # Probes have no token.
    assert client.get("/health").json()["status"] == "healthy"
    assert client.get("/").status_code == 200


def test_on_loopback_a_token_is_asked_for_as_soon_as_there_is_one(service: Service, make: Callable[..., str]) -> None:
    with clients(service, beyond_loopback=False) as client:
        assert client(None).get(f"{API}/ingestions").status_code == 200
        token = make("read", name="first")
        assert client(None).get(f"{API}/ingestions").status_code == 401
        assert client(token).get(f"{API}/ingestions").status_code == 200
        # Ended, it still shows that this is a service with tokens.
        use_cases.revoke(service.database, HOLDER, "first")
        assert client(None).get(f"{API}/ingestions").status_code == 401


def test_who_holds_the_service_needs_none(http: httpx.Client, make: Callable[..., str]) -> None:
    make()
    assert http.get(f"{API}/ingestions").status_code == 200


def test_a_revoked_token_and_an_expired_one_say_so(
    service: Service, reached: Open, make: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    revoked, expired = make("read", name="left"), make("read", name="old")
    assert reached(revoked).get(f"{API}/ingestions").status_code == 200
    use_cases.revoke(service.database, HOLDER, "left")
    with service.database.write() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(tokens).where(tokens.c.name == "old").values(expires_at=past))
    for token, said in ((revoked, "the token 'left' was revoked on 20"), (expired, "the token 'old' expired on 20")):
        with caplog.at_level(logging.DEBUG):
            answer = reached(token).get(f"{API}/ingestions")
        assert answer.status_code == 401
        assert answer.json()["detail"].startswith(said)
        assert token not in answer.text
        assert token not in caplog.text


def test_a_token_is_shown_once_and_kept_as_a_hash(
    service: Service, reached: Open, make: Callable[..., str], tmp_path: Path
) -> None:
    admin = reached(make(name="boss"))
    made = admin.post(f"{API}/tokens", json={"name": "nightly", "scope": "operate", "expires_in": 3600})
    assert made.status_code == 201
    token = made.json()["token"]
    assert token.startswith("autoloader_")
    assert len(token) >= 50
    assert datetime.fromisoformat(made.json()["expires_at"]) - datetime.now(UTC) <= timedelta(hours=1)
    listed = admin.get(f"{API}/tokens")
    assert [each["name"] for each in listed.json()] == ["nightly", "boss"]
    assert token not in listed.text
    assert "token" not in listed.json()[0]
    with service.database.read() as connection:
        rows = connection.execute(select(tokens)).all()
        kept = connection.execute(select(idempotency_keys)).all()
    assert token not in str(rows) + str(kept)
    if service.database.is_sqlite:
        assert all(token.encode() not in file.read_bytes() for file in tmp_path.rglob("*.db*"))


def test_a_key_of_idempotency_keeps_no_token(service: Service, reached: Open, make: Callable[..., str]) -> None:
    admin = reached(make())
    body, key = {"name": "n"}, {"Idempotency-Key": "once"}
    first, second = (admin.post(f"{API}/tokens", json=body, headers=key).json() for _ in range(2))
    assert first["token"] != second["token"]
    with service.database.read() as connection:
        assert connection.execute(select(idempotency_keys)).all() == []


def test_its_last_use_is_kept(service: Service, reached: Open, make: Callable[..., str]) -> None:
    client = reached(make("read", name="used"))

    def last_use() -> datetime | None:
        (one,) = (each for each in use_cases.find(service.database, HOLDER) if each.name == "used")
        return one.last_used_at

    assert last_use() is None
    client.get(f"{API}/clusters")
    first = last_use()
    assert first is not None
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)
    client.get(f"{API}/clusters")
    assert last_use() == first
    with service.database.write() as connection:
        connection.execute(update(tokens).values(last_used_at=first - timedelta(minutes=2)))
    client.get(f"{API}/clusters")
    assert (last_use() or first) >= first


def test_a_narrower_token_is_derived_and_ends_with_its_own(
    service: Service, reached: Open, make: Callable[..., str]
) -> None:
    parent = make("operate", name="parent", expires_in=timedelta(hours=2))

    def derive(by: str, **body: Any) -> httpx.Response:
        return reached(by).post(f"{API}/tokens", json={"name": "derived", "expires_in": 60} | body)

    child = derive(parent, scope="operate").json()["token"]
    grandchild = derive(child, scope="read").json()["token"]
    assert reached(grandchild).get(f"{API}/ingestions").status_code == 200
    wider = derive(parent, scope="admin")
    assert wider.status_code == 403
    assert wider.json() == {"detail": "a token of scope 'operate' cannot make one of scope 'admin'"}
    too_long = derive(parent, expires_in=25 * 3600)
    assert too_long.status_code == 422
    assert too_long.json()["detail"][0]["loc"] == ["body", "expires_in"]
    # Not beyond its own end, whatever is asked for.
    ends = datetime.fromisoformat(derive(parent, expires_in=24 * 3600).json()["expires_at"])
    assert ends - datetime.now(UTC) <= timedelta(hours=2)
    other = derive(parent, tenant="acme")
    assert other.status_code == 403
    assert use_cases.revoke(service.database, HOLDER, "parent").revoked_at is not None
    for token in (parent, child, grandchild):
        assert reached(token).get(f"{API}/ingestions").status_code == 401


def test_who_derives_can_end_all_that_came_of_it(reached: Open, make: Callable[..., str]) -> None:
    parent = make("read", name="parent")
    token = parent
    for name in ("child", "grandchild"):
        token = reached(token).post(f"{API}/tokens", json={"name": name, "expires_in": 60}).json()["token"]
    assert reached(parent).delete(f"{API}/tokens/grandchild").status_code == 200
    assert reached(token).get(f"{API}/ingestions").status_code == 401
    stranger = reached(make("operate", name="stranger"))
    assert stranger.delete(f"{API}/tokens/child").status_code == 403


def test_an_expired_token_is_in_no_names_way(service: Service, make: Callable[..., str]) -> None:
    """As of a notebook that gets one of the same name each day."""
    for _ in range(3):
        make("read", name="nightly")
    with pytest.raises(Conflict, match="3 tokens are named 'nightly'"):
        use_cases.revoke(service.database, HOLDER, "nightly")
    with service.database.write() as connection:
        ids = connection.execute(select(tokens.c.id).order_by(tokens.c.created_at)).scalars().all()
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(tokens).where(tokens.c.id.in_(ids[:2])).values(expires_at=past))
    assert use_cases.revoke(service.database, HOLDER, "nightly").id == ids[2]


def test_tokens_that_ended_long_ago_are_forgotten_but_that_there_were_any(
    service: Service, make: Callable[..., str]
) -> None:
    for name in ("expired", "revoked", "valid", "newest"):
        make("read", name=name)
    past = datetime.now(UTC) - timedelta(days=31)
    with service.database.write() as connection:
        for name in ("expired", "newest"):
            connection.execute(update(tokens).where(tokens.c.name == name).values(expires_at=past))
        connection.execute(update(tokens).where(tokens.c.name == "revoked").values(revoked_at=past))
    use_cases.forget_ended(service.database)
    assert {each.name for each in use_cases.find(service.database, HOLDER)} == {"valid", "newest"}
    use_cases.revoke(service.database, HOLDER, "valid")
    with service.database.write() as connection:
        connection.execute(update(tokens).where(tokens.c.name == "valid").values(revoked_at=past))
    use_cases.forget_ended(service.database)
    assert use_cases.any_made(service.database)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_use_that_cannot_be_written_down_is_one_all_the_same(
    service: Service, reached: Open, make: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    token = make("read")
    with service.database.write() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.exec_driver_sql("CREATE TRIGGER f BEFORE UPDATE ON tokens EXECUTE FUNCTION full_disk()")
    assert reached(token).get(f"{API}/ingestions").status_code == 200
    assert "could not be written down" in caplog.text


@pytest.mark.parametrize("beyond_loopback", [False, True])
def test_a_database_that_is_gone_is_503_before_anybody_is_let_in(
    service: Service, make: Callable[..., str], take_database_away: Callable[[], None], beyond_loopback: bool
) -> None:
    token = make()
    take_database_away()
    with clients(service, beyond_loopback=beyond_loopback) as client:
        with_key = {"Idempotency-Key": "k"}
        answers = [client(token).get(f"{API}/ingestions"), client(token).post(f"{API}/ingestions", headers=with_key)]
        for answer in answers:
            assert answer.status_code == 503, answer.text
            assert "the database does not answer" in answer.json()["detail"]


def test_only_an_admin_ends_tokens_of_others(reached: Open, make: Callable[..., str]) -> None:
    operator, other = make("operate", name="operator"), make("read", name="other")
    refused = reached(operator).delete(f"{API}/tokens/other")
    assert refused.status_code == 403
    assert reached(other).get(f"{API}/ingestions").status_code == 200
    # Its own it can.
    assert reached(operator).delete(f"{API}/tokens/operator").status_code == 200
    assert reached(operator).get(f"{API}/ingestions").status_code == 401
    boss = reached(make(name="boss"))
    assert boss.delete(f"{API}/tokens/other").json()["revoked_at"]
    assert boss.delete(f"{API}/tokens/nobody").status_code == 404
    make(name="boss")
    assert boss.delete(f"{API}/tokens/boss").status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "n", "scope": "root"}, "scope"),
        ({"name": "n", "expires_in": 0}, "expires_in"),
        ({"name": "n", "expires_in": 1e12}, "expires_in"),
        ({"name": "n", "tenant": "a b"}, "tenant"),
        ({"name": "n", "scopes": "read"}, "scopes"),
    ],
)
def test_what_is_wrong_with_a_wish_is_said_of_its_field(http: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = http.post(f"{API}/tokens", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", field]


def test_a_tenant_sees_its_own_and_nothing_else(
    service: Service, reached: Open, make: Callable[..., str], on_s3: dict[str, Any], add_run: Callable[..., str]
) -> None:
    acme, other = reached(make(tenant="acme", name="a")), reached(make(tenant="other", name="o"))
    made = acme.post(f"{API}/ingestions", json=on_s3, headers={"Idempotency-Key": "same"})
    assert made.status_code == 201, made.text
    assert (made.json()["tenant_id"], made.json()["created_by"]) == ("acme", "a")
    its = made.json()["id"]
    run_id = add_run(its, tenant_id="acme")
    for client in (other, reached(make(name="default's"))):
        assert client.get(f"{API}/ingestions").json() == []
        assert client.get(f"{API}/ingestions/{its}/runs").json() == []
        for method, path in routes(service):
            # These two answer lists, and are empty.
            if "{ingestion_id}" not in path or (method, path) == ("GET", "/ingestions/{ingestion_id}/runs"):
                continue
            body = {"confirm": True} if "refresh" in path else {} if method in ("POST", "PUT") else None
            answer = client.request(
                method, filled(path, ingestion_id=its, run_id=run_id), json=body, params={"path": "x"}
            )
            assert answer.status_code in (404, 501), (method, path, answer.text)
    assert acme.get(f"{API}/ingestions/{its}/runs/{run_id}").status_code == 200
    # Neither its keys nor its names are in another's way.
    table = {**on_s3["destination"], "table": "another"}
    second = other.post(f"{API}/ingestions", json=on_s3 | {"destination": table}, headers={"Idempotency-Key": "same"})
    assert second.status_code == 201, second.text
    assert "Idempotency-Replayed" not in second.headers
    assert second.json()["id"] != its
    assert [each["id"] for each in acme.get(f"{API}/ingestions").json()] == [its]
    assert [each["name"] for each in acme.get(f"{API}/tokens").json()] == ["a"]
    assert acme.delete(f"{API}/tokens/o").status_code == 404
    assert len(use_cases.find(service.database, HOLDER)) == 3


def test_two_tenants_never_load_into_one_table(reached: Open, make: Callable[..., str], on_s3: dict[str, Any]) -> None:
    acme, other = reached(make(tenant="acme")), reached(make(tenant="other"))
    assert acme.post(f"{API}/ingestions", json=on_s3).status_code == 201
    assert acme.post(f"{API}/ingestions", json=on_s3).status_code == 201
    for table in ("orders", "ORDERS", "orders__quarantine"):
        answer = other.post(f"{API}/ingestions", json=on_s3 | {"destination": on_s3["destination"] | {"table": table}})
        assert answer.status_code == 422, table
        assert answer.json()["detail"][0]["loc"] == ["body", "destination", "table"]
        assert "another tenant loads into it" in answer.text
        assert "acme" not in answer.text


def test_a_table_that_a_deleted_ingestion_left_is_its_tenants_still(
    service: Service, reached: Open, make: Callable[..., str], on_s3: dict[str, Any]
) -> None:
    acme, other = reached(make(tenant="acme")), reached(make(tenant="other"))
    its = acme.post(f"{API}/ingestions", json=on_s3).json()["id"]
    with service.database.write() as connection:
        connection.execute(update(ingestions).where(ingestions.c.id == its).values(table_uuid="u"))
    assert acme.delete(f"{API}/ingestions/{its}").status_code == 204
    assert other.post(f"{API}/ingestions", json=on_s3).status_code == 422
    # The tenant itself may load into it again.
    assert acme.post(f"{API}/ingestions", json=on_s3).status_code == 201
    with service.database.write() as connection:
        connection.execute(update(ingestions).values(table_uuid=None, deleted_at=datetime.now(UTC)))
    assert other.post(f"{API}/ingestions", json=on_s3).status_code == 201


@pytest.mark.parametrize(
    ("source", "at"),
    [
        ({"type": "local", "path": "/etc"}, ["source", "type"]),
        ({"type": "s3", "path": "s3://b/"}, ["source", "credentials"]),
        (
            {
                "type": "s3",
                "path": "s3://b/",
                "credentials": {"aws_access_key_id": "i", "aws_secret_access_key": {"env": "AUTOLOADER_SECRETS_KEY"}},
            },
            ["source", "credentials", "aws_secret_access_key"],
        ),
        (
            {
                "type": "s3",
                "path": "s3://b/",
                "credentials": {"aws_access_key_id": {"file": "/etc/passwd"}, "aws_secret_access_key": "s"},
            },
            ["source", "credentials", "aws_access_key_id"],
        ),
    ],
)
def test_the_services_own_files_and_secrets_are_not_a_tenants(
    reached: Open, make: Callable[..., str], on_s3: dict[str, Any], source: dict[str, Any], at: list[str]
) -> None:
    tenant = reached(make(tenant="acme"))
    for path in ("", "/test", "/estimate-cost"):
        answer = tenant.post(f"{API}/ingestions{path}", json=on_s3 | {"source": source})
        assert answer.status_code == 422, path
        assert answer.json()["detail"][0]["loc"] == ["body", *at]
        assert "tenant 'acme'" in answer.text
    made = tenant.post(f"{API}/ingestions", json=on_s3).json()["id"]
    if source["type"] == "s3":
        changed = {"source": {"credentials": source.get("credentials")}}
        assert tenant.put(f"{API}/ingestions/{made}", json=changed).status_code == 422
    # What is stored stays, and is not asked for again.
    assert tenant.put(f"{API}/ingestions/{made}", json={"limits": {"max_attempts": 3}}).status_code == 200


def test_what_a_tenant_asks_for_is_the_tenants(
    service: Service, reached: Open, make: Callable[..., str], on_s3: dict[str, Any], going: str
) -> None:
    """`going`: so that the queue of this process has its hands full and the run waits."""
    tenant = reached(make(tenant="acme"))
    another = on_s3 | {"destination": on_s3["destination"] | {"table": "another"}}
    its = tenant.post(f"{API}/ingestions", json=another).json()["id"]
    with service.database.write() as connection:
        connection.execute(update(runs).where(runs.c.id == going).values(ingestion_id=its, tenant_id="acme"))
    run_id = tenant.post(f"{API}/ingestions/{its}/run").json()["run_id"]
    with service.database.read() as connection:
        assert connection.execute(select(runs.c.tenant_id).where(runs.c.id == run_id)).scalar() == "acme"
        assert connection.execute(select(ingestions.c.tenant_id).where(ingestions.c.id == its)).scalar() == "acme"
