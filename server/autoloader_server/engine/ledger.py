"""The ledger: each file version and its state, as rows of `processed_files`.

Every function here takes the caller's connection, so that a step of a load is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_sdk.models import FileStatus
from autoloader_server.db.clock import now
from autoloader_server.db.engine import ROWS_PER_TRANSACTION, Database
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine import run_record
from autoloader_server.engine.errors import FileFailure
from autoloader_server.security.redact import redact

# A failed file is tried again after 1, 2, 4, … minutes, an hour at most.
_BACKOFF = timedelta(minutes=1)
_MAX_BACKOFF = timedelta(hours=1)
# Why a version is skipped whose rows are in the table.
LOADED_BEFORE = "it is again what was loaded before: its rows are there"
# Why a version that was loaded is not in the table any more.
REPLACED = "its rows were replaced by those of a newer version"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file version that waits to be loaded, or is being loaded."""

    id: int
    path: str
    identity: str
    size: int


def waiting(connection: Connection, ingestion_id: str, limit: int) -> list[FileVersion]:
    """The next current file versions to load, in the order in which they were found."""
    files = processed_files.c
    rows = connection.execute(
        select(files.id, files.path, files.identity, files.size)
        .where(files.ingestion_id == ingestion_id, files.status == FileStatus.DISCOVERED, files.current)
        .order_by(files.id)
        .limit(limit)
    )
    return [FileVersion(*row) for row in rows]


def count_waiting(connection: Connection, ingestion_id: str) -> int:
    files = processed_files.c
    return connection.execute(
        select(func.count()).where(
            files.ingestion_id == ingestion_id, files.status == FileStatus.DISCOVERED, files.current
        )
    ).scalar_one()


def first_bytes(files: Sequence[FileVersion], most_bytes: int) -> list[FileVersion]:
    """The first files of at most so many bytes; one that is larger by itself comes alone."""
    chosen: list[FileVersion] = []
    total = 0
    for file in files:
        total += file.size
        if chosen and total > most_bytes:
            break
        chosen.append(file)
    return chosen


def take(connection: Connection, files: Sequence[FileVersion], batch_id: str, run_id: str) -> list[FileVersion]:
    """Put those of `files` that still wait into a batch; which these are."""
    columns = processed_files.c
    taken: list[FileVersion] = []
    for part in parts(files):
        still = set(
            connection.execute(
                select(columns.id).where(
                    columns.id.in_([file.id for file in part]),
                    columns.status == FileStatus.DISCOVERED,
                    columns.current,
                )
            ).scalars()
        )
        chosen = [file for file in part if file.id in still]
        taken += chosen
        if chosen:
            connection.execute(
                update(processed_files)
                .where(columns.id.in_([file.id for file in chosen]))
                .values(
                    status=FileStatus.PROCESSING,
                    batch_id=batch_id,
                    run_id=run_id,
                    reason=None,
                    category=None,
                )
            )
    return taken


def files_of(connection: Connection, batch_id: str) -> list[FileVersion]:
    files = processed_files.c
    rows = connection.execute(
        select(files.id, files.path, files.identity, files.size)
        .where(files.batch_id == batch_id, files.status == FileStatus.PROCESSING)
        .order_by(files.id)
    )
    return [FileVersion(*row) for row in rows]


def fail_files(connection: Connection, run_id: str, ingestion_id: str, failures: Sequence[FileFailure]) -> None:
    """Waiting files that cannot be loaded: FAILED, with the reason, counted and listed in the run."""
    moment = now()
    for failure in failures:
        files = processed_files.c
        row = connection.execute(
            select(files.id, files.attempts).where(
                files.ingestion_id == ingestion_id,
                files.path == failure.path,
                files.current,
                files.status.in_((FileStatus.DISCOVERED, FileStatus.FAILED)),
            )
        ).one_or_none()
        if row is None:
            continue
        pause = min(_BACKOFF * 2 ** min(row.attempts, 10), _MAX_BACKOFF)
        connection.execute(
            update(processed_files)
            .where(files.id == row.id)
            .values(
                status=FileStatus.FAILED,
                reason=redact(failure.message),
                category=failure.category,
                retryable=failure.retryable,
                run_id=run_id,
                attempts=files.attempts + 1,
                next_attempt_at=moment + pause if failure.retryable else None,
            )
        )
        run_record.report(connection, run_id, failure.category, failure.message, file=failure.path)


def wait_again(database: Database, ingestion_id: str, run_id: str) -> int:
    """The files that failed in a run, and are still current, wait to be tried once more; how many.

    Whatever their category: somebody has asked for it.
    """
    return _let_wait(database, ingestion_id, FileStatus.FAILED, processed_files.c.run_id == run_id)


