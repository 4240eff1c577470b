"""The client of Prefect where only a made-up server shows it: locks, pages, other versions, and what is never sent."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import subprocess
import sys
import traceback
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, assert_type

import httpx
import pytest
import stamina

from autoloader_sdk import AsyncClient, Client, errors
from autoloader_sdk._http.endpoint import Async, Sync
from autoloader_sdk.config import Secret
from autoloader_sdk.listing import Listing
from autoloader_sdk.prefect import AsyncPrefect, Deployment, FlowRun, LogLine, Prefect, Schedule, flow_runs
from autoloader_sdk.prefect.models import DeploymentData, FlowRunData, ScheduleData

URL = "http://prefect.example.org:4200/api"
PASSWORD = "p4ssw0rd"
ID = str(uuid.UUID(int=7))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = {"properties": {"day": {}, "force": {}}, "required": ["day"], "additionalProperties": False}
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    with stamina.set_testing(True, attempts=4, cap=True):
        yield


def client(handler: Handler, **options: Any) -> Prefect:
    return Prefect(URL, transport=httpx.MockTransport(handler), **options)


def answers(*responses: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """A server that gives these answers, one after the other, the last one again and again; and what it was asked."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = responses[min(len(seen), len(responses)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler, seen


def ok(body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def locked() -> httpx.Response:
    return httpx.Response(503, json={"exception_message": "Service Unavailable"})


def deployment(handler: Handler, **fields: Any) -> Deployment:
    """A record without a server's answer to make it of."""
    return Deployment(client(handler)._link, DeploymentData.model_validate({"id": ID, "name": "d", **fields}))


def flow_run(handler: Handler, **fields: Any) -> FlowRun:
    return FlowRun(client(handler)._link, FlowRunData.model_validate({"id": ID, "name": "quick-fox", **fields}))


def body_of(request: httpx.Request) -> Any:
    return json.loads(request.content)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h:4200", "http://h:4200/api"),
        (" http://h:4200/ ", "http://h:4200/api"),
        ("http://h:4200/api", "http://h:4200/api"),
        ("http://h:4200//api//", "http://h:4200/api"),
        ("http://h:4200/api/v1", "http://h:4200/api"),
        ("https://h/behind/prefect", "https://h/behind/prefect/api"),
        ("https://h/behind/api/?x=1#top", "https://h/behind/api"),
        ("https://h/apiary", "https://h/apiary/api"),
        ("https://h/api/accounts/1/workspaces/2/", "https://h/api/accounts/1/workspaces/2"),
    ],
)
def test_an_address_may_be_written_in_many_ways(given: str, base: str) -> None:
    handler, seen = answers(ok(True))
    prefect = Prefect(given, transport=httpx.MockTransport(handler))
    assert prefect.url == base
    assert prefect.health()
    assert str(seen[0].url) == f"{base}/health"


