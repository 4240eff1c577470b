"""Where the rows go."""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from autoloader_sdk.models.base import AnswerModel, NoneIsEmpty, RequestModel, problem, refuse

Name = Annotated[str, Field(min_length=1, max_length=255)]
LineageColumn = Literal["_source_file"]


def _twice(names: list[str]) -> str | None:
    return next((name for position, name in enumerate(names) if name in names[:position]), None)


class Partitioning(RequestModel):
    """Columns by whose values the table is partitioned; transforms of columns, such as `days(at)`, are not taken."""

    enabled: bool | None = None
    columns: Annotated[list[Name], NoneIsEmpty] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_columns(self) -> Self:
        fault = None
        if self.enabled and not self.columns:
            fault = "partitioning is enabled: name at least one column"
        elif repeated := _twice(self.columns):
            fault = f"'{repeated}' is there twice"
        if fault:
            raise ValidationError.from_exception_data("Partitioning", [problem(("columns",), refuse(fault))])
        return self


class Optimization(RequestModel):
    """The order of rows within files."""

    z_ordering_enabled: bool | None = None
    z_ordering_columns: Annotated[list[Name], NoneIsEmpty] = Field(default_factory=list)


class Destination(RequestModel):
    """An Iceberg table. Names may hold dots, quotes and blanks: they are quoted where they are used.

    `lineage_columns`: columns of ours that the table gets beside the data's own; `_source_file` is the path
    of the file that a row came from.
    """

    catalog: Name
    database: Name
    table: Name
    write_mode: Literal["append"] = "append"
    partitioning: Partitioning | None = None
    optimization: Optimization | None = None
    lineage_columns: Annotated[list[LineageColumn], NoneIsEmpty] = Field(default_factory=list)

    @field_validator("catalog", "database", "table")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not name.strip():
            raise refuse("the name is blank")
        if any(ord(character) < 32 or ord(character) == 127 for character in name):
            raise refuse("a name cannot hold control characters")
        return name

    @field_validator("lineage_columns")
    @classmethod
    def _once_each(cls, columns: list[LineageColumn]) -> list[LineageColumn]:
        if repeated := _twice(list(columns)):
            raise refuse(f"'{repeated}' is there twice")
        return columns

    @field_validator("write_mode", mode="before")
    @classmethod
    def _null_is_append(cls, value: object) -> object:
        return "append" if value is None else value


class DestinationData(AnswerModel):
    """The destination as a service answers it."""

    catalog: str | None = None
    database: str | None = None
    table: str | None = None
    write_mode: str | None = None
    partitioning: dict[str, object] | None = None
    optimization: dict[str, object] | None = None
    lineage_columns: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
