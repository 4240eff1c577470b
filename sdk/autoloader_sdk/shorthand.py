"""What people write for short, as the bodies of the contract.

`"data/flights/"` is a source, `"csv"` a format, `"lake.bronze.flights"` a destination, `"30 2 * * *"` a
schedule. A dictionary or a model says all of it, and is taken as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from autoloader_sdk.errors import FieldProblem, Invalid
from autoloader_sdk.models import IngestionCreate, IngestionData, RequestModel, source_type
from autoloader_sdk.models.schedule import WORDS

Short: TypeAlias = str | Mapping[str, Any] | RequestModel
DEFAULT_CATALOG = "lake"
#: The column by which a row's file is found again; a bare request of the contract does not get it.
LINEAGE = ["_source_file"]
_WHAT_IT_LOADS = {
    "source": ("type", "path", "file_pattern"),
    "format": ("type",),
    "destination": ("catalog", "database", "table"),
}


def ingestion(
    files: Short | os.PathLike[str],
    form: Short,
    table: Short,
    *,
    when: Short | None = None,
    quality: Mapping[str, Any] | RequestModel | None = None,
    limits: Mapping[str, Any] | RequestModel | None = None,
    **plain: Any,
) -> dict[str, Any]:
    """A new ingestion, of its parts in their short forms; `plain` are the fields that have none. Raises Invalid."""
    body: dict[str, Any] = {
        **plain,
        "source": source(files),
        "format": file_format(form),
        "destination": {"lineage_columns": LINEAGE} | destination(table),
        "schedule": schedule(when),
    }
    parts = {"quality": whole(quality), "limits": whole(limits)}
    return checked(IngestionCreate, body | {name: part for name, part in parts.items() if part is not None})


def differences(body: Mapping[str, Any], there: IngestionData) -> list[str]:
    """The fields in which a new ingestion would load something else than one that is there."""
    has = there.model_dump(mode="json", by_alias=True)
    wanted = IngestionCreate.model_validate(body).model_dump(mode="json", by_alias=True)
    different = [
        f"{part}.{key}"
        for part, keys in _WHAT_IT_LOADS.items()
        for key in keys
        if body[part].get(key) != has[part].get(key)
    ]
    # An older service tells of no rules that it does not know.
    rules = [(wanted, has, key, key) for key in ("on_schema_change", "on_bad_record")]
    rules.append((wanted["source"], has["source"], "on_changed_file", "source.on_changed_file"))
    return different + [
        name for want, have, key, name in rules if have.get(key) is not None and want.get(key) != have[key]
    ]


def source(given: Short | os.PathLike[str]) -> dict[str, Any]:
    """A folder (made absolute), or `s3://…`, `gs://…`; a pattern at its end becomes the file pattern.

    Of a body without `type` the path tells it, and may have a pattern too.
    """
    body = _whole(given)
    if body is not None and "type" not in body and isinstance(body.get("path"), (str, os.PathLike)):
        return source(body.pop("path")) | body
    if body is None:
        path, pattern = _split_pattern(os.fspath(given))  # type: ignore[arg-type]
        kind = source_type(path)
        if kind is None:
            raise _invalid("source.path", f"unknown scheme '{path.split('://')[0]}://'; known: s3, gs, abfss, file")
        body = {"type": kind, "path": path} | ({"file_pattern": pattern} if pattern else {})
    folder = body.get("path")
    if body.get("type") == "local" and isinstance(folder, (str, os.PathLike)):
        body["path"] = _absolute(os.fspath(folder))
    return body


def _split_pattern(path: str) -> tuple[str, str | None]:
    """`data/*.csv` → `data`, `*.csv`. A name that is really there is a name, stars and all."""
    folders = path.split("/")
    first = next((at for at, name in enumerate(folders) if "*" in name or "?" in name), None)
    if first is None or (source_type(path) == "local" and Path(path).expanduser().exists()):
        return path, None
    return "/".join(folders[:first]) or ("/" if path.startswith("/") else "."), "/".join(folders[first:])


def _absolute(path: str) -> str:
    if path.startswith("file://") or not path:
        return path
    slash = "/" if path.endswith("/") and len(path) > 1 else ""
    return str(Path(path).expanduser().absolute()).rstrip("/") + slash or "/"


def file_format(given: Short) -> dict[str, Any]:
    """`"csv"`, or all of it."""
    body = _whole(given)
    return {"type": given} if body is None else body


def destination(given: Short) -> dict[str, Any]:
    """`catalog.database.table`; two parts are in the catalog `lake`. Dots within backticks are letters."""
    body = _whole(given)
    if body is None:
        parts = _parts(str(given))
        if len(parts) == 2:
            if parts[0] == DEFAULT_CATALOG:
                why = f"'{given}' lacks the database: write {DEFAULT_CATALOG}.<database>.{parts[1]}"
                raise _invalid("destination", why)
            parts = [DEFAULT_CATALOG, *parts]
        body = dict(zip(("catalog", "database", "table"), parts, strict=True))
    return {"write_mode": "append"} | body


def _parts(name: str) -> list[str]:
    """The parts of a dotted name; in backticks a dot is a letter and two backticks are one."""
    if not re.fullmatch(r"(?:`(?:[^`]|``)+`|[^`.]+)(?:\.(?:`(?:[^`]|``)+`|[^`.]+)){1,2}", name):
        raise _invalid(
            "destination",
            f"'{name}' is no table name; write database.table or catalog.database.table, "
            "a part that holds a dot in backticks",
        )
    found = re.findall(r"`((?:[^`]|``)+)`|([^`.]+)", name)
    return [inside.replace("``", "`") or plain for inside, plain in found]


def schedule(given: Short | None) -> dict[str, Any]:
    """None: only when asked. `hourly`, `daily`, `weekly`, or a cron expression of five fields (UTC)."""
    if given is None:
        return {}
    body = _whole(given)
    if body is not None:
        return body
    if given in WORDS:
        return {"frequency": given}
    return {"frequency": "custom", "cron_expression": given, "timezone": "UTC"}


def whole(given: Mapping[str, Any] | RequestModel | None) -> dict[str, Any] | None:
    """A part that has no short form."""
    return None if given is None else _whole(given)


def _whole(given: object) -> dict[str, Any] | None:
    if isinstance(given, RequestModel):
        return given.wire()
    return dict(given) if isinstance(given, Mapping) else None


def checked(model: type[RequestModel], body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as it is sent, if it keeps the contract.

    Raises:
        Invalid: it does not; nothing was sent.
    """
    try:
        return model.model_validate(body).wire()
    except ValidationError as error:
        raise Invalid.of(error.errors(include_url=False, include_input=False)) from None


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", fields=[FieldProblem(field, message)])