@pytest.mark.parametrize("url", ["prefect.example.org", "ftp://x", "http://", "http://[::1", "me:p4ssw0rd@what"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(errors.AutoloaderError, match=r"PREFECT_API_URL .* write it like http://127") as caught:
        Prefect(url)
    assert PASSWORD not in str(caught.value)


def test_the_address_comes_from_the_environment_when_the_client_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for make in (Prefect, AsyncPrefect, lambda: Client("http://127.0.0.1:9").prefect):
        with pytest.raises(errors.AutoloaderError, match=r"no address of Prefect's API: .* set PREFECT_API_URL"):
            make()
    monkeypatch.setenv("PREFECT_API_URL", "http://from-env:4200/api/")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", f"me:{PASSWORD}")
    handler, seen = answers(ok("3.9.1"))
    assert Prefect(transport=httpx.MockTransport(handler)).version() == "3.9.1"
    assert str(seen[0].url) == "http://from-env:4200/api/admin/version"
    assert seen[0].headers["Authorization"] == "Basic " + base64.b64encode(b"me:p4ssw0rd").decode()
    assert repr(AsyncClient("http://127.0.0.1:9").prefect) == "<AsyncPrefect http://from-env:4200/api>"
    with pytest.raises(errors.AutoloaderError, match="is user:password") as caught:
        Prefect(auth_string=PASSWORD)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("given", [{"auth_string": f"me:{PASSWORD}"}, {"auth_string": Secret(f"me:{PASSWORD}")}, {}])
def test_who_asks_is_told_to_the_server_and_to_nobody_else(given: dict[str, Any]) -> None:
    handler, seen = answers(httpx.Response(401, json={"exception_message": "Unauthorized"}))
    url = URL if given else URL.replace("://", f"://me:{PASSWORD}@")
    prefect = Prefect(url, transport=httpx.MockTransport(handler), **given)
    with pytest.raises(errors.Unauthorized, match=r"Prefect: Unauthorized; give .* PREFECT_API_AUTH_STRING") as caught:
        prefect.version()
    assert seen[0].headers["Authorization"] == "Basic " + base64.b64encode(b"me:p4ssw0rd").decode()
    assert seen[0].url.userinfo == b""
    error = caught.value
    assert PASSWORD not in f"{error} {error!r} {vars(error)} {prefect!r} {vars(prefect)} {vars(prefect._link.address)}"


def failing() -> list[Callable[[str], Any]]:
    """What goes wrong in several places, each with a password."""

    def broken(_: httpx.Request) -> httpx.Response:
        raise RuntimeError("from within")

    return [
        lambda auth: Prefect("http://127.0.0.1:9", auth).version(),
        lambda auth: Prefect(URL, auth, transport=httpx.MockTransport(broken)).version(),
        lambda auth: client(answers(httpx.Response(401))[0], auth_string=auth).version(),
        lambda auth: Prefect(f"http://{auth}@127.0.0.1:9").version(),
        lambda auth: Prefect(f"ftp://{auth}@127.0.0.1:9"),
        lambda auth: Prefect("no address", auth),
        lambda auth: Prefect(URL, auth, ca="/nowhere.pem"),
        lambda auth: Prefect(URL, auth, proxy="no proxy"),
        lambda auth: asyncio.run(AsyncPrefect("http://127.0.0.1:9", auth).version()),
    ]


@pytest.mark.parametrize("which", range(9))
def test_no_tracebacks_variables_show_the_password(which: int) -> None:
    auth = f"me:{PASSWORD}"
    hidden = (PASSWORD, base64.b64encode(auth.encode()).decode())
    with pytest.raises((errors.AutoloaderError, RuntimeError)) as caught:
        failing()[which](auth)
    error: BaseException | None = caught.value
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename != __file__:  # the caller's own variables are the caller's
                for name, value in frame.f_locals.items():
                    assert not [text for text in hidden if text in _shown(value)], (frame.f_code, name)
        error = error.__cause__ or error.__context__


def _shown(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:  # half made, by whoever's class it is
        return ""


def test_a_locked_database_is_asked_again_and_a_run_keeps_its_key() -> None:
    handler, seen = answers(locked(), locked(), ok({"id": ID}), locked(), ok({"id": ID}))
    one = deployment(handler)
    assert one.run({"day": "x"}).id == ID
    keys = [body_of(request)["idempotency_key"] for request in seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    one.run()
    assert body_of(seen[-1])["idempotency_key"] not in keys
    assert "Idempotency-Key" not in seen[0].headers
    for broken in (locked(), httpx.ReadError("cut"), httpx.Response(503, text="<h1>proxy</h1>")):
        handler, seen = answers(broken, broken, ok([]))
        assert list(client(handler).deployments.list()) == []
        assert len(seen) == 3


ONCE: list[Callable[[Handler], Any]] = [
    lambda handler: client(handler).work_pools.create("p"),
    lambda handler: deployment(handler).schedules.add("0 0 * * *"),
    lambda handler: flow_run(handler).set_state("SCHEDULED", force=True),
]


@pytest.mark.parametrize("act", ONCE)
def test_what_may_have_been_done_is_not_asked_for_twice(act: Callable[[Handler], Any]) -> None:
    for broken in (httpx.ReadError("cut"), httpx.Response(503, text="<h1>proxy</h1>"), httpx.Response(502)):
        handler, seen = answers(broken, ok({}))
        with pytest.raises(errors.AutoloaderError):
            act(handler)
        assert len(seen) == 1
    # Where the database was locked, nothing was done.
    handler, seen = answers(locked(), locked(), httpx.Response(409, json={"detail": "over"}))
    with pytest.raises(errors.Conflict, match="over"):
        act(handler)
    assert len(seen) == 3


def test_a_server_that_stays_locked_is_told_of_by_its_name() -> None:
    handler, seen = answers(locked())
    with pytest.raises(errors.ServerError, match="Prefect: Service Unavailable; its database was locked"):
        client(handler).version()
    assert len(seen) == 4
    handler, _ = answers(httpx.Response(502, text="<h1>proxy</h1>"))
    with pytest.raises(errors.ServerError, match=r"^Bad Gateway, as a web page .*; Prefect is not ready: look whether"):
        client(handler).version()
    handler, _ = answers(httpx.ConnectError("refused"))
    with pytest.raises(errors.ConnectionFailed, match="is Prefect running, and the address right"):
        client(handler).version()
    handler, _ = answers(httpx.ReadTimeout("slow"))
    with pytest.raises(errors.Timeout, match="or look at Prefect"):
        client(handler).version()


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (httpx.Response(200, text="<!doctype html><title>Prefect</title>"), errors.ApiError, "web page.*:4200/api"),
        (httpx.Response(404, text="<html>nginx</html>"), errors.NotFound, "^Not Found, as a web page and not as Prefe"),
        (httpx.Response(200, text='["cut'), errors.ApiError, "cut off, or this is not the address of Prefect's API"),
        (ok({"version": 3}), errors.ApiError, "is PREFECT_API_URL the address of Prefect's API"),
        (httpx.Response(404, json={"detail": "Not Found"}), errors.NotFound, "no such path: is PREFECT_API_URL"),
        (httpx.Response(405, json={"detail": "Method Not Allowed"}), errors.ApiError, "Prefect: Method Not Allowed"),
        (httpx.Response(409, json={"detail": ["one", "two"]}), errors.Conflict, "Prefect: one; two"),
        (httpx.Response(400, json={"message": "odd"}), errors.BadRequest, "Prefect: odd"),
        (httpx.Response(500, json={}), errors.ServerError, "^Internal Server Error"),
        (httpx.Response(500, json=7), errors.ServerError, "Prefect: 7"),
        (httpx.Response(307, headers={"Location": "/api/x"}), errors.ApiError, "/api/x; set PREF"),
    ],
)
def test_each_other_answer_is_told_for_what_it_is(
    answer: httpx.Response, kind: type[errors.ApiError], says: str
) -> None:
    with pytest.raises(kind, match=says) as caught:
        client(answers(answer)[0]).version()
    assert "service" not in str(caught.value).lower()
    assert (caught.value.status, caught.value.method) == (answer.status_code, "GET")


def test_what_prefect_finds_wrong_is_named_and_what_was_sent_is_not_repeated() -> None:
    detail = [{"loc": ["body", "state", "type"], "msg": "Input should be 'SCHEDULED'", "input": "s3cret"}]
    said = {"exception_message": "Invalid request received.", "exception_detail": detail, "request_body": "s3cret"}
    handler, _ = answers(httpx.Response(422, json=said))
    with pytest.raises(errors.Invalid, match=r"Prefect: state\.type: Input should be 'SCHEDULED'") as caught:
        flow_run(handler).set_state("GONE")
    assert caught.value.fields == (("state.type", "Input should be 'SCHEDULED'"),)
    assert "s3cret" not in f"{caught.value} {vars(caught.value)}"
    handler, _ = answers(httpx.Response(422, json={"exception_message": "no", "request_body": "s3cret"}))
    with pytest.raises(errors.Invalid, match=r"^Prefect: no ") as caught:
        flow_run(handler).set_state("GONE")
    assert "s3cret" not in str(caught.value)


def test_an_older_server_and_a_newer_one_are_read() -> None:
    handler, _ = answers(ok({"id": ID, "state_type": "RUNNING", "state_name": "Retrying", "tags": None}))
    older = client(handler).flow_runs.get(ID)
    assert (older.state.type, str(older.state), older.done, older.parameters) == ("RUNNING", "Retrying", False, {})
    state = {"type": "SUSPENDED", "name": None, "wakes": "soon"}
    handler, _ = answers(ok({"id": ID, "state": state, "mood": "good", "end_time": None}))
    newer = client(handler).flow_runs.get(ID)
    assert (str(newer.state), newer.done, newer.ok) == ("Suspended", False, False)
    assert newer.state.model_extra == {"wakes": "soon"}
    assert newer.data.model_extra == {"mood": "good"}
    handler, _ = answers(ok({"id": ID, "state": {"type": "VANISHED"}, "end_time": "2026-03-01T12:00:00Z"}))
    with pytest.raises(errors.RunFailed, match="Vanished"):
        client(handler).flow_runs.get(ID).wait()
    handler, _ = answers(ok({"id": ID, "concurrency_limit": 3, "schedules": None, "parameters": None}))
    deployed = client(handler).deployments.get(ID)
    assert (deployed.concurrency_limit, deployed.parameters, deployed.work_pool) == (3, {}, None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"cron": "0 30 2 * * *"}, "cron: a cron expression has five fields; this one has six: leave out the seconds"),
        ({"cron": "0 25 * * *"}, "cron: cron field 'hour': '25' is outside 0 to 23"),
        ({"cron": "0 2 * * *", "timezone": "Europe/Berlni"}, "timezone: unknown .* did you mean 'Europe/Berlin'"),
        ({"cron": "0 2 * * *", "timezone": "CEST+1"}, "timezone: unknown time zone"),
        ({"cron": "0 2 * * *", "parameters": {"dya": 1}}, "parameters.dya: .* no such parameter; did you mean 'day'"),
        ({"cron": "0 2 * * *", "parameters": {"day": {1}}}, "parameters.day"),
        ({"cron": "0 2 * * *", "parameters": {"force": 1}}, "parameters.day: the flow needs it, and neither"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_before_anything_is_sent(given: dict[str, Any], says: str) -> None:
    handler, seen = answers(httpx.Response(500))
    one = deployment(handler, parameter_openapi_schema=SCHEMA, enforce_parameter_schema=True)
    with pytest.raises(errors.Invalid, match=says) as caught:
        one.schedules.add(**given)
    assert caught.value.status is None
    with pytest.raises(errors.Invalid, match=says):
        client(handler).deployments.create(
            "d", flow="f", entrypoint="a.b.c", work_pool="p", schedules=[given], parameter_openapi_schema=SCHEMA
        )
    there = ScheduleData(id=ID, schedule={"cron": "0 0 * * *", "timezone": "UTC"})
    schedule = Schedule(one._link, there, one.data)
    with pytest.raises(errors.Invalid, match=says):
        schedule.change(**given)
    assert not seen


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"parameter_openapi_schema": None}, "parameter_openapi_schema: give that of the flow, or say enforce_"),
        ({"collision_strategy": "ENQUEUE"}, "collision_strategy: there is nothing to collide with"),
        ({"collision_strategy": "ENQEUE", "concurrency_limit": 1}, "allowed: ENQUEUE, CANCEL_NEW; did you mean"),
        ({"concurrency_limit": 0}, "concurrency_limit"),
        ({"name": "a/b"}, "name: "),
        ({"flow": ""}, "name: "),
        ({"tags": "autoloader"}, r"tags: a list, as in \['autoloader'\]"),
        ({"parameters": {"day": NOON}}, "parameters.day"),
        ({"schedules": "0 0 * * *"}, "schedules: a list"),
        ({"schedules": [{"cron": "0 0 * * *", "timezon": "UTC"}]}, "timezon: unknown field; did you mean 'timezone'"),
    ],
)
def test_a_deployment_that_cannot_be_is_refused_before_anything_is_sent(given: dict[str, Any], says: str) -> None:
    handler, seen = answers(httpx.Response(500))
    usual: dict[str, Any] = {"name": "d", "flow": "f", "entrypoint": "a.b.c", "work_pool": "p"}
    usual |= {"parameter_openapi_schema": {"properties": {}}}
    with pytest.raises(errors.Invalid, match=says):
        client(handler).deployments.create(**usual | given)
    assert not seen


