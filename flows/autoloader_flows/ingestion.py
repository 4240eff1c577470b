"""The flow that Prefect runs for an ingestion, and its tasks. docs/flows.md tells what each state means.

The tasks call the same steps as a direct run does. They pass ids and counts: what they know of each other is in the
ledger. Whatever a task or the flow raises has one sentence, without a secret: Prefect keeps and shows it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prefect import flow, get_client, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed

from autoloader_sdk.models import RunStatus
from autoloader_server.security.redact import logger as redacting
from autoloader_server.security.redact import redact
from autoloader_server.settings import Settings

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

    from autoloader_sdk.models import RunData
    from autoloader_server.services.stepped_run import SteppedRun

P = ParamSpec("P")
R = TypeVar("R")

RETRIES = 1
RETRY_DELAY_SECONDS = 300
_LOOK_SECONDS = 1.0
_SHOWN_ERRORS = 20
_settings = Settings.load()
_log = redacting(__name__)

for _name in ("prefect.flow_runs", "prefect.task_runs"):
    redacting(_name)


class RunFailed(Exception):
    """The run failed; the sentence says why, as the run's own message does."""


@dataclass(frozen=True)
class Begun:
    """The run that a flow run is about; or why there is none."""

    run_id: str | None = None
    reason: str = ""


