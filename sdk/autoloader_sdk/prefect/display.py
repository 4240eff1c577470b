"""How records of Prefect show themselves: a line of text always, a small table in a notebook. All data is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from autoloader_sdk.notebook.display import block, count, moment, table

if TYPE_CHECKING:
    from autoloader_sdk.prefect.models import (
        DeploymentData,
        FlowRunData,
        ScheduleData,
        StateData,
        WorkPoolData,
        WorkQueueData,
    )


def when(schedule: ScheduleData) -> str:
    """One line: when it fires."""
    what = schedule.schedule
    kind = next((name for name in ("cron", "interval", "rrule") if name in what), None)
    rule = "unknown" if kind is None else str(what[kind]) if kind == "cron" else f"{kind} {what[kind]}"
    return f"{rule} {what.get('timezone') or 'UTC'}{'' if schedule.active else ' (rests)'}"


def deployment_line(data: DeploymentData) -> str:
    """One line: where and when it runs."""
    times = "; ".join(when(each) for each in data.schedules) or "when asked"
    return f"{_place(data)}, {times}{', paused' if data.paused else ''}"


def deployment_html(data: DeploymentData) -> str:
    """A deployment as a table of its parts."""
    rows = [
        ("runs in", _place(data)),
        ("entrypoint", data.entrypoint or "–"),
        ("schedules", "; ".join(when(each) for each in data.schedules) or "when asked"),
        ("paused", "yes" if data.paused else "no"),
        ("tags", ", ".join(data.tags) or "–"),
        ("parameters", ", ".join(data.parameters or {}) or "–"),
    ]
    return _block(f"deployment {data.name} ({data.id})", ("part", "value"), rows)


def schedules_html(schedules: Iterable[ScheduleData]) -> str:
    """Schedules as a table."""
    rows = [(each.slug or each.id, when(each), ", ".join(each.parameters or {}) or "–") for each in schedules]
    return _block("schedule", ("slug", "when", "parameters"), rows)


def flow_run_html(data: FlowRunData, state: StateData) -> str:
    """A flow run as a table."""
    row = (str(state), moment(data.expected_start_time), moment(data.start_time), moment(data.end_time))
    return _block(f"flow run {data.name} ({data.id})", ("state", "due", "started", "ended"), [row])


def queue_line(data: WorkQueueData) -> str:
    """One line: how it stands."""
    limit = "no limit" if data.concurrency_limit is None else f"limit {count(data.concurrency_limit)}"
    return f"{'paused' if data.is_paused else data.status or '–'}, priority {count(data.priority)}, {limit}"


def queues_html(queues: Iterable[WorkQueueData]) -> str:
    """Queues as a table."""
    rows = [(each.name, queue_line(each)) for each in queues]
    return _block("work queue", ("name", "state"), rows)


def pool_html(data: WorkPoolData) -> str:
    """A work pool as a table."""
    row = (data.name, data.type, data.status or "–", count(data.concurrency_limit))
    return _block("work pool", ("name", "type", "status", "limit"), [row])


def _place(data: DeploymentData) -> str:
    return "/".join(each for each in (data.work_pool_name, data.work_queue_name) if each) or "no work pool"


def _block(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return block([table(caption, columns, rows)])