USUAL: dict[str, Any] = {"name": "d", "flow": "f", "entrypoint": "a.b.c", "work_pool": "p"}
USUAL |= {"parameter_openapi_schema": {"properties": {}}}


def test_a_deployment_made_again_leaves_its_limit_and_runs_no_steps_of_an_earlier_one() -> None:
    handler, seen = answers(ok({"id": ID, "name": "p"}), ok({"id": ID}), ok({"id": ID}))
    client(handler).deployments.create(**USUAL)
    sent = body_of(seen[-1])
    assert sent["pull_steps"] is None
    assert not {"concurrency_limit", "concurrency_options"} & set(sent)


def test_a_limit_that_others_may_share_is_not_changed() -> None:
    shared = {"id": ID, "name": "d", "global_concurrency_limit": {"name": "nightly", "limit": 3}}
    handler, seen = answers(ok({"id": ID, "name": "p"}), ok(shared))
    with pytest.raises(errors.Conflict, match="deployment 'd' has the limit 'nightly', which others may share"):
        client(handler).deployments.create(**USUAL, concurrency_limit=1)
    assert [request.method for request in seen] == ["GET", "GET"]
    with pytest.raises(errors.Conflict, match="'nightly'"):
        deployment(handler, **shared).update(concurrency_limit=None)
    own = shared | {"global_concurrency_limit": {"name": f"deployment:{ID}", "limit": 3}}
    handler, seen = answers(ok({"id": ID, "name": "p"}), ok(own), ok({"id": ID}), ok({"id": ID}))
    client(handler).deployments.create(**USUAL, concurrency_limit=1)
    assert body_of(seen[-1])["concurrency_limit"] == 1


