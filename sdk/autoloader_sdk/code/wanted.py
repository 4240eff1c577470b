"""What files say, as the bodies that the service takes. Whatever is wrong in any of them is said at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoloader_sdk import shorthand
from autoloader_sdk.code.fields import SHORT, wants_text
from autoloader_sdk.code.files import FileFault, Where, texts
from autoloader_sdk.code.yaml12 import Document, Fault, documents
from autoloader_sdk.discovery.patterns import compile_pattern
from autoloader_sdk.errors import FieldProblem, Invalid
from autoloader_sdk.models import IngestionCreate, source_type

# Not secret, as long as they look like this.
_ADDRESS, _REGION = re.compile(r"https?://[^/\s?#@]+/?"), re.compile(r"[a-z0-9-]{1,40}")
_OPEN = {"endpoint_url": _ADDRESS, "endpoint": _ADDRESS, "region": _REGION, "aws_region": _REGION}
_READ = {"source": shorthand.source, "destination": shorthand.destination, "schedule": shorthand.schedule}
# Stands where a short form was at fault, so that the other fields are looked at all the same.
_STAND_IN = {"source": "/", "format": "csv", "destination": "a.b.c", "schedule": None}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An ingestion as a file wants it; `body` is an IngestionCreate as it is sent."""

    name: str
    body: dict[str, Any]
    file: str
    line: int

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"


def read(places: Iterable[Where]) -> list[Wanted]:
    """All that the files say.

    Raises:
        Invalid: something in them is wrong; `fields` has each fault with its file and line.
    """
    found: list[Wanted] = []
    names: list[FileFault] = []
    faults: list[FileFault] = []
    for text in texts(places):
        if isinstance(text, FileFault):
            faults.append(text)
            continue
        broken: list[Fault] = []
        of_this: list[Fault] = []  # the faults of a document come before it
        for document in documents(text.text, wants_text):
            if isinstance(document, Fault):
                of_this.append(document)
                continue
            if document.value is not None or of_this:
                body, wrong = _body(document, text.folder, already=of_this)
                of_this += wrong
                if body is not None:
                    found.append(Wanted(body["name"], body, text.name, document.line_of("name")))
            if isinstance(document.value, Mapping) and isinstance(name := document.value.get("name"), str):
                names.append(FileFault(text.name, Fault(document.line_of("name"), "name", name)))
            broken += of_this
            of_this = []
        faults += [FileFault(text.name, fault) for fault in sorted(broken + of_this, key=lambda fault: fault.line)]
    faults += _twice(names)
    if faults:
        raise _invalid(faults)
    if not found:
        raise Invalid("there is no ingestion in these files: each document holds one, with name, source, …")
    return found


def _invalid(faults: list[FileFault]) -> Invalid:
    problems = [
        FieldProblem(f"{file}:{line}" + (f": {field}" if field else ""), message)
        for file, (line, field, message) in dict.fromkeys(faults)
    ]
    count = "one fault" if len(problems) == 1 else f"{len(problems)} faults"
    lines = "".join(f"\n  {where}: {message}" for where, message in problems)
    return Invalid(f"{count} in the files; nothing was sent{lines}", fields=problems)


def _twice(names: list[FileFault]) -> list[FileFault]:
    """A fault for each name that stood somewhere before."""
    first: dict[str, FileFault] = {}
    faults = []
    for each in names:
        name = each.fault.message
        before = first.setdefault(name, each)
        if before is not each:
            why = f"'{name}' is there twice, first at {before.file}:{before.fault.line}: a name is one ingestion's"
            faults.append(FileFault(each.file, each.fault._replace(message=why)))
    return faults


def _body(document: Document, folder: str, *, already: list[Fault]) -> tuple[dict[str, Any] | None, list[Fault]]:
    """The body that a document means, or what is wrong with it."""
    given = document.value
    if not isinstance(given, Mapping):
        why = "a document holds one ingestion: a mapping with name, source, format and destination; --- parts them"
        return None, [Fault(document.line, "", why)]
    # Null is as if it were not there: the default.
    given = {name: value for name, value in given.items() if value is not None}
    faults = [
        Fault(document.line, name, "is required")
        for name in ("name", "source", "format", "destination")
        if name not in given and not any(fault.field == name for fault in already)
    ]
    parts = {name: given.pop(name, _STAND_IN[name]) for name in SHORT}
    for name, value in [*parts.items(), *((name, given.get(name, {})) for name in ("quality", "limits"))]:
        if not isinstance(value, Mapping) and not (name in parts and (isinstance(value, str) or value is None)):
            kind = "text or a mapping" if name in parts else "a mapping"
            faults.append(Fault(document.line_of(name), name, f"must be {kind}"))
            parts[name] = _STAND_IN.get(name)
            given.pop(name, None)
    parts["source"], wrong = _source(parts["source"], folder)
    problems = list(wrong)
    for name, read_short in _READ.items():
        try:
            read_short(parts[name])
        except Invalid as error:
            problems += error.fields
            parts[name] = _STAND_IN[name]
    quality, limits = given.pop("quality", None), given.pop("limits", None)
    plain = {"cluster_id": "default", "on_schema_change": "append_new_columns", **given}
    if plain.get("on_bad_record") == "fail":
        del plain["on_bad_record"]  # as `create`: an older service need not know the word
    body = None
    try:
        body = shorthand.ingestion(
            parts["source"],
            parts["format"],
            parts["destination"],
            when=parts["schedule"],
            quality=quality,
            limits=limits,
            **{"name": "stand-in", **plain},
        )
    except Invalid as error:
        problems += error.fields
    problems += _pattern_fault(body)
    told = [fault.field for fault in [*already, *faults] if fault.field]
    faults += [
        Fault(document.line_of(field), field, message)
        for field, message in problems
        if not any(f"{one}.".startswith(f"{field}.") for one in told)  # nothing stands there any more
    ]
    return (None if faults or already else body), faults


def _source(given: Any, folder: str) -> tuple[Any, list[FieldProblem]]:
    """A source whose relative folder begins where its file is, and without credentials that are in clear."""
    if isinstance(given, str):
        return _from_file(given, folder), []
    source = dict(given)
    if isinstance(source.get("path"), str) and source.get("type", "local") == "local":
        source["path"] = _from_file(source["path"], folder)
    credentials = source.get("credentials")
    if not isinstance(credentials, Mapping):
        return source, []
    faults = []
    kept = dict(credentials)
    for name, value in credentials.items():
        usual = _OPEN.get(name)
        if isinstance(value, str) and usual is not None and usual.fullmatch(value):
            continue
        if value is not None and not isinstance(value, Mapping):
            why = "a credential does not stand in a file: {env: NAME} or {file: /path} says where the service finds it"
            faults.append(FieldProblem(f"source.credentials.{name}", why))
            kept[name] = {"env": "STAND_IN"}
    if kept:
        source["credentials"] = kept
    else:
        del source["credentials"]  # none is said: those that are stored stay
    return source, faults


def _from_file(path: str, folder: str) -> str:
    relative = path and source_type(path) == "local" and "://" not in path and not path.startswith(("/", "~"))
    return os.path.normpath(os.path.join(folder, path)) if relative else path


def _pattern_fault(body: Mapping[str, Any] | None) -> list[FieldProblem]:
    """The service would say the same, after others were made."""
    pattern = None if body is None else IngestionCreate.model_validate(body).source.file_pattern
    try:
        if pattern is not None:
            compile_pattern(pattern)
    except ValueError as error:
        return [FieldProblem("source.file_pattern", str(error))]
    return []
