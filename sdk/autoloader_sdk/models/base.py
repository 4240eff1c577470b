"""Two kinds of bodies: requests are strict and say what was meant, answers are read tolerantly."""

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import InitErrorDetails, PydanticCustomError

_COMMON = ConfigDict(populate_by_name=True, hide_input_in_errors=True, serialize_by_alias=True)
UNKNOWN_FIELD = "unknown_field"
UNKNOWN_VALUE = "unknown_value"


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be, or None when nothing is near.

    Case and punctuation do not count: `nullValue` and `null-value` are both near `null_value`.
    """
    by_squeezed = {_squeezed(each): each for each in known}
    wanted = _squeezed(name)
    hits = difflib.get_close_matches(wanted, by_squeezed, n=1, cutoff=0.6)
    if not hits and len(wanted) > 2:
        hits = [each for each in by_squeezed if each.startswith(wanted)]
    return by_squeezed[hits[0]] if len(hits) == 1 else None


def unknown_field(name: str, known: Iterable[str]) -> PydanticCustomError:
    """The error for a field that does not exist: with the nearest right name, else with all of them."""
    names = sorted(known)
    near = nearest(name, names)
    hint = f"did you mean '{near}'?" if near else f"known fields: {', '.join(names) or 'none'}"
    return PydanticCustomError(UNKNOWN_FIELD, "unknown field; {hint}", {"hint": hint})


def unknown_value(value: str, allowed: Iterable[str]) -> PydanticCustomError:
    """The error for a value outside a fixed set: names the set, and the nearest of it."""
    values = list(allowed)
    near = nearest(value, values)
    hint = f"; did you mean '{near}'?" if near else ""
    listed = ", ".join(values)
    return PydanticCustomError(
        UNKNOWN_VALUE,
        "unknown value '{value}'; allowed: {allowed}{hint}",
        {"value": value, "allowed": listed, "hint": hint},
    )


def refuse(message: str) -> PydanticCustomError:
    """A rule that a value breaks, in one sentence (the text is used as it is, braces and all)."""
    return PydanticCustomError("rule", "{sentence}", {"sentence": message})


def problem(loc: tuple[int | str, ...], error: PydanticCustomError) -> InitErrorDetails:
    """One line of a ValidationError, at `loc` below the model that raises it. It never holds the input."""
    return InitErrorDetails(type=error, loc=loc, input=None)


class RequestModel(BaseModel):
    """A body that we send: a field or value that the contract does not know is an error.

    The error says where (`loc`) and what was probably meant. It never carries the input, which may hold
    credentials: neither in its text nor in `errors()`.
    """

    model_config = ConfigDict(extra="forbid", **_COMMON)

    #: Names that people bring from elsewhere, and ours for them.
    other_names: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def wire_names(cls) -> list[str]:
        """The fields' names as they stand in JSON."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    def wire(self) -> dict[str, Any]:
        """The body as plain JSON values, under the names of the contract: what was given and nothing else."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_was_meant(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            found = [cls._explain(line) for line in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(cls.__name__, found, hide_input=True)

    @classmethod
    def _explain(cls, line: Any) -> InitErrorDetails:
        loc, kind, context = line["loc"], line["type"], line.get("ctx", {})
        if kind == "extra_forbidden" and len(loc) == 1:
            name = str(loc[0])
            meant = cls.other_names.get(_squeezed(name))
            return problem(loc, unknown_field(meant or name, cls.wire_names()))
        if kind == "literal_error" and isinstance(line["input"], str):
            return problem(loc, unknown_value(line["input"], re.findall(r"'([^']*)'", context["expected"])))
        # The message is kept as text: not every kind can be made again from its context.
        return problem(loc, PydanticCustomError(kind, "{sentence}", {"sentence": line["msg"]}))


class AnswerModel(BaseModel):
    """A body that a service sends: fields that we do not know are kept, absent ones have a default.

    Each kind is built when the first one is read: building all of them costs as much as importing httpx.
    """

    model_config = ConfigDict(extra="allow", defer_build=True, **_COMMON)

    def _repr_html_(self) -> str:
        from autoloader_sdk.notebook.display import model_html

        return model_html(self)


def _aware(moment: datetime) -> datetime:
    """UTC; a time without a zone is UTC (the older service sends such)."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # of the first year, or the last: it stays in its own zone
        return moment


Moment = Annotated[datetime, AfterValidator(_aware)]
"""An aware time in UTC."""


def _listed(value: Any) -> Any:
    return [] if value is None else value


NoneIsEmpty = BeforeValidator(_listed)
"""For lists that a service may send as null."""
