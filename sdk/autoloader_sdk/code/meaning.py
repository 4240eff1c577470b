"""What an ingestion means, whoever wrote it: the same fields with the same values, defaults filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from autoloader_sdk import shorthand
from autoloader_sdk.code.fields import COLUMNS, known, position
from autoloader_sdk.discovery.s3_access import s3_path
from autoloader_sdk.models import MASKED, IngestionCreate, IngestionData, Limits

#: What can be changed by `PUT`; of source and format all else tells which files are in which table.
CHANGEABLE = ("cluster_id", "schedule", "quality", "on_schema_change", "on_bad_record", "limits")
_CHANGEABLE_PARTS = (
    *(f"source.{name}" for name in ("file_pattern", "include_existing", "modified_after", "min_age_seconds")),
    *("source.on_changed_file", "source.credentials", "format.options", "format.schema"),
)
_FIRST_CONTRACT = ("schedule", "quality")
#: What an older service does not know, and so does not tell.
_OURS = (
    *("on_schema_change", "on_bad_record", "limits", "destination.lineage_columns", "quality.on_low_row_count"),
    *("source.include_existing", "source.modified_after", "source.min_age_seconds", "source.on_changed_file"),
)
# A value that says what no value says.
_SAYS_NOTHING: Mapping[str, Any] = {
    "format.schema.inference": "auto",
    "format.schema.evolution_enabled": False,
    "schedule.backfill.enabled": False,
    "quality.alerts_enabled": False,
    "quality.on_low_row_count": "warn",
    "destination.partitioning.enabled": False,
    "destination.optimization.z_ordering_enabled": False,
}


class Change(NamedTuple):
    """A field, what the service has, and what the file wants; None: nothing, or the default."""

    field: str
    old: Any
    new: Any


def changeable(field: str, *, ours: bool) -> bool:
    """Whether a service, an older one if it is not `ours`, changes a field of an ingestion that is there."""
    if not ours:
        return _below(field, _FIRST_CONTRACT)
    return _below(field, CHANGEABLE) or _below(field, _CHANGEABLE_PARTS)


def told(data: IngestionData) -> dict[str, Any]:
    """What a service said of an ingestion, in the order of the contract; of credentials nothing."""
    fields = known(data.model_dump(mode="json", by_alias=True, exclude_unset=True))
    fields.get("source", {}).pop("credentials", None)
    return fields


def complete(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body with its defaults, without credentials. Raises ValidationError where it is none of this contract."""
    spec = IngestionCreate.model_validate(body)
    whole = spec.model_dump(mode="json", by_alias=True)
    whole["on_schema_change"] = spec.effective_on_schema_change
    whole["limits"] = (spec.limits or Limits()).model_dump(mode="json")
    del whole["source"]["credentials"]
    return whole


def differences(body: Mapping[str, Any], data: IngestionData, *, ours: bool) -> tuple[list[Change], list[str]]:
    """Where a file wants something else than what is there, and the fields of which nobody can tell."""
    fields = told(data)
    want = dict(_flat(complete(body)))
    try:
        have = dict(_flat(complete(fields)))
    except ValidationError:
        have = dict(_flat(fields))  # a value of another version of the contract: compared as it stands
    untold = set()
    if not ours:
        said = set(dict(_flat(fields)))
        untold = {field for field in {*want, *have} if _below(field, _OURS) and field not in said}
    default = dict(_flat(_DEFAULT))
    changes = [
        Change(field, have.get(field), want.get(field))
        for field in sorted({*want, *have} - untold, key=position)
        if _written(want.get(field)) != _written(have.get(field))
    ]
    changes += _credentials(body, data, ours=ours)
    asked = sorted((field for field in untold if want.get(field) != default.get(field)), key=position)
    return sorted(changes, key=lambda change: position(change.field)), asked


def beyond_first_contract(body: Mapping[str, Any]) -> list[str]:
    """The fields that an older service would take and do nothing about."""
    want, default = dict(_flat(complete(body))), dict(_flat(_DEFAULT))
    return [field for field, value in want.items() if _below(field, _OURS) and value != default.get(field)]


def way(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """From where to where an ingestion loads."""
    fields = dict(_flat({part: body.get(part) or {} for part in ("source", "destination")}))
    return tuple(fields.get(name) for name in _WAY)


def not_compared(body: Mapping[str, Any], data: IngestionData, *, ours: bool) -> bool:
    """Whether a file gives credentials of which the service shows the names alone, and they are the same."""
    return bool(body["source"].get("credentials")) and not _credentials(body, data, ours=ours)


def said(data: IngestionData) -> dict[str, Any]:
    """The least that a file needs to say to mean this ingestion. Raises ValidationError as `complete`."""
    whole = complete(told(data))
    least = _other(whole, _DEFAULT)
    for part, names in (("source", ("type", "path")), ("format", ("type",)), ("destination", _NAMES)):
        least[part] = {name: whole[part][name] for name in names} | least.get(part, {})
    least["name"] = whole["name"]
    least["source"] = shorthand.source(least["source"])  # a path as it will be read: made anew it is the same
    return known(least)


_NAMES = ("catalog", "database", "table")
_WAY = ("source.type", "source.path", "source.file_pattern", *(f"destination.{name}" for name in _NAMES))
# What a file means that says no more than it must.
_DEFAULT = complete(
    shorthand.ingestion("/", "csv", "a.b.c", name="a", on_schema_change="append_new_columns", cluster_id="default")
)


def _other(whole: Mapping[str, Any], default: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """What of `whole` is not the default; what is empty by default and here is left out."""
    found = {}
    for name, value in whole.items():
        usual = default.get(name)
        here = f"{path}{name}"
        if isinstance(value, Mapping) and here != COLUMNS:
            value = _other(value, usual if isinstance(usual, Mapping) else {}, f"{here}.")  # noqa: PLW2901
            if value:
                found[name] = value
        elif value != usual and not (value in (None, []) and usual in (None, [])):
            found[name] = value
    return found


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and values; what says nothing is left out, places are in one form."""
    for name, below in value.items():
        here = f"{path}{name}"
        if isinstance(below, Mapping) and here != COLUMNS:
            yield from _flat(below, f"{here}.")
        elif here == "source.path":
            yield here, _place(value.get("type"), below)
        elif below not in (None, []) and (below != _SAYS_NOTHING[here] if here in _SAYS_NOTHING else True):
            yield here, below


def _written(value: Any) -> str:
    """As JSON has it: to Python 1 and true are the same."""
    return json.dumps(value, sort_keys=True, default=str)


def _place(kind: Any, path: str) -> str:
    """One form for the ways to write a place."""
    if kind == "s3":
        try:
            return str(s3_path(path))
        except ValueError:  # an answer of another service: compared as it stands
            return path
    if kind == "local":
        # POSIX gives two slashes at the beginning a meaning of their own; no system that we run on does.
        return re.sub("^/+", "/", str(PurePosixPath(path.removeprefix("file://")))).rstrip("/") or "/"
    return path


def _credentials(body: Mapping[str, Any], data: IngestionData, *, ours: bool) -> list[Change]:
    """The change of credentials, as far as their names tell it; a file that does not speak of them wants no change."""
    if "credentials" not in body["source"] or not ours:
        return []
    want = body["source"]["credentials"] or {}
    have = dict.fromkeys(data.source.credentials or {}, MASKED)
    given = {name for name, value in want.items() if value is not None}
    return [Change("source.credentials", have or None, want or None)] if given != set(have) else []


def _below(field: str, among: tuple[str, ...]) -> bool:
    return any(field == one or field.startswith(f"{one}.") for one in among)
