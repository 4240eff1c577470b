"""Each option of CSV and JSON changes what a load makes of a file, also where it is read record by record."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import pytest
from tests.integration.conftest import Ingest
from tests.integration.test_evolution import given
from tests.parts import sparks

from autoloader_sdk.models.format import OPTIONS

# How files are read is up to Spark.
pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)


@dataclass(frozen=True)
class Case:
    """A file that is read by some options, a record that is bad by them, and the rows of the others.

    `beside`: how many of these rows are loaded where the bad record is set aside.
    """

    kind: Literal["csv", "json"]
    options: dict[str, Any]
    content: str
    bad: str
    rows: list[tuple[Any, ...]]
    columns: dict[str, str] = field(default_factory=dict)
    beside: int = 2


# What Spark tells of an instant is in the zone of its session, UTC.
NOON = dt.datetime(2026, 3, 1, 12, 30)  # noqa: DTZ001
LONG_AGO = dt.datetime(1800, 1, 1)  # noqa: DTZ001
CASES = {
    "csv, as another program writes it": Case(
        "csv",
        {
            "delimiter": "||",
            "quote": "'",
            "escape": "\\",
            "comment": "#",
            "null_value": "NULL",
            "empty_value": "(empty)",
            "nan_value": "n/a",
            "positive_inf": "+oo",
            "negative_inf": "-oo",
        },
        "id||text||n\n# no record\n1||'it\\'s || here'||1.5\n2||NULL||n/a\n3||''||+oo\n4||x||-oo\n",
        "5||too few\n",
        [(1, "it's || here", 1.5), (2, None, math.nan), (3, "(empty)", math.inf), (4, "x", -math.inf)],
        beside=4,
    ),
    "csv, as a German writes it": Case(
        "csv",
        {
            "header": False,
            "delimiter": ";",
            "encoding": "windows-1252",
            "locale": "de-DE",
            "multiline": True,
            "ignore_leading_white_space": True,
            "ignore_trailing_white_space": True,
            "date_format": "dd.MM.yyyy",
            "timestamp_format": "dd.MM.yyyy HH:mm",
            "timestamp_ntz_format": "dd.MM.yyyy HH'h'mm",
        },
        "  Käse ;1.234,5;01.03.2026;01.03.2026 12:30;01.03.2026 12h30\n"
        '"a\nb";2;31.12.1899;01.01.1800 00:00;01.01.1800 00h00\n',
        "x;1;2026-03-01;;\n",
        [
            ("Käse", Decimal("1234.50"), dt.date(2026, 3, 1), NOON, NOON),
            ("a\nb", Decimal("2.00"), dt.date(1899, 12, 31), LONG_AGO, LONG_AGO),
        ],
        {"_c0": "string", "_c1": "decimal(10,2)", "_c2": "date", "_c3": "timestamp", "_c4": "timestamp_ntz"},
    ),
    "csv, with another end of records": Case(
        "csv",
        {"line_separator": "~"},
        "id,text~1,a\nb~2,c~",
        "x,y~",
        [(1, "a\nb"), (2, "c")],
        {"id": "integer", "text": "string"},
    ),
    "json, as a person writes it": Case(
        "json",
        {
            "allow_comments": True,
            "allow_single_quotes": True,
            "allow_unquoted_field_names": True,
            "allow_non_numeric_numbers": True,
            "allow_backslash_escaping_any_character": True,
            "locale": "de-DE",
            "date_format": "d. MMMM yyyy",
            "timestamp_format": "dd.MM.yyyy HH:mm",
            "timestamp_ntz_format": "dd.MM.yyyy HH'h'mm",
        },
        "{id: 1, 's': '\\z', n: NaN, /* no field */ d: '1. März 2026', t: '01.03.2026 12:30', z: '01.03.2026 12h30'}\n"
        '{"id": 2, "s": "b", "n": -Infinity, "d": null}\n',
        "{id: 'no number'}\n",
        [
            (1, "z", math.nan, dt.date(2026, 3, 1), NOON, NOON),
            (2, "b", -math.inf, None, None, None),
        ],
        {"id": "long", "s": "string", "n": "double", "d": "date", "t": "timestamp", "z": "timestamp_ntz"},
        # Of a line that is no strict JSON Spark alone could tell whether it has a field that the table lacks.
        beside=1,
    ),
    "json, with another end of records": Case(
        "json",
        {"line_separator": "\x1e", "encoding": "UTF-16LE", "multiline": False},
        '{"id": 1, "s": "ü"}\x1e{"id": 2,\n "s": "x"}\x1e',
        '{"id": "no number"}\x1e',
        [(1, "ü"), (2, "x")],
        {"id": "long", "s": "string"},
        # Its records are for Spark alone, so that the file fails as a whole.
        beside=0,
    ),
}


def told(rows: list[tuple[Any, ...]]) -> list[str]:
    """Rows that can be compared: one NaN is not equal to another."""
    return sorted(map(repr, rows))


@pytest.mark.parametrize("rule", ["fail", "quarantine"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_file_is_read_by_its_options(case: Case, rule: str, ingest: Ingest) -> None:
    encoding = case.options.get("encoding", "utf-8")
    loaded = ingest(
        case.kind,
        {"a": case.content.encode(encoding)},
        options=case.options,
        schema=given(**case.columns) if case.columns else None,
        on_bad_record=rule,
    )
    assert loaded.load().errors == []
    assert told(loaded.rows()) == told(case.rows)
    ran = loaded.load({"b": (case.content + case.bad).encode(encoding)})
    beside = 0 if rule == "fail" else case.beside
    assert set(ran.failed()) == (set() if beside else {"b"})
    assert ran.records == beside
    assert told(loaded.rows()) == told(case.rows + case.rows[len(case.rows) - beside :])


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_each_option_is_tried(kind: Literal["csv", "json"]) -> None:
    assert {name for case in CASES.values() if case.kind == kind for name in case.options} == OPTIONS[kind]


def test_a_file_with_an_end_of_records_of_its_own_that_spark_would_misread_fails(ingest: Ingest) -> None:
    files = {
        "good": 'id,text~1,"a"~',
        "blanks first": " ~id,text~1,a~",
        "a line's end at its end": "id,text~1,a~\n",
        "a line's end behind a quote": 'id,text~1,"a"\n~2,b~',
    }
    loaded = ingest("csv", files, options={"line_separator": "~"}, on_bad_record="quarantine")
    ran = loaded.load()
    assert {name: error.message for name, error in ran.failed().items()} == {
        "blanks first": "its first line holds nothing but blanks: take it away",
        "a line's end at its end": ("a line's end stands behind its last '~': take it away, or write a '~' behind it"),
        "a line's end behind a quote": (
            "a quote in it is never closed, or stands within a field without being doubled"
        ),
    }
    assert loaded.rows() == [(1, "a")]


def test_a_binary_file_is_told_whatever_its_delimiter_is(ingest: Ingest) -> None:
    files = {"good": "a§b\n1§x\n", "binary": "a§b\n" + "1§2\n" * 30_000 + "3§\0\n"}
    loaded = ingest("csv", files, options={"delimiter": "§", "comment": "#"})
    assert {name: error.message[:18] for name, error in loaded.load().failed().items()} == {
        "binary": "byte 150008 is NUL"
    }
    assert loaded.rows() == [(1, "x")]
