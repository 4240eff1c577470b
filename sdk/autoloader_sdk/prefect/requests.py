"""What we send to a Prefect server: checked strictly before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import Field, JsonValue, ValidationError, field_validator

from autoloader_sdk.errors import FieldProblem, Invalid
from autoloader_sdk.models.base import RequestModel, nearest, refuse
from autoloader_sdk.models.schedule import Schedule, cron_fault

CollisionStrategy: TypeAlias = Literal["ENQUEUE", "CANCEL_NEW"]
"""What becomes of a run above the limit: it waits (looked at each 30 s), or is cancelled at once."""

Parameters: TypeAlias = dict[str, JsonValue]
_Name: TypeAlias = Annotated[str, Field(min_length=1, pattern=r"^[^/%&><]+$")]
_Limit: TypeAlias = Annotated[int, Field(ge=0)]


class NewSchedule(RequestModel):
    """A cron expression of five fields, in a time zone, with parameters of its own."""

    cron: str
    timezone: str = "UTC"
    active: bool = True
    parameters: Parameters = Field(default_factory=dict)
    slug: str | None = None

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        if fault := cron_fault(value):  # Prefect would take six fields, the first as the minute
            raise refuse(fault)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            Schedule(timezone=value)
        except ValidationError as error:
            raise refuse(error.errors(include_url=False, include_input=False)[0]["msg"]) from None
        return value

    @property
    def when(self) -> dict[str, Any]:
        """The schedule within a schedule."""
        return {"cron": self.cron, "timezone": self.timezone}

    def wire(self) -> dict[str, Any]:
        """As Prefect has it. Before 3.2 it knew neither parameters nor slugs, and refuses even empty ones."""
        return {
            "schedule": self.when,
            "active": self.active,
            **({"parameters": self.parameters} if self.parameters else {}),
            **({} if self.slug is None else {"slug": self.slug}),
        }


class ConcurrencyOptions(RequestModel):
    """What becomes of a run above the limit."""

    collision_strategy: CollisionStrategy
    grace_period_seconds: int | None = None


class DeploymentChange(RequestModel):
    """The fields of a deployment that can change."""

    description: str | None = None
    version: str | None = None
    entrypoint: str | None = None
    path: str | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    parameters: Parameters = Field(default_factory=dict)
    parameter_openapi_schema: dict[str, JsonValue] = Field(default_factory=dict)
    enforce_parameter_schema: bool = True
    tags: list[str] = Field(default_factory=list)
    job_variables: dict[str, JsonValue] = Field(default_factory=dict)
    concurrency_limit: Annotated[int, Field(ge=1)] | None = None
    concurrency_options: ConcurrencyOptions | None = None


class NewDeployment(DeploymentChange):
    """A whole deployment; `schedules` are as `NewSchedule.wire` has them."""

    name: _Name
    flow_id: str
    schedules: list[dict[str, JsonValue]]
    paused: bool
    pull_steps: None = None


class NewFlow(RequestModel):
    """A flow, which is little more than a name."""

    name: _Name


class NewFlowRun(RequestModel):
    """A run of a deployment; it always has a key, by which a second one like it is the same run."""

    idempotency_key: Annotated[str, Field(min_length=1)]
    parameters: Parameters
    name: str | None = None
    tags: list[str] = Field(default_factory=list)
    state: dict[str, JsonValue] | None = None


class NewState(RequestModel):
    """A state to be set."""

    type: str
    name: str | None = None
    message: str | None = None
    state_details: dict[str, JsonValue] = Field(default_factory=dict)


class NewWorkPool(RequestModel):
    """A work pool."""

    name: _Name
    type: Annotated[str, Field(min_length=1)]
    description: str | None = None
    base_job_template: dict[str, JsonValue] = Field(default_factory=dict)
    concurrency_limit: _Limit | None = None


class WorkQueueChange(RequestModel):
    """The fields of a queue that can change. 1 is the highest priority."""

    description: str | None = None
    is_paused: bool = False
    concurrency_limit: _Limit | None = None
    priority: Annotated[int, Field(ge=1)] | None = None


class NewWorkQueue(WorkQueueChange):
    """A queue of a work pool."""

    name: _Name


def invalid(field: str, message: str) -> Invalid:
    """A fault that was found before anything was sent."""
    return Invalid(f"{field}: {message}", fields=[FieldProblem(field, message)])


def ident(value: str, what: str) -> str:
    """An id, if it is one: Prefect does not even know the path of another text.

    Raises:
        Invalid: it is none.
    """
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise invalid("id", f"'{value}' is no id of a {what}, which is a UUID") from None


def check_parameters(parameters: Mapping[str, Any], schema: Mapping[str, Any], *, given: Mapping[str, Any]) -> None:
    """Whether a schedule's parameters, over those `given` by the deployment, fit the names in its schema.

    Prefect does not look: the runs would fail, each time.

    Raises:
        Invalid: one is unknown, or one that a run needs is missing.
    """
    known = schema.get("properties") or {}
    for name in parameters:
        if name not in known and schema.get("additionalProperties") is False:
            near = nearest(name, known)
            hint = f"did you mean '{near}'?" if near else f"known: {', '.join(known) or 'none'}"
            raise invalid(f"parameters.{name}", f"the flow has no such parameter; {hint}")
    for name in schema.get("required") or []:
        if name not in parameters and name not in given:
            raise invalid(f"parameters.{name}", "the flow needs it, and neither the schedule nor the deployment has it")
