"""When an ingestion runs."""

import re
from datetime import date, datetime
from typing import Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ValidationError, field_validator, model_validator

from autoloader_sdk.models.base import AnswerModel, RequestModel, nearest, problem, refuse

Frequency = Literal["hourly", "daily", "weekly", "custom"]

#: The frequencies that say all by themselves.
WORDS = ("hourly", "daily", "weekly")
_CRON_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")),
    ("day of week", 0, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),
)


class Backfill(RequestModel):
    """Whether files from before the ingestion was made are loaded too, and from which day on."""

    enabled: bool | None = None
    start_date: datetime | date | None = None


class Schedule(RequestModel):
    """When an ingestion runs by itself; with every field null it runs only when asked.

    `hourly` runs at the minute of `time`, `daily` at `time`, `weekly` on Monday at `time`, `custom` as
    `cron_expression` says (five fields). Times are in `timezone`, an IANA name.
    """

    frequency: Frequency | None = None
    time: str | None = None
    timezone: str | None = None
    cron_expression: str | None = None
    backfill: Backfill | None = None

    @field_validator("time")
    @classmethod
    def _is_a_time_of_day(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise refuse(f"'{value}' is no time of day; write HH:MM, from 00:00 to 23:59")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
                raise _no_zone(value) from None
        return value

    @field_validator("cron_expression")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None and (fault := cron_fault(value)):
            raise refuse(fault)
        return value

    @model_validator(mode="after")
    def _custom_has_cron(self) -> Self:
        if self.frequency == "custom" and self.cron_expression is None:
            fault = refuse("frequency is 'custom': give a cron expression of five fields, for example '30 2 * * 1-5'")
            raise ValidationError.from_exception_data("Schedule", [problem(("cron_expression",), fault)])
        return self

    @property
    def cron(self) -> str | None:
        """The five-field cron expression that this schedule means, or None when nothing is scheduled."""
        hour, minute = (int(part) for part in (self.time or "00:00").split(":"))
        match self.frequency:
            case "hourly":
                return f"{minute} * * * *"
            case "daily":
                return f"{minute} {hour} * * *"
            case "weekly":
                return f"{minute} {hour} * * 1"
        return self.cron_expression


def _no_zone(value: str) -> Exception:
    near = nearest(value, available_timezones())
    return refuse(
        f"unknown time zone '{value}'; " + (f"did you mean '{near}'?" if near else "write it like Europe/Berlin")
    )


def cron_fault(expression: str) -> str | None:
    """What is wrong with a five-field cron expression, in one sentence, or None.

    Fields may hold numbers, English names of months and days, `*`, lists, ranges and steps. Whether the
    expression ever fires (31 February does not) is for the scheduler to say.
    """
    fields = expression.split()
    if len(fields) == 6:
        return "a cron expression has five fields; this one has six: leave out the seconds"
    if len(fields) == 1 and (near := nearest(expression, WORDS)):
        return f"'{expression}' is no cron expression; did you mean '{near}'?"
    if len(fields) != len(_CRON_FIELDS):
        return f"a cron expression has five fields (minute hour day month weekday), not {len(fields)}"
    for text, (name, low, high, words) in zip(fields, _CRON_FIELDS, strict=True):
        for part in text.split(","):
            if fault := _cron_part_fault(part, low, high, words):
                return f"cron field '{name}': {fault}"
    return None


def _cron_part_fault(part: str, low: int, high: int, words: tuple[str, ...]) -> str | None:
    span, slash, step = part.partition("/")
    if slash and (not step.isascii() or not step.isdigit() or int(step) == 0):
        return f"'{part}' has no whole step above 0"
    if span == "*":
        return None
    first, dash, last = span.partition("-")
    ends = [_cron_number(text, low, words) for text in ([first, last] if dash else [first])]
    for number in ends:
        if number is None:
            return f"'{part}' is no number, range or list"
        if not low <= number <= high:
            return f"'{part}' is outside {low} to {high}"
    if len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
        return f"'{part}' runs backwards"
    return None


def _cron_number(text: str, low: int, words: tuple[str, ...]) -> int | None:
    if text.upper() in words:
        return words.index(text.upper()) + low
    return int(text) if text.isascii() and text.isdigit() else None


class BackfillData(AnswerModel):
    """The backfill as a service answers it."""

    enabled: bool | None = None
    start_date: datetime | date | str | None = None


class ScheduleData(AnswerModel):
    """The schedule as a service answers it."""

    frequency: str | None = None
    time: str | None = None
    timezone: str | None = None
    cron_expression: str | None = None
    backfill: BackfillData | None = None
