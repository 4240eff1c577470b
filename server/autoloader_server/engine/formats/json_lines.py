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
    not_known,
    shown_path,
)
from autoloader_server.engine.formats.json_scan import Scanner, is_almost_strict, is_one
from autoloader_server.engine.formats.json_shape import is_comment, wrong_line
from autoloader_server.engine.formats.text import Unreadable
from autoloader_server.engine.required import any_lacking

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

WhyStrange = Callable[[Strange], str | None]

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


def garbled(lines: Iterator[bytes], scanner: Scanner | None, why_strange: WhyStrange) -> Iterator[BadRecord]:
    """The lines of which Spark would read something else than they hold; the rest it reads, or refuses by itself.

    Without a scanner nothing is known of fields. Raises Unreadable for a line that holds an array: of its records one
    alone cannot be left out.
    """
    for number, line in enumerate(lines, start=1):
        text = line.strip(_BLANK)
        if not text or _is_plain(text, scanner):
            continue
        if text.startswith(b"["):
            raise Unreadable(f"line {number} holds an array, so its bad records cannot be told from the good ones")
        why = _why_garbled(text) or _why_misread(text, scanner, why_strange)
        if why is not None:
            yield BadRecord(number, shown_line(line), why, digest(line), whole=True)


def strange_fields(lines: Iterator[bytes], scanner: Scanner | None) -> tuple[Strange, ...] | None:
    """What the scanner's columns lack, or are too narrow for, in lines that are read; None of what is no file of lines.

    It is one if its first line is a record, or most are: what begins a value that runs over lines is none.
    """
    records = others = 0
    begins = False
    found: dict[Strange, None] = {}
    for line in lines:
        text = line.strip(_BLANK)
        if not text or is_comment(text):
            continue
        if not text.startswith(b"{") or _why_garbled(text) is not None:
            others += 1
            continue
        begins = begins or not others
        records += 1
        if scanner is not None and not _is_plain(text, scanner):
            strange = scanner.strange(text, whole=False)
            if all(one.kind in ("unknown", "wider") for one in strange):
                found.update(dict.fromkeys(strange))
    return tuple(found) if begins or records > others else None


def _is_plain(text: bytes, scanner: Scanner | None) -> bool:
    # What the scanner lets through unread need not be UTF-8.
    return scanner is not None and text.isascii() and scanner.fits(text, whole=False)


def _why_garbled(text: bytes) -> str | None:
    """What is wrong with a line, whatever its fields."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} (0x{text[error.start]:02x}) of the line is not UTF-8"
    lone = lone_surrogate(text)
    if lone is not None:
        return f"{lone[0].decode()} is half a character"
    if not is_one(text):
        wrong = wrong_line(text)
        if wrong is not None:
            return f"the line {wrong}"
        if not is_almost_strict(text):
            # Spark may take it all the same (single quotes), and then drop fields of it that only Spark can tell.
            return None if is_comment(text) else "the line is no strict JSON"
    return None if text.startswith(b"{") else "the line is no object"


def _why_misread(text: bytes, scanner: Scanner | None, why_strange: WhyStrange) -> str | None:
    """Which field of a line is wrong for the scanner's columns, though Spark would not say so."""
    if scanner is None or not text.startswith(b"{"):
        return None
    strange = (why_strange(one) for one in scanner.strange(text, whole=False))
    return next((f"the field {why}" for why in strange if why is not None), None)


def shown_line(line: bytes) -> str:
    """A line as text; bytes that are not UTF-8 with a backslash, an x and their number."""
    return line.decode("utf-8", "backslashreplace")


def good_lines(texts: DataFrame, looks: Sequence[Look]) -> DataFrame:
    """The lines that none of these files' looks knows for bad."""
    from pyspark.sql.connect import functions as F

    its = F.sha2(F.col("value").cast("binary"), 256)
    return texts.where(~_among(its, [record for look in looks for record in look.bad])).select("value")


def sifted(
    texts: DataFrame, looks: Sequence[Look], data: StructType, parsing: Mapping[str, str], *, all_known: bool
) -> DataFrame:
    """Records of lines that were read as text: see `Sifting.sifted`."""
    from pyspark.sql.connect import functions as F
    from pyspark.sql.types import StringType, StructField, StructType

    known = {record.digest: record for look in looks for record in look.bad}
    frame = texts.select(F.col("value").alias("line"), shown_path(texts.schema).alias(PATH_COLUMN))
    frame = frame.where(F.col("line").rlike(r"[^ \t\r\n]"))
    line = F.col("line")
    its = F.sha2(line.cast("binary"), 256)
    whole = _among(its, [record for record in known.values() if record.whole])
    parts = _among(its, [record for record in known.values() if not record.whole])
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
    frame = frame.select("line", PATH_COLUMN, whole.alias("whole"), F.when(~whole, record).alias("record"))
    # Of a line with nothing but a comment there is no record.
    frame = frame.where(F.col("whole") | F.col("record").isNotNull())
    fields = [F.col("record").getField(field.name).alias(field.name) for field in data.fields]
    lacks = any_lacking(data, lambda name: F.col("record").getField(name))
    if lacks is not None:
        corrupt = F.coalesce(corrupt, F.when(lacks, not_known() if all_known else line))
    return frame.select(*fields, F.col(PATH_COLUMN), corrupt.alias(CORRUPT_COLUMN))


def _among(its: Column, records: Iterable[BadRecord]) -> Column:
    from pyspark.sql.connect import functions as F

    digests = list({record.digest for record in records})
    return its.isin(digests) if digests else F.lit(False)


def _is_odd(record: BadRecord) -> bool:
    """Whether its line is not UTF-8."""
    return record.digest != digest(record.text.encode())
