"""How the JSON of a file is laid out: Spark's two modes read each other's files wrongly, or only their first value."""

from __future__ import annotations

import re
from typing import Literal

from autoloader_server.engine.formats.json_scan import is_one
from autoloader_server.engine.formats.text import Unreadable

Shape = Literal["lines", "whole"]
LINES: Shape = "lines"
WHOLE: Shape = "whole"
_SHOWN = 80


def is_comment(text: bytes) -> bool:
    """Whether a line is nothing but a comment."""
    return _COMMENTS.fullmatch(text) is not None


def begins_lines(data: bytes) -> bool:
    """Whether the first of several lines is a whole value, so that the file is one of lines."""
    start = len(data) - len(data.lstrip())
    end = _line_end(data, start)
    return end < len(data) and data[start : start + 1] == b"{" and is_one(data[start:end])


def shape_of(data: bytes) -> Shape:
    """Whether a file's UTF-8 JSON is one record a line, or one value. Raises Unreadable where it is neither.

    Also of JSON that is not strict (single quotes, NaN), as Spark takes it: then by its brackets. What Spark refuses by
    itself is left to Spark.
    """
    text = data.strip()
    first = text[: _line_end(text, 0)]
    if is_one(first):
        return WHOLE if text.startswith(b"[") and first == text else LINES
    if is_one(text):
        return WHOLE
    if _values(first) == 1:
        return LINES
    values = _values(text)
    if values == 1:
        return WHOLE
    if values is None:
        raise Unreadable(f"its JSON is not whole: what begins with {_shown(first)} is never closed")
    if _values(first) is None:
        raise Unreadable(
            "it holds several JSON values that run over lines: write one value a line, or one array a file"
        )
    return LINES


def check_lines(data: bytes, before: int = 0) -> bool:
    """Whether all lines are strict JSON; `before` lines of the file stand before them.

    Raises Unreadable where one holds more, or less, than one value: Spark reads the first and drops the rest.
    """
    strict = True
    for number, line in enumerate(data.splitlines(), start=before + 1):
        text = line.strip()
        if not text or is_one(text):
            continue
        strict = False
        if (wrong := wrong_line(text)) is not None:
            raise Unreadable(f"line {number} {wrong}: {_shown(text)}")
    return strict


def wrong_line(text: bytes) -> str | None:
    """Why a line that is no strict JSON is not one value either; None where Spark tells, or takes it."""
    comments = _COMMENTS.match(text)
    text = text[comments.end() :] if comments else text
    if not text.startswith((b"{", b"[")):
        return None  # Spark refuses a line that is no record
    match _values(text):
        case 1:
            return None
        case None:
            return "is not a whole JSON value"
        case _:
            return "holds something after its JSON value"


# Before a value: where they are not allowed Spark refuses the line.
_COMMENTS = re.compile(rb"(?:/\*.*?\*/\s*|//.*)+", re.DOTALL)
_TOKEN = re.compile(
    rb""" "(?:[^"\\]|\\.)*+(?P<open>"|\Z) | '(?:[^'\\]|\\.)*+(?P<single>'|\Z) | [{\[] | [}\]] | [^\s"'{}\[\]]++ """,
    re.VERBOSE | re.DOTALL,
)


def _values(data: bytes) -> int | None:
    """How many bracketed values stand side by side; None where one is not closed. Anything beside them counts."""
    depth = values = 0
    for token in _TOKEN.finditer(data):
        first = token[0][0]
        if token["open"] == b"" or token["single"] == b"":
            return None
        if depth == 0:
            values += 1
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth < 0:
                return 2
    return values if depth == 0 else None


def _line_end(data: bytes, start: int) -> int:
    ends = [at for mark in (b"\n", b"\r") if (at := data.find(mark, start)) >= 0]
    return min(ends, default=len(data))


def _shown(text: bytes) -> str:
    shown = text.decode("utf-8", "replace")
    return repr(shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…")
