"""Changes of columns: what Iceberg can widen is widened and nothing else, at any depth, and no struct is emptied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import types as T

from autoloader_server.engine.changes import (
    ADDED,
    REMOVED,
    RETYPED,
    Change,
    additions,
    all_paths,
    applied,
    removals,
    type_at,
    widened,
    widenings,
    wider_type,
)
from autoloader_server.engine.schema import new_fields, widens

INT, LONG, FLOAT, DOUBLE, TEXT = T.IntegerType(), T.LongType(), T.FloatType(), T.DoubleType(), T.StringType()
numbers: st.SearchStrategy[T.DataType] = st.sampled_from([T.ShortType(), INT, LONG, FLOAT, DOUBLE, TEXT]) | st.builds(
    lambda whole, scale: T.DecimalType(whole + scale, scale), st.integers(1, 20), st.integers(0, 18)
)
names = st.sampled_from(["a", "B", "a.b", "two words", "select", "back`tick", "ü"])


def struct(fields: dict[str, T.DataType]) -> T.StructType:
    return T.StructType([T.StructField(name, kind) for name, kind in fields.items()])


kinds = st.recursive(
    numbers,
    lambda inner: (
        inner.map(T.ArrayType)
        | inner.map(lambda kind: T.MapType(TEXT, kind))
        | st.dictionaries(names, inner, min_size=1, max_size=3).map(struct)
    ),
    max_leaves=5,
)
schemas = st.dictionaries(names, kinds, min_size=1, max_size=4).map(struct)


@pytest.mark.parametrize(
    ("have", "seen", "wider"),
    [
        (INT, LONG, LONG),
        (FLOAT, DOUBLE, DOUBLE),
        (FLOAT, INT, DOUBLE),
        (T.DecimalType(4, 2), T.DecimalType(7, 2), T.DecimalType(7, 2)),
        (T.DecimalType(4, 2), T.DecimalType(4, 0), T.DecimalType(6, 2)),
        (T.DecimalType(4, 2), T.DecimalType(4, 3), None),  # another scale
        (T.DecimalType(38, 2), T.DecimalType(38, 0), None),  # more than 38 digits
        (INT, T.ShortType(), None),  # fits as it is
        (LONG, INT, None),
        (LONG, DOUBLE, None),
        (INT, DOUBLE, None),
        (INT, TEXT, None),
        (FLOAT, LONG, None),  # a double would round it
        (TEXT, INT, None),
    ],
)
def test_a_type_is_widened_where_iceberg_can(have: T.DataType, seen: T.DataType, wider: T.DataType | None) -> None:
    assert wider_type(have, seen) == wider


@given(numbers, numbers)
def test_a_wider_type_holds_the_values_of_both(have: T.DataType, seen: T.DataType) -> None:
    wider = wider_type(have, seen)
    if wider is not None:
        assert widens(wider, have)
        assert widens(wider, seen)


@given(schemas, schemas)
def test_after_its_changes_a_schema_lacks_nothing_and_asks_for_nothing_more(
    have: T.StructType, seen: T.StructType
) -> None:
    changes = [*additions(have, seen), *widenings(have, seen)]
    after = applied(have, changes)
    assert list(new_fields(after, have)) == []
    for change in changes:
        assert type_at(after, change.path) is not None
    assert list(widenings(after, seen)) == []
    assert [field.name for field in after.fields][: len(have.fields)] == [field.name for field in have.fields]


def test_fields_within_arrays_maps_and_structs_are_widened_added_and_dropped() -> None:
    inner = struct({"x": INT, "y": TEXT})
    have = struct({"a": T.ArrayType(inner), "m": T.MapType(TEXT, inner), "S": struct({"select": FLOAT, "a.b": TEXT})})
    wide = struct({"x": LONG, "new": TEXT})
    seen = struct({"a": T.ArrayType(wide), "m": T.MapType(TEXT, wide), "s": struct({"select": DOUBLE})})
    changes = list(widenings(have, seen))
    assert [(change.path, change.new) for change in changes] == [
        (("a", "element", "x"), LONG),
        (("m", "value", "x"), LONG),
        (("S", "select"), DOUBLE),
    ]
    changes += [Change(("m", "value", "new"), None, TEXT), Change(("S", "a.b"), TEXT, None)]
    after = struct({"x": LONG, "y": TEXT})
    assert applied(have, changes) == struct(
        {
            "a": T.ArrayType(after),
            "m": T.MapType(TEXT, struct({"x": LONG, "y": TEXT, "new": TEXT})),
            "S": struct({"select": DOUBLE}),
        }
    )


def test_several_files_widen_a_column_as_far_as_the_widest_asks_for() -> None:
    data = struct({"d": T.DecimalType(4, 2)})
    asked = [Change(("d",), None, T.DecimalType(digits, 2)) for digits in (5, 9, 7)]
    assert widened(data, asked) == struct({"d": T.DecimalType(9, 2)})
    assert widened(data, [Change(("gone",), INT, LONG), Change(("d",), None, TEXT)]) == data


def test_a_struct_goes_as_one_and_no_struct_loses_its_last_field() -> None:
    schema = struct({"id": INT, "s": struct({"x": INT, "y": INT}), "t": struct({"x": INT}), "a": T.ArrayType(INT)})
    everything = set(all_paths(schema))
    assert [one.path for one in removals(schema, everything - {("id",)}, ())] == [("s",), ("t",), ("a",)]
    assert [one.path for one in removals(schema, {("s", "y"), ("t", "x")}, ())] == [("s", "y")]
    assert removals(schema, {("s", "x"), ("s", "y")}, ()) == []
    assert [one.path for one in removals(schema, {("id",), ("s", "y"), ("a",)}, {"id", "s"})] == [("a",)]
    assert removals(schema, everything, ()) == []


def test_a_change_tells_its_kind_and_itself() -> None:
    told = [Change(("s", "x"), None, INT), Change(("s", "x"), INT, LONG), Change(("s", "x"), INT, None)]
    assert [change.kind for change in told] == [ADDED, RETYPED, REMOVED]
    assert [str(change) for change in told] == ["'s.x' (int)", "'s.x' (int → bigint)", "'s.x' (int)"]
