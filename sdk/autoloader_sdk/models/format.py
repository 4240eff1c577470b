"""How the files are written."""

import codecs
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from autoloader_sdk.models.base import AnswerModel, RequestModel, problem, refuse, unknown_field

FormatType = Literal["json", "csv", "parquet", "avro", "orc"]
Compression = Literal["auto", "none", "uncompressed", "gzip", "gz", "bzip2", "bz2", "deflate", "snappy", "lz4", "zstd"]
Character = Annotated[str, Field(min_length=1, max_length=1)]

_EVERYWHERE = frozenset({"multiline", "compression", "header", "delimiter", "quote"})
_TEXT = frozenset({"encoding", "line_separator", "date_format", "timestamp_format", "timestamp_ntz_format", "locale"})
OPTIONS: Mapping[FormatType, frozenset[str]] = {
    "csv": frozenset(
        {"multiline", "header", "delimiter", "quote", "escape", "comment", "null_value", "empty_value"}
        | {
            "ignore_leading_white_space",
            "ignore_trailing_white_space",
            "nan_value",
            "positive_inf",
            "negative_inf",
        }
        | _TEXT
    ),
    "json": frozenset(
        {"multiline", "allow_comments", "allow_single_quotes", "allow_unquoted_field_names"}
        | {"allow_non_numeric_numbers", "allow_backslash_escaping_any_character"}
        | _TEXT
    ),
    "parquet": frozenset(),
    "avro": frozenset(),
    "orc": frozenset(),
}
"""The options that mean something for each format."""


class FormatOptions(RequestModel):
    """How to read a file. What is not given takes the service's default: RFC 4180 for CSV, lines for JSON.

    Names and meanings are Spark's (Spark SQL guide, "CSV Files" and "JSON Files"), written in snake case;
    `delimiter` is Spark's `sep`. An empty `quote` turns quoting off. In CSV `quote`, `escape`, `comment` and a
    `line_separator` other than LF, CRLF or CR are each one character of ASCII.
    """

    other_names: ClassVar[Mapping[str, str]] = {
        "sep": "delimiter",
        "separator": "delimiter",
        "charset": "encoding",
        "linesep": "line_separator",
        "codec": "compression",
    }

    multiline: bool | None = None
    compression: Compression | None = None
    header: bool | None = None
    delimiter: Annotated[str, Field(min_length=1)] | None = None
    quote: Annotated[str, Field(max_length=1)] | None = None
    escape: Character | None = None
    comment: Character | None = None
    encoding: str | None = None
    line_separator: Annotated[str, Field(min_length=1, max_length=2)] | None = None
    null_value: str | None = None
    empty_value: str | None = None
    nan_value: str | None = None
    positive_inf: str | None = None
    negative_inf: str | None = None
    date_format: Annotated[str, Field(min_length=1)] | None = None
    timestamp_format: Annotated[str, Field(min_length=1)] | None = None
    timestamp_ntz_format: Annotated[str, Field(min_length=1)] | None = None
    locale: Annotated[str, Field(min_length=2)] | None = None
    ignore_leading_white_space: bool | None = None
    ignore_trailing_white_space: bool | None = None
    allow_comments: bool | None = None
    allow_single_quotes: bool | None = None
    allow_unquoted_field_names: bool | None = None
    allow_non_numeric_numbers: bool | None = None
    allow_backslash_escaping_any_character: bool | None = None

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except (LookupError, ValueError):
                raise refuse(f"unknown encoding '{encoding}'; for example UTF-8, UTF-16LE, ISO-8859-1") from None
        return encoding

    def given(self) -> dict[str, Any]:
        """The options that have a value."""
        return {name: value for name, value in self if value is not None}


class FormatSchema(RequestModel):
    """The columns: found in the data (`auto`) or given as a Spark StructType (`manual`)."""

    inference: Literal["auto", "manual"] | None = None
    evolution_enabled: bool | None = None
    schema_json_: dict[str, Any] | None = Field(default=None, alias="schema_json")

    @field_validator("schema_json_", mode="before")
    @classmethod
    def _is_a_struct(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise refuse(f"not JSON: {error}") from None
        if value is not None:
            fault = struct_fault(value, "")
            if fault:
                raise refuse(f"not a Spark StructType: {fault}")
        return value

    @model_validator(mode="after")
    def _manual_has_columns(self) -> Self:
        if self.inference == "manual" and self.schema_json_ is None:
            fault = refuse("inference is 'manual': give the columns as a Spark StructType, or use 'auto'")
            raise ValidationError.from_exception_data("FormatSchema", [problem(("schema_json",), fault)])
        return self


def struct_fault(value: Any, where: str) -> str | None:
    """What keeps `value` from being a Spark StructType in JSON, or None; simple types are not checked."""
    at = f" at {where}" if where else ""
    if not isinstance(value, Mapping) or value.get("type") != "struct" or not isinstance(value.get("fields"), list):
        return f'expected {{"type": "struct", "fields": [...]}}{at}'
    if not value["fields"]:
        return f"no fields{at}"
    seen: set[str] = set()
    for position, field in enumerate(value["fields"]):
        name = field.get("name") if isinstance(field, Mapping) else None
        if not isinstance(name, str) or not name:
            return f"field {position}{at} has no name"
        if name in seen:
            return f"field '{name}'{at} is there twice"
        seen.add(name)
        fault = _type_fault(field.get("type"), f"{where}.{name}".lstrip("."))
        if fault:
            return fault
    return None


def _type_fault(kind: Any, where: str) -> str | None:
    if isinstance(kind, str) and kind:
        return None
    match kind:
        case {"type": "struct"}:
            return struct_fault(kind, where)
        case {"type": "array", "elementType": element}:
            return _type_fault(element, f"{where}.element")
        case {"type": "map", "keyType": key, "valueType": value}:
            return _type_fault(key, f"{where}.key") or _type_fault(value, f"{where}.value")
    return f"field '{where}' has no type that Spark knows"


class Format(RequestModel):
    """A file format, how to read it, and its columns.

    `multiline, compression, header, delimiter, quote` are accepted for each format, as the contract has
    them; where one has no effect, `idle_options` names it. `compression` never has: the end of a file's name tells it.
    """

    type: FormatType
    options: FormatOptions | None = None
    schema_: FormatSchema | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        given = self.options.given() if self.options else {}
        known = OPTIONS[self.type] | _EVERYWHERE
        faults = [problem(("options", name), unknown_field(name, known)) for name in given if name not in known]
        if faults:
            raise ValidationError.from_exception_data("Format", faults)
        return self

    @property
    def idle_options(self) -> list[str]:
        """Options that mean nothing for this format; one set to false, none or auto asks for nothing."""
        given = self.options.given() if self.options else {}
        asks_nothing = (False, "none", "auto", "uncompressed")
        return [name for name, value in given.items() if name not in OPTIONS[self.type] and value not in asks_nothing]


class FormatSchemaData(AnswerModel):
    """The columns' rule as a service answers it."""

    inference: str | None = None
    evolution_enabled: bool | None = None
    schema_json_: dict[str, Any] | str | None = Field(default=None, alias="schema_json")


class FormatData(AnswerModel):
    """The format as a service answers it."""

    type: str | None = None
    options: dict[str, Any] | None = None
    schema_: FormatSchemaData | None = Field(default=None, alias="schema")
