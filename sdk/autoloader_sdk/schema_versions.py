"""How a table's columns came to be as they are: one version for each change, and the files that brought it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoloader_sdk._http.endpoint import Call, L, Request, Resource, call
from autoloader_sdk.errors import NotFound
from autoloader_sdk.listing import Listing
from autoloader_sdk.models import SchemaChange, SchemaVersion, SchemaVersions
from autoloader_sdk.notebook import display


@dataclass(frozen=True)
class SchemaDifference:
    """What changed from one version to another, each column once: what was added and removed again is not in it."""

    old: int
    new: int
    changes: Sequence[SchemaChange]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        lines = [_line(change) for change in self.changes] or ["  no difference"]
        return "\n".join([f"schema version {self.old} → {self.new}", *lines])

    def _repr_html_(self) -> str:
        return display.schema_difference_html(self.old, self.new, self.changes)


class VersionsOfSchema(Resource[L]):
    """The versions of one ingestion's table: `ingestion.schema_versions()` for all of them, oldest first.

    The making of the table is version 1, and is not among them: the first change is version 2.
    """

    def __init__(self, link: L, path: str) -> None:
        super().__init__(link)
        self._path = path

    @call
    def __call__(self) -> Call[Listing[SchemaVersion]]:
        """All changes, oldest first.

        >>> [(version.version, version.changes_json) for version in flights.schema_versions()]
        []
        """
        return Listing((yield from self._all()).versions)

    @call
    def get(self, version: int) -> Call[SchemaVersion]:
        """One version.

        Raises:
            NotFound: there is no such version.
        """
        return (yield Request("GET", f"{self._path}/{version}")).read(SchemaVersion)

    @call
    def latest(self) -> Call[SchemaVersion]:
        """The last change.

        Raises:
            NotFound: nothing has changed since the table was made.
        """
        return (yield Request("GET", f"{self._path}/latest")).read(SchemaVersion)

    @call
    def diff(self, old: int = 1, new: int | None = None) -> Call[SchemaDifference]:
        """What changed from version `old` to `new`, the current one unless said.

            >>> print(flights.schema_versions.diff())
            schema version 1 → 1
              no difference

        Raises:
            NotFound: one of them is no version.
        """
        found = yield from self._all()
        current = max(found.current_version, *(each.version for each in found.versions), 1)
        to = current if new is None else new
        for wanted in (old, to):
            if not 1 <= wanted <= current:
                raise NotFound(f"there is no schema version {wanted}: there are 1 to {current}")
        low, high = sorted((old, to))
        steps = [change for each in found.versions if low < each.version <= high for change in each.changes_json]
        net = _net(steps)
        return SchemaDifference(old, to, net if old <= to else [_undone(change) for change in net])

    def _all(self) -> Call[SchemaVersions]:
        return (yield Request("GET", self._path)).read(SchemaVersions)


def _net(steps: Sequence[SchemaChange]) -> list[SchemaChange]:
    """Each column's type before the first step and after the last, where they differ; None: it was not there."""
    before: dict[str, str | None] = {}
    after: dict[str, str | None] = {}
    for step in steps:
        old = None if step.change_type == "NEW_COLUMN" else step.old_type
        before.setdefault(step.column_name, old)
        after[step.column_name] = None if step.change_type == "REMOVED_COLUMN" else step.new_type
    return [_change(name, before[name], after[name]) for name in after if before[name] != after[name]]


def _undone(change: SchemaChange) -> SchemaChange:
    return _change(change.column_name, change.new_type, change.old_type)


def _change(name: str, old: str | None, new: str | None) -> SchemaChange:
    kind = "NEW_COLUMN" if old is None else "REMOVED_COLUMN" if new is None else "TYPE_CHANGE"
    return SchemaChange(change_type=kind, column_name=name, old_type=old, new_type=new)


def _line(change: SchemaChange) -> str:
    match change.change_type:
        case "NEW_COLUMN":
            return f"  + {change.column_name} {change.new_type}"
        case "REMOVED_COLUMN":
            return f"  - {change.column_name} {change.old_type}"
    return f"  ~ {change.column_name} {change.old_type} → {change.new_type}"
