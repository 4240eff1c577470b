"""An Iceberg table in memory: what `engine.iceberg.Table` says to Spark, with Iceberg's semantics.

`Iceberg` is the table itself, one for all workers; each of its commits is atomic. `ModelTable` is the way of
one worker to it: before each call that worker waits for leave, and may be killed or told that Spark died.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pyspark.sql.types import DataType, StructType

from autoloader_server.engine.iceberg import (
    LEDGER_PROPERTY,
    TABLE_PROPERTY,
    DuplicatePublish,
    Snapshot,
    TableState,
)

T = TypeVar("T")

# 2100: no snapshot of a model is older than its ingestion.
_AFTER_ALL_INGESTIONS_US = 4_102_444_800_000_000
# A row names the file it came from and the content that the file had; None: somebody else's row.
Row = tuple[str | None, str]


class IcebergError(Exception):
    """What Spark says when the table refuses; the engine takes it for Spark's by its module."""


IcebergError.__module__ = "pyspark.model"


@dataclass(frozen=True, slots=True)
class Commit:
    """One snapshot: what it added, and all rows up to it (so that its parents may be expired)."""

    id: int
    parent: int | None
    wap_id: str | None
    added: tuple[Row, ...]
    rows: tuple[Row, ...]
    published_wap_id: str | None = None
    branch: str | None = None

    def shown(self) -> Snapshot:
        return Snapshot(
            id=self.id,
            parent_id=self.parent,
            wap_id=self.wap_id or self.published_wap_id,
            committed_us=_AFTER_ALL_INGESTIONS_US + self.id,
            data_files=len({path for path, _ in self.added}),
            records=len(self.added),
            bytes=10 * len(self.added),
        )


@dataclass(slots=True)
class Iceberg:
    """The table as the catalog has it. `on_commit` is told the rows of main after each commit to it."""

    on_commit: Callable[[tuple[Row, ...]], None]
    exists: bool = False
    properties: dict[str, str] = field(default_factory=dict)
    schema: StructType = field(default_factory=StructType)
    commits: dict[int, Commit] = field(default_factory=dict)
    main: int | None = None
    branches: dict[str, int | None] = field(default_factory=dict)
    expired: bool = False
    _last_id: int = 100

    def create(self, schema: StructType, properties: Mapping[str, str]) -> None:
        if not self.exists:
            self.exists = True
            self.schema = schema
            self.properties = dict(properties)

    def drop(self) -> None:
        self.exists = False
        self.main = None
        self.commits, self.branches = {}, {}

    @property
    def rows(self) -> tuple[Row, ...]:
        """What a reader of main sees."""
        return () if self.main is None else self.commits[self.main].rows

    def line(self) -> list[Commit]:
        """Main's history, newest first, as far as it was not expired."""
        found = []
        at = self.commits.get(self.main) if self.main is not None else None
        while at is not None:
            found.append(at)
            at = self.commits.get(at.parent) if at.parent is not None else None
        return found

    def append(
        self,
        added: Sequence[Row],
        branch: str | None = None,
        wap_id: str | None = None,
        gone: Sequence[str] = (),
    ) -> None:
        """Rows, without those that come from the files `gone`."""
        if not self.exists:
            raise IcebergError("[TABLE_OR_VIEW_NOT_FOUND]")
        if branch is not None and branch not in self.branches:
            raise IcebergError(f"Cannot use branch (does not exist): {branch}")
        head = self.main if branch is None else self.branches[branch]
        before = self.commits[head].rows if head is not None else ()
        kept = tuple(row for row in before if row[0] not in gone)
        new = Commit(self._next_id(), head, wap_id, tuple(added), kept + tuple(added), branch=branch)
        self.commits[new.id] = new
        if branch is None:
            self._move_main(new.id)
        else:
            self.branches[branch] = new.id

    def create_branch(self, name: str) -> None:
        if not self.exists:
            raise IcebergError("[TABLE_OR_VIEW_NOT_FOUND]")
        if name in self.branches:
            raise IcebergError(f"Ref {name} already exists")
        self.branches[name] = self.main

    def drop_branch(self, name: str) -> None:
        self.branches.pop(name, None)

    def cherrypick(self, snapshot_id: int) -> int:
        """As `CherryPickOperation`: the check for the id and the commit are one."""
        picked = self.commits.get(snapshot_id)
        if picked is None:
            raise IcebergError(f"Cannot cherry-pick unknown snapshot ID: {snapshot_id}")
        line = self.line()
        if picked.wap_id is not None and any(
            picked.wap_id in (commit.wap_id, commit.published_wap_id) for commit in line
        ):
            raise DuplicatePublish(picked.wap_id)
        if any(commit.id == snapshot_id for commit in line):
            raise IcebergError(f"Cannot cherrypick snapshot {snapshot_id}: already an ancestor")
        if picked.parent != self.main:
            picked = Commit(self._next_id(), self.main, None, picked.added, self.rows + picked.added, picked.wap_id)
            self.commits[picked.id] = picked
        self._move_main(picked.id)
        return picked.id

    def fast_forward(self, branch: str) -> bool:
        """Move main to a branch's head, where main is one of the head's ancestors, or it itself."""
        at = head = self.branches.get(branch)
        while at is not None and at != self.main:
            at = self.commits[at].parent if at in self.commits else None
        if head is None or at != self.main:
            return False
        self._move_main(head)
        return True

    def expire(self) -> None:
        """What `expire_snapshots` with `retain_last => 1` leaves: the heads of main and of the branches."""
        heads = {self.main, *self.branches.values()}
        self.expired = self.expired or len(self.line()) > 1
        self.commits = {at: commit for at, commit in self.commits.items() if at in heads}

    def _move_main(self, snapshot_id: int) -> None:
        self.main = snapshot_id
        self.on_commit(self.rows)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


