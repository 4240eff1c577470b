"""What an ingestion would load, before it is made: its files, columns and first rows. Nothing is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoloader_sdk.models import IngestionCreate, PreviewColumn, PreviewResult
from autoloader_server.db.clock import now
from autoloader_server.engine.errors import RunStopped
from autoloader_server.engine.preview import Preview, Sample, preview
from autoloader_server.engine.survey import survey
from autoloader_server.security.redact import redact
from autoloader_server.services.acceptance import faults_of
from autoloader_server.services.errors import Invalid, NotDone
from autoloader_server.services.sources import listed, place_of

if TYPE_CHECKING:
    from autoloader_server.service import Service

_MOST_NAMED = 20
_WOULD = {
    "fail": "would fail",
    "rescue": "would fail, or its bad records would be rescued",
    "quarantine": "would fail, or its bad records would be set aside",
}


def preview_of(service: Service, body: IngestionCreate) -> PreviewResult:
    """List the source, and let Spark read a sample of its files. Without files no Spark is started.

    Raises Invalid where the ingestion could not be made or its source cannot be listed, NotDone where Spark fails.
    """
    faults = faults_of(body, service.database.tenant)
    if faults:
        raise Invalid(faults)
    sample = Sample()
    with listed():
        place = place_of(body)
        found = survey(service.database, None, place.store, body, now(), sample.take)
    warnings = [f"{found.unreadable} files cannot be read by their names and would fail"] if found.unreadable else []
    if not found.files:
        warnings.append("there are no files at the source")
        return PreviewResult(file_count=0, estimated_records=0, warnings=warnings)
    files = sample.files()
    try:
        seen = preview(service.spark_of(body.cluster_id).session(), body, place, files)
    except RunStopped as error:
        raise NotDone(redact(str(error))) from error
    would = _WOULD[body.on_bad_record]
    warnings += [f"{failure.path} {would}: {failure.message}" for failure in seen.failures[:_MOST_NAMED]]
    if len(seen.failures) > _MOST_NAMED:
        warnings.append(f"{len(seen.failures) - _MOST_NAMED} more of {len(files)} sampled files would fail")
    nested = [name for name in seen.new if "." in name]
    if nested:
        warnings.append(f"the table lacks fields within its columns: {', '.join(nested[:_MOST_NAMED])}")
    # Where every file was read, it is a count.
    records = seen.records if len(files) == found.files else _extrapolated(seen, found.bytes)
    return PreviewResult(
        schema=_columns(seen),
        sample_data=seen.rows,
        file_count=found.files,
        estimated_records=records,
        warnings=[redact(sentence) for sentence in warnings],
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
