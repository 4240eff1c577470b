"""A value within a value that is of another type than its column: never a silent null, on any Spark."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.conftest import Ingest
from tests.integration.test_bad_records import set_aside
from tests.parts import sparks

pytestmark = pytest.mark.sparks(*sparks.ALL)
GOOD: dict[str, Any] = {"s": {"x": 1, "d": {"y": 1.5}}, "l": [1, 2], "a": [{"z": True}], "id": 1}
# Of these each has one value that its place cannot hold.
BAD: dict[str, dict[str, Any]] = {
    "text for a number in a struct": {**GOOD, "s": {"x": "one", "d": {"y": 1.5}}},
    "a struct for a number in a struct": {**GOOD, "s": {"x": {"y": 1}, "d": {"y": 1.5}}},
    "a number for a struct": {**GOOD, "s": 7},
    "text for a number two deep": {**GOOD, "s": {"x": 1, "d": {"y": "one"}}},
    "text among numbers in a list": {**GOOD, "l": [1, "two"]},
    "a list in a list of numbers": {**GOOD, "l": [[1]]},
    "a number for a list": {**GOOD, "l": 7},
    "a number for a boolean in a struct in a list": {**GOOD, "a": [{"z": True}, {"z": 7}]},
    "a fraction among whole numbers in a list": {**GOOD, "l": [1, 2.5]},
    "a number that no whole number holds in a list": {**GOOD, "l": [1, 2**70]},
}


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_a_file_with_one_fails(ingest: Ingest) -> None:
    loaded = ingest("json", {"good.json": lines(GOOD)})
    loaded.load()
    names = {f"{number}.json": what for number, what in enumerate(BAD)}
    ran = loaded.load({name: lines({**GOOD, "id": 2}, BAD[what]) for name, what in names.items()})
    loaded_all_the_same = {what for name, what in names.items() if name not in ran.failed()}
    assert not loaded_all_the_same
    assert ran.files == 0
    assert loaded.values("id") == [1]


def test_the_record_is_set_aside_and_the_others_are_loaded(ingest: Ingest) -> None:
    loaded = ingest("json", {"good.json": lines(GOOD)}, on_bad_record="quarantine")
    loaded.load()
    ran = loaded.load({f"{number}.json": lines({**GOOD, "id": 2}, bad) for number, bad in enumerate(BAD.values())})
    assert (ran.errors, ran.files, ran.records) == ([], len(BAD), len(BAD))
    assert [record[0] for record in set_aside(loaded, "record")] == sorted(json.dumps(bad) for bad in BAD.values())
    assert loaded.values("id") == [1] + [2] * len(BAD)


def test_the_record_is_kept_as_text_where_it_is_rescued(ingest: Ingest) -> None:
    loaded = ingest("json", {"good.json": lines(GOOD)}, on_bad_record="rescue")
    loaded.load()
    ran = loaded.load({f"{number}.json": lines(bad) for number, bad in enumerate(BAD.values())})
    assert (ran.errors, ran.files) == ([], len(BAD))
    kept = [text for (text,) in loaded.sql("SELECT _rescued_data FROM {table} WHERE _rescued_data IS NOT NULL")]
    assert sorted(kept) == sorted(json.dumps(bad) for bad in BAD.values())
