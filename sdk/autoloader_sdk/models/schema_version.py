"""A change of a table's schema."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from autoloader_sdk.models.base import AnswerModel, Moment, NoneIsEmpty

_BOTH = (("schema_json", "schema"), ("changes_json", "changes"), ("strategy_applied", "resolution_type"))


class SchemaChange(AnswerModel):
    """One change: NEW_COLUMN, REMOVED_COLUMN or TYPE_CHANGE."""

    change_type: str = ""
    column_name: str = ""
    old_type: str | None = None
    new_type: str | None = None


class SchemaVersion(AnswerModel):
    """The table's schema after a change, what changed, and the rule in force.

    Two sets of names are in use for the last three; whichever was given, both are there.
    """

    id: str | int | None = None
    ingestion_id: str | None = None
    version: int = 1
    detected_at: Moment | None = None
    schema_json_: dict[str, Any] | None = Field(default=None, alias="schema_json")
    changes_json: Annotated[list[SchemaChange], NoneIsEmpty] = Field(default_factory=list)
    strategy_applied: str | None = None
    affected_files: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    changes: Annotated[list[SchemaChange], NoneIsEmpty] = Field(default_factory=list)
    resolution_type: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _both_sets_of_names(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        for ours, older in _BOTH:
            value = filled.get(ours) if filled.get(ours) is not None else filled.get(older)
            filled[ours] = filled[older] = value
        return filled


class SchemaVersions(AnswerModel):
    """The answer of `GET /ingestions/{id}/schema-versions`, oldest first."""

    versions: Annotated[list[SchemaVersion], NoneIsEmpty] = Field(default_factory=list)
    total: int = 0
    current_version: int = 1
