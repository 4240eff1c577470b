"""How long a load takes, from runs that were or else as measured once, and what an hour of its cluster costs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from autoloader_sdk.models import RunStatus
from autoloader_server.db.clock import now
from autoloader_server.db.tables import runs

if TYPE_CHECKING:
    from autoloader_server.service import Service

GB = 10**9
# Measured with CSV and JSON on 2 cores (docs/spark.md); a run with a cold session takes about so long at least.
ASSUMED_BYTES_PER_SECOND = 50_000_000
ASSUMED_SECONDS = 10.0
_LOOKED_AT = 50
_SINCE = timedelta(days=90)
# A smaller run tells nothing of the pace: it is all start and end.
_TELLING_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """A run of n bytes takes `seconds_per_run + n / bytes_per_second`; `basis` says where that comes from.

    `bytes_written` is what the table grows by for each byte that is read; None where no run has told yet.
    """

    seconds_per_run: float
    bytes_per_second: float
    runs: int
    basis: str
    bytes_written: float | None = None

    def seconds(self, size: int) -> float:
        """How long a run over so many bytes takes."""
        return self.seconds_per_run + size / self.bytes_per_second if size else 0.0


@dataclass(frozen=True, slots=True)
class Price:
    """What an hour of a cluster costs, US dollars: the product of its three terms."""

    cluster_id: str
    dbu_rate: float
    dbu_per_worker: float
    workers: int

    @property
    def per_hour(self) -> float:
        return self.dbu_rate * self.dbu_per_worker * self.workers

    def of(self, seconds: float) -> float:
        """What so many seconds cost."""
        return self.per_hour * seconds / 3600


def price_of(service: Service, cluster_id: str | None) -> Price:
    """The price of the cluster that an ingestion with this `cluster_id` runs on; the local one costs nothing."""
    from autoloader_server.services.clusters import find

    known = {each.id: each for each in find(service)}
    cluster = known.get(cluster_id or "") or next(iter(known.values()))
    rate = cluster.pricing.dbu_rate if cluster.pricing is not None else None
    return Price(cluster.id, rate or 0.0, cluster.dbu_per_worker or 0.0, cluster.workers or 0)


def pace_of(service: Service, ingestion_id: str | None, workers: int) -> Pace:
    """From the ingestion's own last runs that loaded something, else as measured, for each worker."""
    past = _past(service, ingestion_id) if ingestion_id is not None else []
    assumed = float(ASSUMED_BYTES_PER_SECOND * max(workers, 1))
    if not past:
        return Pace(ASSUMED_SECONDS, assumed, 0, "assumed: there are no runs of this ingestion yet")
    shortest = min(seconds for _, _, seconds in past)
    size, _, seconds = max(past)
    tells = size >= _TELLING_BYTES and seconds > shortest
    return Pace(
        seconds_per_run=shortest,
        bytes_per_second=size / (seconds - shortest) if tells else assumed,
        runs=len(past),
        basis="its own runs" if tells else "its own runs; the pace is assumed: they were too small to tell it",
        bytes_written=sum(written for _, written, _ in past) / sum(read for read, _, _ in past),
    )


def _past(service: Service, ingestion_id: str) -> list[tuple[int, int, float]]:
    """Bytes read, bytes written, and seconds of its last good runs."""
    query = (
        select(runs.c.bytes_read, runs.c.bytes_written, runs.c.started_at, runs.c.ended_at)
        .where(
            runs.c.ingestion_id == ingestion_id,
            runs.c.status.in_((RunStatus.SUCCESS, RunStatus.PARTIAL)),
            runs.c.bytes_read > 0,
            runs.c.created_at >= now() - _SINCE,
        )
        .order_by(runs.c.created_at.desc())
        .limit(_LOOKED_AT)
    )
    with service.database.read() as connection:
        rows = connection.execute(query).all()
    return [(row.bytes_read, row.bytes_written, (row.ended_at - row.started_at).total_seconds()) for row in rows]
