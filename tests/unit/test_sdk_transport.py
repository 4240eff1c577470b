"""What only a made-up service shows: tries again, pages, and each error as the right exception."""

import asyncio
import base64
import itertools
import json
import pickle
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import stamina

from autoloader_sdk import AsyncClient, Client, errors
from autoloader_sdk._http import retry
from autoloader_sdk._http.retry import NotNow, _again

URL = "https://user:s3cret@service.example.org/behind/proxy"
OURS = {"Autoloader-Version": "1"}
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=4, cap=True):
        yield


def client(handler: Handler, **options: Any) -> Client:
    return Client(URL, token="t0ken", transport=httpx.MockTransport(handler), **options)


def answers(*responses: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """A service that gives these answers, one after the other, and the requests it got."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = responses[min(len(seen), len(responses)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler, seen


def test_a_request_has_the_token_the_prefix_and_the_proxys_path() -> None:
    handler, seen = answers(httpx.Response(200, json=[]))
    client(handler).ingestions.list(status="active")
    assert str(seen[0].url).endswith("service.example.org/behind/proxy/api/v1/ingestions?status=active")
    assert seen[0].headers["Authorization"] == "Bearer t0ken"


@pytest.mark.parametrize("broken", [httpx.ConnectError("refused"), httpx.RemoteProtocolError("gone"), 502, 503, 504])
def test_a_service_that_is_not_there_is_asked_again_and_a_post_keeps_its_key(broken: Exception | int) -> None:
    first = httpx.Response(broken) if isinstance(broken, int) else broken
    receipt = httpx.Response(202, json={"run_id": "r1", "status": "accepted"})
    made = httpx.Response(200, json={"id": "ing_0123456789ab"}, headers=OURS)
    handler, seen = answers(made, first, first, receipt, receipt)
    ingestion = client(handler).ingestions.get("ing_0123456789ab")
    assert ingestion.run().id == "r1"
    keys = [request.headers["Idempotency-Key"] for request in seen[1:]]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    ingestion.run()
    assert seen[-1].headers["Idempotency-Key"] not in keys


@pytest.mark.parametrize(("took", "times"), [(31.0, 1), (0.0, 2)])
def test_a_request_whose_first_try_took_all_the_patience_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, took: float, times: int
) -> None:
    looks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() - (took if next(looks) == 0 else 0))
    monkeypatch.setattr(retry, "time", clock)
    handler, seen = answers(httpx.Response(504), httpx.Response(404))
    with stamina.set_testing(False), pytest.raises(errors.ApiError):
        client(handler).ingestions.get("ing_0123456789ab")
    assert len(seen) == times


@pytest.mark.parametrize("broken", [httpx.RemoteProtocolError("gone"), httpx.ReadError("cut"), 502, 503, 504])
def test_what_may_have_been_done_is_not_sent_twice_to_a_service_that_knows_no_keys(broken: Exception | int) -> None:
    first = httpx.Response(broken) if isinstance(broken, int) else broken
    handler, seen = answers(httpx.Response(200, json={"id": "ing_0123456789ab"}), first)
    ingestion = client(handler).ingestions.get("ing_0123456789ab")
    with pytest.raises(errors.AutoloaderError):
        ingestion.run()
    assert len(seen) == 2
    # What does no more when it is sent twice may go again, and needs no key.
    known = httpx.Response(200, json={"id": "ing_0123456789ab"})
    handler, seen = answers(known, first, first, httpx.Response(200, json={"status": "paused"}), known)
    client(handler).ingestions.get("ing_0123456789ab").pause()
    paused = [request for request in seen if request.url.path.endswith("/pause")]
    assert [("Idempotency-Key" in request.headers) for request in paused] == [False] * 3


def test_clearing_is_not_asked_for_twice() -> None:
    """The second time would forget what a run has loaded meanwhile."""
    known = httpx.Response(200, json={"id": "ing_0123456789ab"}, headers=OURS)
    handler, seen = answers(known, httpx.ReadError("cut"), httpx.Response(200, json={}))
    ingestion = client(handler).ingestions.get("ing_0123456789ab")
    with pytest.raises(errors.ConnectionFailed):
        ingestion.clear()
    assert len(seen) == 2


def test_an_older_service_that_leaves_out_a_change_is_told_of() -> None:
    older = httpx.Response(200, json={"id": "ing_0123456789ab"})
    handler, seen = answers(older)
    ingestion = client(handler).ingestions.get("ing_0123456789ab")
    ingestion.update(schedule="hourly")
    with pytest.raises(errors.NotSupported, match="has not changed on_bad_record, source"):
        ingestion.update(on_bad_record="rescue", source={"credentials": {"a": "b"}}, status="paused")
    assert json.loads(seen[-1].content)["status"] == "paused"
    handler, _ = answers(httpx.Response(200, json={"id": "ing_0123456789ab", "on_bad_record": "rescue"}, headers=OURS))
    client(handler).ingestions.get("ing_0123456789ab").update(on_bad_record="rescue")


def test_what_was_never_sent_is_sent_again_to_any_service() -> None:
    never, receipt = httpx.ConnectError("refused"), httpx.Response(202, json={"run_id": "r1", "status": "accepted"})
    handler, seen = answers(httpx.Response(200, json={"id": "ing_0123456789ab"}), never, never, receipt)
    assert client(handler).ingestions.get("ing_0123456789ab").run().id == "r1"
    assert len({request.headers["Idempotency-Key"] for request in seen[1:]}) == 1


@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Tue, 24 Nov 2026 10:00:09 GMT", "Date": "Tue, 24 Nov 2026 10:00:00 GMT"}, 9.0),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:00 GMT", "Date": "Tue, 24 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_a_service_that_is_asked_too_often_says_when_it_may_be_asked_again(
    said: dict[str, str], pause: float | None
) -> None:
    again = _again(repeatable=False)
    busy = httpx.Response(429, json={"detail": "busy"}, headers=said)
    assert again(NotNow(busy)) == (True if pause is None else pause)
    handler, seen = answers(busy, busy, httpx.Response(200, json=[]))
    assert list(client(handler).ingestions.list()) == []
    assert len(seen) == 3
    handler, seen = answers(busy)
    with pytest.raises(errors.TooMany, match="wait a little") as raised:
        client(handler).ingestions.list()
    assert (len(seen), raised.value.retry_after) == (4, pause)


def test_a_pause_longer_than_our_patience_is_left_to_the_caller() -> None:
    handler, seen = answers(httpx.Response(429, headers={"Retry-After": "3600"}))
    with pytest.raises(errors.TooMany) as raised:
        client(handler).ingestions.list()
    assert (len(seen), raised.value.retry_after) == (1, 3600.0)


def test_a_certificate_that_is_not_trusted_is_told_at_once() -> None:
    handler, seen = answers(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"))
    with pytest.raises(errors.ConnectionFailed, match=r"is not trusted .*SSL_CERT_FILE"):
        client(handler).ingestions.list()
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(200, text="<!doctype html><title>Sign in</title>"), "a web page"),
        (httpx.Response(200, text='[{"id": "ing_0123'), "cut off"),
        (httpx.Response(200, json={"items": []}), "should be a list"),
        (httpx.Response(200, json=[7]), "not what an autoloader service sends"),
        (httpx.Response(200, json=[{"name": "no id"}]), "id: Field required"),
    ],
)
def test_an_answer_of_another_kind_is_an_error_that_says_so(answer: httpx.Response, says: str) -> None:
    handler, _ = answers(answer)
    with pytest.raises(errors.ApiError, match=says) as raised:
        client(handler).ingestions.list()
    assert (raised.value.status, raised.value.method) == (200, "GET")


@pytest.mark.parametrize("body", [[], "text", 7, {"name": "no id"}, None])
def test_one_thing_of_another_kind_is_an_error_too(body: object) -> None:
    handler, _ = answers(httpx.Response(200, json=body, headers={"Date": "yesterday"}))
    with pytest.raises(errors.ApiError, match="is base_url the address of an autoloader service"):
        client(handler).ingestions.get("ing_0123456789ab")


def test_the_tries_end() -> None:
    handler, seen = answers(httpx.ConnectError("refused"))
    with pytest.raises(errors.ConnectionFailed, match="is the service running") as raised:
        client(handler).ingestions.list()
    assert len(seen) == 4
    assert isinstance(raised.value, ConnectionError)
    handler, seen = answers(httpx.Response(503, text="<h1>down</h1>"))
    with pytest.raises(errors.ServerError, match="not ready") as failed:
        client(handler).ingestions.list()
    assert (len(seen), failed.value.status) == (4, 503)


@pytest.mark.parametrize("status", [400, 409, 422, 500, 501])
def test_an_answer_is_not_asked_for_again(status: int) -> None:
    handler, seen = answers(httpx.Response(status, json={"detail": "no"}))
    with pytest.raises(errors.ApiError):
        client(handler).ingestions.list()
    assert len(seen) == 1


def test_a_slow_answer_is_a_timeout_and_not_asked_for_twice() -> None:
    handler, seen = answers(httpx.ReadTimeout("slow"))
    with pytest.raises(TimeoutError, match="longer timeout") as raised:
        client(handler).ingestions.list()
    assert isinstance(raised.value, errors.Timeout)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (418, errors.ApiError),
        (422, errors.Invalid),
        (429, errors.TooMany),
        (500, errors.ServerError),
        (501, errors.NotSupported),
    ],
)
def test_each_status_is_its_error_and_tells_the_request(status: int, kind: type[errors.ApiError]) -> None:
    handler, _ = answers(httpx.Response(status, json={"detail": "because"}, headers={"X-Request-ID": "q7"}))
    with pytest.raises(errors.ApiError) as raised:
        client(handler).ingestions.get("ing_0123456789ab")
    error = raised.value
    assert type(error) is kind
    assert (error.status, error.method, error.request_id) == (status, "GET", "q7")
    assert error.url == "https://service.example.org/behind/proxy/api/v1/ingestions/ing_0123456789ab"
    assert "because" in str(error)
    assert "q7" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.status) == (kind, str(error), status)


@pytest.mark.parametrize(
    "broken",
    [
        httpx.Response(401),
        httpx.ConnectError("x"),
        httpx.ReadTimeout("x"),
        httpx.Response(200, text="<html>"),
    ],
)
def test_no_error_holds_the_token_or_the_password(broken: httpx.Response | Exception) -> None:
    handler, _ = answers(broken)
    made = client(handler)
    with pytest.raises(errors.AutoloaderError) as raised:
        made.ingestions.list()
    shown = f"{raised.value} {raised.value!r} {vars(raised.value)} {made!r}"
    assert "s3cret" not in shown
    assert "t0ken" not in shown


def test_a_422_names_each_field() -> None:
    detail = [
        {"loc": ["body", "source", "type"], "msg": "unknown value 'ftp'"},
        {"loc": ["body"], "msg": "odd"},
    ]
    handler, _ = answers(httpx.Response(422, json={"detail": detail}))
    with pytest.raises(errors.Invalid) as raised:
        client(handler).ingestions.list()
    assert raised.value.fields == (("source.type", "unknown value 'ftp'"), ("body", "odd"))
    assert "source.type: unknown value 'ftp'" in str(raised.value)


@pytest.mark.parametrize("detail", ["text", None, [], ["a"], {"a": 1}, 7])
def test_any_shape_of_detail_is_read(detail: object) -> None:
    handler, _ = answers(httpx.Response(422, json={"detail": detail}))
    with pytest.raises(errors.Invalid):
        client(handler).ingestions.list()


def test_a_redirect_is_told_and_not_followed() -> None:
    handler, seen = answers(httpx.Response(307, headers={"Location": "https://elsewhere.example.org/x"}))
    with pytest.raises(errors.ApiError, match=r"https://elsewhere\.example\.org/x; set base_url"):
        client(handler).ingestions.list()
    assert len(seen) == 1


def paged(request: httpx.Request) -> httpx.Response:
    """Three pages of two files; the links name the host behind the proxy."""
    if request.url.path.endswith("ing_0123456789ab"):
        return httpx.Response(200, json={"id": "ing_0123456789ab"})
    assert request.url.host == "service.example.org"
    assert request.url.path == "/behind/proxy/api/v1/ingestions/ing_0123456789ab/files"
    assert request.url.params["status"] == "FAILED"
    at = int(request.url.params.get("cursor", "0"))
    path = request.url.path.removeprefix("/behind/proxy")
    link = f"<http://10.0.0.1:8000{path}?status=FAILED&cursor={at + 2}>"
    headers = {"Link": f'{link}; rel="next"'} if at < 4 else {}
    return httpx.Response(200, json=[{"path": f"f{at}"}, {"path": f"f{at + 1}"}], headers=headers)


def test_files_are_read_page_by_page_to_the_last() -> None:
    ingestion = client(paged).ingestions.get("ing_0123456789ab")
    assert [file.path for file in ingestion.files(status="failed")] == ["f0", "f1", "f2", "f3", "f4", "f5"]


@pytest.mark.parametrize("name", ["ingestions", "runs", "batches", "files"])
def test_a_loop_asks_for_a_page_when_it_gets_there(name: str) -> None:
    asked: list[str] = []

    def pages(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/ing_0123456789ab"):
            return httpx.Response(200, json={"id": "ing_0123456789ab"})
        asked.append(request.url.params.get("cursor", "0"))
        following = f'<{URL}{request.url.path}?cursor={len(asked)}>; rel="next"'
        entries = [{"id": f"{len(asked)}-{at}", "path": "f"} for at in range(2)]
        return httpx.Response(200, json=entries, headers={"Link": following} if len(asked) < 50 else {})

    made = client(pages)
    collection: Any = (
        made.ingestions if name == "ingestions" else getattr(made.ingestions.get("ing_0123456789ab"), name)
    )
    assert len(list(itertools.islice(collection, 5))) == 5
    assert asked == ["0", "1", "2"]
    asked.clear()
    assert len(list(collection)) == 100


def test_why_a_file_is_in_the_table_is_a_sentence_and_an_older_service_does_not_tell() -> None:
    told = {"path": "s3://b/a b.csv", "in_table": True, "sentence": "3 rows are in lake.a.b <i>", "versions": 1}
    known = httpx.Response(200, json={"id": "ing_0123456789ab"})
    handler, seen = answers(known, httpx.Response(200, json=told | {"file": {"path": "s3://b/a b.csv"}}))
    verdict = client(handler).ingestions.get("ing_0123456789ab").files.why("a b.csv")
    assert seen[1].url.params["path"] == "a b.csv"
    assert str(verdict) == "s3://b/a b.csv: 3 rows are in lake.a.b <i>"
    assert (verdict.in_table, verdict.file and verdict.file.path) == (True, "s3://b/a b.csv")
    assert "&lt;i&gt;" in verdict._repr_html_()
    handler, _ = answers(known, httpx.Response(404, json={"detail": "Not Found"}))
    with pytest.raises(errors.NotSupported, match="an older one"):
        client(handler).ingestions.get("ing_0123456789ab").files.why("a")
    handler, _ = answers(known, httpx.Response(404, json={"detail": "ingestion ing_0123456789ab not found"}))
    with pytest.raises(errors.NotFound):
        client(handler).ingestions.get("ing_0123456789ab").files.why("a")


def test_the_asynchronous_client_reads_the_same_pages_in_one_loop_after_another() -> None:
    made = AsyncClient(URL, transport=httpx.MockTransport(paged))

    async def paths() -> list[str]:
        ingestion = await made.ingestions.get("ing_0123456789ab")
        return [file.path async for file in ingestion.files(status="failed")]

    assert asyncio.run(paths()) == asyncio.run(paths()) == ["f0", "f1", "f2", "f3", "f4", "f5"]


def test_a_closed_client_says_so() -> None:
    handler, _ = answers(httpx.Response(200, json=[]))
    with client(handler) as made:
        made.ingestions.list()
    with pytest.raises(errors.ClientClosed, match="make a new one"):
        made.ingestions.list()
    made.close()


def test_the_address_comes_from_the_environment_when_the_client_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AUTOLOADER_URL", raising=False)
    with pytest.raises(errors.AutoloaderError, match="AUTOLOADER_URL"):
        Client()
    monkeypatch.setenv("AUTOLOADER_URL", "http://127.0.0.1:9/api/v1/")
    monkeypatch.setenv("AUTOLOADER_TOKEN", "from-env\n")
    handler, seen = answers(httpx.Response(200, json=[]))
    Client(transport=httpx.MockTransport(handler)).ingestions.list()
    assert str(seen[0].url) == "http://127.0.0.1:9/api/v1/ingestions"
    assert seen[0].headers["Authorization"] == "Bearer from-env"


@pytest.mark.parametrize("url", ["service.example.org", "ftp://x", "http://", "http:///x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(errors.AutoloaderError, match="write it like"):
        Client(url)


def test_a_typo_is_an_error_before_anything_is_sent() -> None:
    handler, seen = answers(httpx.Response(500))
    with pytest.raises(errors.Invalid) as raised:
        client(handler).ingestions.create(
            name="x", source="s3://b/x", format={"type": "csv", "optons": {}}, destination="a.b"
        )
    assert raised.value.fields == (("format.optons", "unknown field; did you mean 'options'?"),)
    assert raised.value.status is None
    assert not seen


def test_create_sends_the_contracts_body_with_our_defaults() -> None:
    handler, seen = answers(httpx.Response(201, json={"id": "ing_0123456789ab"}))
    client(handler).ingestions.create(name="f", source="s3://b/x/", format="csv", destination="bronze.flights")
    assert json.loads(seen[0].content) == {
        "name": "f",
        "cluster_id": "default",
        "source": {"type": "s3", "path": "s3://b/x/"},
        "format": {"type": "csv"},
        "destination": {
            "lineage_columns": ["_source_file"],
            "write_mode": "append",
            "catalog": "lake",
            "database": "bronze",
            "table": "flights",
        },
        "schedule": {},
        "on_schema_change": "append_new_columns",
    }


@pytest.mark.parametrize("unique", [True, False])
def test_create_may_find_the_same_and_refuses_another_of_that_name(unique: bool) -> None:
    """Whether a service refuses a name twice, or takes it as the older one does."""
    there: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=there)
        if unique and there:
            return httpx.Response(409, json={"detail": "an ingestion 'f' is there"})
        there.append({"id": f"ing_{len(there):012}", **json.loads(request.content)})
        return httpx.Response(201, json=there[-1])

    create = client(handler).ingestions.create
    same: dict[str, Any] = {
        "name": "f",
        "source": "s3://b/x/",
        "format": "csv",
        "destination": "bronze.flights",
    }
    assert create(**same, exist_ok=True).id == create(**same, exist_ok=True).id == "ing_000000000000"
    with pytest.raises(errors.Conflict, match=r"differs in format\.type, destination\.table"):
        create(**same | {"format": "json", "destination": "bronze.other"}, exist_ok=True)
    # As a service that knows these rules tells of them.
    there[0] |= {"on_bad_record": "fail", "source": there[0]["source"] | {"on_changed_file": "hold"}}
    changed: dict[str, Any] = {"source": {"path": "s3://b/x/", "type": "s3", "on_changed_file": "append"}}
    with pytest.raises(errors.Conflict, match=r"differs in on_bad_record, source\.on_changed_file"):
        create(**same | changed, on_bad_record="rescue", exist_ok=True)
    if unique:
        with pytest.raises(errors.Conflict):
            create(**same)
    else:
        assert create(**same).id == "ing_000000000001"


def test_an_ingestion_made_by_somebody_quicker_is_found() -> None:
    made = {"id": "ing_0123456789ab", "name": "f", "source": {"type": "s3", "path": "s3://b"}}
    made |= {"format": {"type": "csv"}, "destination": {"catalog": "lake", "database": "a", "table": "b"}}
    handler, _ = answers(
        httpx.Response(200, json=[]),
        httpx.Response(409, json={"detail": "taken"}),
        httpx.Response(200, json=[made]),
    )
    found = client(handler).ingestions.create(name="f", source="s3://b", format="csv", destination="a.b", exist_ok=True)
    assert found.id == "ing_0123456789ab"


def test_an_unknown_name_is_not_found_with_the_nearest() -> None:
    handler, _ = answers(httpx.Response(200, json=[{"id": "ing_0123456789ab", "name": "flights"}]))
    assert client(handler).ingestions.get("flights").id == "ing_0123456789ab"
    with pytest.raises(errors.NotFound, match="did you mean 'flights'"):
        client(handler).ingestions.get("fligts")


def test_tab_completion_shows_nouns_and_verbs_only() -> None:
    handler, _ = answers(httpx.Response(200, json={"id": "ing_0123456789ab"}))
    made = client(handler)
    nouns = ["clusters", "config", "ingestions", "prefect", "runs", "tokens"]
    assert dir(made) == sorted([*nouns, "apply", "close", "diff", "export", "health", "info", "local"])
    shown = dir(made.ingestions.get("ing_0123456789ab"))
    assert {"run", "runs", "files", "pause", "table", "name"} <= set(shown)
    assert not [name for name in shown if name.startswith("_")]


GONE = httpx.Response(404, json={"detail": "Ingestion not found"})
CUT, REFUSED = httpx.ReadError("cut"), httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("tries", "repeated", "deleted"),
    [
        ([GONE], False, False),
        ([CUT, GONE], True, True),
        ([httpx.Response(503), GONE], True, True),
        # Of these nothing was done.
        ([REFUSED, GONE], False, False),
        ([httpx.Response(429), GONE], False, False),
        # And these are no word of the service.
        ([CUT, httpx.Response(404, text="default backend - 404")], True, False),
        ([CUT, httpx.Response(404, text="<html>nginx</html>")], True, False),
        ([CUT, httpx.Response(404, json={"detail": "Not Found"})], True, False),
    ],
)
def test_what_an_earlier_try_may_have_done_is_told(
    tries: list[httpx.Response | Exception], repeated: bool, deleted: bool
) -> None:
    handler, seen = answers(httpx.Response(200, json={"id": "ing_0123456789ab"}), *tries)
    ingestion = client(handler).ingestions.get("ing_0123456789ab")
    if deleted:
        ingestion.delete()
    else:
        with pytest.raises(errors.NotFound) as caught:
            ingestion.delete()
        assert caught.value.repeated is repeated
    assert len(seen) == 1 + len(tries)


@pytest.mark.parametrize(("broken", "repeated"), [([CUT, CUT], True), ([CUT, REFUSED], True), ([REFUSED, CUT], False)])
def test_a_failure_tells_of_the_tries_before_it(broken: list[Exception], repeated: bool) -> None:
    handler, _ = answers(broken[0], broken[1], httpx.UnsupportedProtocol("no more"))
    with pytest.raises(errors.ConnectionFailed) as caught:
        client(handler).ingestions.list()
    assert (caught.value.repeated, caught.value.outage) == (repeated or CUT in broken, False)


@pytest.mark.parametrize(("user", "sent"), [("me", "me:"), ("me:", "me:"), ("me:p:w", "me:p:w"), ("", None)])
def test_a_user_in_the_address_is_sent_as_httpx_does(user: str, sent: str | None) -> None:
    handler, seen = answers(httpx.Response(200, json=[]))
    Client(f"https://{user}@service.example.org", transport=httpx.MockTransport(handler)).ingestions.list()
    expected = None if sent is None else f"Basic {base64.b64encode(sent.encode()).decode()}"
    assert seen[0].headers.get("Authorization") == expected


def test_a_404_of_a_proxy_is_not_taken_for_an_older_service() -> None:
    for answer in (
        httpx.Response(404, text="<html>Not Found</html>"),
        httpx.Response(404),
        httpx.Response(404, json={"detail": "Not Found"}, headers=OURS),
    ):
        handler, _ = answers(answer)
        with pytest.raises(errors.NotFound):
            client(handler).tokens.list()


def test_a_redirect_to_the_same_path_is_a_move_and_its_query_is_not_shown() -> None:
    to = "https://other.example.org/behind/proxy/api/v1/ingestions?state=s3cret"
    handler, _ = answers(httpx.Response(302, headers={"Location": to}))
    with pytest.raises(errors.ApiError, match=r"has moved to https://other\.example\.org/behind") as caught:
        client(handler).ingestions.list()
    assert "s3cret" not in str(caught.value)


def test_a_closed_client_leads_to_no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    handler, _ = answers(httpx.Response(200, json=[]))
    made = client(handler)
    made.close()
    with pytest.raises(errors.ClientClosed):
        _ = made.prefect


def test_a_value_of_another_kind_is_as_if_it_had_not_been_sent_and_hides_nothing_else() -> None:
    good = {"id": "ing_0123456789ab", "name": "good"}
    odd: dict[str, Any] = {
        "id": "ing_0123456789ac",
        "name": None,
        "status": 7,
        "source": {"type": "s3", "path": ["x"]},
        "created_at": "",
        "warnings": [None, "a sentence", {}],
        "new": None,
    }
    handler, _ = answers(httpx.Response(200, json=[good, odd]))
    first, second = client(handler).ingestions.list()
    assert (first.name, second.id, second.source.type, second.warnings) == ("good", odd["id"], "s3", ["a sentence"])
    assert second.data.model_extra == {"new": None}
    run = {"id": "r", "errors": ["text", {"message": "bad"}], "metrics": {"files_processed": "many", "error_count": 2}}
    handler, _ = answers(httpx.Response(200, json=run))
    found = client(handler).runs.get("ing_0123456789ab", "r")
    assert ([error.message for error in found.errors], found.metrics.error_count) == (["bad"], 2)
    handler, _ = answers(httpx.Response(200, json={"message": "hello"}), httpx.Response(200, json="hello"))
    for _ in range(2):
        with pytest.raises(errors.ApiError, match="is base_url the address of an autoloader service"):
            client(handler).ingestions.get("ing_0123456789ab")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00"])
def test_the_ends_of_time_are_read_and_shown(moment: str) -> None:
    data = {"id": "ing_0123456789ab", "name": "n", "created_at": moment, "last_run_at": moment}
    handler, _ = answers(httpx.Response(200, json=data))
    ingestion = client(handler).ingestions.get("ing_0123456789ab")
    assert moment[:4] in str(ingestion) + str(ingestion.data.created_at)
    assert ingestion._repr_html_()
