"""The schedules of a deployment: when Prefect runs it by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from autoloader_sdk._http.endpoint import Call, L, Request, Resource, call, quoted
from autoloader_sdk.errors import NotFound
from autoloader_sdk.listing import Listing
from autoloader_sdk.prefect import display
from autoloader_sdk.prefect.models import ScheduleData
from autoloader_sdk.prefect.requests import NewSchedule, check_parameters
from autoloader_sdk.shorthand import checked

if TYPE_CHECKING:
    from autoloader_sdk.prefect.models import DeploymentData

When: TypeAlias = str | Mapping[str, Any] | NewSchedule
"""`"30 2 * * *"` (in UTC), or a mapping with `cron`, `timezone`, `active`, `parameters` and `slug`."""

_ANY = "0 0 * * *"


class Schedule(Resource[L]):
    """One schedule."""

    def __init__(self, link: L, data: ScheduleData, deployment: DeploymentData) -> None:
        super().__init__(link)
        self.data = data
        self._deployment = deployment

    @property
    def id(self) -> str:
        """A UUID; a deployment that is made again has schedules with new ones."""
        return self.data.id

    @property
    def slug(self) -> str | None:
        """Its name within the deployment, if it has one."""
        return self.data.slug

    @property
    def cron(self) -> str | None:
        """The cron expression; None where it is an interval or an rrule (`data.schedule` has these)."""
        return self.data.schedule.get("cron")

    @property
    def timezone(self) -> str | None:
        """The time zone, by its IANA name."""
        return self.data.schedule.get("timezone")

    @property
    def active(self) -> bool:
        """Whether it fires."""
        return self.data.active

    @property
    def parameters(self) -> dict[str, Any]:
        """What its runs have beside the deployment's parameters."""
        return self.data.parameters or {}

    @call
    def change(
        self,
        *,
        cron: str | None = None,
        timezone: str | None = None,
        active: bool | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Call[Schedule[L]]:
        """Change what is given; the rest stays as it is at the server now. Returns the schedule itself.

        Raises:
            Invalid: no cron expression of five fields, no time zone, or parameters that the flow does not have.
            NotFound: it is there no more.
        """
        given = {"cron": cron, "timezone": timezone, "active": active, "parameters": parameters}
        named = {key: value for key, value in given.items() if value is not None}
        # Only what is given is judged: what stands at the server may be of another kind, or another's rules.
        new = checked(NewSchedule, {"cron": _ANY, **named}).get("parameters", {})
        if parameters is not None:
            check(self._deployment, new)
        now = yield from find(self._deployment.id, self.id)
        schedule = dict(now.schedule)
        if cron is not None:
            before = schedule if "cron" in schedule else {"timezone": schedule.get("timezone") or "UTC"}
            schedule = {**before, "cron": cron}
        if timezone is not None:
            schedule["timezone"] = timezone
        # Left out, what is there would be wiped; and what an older Prefect does not know, it refuses.
        kept = {"parameters": now.parameters, "max_scheduled_runs": now.max_scheduled_runs, "slug": now.slug}
        body = {
            "schedule": schedule,
            "active": now.active if active is None else active,
            **{key: value for key, value in kept.items() if value is not None},
            **({} if parameters is None else {"parameters": new}),
        }
        yield Request("PATCH", schedules_path(self._deployment.id, self.id), body=body)
        self.data = yield from find(self._deployment.id, self.id)
        return self

    @call
    def remove(self) -> Call[None]:
        """Take it away, with the runs that it has planned.

        Raises:
            NotFound: it is there no more.
        """
        yield Request("DELETE", schedules_path(self._deployment.id, self.id))

    def __repr__(self) -> str:
        return f"<Schedule {self.slug or self.id}: {display.when(self.data)}>"

    def _repr_html_(self) -> str:
        return display.schedules_html([self.data])


class Schedules(Resource[L]):
    """All schedules of one deployment."""

    def __init__(self, link: L, deployment: DeploymentData) -> None:
        super().__init__(link)
        self._deployment = deployment

    @call
    def list(self) -> Call[Listing[Schedule[L]]]:
        """As they are at the server now."""
        reply = yield Request("GET", schedules_path(self._deployment.id))
        return Listing(self._made(data) for data in reply.entries(ScheduleData))

    @call
    def get(self, which: str) -> Call[Schedule[L]]:
        """One of them, by its slug or its id.

        Raises:
            NotFound: there is none.
        """
        return self._made((yield from find(self._deployment.id, which)))

    @call
    def add(
        self,
        cron: str,
        *,
        timezone: str = "UTC",
        active: bool = True,
        parameters: Mapping[str, Any] | None = None,
        slug: str | None = None,
    ) -> Call[Schedule[L]]:
        """One more.

            >>> added = nightly.schedules.add("30 2 * * *", timezone="Europe/Berlin", slug="night")
            >>> nightly.schedules.get("night").cron
            '30 2 * * *'
            >>> added.change(cron="0 3 * * *").timezone
            'Europe/Berlin'
            >>> added.remove()

        Args:
            cron: Five fields: minute, hour, day, month, weekday.
            timezone: An IANA name, such as `Europe/Berlin`.
            active: Whether it fires already.
            parameters: What its runs have beside the deployment's parameters.
            slug: Its name within the deployment.

        Raises:
            Invalid: one of these cannot be; nothing was sent.
            Conflict: there is one with this slug.
        """
        given = {"cron": cron, "timezone": timezone, "active": active, "parameters": parameters or {}, "slug": slug}
        body = wire(given, self._deployment)
        # Without a slug, sent twice it would be two.
        reply = yield Request("POST", schedules_path(self._deployment.id), body=[body], safe=False)
        return self._made(reply.entries(ScheduleData)[0])

    def _made(self, data: ScheduleData) -> Schedule[L]:
        return Schedule(self._link, data, self._deployment)


def find(deployment_id: str, which: str) -> Call[ScheduleData]:
    """One schedule of a deployment, as it is now. Raises NotFound."""
    reply = yield Request("GET", schedules_path(deployment_id))
    there = reply.entries(ScheduleData)
    for each in there:
        if which in {each.id, each.slug}:
            return each
    names = ", ".join(each.slug or each.id for each in there) or "none"
    raise NotFound(f"the deployment has no schedule '{which}'; there are: {names}")


def wire(when: When, deployment: DeploymentData) -> dict[str, Any]:
    """A schedule as it is sent, if it keeps the rules and fits the deployment.

    Raises:
        Invalid: it does not.
    """
    given: Mapping[str, Any] = {"cron": when} if isinstance(when, str) else dict(when)
    body = checked(NewSchedule, given)
    check(deployment, body.get("parameters", {}))
    return body


def check(deployment: DeploymentData, parameters: Mapping[str, Any]) -> None:
    """Whether a schedule's parameters fit, where the deployment wants them to. Raises Invalid."""
    if deployment.enforce_parameter_schema:
        schema = deployment.parameter_openapi_schema or {}
        check_parameters(parameters, schema, given=deployment.parameters or {})


def schedules_path(deployment_id: str, schedule_id: str | None = None) -> str:
    """Where a deployment's schedules are, or one of them."""
    path = f"/deployments/{quoted(deployment_id)}/schedules"
    return path if schedule_id is None else f"{path}/{quoted(schedule_id)}"