def test_a_state_that_was_set_by_a_try_whose_answer_was_lost_is_set() -> None:
    before = {"status": "ABORT", "details": {"reason": "This run has already made this state transition."}}
    handler, seen = answers(httpx.ReadError("cut"), ok(before), ok({"id": ID, "state_type": "RUNNING"}))
    flow_run(handler).set_state("RUNNING")
    first, second = (body_of(request)["state"]["state_details"]["transition_id"] for request in seen[:2])
    assert first == second
    flow_run(handler).set_state("RUNNING")
    assert body_of(seen[-2])["state"]["state_details"]["transition_id"] != first


def test_whether_parameters_are_checked_is_always_said() -> None:
    found = ok({"id": ID})
    handler, seen = answers(found)
    create = client(handler).deployments.create
    create("d", flow="f", entrypoint="a.b.c", work_pool="p", parameter_openapi_schema=SCHEMA)
    sent = body_of(seen[-1])
    assert (sent["enforce_parameter_schema"], sent["parameter_openapi_schema"]) == (True, SCHEMA)
    create("d", flow="f", entrypoint="a.b.c", work_pool="p", enforce_parameter_schema=False, schedules=["0 0 * * *"])
    sent = body_of(seen[-1])
    assert (sent["enforce_parameter_schema"], sent["parameter_openapi_schema"]["type"]) == (False, "object")
    # Empty parameters are left out: before 3.2 Prefect takes none.
    assert sent["schedules"] == [{"schedule": {"cron": "0 0 * * *", "timezone": "UTC"}, "active": True}]


