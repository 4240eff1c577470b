"""JSON, a record a line: its bad lines are told from the good ones.

Spark reads the lines as text, so that a line can be left out by what it is, and parses the others itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from autoloader_server.engine.formats.base import (
    CORRUPT_COLUMN,
    PATH_COLUMN,
    BadRecord,
    Look,
    Strange,
    digest,
    shown_path,
)
from autoloader_server.engine.formats.json_scan import Scanner, is_one
from autoloader_server.engine.formats.json_shape import wrong_line
from autoloader_server.engine.formats.text import Unreadable

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

# What Jackson takes for blank.
_BLANK = b" \t\r\n"
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def lone_surrogate(data: bytes) -> re.Match[bytes] | None:
    """The first escape that is half a character: Spark puts another one in its stead."""
    if b"\\ud" not in data and b"\\uD" not in data:
        return None
    return next((found for found in _ESCAPE.finditer(data) if found["lone"]), None)


def garbled(
    lines: Iterator[bytes], scanner: Scanner, why_strange: Callable[[Strange], str | None]
) -> Iterator[BadRecord]:
    """The lines of which Spark would read something else than they hold; the rest it reads, or refuses by itself.

    Raises Unreadable for a line that holds an array: of its records one alone cannot be left out.
    """
    for number, line in enumerate(lines, start=1):
        text = line.strip(_BLANK)
        # What the scanner lets through unread need not be UTF-8.
        if not text or (text.isascii() and scanner.fits(text, whole=False)):
            continue
        if text.startswith(b"["):
            raise Unreadable(f"line {number} holds an array, so its bad records cannot be told from the good ones")
        why = _why(text, scanner, why_strange)
        if why is not None:
            yield BadRecord(number, shown_line(line), why, digest(line), whole=True)


def _why(text: bytes, scanner: Scanner, why_strange: Callable[[Strange], str | None]) -> str | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} (0x{text[error.start]:02x}) of the line is not UTF-8"
    lone = lone_surrogate(text)
    if lone is not None:
        return f"{lone[0].decode()} is half a character"
    if not is_one(text):
        wrong = wrong_line(text)
        return None if wrong is None else f"the line {wrong}"
    if not text.startswith(b"{"):
        return "the line is no object"
    strange = (why_strange(one) for one in scanner.strange(text, whole=False))
    return next((f"the field {why}" for why in strange if why is not None), None)


def strange_fields(lines: Iterator[bytes], scanner: Scanner | None) -> tuple[Strange, ...] | None:
    """What the scanner's columns lack, or are too narrow for, in the lines that are whole; None where most are none."""
    whole = others = 0
    found: dict[Strange, None] = {}
    for line in lines:
        text = line.strip(_BLANK)
        if not text:
            continue
        if not (text.startswith(b"{") and is_one(text)):
            others += 1
            continue
        whole += 1
        if scanner is not None and not scanner.fits(text, whole=False):
            found.update((one, None) for one in scanner.strange(text, whole=False) if one.kind in ("unknown", "wider"))
    return tuple(found) if whole >= others else None


def shown_line(line: bytes) -> str:
    """A line as text; bytes that are not UTF-8 with a backslash, an x and their number."""
    return line.decode("utf-8", "backslashreplace")


def sifted(
    texts: DataFrame, looks: Sequence[Look], data: StructType, parsing: Mapping[str, str], *, all_known: bool
) -> DataFrame:
    """Records of lines that were read as text: see `Sifting.sifted`."""
    from pyspark.sql.connect import functions as F
    from pyspark.sql.types import StringType, StructField, StructType

    known = {record.digest: record for look in looks for record in look.bad}
    column = F.col("value")
    line = F.when(column.startswith("\ufeff"), F.substring(column, 2, 2**31 - 1)).otherwise(column)
    frame = texts.select(line.alias("line"), shown_path(texts.schema).alias(PATH_COLUMN))
    frame = frame.where(F.col("line").rlike(r"[^ \t\r\n]"))
    line = F.col("line")
    its = F.sha2(line.cast("binary"), 256)
    whole, parts = _among(its, known.values(), whole=True), _among(its, known.values(), whole=False)
    # Text that is not UTF-8 cannot be a value of a table.
    odd = [F.lit(text) for one in known.values() if one.whole and _is_odd(one) for text in (one.digest, one.text)]
    shown = F.coalesce(F.element_at(F.create_map(*odd), its), line) if odd else line
    permissive = {**parsing, "mode": "PERMISSIVE"}
    if all_known:
        record = F.when(parts, F.from_json(line, data, permissive)).otherwise(
            F.from_json(line, data, {**parsing, "mode": "FAILFAST"})
        )
        corrupt = F.when(whole | parts, shown)
    else:
        wide = StructType([*data.fields, StructField(CORRUPT_COLUMN, StringType())])
        record = F.from_json(line, wide, permissive)
        corrupt = F.when(whole, shown).otherwise(F.col("record").getField(CORRUPT_COLUMN))
    frame = frame.select("line", PATH_COLUMN, F.when(~whole, record).alias("record"))
    fields = [F.col("record").getField(field.name).alias(field.name) for field in data.fields]
    return frame.select(*fields, F.col(PATH_COLUMN), corrupt.alias(CORRUPT_COLUMN))


def _among(its: Column, known: Iterable[BadRecord], *, whole: bool) -> Column:
    from pyspark.sql.connect import functions as F

    digests = [record.digest for record in known if record.whole is whole]
    return its.isin(digests) if digests else F.lit(False)


def _is_odd(record: BadRecord) -> bool:
    """Whether its line is not UTF-8."""
    return record.digest != digest(record.text.encode())
