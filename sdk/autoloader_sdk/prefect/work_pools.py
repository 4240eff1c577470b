"""Work pools and their queues: where workers take runs from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoloader_sdk._http.endpoint import Call, L, Request, Resource, Stream, call, quoted, stream
from autoloader_sdk.errors import NotFound
from autoloader_sdk.models.base import nearest
from autoloader_sdk.prefect import display
from autoloader_sdk.prefect.models import WorkPoolData, WorkQueueData
from autoloader_sdk.prefect.paging import Pages, stepwise
from autoloader_sdk.prefect.requests import NewWorkPool, NewWorkQueue, WorkQueueChange
from autoloader_sdk.shorthand import checked


class WorkQueue(Resource[L]):
    """A queue of a work pool."""

    def __init__(self, link: L, data: WorkQueueData, pool: str) -> None:
        super().__init__(link)
        self.data = data
        self._pool = pool

    @property
    def id(self) -> str:
        """A UUID."""
        return self.data.id

    @property
    def name(self) -> str:
        """Its name in the pool."""
        return self.data.name

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self._pool

    @property
    def paused(self) -> bool:
        """Whether workers get nothing from it."""
        return self.data.is_paused

    @property
    def concurrency_limit(self) -> int | None:
        """How many of its runs may be going at once; None: any number."""
        return self.data.concurrency_limit

    @property
    def priority(self) -> int | None:
        """1 comes first."""
        return self.data.priority

    @property
    def status(self) -> str | None:
        """As Prefect says: READY while a worker asks it for work, NOT_READY, PAUSED."""
        return self.data.status

    @call
    def reload(self) -> Call[WorkQueue[L]]:
        """Ask Prefect how it stands; returns the queue itself."""
        self.data = yield from read_queue(self._pool, self.name)
        return self

    @call
    def pause(self) -> Call[WorkQueue[L]]:
        """Hand out none of its runs."""
        return (yield from self._change({"is_paused": True}))

    @call
    def resume(self) -> Call[WorkQueue[L]]:
        """Hand out its runs again."""
        return (yield from self._change({"is_paused": False}))

    @call
    def set_concurrency(self, limit: int | None) -> Call[WorkQueue[L]]:
        """Have so many of its runs going at once at the most; None: any number."""
        return (yield from self._change({"concurrency_limit": limit}))

    @call
    def set_priority(self, priority: int) -> Call[WorkQueue[L]]:
        """Give it a place among the pool's queues: 1 comes first. Prefect moves the one that is there."""
        return (yield from self._change({"priority": priority}))

    def _change(self, fields: Mapping[str, Any]) -> Call[WorkQueue[L]]:
        yield Request("PATCH", _queue_path(self._pool, self.name), body=checked(WorkQueueChange, fields))
        self.data = yield from read_queue(self._pool, self.name)
        return self

    def __repr__(self) -> str:
        return f"<WorkQueue {self._pool}/{self.name}: {display.queue_line(self.data)}>"

    def _repr_html_(self) -> str:
        return display.queues_html([self.data])


class WorkQueues(Resource[L]):
    """The queues of a pool."""

    def __init__(self, link: L, pool: str) -> None:
        super().__init__(link)
        self._pool = pool

    @stream
    def list(self, *, limit: int | None = None) -> Stream[WorkQueue[L]]:
        """All of them, or `limit` of them."""
        yield from stepwise(_queues(self._pool), lambda data: WorkQueue(self._link, data, self._pool), most=limit)

    @call
    def get(self, name: str) -> Call[WorkQueue[L]]:
        """One queue.

        Raises:
            NotFound: there is none.
        """
        return WorkQueue(self._link, (yield from read_queue(self._pool, name)), self._pool)

    @call
    def create(
        self,
        name: str,
        *,
        description: str | None = None,
        concurrency_limit: int | None = None,
        priority: int | None = None,
        paused: bool = False,
    ) -> Call[WorkQueue[L]]:
        """A new queue; without a `priority` it comes last.

            >>> queue = prefect.work_pools.get("autoloader").queues.create("of an example", concurrency_limit=2)
            >>> queue.pause().paused
            True

        Raises:
            Conflict: there is one of this name.
            Invalid: a name or a number that cannot be; nothing was sent.
        """
        given = {
            "name": name,
            "description": description,
            "concurrency_limit": concurrency_limit,
            "priority": priority,
            "is_paused": paused,
        }
        body = checked(NewWorkQueue, {key: value for key, value in given.items() if value is not None})
        reply = yield Request("POST", _queues_path(self._pool), body=body, safe=False)
        return WorkQueue(self._link, reply.read(WorkQueueData), self._pool)


