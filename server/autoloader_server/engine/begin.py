"""A run becomes `running`: under a lease, and as the only one of its ingestion."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, literal, select, update

from autoloader_sdk.models import FINISHED, IngestionCreate, Limits, RunStatus
from autoloader_server.db.clock import now
from autoloader_server.db.engine import Database
from autoloader_server.db.locks import lock_ingestion_of_run
from autoloader_server.db.tables import ingestions, runs
from autoloader_server.engine import run_record
from autoloader_server.engine.lease import Lease, owner_is_dead
from autoloader_server.engine.run_log import say
from autoloader_server.engine.work import Work

if TYPE_CHECKING:
    from autoloader_server.service import Service


def new_lease(service: Service, run_id: str) -> Lease:
    settings = service.settings
    return Lease(service.database, run_id, seconds=settings.lease_seconds, renew_seconds=settings.lease_renew_seconds)


def begin(service: Service, run_id: str, lease: Lease) -> Work | None:
    """Take the run from the queue, unless a live one of the same ingestion is going."""
    with service.database.write() as connection:
        lock_ingestion_of_run(connection, run_id)
        ingestion_id = connection.execute(
            select(runs.c.ingestion_id).where(runs.c.id == run_id, runs.c.status == RunStatus.QUEUED)
        ).scalar()
        if ingestion_id is None or live_run(connection, service.database, ingestion_id, run_id, lease) is not None:
            return None
        return start(connection, service, run_id, lease)


def live_run(connection: Connection, database: Database, ingestion_id: str, run_id: str, lease: Lease) -> str | None:
    """The id of the run of this ingestion that a live worker is at; those of dead workers are ended.

    The run `run_id` itself counts where another lease than `lease` is alive on it, and is not ended.
    The ingestion is locked by the caller.
    """
    going = connection.execute(
        select(
            runs.c.id,
            runs.c.lease_owner,
            (runs.c.lease_expires_at < database.clock).label("expired"),
        ).where(
            runs.c.ingestion_id == ingestion_id,
            runs.c.status == RunStatus.RUNNING,
            runs.c.lease_token.is_distinct_from(lease.token),
        )
    ).all()
    for other in going:
        if not (other.expired or owner_is_dead(other.lease_owner)):
            return str(other.id)
    for other in going:
        if other.id != run_id:
            run_record.end_dead(connection, other.id)
    return None


def start(connection: Connection, service: Service, run_id: str, lease: Lease) -> Work:
    """Make the run `running` under this lease, also one that was begun before. The caller holds its ingestion."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).one()
    ingestion = connection.execute(select(ingestions).where(ingestions.c.id == row.ingestion_id)).one()
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            status=RunStatus.RUNNING,
            step="starting",
            started_at=func.coalesce(runs.c.started_at, literal(now(), runs.c.started_at.type)),
            ended_at=None,
            message=None,
            cancel_requested=row.cancel_requested and row.status not in FINISHED,
            generation=ingestion.generation,
            **lease.columns(),
        )
    )
    say(connection, run_id, f"started ({row.trigger})")
    spec = IngestionCreate.model_validate(ingestion.spec)
    return Work(
        # While its server is away a run waits, for as long as its lease lasts.
        database=service.database.for_rows_of(ingestion.tenant_id).patient(lease.seconds),
        sessions=service.spark_of(ingestion.cluster_id),
        home=service.settings.home,
        ledger_id=service.ledger_id,
        run_id=run_id,
        ingestion_id=ingestion.id,
        generation=ingestion.generation,
        spec=spec,
        limits=limits_of(service, spec),
        lease=lease,
        created_at=ingestion.created_at,
        credentials=partial(service.credentials_of, ingestion.credentials),
        retry_of=row.retry_of,
        deleted=ingestion.deleted_at is not None,
        closing=service.closing,
        check_beside_bytes=service.settings.check_beside_bytes,
    )


def limits_of(service: Service, spec: IngestionCreate) -> Limits:
    """What the ingestion says, and the service's settings for the rest."""
    settings = {name: getattr(service.settings, name) for name in Limits.model_fields}
    return Limits.model_validate(settings | (spec.limits.wire() if spec.limits is not None else {}))
