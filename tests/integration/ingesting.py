"""An ingestion over a folder of its own, as the tests drive it: files in, runs, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from tests.integration.folders import Folder, LocalFolder

from autoloader_sdk.models import IngestionCreate
from autoloader_server.db.tables import processed_files, run_errors, runs, schema_versions
from autoloader_server.service import Service
from autoloader_server.services import ingestions
from autoloader_server.services import runs as run_service

RUN_SECONDS = 180.0
# What is said of many files.
DO_NOT_FIT = "records do not fit the table's columns (mend them, or see on_bad_record)"
NOT_TEXT = "is NUL: it is a binary file, not text; leave it out by file_pattern, or load it by its own format"
Content = str | bytes


def deep(value: Any, depth: int, *, arrays: bool = False) -> Any:
    """A value within so many structs, every second one of them alone in an array if that is said."""
    for level in range(depth):
        value = [{f"l{level}": value}] if arrays and level % 2 else {f"l{level}": value}
    return value


def innermost(value: Any) -> tuple[Any, ...]:
    """What is within them, of a row of the table."""
    while isinstance(value, list) or len(value) == 1:
        value = value[0]
    return tuple(value)


@dataclass(frozen=True)
class Failed:
    """One entry of a run's errors; `file` is relative to the source, None for an error of the whole run."""

    file: str | None
    category: str
    message: str


@dataclass(frozen=True)
class Ran:
    """A run that has ended."""

    status: str
    message: str | None
    files: int
    records: int
    notes: list[str]
    errors: list[Failed]
    found: int
    skipped: int

    def failed(self) -> dict[str | None, Failed]:
        return {error.file: error for error in self.errors}


@dataclass(frozen=True)
class Known:
    """A current file version in the ledger."""

    status: str
    reason: str | None
    category: str | None
    records: int | None


class Ingestion:
    """One ingestion, the folder that it loads from, and its table.

    The folder is that of its source on this machine, unless another is given.
    """

    def __init__(self, service: Service, spec: Mapping[str, Any], place: Folder | None = None) -> None:
        self.service = service
        self.spec = IngestionCreate.model_validate(spec)
        self.place = place or LocalFolder(Path(self.spec.source.path))
        self.id: str = ingestions.create(service, self.spec).id

    @property
    def folder(self) -> Path:
        """The folder where it is one of this machine; a test that asks for it names one (`ingest(…, folder=…)`)."""
        assert isinstance(self.place, LocalFolder)
        return self.place.path

    def at(self, name: str) -> str:
        """The whole path of a file, as runs tell it."""
        return f"{self.place.source['path']}/{name}"

    @property
    def table(self) -> str:
        """The table's name as SQL takes it."""
        to = self.spec.destination
        return ".".join("`" + part.replace("`", "``") + "`" for part in (to.catalog, to.database, to.table))

    def write(self, files: Mapping[str, Content]) -> None:
        """Write files, text as UTF-8."""
        for name, content in files.items():
            self.place.write(name, content if isinstance(content, bytes) else content.encode())

    def load(self, files: Mapping[str, Content] | None = None) -> Ran:
        """Write `files`, ask for a run, and wait for its end and for the counts per file."""
        self.write(files or {})
        return self.wait(self.request())

    def request(self) -> str:
        run_id = run_service.request(self.service, self.id).run_id
        assert run_id is not None
        return run_id

    def wait(self, run_id: str | None) -> Ran:
        assert run_id is not None
        deadline = time.monotonic() + RUN_SECONDS
        while (row := self._row(run_id)).status in ("queued", "running"):
            assert time.monotonic() < deadline, f"the run is still at {row.step!r}"
            time.sleep(0.01)
        assert self.service.queue.wait_idle(RUN_SECONDS)
        with self.service.database.read() as connection:
            errors = connection.execute(
                select(run_errors).where(run_errors.c.run_id == run_id).order_by(run_errors.c.id)
            ).all()
        return Ran(
            status=row.status,
            message=row.message,
            files=row.files_processed,
            records=row.records_ingested,
            notes=list(row.notes),
            errors=[
                Failed(self.relative(error.file) if error.file else None, error.error_type, error.message)
                for error in errors
            ],
            found=row.files_found,
            skipped=row.files_skipped,
        )

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        """The table's rows in these columns (all of the data's own, without), sorted."""
        frame = self.service.spark.session().table(self.table)
        names = columns or [name for name in frame.columns if name != "_source_file"]
        quoted = ["`" + name.replace("`", "``") + "`" for name in names]
        return sorted((tuple(row) for row in frame.select(*quoted).collect()), key=repr)

    def values(self, column: str) -> list[Any]:
        return [row[0] for row in self.rows(column)]

    def types(self) -> dict[str, str]:
        """The table's own columns and their types."""
        schema = self.service.spark.session().table(self.table).schema
        return {f.name: f.dataType.simpleString() for f in schema.fields if f.name != "_source_file"}

    def counts(self) -> dict[str, int]:
        """Rows per file, as the table tells them; rows of no file of ours are left out."""
        frame = self.service.spark.session().table(self.table).groupBy("_source_file").count().dropna()
        return {self.relative(row[0]): row[1] for row in frame.collect()}

    def files(self) -> dict[str, Known]:
        """The current file versions in the ledger, by path relative to the source."""
        columns = processed_files.c
        with self.service.database.read() as connection:
            rows = connection.execute(
                select(columns.path, columns.status, columns.reason, columns.category, columns.records).where(
                    columns.ingestion_id == self.id, columns.current
                )
            ).all()
        return {self.relative(row[0]): Known(*row[1:]) for row in rows}

    def versions(self) -> list[Any]:
        with self.service.database.read() as connection:
            return list(
                connection.execute(select(schema_versions).where(schema_versions.c.ingestion_id == self.id)).all()
            )

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL of somebody else's; `{table}` is the table."""
        rows: Iterable[Any] = self.service.spark.session().sql(statement.replace("{table}", self.table)).collect()
        return [tuple(row) for row in rows]

    def relative(self, path: str) -> str:
        """A file's name, of the path that runs tell."""
        return path.removeprefix(self.at(""))

    def _row(self, run_id: str) -> Any:
        with self.service.database.read() as connection:
            return connection.execute(select(runs).where(runs.c.id == run_id)).one()