class WorkPool(Resource[L]):
    """A work pool."""

    def __init__(self, link: L, data: WorkPoolData) -> None:
        super().__init__(link)
        self.data = data

    @property
    def id(self) -> str:
        """A UUID."""
        return self.data.id

    @property
    def name(self) -> str:
        """What deployments and workers refer to."""
        return self.data.name

    @property
    def type(self) -> str:
        """The kind of worker that it is for: process, docker, kubernetes, …."""
        return self.data.type

    @property
    def paused(self) -> bool:
        """Whether workers get nothing from it."""
        return self.data.is_paused

    @property
    def status(self) -> str | None:
        """As Prefect says: READY while it has a worker, NOT_READY, PAUSED."""
        return self.data.status

    @property
    def queues(self) -> WorkQueues[L]:
        """Its queues."""
        return WorkQueues(self._link, self.name)

    @call
    def reload(self) -> Call[WorkPool[L]]:
        """Ask Prefect how it stands; returns the pool itself."""
        self.data = yield from read_pool(self.name)
        return self

    def __repr__(self) -> str:
        return f"<WorkPool {self.name} ({self.type}): {self.status or '–'}>"

    def _repr_html_(self) -> str:
        return display.pool_html(self.data)


class WorkPools(Resource[L]):
    """The work pools of the server."""

    @stream
    def list(self, *, limit: int | None = None) -> Stream[WorkPool[L]]:
        """All of them, or `limit` of them.

        >>> "autoloader" in [pool.name for pool in prefect.work_pools.list()]
        True
        """
        pages = Pages("/work_pools/filter", {}, WorkPoolData)
        yield from stepwise(pages, lambda data: WorkPool(self._link, data), most=limit)

    @call
    def get(self, name: str) -> Call[WorkPool[L]]:
        """One pool.

        Raises:
            NotFound: there is none.
        """
        return WorkPool(self._link, (yield from read_pool(name)))

    @call
    def create(
        self,
        name: str,
        type: str = "process",  # noqa: A002 - Prefect's word
        *,
        description: str | None = None,
        base_job_template: Mapping[str, Any] | None = None,
        concurrency_limit: int | None = None,
    ) -> Call[WorkPool[L]]:
        """A new pool, with a queue `default`.

            >>> prefect.work_pools.create("pool of an example", concurrency_limit=4).type
            'process'

        Args:
            name: What deployments and workers refer to.
            type: The kind of worker that it is for.
            description: For people.
            base_job_template: How its runs are started; left out, the first worker brings it along. No secret belongs
                into it: it is kept and shown in plain text.
            concurrency_limit: How many runs may be going at once.

        Raises:
            Conflict: there is one of this name.
            Invalid: a name or a number that cannot be; nothing was sent.
        """
        given = {
            "name": name,
            "type": type,
            "description": description,
            "base_job_template": base_job_template,
            "concurrency_limit": concurrency_limit,
        }
        body = checked(NewWorkPool, {key: value for key, value in given.items() if value is not None})
        return WorkPool(self._link, (yield Request("POST", "/work_pools/", body=body, safe=False)).read(WorkPoolData))


def read_pool(name: str) -> Call[WorkPoolData]:
    """A pool. Raises NotFound."""
    return (yield Request("GET", f"/work_pools/{quoted(name)}")).read(WorkPoolData)


def read_queue(pool: str, name: str) -> Call[WorkQueueData]:
    """A queue of a pool.

    Raises:
        NotFound: there is none, or no such pool.
    """
    try:
        return (yield Request("GET", _queue_path(pool, name))).read(WorkQueueData)
    except NotFound as missing:
        yield from read_pool(pool)  # tells of the pool, if that is what is missing

        names = [each.name for each in (yield from _queues(pool).read(0))]
        near = nearest(name, names)
        hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(names) or 'none'}"
        told: dict[str, Any] = {"method": missing.method, "url": missing.url, "status": missing.status}
        raise NotFound(f"the work pool '{pool}' has no queue '{name}'; {hint}", **told) from None


def _queues(pool: str) -> Pages[WorkQueueData]:
    return Pages(f"{_queues_path(pool)}/filter", {}, WorkQueueData)


def _queues_path(pool: str) -> str:
    return f"/work_pools/{quoted(pool)}/queues"


def _queue_path(pool: str, name: str) -> str:
    return f"{_queues_path(pool)}/{quoted(name)}"
