"""The client of Prefect against a real server: one that asks for a password, and gives seven entries at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from doctest import DocTest
from typing import Any

import httpx
import pytest
from tests.parts import prefect_server as part
from tests.parts.answering import older
from tests.parts.examples import OF_PREFECT, check, examples
from tests.parts.postgres import PostgresServer

from autoloader_sdk import AsyncClient, Client, errors
from autoloader_sdk.prefect import AsyncPrefect, Deployment, FlowRun, Prefect

AUTH = "somebody:p4ss:w0rd"
PAGE = 7
POOL, QUEUE, FLOW = "pool", "high memory", "run_ingestion"
ENTRYPOINT = "autoloader_flows.ingestion.run_ingestion_flow"
SCHEMA = {
    "type": "object",
    "properties": {"ingestion_id": {"type": "string"}, "trigger": {"type": "string", "default": "scheduled"}},
    "required": ["ingestion_id"],
    "additionalProperties": False,
}
NOON = datetime(2030, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_API_AUTH_STRING", AUTH)
        patch.setenv("PREFECT_API_AUTH_STRING", AUTH)
        patch.setenv("PREFECT_SERVER_API_DEFAULT_LIMIT", str(PAGE))
        with part.running(tmp_path_factory.mktemp("prefect"), postgres.make_database()) as url:
            with Prefect(url, AUTH) as prefect:
                prefect.work_pools.create(POOL).queues.create(QUEUE)
            yield url


@pytest.fixture
def prefect(url: str) -> Iterator[Prefect]:
    with Prefect(url, AUTH) as client:
        yield client


@pytest.fixture
def deployment(prefect: Prefect) -> Deployment:
    return made(prefect, "made for a test")


def made(prefect: Prefect, name: str, **fields: Any) -> Deployment:
    """A deployment with a name of its own."""
    usual: dict[str, Any] = {
        "flow": FLOW,
        "entrypoint": ENTRYPOINT,
        "work_pool": POOL,
        "parameters": {"ingestion_id": "ing_1"},
        "parameter_openapi_schema": SCHEMA,
    }
    return prefect.deployments.create(f"{name} {uuid.uuid4().hex[:8]}", **usual | fields)


def write(url: str, run: FlowRun[Any], *lines: tuple[datetime, str]) -> None:
    """What whoever runs a flow writes to its log."""
    body = [
        {"name": "prefect.flow_runs", "level": 20, "message": text, "timestamp": at.isoformat(), "flow_run_id": run.id}
        for at, text in lines
    ]
    post(f"{url}/logs/", body)


def post(url: str, body: Any) -> None:
    """Past our client."""
    user, _, password = AUTH.partition(":")
    httpx.post(url, json=body, auth=(user, password), timeout=30).raise_for_status()


def taken(lines: Iterator[Any], number: int) -> list[str]:
    return [next(lines).message for _ in range(number)]


@pytest.mark.parametrize("given", ["{}", "{}/", "{}/v1", "{}/v1/", "{root}", "{root}/"])
def test_the_server_is_found_by_each_way_to_write_its_address(url: str, given: str) -> None:
    with Prefect(given.format(url, root=url.removesuffix("/api")), AUTH) as prefect:
        assert prefect.url == url
        assert prefect.health() is True
        assert prefect.version().split(".")[0] == "3"


def test_without_the_password_nothing_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_AUTH_STRING")
    for auth in (None, "somebody:else"):
        with Prefect(url, auth) as prefect, pytest.raises(errors.Unauthorized, match="PREFECT_API_AUTH_STRING") as seen:
            prefect.version()
        assert "else" not in str(seen.value)
    with Prefect(url.replace("://", f"://{AUTH}@")) as prefect:
        assert prefect.version()
        assert "p4ss" not in f"{prefect!r} {prefect.url}"


def test_a_client_of_the_service_has_the_prefect_of_the_environment(url: str) -> None:
    with Client("http://127.0.0.1:9") as client:
        prefect = client.prefect
        assert prefect is client.prefect
        assert prefect.version()
    with pytest.raises(errors.ClientClosed):
        prefect.version()

    async def awaited() -> str:
        from autoloader_sdk import AsyncClient

        async with AsyncClient("http://127.0.0.1:9") as client:
            return await client.prefect.version()

    assert asyncio.run(awaited())


def test_pools_have_queues_that_are_paused_limited_and_ordered(prefect: Prefect) -> None:
    pool = prefect.work_pools.create("kept small", description="for a test", concurrency_limit=3)
    assert (pool.name, pool.type, pool.data.concurrency_limit, pool.paused) == ("kept small", "process", 3, False)
    assert prefect.work_pools.get("kept small").id == pool.id
    assert {each.name for each in prefect.work_pools.list()} >= {POOL, "kept small"}
    queue = pool.queues.create("b c", concurrency_limit=2)
    assert [each.name for each in pool.queues.list()] == ["default", "b c"]
    assert queue.pause().paused
    assert not queue.resume().paused
    assert queue.set_concurrency(0).concurrency_limit == 0
    assert queue.set_concurrency(None).concurrency_limit is None
    assert (queue.priority, queue.set_priority(1).priority) == (2, 1)
    assert pool.queues.get("default").priority == 2
    assert not pool.queues.get("b c").paused
    with pytest.raises(errors.Conflict, match="Prefect: A work pool with this name already exists"):
        prefect.work_pools.create("kept small")
    with pytest.raises(errors.Conflict):
        pool.queues.create("b c")
    with pytest.raises(errors.NotFound, match=r"Prefect: .*nothing"):
        prefect.work_pools.get("nothing")
    with pytest.raises(errors.NotFound, match="has no queue 'defualt'; did you mean 'default'"):
        pool.queues.get("defualt")


def test_more_queues_than_a_page_holds_are_all_read(prefect: Prefect) -> None:
    pool = prefect.work_pools.create("with many queues")
    names = ["default", *(f"q{number}" for number in range(2 * PAGE))]
    for name in names[1:]:
        pool.queues.create(name)
    assert [each.name for each in pool.queues.list()] == names
    assert [each.name for each in pool.queues.list(limit=PAGE + 2)] == names[: PAGE + 2]
    assert list(pool.queues.list(limit=0)) == []


def test_a_deployment_is_made_as_it_was_said_and_found_again(prefect: Prefect) -> None:
    name = f"whole {uuid.uuid4().hex[:8]}"
    fields: dict[str, Any] = {
        "flow": FLOW,
        "entrypoint": ENTRYPOINT,
        "work_pool": POOL,
        "work_queue": QUEUE,
        "parameters": {"ingestion_id": "ing_1"},
        "parameter_openapi_schema": SCHEMA,
        "tags": ["autoloader", name],
        "concurrency_limit": 1,
        "collision_strategy": "CANCEL_NEW",
        "schedules": [{"cron": "30 2 * * 1-5", "timezone": "Europe/Berlin", "slug": "nightly"}, "0 * * * *"],
    }
    one = prefect.deployments.create(name, **fields)
    for found in (
        one,
        prefect.deployments.get(one.id),
        prefect.deployments.get_by_name(f"{FLOW}/{name}"),
        *prefect.deployments.list(name=name),
        *prefect.deployments.list(tags=["autoloader", name], flow=FLOW),
    ):
        assert found.id == one.id
        assert (found.work_pool, found.work_queue, found.data.entrypoint) == (POOL, QUEUE, ENTRYPOINT)
        assert (found.concurrency_limit, found.collision_strategy) == (1, "CANCEL_NEW")
        assert found.parameters == {"ingestion_id": "ing_1"}
        assert found.data.parameter_openapi_schema == SCHEMA
        assert found.data.enforce_parameter_schema
        assert not found.paused
        when = {(each.cron, each.timezone, each.slug) for each in found.schedules.list()}
        assert when == {("30 2 * * 1-5", "Europe/Berlin", "nightly"), ("0 * * * *", "UTC", None)}
    assert list(prefect.deployments.list(tags=["autoloader", "another"])) == []
    again = prefect.deployments.create(
        name,
        **fields
        | {"schedules": [], "concurrency_limit": None, "tags": []}
        | {"collision_strategy": None, "work_queue": None},
    )
    # The limit stays as it is: null would delete one that others may share.
    assert (again.id, again.schedules.list(), again.concurrency_limit, again.tags) == (one.id, [], 1, ())
    assert (again.collision_strategy, again.work_queue) == ("CANCEL_NEW", "default")


def test_a_queue_that_is_not_there_is_not_made_by_a_typo(prefect: Prefect, deployment: Deployment) -> None:
    queues = prefect.work_pools.get(POOL).queues
    before = {each.name for each in queues.list()}
    with pytest.raises(errors.NotFound, match="has no queue 'high-memroy'; did you mean 'high memory'"):
        made(prefect, "typo", work_queue="high-memroy")
    with pytest.raises(errors.NotFound, match="has no queue"):
        deployment.update(work_queue="high-memroy")
    with pytest.raises(errors.NotFound, match='Prefect: Work pool "pol" not found'):
        made(prefect, "typo", work_pool="pol", work_queue=QUEUE)
    with pytest.raises(errors.NotFound, match='Prefect: Work pool "pol" not found'):
        deployment.update(work_pool="pol")
    assert {each.name for each in queues.list()} == before
    assert not [each for each in prefect.deployments.list(flow=FLOW) if each.name.startswith("typo")]


def test_a_deployment_changes_only_where_it_is_told_to(prefect: Prefect) -> None:
    one = made(
        prefect, "changing", tags=["a"], concurrency_limit=2, collision_strategy="ENQUEUE", schedules=["0 1 * * *"]
    )
    schedule = one.schedules.list()[0]
    assert one.update(description="new", work_queue=QUEUE) is one
    assert (one.data.description, one.work_pool, one.work_queue) == ("new", POOL, QUEUE)
    assert (one.tags, one.concurrency_limit, one.collision_strategy) == (("a",), 2, "ENQUEUE")
    one.update(collision_strategy="CANCEL_NEW", tags=["b", "c"])
    assert (one.concurrency_limit, one.collision_strategy, set(one.tags)) == (2, "CANCEL_NEW", {"b", "c"})
    assert one.update(concurrency_limit=None).concurrency_limit is None
    assert one.pause().paused
    assert not one.resume().paused
    with pytest.raises(errors.Conflict, match=r"Prefect: .*unknown"):
        one.update(parameters={"unknown": 1})
    assert one.reload().parameters == {"ingestion_id": "ing_1"}
    assert [each.id for each in one.schedules.list()] == [schedule.id]
    one.delete()
    with pytest.raises(errors.NotFound, match="Prefect: Deployment not found"):
        one.reload()


def test_a_schedule_that_changes_keeps_its_parameters(deployment: Deployment) -> None:
    added = deployment.schedules.add(
        "30 2 * * *", timezone="Europe/Berlin", parameters={"trigger": "nightly"}, slug="nightly"
    )
    for change in ({"active": False}, {"cron": "0 3 * * *"}, {"timezone": "UTC"}):
        changed = deployment.schedules.get("nightly").change(**change)
        assert (changed.id, changed.parameters, changed.slug) == (added.id, {"trigger": "nightly"}, "nightly")
    assert (changed.cron, changed.timezone, changed.active) == ("0 3 * * *", "UTC", False)
    assert changed.change(parameters={}).parameters == {}
    assert changed.cron == "0 3 * * *"
    with pytest.raises(errors.Conflict):
        deployment.schedules.add("0 0 * * *", slug="nightly")
    changed.remove()
    assert deployment.schedules.list() == []
    with pytest.raises(errors.NotFound, match="no schedule 'nightly'; there are: none"):
        deployment.schedules.get("nightly")


def test_an_interval_of_somebody_else_stays_one(url: str, deployment: Deployment) -> None:
    body = [{"schedule": {"interval": 3600, "timezone": "Asia/Tokyo"}, "parameters": {"trigger": "theirs"}}]
    post(f"{url}/deployments/{deployment.id}/schedules", body)
    theirs = deployment.schedules.list()[0]
    assert theirs.cron is None
    assert "interval 3600" in repr(theirs)
    changed = theirs.change(active=False)
    assert (changed.data.schedule["interval"], changed.timezone, changed.active) == (3600, "Asia/Tokyo", False)
    assert changed.parameters == {"trigger": "theirs"}
    changed = theirs.change(cron="0 3 * * *")
    assert (changed.cron, changed.timezone, changed.active) == ("0 3 * * *", "Asia/Tokyo", False)


def test_a_run_has_its_parameters_and_the_same_key_is_the_same_run(deployment: Deployment) -> None:
    run = deployment.run({"trigger": "manual"}, idempotency_key="k1", name="by hand", tags=["x"])
    assert (run.deployment_id, run.name, run.state.type, run.done) == (deployment.id, "by hand", "SCHEDULED", False)
    assert run.parameters == {"ingestion_id": "ing_1", "trigger": "manual"}
    assert deployment.run(idempotency_key="k1").id == run.id
    assert len({run.id, deployment.run().id, deployment.run().id}) == 3
    later = deployment.run(scheduled_time=NOON)
    assert later.expected_start_time == NOON
    with pytest.raises(errors.Conflict, match=r"Prefect: Error creating flow run: .*triger"):
        deployment.run({"triger": "manual"})


def test_the_log_of_a_run_is_followed_to_its_end_without_a_line_lost_or_doubled(
    url: str, prefect: Prefect, deployment: Deployment
) -> None:
    run = deployment.run()
    lines = run.follow_logs(poll=0.01, linger=0)
    # More than two pages; a moment's lines are on two of them.
    first = [(NOON + timedelta(seconds=number // (PAGE - 2)), f"line {number}") for number in range(2 * PAGE + 3)]
    write(url, run, *first)
    assert sorted(taken(lines, len(first))) == sorted(text for _, text in first)
    write(url, run, (NOON - timedelta(hours=1), "late"), (NOON, "also late"), (NOON + timedelta(minutes=1), "new"))
    assert taken(lines, 3) == ["late", "also late", "new"]
    write(url, run, *((NOON - timedelta(minutes=number), f"from before {number}") for number in range(PAGE + 2)))
    assert sorted(taken(lines, PAGE + 2)) == sorted(f"from before {number}" for number in range(PAGE + 2))
    run.set_state("RUNNING", force=True)
    write(url, run, (NOON + timedelta(minutes=2), "the last"))
    prefect.flow_runs.get(run.id).set_state("COMPLETED", force=True)
    assert [line.message for line in lines] == ["the last"]
    assert run.ok
    whole = [line.message for line in run.logs()]
    assert len(whole) == len(set(whole)) == len(first) + 3 + PAGE + 2 + 1
    assert whole[-1] == "the last"
    assert list(run.logs(level=30)) == []


def test_a_run_that_ends_badly_is_told_of_and_runs_again(prefect: Prefect, deployment: Deployment) -> None:
    run = deployment.run()
    with pytest.raises(errors.WaitTimeout, match="is still Scheduled") as late:
        run.wait(timeout=0)
    assert late.value.run is run  # type: ignore[comparison-overlap]
    with pytest.raises(errors.Conflict, match="has not ended"):
        run.retry()
    run.set_state("CRASHED", message="the worker\nis gone", force=True)
    with pytest.raises(errors.RunFailed, match="Crashed: the worker is gone"):
        run.wait(poll=0.01)
    assert run.wait(check=False).state.type == "CRASHED"
    with pytest.raises(errors.Conflict, match="Prefect: Run is already in terminal state CRASHED"):
        run.set_state("PAUSED")
    again = run.retry()
    assert (again.id, again.state.type, again.state.name, again.done) == (run.id, "SCHEDULED", "AwaitingRetry", False)
    assert [each.id for each in prefect.flow_runs.list(deployment=deployment, states=["AwaitingRetry"])] == [run.id]
    run.set_state("COMPLETED", force=True)
    assert run.wait().ok
    with pytest.raises(errors.Invalid, match="type"):
        run.set_state("GONE")


def test_a_run_is_cancelled_as_far_as_it_has_come(deployment: Deployment) -> None:
    waiting = deployment.run().cancel()
    assert (waiting.state.type, waiting.done) == ("CANCELLED", True)
    going = deployment.run().set_state("RUNNING", force=True)
    assert (going.cancel().state.type, going.done) == ("CANCELLING", False)
    assert going.cancel().state.type == "CANCELLING"
    over = deployment.run().set_state("COMPLETED", force=True)
    with pytest.raises(errors.Conflict, match="already in terminal state COMPLETED"):
        over.cancel()


def test_runs_are_listed_the_last_due_first_and_none_is_missed_while_they_are_cancelled(
    prefect: Prefect, deployment: Deployment
) -> None:
    at = [NOON] * (2 * PAGE + 3) + [NOON + timedelta(hours=number) for number in range(1, 4)]
    runs = [deployment.run(scheduled_time=each) for each in at]
    runs[0].set_state("RUNNING", force=True)
    found = list(prefect.flow_runs.list(deployment=deployment))
    assert sorted(each.id for each in found) == sorted(each.id for each in runs)
    due = [each.expected_start_time for each in found if each.expected_start_time]
    assert due == sorted(due, reverse=True)
    since = prefect.flow_runs.list(deployment=deployment.id, since=NOON + timedelta(minutes=1))
    assert {each.id for each in since} == {each.id for each in runs[-3:]}
    assert len(list(prefect.flow_runs.list(deployment=deployment, limit=PAGE + 1))) == PAGE + 1
    assert list(prefect.flow_runs.list(deployment=deployment, states=[])) == []
    for each in prefect.flow_runs.list(deployment=deployment, states=["scheduled"]):
        each.cancel()
    ended = {each.id for each in prefect.flow_runs.list(deployment=deployment, states=["CANCELLED", "Late"])}
    assert ended == {each.id for each in runs[1:]}
    with pytest.raises(errors.Invalid, match="'name' is no id of a deployment"):
        next(prefect.flow_runs.list(deployment="name"))


def test_what_is_not_there_is_not_found(prefect: Prefect) -> None:
    nobody = str(uuid.uuid4())
    for call in (prefect.deployments.get, prefect.flow_runs.get):
        with pytest.raises(errors.NotFound, match=r"Prefect: .* not found"):
            call(nobody)
        with pytest.raises(errors.Invalid, match="which is a UUID"):
            call("flow/name")
    with pytest.raises(errors.NotFound, match="Prefect: Deployment not found"):
        prefect.deployments.get_by_name("a/b")
    with pytest.raises(errors.Invalid, match="write it like flow/deployment"):
        prefect.deployments.get_by_name("a")


def test_the_awaited_client_does_the_same(url: str) -> None:
    async def collected(lines: AsyncIterator[Any], number: int) -> list[str]:
        return [(await anext(lines)).message for _ in range(number)]

    async def awaited() -> None:
        async with AsyncPrefect(url, AUTH) as prefect:
            assert await prefect.health()
            one = await prefect.deployments.create(
                "awaited",
                flow=FLOW,
                entrypoint=ENTRYPOINT,
                work_pool=POOL,
                work_queue=QUEUE,
                enforce_parameter_schema=False,
            )
            assert [each.id async for each in prefect.deployments.list(name="awaited")] == [one.id]
            schedule = await one.schedules.add("0 1 * * *", parameters={"a": [1]})
            assert (await schedule.change(active=False)).parameters == {"a": [1]}
            run = await one.run({"day": "2026-11-28"})
            lines = run.follow_logs(poll=0.01, linger=0)
            write(url, run, *((NOON, f"line {number}") for number in range(PAGE + 1)))
            assert sorted(await collected(lines, PAGE + 1)) == sorted(f"line {number}" for number in range(PAGE + 1))
            write(url, run, (NOON - timedelta(hours=1), "late"))
            await (await prefect.flow_runs.get(run.id)).set_state("FAILED", message="no", force=True)
            assert [line.message async for line in lines] == ["late"]
            with pytest.raises(errors.RunFailed, match="Failed: no"):
                await run.wait()
            assert [each.id async for each in prefect.flow_runs.list(deployment=one)] == [run.id]
            pool = await prefect.work_pools.create("awaited")
            assert [each.name async for each in pool.queues.list()] == ["default"]
            await one.delete()

    asyncio.run(awaited())


def test_a_run_and_an_ingestion_lead_to_what_prefect_has_of_them(url: str, deployment: Deployment) -> None:
    flow_run = deployment.run({"trigger": "manual"})
    there = {"id": "ing_0123456789ab", "name": "orders", "prefect_deployment_id": deployment.id}
    run = {"id": "r", "ingestion_id": there["id"], "status": "running", "flow_run_id": flow_run.id}
    answers = {f"/api/v1/ingestions/{there['id']}": there, f"/api/v1/ingestions/{there['id']}/runs": [run]}
    with older(lambda _method, path: answers.get(path)) as service:
        with Client(service) as client:
            ingestion = client.ingestions.get(there["id"])
            assert ingestion.deployment().name == deployment.name
            found = ingestion.runs()[0].flow_run()
            assert (found.id, found.parameters["trigger"]) == (flow_run.id, "manual")
            assert client.prefect is client.prefect
        with pytest.raises(errors.ClientClosed):
            found.reload()

        async def awaited() -> tuple[str, str]:
            async with AsyncClient(service) as client:
                ingestion = await client.ingestions.get(there["id"])
                (run,) = await ingestion.runs()
                return (await ingestion.deployment()).id, (await run.flow_run()).id

        assert asyncio.run(awaited()) == (deployment.id, flow_run.id)


@pytest.mark.parametrize("example", list(examples(OF_PREFECT)), ids=lambda example: example.name)
def test_an_example_works(example: DocTest, prefect: Prefect) -> None:
    with suppress(errors.Conflict):  # of the example before
        prefect.work_pools.create("autoloader")
    nightly = prefect.deployments.create(
        "nightly", flow="load", entrypoint=ENTRYPOINT, work_pool="autoloader", enforce_parameter_schema=False
    )
    check(example, {"prefect": prefect, "nightly": nightly})
    with suppress(errors.NotFound):  # it has an end of its own in one of them
        nightly.delete()
