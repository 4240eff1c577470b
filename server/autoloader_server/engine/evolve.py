"""A table follows what its files hold, as `on_schema_change` says.

A version of the schema is written down before the first column is changed, and counted after the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from autoloader_server.engine import schema_record
from autoloader_server.engine.changes import (
    ADDED,
    REMOVED,
    RETYPED,
    Change,
    Path,
    additions,
    applied,
    brought_by,
    widened,
    widenings,
)
from autoloader_server.engine.culprits import infer, wider
from autoloader_server.engine.errors import SCHEMA_MISMATCH, FileFailure, RunStopped
from autoloader_server.engine.formats.base import Look, Looks, by_name
from autoloader_server.engine.schema import storable, without
from autoloader_server.engine.schema_record import Meant
from autoloader_server.engine.sql import path_sql, type_sql
from autoloader_server.engine.work import Ready, Work
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

_MOST_NAMED = 20
_MOST_FILES_NAMED = 3
_WHAT = {ADDED: "added to the table", RETYPED: "widened", REMOVED: "dropped from the table"}


def widened_for(work: Work, data: StructType, looks: Sequence[Look]) -> StructType:
    """The table's columns, wide enough for these files where Iceberg can; as they are where the rule is `ignore`."""
    if work.spec.effective_on_schema_change == "ignore":
        return data
    for path, change in wider(work.spark, work.format, looks, data):
        work.wider.setdefault(path, []).append(change)
    return wide_enough(work, data, looks)


def follow_schema(work: Work, ready: Ready, looks: Sequence[Look]) -> tuple[Ready, list[Look]]:
    """Do what the ingestion's rule says about columns and types that the table does not have yet.

    Files whose columns cannot be made out fail: the looks are those of the others. Raises RunStopped where the rule is
    `fail` and there are any changes.
    """
    data = without(work.schema, work.lineage)
    fresh, failures = new_columns(work, looks, data)
    work.fail(failures)
    failed = {failure.path for failure in failures}
    looks = [look for look in looks if look.path not in failed]
    rule = work.spec.effective_on_schema_change
    if rule == "ignore":
        _note_ignored(work, fresh)
        return ready, looks
    changes = [*fresh, *wanted(work, data, looks)]
    if not changes:
        return ready, looks
    if rule == "fail":
        raise mismatch(work, changes)
    intend(work, changes)
    work.reach("columns_intended")
    make(work, changes)
    work.reach("columns_added")
    return count_version(work, ready), looks


def mismatch(work: Work, changes: Sequence[Change], failures: Sequence[FileFailure] = ()) -> RunStopped:
    """What a run with `on_schema_change: fail` ends with."""
    what = [str(change) for change in changes] + [f"{failure.path}: {failure.message}" for failure in failures]
    files = list(dict.fromkeys([path for change in changes for path in change.files]))
    shown = "; ".join(what[:_MOST_NAMED]) + ("; …" if len(what) > _MOST_NAMED else "")
    where = f" in {', '.join(files[:_MOST_FILES_NAMED])}" if files else ""
    more = f" and {len(files) - _MOST_FILES_NAMED} more files" if len(files) > _MOST_FILES_NAMED else ""
    ways = [_statement(work, change) for change in changes]
    accept = f"accept the change ({'; '.join(ways[:_MOST_FILES_NAMED])}), or " if ways else ""
    return RunStopped(
        f"Schema Mismatch Detected: {shown}{where}{more}, against the columns of {work.table_name}. "
        "on_schema_change is fail, so nothing of the batch was loaded; its files wait: "
        f"{accept}take the files away, then run again.",
        SCHEMA_MISMATCH,
    )


def intend(work: Work, changes: Sequence[Change]) -> None:
    """Write down the next version of the table's schema."""
    with spark_errors():
        schema = applied(work.schema, changes).jsonValue()
    strategy = work.spec.effective_on_schema_change
    with work.database.write() as connection:
        work.lease.hold_run(connection)
        schema_record.intend(connection, work.ingestion_id, schema, changes, strategy=strategy)


def make(work: Work, changes: Iterable[Change]) -> None:
    """Change the table's columns."""
    changes = list(changes)
    added = {change.path: change.new for change in changes if change.kind == ADDED and change.new is not None}
    removed = [change.path for change in changes if change.kind == REMOVED]
    with spark_errors():
        if added:
            work.table.add_columns(added)
        for change in changes:
            if change.old is not None and change.new is not None:
                work.table.widen_column(change.path, change.new)
                work.reach("column_widened")
        if removed:
            work.table.drop_columns(removed)
    work.schema_changed()


def count_version(work: Work, ready: Ready) -> Ready:
    """Count the schema version that was written down last, if its changes are made by now.

    A worker may have died before, between or after them: what it had begun is made whole.
    """
    with work.database.read() as connection:
        meant = schema_record.meant(connection, work.ingestion_id)
    if meant is None:
        return ready
    with spark_errors():
        missing = _missing(work.schema, meant)
    if len(missing) >= len(meant.changes):
        return ready
    if missing:
        make(work, missing)
    with spark_errors():
        # A new branch has the schema of the newest snapshot (Iceberg 1.4): so there must be one with these columns.
        work.table.append_nothing()
        state = work.table.state()
        schema = work.schema.jsonValue()
    with work.database.write() as connection:
        work.lease.hold_run(connection)
        schema_record.count(connection, work.ingestion_id, meant.version, schema)
    _tell(work, meant)
    assert state is not None
    assert state.snapshot_id is not None
    return Ready(ready.table_id, state.snapshot_id)


