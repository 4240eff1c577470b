"""What a Prefect server answers, read tolerantly: of older and newer ones too."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from pydantic import Field

from autoloader_sdk.models.base import AnswerModel, Moment, NoneIsEmpty

#: The types of the states in which a run has ended, and the others.
ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})
GOING = frozenset({"SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"})

_Texts = Annotated[list[str], NoneIsEmpty]


class Thing(AnswerModel):
    """Whatever has an id."""

    id: str


class StateData(AnswerModel):
    """The state of a flow run. A later server may know other types."""

    type: str = ""
    name: str | None = None
    message: str | None = None
    timestamp: Moment | None = None

    def __str__(self) -> str:
        name = self.name or self.type.capitalize() or "no state"
        return f"{name}: {' '.join(self.message.split())}" if self.message else name


class FlowRunData(Thing):
    """One execution of a flow."""

    name: str = ""
    flow_id: str | None = None
    deployment_id: str | None = None
    state: StateData | None = None
    state_type: str | None = None
    state_name: str | None = None
    parameters: dict[str, Any] | None = None
    tags: _Texts = Field(default_factory=list)
    run_count: int | None = None
    idempotency_key: str | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    expected_start_time: Moment | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None


class LogLine(AnswerModel):
    """One line of the log of a flow run."""

    id: str | None = None
    name: str = ""
    level: int = 0
    message: str = ""
    timestamp: Moment
    flow_run_id: str | None = None
    task_run_id: str | None = None

    def __str__(self) -> str:
        from autoloader_sdk.notebook.display import local

        at = local(self.timestamp).strftime("%H:%M:%S.%f")[:-3]
        return f"{at} {logging.getLevelName(self.level):<8} {self.message}"


class ScheduleData(Thing):
    """A schedule of a deployment; `schedule` is a cron, an interval, or an rrule."""

    schedule: dict[str, Any] = Field(default_factory=dict)
    active: bool = True
    parameters: dict[str, Any] | None = None
    slug: str | None = None
    max_scheduled_runs: int | None = None


class LimitData(AnswerModel):
    """How many runs of a deployment may be going at once. One that Prefect made for it is named `deployment:<id>`."""

    name: str = ""
    limit: int | None = None
    active_slots: int | None = None


class DeploymentData(Thing):
    """A flow, and how it is run."""

    name: str = ""
    flow_id: str | None = None
    description: str | None = None
    version: str | None = None
    status: str | None = None
    paused: bool = False
    entrypoint: str | None = None
    path: str | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    schedules: Annotated[list[ScheduleData], NoneIsEmpty] = Field(default_factory=list)
    parameters: dict[str, Any] | None = None
    parameter_openapi_schema: dict[str, Any] | None = None
    enforce_parameter_schema: bool = False
    tags: _Texts = Field(default_factory=list)
    job_variables: dict[str, Any] | None = None
    concurrency_limit: int | None = None
    global_concurrency_limit: LimitData | None = None
    concurrency_options: dict[str, Any] | None = None


class WorkPoolData(Thing):
    """What workers of one kind take runs from."""

    name: str = ""
    type: str = ""
    status: str | None = None
    description: str | None = None
    is_paused: bool = False
    concurrency_limit: int | None = None
    base_job_template: dict[str, Any] | None = None


class WorkQueueData(Thing):
    """A queue of a work pool."""

    name: str = ""
    status: str | None = None
    description: str | None = None
    is_paused: bool = False
    concurrency_limit: int | None = None
    priority: int | None = None
    work_pool_name: str | None = None


class SetStateData(AnswerModel):
    """What a server has made of a state that was to be set: ACCEPT, REJECT, ABORT or WAIT."""

    status: str = ""
    state: StateData | None = None
    details: dict[str, Any] | None = None