def _curable(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth another try."""
    from autoloader_server.services.stepped_run import StepFailed

    error = state.data
    return error.curable if isinstance(error, StepFailed) else True


def _task(retries: int) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task of the flow with this number of retries, or as many as the settings allow."""
    return task(
        retries=min(retries, _settings.prefect_max_task_retries),
        retry_delay_seconds=_settings.prefect_task_retry_delay_seconds,
        retry_condition_fn=_curable,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


@_task(retries=1)
def create_run_record_task(ingestion_id: str, trigger: str, flow_run_id: str) -> Begun:
    """Begin the flow run's run, or carry it on. While another run of the ingestion is going, wait for its end."""
    from autoloader_flows import process
    from autoloader_server.engine.outcome import Outcome
    from autoloader_server.services.errors import Conflict, NotFound
    from autoloader_server.services.stepped_run import Busy, SteppedRun, run_id_of

    log = get_run_logger()
    earlier = process.runs.get(run_id_of(flow_run_id))
    lease = earlier.lease if earlier is not None else None
    waits_for = None
    while True:
        try:
            begun = SteppedRun.begin(process.service(), ingestion_id, flow_run_id, trigger, lease)
        except (NotFound, Conflict) as refusal:
            if earlier is not None and lease is not None:
                earlier.fail(Outcome(RunStatus.CANCELLED, str(refusal)), last=True)
            return Begun(reason=str(refusal))
        except Exception as error:
            raise RunFailed(redact(f"the run could not begin: {error}")) from None
        if isinstance(begun, Busy):
            if begun.run_id != waits_for:
                waits_for = begun.run_id
                log.info("waits for run %s of this ingestion, which is going: one at a time", waits_for)
            time.sleep(_LOOK_SECONDS)
            continue
        process.runs[begun.run_id] = begun
        log.info("run %s, %s", begun.run_id, begun.what)
        return Begun(begun.run_id)


@_task(retries=2)
def discover_files_task(run_id: str) -> dict[str, int]:
    """Finish what dead runs left, and write down what is new at the source."""
    found = _run(run_id).find_files()
    get_run_logger().info("%s at the source, %d new or changed", _files(found.files), found.new)
    return found._asdict()


@_task(retries=1)
def check_file_state_task(run_id: str) -> int:
    """Count the files that are to be loaded."""
    planned = _run(run_id).plan_files()
    get_run_logger().info("%s to load", _files(planned))
    return planned


@_task(retries=2)
def process_files_task(run_id: str) -> dict[str, int]:
    """Load the files, batch by batch."""
    log = get_run_logger()

    def tell(run: RunData) -> None:
        counts = run.metrics
        log.info(
            "%s loaded so far, %d rows; %d failed",
            *(_files(counts.files_processed), counts.records_ingested, counts.error_count),
        )

    return _counts(_run(run_id).load_files(tell))


@_task(retries=2)
def complete_run_record_task(run_id: str) -> dict[str, Any]:
    """Write the run's good end."""
    return _told(_run(run_id).complete())


@_task(retries=2)
def fail_run_record_task(run_id: str, status: str, message: str, category: str | None, *, last: bool) -> dict[str, Any]:
    """Write the run's bad end; with another attempt to come, what happened."""
    from autoloader_server.engine.outcome import Outcome

    try:
        return _told(_run(run_id).fail(Outcome(RunStatus(status), message, category), last=last))
    except Exception as error:
        raise RunFailed(redact(f"{message}; and that could not be recorded: {error}")) from None


@flow(
    name="run_ingestion",
    log_prints=True,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_SECONDS,
    timeout_seconds=_settings.prefect_flow_run_timeout_seconds,
    persist_result=False,
)
def run_ingestion_flow(ingestion_id: str, trigger: str = "scheduled") -> Any:
    """Load what is new of one ingestion. Its run carries the flow run's id, and the same one through all attempts."""
    from autoloader_flows import process
    from autoloader_server.services.stepped_run import StepFailed, run_id_of

    flow_run_id = str(runtime.flow_run.id)
    run_id = run_id_of(flow_run_id)
    try:
        begun = create_run_record_task(ingestion_id, trigger, flow_run_id)
        if begun.run_id is None:
            return Cancelled(message=begun.reason)
        discover_files_task(run_id)
        check_file_state_task(run_id)
        process_files_task(run_id)
        ended = complete_run_record_task(run_id)
    except StepFailed as failure:
        status, _, category = failure.ending
        ended = fail_run_record_task(run_id, status.value, str(failure), category, last=_is_last())
        if status == RunStatus.FAILED:
            raise RunFailed(str(failure)) from None
    except BaseException as stop:
        if run_id in process.runs:
            _stopped(process.runs[run_id], stop)
        raise
    finally:
        run = process.runs.get(run_id)
        if run is not None and (_is_last() or not run.held):
            run.close()
            del process.runs[run_id]
    match ended["status"]:
        case RunStatus.CANCELLED:
            return Cancelled(message=ended["message"])
        case RunStatus.FAILED:  # by somebody else, who took this worker for dead
            raise RunFailed(ended["message"])
        case RunStatus.PARTIAL:
            return Completed(name="Partial", message=ended["message"], data=ended)
    return ended


def _run(run_id: str) -> SteppedRun:
    from autoloader_flows import process

    return process.runs[run_id]


def _is_last() -> bool:
    """Whether Prefect will not try this flow run again by itself."""
    flow_run = _context().flow_run
    assert flow_run is not None
    return flow_run.run_count > (flow_run.empirical_policy.retries or 0)


def _context() -> FlowRunContext:
    context = FlowRunContext.get()
    assert context is not None
    return context


def _stopped(run: SteppedRun, stop: BaseException) -> None:
    """The flow is torn out of its work: by its time-out, by a signal, or by an error of Prefect's client."""
    from autoloader_server.engine.errors import CANCELLED, INTERRUPTED
    from autoloader_server.engine.outcome import Outcome
    from autoloader_server.spark.errors import first_line

    run.interrupt()
    last = _is_last()
    match stop:
        case asyncio.CancelledError():
            its_flow = _context().flow
            assert its_flow is not None
            message = f"stopped after {its_flow.timeout_seconds:g} s (prefect_flow_run_timeout_seconds)"
        case Exception():
            message = f"the flow itself failed: {first_line(stop)}"
        case _:
            message = "the flow's process was told to stop"
            last = True  # a crash, which Prefect does not try again by itself
    ending = Outcome(RunStatus.FAILED, f"{message}; the next run finishes its work", INTERRUPTED)
    try:
        if isinstance(stop, SystemExit | KeyboardInterrupt | TerminationSignal) and _is_being_cancelled():
            ending = Outcome(RunStatus.CANCELLED, CANCELLED)
        run.fail(ending, last=last)
    except Exception as error:
        _log.warning("run %s could not be ended; its lease ends by itself: %s", run.run_id, first_line(error))


def _is_being_cancelled() -> bool:
    """Whether the signal to stop is Prefect's way of cancelling this flow run."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(runtime.flow_run.id).state
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def _told(run: RunData) -> dict[str, Any]:
    """Log how the run stands, with what failed; the same as the flow's result."""
    log = get_run_logger()
    for note in run.warnings:
        log.warning("%s", note)
    for error in run.errors[:_SHOWN_ERRORS]:
        log.warning("failed: %s%s", f"{error.file}: " if error.file else "", error.message)
    if len(run.errors) > _SHOWN_ERRORS:
        log.warning("… and %d more; the run's errors list them", len(run.errors) - _SHOWN_ERRORS)
    counts = _counts(run)
    log.info(
        "run %s is %s: %s, %d rows%s",
        *(run.id, run.status, _files(counts["files_processed"]), counts["records_ingested"]),
        f"; {run.message}" if run.message else "",
    )
    return {"run_id": run.id, "status": run.status, "message": run.message, **counts}


def _counts(run: RunData) -> dict[str, int]:
    names = ("files_processed", "records_ingested", "bytes_read", "error_count")
    return {name: getattr(run.metrics, name) or 0 for name in names}


def _files(number: int | None) -> str:
    return "1 file" if number == 1 else f"{number or 0} files"