class Caller(Protocol):
    """Whoever calls the table: `call` does `effect`, or does not come back from it."""

    def call(self, point: str, effect: Callable[[], T], *, changes: bool) -> T: ...


class ModelTable:
    """`engine.iceberg.Table` over the model, for one worker."""

    def __init__(self, iceberg: Iceberg, caller: Caller, read: Callable[[str], Sequence[Row]]) -> None:
        self._iceberg = iceberg
        self._caller = caller
        self._read = read

    def state(self) -> TableState | None:
        return self._look("state", self._state)

    def create(self, schema: StructType, partitions: Sequence[str], properties: Mapping[str, str]) -> None:
        self._change("create", lambda: self._iceberg.create(schema, properties))

    def set_properties(self, properties: Mapping[str, str]) -> None:
        self._change("set_properties", lambda: self._iceberg.properties.update(properties))

    def schema(self) -> StructType:
        return self._look("schema", lambda: self._iceberg.schema)

    def add_columns(self, columns: Mapping[tuple[str, ...], DataType]) -> None:
        def add() -> None:
            schema = StructType(list(self._iceberg.schema.fields))
            for (name,), kind in columns.items():
                if name not in schema.names:
                    schema = schema.add(name, kind)
            self._iceberg.schema = schema

        self._change("add_columns", add)

    def snapshots(self) -> dict[int, Snapshot]:
        return self._look("snapshots", self._snapshots)

    def ancestors(self) -> list[Snapshot]:
        return self._look("ancestors", self._ancestors)

    def published(self, batch_id: str) -> Snapshot | None:
        return next((snapshot for snapshot in self.ancestors() if snapshot.wap_id == batch_id), None)

    def staged(self, branch: str) -> Snapshot:
        found = self._look("staged", lambda: [c.shown() for c in self._iceberg.commits.values() if c.branch == branch])
        if len(found) != 1:
            raise LookupError(f"branch {branch} holds {len(found)} snapshots of ours, not one")
        return found[0]

    def branches(self) -> list[str]:
        return self._look("branches", lambda: [n for n in self._iceberg.branches if n.startswith("al_")])

    may_lag = False

    def lags(self, branch: str) -> bool:
        return self._look("lags", lambda: False)  # nobody changes its columns

    def create_branch(self, branch: str) -> None:
        self._change("create_branch", lambda: self._iceberg.create_branch(branch))

    def drop_branch(self, branch: str) -> None:
        self._change("drop_branch", lambda: self._iceberg.drop_branch(branch))

    def append(self, frame: Sequence[str], branch: str, batch_id: str) -> None:
        def write() -> None:
            self._iceberg.append([row for path in frame for row in self._read(path)], branch, batch_id)

        self._change("append", write)

    def replace(self, frame: Sequence[str], branch: str, column: str, gone: Sequence[str]) -> None:
        def write() -> None:
            self._iceberg.append([row for path in frame for row in self._read(path)], branch, gone=gone)

        self._change("replace", write)

    def head(self, branch: str) -> Snapshot:
        def look() -> Snapshot:
            head = self._iceberg.branches[branch]
            assert head is not None
            return self._iceberg.commits[head].shown()

        return self._look("head", look)

    def branch_at(self, snapshot_id: int, batch_id: str) -> str | None:
        def look() -> str | None:
            found = (name for name, at in self._iceberg.branches.items() if at == snapshot_id and batch_id in name)
            return next(found, None)

        return self._look("branch_at", look)

    def fast_forward(self, branch: str) -> bool:
        return self._change("fast_forward", lambda: self._iceberg.fast_forward(branch))

    def append_nothing(self, branch: str | None = None, batch_id: str | None = None) -> None:
        self._change("append_nothing", lambda: self._iceberg.append((), branch, batch_id))

    def publish(self, snapshot_id: int) -> int:
        return self._change("publish", lambda: self._iceberg.cherrypick(snapshot_id))

    def count_by(self, column: str, snapshot: Snapshot) -> dict[str, int]:
        return self._look("count_by", lambda: _count(self._iceberg.commits[snapshot.id].added))

    def rows_of(self, column: str, values: Sequence[str], snapshot_id: int | None = None) -> dict[str, int]:
        def look() -> tuple[Row, ...]:
            return self._iceberg.rows if snapshot_id is None else self._iceberg.commits[snapshot_id].rows

        rows = self._look("rows_of", look)
        return _count([row for row in rows if row[0] in values])

    def _look(self, point: str, effect: Callable[[], T]) -> T:
        return self._caller.call(point, effect, changes=False)

    def _change(self, point: str, effect: Callable[[], T]) -> T:
        return self._caller.call(point, effect, changes=True)

    def _state(self) -> TableState | None:
        if not self._iceberg.exists:
            return None
        properties = self._iceberg.properties
        return TableState(properties.get(LEDGER_PROPERTY), properties.get(TABLE_PROPERTY), self._iceberg.main)

    def _snapshots(self) -> dict[int, Snapshot]:
        return {at: commit.shown() for at, commit in self._iceberg.commits.items()}

    def _ancestors(self) -> list[Snapshot]:
        return [commit.shown() for commit in self._iceberg.line()]


def _count(rows: Sequence[Row]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for path, _ in rows:
        found[path] = found.get(path, 0) + 1
    return found
