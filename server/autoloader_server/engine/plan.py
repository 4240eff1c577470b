"""What a run that started now would do about each file, by the rules that it follows; nothing is written, and no Spark.

What is in a file is not looked at: one that is to be loaded may still be found to be bad.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, select

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_sdk.discovery.listing import list_source
from autoloader_sdk.discovery.store import Store
from autoloader_sdk.models import FileStatus, IngestionCreate, PlanAction
from autoloader_server.db.clock import now
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import processed_files
from autoloader_server.engine import ledger
from autoloader_server.engine.discover import Rules, in_range, judge, without_twins

_FILES = processed_files.c
_COLUMNS = (
    *(_FILES.id, _FILES.path, _FILES.identity, _FILES.status, _FILES.reason, _FILES.size, _FILES.etag),
    *(_FILES.modified_at, _FILES.run_id, _FILES.batch_id, _FILES.first_seen_at, _FILES.loaded_at, _FILES.attempts),
)
_ROWS = 10_000
_BEGUN = "begun"


class Planned(NamedTuple):
    """One file, what would be done about it, and why: `reason` is one of few phrases, `detail` is of this file."""

    entry: Entry
    action: PlanAction
    reason: str
    detail: str | None = None


class Ledger(NamedTuple):
    """What is on record of one ingestion. `table_id`: the table that it loads into, None where none is known yet."""

    database: Database
    ingestion_id: str
    table_id: str | None
    most_attempts: int


def plan(known: Ledger | None, store: Store, spec: IngestionCreate, created_at: datetime) -> Iterator[Planned]:
    """Each file at the source, as it is listed; then those that wait in the ledger and are not there any more.

    Without a ledger, all are new. Raises discovery's SourceError, which names the folder.
    """
    rules = Rules.of(spec, store.root, created_at)
    moment = now()
    waiting: set[int] = set()
    before: set[str] = set()
    for page in list_source(store, pattern=spec.source.file_pattern):
        # A store may list an object once more where one lister carries on for another.
        entries = [entry for entry in page if entry.path not in before]
        before = {entry.path for entry in page}
        if known is None:
            yield from (_unknown(entry, (), rules) for entry in without_twins(store, entries, {}))
        elif entries:
            yield from _page(known, store, entries, rules, moment, waiting)
    if known is not None:
        yield from _gone(known, moment, waiting)


def _page(
    known: Ledger, store: Store, page: list[Entry], rules: Rules, moment: datetime, waiting: set[int]
) -> list[Planned]:
    """What becomes of a page; `waiting` is given the ids of the versions that wait."""
    waits = ledger.waits(known.most_attempts, moment).label("waits")
    with known.database.read() as connection:
        rows = connection.execute(select(*_COLUMNS, waits).where(*in_range(known.ingestion_id, page))).mappings()
        there = {row["path"]: row for row in rows}
        versions = {path: row["identity"] for path, row in there.items()}
        recorded = [entry for entry in page if versions.get(entry.path) == identity(entry)]
        unknown = [entry for entry in page if versions.get(entry.path) != identity(entry)]
        planned = [_recorded(entry, there[entry.path]) for entry in recorded]
        for entry in without_twins(store, unknown, versions):
            row = there.get(entry.path)
            if row is not None and ledger.in_batch(row["status"], row["batch_id"]):
                planned.append(_recorded(entry, row))
            else:
                loaded = ledger.loaded_versions(connection, known.ingestion_id, entry.path) if row is not None else ()
                planned.append(_unknown(entry, loaded, rules))
        listed = {each.entry.path for each in planned}
        waiting.update(row["id"] for path, row in there.items() if row["waits"] and path in listed)
        return list(_without_others(connection, known, planned))


def _unknown(entry: Entry, loaded: Sequence[str], rules: Rules) -> Planned:
    """A version that the ledger does not know; `loaded` are the path's versions in the table."""
    status, reason = judge(entry, loaded, rules)
    versions = f"{loaded[0]} → {identity(entry)}" if loaded else None
    match status:
        case FileStatus.DISCOVERED:
            return Planned(entry, PlanAction.LOAD, "changed" if loaded else "new", versions)
        case FileStatus.HELD:
            return Planned(entry, PlanAction.HOLD, "changed", versions)
        case FileStatus.FAILED:
            return Planned(entry, PlanAction.FAIL, "unreadable name", reason)
    return Planned(entry, PlanAction.SKIP, reason or "")


def _recorded(entry: Entry, row: RowMapping) -> Planned:
    """A version that the ledger knows, or one whose path is in a batch that has not ended."""
    match row["status"]:
        case FileStatus.DISCOVERED:
            return Planned(entry, PlanAction.LOAD, "waits", f"since {_at(row['first_seen_at'])}")
        case FileStatus.PROCESSING:
            return Planned(entry, PlanAction.LOAD, _BEGUN, f"run {row['run_id']} loads it, or died while it did")
        case FileStatus.FAILED:
            last = f"{row['attempts']} ×, last: {row['reason']}" if row["attempts"] else row["reason"]
            return Planned(entry, PlanAction.LOAD if row["waits"] else PlanAction.SKIP, "failed before", last)
        case FileStatus.HELD if row["batch_id"] is not None:
            return Planned(entry, PlanAction.HOLD, "its batch is held", f"batch {row['batch_id']}: {row['reason']}")
        case FileStatus.HELD:
            return Planned(entry, PlanAction.HOLD, "changed", row["reason"])
        case FileStatus.SUCCESS:
            at = f"on {_at(row['loaded_at'])} by run {row['run_id']}"
            return Planned(entry, PlanAction.SKIP, "loaded before", at)
    return Planned(entry, PlanAction.SKIP, row["reason"] or str(row["status"]).lower())


def _without_others(connection: Connection, known: Ledger, planned: list[Planned]) -> Iterator[Planned]:
    """What another ingestion brings into the same table is left to it."""
    claimed = [each.entry.path for each in planned if each.action == PlanAction.LOAD and each.reason != _BEGUN]
    theirs: dict[str, str] = {}
    if claimed and known.table_id is not None:
        loaded, loading = ledger.elsewhere(connection, known.ingestion_id, known.table_id, claimed)
        theirs = loading | loaded
    for each in planned:
        if each.entry.path in theirs:
            yield Planned(each.entry, PlanAction.SKIP, "left to another ingestion", theirs[each.entry.path])
        else:
            yield each


def _gone(known: Ledger, moment: datetime, listed: set[int]) -> Iterator[Planned]:
    """Versions that a run would take up, and that were not listed."""
    query = (
        select(*_COLUMNS)
        .where(_FILES.ingestion_id == known.ingestion_id, _FILES.current, ledger.waits(known.most_attempts, moment))
        .order_by(_FILES.id)
        .limit(_ROWS)
    )
    last = 0
    while True:
        with known.database.read() as connection:
            rows = connection.execute(query.where(_FILES.id > last)).mappings().all()
        for row in rows:
            last = row["id"]
            if last not in listed:
                entry = Entry(row["path"], row["size"], int(row["modified_at"].timestamp() * 1e9), row["etag"])
                waits = f"it waits since {_at(row['first_seen_at'])}"
                yield Planned(entry, PlanAction.FAIL, "not there any more", waits)
        if len(rows) < _ROWS:
            return


def _at(moment: datetime | None) -> str:
    return "an unknown day" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