def test_one_schedule_is_sent_whole_whatever_changes() -> None:
    there = {"id": ID, "slug": "s", "parameters": {"day": 1}, "max_scheduled_runs": 4, "active": True}
    there |= {"schedule": {"cron": "0 0 * * *", "timezone": "Asia/Tokyo", "day_or": False, "season": "wet"}}
    handler, seen = answers(ok([there]))
    one = deployment(handler)
    one.schedules.get("s").change(cron="0 1 * * *")
    expected = {key: value for key, value in there.items() if key != "id"}
    assert body_of(seen[2]) == expected | {"schedule": there["schedule"] | {"cron": "0 1 * * *"}}  # type: ignore[operator]
    assert (seen[2].method, seen[2].url.path) == ("PATCH", f"/api/deployments/{ID}/schedules/{ID}")


def test_to_an_older_server_nothing_is_sent_that_its_schedule_does_not_have() -> None:
    there = {"id": ID, "active": True, "schedule": {"cron": "0 0 * * *", "timezone": "UTC"}}
    handler, seen = answers(ok([there]))
    one = deployment(handler)
    one.schedules.get(ID).change(active=False)
    assert body_of(seen[2]) == {"schedule": there["schedule"], "active": False}
    one.schedules.get(ID).change(parameters={})
    assert body_of(seen[6]) == {"schedule": there["schedule"], "active": True, "parameters": {}}


