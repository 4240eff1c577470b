"""Compare what is in the source with what the ledger knows, page by page, and write down what is new.

The listing comes in the order of its paths' bytes, so the ledger is read in ranges of the same order: a page of paths
and the rows between its first and its last, joined in memory. Memory stays flat, and a listing in any other order would
still be compared rightly (its pages only span wider ranges).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, select, update

from autoloader_sdk.discovery.classify import skip_reason
from autoloader_sdk.discovery.entries import Entry, below, identity
from autoloader_sdk.discovery.listing import list_source
from autoloader_sdk.discovery.store import LocalStore, Store
from autoloader_sdk.models import FileStatus, IngestionCreate
from autoloader_server.db.bulk import insert_many
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import processed_files
from autoloader_server.engine import ledger
from autoloader_server.engine.errors import DATA_MALFORMED

_NANO = 1_000_000_000
TOO_YOUNG = "written again, less than source.min_age_seconds ago"
_NONE = "none any more"  # no version has this identity
_TO_BE_LOADED = (FileStatus.DISCOVERED, FileStatus.FAILED)


@dataclass(slots=True)
class Found:
    """Counts of one comparison, files."""

    listed: int = 0
    new: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    changed: int = 0
    """Of the new ones those that were loaded before, with other content."""
    held: int = 0
    skipped: int = 0
    young: set[str] = field(default_factory=set)
    """The files that are left alone, since they were written a moment ago."""


class _Known(NamedTuple):
    path: str
    identity: str
    status: str
    id: int
    ordinal: int
    batch_id: str | None

    @property
    def in_batch(self) -> bool:
        return ledger.in_batch(self.status, self.batch_id)


def discover(
    database: Database,
    ingestion_id: str,
    store: Store,
    spec: IngestionCreate,
    created_at: datetime,
    hold: Callable[[Connection], None],
) -> Found:
    """Write the source's new file versions into the ledger. Raises discovery's SourceError, which names the folder.

    `hold` is asked in each transaction that writes, and raises where the run is not ours any more: a listing of before
    would make old versions new again.
    """
    found = Found()
    rules = Rules.of(spec, store.root, created_at)
    for page in list_source(store, pattern=spec.source.file_pattern):
        found.listed += len(page)
        with database.read() as connection:
            seen = identities(connection, ingestion_id, page)
        unknown = [entry for entry in page if seen.get(entry.path) != identity(entry)]
        unknown = without_twins(store, unknown, seen)
        if not unknown:
            continue
        with database.write() as connection:
            hold(connection)
            # Read again under the lock that `hold` takes: another worker may have listed the same page.
            known = _known(connection, ingestion_id, page)
            _write(connection, ingestion_id, unknown, known, rules, found)
    return found


def without_twins(store: Store, unknown: list[Entry], seen: dict[str, str]) -> list[Entry]:
    """The entries without those of an object `dir/` that is listed as `dir`, beside a real object of that name.

    Only what contradicts another entry, or the ledger, is looked at by itself: what it is then is what counts.
    """
    times = Counter(entry.path for entry in unknown)
    doubtful = [path for path, count in times.items() if count > 1 or path in seen]
    if not doubtful or isinstance(store, LocalStore):
        return unknown
    real = dict(zip(doubtful, store.stat_all(doubtful), strict=True))
    sure = [entry for entry in unknown if entry.path not in real]
    return sure + [
        found if isinstance(found, Entry) else next(entry for entry in unknown if entry.path == path)
        for path, found in real.items()
        if not isinstance(found, Entry) or seen.get(path) != identity(found)
    ]


def identities(connection: Connection, ingestion_id: str, page: list[Entry]) -> dict[str, str]:
    """The current identity of each path that the ledger knows in the page's range."""
    rows = connection.execute(
        select(processed_files.c.path, processed_files.c.identity).where(*in_range(ingestion_id, page))
    )
    return dict(rows.tuples().all())


def _known(connection: Connection, ingestion_id: str, page: list[Entry]) -> dict[str, _Known]:
    files = processed_files.c
    rows = connection.execute(
        select(files.path, files.identity, files.status, files.id, files.ordinal, files.batch_id).where(
            *in_range(ingestion_id, page)
        )
    )
    return {row[0]: _Known(*row) for row in rows}