def _missing(now: StructType, meant: Meant) -> list[Change]:
    """What of a version's changes is not made yet."""
    from pyspark.sql.types import StructType

    wanted = StructType.fromJson(meant.schema)
    goes = {change["column_name"] for change in meant.changes if change["change_type"] == REMOVED}
    still = [Change(one.path, one.new, None) for one in additions(wanted, now) if one.name in goes]
    # Another column that somebody dropped meanwhile by hand is not made again.
    names = [f"{change['column_name']}.".casefold() for change in meant.changes]
    missing = [*additions(now, wanted), *widenings(now, wanted), *still]
    return [one for one in missing if any(name.startswith(f"{one.path[0]}.".casefold()) for name in names)]


def _tell(work: Work, meant: Meant) -> None:
    for kind, what in _WHAT.items():
        names = [str(change["column_name"]) for change in meant.changes if change["change_type"] == kind]
        if names:
            work.note(f"{_columns(len(names))} {what}: {some(names)}")


def new_columns(work: Work, looks: Sequence[Look], data: StructType) -> tuple[list[Change], list[FileFailure]]:
    """The columns that the table lacks, each with the files that have it; and the files of which none can be told."""
    have = by_name(data)
    strange = [look for look in looks if look.unfamiliar and (not look.seen or look.new_columns(have))]
    if not strange:
        return [], []
    seen, failures = infer(work.spark, work.format, strange)
    failed = {failure.path for failure in failures}
    strange = [look for look in strange if look.path not in failed]
    unseen: dict[str, set[Path]] = {}
    for members in Looks([look for look in strange if not look.seen]).groups().values():
        theirs, worse = infer(work.spark, work.format, members)
        failures += worse
        found = {change.path for change in additions(data, storable(theirs))}
        unseen |= {look.path: found for look in members}
    changes = [
        brought_by(change, [look.path for look in strange if _has(look, change, unseen)])
        for change in additions(data, storable(seen))
    ]
    return changes, failures


def _has(look: Look, change: Change, unseen: dict[str, set[Path]]) -> bool:
    if look.path in unseen:
        return change.path in unseen[look.path]
    if any(name.casefold() == change.path[0].casefold() for name in look.columns):
        return True
    # Of a new struct the file may have told a field within.
    return any(
        one.kind == "unknown"
        and (one.path[: len(change.path)] == change.path or change.path[: len(one.path)] == one.path)
        for one in look.strange
    )


def note_missing(work: Work, looks: Sequence[Look]) -> None:
    """Tell which of the table's columns files lack that name theirs, once a run for each column."""
    with spark_errors():
        data = without(work.schema, work.lineage)
    have = {name: field for name, field in by_name(data).items() if field.nullable}
    lacking: dict[str, list[str]] = {}
    by_columns: dict[tuple[str, ...], list[str]] = {}
    for look in looks:
        if look.columns:
            if look.columns not in by_columns:
                there = {name.casefold() for name in look.columns}
                by_columns[look.columns] = [field.name for name, field in have.items() if name not in there]
            for name in by_columns[look.columns]:
                lacking.setdefault(name, []).append(look.path)
    told = [name for name in lacking if name not in work.told_missing][:_MOST_NAMED]
    if told:
        work.told_missing.update(told)
        shown = [
            f"{name} ({len(lacking[name])} file{'s' * (len(lacking[name]) != 1)}, such as {lacking[name][0]})"
            for name in told
        ]
        work.note(f"missing in files of a batch, and null there: {', '.join(shown)}")


def _note_ignored(work: Work, fresh: Sequence[Change]) -> None:
    """Tell how many columns are left out, and which."""
    if fresh:
        work.step("preparing", columns_ignored=len(fresh))
        names = some([change.name for change in fresh])
        work.note(f"{_columns(len(fresh))} ignored, since on_schema_change is ignore: {names}")


def wide_enough(work: Work, data: StructType, looks: Sequence[Look]) -> StructType:
    """The columns, as wide as was found that these files need them."""
    return widened(data, (change for look in looks for change in work.wider.get(look.path, ())))


def wanted(work: Work, data: StructType, looks: Sequence[Look]) -> list[Change]:
    """The columns that must be wider for these files."""
    return [_with_files(work, one, looks) for one in widenings(data, wide_enough(work, data, looks))]


def _with_files(work: Work, change: Change, looks: Sequence[Look]) -> Change:
    brought = [look.path for look in looks if any(one.path == change.path for one in work.wider.get(look.path, ()))]
    return brought_by(change, brought)


def _statement(work: Work, change: Change) -> str:
    """The SQL by which a person accepts a change."""
    assert change.new is not None
    name, kind = path_sql(change.path), type_sql(change.new)
    what = f"ADD COLUMN {name} {kind}" if change.kind == ADDED else f"ALTER COLUMN {name} TYPE {kind}"
    return f"ALTER TABLE {work.table_name.quoted} {what}"


def _columns(number: int) -> str:
    return "1 column was" if number == 1 else f"{number} columns were"


def some(names: Sequence[str]) -> str:
    """The first of these names, for a sentence."""
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
