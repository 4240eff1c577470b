"""Schemas: what two make together holds the values of both, and nothing that either has is overlooked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import types as T

from autoloader_server.engine.schema import (
    as_text,
    case_variants,
    merge,
    merge_types,
    new_fields,
    storable,
    widens,
    without,
)

simple: st.SearchStrategy[T.DataType] = st.sampled_from(
    [
        T.StringType(),
        T.ByteType(),
        T.ShortType(),
        T.IntegerType(),
        T.LongType(),
        T.FloatType(),
        T.DoubleType(),
        T.BooleanType(),
        T.DateType(),
        T.TimestampType(),
        T.TimestampNTZType(),
        T.NullType(),
        T.DecimalType(10, 2),
        T.DecimalType(20, 0),
        T.DecimalType(38, 18),
    ]
)
names = st.sampled_from(["a", "b", "C", "ü", "x.y"])


def struct(fields: dict[str, T.DataType]) -> T.StructType:
    return T.StructType([T.StructField(name, kind) for name, kind in fields.items()])


kinds = st.recursive(
    simple,
    lambda inner: (
        inner.map(T.ArrayType)
        | inner.map(lambda kind: T.MapType(T.StringType(), kind))
        | st.dictionaries(names, inner, min_size=1, max_size=3).map(struct)
    ),
    max_leaves=5,
)
schemas = st.dictionaries(names, kinds, max_size=4).map(struct)


@given(schemas, schemas)
def test_a_merged_schema_lacks_nothing_of_either(left: T.StructType, right: T.StructType) -> None:
    merged = merge(left, right)
    paths = {field.name for field in merged.fields}
    assert paths == {field.name for field in left.fields} | {field.name for field in right.fields}
    assert list(new_fields(merged, merged)) == []


@given(schemas)
def test_a_schema_merged_with_itself_or_nothing_is_itself(schema: T.StructType) -> None:
    assert merge(schema, schema) == schema
    assert merge(schema, T.StructType([])) == schema
    assert merge(T.StructType([]), schema) == schema


@given(kinds, kinds)
def test_the_order_of_two_types_does_not_matter_to_what_they_make(left: T.DataType, right: T.DataType) -> None:
    one, other = merge_types(left, right), merge_types(right, left)
    assert list(new_fields(one, other)) == []
    if not isinstance(one, T.StructType | T.ArrayType | T.MapType):
        assert one == other


@given(simple, simple)
def test_what_widens_holds_each_value_as_it_is(have: T.DataType, seen: T.DataType) -> None:
    if widens(have, seen) and have != seen:
        assert merge_types(have, seen) == have or isinstance(have, T.FloatType)
        assert not widens(seen, have)
        # No fraction, digit or meaning is lost: an integer of 64 bits does not go into a double.
        assert (have.simpleString(), seen.simpleString()) not in {("double", "bigint"), ("float", "int")}
        assert not isinstance(have, T.StringType)


@given(schemas, schemas)
def test_new_fields_are_those_that_adding_makes_old(have: T.StructType, seen: T.StructType) -> None:
    fresh = list(new_fields(have, seen))
    assert all(column.path for column in fresh)
    if not fresh:
        assert {f.name.casefold() for f in seen.fields} <= {f.name.casefold() for f in have.fields}
    merged = merge(have, struct({f.path[0]: f.type for f in fresh if len(f.path) == 1}))
    assert [column for column in new_fields(merged, seen) if len(column.path) == 1] == []


@pytest.mark.parametrize(
    ("left", "right", "together"),
    [
        ("bigint", "double", "double"),
        ("decimal(20,0)", "double", "string"),
        ("decimal(20,0)", "bigint", "decimal(20,0)"),
        ("decimal(10,2)", "int", "decimal(12,2)"),
        ("decimal(38,0)", "decimal(38,10)", "string"),
        ("date", "timestamp", "timestamp"),
        ("boolean", "bigint", "string"),
        ("void", "array<int>", "array<int>"),
        ("array<void>", "array<int>", "array<int>"),
    ],
)
def test_two_types_make_the_narrowest_that_loses_nothing(left: str, right: str, together: str) -> None:
    def kind(text: str) -> T.DataType:
        plain = {"int": T.IntegerType(), "bigint": T.LongType(), "double": T.DoubleType(), "void": T.NullType()}
        plain |= {"date": T.DateType(), "timestamp": T.TimestampType(), "boolean": T.BooleanType()}
        plain |= {"string": T.StringType()}
        if text.startswith("array<"):
            return T.ArrayType(kind(text[6:-1]))
        if text.startswith("decimal"):
            precision, scale = text[8:-1].split(",")
            return T.DecimalType(int(precision), int(scale))
        return plain[text]

    assert merge_types(kind(left), kind(right)) == kind(together)
    assert merge_types(kind(right), kind(left)) == kind(together)


def test_names_that_differ_by_case_are_found_at_any_depth() -> None:
    have = struct({"a": T.LongType(), "l": T.ArrayType(struct({"x": T.LongType()}))})
    seen = struct(
        {"A": T.LongType(), "l": T.ArrayType(struct({"X": T.LongType(), "y": T.LongType()})), "b": T.LongType()}
    )
    assert list(case_variants(have, seen)) == [("A",), ("l", "element", "X")]
    assert [column.name for column in new_fields(have, seen)] == ["l.element.y", "b"]


def test_one_field_is_made_text_and_nothing_else() -> None:
    schema = struct({"a": T.LongType(), "l": T.ArrayType(struct({"x": T.LongType(), "y": T.LongType()}))})
    changed = as_text(schema, ("l", "element", "x"))
    assert changed.simpleString() == "struct<a:bigint,l:array<struct<x:string,y:bigint>>>"


@given(schemas)
def test_what_is_stored_has_the_same_names(schema: T.StructType) -> None:
    assert list(new_fields(schema, storable(schema))) == list(new_fields(storable(schema), schema)) == []
    assert without(schema, ["a"]).names == [name for name in schema.names if name != "a"]