def log(*lines: tuple[int, str]) -> list[dict[str, Any]]:
    return [
        {"id": text, "level": 20, "message": text, "timestamp": (NOON + timedelta(seconds=second)).isoformat()}
        for second, text in lines
    ]


class Growing:
    """A run whose log grows with each look at its state; a `None` is its end."""

    def __init__(self, *grows: list[dict[str, Any]] | None) -> None:
        self.grows = iter(grows)
        self.lines: list[dict[str, Any]] = []
        self.ended = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            more = next(self.grows, [])
            self.ended |= more is None
            self.lines = sorted(self.lines + (more or []), key=lambda line: line["timestamp"])
            return ok({"id": ID, "state": {"type": "COMPLETED" if self.ended else "RUNNING"}})
        asked = body_of(request)
        assert asked["logs"]["flow_run_id"] == {"any_": [ID]}
        return ok(self.lines[asked["offset"] :][: asked["limit"]])


def test_lines_that_come_after_the_end_or_late_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count()  # each look at the clock is a second after the one before
    monkeypatch.setattr(flow_runs, "time", SimpleNamespace(monotonic=lambda: next(looks)))
    grown = Growing(log((1, "a"), (9, "b")), [], log((2, "late")), None, [], log((10, "after")), log((0, "last")))
    lines = flow_run(grown).follow_logs(poll=0, linger=3)
    assert [line.message for line in lines] == ["a", "b", "late", "after", "last"]
    assert next(looks) == 10