def take_up(database: Database, ingestion_id: str, max_attempts: int, *, hold_changed: bool) -> int:
    """Let wait what a run takes up again: failed files whose time has come, and what an earlier rule has held back.

    How many the latter are.
    """
    _let_wait(database, ingestion_id, FileStatus.FAILED, _due(max_attempts, now()))
    return 0 if hold_changed else let_changed_wait(database, ingestion_id)


def waits(max_attempts: int, moment: datetime, *, hold_changed: bool) -> ColumnElement[bool]:
    """Whether a run that begins then, with this rule for changed files, takes a current version up."""
    status = processed_files.c.status
    due = and_(status == FileStatus.FAILED, _due(max_attempts, moment))
    wait = or_(status == FileStatus.DISCOVERED, due)
    return wait if hold_changed else or_(wait, and_(status == FileStatus.HELD, processed_files.c.batch_id.is_(None)))


def _due(max_attempts: int, moment: datetime) -> ColumnElement[bool]:
    files = processed_files.c
    return and_(files.retryable, files.attempts < max_attempts, files.next_attempt_at <= moment)


def in_batch(status: str, batch_id: str | None) -> bool:
    """Whether a batch that has not ended holds it: being loaded, or held back with the whole batch."""
    return status == FileStatus.PROCESSING or (status == FileStatus.HELD and batch_id is not None)


def let_changed_wait(database: Database, ingestion_id: str) -> int:
    """Files that are held since they changed after they were loaded wait; how many.

    The rows that they would double are gone, or the ingestion's rule is another one by now.
    """
    return _let_wait(database, ingestion_id, FileStatus.HELD, processed_files.c.batch_id.is_(None), reason=None)


def let_late_changed_wait(connection: Connection, ingestion_id: str) -> None:
    """The few of them that somebody held since; the ingestion is locked, so nobody can hold another one."""
    its = _current(ingestion_id, FileStatus.HELD)
    values = {"status": FileStatus.DISCOVERED, "reason": None}
    connection.execute(update(processed_files).where(its, processed_files.c.batch_id.is_(None)).values(**values))


def _let_wait(
    database: Database, ingestion_id: str, status: FileStatus, *which: ColumnElement[bool], **values: Any
) -> int:
    """Current file versions with this status wait, a limited number in a transaction; how many."""
    files = processed_files.c
    some = select(files.id).where(_current(ingestion_id, status), *which).limit(ROWS_PER_TRANSACTION)
    waiting = 0
    while True:
        with database.write() as connection:
            lock_ingestion(connection, ingestion_id)
            let = connection.execute(
                update(processed_files).where(files.id.in_(some)).values(status=FileStatus.DISCOVERED, **values)
            ).rowcount
        waiting += let
        if let < ROWS_PER_TRANSACTION:
            return waiting


def _current(ingestion_id: str, status: FileStatus) -> ColumnElement[bool]:
    files = processed_files.c
    return and_(files.ingestion_id == ingestion_id, files.status == status, files.current)


def supersede(connection: Connection, ingestion_id: str, entry: Entry) -> None:
    """A waiting file version is another content by now: the new one waits in its place, unless it was loaded before."""
    files = processed_files.c
    before = connection.execute(
        select(files.id, files.ordinal).where(
            files.ingestion_id == ingestion_id,
            files.path == entry.path,
            files.current,
            files.status == FileStatus.DISCOVERED,
        )
    ).one_or_none()
    if before is None:
        return
    connection.execute(
        update(processed_files)
        .where(files.id == before.id)
        .values(current=False, status=FileStatus.SKIPPED, reason="it changed before it was loaded")
    )
    again = identity(entry) in loaded_versions(connection, ingestion_id, entry.path)
    connection.execute(
        insert(processed_files).values(
            ingestion_id=ingestion_id,
            ordinal=before.ordinal + 1,
            status=FileStatus.SKIPPED if again else FileStatus.DISCOVERED,
            reason=LOADED_BEFORE if again else None,
            **listed(entry),
        )
    )


def loaded_versions(connection: Connection, ingestion_id: str, path: str) -> Sequence[str]:
    """The identities of a path's versions whose rows are in the table that is loaded into now, the newest first."""
    return loaded_of(connection, ingestion_id, [path]).get(path, [])


