"""One notebook's worth of use, by each client over each way to a service: nothing in it knows which it is.

Plain and asynchronous, within the process and over a socket, our service (with a token, over the socket) and one that
knows the older half of the contract alone.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.waiting import until
from tests.parts.listening import listening
from tests.parts.older_service import OlderService, older_service

from autoloader_sdk import AsyncClient, Client, errors
from autoloader_sdk.models import TokenCreate
from autoloader_server.app import create_app
from autoloader_server.embedded import open_service
from autoloader_server.security.callers import HOLDER
from autoloader_server.services import tokens

OURS = ["plain, embedded", "awaited, embedded", "plain, remote", "awaited, remote"]
OLDER = ["plain, older", "awaited, older"]
# A client, whose kind a scenario does not ask for.
Scenario = Callable[[Any], Coroutine[Any, Any, None]]


@dataclass
class Place:
    """Where a scenario takes place."""

    make: Callable[[], Client | AsyncClient]
    folder: Path
    older: OlderService | None = None

    def play(self, scenario: Scenario) -> None:
        """Go through a scenario with a client of its own."""

        async def through() -> None:
            client = self.make()
            try:
                await scenario(client)
            finally:
                await got(client.close())

        asyncio.run(through())


async def got(answer: Any) -> Any:
    """What a call gives, now or once it was awaited."""
    return await answer if inspect.isawaitable(answer) else answer


async def got_later(call: Callable[..., Any], *given: Any) -> Any:
    """The same of a call that is made when this is awaited."""
    return await got(call(*given))


async def each(stream: Any) -> list[Any]:
    """All of a stream, whichever kind it is."""
    return [item async for item in stream] if isinstance(stream, AsyncIterator) else list(stream)


async def looped(client: Any, collection: Any) -> list[Any]:
    """What a loop over a collection gives, of the kind that the client's user writes."""
    return [one async for one in collection] if isinstance(client, AsyncClient) else list(collection)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    kind, _, way = str(request.param).partition(", ")
    client = Client if kind == "plain" else AsyncClient
    folder = tmp_path / "data"
    folder.mkdir()
    if way == "embedded":
        yield Place(lambda: client.local(tmp_path / "home"), folder)
    elif way == "older":
        with older_service() as (service, url):
            yield Place(lambda: client(url), folder, service)
    else:
        opened = open_service(tmp_path / "home")
        body = TokenCreate(name="tests", scope="admin")
        token = tokens.create(opened.service.database, HOLDER, body).token
        with listening(create_app(opened.service)) as url:
            # As people paste it.
            yield Place(lambda: client(f" {url}/api/v1/ ", token), folder)
        assert opened.wait_idle(30)
        opened.close()


anywhere = pytest.mark.parametrize("place", OURS + OLDER, indirect=True)
with_ours = pytest.mark.parametrize("place", OURS, indirect=True)
with_older = pytest.mark.parametrize("place", OLDER, indirect=True)


async def make(client: Any, folder: Path, name: str = "orders", **more: Any) -> Any:
    given = {"source": folder, "format": "csv", "destination": f"lake.bronze.{name}", **more}
    return await got(client.ingestions.create(name=name, **given))