def test_many_lines_are_followed_by_pages() -> None:
    many = log(*((number // 50, f"line {number}") for number in range(450)))
    grown = Growing(many[:205], many[205:], log(*((-1, f"early {number}") for number in range(210))), None)
    found = [line.message for line in flow_run(grown).follow_logs(poll=0, linger=0)]
    assert len(found) == len(set(found)) == 660


def test_a_line_shows_its_time_its_level_and_what_it_says() -> None:
    line = LogLine.model_validate(log((1, "a <b>"))[0])
    at = (NOON + timedelta(seconds=1)).astimezone()
    assert str(line) == f"{at:%H:%M:%S}.000 INFO     a <b>"


def numbered(request: httpx.Request, *, most: int) -> httpx.Response:
    """500 deployments, of a server that gives `most` at once."""
    asked = body_of(request)
    if asked["limit"] > most:
        detail = f"Invalid limit: must be less than or equal to {most}."
        return httpx.Response(422, json={"detail": detail})
    entries = [{"id": str(uuid.UUID(int=number)), "name": str(number)} for number in range(500)]
    return ok(entries[asked["offset"] :][: asked["limit"]])


@pytest.mark.parametrize("most", [200, 50, 7])
def test_pages_are_as_long_as_the_server_gives_them_and_are_asked_for_as_they_are_used(most: int) -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return numbered(request, most=most)

    everything = [str(number) for number in range(500)]
    assert [each.name for each in client(handler).deployments.list()] == everything
    assert [each.name for each in client(handler).deployments.list(limit=60)] == everything[:60]
    asked.clear()
    found = client(handler).deployments.list()
    assert [next(found).name for _ in range(5)] == everything[:5]
    assert len(asked) == (1 if most == 200 else 2)

    async def awaited() -> list[str]:
        prefect = AsyncPrefect(URL, transport=httpx.MockTransport(handler))
        return [each.name async for each in prefect.deployments.list()]

    assert asyncio.run(awaited()) == everything


def test_runs_that_leave_the_filter_or_come_while_they_are_listed_hide_none() -> None:
    """500 runs, of which 450 were due at one moment; whatever was seen is gone when the next page is asked for."""
    due = [NOON - timedelta(hours=max(0, number - 450)) for number in range(500)]
    there = {str(uuid.UUID(int=number)): at for number, at in enumerate(due)}
    gone: set[str] = set()

    def handler(request: httpx.Request) -> httpx.Response:
        asked = body_of(request)
        until = datetime.fromisoformat(
            asked["flow_runs"].get("expected_start_time", {}).get("before_", "9999-01-01T00Z")
        )
        left = sorted(
            ((key, at) for key, at in there.items() if key not in gone and at <= until), key=lambda each: each[1]
        )
        page = left[::-1][asked["offset"] :][: asked["limit"]]
        return ok([{"id": key, "expected_start_time": at.isoformat()} for key, at in page])

    found: list[str] = []
    for number, run in enumerate(client(handler).flow_runs.list()):
        found.append(run.id)
        if number % 3:
            gone.add(run.id)
    assert sorted(found) == sorted(there)


def test_states_are_told_apart_by_type_and_by_name() -> None:
    handler, seen = answers(ok([]))
    runs = client(handler).flow_runs
    assert list(runs.list(states=["running", "AwaitingRetry", "SUSPENDED", "Crashed"])) == []
    types, names = ["RUNNING", "SUSPENDED", "CRASHED"], ["AwaitingRetry"]
    expected = {"operator": "or_", "type": {"any_": types}, "name": {"any_": names}}
    assert body_of(seen[0])["flow_runs"]["state"] == expected
    with pytest.raises(errors.Invalid, match=r"a list of states, as in \['RUNNING'\]"):
        list(runs.list(states="RUNNING"))


def test_a_state_that_prefect_does_not_take_is_a_conflict_with_its_reason() -> None:
    answer = {"status": "WAIT", "state": None, "details": {"type": "wait_details", "reason": "not yet"}}
    handler, _ = answers(ok(answer))
    with pytest.raises(errors.Conflict, match="Prefect: not yet"):
        flow_run(handler).set_state("RUNNING")
    handler, _ = answers(ok({"status": "DEFER"}))
    with pytest.raises(errors.Conflict, match=r"the state was not taken \(DEFER\)"):
        flow_run(handler).set_state("RUNNING")


def test_records_show_themselves_and_escape_what_they_show() -> None:
    evil = "<script>alert(1)</script>"
    schedule = {"id": ID, "schedule": {"cron": evil, "timezone": "UTC"}, "active": False, "slug": evil}
    one = deployment(answers(ok([schedule]))[0], name=evil, schedules=[schedule], tags=[evil], work_pool_name=evil)
    run = flow_run(answers(ok({}))[0], name=evil, state={"type": "FAILED", "message": evil})
    pool = client(answers(ok({"id": ID, "name": evil, "type": "process"}))[0]).work_pools.get("p")
    queue = client(answers(ok({"id": ID, "name": evil, "priority": 1}))[0]).work_pools.get("p").queues.get("q")
    for record in (one, one.schedules.list()[0], run, pool, queue):
        html = record._repr_html_()
        assert "&lt;script&gt;" in html
        assert "<script>" not in html
        assert "\n" not in repr(record)
    assert repr(run) == f"<FlowRun {evil} ({ID}): FAILED: {evil}>".replace("FAILED", "Failed")
    assert "(rests)" in repr(one)
    shown = dir(one)
    assert {"run", "update", "schedules", "pause"} <= set(shown)
    assert not [name for name in shown if name.startswith("_")]


def test_importing_it_needs_neither_prefect_nor_httpx_and_the_package_does_not_import_it() -> None:
    listing = "import sys; {}; print(*sys.modules)"

    def loaded(statement: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", listing.format(statement)], capture_output=True, text=True, check=True
        )
        return set(done.stdout.split())

    assert not loaded("from autoloader_sdk.prefect import Prefect") & {"prefect", "httpx", "stamina"}
    assert "autoloader_sdk.prefect" not in loaded("from autoloader_sdk import Client")


def _typed(prefect: Prefect) -> None:
    """Never called: what type checkers see of the plain client."""
    one = prefect.deployments.get_by_name("a/b")
    assert_type(one, Deployment[Sync])
    assert_type(prefect.deployments.list(), Iterator[Deployment[Sync]])
    assert_type(one.schedules.list(), Listing[Schedule[Sync]])
    assert_type(one.run().wait().logs(), Iterator[LogLine])


async def _typed_awaited(prefect: AsyncPrefect) -> None:
    one = await prefect.deployments.get_by_name("a/b")
    started = one.run({"day": 1})
    _ = assert_type(started, Coroutine[Any, Any, FlowRun[Async]])
    assert_type((await started).follow_logs(), AsyncIterator[LogLine])
    one.run(parmeters={})  # type: ignore[call-arg, unused-coroutine]