def loaded_of(connection: Connection, ingestion_id: str, paths: Sequence[str]) -> dict[str, list[str]]:
    """The same of many paths; one without such versions is left out."""
    files = processed_files.c
    found: dict[str, list[str]] = {}
    for part in parts(paths):
        rows = connection.execute(
            select(files.path, files.identity)
            .join(ingestions, ingestions.c.id == files.ingestion_id)
            .outerjoin(batches, batches.c.id == files.batch_id)
            .where(files.ingestion_id == ingestion_id, files.path.in_(part), files.status == FileStatus.SUCCESS)
            .where(_in_todays_table(files.batch_id))
            .order_by(files.ordinal.desc())
        )
        for path, version in rows.tuples():
            found.setdefault(path, []).append(version)
    return found


def with_rows(connection: Connection, ingestion_id: str, files: Sequence[FileVersion]) -> set[int]:
    """Those of these file versions of whose path other rows may be in the table that is loaded into now; their ids."""
    newer = processed_files.c
    older = processed_files.alias()
    found: set[int] = set()
    for part in parts(files):
        rows = connection.execute(
            select(newer.id)
            .join(older, and_(older.c.ingestion_id == newer.ingestion_id, older.c.path == newer.path))
            .join(ingestions, ingestions.c.id == newer.ingestion_id)
            .outerjoin(batches, batches.c.id == older.c.batch_id)
            .where(newer.ingestion_id == ingestion_id, newer.id.in_([file.id for file in part]))
            # Also one whose rows are gone: where it was loaded once, it does no harm to look for rows.
            .where(older.c.id != newer.id, older.c.loaded_at.is_not(None))
            .where(_in_todays_table(older.c.batch_id))
        )
        found.update(rows.scalars())
    return found


def _in_todays_table(batch_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Of a version that is joined with its batch: what a refresh has dropped the table of is in no table any more."""
    return or_(batch_id.is_(None), batches.c.table_uuid == ingestions.c.table_uuid)


def elsewhere(
    connection: Connection, ingestion_id: str, table_id: str, paths: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Which of these paths another ingestion brings into this very table, each with a sentence.

    Those whose rows are there; and those that are only being loaded, or held, which may yet fail.
    """
    sharing = (
        connection.execute(
            select(batches.c.ingestion_id.distinct()).where(
                batches.c.table_uuid == table_id, batches.c.ingestion_id != ingestion_id
            )
        )
        .scalars()
        .all()
    )
    loaded: dict[str, str] = {}
    loading: dict[str, str] = {}
    files = processed_files.c
    for part in parts(paths) if sharing else ():
        rows = connection.execute(
            select(files.path, files.status, files.ingestion_id, ingestions.c.name)
            .join(batches, batches.c.id == files.batch_id)
            .join(ingestions, ingestions.c.id == files.ingestion_id)
            .where(
                files.ingestion_id.in_(sharing),
                files.path.in_(part),
                or_(
                    files.status.in_((FileStatus.SUCCESS, FileStatus.PROCESSING, FileStatus.HELD)),
                    # Its rows may still be there, until the newer version is loaded.
                    files.reason == REPLACED,
                ),
                batches.c.table_uuid == table_id,
            )
        )
        for path, status, other, name in rows:
            known = loaded if status == FileStatus.SUCCESS else loading
            known[path] = f"the ingestion {name!r} ({other}) loads it into the same table"
    return loaded, {path: loading[path] for path in loading.keys() - loaded.keys()}


def replaced(connection: Connection, ingestion_id: str, batch_id: str) -> None:
    """Of the paths of a batch no version but its own has rows in the table from now on."""
    files = processed_files.c
    its_paths = select(files.path).where(files.batch_id == batch_id)
    same_table = select(batches.c.table_uuid).where(batches.c.id == batch_id).scalar_subquery()
    elsewhere = select(batches.c.id).where(
        batches.c.ingestion_id == ingestion_id,
        or_(batches.c.id == batch_id, batches.c.table_uuid != same_table),
    )
    connection.execute(
        update(processed_files)
        .where(
            files.ingestion_id == ingestion_id,
            files.path.in_(its_paths),
            files.status == FileStatus.SUCCESS,
            or_(files.batch_id.is_(None), files.batch_id.not_in(elsewhere)),
        )
        .values(status=FileStatus.SKIPPED, reason=REPLACED)
    )


def listed(entry: Entry) -> dict[str, Any]:
    """The columns of a file version that come from a listing."""
    return {
        "path": entry.path,
        "identity": identity(entry),
        "size": entry.size,
        "etag": entry.etag,
        "modified_at": entry.modified_at,
        "first_seen_at": now(),
    }


def parts(files: Sequence[T]) -> Iterable[Sequence[T]]:
    """Short enough for the number of parameters that one statement may have (SQLite: 32,766)."""
    step = min(ROWS_PER_TRANSACTION, 5_000)
    return (files[start : start + step] for start in range(0, len(files), step))
