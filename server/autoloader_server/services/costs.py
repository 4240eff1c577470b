"""What an ingestion would cost a month, from the files that are there, the cluster's price, and its own runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

from cronsim import CronSim, CronSimError
from sqlalchemy import RowMapping, select

from autoloader_sdk.models import CostBreakdown, IngestionCreate, Schedule
from autoloader_server.db.clock import now
from autoloader_server.db.tables import ingestions
from autoloader_server.engine.place import Place
from autoloader_server.engine.survey import Survey, survey
from autoloader_server.services.acceptance import faults_of
from autoloader_server.services.errors import Invalid
from autoloader_server.services.ingestions import row_of
from autoloader_server.services.pricing import GB, Pace, Price, pace_of, price_of
from autoloader_server.services.sources import listed, place_of, place_of_saved
from autoloader_server.settings import LOCAL_CLUSTER

if TYPE_CHECKING:
    from autoloader_server.service import Service

DAYS_PER_MONTH = 365 / 12
# Objects that one request of a store lists.
_LISTED_AT_ONCE = 1_000
# A schedule's fires are counted from here, for so long, and so many at most.
_COUNTED_FROM = datetime(2023, 1, 1, tzinfo=UTC)
_COUNTED = timedelta(days=364)
_COUNTED_FIRES = 10_000


def estimate_cost(service: Service, body: IngestionCreate) -> CostBreakdown:
    """The cost of an ingestion, US dollars; nothing is saved, and no Spark is started.

    Raises Invalid where it could not be made, or its source cannot be listed.
    """
    faults = faults_of(body, service.database.tenant)
    if faults:
        raise Invalid(faults)
    with listed():
        place = place_of(service, body)
    same = _same(service, body)
    return _estimate(service, body, place, now(), same["id"] if same is not None else None)


def estimate_saved(service: Service, ingestion_id: str) -> CostBreakdown:
    """The same of one that is there. Raises NotFound, Invalid where its source cannot be listed."""
    with service.database.read() as connection:
        row = row_of(connection, ingestion_id)
    spec = IngestionCreate.model_validate(row["spec"])
    with listed():
        place = place_of_saved(service, spec, row)
    return _estimate(service, spec, place, row["created_at"], ingestion_id)


def _estimate(
    service: Service, body: IngestionCreate, place: Place, created_at: datetime, ingestion_id: str | None
) -> CostBreakdown:
    """`created_at`: when it was made, for what was there before; `ingestion_id`: whose runs tell the pace."""
    with listed():
        found = survey(service.database, None, place.store, body, created_at)
    price = price_of(service, body.cluster_id)
    pace = pace_of(service, ingestion_id, price.workers)
    runs = runs_per_month(body.schedule)
    per_run = found.recent_bytes / runs if runs else float(found.bytes)
    seconds = pace.seconds_per_run + per_run / pace.bytes_per_second
    ratio = 1.0 if pace.bytes_written is None else pace.bytes_written
    stored_gb = found.bytes * ratio / GB
    free_disk = price.cluster_id == LOCAL_CLUSTER and body.source.type == "local"
    storage_price = 0.0 if free_disk else service.settings.storage_usd_per_gb_month
    list_price = 0.0 if body.source.type == "local" else service.settings.list_usd_per_1000_requests
    requests = ceil(found.listed / _LISTED_AT_ONCE) or 1
    compute = price.of(seconds)
    compute_monthly = compute * runs
    storage = stored_gb * storage_price
    discovery = requests * runs * list_price / 1000
    details: dict[str, Any] = {
        **_source_terms(found, runs, per_run),
        **_pace_terms(pace, seconds),
        **_price_terms(price),
        "table_bytes_per_source_byte": ratio,
        "table_bytes_basis": "its own runs" if pace.bytes_written is not None else "assumed: as large as the files",
        "stored_gb": stored_gb,
        "storage_usd_per_gb_month": storage_price,
        "list_requests_per_run": requests,
        "list_usd_per_1000_requests": list_price,
        "first_load_seconds": pace.seconds(found.bytes),
        "first_load_usd": price.of(pace.seconds(found.bytes)),
        "ingestion_id": ingestion_id,
        "formulas": FORMULAS,
    }
    return CostBreakdown(
        compute_per_run=compute,
        compute_monthly=compute_monthly,
        storage_monthly=storage,
        discovery_monthly=discovery,
        total_monthly=compute_monthly + storage + discovery,
        breakdown_details=details,
    )


FORMULAS = {
    "usd_per_hour": "dbu_rate * dbu_per_worker * workers",
    "bytes_per_run": "bytes_last_30_days / runs_per_month; without a schedule all bytes at the source",
    "seconds_per_run": "seconds_beside_reading + bytes_per_run / bytes_per_second",
    "compute_per_run": "usd_per_hour * seconds_per_run / 3600",
    "compute_monthly": "compute_per_run * runs_per_month",
    "stored_gb": "bytes_at_source * table_bytes_per_source_byte / 10**9",
    "storage_monthly": "stored_gb * storage_usd_per_gb_month",
    "list_requests_per_run": "entries_at_source / 1000, rounded up",
    "discovery_monthly": "list_requests_per_run * runs_per_month * list_usd_per_1000_requests / 1000",
    "total_monthly": "compute_monthly + storage_monthly + discovery_monthly",
}


def runs_per_month(schedule: Schedule) -> float:
    """How often a schedule fires in a month, counted over a year at most; 0 where it runs only when asked, or never."""
    if schedule.cron is None:
        return 0.0
    try:
        fires = CronSim(schedule.cron, _COUNTED_FROM)
        first = last = next(fires)
        pauses = 0
        for last in fires:
            pauses += 1
            if pauses == _COUNTED_FIRES or last - first >= _COUNTED:
                break
    except (CronSimError, StopIteration):
        return 0.0  # such as 31 February
    return pauses / ((last - first) / timedelta(days=1)) * DAYS_PER_MONTH


def _source_terms(found: Survey, runs: float, per_run: float) -> dict[str, Any]:
    return {
        "entries_at_source": found.listed,
        "files_at_source": found.files,
        "bytes_at_source": found.bytes,
        "bytes_last_30_days": found.recent_bytes,
        "runs_per_month": runs,
        "bytes_per_run": per_run,
    }


def _pace_terms(pace: Pace, seconds: float) -> dict[str, Any]:
    return {
        "pace_basis": pace.basis,
        "past_runs": pace.runs,
        "seconds_beside_reading": pace.seconds_per_run,
        "bytes_per_second": pace.bytes_per_second,
        "seconds_per_run": seconds,
    }


def _price_terms(price: Price) -> dict[str, Any]:
    return {
        "cluster_id": price.cluster_id,
        "dbu_rate": price.dbu_rate,
        "dbu_per_worker": price.dbu_per_worker,
        "workers": price.workers,
        "usd_per_hour": price.per_hour,
    }


def _same(service: Service, body: IngestionCreate) -> RowMapping | None:
    """The newest ingestion that loads the same files in the same format on the same cluster, if there is one."""
    query = select(ingestions).where(ingestions.c.deleted_at.is_(None)).order_by(ingestions.c.created_at.desc())
    with service.database.read() as connection:
        for row in connection.execute(query).mappings():
            other = IngestionCreate.model_validate(row["spec"])
            if _load_key(other) == _load_key(body):
                return row
    return None


def _load_key(body: IngestionCreate) -> tuple[Any, ...]:
    return body.source.type, body.source.path, body.source.file_pattern, body.format.type, body.cluster_id
