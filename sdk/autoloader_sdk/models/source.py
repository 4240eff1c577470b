"""Where the files are."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from autoloader_sdk.models.base import AnswerModel, Moment, RequestModel, problem, refuse, unknown_field

SourceType = Literal["s3", "azure_blob", "gcs", "local"]
OnChangedFile = Literal["hold", "append", "replace"]

SCHEMES: Mapping[SourceType, tuple[str, ...]] = {
    "s3": ("s3", "s3a", "s3n"),
    "azure_blob": ("abfss", "abfs", "wasbs", "wasb", "az", "azure", "https"),
    "gcs": ("gs", "gcs"),
    "local": ("file",),
}
"""The schemes that a path of each source type may have; the first is the usual one."""

S3_CREDENTIALS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "endpoint_url",
    "endpoint",
    "region",
    "aws_region",
)


def source_type(path: str) -> SourceType | None:
    """The source type that a path's scheme tells (`local` without one), or None for an unknown scheme."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", path)
    if match is None:
        return "local"
    scheme = match[1].lower()
    return next((kind for kind, schemes in SCHEMES.items() if scheme in schemes), None)


class Source(RequestModel):
    """The files to load: a place, and which of the files in it.

    `include_existing`: false loads only what arrives after the ingestion was made. `modified_after`: files
    last written before it are skipped. `on_changed_file`: what to do with a file that changed after it was
    loaded: hold it back (default), append its rows, or replace them.
    """

    type: SourceType
    path: str
    file_pattern: Annotated[str, Field(min_length=1)] | None = None
    credentials: dict[str, Any] | None = Field(default=None, repr=False)
    include_existing: bool = True
    modified_after: Moment | None = None
    on_changed_file: OnChangedFile = "hold"

    @field_validator("file_pattern")
    @classmethod
    def _pattern_says_something(cls, pattern: str | None) -> str | None:
        if pattern is not None and not pattern.strip():
            raise refuse("a pattern of blanks matches nothing; leave it out to load every file")
        return pattern

    @model_validator(mode="after")
    def _path_fits_type(self) -> Self:
        fault = _path_fault(self.type, self.path)
        if fault:
            raise ValidationError.from_exception_data("Source", [problem(("path",), refuse(fault))])
        return self

    @model_validator(mode="after")
    def _credentials_are_known(self) -> Self:
        if self.type == "s3":
            faults = [
                problem(("credentials", name), unknown_field(name, S3_CREDENTIALS))
                for name in self.credentials or {}
                if name not in S3_CREDENTIALS
            ]
            if faults:
                raise ValidationError.from_exception_data("Source", faults)
        return self


def _path_fault(kind: SourceType, path: str) -> str | None:
    if not path.strip():
        return "the path is empty; name a folder or a bucket"
    if "\0" in path:
        return "a path cannot hold a NUL character"
    found = source_type(path)
    if kind == "local":
        if found != "local":
            return f"a local path has no scheme like '{path.split('://', maxsplit=1)[0]}://'" + (
                f"; did you mean type '{found}'?" if found else ""
            )
        plain = path.removeprefix("file://")
        return None if PurePosixPath(plain).is_absolute() else "a local path is absolute: it starts with /"
    usual = SCHEMES[kind][0]
    if found != kind:
        return f"a path of type {kind} starts with {usual}://" + (
            f"; did you mean type '{found}'?" if found and "://" in path else ""
        )
    if not urlsplit(path).netloc:
        return f"the path names no bucket: write {usual}://bucket/folder/"
    return None


class SourceData(AnswerModel):
    """The source as a service answers it; credentials come redacted."""

    type: str | None = None
    path: str | None = None
    file_pattern: str | None = None
    credentials: dict[str, Any] | None = Field(default=None, repr=False)
    include_existing: bool | None = None
    modified_after: Moment | None = None
    on_changed_file: str | None = None
