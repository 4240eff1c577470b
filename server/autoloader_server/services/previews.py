"""What would be loaded: file by file, its columns and first rows. Nothing is saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import RowMapping

from autoloader_sdk.models import (
    FilePlan,
    IngestionCreate,
    PlanAction,
    PlannedFile,
    PlanPart,
    PreviewColumn,
    PreviewResult,
)
from autoloader_server.db.clock import now
from autoloader_server.engine.begin import limits_of
from autoloader_server.engine.errors import RunStopped
from autoloader_server.engine.place import Place
from autoloader_server.engine.plan import Ledger, Planned, plan
from autoloader_server.engine.preview import Preview, Sample, preview
from autoloader_server.security.redact import redact
from autoloader_server.services.acceptance import faults_of
from autoloader_server.services.errors import Invalid, NotDone
from autoloader_server.services.ingestions import loaded_table, row_of
from autoloader_server.services.sources import listed, place_of, place_of_saved

if TYPE_CHECKING:
    from autoloader_server.service import Service

SHOWN_FILES = 100
_MOST_NAMED = 20
_WOULD = {
    "fail": "would fail",
    "rescue": "would fail, or its bad records would be rescued",
    "quarantine": "would fail, or its bad records would be set aside",
}


def preview_of(
    service: Service, body: IngestionCreate, *, files: int = SHOWN_FILES, sample: bool = True
) -> PreviewResult:
    """What the first run of an ingestion like this would load. Without files no Spark is started.

    `files`: so many of each action are shown; `sample`: let Spark read some of what would be loaded.

    Raises Invalid where the ingestion could not be made or its source cannot be listed, NotDone where Spark fails.
    """
    faults = faults_of(body, service.database.tenant)
    if faults:
        raise Invalid(faults)
    with listed():
        place = place_of(service, body)
        shown, taken = _planned(plan(_on_record(service, None, body), place.store, body, now()), files)
    return _previewed(service, body, place, shown, taken if sample else None)


def preview_saved(
    service: Service, ingestion_id: str, *, files: int = SHOWN_FILES, sample: bool = True
) -> PreviewResult:
    """What the next run of an ingestion would load; `sample`: let Spark read some of it.

    Raises NotFound, Invalid where its source cannot be listed, NotDone where its store or Spark fails.
    """
    with service.database.read() as connection:
        row = row_of(connection, ingestion_id)
    spec = IngestionCreate.model_validate(row["spec"])
    with listed():
        place = place_of_saved(service, spec, row)
        shown, taken = _planned(plan(_on_record(service, row, spec), place.store, spec, row["created_at"]), files)
    found = _previewed(service, spec, place, shown, taken if sample else None)
    if row["status"] in ("paused", "error"):
        found.warnings.insert(0, f"the ingestion is {row['status']}: no run starts before it is resumed or repaired")
    return found


def _on_record(service: Service, row: RowMapping | None, spec: IngestionCreate) -> Ledger:
    """What the ledger has of an ingestion, or of one that is to be made."""
    ingestion_id = "" if row is None else str(row["id"])
    table_id = None if row is None else row["table_uuid"]
    if table_id is None:
        with service.database.read() as connection:
            table_id = loaded_table(connection, service, spec, but=ingestion_id)
    return Ledger(service.database, ingestion_id, table_id, limits_of(service, spec).max_attempts)


def _planned(files: Iterable[Planned], most_shown: int) -> tuple[FilePlan, Sample]:
    """A plan in counts, with some files of each action; and a sample of those that would be loaded."""
    sample = Sample()
    counts: Counter[tuple[PlanAction, str]] = Counter()
    sizes: Counter[tuple[PlanAction, str]] = Counter()
    shown: dict[PlanAction, list[PlannedFile]] = {action: [] for action in PlanAction}
    for each in files:
        key = each.action, each.reason
        counts[key] += 1
        sizes[key] += each.entry.size
        if each.action == PlanAction.LOAD:
            sample.take(each.entry)
        if len(shown[each.action]) < most_shown:
            shown[each.action].append(_shown(each))
    by_action: Counter[PlanAction] = Counter()
    for (action, _), number in counts.items():
        by_action[action] += number
    parts = [
        PlanPart(action=action, reason=redact(reason), files=number, bytes=sizes[action, reason])
        for (action, reason), number in counts.most_common()
    ]
    return FilePlan(
        **{action.value: by_action[action] for action in PlanAction},
        load_bytes=sum(size for (action, _), size in sizes.items() if action == PlanAction.LOAD),
        parts=parts,
        files=[each for action in PlanAction for each in shown[action]],
        truncated=any(len(shown[action]) < by_action[action] for action in PlanAction),
    ), sample


def _shown(planned: Planned) -> PlannedFile:
    entry = planned.entry
    return PlannedFile(
        path=entry.path,
        action=planned.action,
        reason=redact(planned.reason),
        detail=redact(planned.detail) if planned.detail is not None else None,
        size=entry.size,
        etag=entry.etag,
        modified_at=entry.modified_at,
    )


def _previewed(
    service: Service, spec: IngestionCreate, place: Place, shown: FilePlan, sample: Sample | None
) -> PreviewResult:
    """What Spark sees in the sample, if there is one."""
    warnings = [f"{shown.fail} files cannot be read and would fail"] if shown.fail else []
    if not shown.load:
        some = shown.skip or shown.hold or shown.fail
        warnings.append("nothing at the source would be loaded" if some else "there are no files at the source")
        return PreviewResult(file_count=0, estimated_records=0, warnings=warnings, plan=shown)
    if sample is None:
        return PreviewResult(file_count=shown.load, estimated_records=None, warnings=warnings, plan=shown)
    files = sample.files()
    try:
        seen = preview(service.spark_of(spec.cluster_id).session(), spec, place, files)
    except RunStopped as error:
        raise NotDone(redact(str(error))) from error
    would = _WOULD[spec.on_bad_record]
    warnings += [f"{failure.path} {would}: {failure.message}" for failure in seen.failures[:_MOST_NAMED]]
    if len(seen.failures) > _MOST_NAMED:
        warnings.append(f"{len(seen.failures) - _MOST_NAMED} more of {len(files)} sampled files would fail")
    nested = [name for name in seen.new if "." in name]
    if nested:
        warnings.append(f"the table lacks fields within its columns: {', '.join(nested[:_MOST_NAMED])}")
    # Where every file was read, it is a count.
    records = seen.records if len(files) == shown.load else _extrapolated(seen, shown.load_bytes)
    return PreviewResult(
        schema=_columns(seen),
        sample_data=seen.rows,
        file_count=shown.load,
        estimated_records=records,
        warnings=[redact(sentence) for sentence in warnings],
        plan=shown,
    )


def _extrapolated(seen: Preview, size: int) -> int | None:
    """As many rows for each byte of the source as for each of the sample; None where none of that could be read."""
    return round(seen.records * size / seen.bytes) if seen.bytes else None


def _columns(seen: Preview) -> list[PreviewColumn]:
    new = {name.casefold() for name in seen.new}
    return [
        PreviewColumn(
            name=column.name,
            data_type=column.dataType.simpleString(),
            nullable=column.nullable,
            is_new=column.name.casefold() in new,
        )
        for column in seen.schema.fields
    ]
