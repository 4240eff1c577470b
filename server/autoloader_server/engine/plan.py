"""What a run that started now would do about each file, by the rules that it follows; nothing is written, and no Spark.

What is in a file is not looked at: one that is to be loaded may still be found to be bad.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, not_, or_, select

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_sdk.discovery.listing import list_source
from autoloader_sdk.discovery.store import LocalStore, Store
from autoloader_sdk.models import FileStatus, IngestionCreate, PlanAction
from autoloader_server.db.clock import now, shown
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import batches, processed_files
from autoloader_server.engine import ledger
from autoloader_server.engine.batch_record import Verdict
from autoloader_server.engine.discover import Rules, in_range, judge, without_twins

_FILES = processed_files.c
_COLUMNS = (
    *(_FILES.id, _FILES.path, _FILES.identity, _FILES.status, _FILES.reason, _FILES.size, _FILES.etag),
    *(_FILES.modified_at, _FILES.run_id, _FILES.batch_id, _FILES.first_seen_at, _FILES.loaded_at, _FILES.attempts),
)
_ROWS = 5_000
_BEGUN = "begun"
_HIDDEN_FOLDER = "hidden folder"


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


def plan(known: Ledger, store: Store, spec: IngestionCreate, created_at: datetime) -> Iterator[Planned]:
    """Each file at the source, as it is listed; then those that the ledger has to load and that were not listed.

    Raises discovery's SourceError, which names the folder.
    """
    rules = Rules.of(spec, store.root, created_at)
    moment = now()
    taken_up: set[int] = set()
    with known.database.read() as connection:
        # What a run that begins meanwhile finds is in the listing, too.
        newest = connection.execute(select(func.max(_FILES.id))).scalar() or 0
    for page in _each_once(store, list_source(store, pattern=spec.source.file_pattern)):
        yield from _page(known, store, page, rules, moment, taken_up)
    yield from _not_listed(known, store, rules, moment, taken_up, newest)


def _each_once(store: Store, pages: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
    """The pages without what a store lists once more, where one lister carries on for another.

    Of an object store 8 bytes of each path are kept, some 60 MB for a million of them.
    """
    if isinstance(store, LocalStore):
        yield from pages
        return
    seen: set[int] = set()
    for page in pages:
        # Of `dir` and `dir/` on one page, which look alike, both are passed on: `without_twins` tells them apart.
        fresh = [entry for entry in page if hash(entry.path) not in seen]
        seen.update(hash(entry.path) for entry in fresh)
        if fresh:
            yield fresh


def _page(
    known: Ledger, store: Store, page: list[Entry], rules: Rules, moment: datetime, taken_up: set[int]
) -> list[Planned]:
    """What becomes of a page; `taken_up` is given the ids of the versions that a run would take up."""
    there = _recorded_on(known, page, rules, moment)
    versions = {path: row["identity"] for path, row in there.items()}
    unknown = [entry for entry in page if versions.get(entry.path) != identity(entry)]
    # The store may be asked for it, and that takes its time: outside of a transaction.
    real = without_twins(store, unknown, versions)
    in_batch = {entry.path: entry for entry in real if (row := there.get(entry.path)) is not None and _in_batch(row)}
    changed = [entry.path for entry in real if entry.path in there]
    judged = [entry for entry in real if entry.path not in in_batch]
    recorded = {entry.path: entry for entry in page if versions.get(entry.path) == identity(entry)}
    planned = [_recorded(entry, there[path], rules) for path, entry in recorded.items()]
    planned += [_recorded(entry, there[path], rules) for path, entry in in_batch.items()]
    with known.database.read() as connection:
        loaded = ledger.loaded_of(connection, known.ingestion_id, changed)
        planned += [_unknown(entry, loaded.get(entry.path, ()), rules) for entry in judged]
        planned = list(_without_others(connection, known, planned))
    listed = {each.entry.path for each in planned}
    taken_up.update(row["id"] for path, row in there.items() if row["waits"] and path in listed)
    return planned


def _recorded_on(known: Ledger, page: list[Entry], rules: Rules, moment: datetime) -> dict[str, RowMapping]:
    """The current versions of a page's paths. A range of paths is read narrow, and of it those that are listed."""
    listed = {entry.path for entry in page}
    with known.database.read() as connection:
        narrow = select(_FILES.path, _FILES.id).where(*in_range(known.ingestion_id, page))
        ids = [row.id for row in connection.execute(narrow) if row.path in listed]
        found: dict[str, RowMapping] = {}
        for part in ledger.parts(ids):
            rows = connection.execute(_rows(known, rules, moment).where(_FILES.id.in_(part))).mappings()
            found.update((row["path"], row) for row in rows)
        return found


def _rows(known: Ledger, rules: Rules, moment: datetime) -> Select[Any]:
    """Versions as they are judged here: `waits` says whether a run would take them up."""
    waits = _waits(known, rules, moment).label("waits")
    return select(*_COLUMNS, batches.c.verdict, waits).outerjoin(batches, batches.c.id == _FILES.batch_id)


def _waits(known: Ledger, rules: Rules, moment: datetime) -> ColumnElement[bool]:
    """Whether a run takes a version up, or makes an end of the batch that it is in."""
    dropped = batches.c.verdict.is_not_distinct_from(Verdict.DROPPED)
    begun = and_(_FILES.status == FileStatus.PROCESSING, not_(dropped))
    return or_(ledger.waits(known.most_attempts, moment, hold_changed=rules.hold_changed), begun)