def in_range(ingestion_id: str, page: list[Entry]) -> tuple[ColumnElement[bool], ...]:
    """The current versions from the least path of a page to its greatest."""
    files = processed_files.c
    paths = [entry.path for entry in page]
    low, high = min(paths), max(paths)
    # Not BETWEEN: there PostgreSQL takes no COLLATE, which SQLAlchemy writes behind each value.
    return files.ingestion_id == ingestion_id, files.path >= low, files.path <= high, files.current


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes a listed file one that is not to be loaded, or not yet."""

    root: str
    modified_after_ns: int | None
    existing_until_ns: int | None
    young_ns: tuple[int, int] | None
    hold_changed: bool

    @classmethod
    def of(cls, spec: IngestionCreate, root: str, created_at: datetime) -> Rules:
        after = spec.source.modified_after
        age, at = spec.source.min_age_seconds * _NANO, time.time_ns()
        return cls(
            root=root,
            modified_after_ns=int(after.timestamp() * _NANO) if after else None,
            young_ns=(at - age, at + age) if age else None,
            hold_changed=spec.source.on_changed_file == "hold",
            existing_until_ns=None if spec.source.include_existing else int(created_at.timestamp() * _NANO),
        )

    def too_young(self, entry: Entry) -> bool:
        """Whether a file that is data was written so short a time ago that it may not be whole yet.

        One that is dated further into the future was not: else it would never be loaded.
        """
        if self.young_ns is None or not self.young_ns[0] < entry.modified_ns <= self.young_ns[1]:
            return False
        return entry.problem is None and self.skip(entry) is None

    def skip(self, entry: Entry) -> str | None:
        return skip_reason(
            below(self.root, entry.path),
            entry.size,
            entry.modified_ns,
            modified_after_ns=self.modified_after_ns,
            existing_until_ns=self.existing_until_ns,
        )


def _write(
    connection: Connection,
    ingestion_id: str,
    entries: list[Entry],
    known: dict[str, _Known],
    rules: Rules,
    found: Found,
) -> None:
    rows: list[dict[str, Any]] = []
    loaded_before = ledger.loaded_of(connection, ingestion_id, [e.path for e in entries if e.path in known])
    # By another rule than to hold them, what is held is loaded as well.
    taken_up = _TO_BE_LOADED if rules.hold_changed else (*_TO_BE_LOADED, FileStatus.HELD)
    for entry in entries:
        before = known.get(entry.path)
        version = identity(entry)
        # A file that is in a batch is looked at again before that is published.
        if before is not None and (before.identity == version or before.in_batch):
            continue
        if rules.too_young(entry):
            found.young.add(entry.path)
            if before is not None and before.status in taken_up:
                # It would be read as what it is now. Should its content come back, that is new to the ledger.
                left = {"status": FileStatus.SKIPPED, "reason": TOO_YOUNG, "retryable": False, "identity": _NONE}
                connection.execute(update(processed_files).where(processed_files.c.id == before.id).values(**left))
            continue
        loaded = loaded_before.get(entry.path, [])
        changed = bool(loaded)
        status, reason = judge(entry, loaded, rules)
        if before is not None:
            connection.execute(
                update(processed_files).where(processed_files.c.id == before.id).values(**_superseded(before))
            )
        rows.append(
            {
                "ingestion_id": ingestion_id,
                "ordinal": before.ordinal + 1 if before else 1,
                "status": status,
                "reason": reason,
                "category": DATA_MALFORMED if status == FileStatus.FAILED else None,
                **ledger.listed(entry),
            }
        )
        match status:
            case FileStatus.DISCOVERED:
                found.new += 1
                found.changed += changed
            case FileStatus.HELD:
                found.held += 1
            case FileStatus.SKIPPED:
                found.skipped += 1
            case _:
                found.unreadable.append((entry.path, reason or ""))
    if rows:
        insert_many(connection, processed_files, list(rows[0]), [list(row.values()) for row in rows])


def judge(entry: Entry, loaded: Sequence[str], rules: Rules) -> tuple[FileStatus, str | None]:
    """What a version is that the ledger does not know; `loaded` are the path's versions in the table."""
    if (skipped := rules.skip(entry)) is not None:
        return FileStatus.SKIPPED, skipped
    if entry.problem is not None:
        return FileStatus.FAILED, entry.problem
    if identity(entry) in loaded:
        return FileStatus.SKIPPED, ledger.LOADED_BEFORE
    if loaded and rules.hold_changed:
        return (
            FileStatus.HELD,
            f"changed after it was loaded ({loaded[0]} → {identity(entry)}): held back, so that no row is there twice",
        )
    return FileStatus.DISCOVERED, None


def _superseded(before: _Known) -> dict[str, Any]:
    """A version that was never loaded ends here; one that is in the table stays SUCCESS."""
    values: dict[str, Any] = {"current": False}
    if before.status != FileStatus.SUCCESS:
        values |= {"status": FileStatus.SKIPPED, "reason": f"superseded by a newer version (was {before.status})"}
    return values