@anywhere
def test_a_notebooks_worth_of_use(place: Place) -> None:
    async def scenario(client: Any) -> None:
        assert (await got(client.info())).name == "autoloader"
        assert (await got(client.health())).status == "healthy"
        made = await make(client, place.folder, schedule="daily")
        assert (made.status, made.source.path) == ("draft", str(place.folder))
        other = await make(client, place.folder, "others")
        assert [found.name for found in await got(client.ingestions.list())] == ["orders", "others"]
        assert await got(client.ingestions.list(source_type="s3")) == []
        assert (await got(client.ingestions.get("orders"))).id == made.id
        assert (await got(client.ingestions.get(other.id))).name == "others"
        with pytest.raises(errors.NotFound, match="did you mean 'orders'"):
            await got(client.ingestions.get("order"))

        assert (await got(made.pause())).status == "paused"
        assert [found.name for found in await got(client.ingestions.list(status="paused"))] == ["orders"]
        assert (await got(made.resume())).status == "active"
        assert (await got(made.update(schedule="hourly"))).data.schedule.frequency == "hourly"
        assert (await got(made.update(schedule={}))).data.schedule.frequency is None
        asked = {"row_count_threshold": 3, "alerts_enabled": True}
        changed = (await got(made.update(quality=asked, alert_recipients=["a@example.org"]))).data.quality
        assert (changed.row_count_threshold, changed.alert_recipients) == (3, ["a@example.org"])

        seen: list[str] = []
        run = await got((await got(made.run())).wait(60, on_update=lambda at: seen.append(at.status), progress=False))
        assert (run.ok, run.status) == (True, "success")
        assert seen[-1] == "success"
        assert [found.id for found in await got(made.runs())] == [run.id]
        assert (await got(client.runs.get(made.id, run.id))).status == "success"
        assert len(await got(client.runs.list(made.id))) == 1
        assert [found.id for found in await got(client.runs.list("orders"))] == [run.id]
        assert (await got(client.runs.get("orders", run.id))).id == run.id
        with pytest.raises(errors.NotFound, match="did you mean 'orders'"):
            await got(client.runs.list("order"))
        events = await each(run.follow(poll=0))
        assert (events[-1].kind, events[-1].run.status) == ("status", "success")
        again = await got((await got(run.retry())).wait(60, progress=False))
        assert (again.ok, again.id != run.id, again.trigger) == (True, True, "retry")
        with pytest.raises(errors.NotFound):
            await got(client.runs.get(made.id, "9b2d4a52-0000-0000-0000-000000000000"))

        plan = await got(made.refresh_full(dry_run=True))
        assert plan.status == "dry_run"
        cleared = await got(made.clear())
        assert cleared.ingestion_id == made.id
        assert await got(client.clusters.list())
        with pytest.raises(errors.NotFound):
            await got(client.clusters.get("nowhere"))
        preview = await got(client.ingestions.test(source=place.folder, format="csv", destination="lake.bronze.o"))
        assert preview.file_count in (0, 1)
        cost = await got(client.ingestions.estimate_cost(source=place.folder, format="csv", destination="lake.b.o"))
        assert cost.total_monthly is not None
        news = await got(made.refresh_new_only(dry_run=True))
        assert (news.status, news.data.mode) == ("dry_run", "new_only")
        both = client.ingestions
        assert {one.name for one in await looped(client, both)} == {"orders", "others"}
        assert [one.id for one in await looped(client, made.runs)] == [again.id, run.id]
        if place.older is None:
            would = await got(made.preview(sample=False))
            assert (would.file_count, would.plan.fail) == (0, 0)
            assert (await got(made.estimate_cost())).breakdown_details["ingestion_id"] == made.id
        else:
            with pytest.raises(errors.NotSupported, match="it is an older one"):
                await got(made.preview())
            with pytest.raises(errors.NotSupported, match="it is an older one"):
                await got(made.estimate_cost())

        await got(other.delete())
        with pytest.raises(errors.NotFound) as caught:
            await got(other.reload())
        assert caught.value.status == 404
        assert [found.name for found in await got(client.ingestions.list())] == ["orders"]
        for record in (
            made,
            run,
            plan,
            preview,
            cost,
            await got(client.ingestions.list()),
            await got(client.clusters.list()),
        ):
            assert repr(record)
            assert record._repr_html_()

    place.play(scenario)


@with_ours
def test_what_ours_adds(place: Place) -> None:
    async def scenario(client: Any) -> None:
        (place.folder / "_hidden.csv").write_text("a\n1\n")
        (place.folder / "empty.csv").write_text("")
        made = await make(client, place.folder, limits={"max_attempts": 2})
        with pytest.raises(errors.Conflict, match="is there already"):
            await make(client, place.folder)
        assert (await make(client, place.folder, exist_ok=True, limits={"max_attempts": 2})).id == made.id
        asked = [await got(made.run(idempotency_key="mine")) for _ in range(2)]
        run = await got(asked[0].wait(60, progress=False))
        assert asked[1].id == run.id
        assert (await got(made.run(idempotency_key="mine"))).id == run.id
        retried = [await got(run.retry(idempotency_key="again")) for _ in range(2)]
        assert len({each.id for each in [run, *retried]}) == 2
        lines = await each(run.logs())
        assert lines[0].message == "started (manual)"
        assert lines[-1].message.startswith("ended: success")
        assert [line.id for line in lines] == sorted({line.id for line in lines})
        assert [line.id for line in await each(run.logs(follow=True, poll=0))] == [line.id for line in lines]
        files = await each(made.files())
        assert {Path(file.path).name: file.status for file in files} == {
            "_hidden.csv": "SKIPPED",
            "empty.csv": "SKIPPED",
        }
        frame = await got(made.files.to_pandas(status="skipped"))
        assert list(frame["status"]) == ["SKIPPED", "SKIPPED"]
        table = (await got(client.ingestions.list())).to_pandas()
        assert list(table["source.path"]) == [str(place.folder)]
        why = await got(made.files.why("_hidden.csv"))
        assert "hidden" in str(why)
        assert await got(made.batches()) == []
        assert (await got(made.update(limits={"max_attempts": 3}))).id == made.id
        assert await got(made.schema_versions()) == []
        assert not await got(made.schema_versions.diff())
        with pytest.raises(errors.NotFound, match="there are 1 to 1"):
            await got(made.schema_versions.diff(1, 5))
        with pytest.raises(errors.Invalid) as caught:
            await got(client.tokens.create(""))
        assert caught.value.fields[0].field == "name"
        token = await got(client.tokens.create("narrow", scope="read", expires=timedelta(hours=1)))
        assert token.token.startswith("autoloader_")
        assert token.token not in repr(token)
        listed = await got(client.tokens.list())
        assert "narrow" in [each.name for each in listed]
        ended = await got(client.tokens.revoke("narrow"))
        assert ended.revoked_at is not None

    place.play(scenario)