def _unknown(entry: Entry, loaded: Sequence[str], rules: Rules) -> Planned:
    """A version that the ledger does not know; `loaded` are the path's versions in the table."""
    if rules.too_young(entry):
        return Planned(entry, PlanAction.HOLD, "too new", f"source.min_age_seconds; written {shown(entry.modified_at)}")
    status, reason = judge(entry, loaded, rules)
    versions = f"{loaded[0]} → {identity(entry)}" if loaded else None
    match status:
        case FileStatus.DISCOVERED:
            return Planned(entry, PlanAction.LOAD, "changed" if loaded else "new", versions)
        case FileStatus.HELD:
            return Planned(entry, PlanAction.HOLD, "changed", versions)
        case FileStatus.FAILED:
            return Planned(entry, PlanAction.FAIL, "unreadable name", reason)
    return _skipped(entry, reason)


def _recorded(entry: Entry, row: RowMapping, rules: Rules | None) -> Planned:
    """A version that the ledger knows, or one whose path is in a batch that has not ended."""
    match row["status"]:
        case FileStatus.DISCOVERED:
            return Planned(entry, PlanAction.LOAD, "waits", f"since {shown(row['first_seen_at'])}")
        case FileStatus.PROCESSING if row["verdict"] == Verdict.DROPPED:
            return Planned(entry, PlanAction.SKIP, "left out before", row["reason"])
        case FileStatus.PROCESSING:
            return Planned(entry, PlanAction.LOAD, _BEGUN, f"run {row['run_id']} loads it, or died while it did")
        case FileStatus.FAILED:
            last = f"{row['attempts']} ×, last: {row['reason']}" if row["attempts"] else row["reason"]
            return Planned(entry, PlanAction.LOAD if row["waits"] else PlanAction.SKIP, "failed before", last)
        case FileStatus.HELD if row["batch_id"] is not None:
            return Planned(entry, PlanAction.HOLD, "its batch is held", f"batch {row['batch_id']}: {row['reason']}")
        case FileStatus.HELD:
            return Planned(entry, PlanAction.LOAD if row["waits"] else PlanAction.HOLD, "changed", row["reason"])
        case FileStatus.SUCCESS:
            at = f"on {shown(row['loaded_at'])} by run {row['run_id']}"
            return Planned(entry, PlanAction.SKIP, "loaded before", at)
    if rules is not None and (reason := rules.skip(entry)) is not None:
        return _skipped(entry, reason)
    return Planned(entry, PlanAction.SKIP, "left out before", row["reason"] or str(row["status"]).lower())


def _skipped(entry: Entry, reason: str | None) -> Planned:
    reason = reason or ""
    if reason == ledger.LOADED_BEFORE:
        return Planned(entry, PlanAction.SKIP, "loaded before", reason)
    # The folder's name is not one of few phrases.
    if reason.startswith(_HIDDEN_FOLDER):
        return Planned(entry, PlanAction.SKIP, _HIDDEN_FOLDER, reason)
    return Planned(entry, PlanAction.SKIP, reason)


def _in_batch(row: RowMapping) -> bool:
    """Whether a batch holds it that a run has to end before it looks at the source. One that was dropped lets it go."""
    return ledger.in_batch(row["status"], row["batch_id"]) and row["verdict"] != Verdict.DROPPED


def _without_others(connection: Connection, known: Ledger, planned: list[Planned]) -> Iterator[Planned]:
    """What another ingestion brings into the same table is left to it."""
    claimed = [each.entry.path for each in planned if each.action == PlanAction.LOAD and each.reason != _BEGUN]
    theirs: Mapping[str, str] = {}
    if claimed and known.table_id is not None:
        loaded, loading = ledger.elsewhere(connection, known.ingestion_id, known.table_id, claimed)
        theirs = loading | loaded
    for each in planned:
        if each.entry.path in theirs:
            yield Planned(each.entry, PlanAction.SKIP, "left to another ingestion", theirs[each.entry.path])
        else:
            yield each


def _not_listed(
    known: Ledger, store: Store, rules: Rules, moment: datetime, listed: set[int], newest: int
) -> Iterator[Planned]:
    """Versions that a run would take up and that were not listed: gone, or the pattern was another one before."""
    query = (
        _rows(known, rules, moment)
        .where(
            _FILES.ingestion_id == known.ingestion_id, _FILES.current, _FILES.id <= newest, _waits(known, rules, moment)
        )
        .order_by(_FILES.id)
        .limit(_ROWS)
    )
    last = 0
    while True:
        with known.database.read() as connection:
            rows = connection.execute(query.where(_FILES.id > last)).mappings().all()
        left = [row for row in rows if row["id"] not in listed]
        found = store.stat_all([row["path"] for row in left]) if left else []
        planned = [_known_alone(row, one) for row, one in zip(left, found, strict=True)]
        with known.database.read() as connection:
            planned = list(_without_others(connection, known, planned))
        yield from planned
        if len(rows) < _ROWS:
            return
        last = rows[-1]["id"]


def _known_alone(row: RowMapping, found: Entry | OSError) -> Planned:
    """A version that was not listed; `found` is what is there under its path."""
    if isinstance(found, Entry):
        return _recorded(found, row, None)
    modified = row["modified_at"] or datetime.fromtimestamp(0, UTC)
    recorded = Entry(row["path"], row["size"] or 0, int(modified.timestamp() * 1e9), row["etag"])
    gone = isinstance(found, FileNotFoundError | NotADirectoryError)
    if gone and row["status"] != FileStatus.PROCESSING:
        since = f"it waits since {shown(row['first_seen_at'])}"
        return Planned(recorded, PlanAction.FAIL, "not there any more", since)
    return _recorded(recorded, row, None)
