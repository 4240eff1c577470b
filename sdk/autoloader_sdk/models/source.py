"""Where the files are."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails

from autoloader_sdk.discovery.s3_access import key_problem, s3_path
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

MASKED = "***"
"""What an answer shows in the place of each credential."""

REFERENCES = ("env", "file")
"""Where a credential may be in the place of its value: `{"env": "NAME"}`, `{"file": "/path"}`."""


#: A week: whoever waits longer has another problem.
MOST_MIN_AGE = 7 * 24 * 3600


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
    last written before it are skipped. `min_age_seconds`: a file is left alone until it was last written so long
    ago, for one that is written slowly. `on_changed_file`: what to do with a file that changed after it was
    loaded: hold it back (default), append its rows, or replace them. `credentials`: text, or where the service
    finds it: `{"env": "NAME"}`, `{"file": "/path"}`; without any the service's own are used.
    """

    type: SourceType
    path: str
    file_pattern: Annotated[str, Field(min_length=1)] | None = None
    credentials: dict[str, Any] | None = Field(default=None, repr=False)
    include_existing: bool = True
    modified_after: Moment | None = None
    min_age_seconds: Annotated[int, Field(ge=0, le=MOST_MIN_AGE)] = 0
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
        given = self.credentials or {}
        faults = [] if self.type != "s3" else _s3_faults(given)
        faults += [
            problem(("credentials", name), refuse(why))
            for name, value in given.items()
            if (why := _value_fault(value)) is not None
        ]
        if faults:
            raise ValidationError.from_exception_data("Source", faults)
        return self


def _s3_faults(given: Mapping[str, Any]) -> list[InitErrorDetails]:
    faults = [
        problem(("credentials", name), unknown_field(name, S3_CREDENTIALS))
        for name in given
        if name not in S3_CREDENTIALS
    ]
    key_id, secret, token = S3_CREDENTIALS[:3]
    missing = next(
        (
            (needed, by)
            for needed, by in ((secret, key_id), (key_id, secret), (key_id, token))
            if given.get(by) and not given.get(needed)
        ),
        None,
    )
    if missing is not None:
        needed, by = missing
        faults.append(problem(("credentials", needed), refuse(f"it belongs to {by}, and is not given")))
    for one, other in (("endpoint_url", "endpoint"), ("region", "aws_region")):
        if given.get(one) and given.get(other) and given[one] != given[other]:
            faults.append(problem(("credentials", other), refuse(f"it says something else than {one}: give one")))
    endpoint = given.get("endpoint_url") or given.get("endpoint")
    if isinstance(endpoint, str) and not re.fullmatch(r"https?://[^/\s?#@]+/?", endpoint):
        name = "endpoint_url" if given.get("endpoint_url") else "endpoint"
        faults.append(problem(("credentials", name), refuse("it is not like https://host:port, without a path")))
    return faults


def _value_fault(value: object) -> str | None:
    """What is wrong with a value, which is text or says where the text is; it is not shown."""
    if value == MASKED:
        return f"{MASKED} is what answers show in the place of a credential: give the credential itself"
    if value is None or isinstance(value, str):
        return None
    if not isinstance(value, Mapping):
        return 'it must be text, {"env": "NAME"} or {"file": "/path"}'
    if len(value) != 1 or next(iter(value)) not in REFERENCES:
        return 'a reference is {"env": "NAME"} or {"file": "/path"}, and nothing else'
    kind, target = next(iter(value.items()))
    if not isinstance(target, str) or not target.strip():
        return f"the reference names no {'variable' if kind == 'env' else 'file'}"
    if kind == "file" and not PurePosixPath(target).is_absolute():
        return "the file of a reference is an absolute path, on the machine of the service"
    return None


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
    return key_problem(s3_path(path).key) if kind == "s3" else None


class SourceData(AnswerModel):
    """The source as a service answers it. Credentials are masked, also where an older service tells them."""

    type: str | None = None
    path: str | None = None
    file_pattern: str | None = None
    credentials: dict[str, Any] | None = Field(default=None, repr=False)
    include_existing: bool | None = None
    modified_after: Moment | None = None
    min_age_seconds: int | None = None
    on_changed_file: str | None = None

    @field_validator("credentials")
    @classmethod
    def _names_alone(cls, credentials: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if credentials is None else dict.fromkeys(credentials, MASKED)
