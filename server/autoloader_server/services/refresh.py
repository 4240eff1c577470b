"""Drop the table, and load everything (full) or only what is new (new-only) into one that is made anew.

A refresh may die between any two of its steps. Afterwards the table is still there with all its rows; or it is gone and
the ledger names it, so that a run that finds something new fails and says so until the refresh is asked for again; or
it is gone and forgotten, and the next run does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import RowMapping, func, select, update

from autoloader_sdk.discovery.errors import SourceError
from autoloader_sdk.models import (
    IngestionCreate,
    RefreshImpact,
    RefreshOperation,
    RefreshRequest,
    RefreshStep,
    RunStatus,
)
from autoloader_server.db.clock import now
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import ingestions, processed_files, runs
from autoloader_server.engine.batch_record import end_dropped
from autoloader_server.engine.killpoints import reach
from autoloader_server.engine.ledger import let_changed_wait, let_late_changed_wait
from autoloader_server.engine.sql import TableName
from autoloader_server.engine.survey import Survey, survey
from autoloader_server.security.credentials import CredentialMissing
from autoloader_server.security.redact import redact
from autoloader_server.security.secrets import SecretsKeyError
from autoloader_server.services.clear import (
    forget_files,
    forget_table,
    none_loaded,
    raise_generation,
)
from autoloader_server.services.errors import Conflict, Fault, Invalid, NotFound, ServiceRefusal
from autoloader_server.services.ingestions import drop_tables, loading_into, row_of, table_of
from autoloader_server.services.pricing import GB, pace_of, price_of
from autoloader_server.services.runs import request as request_run
from autoloader_server.services.sources import place_of_saved
from autoloader_server.spark.errors import first_line
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from autoloader_server.service import Service

Mode = Literal["full", "new_only"]
DROP, CLEAR, RUN = "table_dropped", "processed_files_cleared", "run_triggered"
_CODES = {DROP: "TABLE_DROP_FAILED", CLEAR: "FILE_CLEAR_FAILED", RUN: "RUN_TRIGGER_FAILED"}


class _StepFailed(Exception):
    """A step did not work; `note` says what state things are in."""

    def __init__(self, operation: str, error: Exception | str, note: str) -> None:
        super().__init__(redact(error if isinstance(error, str) else first_line(error)))
        self.operation = operation
        self.note = note


def refresh(
    service: Service, ingestion_id: str, body: RefreshRequest | None, mode: Mode, *, force: bool = False
) -> RefreshOperation:
    """Carry a refresh out, or tell what it would do (`dry_run`).

    A step that fails is told in the answer; later steps are not tried. `force`: although another ingestion loads into
    the table, or this one is paused.

    Raises Invalid unless it is confirmed, ServiceRefusal (400) where there is no such ingestion, and Conflict before
    anything is changed where no load could follow: the ingestion is paused, or its source cannot be listed.
    """
    if body is None or not body.confirm:
        raise Invalid([Fault(("body", "confirm"), "a refresh drops the table: send confirm true to have it done")])
    row, others, going = _look(service, ingestion_id)
    spec = IngestionCreate.model_validate(row["spec"])
    if body.auto_run and row["status"] == "paused" and not force:
        raise Conflict(
            f"ingestion {ingestion_id} is paused, so no run could follow: resume it, send auto_run false, or force=true"
        )
    try:
        place = place_of_saved(service, spec, row)
        found = survey(service.database, ingestion_id, place.store, spec, row["created_at"])
    except (SourceError, CredentialMissing, SecretsKeyError) as error:
        raise Conflict(f"nothing was changed, since the source cannot be listed: {error}") from error
    table = TableName.of(spec.destination)
    answer = RefreshOperation(
        status="accepted",
        ingestion_id=ingestion_id,
        timestamp=now(),
        mode=mode,
        impact=_impact(service, row, found, mode),
        warnings=_warnings(table, found, mode, others, going, force=force),
    )
    if body.dry_run:
        return _told(service, answer, row, body, table)
    _carry_out(service, answer, row, body, [] if force else others)
    return answer


def _look(service: Service, ingestion_id: str) -> tuple[RowMapping, list[str], list[str]]:
    """The ingestion, others that load into its table, its runs that are going."""
    with service.database.read() as connection:
        try:
            row = row_of(connection, ingestion_id)
        except NotFound as error:
            # The contract's one exception: not 404.
            raise ServiceRefusal(str(error)) from None
        others = loading_into(connection, row["spec"]["destination"], but=ingestion_id)
        going = connection.execute(
            select(runs.c.id).where(runs.c.ingestion_id == ingestion_id, runs.c.status == RunStatus.RUNNING)
        ).scalars()
        return row, others, list(going)


def _carry_out(
    service: Service, answer: RefreshOperation, row: RowMapping, body: RefreshRequest, others: Sequence[str]
) -> None:
    """Do the steps, and write into `answer` how each went."""
    full, ingestion_id = answer.mode == "full", row["id"]
    try:
        existed = _drop(service, row, others, full=full)
        name = str(TableName.of(IngestionCreate.model_validate(row["spec"]).destination))
        _succeeded(answer, DROP, table_name=name, existed=existed)
        if full:
            try:
                cleared = _forget(service, row, full=True)
            except Exception as error:
                note = "the table is dropped and its files are not forgotten: ask for the refresh again"
                raise _StepFailed(CLEAR, error, note) from error
            _succeeded(answer, CLEAR, files_cleared=cleared)
        reach("files_cleared", service.home)
        if body.auto_run:
            try:
                receipt = request_run(service, ingestion_id, trigger="refresh", force=True)
            except Exception as error:
                note = f"all is ready for a run: POST /api/v1/ingestions/{ingestion_id}/run"
                raise _StepFailed(RUN, error, note) from error
            answer.run_id = receipt.run_id
            url = f"/api/v1/ingestions/{ingestion_id}/runs/{receipt.run_id}"
            _succeeded(answer, RUN, run_id=receipt.run_id, run_url=url)
    except _StepFailed as failed:
        answer.status = "partial_failure"
        answer.message = f"the refresh stopped at {failed.operation}: {failed}"
        answer.operations.append(
            RefreshStep(
                operation=failed.operation,
                status="failed",
                timestamp=now(),
                details={},
                error=str(failed),
                error_code=_CODES[failed.operation],
            )
        )
        answer.notes.append(failed.note)
        answer.impact = RefreshImpact()
        return
    what = "everything" if full else "what is new"
    answer.message = f"the table is dropped; {what} is loaded into a new one" + (
        f" by run {answer.run_id}" if body.auto_run else " by the next run"
    )
    if not body.auto_run:
        answer.notes.append(f"no run was asked for: POST /api/v1/ingestions/{ingestion_id}/run")


def _drop(service: Service, row: RowMapping, others: Sequence[str], *, full: bool) -> bool:
    """Drop the table; whether there was one. In new-only it is also forgotten here: there is no other step for it."""
    unchanged = "nothing was changed"
    if others:
        why = (
            f"the table is not dropped: {', '.join(others)} loads into it too; send force=true to drop it all the same"
        )
        raise _StepFailed(DROP, why, unchanged)
    try:
        with spark_errors():
            table = table_of(service, row)
            state = table.state()
    except Exception as error:
        raise _StepFailed(DROP, error, unchanged) from error
    if state is not None and state.ledger_id not in (None, service.ledger_id):
        why = f"the table is not dropped: another autoloader database loads into it (ledger {state.ledger_id})"
        raise _StepFailed(DROP, why, unchanged)
    with service.database.write() as connection:
        raise_generation(connection, row["id"])
        going = (runs.c.ingestion_id == row["id"], runs.c.status == RunStatus.RUNNING)
        connection.execute(update(runs).where(*going).values(cancel_requested=True))
    reach("refresh_begun", service.home)
    try:
        with spark_errors():
            drop_tables(service, row)
    except Exception as error:
        note = "the table was not dropped; a run that was going is ended, and what it had not loaded waits again"
        raise _StepFailed(DROP, error, note) from error
    reach("table_dropped", service.home)
    if not full:
        try:
            _forget(service, row, full=False)
        except Exception as error:
            note = "the table is dropped, and the ledger does not know it yet: ask for the refresh again"
            raise _StepFailed(DROP, error, note) from error
    return state is not None


def _forget(service: Service, row: RowMapping, *, full: bool) -> int:
    """Tell the ledger that the table is gone, and in full which files were in it; how many were forgotten.

    What is there now under the table's name was made by a run after the drop: what that has loaded stays loaded.
    The generation is raised once more before it is looked at, so that no such run can add to it unseen.
    """
    ingestion_id = row["id"]
    with service.database.write() as connection:
        old = raise_generation(connection, ingestion_id)
    with spark_errors():
        state = table_of(service, row).state()
    there = state.table_id if state is not None else None
    with service.database.write() as connection:
        end_dropped(connection, ingestion_id, old, there)
    if not full:
        let_changed_wait(service.database, ingestion_id)
        with service.database.write() as connection:
            lock_ingestion(connection, ingestion_id)
            let_late_changed_wait(connection, ingestion_id)
            # Unless a run has found it another one meanwhile.
            forget_table(connection, ingestion_id, ingestions.c.table_uuid == row["table_uuid"])
        return 0
    cleared = forget_files(service.database, ingestion_id, old, keep_table=there)
    with service.database.write() as connection:
        forget_table(connection, ingestion_id, none_loaded(ingestion_id))
    return cleared


def _succeeded(answer: RefreshOperation, operation: str, **details: Any) -> None:
    answer.operations.append(RefreshStep(operation=operation, status="success", timestamp=now(), details=details))


def _told(
    service: Service, answer: RefreshOperation, row: RowMapping, body: RefreshRequest, table: TableName
) -> RefreshOperation:
    """What a refresh would do; nothing is changed, and no Spark is started."""
    files = processed_files.c
    with service.database.read() as connection:
        known = connection.execute(select(func.count()).where(files.ingestion_id == row["id"])).scalar_one()
    steps: list[dict[str, Any]] = [{"operation": DROP, "table_name": str(table)}]
    if answer.mode == "full":
        steps.append({"operation": CLEAR, "files_cleared": known})
    if body.auto_run:
        steps.append({"operation": RUN, "files_to_process": answer.impact.files_to_process})
    path = f"/api/v1/ingestions/{row['id']}/refresh/{answer.mode.replace('_', '-')}"
    sent = f'{{"confirm": true, "auto_run": {str(body.auto_run).lower()}}}'
    answer.status = "dry_run"
    answer.message = "nothing was changed: this is what the refresh would do"
    answer.would_perform = steps
    answer.next_steps = {
        "to_proceed": f"POST {path} with {sent}",
        "to_cancel": "do nothing: nothing was changed",
    }
    return answer


def _impact(service: Service, row: RowMapping, found: Survey, mode: Mode) -> RefreshImpact:
    full = mode == "full"
    size = found.bytes if full else found.waiting_bytes
    price = price_of(service, row["cluster_id"])
    seconds = pace_of(service, row["id"], price.workers).seconds(size)
    return RefreshImpact(
        files_to_process=_to_load(found, mode),
        files_skipped=0 if full else found.loaded,
        estimated_data_size_gb=round(size / GB, 6),
        estimated_cost_usd=round(price.of(seconds), 4),
        estimated_duration_minutes=round(seconds / 60, 2),
    )


def _to_load(found: Survey, mode: Mode) -> int:
    """How many files the run would load."""
    return found.files - found.young if mode == "full" else found.waiting


def _warnings(
    table: TableName, found: Survey, mode: Mode, others: Sequence[str], going: Sequence[str], *, force: bool
) -> list[str]:
    told = [f"the table {table} is dropped with all its rows; until the run has ended it is not complete"]
    if others:
        what = "which will fail until they are refreshed too" if force else "so it is dropped only with force=true"
        told.append(f"{', '.join(others)} loads into the table too, {what}")
    if going:
        told.append(f"run {going[0]} is going: it is cancelled")
    if mode == "new_only" and found.loaded:
        told.append(f"the rows of {found.loaded} files that were loaded before do not come back")
    if mode == "full" and found.gone:
        told.append(f"{found.gone} files that were loaded are no longer at the source: their rows do not come back")
    if found.unreadable:
        told.append(f"{found.unreadable} files cannot be read by their names and will fail")
    if found.young:
        told.append(f"{found.young} files are newer than source.min_age_seconds lets them be: a later run loads them")
    if not _to_load(found, mode):
        told.append("there is nothing to load, so there will be no table")
    return told
