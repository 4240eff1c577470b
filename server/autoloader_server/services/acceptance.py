"""What of a valid ingestion this version carries out, or may become of one: the rest is refused, or warned of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from autoloader_sdk.discovery.csvfiles import CsvOptions
from autoloader_sdk.discovery.patterns import compile_pattern
from autoloader_sdk.models import IngestionCreate
from autoloader_server.db.tenancy import DEFAULT_TENANT
from autoloader_server.engine.read import SOURCE_FILE
from autoloader_server.services.errors import Fault, Invalid
from autoloader_server.settings import LOCAL_CLUSTER, Settings
from autoloader_server.spark.errors import first_line

_SOURCES = ("local", "s3")
# Formats whose records are told apart (`Sifting` in engine/formats/base.py).
WITH_RECORDS = ("csv", "json")
# What no change may touch, beside the whole destination.
_FIXED = {"source": ("type", "path"), "format": ("type",)}


def faults_of(body: IngestionCreate, tenant: str) -> list[Fault]:
    """Why an ingestion like this is not made, previewed or priced for a tenant; nothing where it can be."""
    return [*_not_yet(body), *_unusable(body), *_not_its_own(body, tenant)]


def changed_spec(spec: Mapping[str, Any], given: Mapping[str, Any], tenant: str) -> IngestionCreate:
    """An ingestion after the change `given` (an `IngestionUpdate` on the wire); its credentials only if they are given.

    Raises Invalid where it would be none that could be made, or what tells its files and its table would be another.
    """
    faults = []
    for part, fixed in _FIXED.items():
        for name in fixed:
            wanted = (given.get(part) or {}).get(name, spec[part][name])
            if wanted != spec[part][name]:
                why = "cannot be changed: the ledger knows which files are in which table by it; make another ingestion"
                faults.append(Fault(("body", part, name), why))
    if faults:
        raise Invalid(faults)
    plain = ("cluster_id", "on_schema_change", "on_bad_record", "limits", "quality")
    changed = {**spec, **{name: given[name] for name in plain if name in given}}
    if "schedule" in given:
        changed["schedule"] = given["schedule"] or {}
    if "alert_recipients" in given:
        changed["quality"] = {**(changed.get("quality") or {}), "alert_recipients": given["alert_recipients"]}
    for part in _FIXED:
        changed[part] = {**spec[part], **(given.get(part) or {})}
    # These have no null: as if they had never been said.
    for name in ("cluster_id", "on_bad_record"):
        if changed.get(name) is None:
            changed.pop(name, None)
    try:
        body = IngestionCreate.model_validate(changed)
    except ValidationError as error:
        lines = error.errors(include_url=False, include_input=False)
        raise Invalid([Fault(("body", *line["loc"]), line["msg"]) for line in lines]) from None
    faults = [*_not_yet(body), *_unusable(body)]
    # Those that are stored are not in `body`, and were looked at when they came.
    if (given.get("source") or {}).get("credentials", {}) != {}:
        faults += _not_its_own(body, tenant)
    if faults:
        raise Invalid(faults)
    return body


def _not_yet(body: IngestionCreate) -> list[Fault]:
    """A fault for each value that the contract knows and a later version will carry out."""
    value = body.source.type
    if value in _SOURCES:
        return []
    why = f"'{value}' is not there yet: a later version will know it; now: {', '.join(_SOURCES)}"
    return [Fault(("body", "source", "type"), why)]


def _not_its_own(body: IngestionCreate, tenant: str) -> list[Fault]:
    """A fault for all that is the service's own, where it serves another tenant than the one who runs it."""
    if tenant == DEFAULT_TENANT:
        return []
    if body.source.type == "local":
        return [Fault(("body", "source", "type"), f"local folders are the service's own, not of tenant '{tenant}'")]
    given = body.source.credentials or {}
    own = f"of the service itself are not for tenant '{tenant}': give them as text"
    faults = [
        Fault(("body", "source", "credentials", name), f"variables and files {own}")
        for name, value in given.items()
        if isinstance(value, Mapping)
    ]
    # Of a type without a rule here nothing tells that they are not the service's own.
    if body.source.type != "s3" or not given.get("aws_access_key_id"):
        faults.append(Fault(("body", "source", "credentials"), f"the credentials {own}"))
    return faults


def _unusable(body: IngestionCreate) -> list[Fault]:
    """A fault for each value that no run could do anything with."""
    faults = []
    if body.on_bad_record != "fail" and body.format.type not in WITH_RECORDS:
        why = f"of {body.format.type} a single record cannot be told from the others: only of {', '.join(WITH_RECORDS)}"
        faults.append(Fault(("body", "on_bad_record"), why))
    if body.source.on_changed_file == "replace" and SOURCE_FILE not in (body.destination.lineage_columns or []):
        why = f"the rows of a file are told by the column {SOURCE_FILE}: add it to destination.lineage_columns"
        faults.append(Fault(("body", "source", "on_changed_file"), why))
    try:
        if body.source.file_pattern is not None:
            compile_pattern(body.source.file_pattern)
    except ValueError as error:
        faults.append(Fault(("body", "source", "file_pattern"), str(error)))
    if body.format.type == "csv":
        try:
            CsvOptions.from_mapping(body.format.options.given() if body.format.options else {})
        except ValueError as error:
            faults.append(Fault(("body", "format", "options"), str(error)))
    given = body.format.schema_.schema_json_ if body.format.schema_ is not None else None
    if given is not None and (wrong := _wrong_schema(given)) is not None:
        faults.append(Fault(("body", "format", "schema", "schema_json"), wrong))
    return faults


def _wrong_schema(given: dict[str, Any]) -> str | None:
    """Why Spark would not take this for a StructType, one of well-formed fields; None where it does."""
    from pyspark.sql.types import StructType

    try:
        StructType.fromJson(given)
    except Exception as error:
        return f"not a Spark StructType: {first_line(error)}"
    return None


def warnings_of(body: IngestionCreate, settings: Settings, *, has_credentials: bool) -> list[str]:
    """A sentence for each field that was taken and does nothing in this version.

    `has_credentials` tells it of credentials that are stored apart from `body`.
    """
    found: list[str] = []
    schedule, quality, layout = body.schedule, body.quality, body.destination.optimization
    if schedule.frequency is not None or schedule.cron_expression is not None:
        found.append("schedule: nothing will fire the schedule: there is no scheduler yet; run it by hand or by cron")
    if schedule.backfill is not None and schedule.backfill.enabled:
        found.append("schedule.backfill: is not carried out; use source.modified_after to load from a day on")
    if quality is not None and quality.on_low_row_count is not None and quality.row_count_threshold is None:
        found.append("quality.on_low_row_count: has no effect without quality.row_count_threshold")
    if quality is not None and (quality.alerts_enabled or quality.alert_recipients):
        found.append("quality: alerts are kept, but nobody is alerted yet")
    if layout is not None and (layout.z_ordering_enabled or layout.z_ordering_columns):
        found.append("destination.optimization: z-ordering is kept, but not carried out yet")
    if has_credentials and body.source.type == "local":
        found.append("source.credentials: local files need none; they are kept encrypted and not used")
    found += [f"format.options.{name}: has no effect on {body.format.type}" for name in body.format.idle_options]
    known = {LOCAL_CLUSTER, "default", *(cluster.id for cluster in settings.clusters)}
    if body.cluster_id not in known:
        found.append(f"cluster_id: '{body.cluster_id}' is not in GET /clusters: runs go to '{LOCAL_CLUSTER}'")
    return found
