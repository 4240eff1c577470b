"""The scan of JSON: whatever it lets through, Spark reads whole and into the right columns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyspark.sql import types as T

from autoloader_server.engine.formats.base import Strange
from autoloader_server.engine.formats.json_scan import Scanner, one_a_line
from autoloader_server.engine.formats.json_shape import LINES, WHOLE, begins_lines, check_lines, shape_of
from autoloader_server.engine.formats.text import Unreadable

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=3) | st.sampled_from(["a", "A", "b", "s"])
kinds: st.SearchStrategy[T.DataType] = st.recursive(
    st.sampled_from(
        [T.StringType(), T.LongType(), T.IntegerType(), T.DoubleType(), T.BooleanType(), T.DecimalType(20, 0)]
    ),
    lambda inner: (
        inner.map(T.ArrayType)
        | inner.map(lambda kind: T.MapType(T.StringType(), kind))
        | st.dictionaries(names, inner, min_size=1, max_size=3).map(
            lambda fields: T.StructType([T.StructField(name, kind) for name, kind in fields.items()])
        )
    ),
    max_leaves=5,
)
schemas = st.dictionaries(names, kinds, min_size=1, max_size=4).map(
    lambda fields: T.StructType([T.StructField(name, kind) for name, kind in fields.items()])
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def value_of(kind: T.DataType) -> st.SearchStrategy[Any]:
    """Values that go into a column, null and left out fields among them."""
    match kind:
        case T.StructType():
            fields = {field.name: value_of(field.dataType) for field in kind.fields}
            return st.none() | st.fixed_dictionaries({}, optional=fields)
        case T.ArrayType():
            return st.none() | st.lists(value_of(kind.elementType), max_size=3)
        case T.MapType():
            return st.none() | st.dictionaries(names, value_of(kind.valueType), max_size=3)
        case T.StringType():
            return values
        case T.LongType():
            return st.none() | st.integers(-(2**63), 2**63 - 1)
        case T.IntegerType():
            return st.none() | st.integers(-(2**31), 2**31 - 1)
        case T.DoubleType():
            return st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
        case T.DecimalType():
            # Wider ones have their own test below.
            return st.none() | st.integers(-(2**63) + 1, 2**63 - 1)
        case _:
            return st.none() | st.booleans()


def fits(value: Any, kind: T.DataType) -> bool:
    """What `Scanner.fits` promises, in the plainest words."""
    match kind:
        case _ if value is None:
            return True
        case T.StructType():
            known = {field.name: field.dataType for field in kind.fields}
            return isinstance(value, dict) and all(
                fits(inner, known[name]) if name in known else inner in (None, {}, []) for name, inner in value.items()
            )
        case T.ArrayType():
            return isinstance(value, list) and all(fits(inner, kind.elementType) for inner in value)
        case T.MapType():
            return isinstance(value, dict) and all(fits(inner, kind.valueType) for inner in value.values())
        case T.StringType():
            return True
        case T.BooleanType():
            return isinstance(value, bool)
        case T.DoubleType():
            return isinstance(value, float) or (
                isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
            )
        case _:
            limit = 2**63 if isinstance(kind, T.LongType) else 2**31
            number = isinstance(value, int) and not isinstance(value, bool)
            return number and (isinstance(kind, T.DecimalType) or -limit <= value < limit)


records = st.dictionaries(names, values, max_size=4)


@given(schema=schemas, rows=st.lists(records, min_size=1, max_size=3), whole=st.booleans(), learned=st.lists(records))
def test_what_fits_has_no_unknown_field_and_no_other_type(
    schema: T.StructType, rows: list[dict[str, Any]], whole: bool, learned: list[dict[str, Any]]
) -> None:
    scanner = Scanner(schema)
    for record in learned:  # what it has learned from other files makes no difference
        scanner.strange(json.dumps(record).encode(), whole=True)
    data = (json.dumps(rows) if whole else "\n".join(map(json.dumps, rows))).encode()
    if scanner.fits(data, whole=whole):
        assert all(fits(row, schema) for row in rows)


@given(data=st.data(), schema=schemas, whole=st.booleans(), ascii_only=st.booleans())
def test_what_goes_into_the_columns_is_nothing_strange_and_fits(
    data: st.DataObject, schema: T.StructType, whole: bool, ascii_only: bool
) -> None:
    fields = {field.name: value_of(field.dataType) for field in schema.fields}
    rows = data.draw(st.lists(st.fixed_dictionaries({}, optional=fields), min_size=1, max_size=3))
    text = json.dumps(rows, ensure_ascii=ascii_only)
    if not whole:
        text = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
    scanner = Scanner(schema)
    assert scanner.strange(text.encode(), whole=whole) == ()
    beyond = any(letter in '\\"' or letter < " " for name in _names(schema) for letter in name)
    assert scanner.fits(text.encode(), whole=whole) == (not beyond)


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**20 - 1, -(10**20) + 1])
def test_a_decimal_of_more_than_64_bits_is_walked_through_and_nothing_strange(number: int) -> None:
    column = T.MapType(T.StringType(), T.ArrayType(T.DecimalType(20, 0)))
    scanner = Scanner(T.StructType([T.StructField("d", T.DecimalType(20, 0)), T.StructField("m", column)]))
    for record in ({"d": number}, {"m": {"a": [1, number]}}):
        data = json.dumps(record).encode()
        assert not scanner.fits(data, whole=False)
        assert scanner.strange(data, whole=False) == ()
        assert scanner.sound


def _names(kind: T.DataType) -> list[str]:
    match kind:
        case T.StructType():
            return [name for field in kind.fields for name in [field.name, *_names(field.dataType)]]
        case T.ArrayType():
            return _names(kind.elementType)
        case T.MapType():
            return _names(kind.valueType)
        case _:
            return []


SCHEMA = T.StructType(
    [
        T.StructField("a", T.LongType()),
        T.StructField("d", T.DoubleType()),
        T.StructField("n", T.DecimalType(10, 2)),
        T.StructField("s", T.StructType([T.StructField("x", T.LongType())])),
        T.StructField("m", T.MapType(T.StringType(), T.StringType())),
        T.StructField("l", T.ArrayType(T.StructType([T.StructField("y", T.StringType())]))),
    ]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"b": 1}', [("b", "unknown")]),
        ('{"b": null, "c": {}, "e": []}', []),
        ('{"A": 1}', [("A", "case")]),
        ('{"s": {"x": 1, "z": 1, "X": 2}}', [("s.z", "unknown"), ("s.X", "case")]),
        ('{"l": [{"y": 1}, {"z": 2}, null]}', [("l.element.z", "unknown")]),
        ('{"a": 1, "a": 2, "a": 3}', [("a", "twice")]),
        ('[{"a": 1}, {"s": {"x": 1, "x": 1}}]', [("s.x", "twice")]),
        ('{"l": [{"y": 1}, {"y": 1, "y" : 2}], "a": 1}', [("l.element.y", "twice")]),
        ('{"b": null, "b": null}', [("b", "twice")]),
        ('{"b": [{"c": 1, "c": 2}]}', [("b", "unknown"), ("b.element.c", "twice")]),
        ('{"a": 1, "\\u0061": 2}', [("a", "twice")]),
        ('{"m": {"k\\u003a": 1}, "a": 1, "a": 2}', [("a", "twice")]),
        ('{"m": {"k": "1", "k": "2"}}', [("m.k", "twice")]),
        ('{"d": 9223372036854775808}', [("d", "digits")]),
        ('{"d": 1e309}', [("d", "digits")]),
        ('{"d": 1' + "0" * 400 + "}", [("d", "digits")]),
        ('{"d": 1e99999999999999999999}', [("d", "digits")]),
        ('{"d": -1E-99999999999999999999}', []),
        ('{"n": 1e9999999}', []),  # Spark refuses it
        ('{"n": 1e-9999999}', [("n", "fraction")]),
        ('{"q": ' + "[" * 1500 + "]" * 1500 + "}", []),  # and that
        ('{"d": 9223372036854775807}', []),
        ('{"n": 1.239}', [("n", "fraction")]),
        ('{"n": 1.230}', []),
        ('{"a": "text"}', []),  # Spark refuses it
    ],
)
def test_each_strange_thing_is_named(text: str, expected: list[tuple[str, str]]) -> None:
    scanner = Scanner(SCHEMA)
    found = scanner.strange(text.encode(), whole=True)
    assert [(one.name, one.kind) for one in found] == expected
    assert not (found and scanner.fits(text.encode(), whole=True))


def test_escapes_that_hide_no_colon_are_not_walked_through() -> None:
    assert Scanner(SCHEMA).fits(rb'{"m": {"k": "\u003cb\u003e: \u003d"}, "a": 1}', whole=True)


@given(
    schema=schemas,
    row=records,
    times=st.integers(1, 2),
    at=st.integers(0, 3),
    separators=st.sampled_from([(", ", ": "), (",", ":"), (" , ", " : "), (",", "\t:")]),
    learned=st.lists(records),
)
def test_a_field_that_is_there_twice_is_never_let_through(
    schema: T.StructType,
    row: dict[str, Any],
    times: int,
    at: int,
    separators: tuple[str, str],
    learned: list[dict[str, Any]],
) -> None:
    scanner = Scanner(schema)
    for record in learned:
        scanner.strange(json.dumps(record).encode(), whole=True)
    between, colon = separators
    pairs = [json.dumps(name) + colon + json.dumps(value, separators=separators) for name, value in row.items()]
    again = (pairs[at % len(pairs) : at % len(pairs) + 1] if pairs else []) * times
    text = "{" + between.join(pairs + again) + "}"
    for whole in (False, True):
        told = any(one.kind == "twice" for one in scanner.strange(text.encode(), whole=whole))
        assert told == bool(again)
        assert not (again and scanner.fits(text.encode(), whole=whole))


def test_learned_fields_are_told_of_in_each_file_that_has_them() -> None:
    scanner = Scanner(SCHEMA)
    first = b'{"a": 1, "b": 2}\n{"a": 1, "empty": null}\n'
    assert scanner.strange(first, whole=False) == (Strange(("b",), "unknown"),)
    assert scanner.strange(first, whole=False) == (Strange(("b",), "unknown"),)
    assert scanner.fits(b'{"a": 1, "empty": []}\n', whole=False)
    assert not scanner.fits(b'{"a": 1, "empty": 1}\n', whole=False)
    assert scanner.strange(b'{"empty": 1, "b": 3}\n', whole=False) == (
        Strange(("empty",), "unknown"),
        Strange(("b",), "unknown"),
    )
    assert not scanner.fits(first, whole=False)
    assert ("b.c", "twice") in [
        (one.name, one.kind) for one in scanner.strange(b'{"b": {"c": 3, "c": 4}}\n', whole=False)
    ]


@given(
    rows=st.lists(records, min_size=1, max_size=4),
    ends=st.lists(st.sampled_from(["", " ", "\n", "\r\n", "\n\n", "\n \n"])),
)
@example(rows=[{}, {}], ends=["\n", "\n\n"])
@example(rows=[{}, {}, {}], ends=[" ", "\n\n"])
def test_a_second_record_in_a_line_is_never_let_through(rows: list[dict[str, Any]], ends: list[str]) -> None:
    between = [*ends, *["\n"] * len(rows)][: len(rows)]
    text = "".join(json.dumps(row) + end for row, end in zip(rows, between, strict=True))
    alone = all("\n" in end for end in between[:-1])
    assert one_a_line(text.encode(), len(rows)) == alone
    if alone:
        assert check_lines(text.encode())
    else:
        with pytest.raises(Unreadable, match="holds something after"):
            check_lines(text.encode())


@given(
    rows=st.lists(records, min_size=1, max_size=3),
    indent=st.sampled_from([None, 1]),
    space=st.sampled_from(["", "\n", " \r\n"]),
)
def test_one_value_is_whole_and_many_are_lines_or_refused(
    rows: list[dict[str, Any]], indent: int | None, space: str
) -> None:
    array = space + json.dumps(rows, indent=indent) + space
    assert shape_of(array.encode()) == WHOLE
    assert not begins_lines(array.encode())
    text = space + "\n".join(json.dumps(row, indent=indent) for row in rows)
    over_lines = [row for row in rows if row and indent]
    if not over_lines:
        assert shape_of(text.encode()) == LINES
    elif len(rows) == 1:
        assert shape_of(text.encode()) == WHOLE
    elif rows[0] in over_lines:
        with pytest.raises(Unreadable, match="several JSON values"):
            shape_of(text.encode())
    else:
        with pytest.raises(Unreadable, match="is not a whole JSON value"):
            check_lines(text.encode())


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("", LINES),
        ("{'a': 'it\\'s }'}", LINES),
        ("{'a': NaN}\n{'a': 1}", LINES),
        ("{'a':\n NaN}", WHOLE),
        ("[{'a': 1},\n{'a': '{'}]", WHOLE),
        ("abc", LINES),
        ('{"a": 1}\n}', LINES),
    ],
)
def test_lenient_json_has_its_shape_by_its_brackets(text: str, shape: str) -> None:
    assert shape_of(text.encode()) == shape


@pytest.mark.parametrize("text", ["{'a': 1,\n'b'", "[\n{'a': 1}", "{'a': 'x\n}"])
def test_what_is_never_closed_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="is never closed"):
        shape_of(text.encode())