@with_older
def test_what_an_older_service_lacks_is_said(place: Place) -> None:
    async def scenario(client: Any) -> None:
        assert place.older is not None
        made = await make(client, place.folder)
        with pytest.raises(errors.NotSupported, match="changes alert_recipients, quality, schedule, status alone"):
            await got(made.update(limits={"max_attempts": 3}))
        run = await got(made.run())
        for lacking in (
            each(run.logs()),
            each(made.files()),
            got_later(made.files.to_pandas),
            got_later(made.files.why, "a.csv"),
            got_later(made.batches),
            got_later(run.cancel),
            got_later(client.tokens.list),
            got_later(client.tokens.create, "t"),
        ):
            with pytest.raises(errors.NotSupported, match="it is an older one"):
                await lacking
        with pytest.raises(errors.NotFound, match="carried out by the service itself"):
            await got(run.flow_run())
        with pytest.raises(errors.NotFound, match="has no deployment"):
            await got(made.deployment())
        place.older.names_runs = False
        found = await got((await got(made.run())).wait(60, progress=False))
        assert found.id == place.older.runs[made.id][-1]["id"]
        refreshed = await got(made.refresh_full())
        assert refreshed.run.id == place.older.runs[made.id][-1]["id"]
        (version,) = await got(made.schema_versions())
        assert (version.version, version.changes[0].column_name) == (2, "b")
        assert (await got(made.schema_versions.get(2))).changes == version.changes
        assert (await got(made.schema_versions.latest())).version == 2
        with pytest.raises(errors.NotFound):
            await got(made.schema_versions.get(3))
        assert str(await got(made.schema_versions.diff())) == "schema version 1 → 2\n  + b string"
        assert str(await got(made.schema_versions.diff(2, 1))) == "schema version 2 → 1\n  - b string"
        cluster = await got(client.clusters.get("default"))
        assert (await got(cluster.test_connection())).spark_version == "3.5.7"

        # It tells what it was sent, and the client does not pass it on.
        keys = {"aws_access_key_id": "AKIA0000", "aws_secret_access_key": "s3cr3t-key"}
        source = {"type": "s3", "path": "s3://bucket/in/", "credentials": keys}
        told = await make(client, place.folder, "secret", source=source)
        listed = await got(client.ingestions.list())
        for shown in (repr(told), told.data.model_dump_json(), str(listed.to_pandas().to_dict()), repr(listed)):
            assert "s3cr3t" not in shown
        assert set(told.data.source.credentials) == set(keys)
        assert "credentials" in place.older.ingestions[told.id]["source"]

    place.play(scenario)


@pytest.mark.parametrize("place", ["plain, remote"], indirect=True)
def test_a_token_that_has_expired_or_was_revoked_is_told(place: Place) -> None:
    async def scenario(client: Any) -> None:
        url = client.config.url
        short = client.tokens.create("short", expires=timedelta(seconds=1))
        revoked = client.tokens.create("revoked")
        client.tokens.revoke(revoked.id)
        until(lambda: _refused(url, short.token), "the token expires", 30)
        for token in (short.token, revoked.token):
            with pytest.raises(errors.Unauthorized, match=r"expired|revoked") as caught:
                Client(url, token).ingestions.list()
            assert token not in str(caught.value)

    place.play(scenario)


def _refused(url: str, token: str) -> bool:
    try:
        Client(url, token).ingestions.list()
    except errors.Unauthorized:
        return True
    return False


@pytest.mark.parametrize("place", ["plain, remote"], indirect=True)
def test_a_plain_client_works_where_a_loop_runs_already(place: Place) -> None:
    """As in a notebook: `play` runs every scenario within one, and this one calls without awaiting."""

    async def scenario(client: Any) -> None:
        assert client.ingestions.list() == []
        await asyncio.sleep(0)
        assert client.health().status == "healthy"

    place.play(scenario)


@pytest.mark.parametrize("place", ["plain, remote"], indirect=True)
def test_threads_share_one_client(place: Place) -> None:
    from concurrent.futures import ThreadPoolExecutor

    client = place.make()
    assert isinstance(client, Client)
    with client, ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(
                lambda number: client.ingestions.create(
                    name=f"i{number}", source=place.folder, format="csv", destination=f"lake.b.t{number}"
                ),
                range(24),
            )
        )
        assert len({each.id for each in made}) == 24
        names = list(pool.map(lambda each: each.reload().name, made))
    assert names == [f"i{number}" for number in range(24)]


@pytest.mark.parametrize("place", ["awaited, remote"], indirect=True)
def test_many_calls_at_once_are_each_answered_their_own(place: Place) -> None:
    async def scenario(client: Any) -> None:
        made = [await make(client, place.folder, f"i{number}") for number in range(3)]
        calls: list[Awaitable[Any]] = [
            client.ingestions.get(each.id) for each in itertools.islice(itertools.cycle(made), 60)
        ]
        found = await asyncio.gather(*calls)
        assert [each.name for each in found] == [f"i{number % 3}" for number in range(60)]

    place.play(scenario)
