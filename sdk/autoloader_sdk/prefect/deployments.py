"""Deployments: a flow, and how, where and when it is run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from autoloader_sdk._http.endpoint import Call, L, Request, Resource, Stream, call, quoted, stream
from autoloader_sdk.errors import Conflict, NotFound
from autoloader_sdk.prefect import display
from autoloader_sdk.prefect.flow_runs import FlowRun, instant
from autoloader_sdk.prefect.models import DeploymentData, FlowRunData, Thing
from autoloader_sdk.prefect.paging import Pages, stepwise
from autoloader_sdk.prefect.requests import (
    DeploymentChange,
    NewDeployment,
    NewFlow,
    NewFlowRun,
    ident,
    invalid,
)
from autoloader_sdk.prefect.schedules import Schedules, wire
from autoloader_sdk.prefect.work_pools import read_pool, read_queue
from autoloader_sdk.shorthand import checked

if TYPE_CHECKING:
    from autoloader_sdk.prefect.requests import CollisionStrategy
    from autoloader_sdk.prefect.schedules import When

_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


class Deployment(Resource[L]):
    """A flow, and how it is run."""

    def __init__(self, link: L, data: DeploymentData) -> None:
        super().__init__(link)
        self.data = data

    @property
    def id(self) -> str:
        """A UUID."""
        return self.data.id

    @property
    def name(self) -> str:
        """Its name among those of its flow."""
        return self.data.name

    @property
    def paused(self) -> bool:
        """Whether its schedules rest."""
        return self.data.paused

    @property
    def tags(self) -> tuple[str, ...]:
        """What it and its runs are marked with."""
        return tuple(self.data.tags)

    @property
    def parameters(self) -> dict[str, Any]:
        """What its runs are called with, where they say nothing else."""
        return self.data.parameters or {}

    @property
    def work_pool(self) -> str | None:
        """The pool whose workers run it."""
        return self.data.work_pool_name

    @property
    def work_queue(self) -> str | None:
        """The queue of that pool."""
        return self.data.work_queue_name

    @property
    def concurrency_limit(self) -> int | None:
        """How many of its runs may be going at once; None: any number."""
        there = self.data.global_concurrency_limit
        return self.data.concurrency_limit if there is None else there.limit

    @property
    def collision_strategy(self) -> str | None:
        """What becomes of a run above the limit."""
        return (self.data.concurrency_options or {}).get("collision_strategy")

    @property
    def schedules(self) -> Schedules[L]:
        """When Prefect runs it by itself."""
        return Schedules(self._link, self.data)

    @call
    def reload(self) -> Call[Deployment[L]]:
        """Ask Prefect how it is now; returns the deployment itself.

        Raises:
            NotFound: it is there no more.
        """
        return (yield from self._reload())

    @call
    def run(
        self,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        name: str | None = None,
        tags: Iterable[str] = (),
        scheduled_time: datetime | None = None,
    ) -> Call[FlowRun[L]]:
        """Have it run; returns the run, which a worker has yet to take up.

            >>> run = nightly.run({"day": "2026-11-01"}, name="by hand")
            >>> run.state.type, run.done
            ('SCHEDULED', False)

        Args:
            parameters: What differs from those of the deployment. No secret belongs into them: Prefect keeps and shows
                them in plain text.
            idempotency_key: A second run with the same key is the first one, again. Without it there is one for this
                call alone, so that it can be repeated when the connection breaks.
            name: A name for people; without it Prefect makes one up.
            tags: Beside those of the deployment.
            scheduled_time: When it is due; now unless given.

        Raises:
            Conflict: the flow does not take these parameters.
            Invalid: parameters that are no JSON; nothing was sent.
        """
        given: dict[str, Any] = {
            "parameters": dict(parameters or {}),
            "idempotency_key": uuid.uuid4().hex if idempotency_key is None else idempotency_key,
            "tags": listed(tags, "tags"),
        }
        if name is not None:
            given["name"] = name
        if scheduled_time is not None:
            at = {"scheduled_time": instant(scheduled_time)}
            given["state"] = {"type": "SCHEDULED", "state_details": at}
        body = checked(NewFlowRun, given)
        reply = yield Request("POST", f"{self._path}/create_flow_run", body=body, safe=True)
        return FlowRun(self._link, reply.read(FlowRunData))

    @call
    def update(
        self,
        *,
        description: str | None = None,
        version: str | None = None,
        entrypoint: str | None = None,
        path: str | None = None,
        work_pool: str | None = None,
        work_queue: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        parameter_openapi_schema: Mapping[str, Any] | None = None,
        enforce_parameter_schema: bool | None = None,
        tags: Iterable[str] | None = None,
        job_variables: Mapping[str, Any] | None = None,
        concurrency_limit: int | EllipsisType | None = ...,
        collision_strategy: CollisionStrategy | None = None,
    ) -> Call[Deployment[L]]:
        """Change what is given, each as a whole; the rest stays. Returns the deployment itself.

        Runs that its schedules have planned are planned anew. The schedules themselves are changed by `schedules`.

            >>> nightly.update(description="flights of yesterday", tags=["flights"]).tags
            ('flights',)

        Args:
            work_queue: a queue of `work_pool`, else of the pool that it has. It must be there.
            concurrency_limit: None takes the limit away.

        Raises:
            NotFound: it is there no more, or there is no such pool or queue.
            Conflict: its parameters do not fit the schema.
            Invalid: a value that cannot be; nothing was sent.
        """
        given: dict[str, Any] = {
            "description": description,
            "version": version,
            "entrypoint": entrypoint,
            "path": path,
            "work_pool_name": work_pool,
            "work_queue_name": work_queue,
            "parameters": parameters,
            "parameter_openapi_schema": parameter_openapi_schema,
            "enforce_parameter_schema": enforce_parameter_schema,
            "tags": None if tags is None else listed(tags, "tags"),
            "job_variables": job_variables,
        }
        given = {key: value for key, value in given.items() if value is not None}
        if concurrency_limit is not ...:
            _own_limit(self.data)
            given["concurrency_limit"] = concurrency_limit
        if collision_strategy is not None:
            kept = {"grace_period_seconds": (self.data.concurrency_options or {}).get("grace_period_seconds")}
            rest = {key: value for key, value in kept.items() if value is not None}
            given["concurrency_options"] = {**rest, "collision_strategy": collision_strategy}
        body = checked(DeploymentChange, given)
        if work_queue is not None and work_pool is None:
            yield from self._reload()
            if self.work_pool is None:
                raise invalid("work_queue", "the deployment has no work pool; give work_pool, too")
            body["work_pool_name"] = self.work_pool
        yield from _there(body.get("work_pool_name"), work_queue)
        yield Request("PATCH", self._path, body=body)
        return (yield from self._reload())

    @call
    def pause(self) -> Call[Deployment[L]]:
        """Let its schedules rest; what they have planned is taken back. It can be run by hand.

        >>> nightly.pause().paused
        True
        >>> nightly.resume().paused
        False
        """
        yield Request("POST", f"{self._path}/pause_deployment", safe=True)
        return (yield from self._reload())

    @call
    def resume(self) -> Call[Deployment[L]]:
        """Let its schedules fire again."""
        yield Request("POST", f"{self._path}/resume_deployment", safe=True)
        return (yield from self._reload())

    @call
    def delete(self) -> Call[None]:
        """Take it away, with its schedules and what they have planned; the runs that were stay.

            >>> nightly.delete()
            >>> list(prefect.deployments.list("nightly"))
            []

        Raises:
            NotFound: it is there no more.
        """
        yield Request("DELETE", self._path)

    @property
    def _path(self) -> str:
        return f"/deployments/{quoted(self.id)}"

    def _reload(self) -> Call[Deployment[L]]:
        self.data = (yield Request("GET", self._path)).read(DeploymentData)
        return self

    def __repr__(self) -> str:
        return f"<Deployment {self.name} ({self.id}): {display.deployment_line(self.data)}>"

    def _repr_html_(self) -> str:
        return display.deployment_html(self.data)


class Deployments(Resource[L]):
    """The deployments of the server."""

    @stream
    def list(
        self,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        *,
        flow: str | None = None,
        limit: int | None = None,
    ) -> Stream[Deployment[L]]:
        """Deployments by name, read page by page as they are asked for.

        Take them all (`list(...)`) before you delete some: those behind a deleted one move up, out of sight.

            >>> [each.name for each in prefect.deployments.list(flow="load")]
            ['nightly']

        Args:
            name: Only those of this name; each flow may have one.
            tags: Only those that have all of these.
            flow: Only those of the flow of this name.
            limit: So many at the most.
        """
        wanted: dict[str, Any] = {}
        if name is not None:
            wanted["name"] = {"any_": [name]}
        if tags is not None:
            wanted["tags"] = {"all_": listed(tags, "tags")}
        body: dict[str, Any] = {"sort": "NAME_ASC", "deployments": wanted}
        if flow is not None:
            body["flows"] = {"name": {"any_": [flow]}}
        pages = Pages("/deployments/filter", body, DeploymentData)
        yield from stepwise(pages, lambda data: Deployment(self._link, data), most=limit)

    @call
    def get(self, deployment_id: str) -> Call[Deployment[L]]:
        """One deployment.

        Raises:
            NotFound: there is none.
            Invalid: it is no id.
        """
        reply = yield Request("GET", f"/deployments/{ident(deployment_id, 'deployment')}")
        return Deployment(self._link, reply.read(DeploymentData))

    @call
    def get_by_name(self, name: str) -> Call[Deployment[L]]:
        """One deployment, by `"flow/deployment"`.

            >>> prefect.deployments.get_by_name("load/nightly").id == nightly.id
            True

        Raises:
            NotFound: there is none.
            Invalid: it is no such name.
        """
        flow, _, own = name.partition("/")
        if not flow or not own or "/" in own:
            raise invalid("name", f"'{name}' is no name of a deployment; write it like flow/deployment")
        reply = yield Request("GET", f"/deployments/name/{quoted(flow)}/{quoted(own)}")
        return Deployment(self._link, reply.read(DeploymentData))

    @call
    def create(
        self,
        name: str,
        *,
        flow: str,
        entrypoint: str,
        work_pool: str,
        work_queue: str | None = None,
        schedules: Iterable[When] = (),
        parameters: Mapping[str, Any] | None = None,
        parameter_openapi_schema: Mapping[str, Any] | None = None,
        enforce_parameter_schema: bool = True,
        tags: Iterable[str] = (),
        description: str | None = None,
        version: str | None = None,
        path: str | None = None,
        job_variables: Mapping[str, Any] | None = None,
        concurrency_limit: int | None = None,
        collision_strategy: CollisionStrategy | None = None,
        paused: bool = False,
    ) -> Call[Deployment[L]]:
        """A new deployment, and its flow if that is not there yet.

        If there is one of this name, it becomes what is given here, but for its labels; its schedules are replaced by
        new ones. A limit of its runs that is not given stays as it is.

            >>> hourly = prefect.deployments.create(
            ...     "hourly", flow="load", entrypoint="package.flows.load", work_pool="autoloader",
            ...     schedules=["0 * * * *"], enforce_parameter_schema=False,
            ... )
            >>> [schedule.cron for schedule in hourly.schedules.list()]
            ['0 * * * *']
            >>> hourly.delete()

        Args:
            name: Its name among those of its flow.
            flow: The flow's name.
            entrypoint: Where the flow's function is: `package.module.function` of what workers have installed, or
                `file.py:function` below `path`.
            work_pool: The pool whose workers run it. It must be there.
            work_queue: A queue of it, which must be there: Prefect would make one that no worker asks. Without it the
                pool's own.
            schedules: `"30 2 * * *"`, or mappings with `cron`, `timezone`, `active`, `parameters`, `slug`.
            parameters: What its runs are called with. No secret belongs into them: Prefect keeps and shows them in
                plain text.
            parameter_openapi_schema: What parameters the flow takes, as JSON schema; with `additionalProperties: false`
                others are refused.
            enforce_parameter_schema: Whether Prefect checks the parameters of a run against the schema.
            tags: What it and its runs are marked with.
            description: For people.
            version: Whatever tells you which one it is.
            path: The folder that workers go to.
            job_variables: What differs from the pool's template.
            concurrency_limit: How many of its runs may be going at once.
            collision_strategy: What becomes of one above the limit: ENQUEUE (it waits), or CANCEL_NEW.
            paused: Whether its schedules rest.

        Raises:
            Invalid: a value that cannot be; nothing was sent.
            NotFound: there is no such pool, or no such queue in it.
            Conflict: the parameters do not fit the schema.
        """
        if enforce_parameter_schema and parameter_openapi_schema is None:
            raise invalid(
                "parameter_openapi_schema", "give that of the flow, or say enforce_parameter_schema=False: none is kept"
            )
        if collision_strategy is not None and concurrency_limit is None:
            raise invalid("collision_strategy", "there is nothing to collide with: give concurrency_limit, too")
        draft = DeploymentData(
            id="",
            parameters=dict(parameters or {}),
            parameter_openapi_schema=dict(parameter_openapi_schema or _NO_PARAMETERS),
            enforce_parameter_schema=enforce_parameter_schema,
        )
        body = checked(
            NewDeployment,
            {
                "name": name,
                "flow_id": "",  # known when the rest is found right
                "entrypoint": entrypoint,
                "work_pool_name": work_pool,
                "work_queue_name": work_queue,
                "schedules": [wire(each, draft) for each in listed(schedules, "schedules")],
                "parameters": draft.parameters,
                "parameter_openapi_schema": draft.parameter_openapi_schema,
                "enforce_parameter_schema": enforce_parameter_schema,
                "tags": listed(tags, "tags"),
                "description": description,
                "version": version,
                "path": path,
                "job_variables": dict(job_variables or {}),
                "paused": paused,
                "pull_steps": None,  # those of an earlier deployment of this name would run before the entrypoint
                # Null would delete the limit that it has, which others may share.
                **({} if concurrency_limit is None else {"concurrency_limit": concurrency_limit}),
                **(
                    {}
                    if collision_strategy is None
                    else {"concurrency_options": {"collision_strategy": collision_strategy}}
                ),
            },
        )
        new_flow = checked(NewFlow, {"name": flow})
        yield from _there(work_pool, work_queue)
        if concurrency_limit is not None:
            try:
                there = (yield Request("GET", f"/deployments/name/{quoted(flow)}/{quoted(name)}")).read(DeploymentData)
            except NotFound:
                there = draft
            _own_limit(there)
        # Both are found again where they are there already.
        body["flow_id"] = (yield Request("POST", "/flows/", body=new_flow, safe=True)).read(Thing).id
        reply = yield Request("POST", "/deployments/", body=body, safe=True)
        return Deployment(self._link, reply.read(DeploymentData))


def _own_limit(there: DeploymentData) -> None:
    """Raises Conflict where a deployment has a limit that others may share: a number would become theirs, too."""
    limit = there.global_concurrency_limit
    if limit is not None and limit.name not in ("", f"deployment:{there.id}"):
        raise Conflict(
            f"deployment '{there.name}' has the limit '{limit.name}', which others may share: change that in Prefect"
        )


def listed(values: Iterable[Any], field: str) -> list[Any]:
    """Several values. Raises Invalid for one text, which is a list of letters to Python."""
    if isinstance(values, str):
        raise invalid(field, f"a list, as in ['{values}']")
    return list(values)


def _there(pool: str | None, queue: str | None) -> Call[None]:
    """Whether a pool and its queue are there. Raises NotFound."""
    if pool is not None:
        yield from read_pool(pool) if queue is None else read_queue(pool, queue)
