"""What we say to an Iceberg table, and what it answers. All of it was tried on Iceberg 1.4 to 1.12.

A batch is written to a branch of its own under the snapshot property `wap.id`, and published by
`cherrypick_snapshot`, which refuses a second snapshot of the same id inside its commit, whichever attempt's it is.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autoloader_sdk.spark35 import is_older
from autoloader_server.engine.errors import MISSING, RunStopped
from autoloader_server.engine.needs import has_catalog, without_catalog
from autoloader_server.engine.sql import TableName, column_sql, identifier, literal, path_sql, type_sql
from autoloader_server.engine.statements import rows_of_command
from autoloader_server.spark.errors import first_line
from autoloader_server.spark.sessions import check_session

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, DataFrameWriterV2
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import DataType, StructType

LEDGER_PROPERTY = "autoloader.ledger-id"
TABLE_PROPERTY = "autoloader.table-id"
BRANCH_PREFIX = "al_"
# Names a snapshot by the branch that it was staged on: one query finds it. A cherry-pick does not copy it.
_BRANCH_KEY = "autoloader.branch"
# Of an IN with more values Iceberg looks at no column statistics (InclusiveMetricsEvaluator.IN_PREDICATE_LIMIT).
_MOST_PRUNED = 200
# In the rows of a MERGE: which old rows go, if they name any.
_GONE = "__autoloader_gone"


def new_identity(ledger_id: str) -> dict[str, str]:
    """The properties of a table that this ledger makes, or takes as it is."""
    return {LEDGER_PROPERTY: ledger_id, TABLE_PROPERTY: str(uuid.uuid4())}


class DuplicatePublish(Exception):
    """Iceberg refused the commit: a snapshot of this batch is in the table already (or its id was burned)."""


@dataclass(frozen=True, slots=True)
class TableState:
    """A table's identity and its current snapshot, as its properties tell them.

    Spark does not show Iceberg's own table UUID, so a UUID of ours stands in a property.
    """

    ledger_id: str | None
    table_id: str | None
    snapshot_id: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot, with what its summary says it added; committed so many microseconds after 1970."""

    id: int
    parent_id: int | None
    wap_id: str | None
    committed_us: int
    data_files: int
    records: int
    bytes: int


class Table:
    """An Iceberg table that may or may not exist yet."""

    def __init__(self, spark: SparkSession, name: TableName) -> None:
        self.spark = spark
        self.name = name

    def state(self) -> TableState | None:
        """None where there is no such table. Another session's last commit is seen.

        Raises RunStopped where there is no such catalog.
        """
        try:
            if self._cached:
                self.spark.sql(f"REFRESH TABLE {self.name.quoted}")
            rows = rows_of_command(self.spark, f"SHOW TBLPROPERTIES {self.name.quoted}")
        except Exception as error:
            if _is_missing(error) or "CATALOG" in str(error):
                if not has_catalog(self.spark, self.name.catalog):
                    raise RunStopped(without_catalog(self.name.catalog, self.spark.version), MISSING) from error
                if _is_missing(error):
                    return None
            raise
        found = {row["key"]: row["value"] for row in rows}
        snapshot = found.get("current-snapshot-id", "none")
        return TableState(
            ledger_id=found.get(LEDGER_PROPERTY),
            table_id=found.get(TABLE_PROPERTY),
            snapshot_id=None if snapshot == "none" else int(snapshot),
        )

    @cached_property
    def _cached(self) -> bool:
        """Whether the catalog keeps tables for a while in this session (its default; our local one does not)."""
        setting = f"spark.sql.catalog.{self.name.catalog}.cache-enabled"
        return str(self.spark.conf.get(setting, "true")).lower() != "false"

    def create(self, schema: StructType, partitions: Sequence[str], properties: Mapping[str, str]) -> None:
        """Make the namespace and the table where they are not there."""
        self._make_namespace()
        columns = ", ".join(column_sql(field) for field in schema.fields)
        by = f" PARTITIONED BY ({', '.join(identifier(name) for name in partitions)})" if partitions else ""
        shown = ", ".join(f"{literal(key)} = {literal(value)}" for key, value in properties.items())
        self.spark.sql(
            f"CREATE TABLE IF NOT EXISTS {self.name.quoted} ({columns}) USING iceberg{by} TBLPROPERTIES ({shown})"
        )

    def _make_namespace(self) -> None:
        try:
            self.spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {self.name.namespace}")
        except Exception:
            # Somebody was quicker, which not every catalog tells so that Spark takes it for that (JDBC's does not).
            if not self.spark.catalog.databaseExists(self.name.namespace):
                raise

    def set_properties(self, properties: Mapping[str, str]) -> None:
        shown = ", ".join(f"{literal(key)} = {literal(value)}" for key, value in properties.items())
        self.spark.sql(f"ALTER TABLE {self.name.quoted} SET TBLPROPERTIES ({shown})")

    def schema(self) -> StructType:
        return self.spark.table(self.name.quoted).schema

    @property
    def may_lag(self) -> bool:
        """Whether `lags` may be true: with Spark 4 there is no such Iceberg."""
        return is_older(self.spark)

    def lags(self, branch: str) -> bool:
        """Whether a branch takes other columns than the table has: old Iceberg gives it those of its last commit."""
        try:
            its = self.spark.table(f"{self.name.quoted}.{identifier('branch_' + branch)}").schema
            return bool(its != self.schema())
        except Exception as error:
            if not _is_missing(error):
                raise
            return False

    def add_columns(self, columns: Mapping[tuple[str, ...], DataType]) -> None:
        """Add columns, or fields inside of columns, by their paths."""
        shown = ", ".join(f"{path_sql(path)} {type_sql(kind)}" for path, kind in columns.items())
        self.spark.sql(f"ALTER TABLE {self.name.quoted} ADD COLUMNS ({shown})")

    def widen_column(self, path: Sequence[str], kind: DataType) -> None:
        """Give a column, or a field inside of one, a wider type."""
        self.spark.sql(f"ALTER TABLE {self.name.quoted} ALTER COLUMN {path_sql(path)} TYPE {type_sql(kind)}")

    def drop_columns(self, paths: Sequence[Sequence[str]]) -> None:
        """Drop columns, or fields inside of columns; in snapshots of before they are there."""
        self.spark.sql(f"ALTER TABLE {self.name.quoted} DROP COLUMNS ({', '.join(map(path_sql, paths))})")

    def partitioned_by(self, names: Sequence[str]) -> set[str]:
        """Those of its columns that the table is partitioned by, in transforms too."""
        rows = rows_of_command(self.spark, f"DESCRIBE TABLE {self.name.quoted}")
        start = next((at for at, row in enumerate(rows) if row["col_name"].startswith("# Partition")), len(rows))
        told = [f"{row['col_name']} {row['data_type'] or ''}" for row in rows[start + 1 :]]
        return {name for name in names if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", line) for line in told)}

    def snapshots(self) -> dict[int, Snapshot]:
        return self._snapshots()

    def _snapshots(self, condition: Column | None = None) -> dict[int, Snapshot]:
        from pyspark.sql.connect import functions as F

        summary = F.col("summary")
        # Not by SQL: `sql` would ask Spark at once, and `collect` once more.
        told = self.spark.table(f"{self.name.quoted}.snapshots")
        rows = (
            (told if condition is None else told.where(condition))
            .select(
                "snapshot_id",
                "parent_id",
                F.unix_micros("committed_at").alias("at"),
                summary["wap.id"].alias("wap"),
                summary["published-wap-id"].alias("published"),
                summary["added-data-files"].alias("files"),
                summary["added-records"].alias("records"),
                summary["added-files-size"].alias("bytes"),
            )
            .collect()
        )
        return {row["snapshot_id"]: _snapshot(row) for row in rows}

    def ancestors(self) -> list[Snapshot]:
        """Main's history, newest first, as far back as snapshots were not expired."""
        state = self.state()
        return lineage(self.snapshots(), state.snapshot_id if state is not None else None)

    def published(self, batch_id: str) -> Snapshot | None:
        """The snapshot on main that carries the batch's id: with data files it landed, without it was burned."""
        return next((snapshot for snapshot in self.ancestors() if snapshot.wap_id == batch_id), None)

    def staged(self, branch: str) -> Snapshot:
        """What was written to `branch` under its name. Raises LookupError where nothing was."""
        from pyspark.sql.connect import functions as F

        found = self._snapshots(F.col("summary")[_BRANCH_KEY] == branch)
        if len(found) != 1:
            raise LookupError(f"branch {branch} of {self.name} holds {len(found)} snapshots of ours, not one")
        return next(iter(found.values()))

    def head(self, branch: str) -> Snapshot:
        """A branch's newest snapshot. Raises LookupError where there is no such branch."""
        from pyspark.sql.connect import functions as F

        named = self._refs(F.col("name") == branch)
        found = self._snapshots(F.col("snapshot_id") == named[0].snapshot_id) if named else {}
        if not found:
            raise LookupError(f"the table {self.name} has no branch {branch}")
        return next(iter(found.values()))

    def branch_at(self, snapshot_id: int, batch_id: str) -> str | None:
        """The branch of a batch whose newest snapshot this is."""
        prefix = f"{BRANCH_PREFIX}{batch_id}_"
        found = self._branches()
        return next((ref.name for ref in found if ref.snapshot_id == snapshot_id and ref.name.startswith(prefix)), None)

    def branches(self) -> list[str]:
        """The branches that loads have made in this table, whoever's they are."""
        return [ref.name for ref in self._branches()]

    def _branches(self) -> list[Any]:
        from pyspark.sql.connect import functions as F

        return self._refs((F.col("type") == "BRANCH") & F.col("name").startswith(BRANCH_PREFIX))

    def _refs(self, condition: Column) -> list[Any]:
        """The names of snapshots: `name` and `snapshot_id` of each."""
        refs = self.spark.table(f"{self.name.quoted}.refs").where(condition)
        return list(refs.select("name", "snapshot_id").collect())

    def create_branch(self, branch: str) -> None:
        self.spark.sql(f"ALTER TABLE {self.name.quoted} CREATE BRANCH {identifier(branch)}")

    def drop_branch(self, branch: str) -> None:
        """Drop a branch; one that is not there, or whose table is not, is dropped already."""
        try:
            self.spark.sql(f"ALTER TABLE {self.name.quoted} DROP BRANCH IF EXISTS {identifier(branch)}")
        except Exception as error:
            if not _is_missing(error):
                raise

    def append(self, frame: DataFrame, branch: str, batch_id: str) -> None:
        """Write to a branch, under the batch's id and the branch's name.

        Raises SparkUnavailable where it was another session that did so: it has read with other settings than ours.
        """
        self._writer(frame, branch, batch_id).append()
        check_session(self.spark)

    def replace(self, frame: DataFrame, branch: str, column: str, gone: Sequence[str]) -> None:
        """On a branch, put `frame` in the place of the rows whose `column` is one of `gone`, in one snapshot.

        The same once more changes nothing. SQL can give the snapshot no batch id, and its summary also counts rows that
        were only written to another data file. Raises SparkUnavailable as `append` does.
        """
        from pyspark.sql.connect import functions as F

        key = identifier(column)
        names = [identifier(field.name) for field in frame.schema.fields]
        # Rows that name what goes match the old ones. New rows match nothing, by keys that tell them apart: under the
        # same key Spark would hold each of them against each old row. (A MERGE takes no random keys.) Only data files
        # with old rows are written anew; with NOT MATCHED BY SOURCE it would be all of the table's.
        marks = self.spark.createDataFrame([(value, value) for value in gone], f"{key} string, {_GONE} string")
        plain = [name for name, field in zip(names, frame.schema.fields, strict=True) if _is_plain(field.dataType)]
        never = F.concat(F.lit("\0"), F.xxhash64(*plain).cast("string"))
        rows = frame.withColumn(_GONE, never).unionByName(marks, allowMissingColumns=True)
        pruned = f" AND t.{key} IN ({', '.join(map(literal, gone))})" if len(gone) <= _MOST_PRUNED else ""
        view = f"{branch}_rows"
        rows.createOrReplaceTempView(view)
        try:
            self.spark.sql(
                f"MERGE INTO {self.name.quoted}.{identifier('branch_' + branch)} AS t USING {identifier(view)} AS s "
                f"ON t.{key} = s.{_GONE}{pruned} "
                "WHEN MATCHED THEN DELETE "
                f"WHEN NOT MATCHED AND s.{_GONE} < ' ' THEN INSERT ({', '.join(names)}) "
                f"VALUES ({', '.join(f's.{name}' for name in names)})"
            )
        finally:
            self.spark.catalog.dropTempView(view)
        check_session(self.spark)

    def append_nothing(self, branch: str | None = None, batch_id: str | None = None) -> None:
        """A commit without rows: gives a table its first snapshot, a branch its newest schema, a batch id its end."""
        self._writer(self.spark.table(self.name.quoted).limit(0), branch, batch_id).append()

    def _writer(self, frame: DataFrame, branch: str | None, batch_id: str | None) -> DataFrameWriterV2:
        if branch is None or batch_id is None:
            return frame.writeTo(self.name.quoted)
        return (
            frame.writeTo(f"{self.name.quoted}.{identifier('branch_' + branch)}")
            .option("snapshot-property.wap.id", batch_id)
            .option(f"snapshot-property.{_BRANCH_KEY}", branch)
        )

    def publish(self, snapshot_id: int) -> int:
        """Put a staged snapshot on main; its id there (a new one, where main has moved on meanwhile).

        Raises DuplicatePublish where the batch's id is on main already.
        """
        try:
            (row,) = rows_of_command(
                self.spark,
                f"CALL {identifier(self.name.catalog)}.system.cherrypick_snapshot("
                f"{literal(self.name.in_catalog)}, {snapshot_id})",
            )
        except Exception as error:
            if "DuplicateWAPCommitException" in str(error):
                raise DuplicatePublish(first_line(error)) from error
            raise
        return int(row["current_snapshot_id"])

    def fast_forward(self, branch: str) -> bool:
        """Bring main to a branch's newest snapshot, if that stands on main's; False where main has moved on.

        False as well where somebody else changed the table in this very moment.
        """
        try:
            self.spark.sql(
                f"CALL {identifier(self.name.catalog)}.system.fast_forward("
                f"{literal(self.name.in_catalog)}, 'main', {literal(branch)})"
            )
        except Exception as error:
            if not any(sign in str(error) for sign in ("Cannot fast-forward", "CommitFailedException")):
                raise
            return False
        return True

    def delete_where(self, column: str, value: str) -> None:
        """Delete the rows with this value."""
        self.spark.sql(f"DELETE FROM {self.name.quoted} WHERE {identifier(column)} = {literal(value)}")

    def count_by(self, column: str, snapshot: Snapshot) -> dict[str, int]:
        """Rows that `snapshot` added, by a column's value."""
        reader = self.spark.read.format("iceberg").option("end-snapshot-id", str(snapshot.id))
        if snapshot.parent_id is not None:
            reader = reader.option("start-snapshot-id", str(snapshot.parent_id))
        rows = reader.load(self.name.quoted).groupBy(identifier(column)).count().collect()
        return {row[0]: row[1] for row in rows}

    def rows_of(self, column: str, values: Sequence[str], snapshot_id: int | None = None) -> dict[str, int]:
        """Rows on main, or in a snapshot, whose `column` is one of `values`, by value."""
        from pyspark.sql.connect import functions as F

        # Not `option("versionAsOf")`: a 3.5 server would read main without a word.
        at = f" VERSION AS OF {snapshot_id}" if snapshot_id is not None else ""
        frame = self.spark.sql(f"SELECT * FROM {self.name.quoted}{at}").where(
            F.col(identifier(column)).isin(list(values))
        )
        return {row[0]: row[1] for row in frame.groupBy(identifier(column)).count().collect()}

    def drop(self) -> None:
        """Drop the table with its files, if there is one."""
        self.spark.sql(f"DROP TABLE IF EXISTS {self.name.quoted} PURGE")


def lineage(known: Mapping[int, Snapshot], head: int | None) -> list[Snapshot]:
    """A snapshot and its ancestors, newest first, up to the first that is not known any more."""
    line: list[Snapshot] = []
    at = known.get(head) if head is not None else None
    while at is not None:
        line.append(at)
        at = known.get(at.parent_id) if at.parent_id is not None else None
    return line


def _snapshot(row: Any) -> Snapshot:
    return Snapshot(
        id=row["snapshot_id"],
        parent_id=row["parent_id"],
        committed_us=row["at"],
        wap_id=row["wap"] or row["published"],
        data_files=int(row["files"] or 0),
        records=int(row["records"] or 0),
        bytes=int(row["bytes"] or 0),
    )


def _is_plain(kind: Any) -> bool:
    """Whether values have a hash in every version of Spark: those of maps have none."""
    from pyspark.sql.types import AtomicType

    return isinstance(kind, AtomicType)


def _is_missing(error: Exception) -> bool:
    text = str(error)
    return "TABLE_OR_VIEW_NOT_FOUND" in text or "SCHEMA_NOT_FOUND" in text or "NoSuchTableException" in text
