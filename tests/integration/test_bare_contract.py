"""An ingestion as the contract alone has it: nothing is asked for that is ours, on each Spark."""

from __future__ import annotations

import pytest
from tests.integration.conftest import Ingest
from tests.parts import sparks

pytestmark = pytest.mark.sparks(*sparks.ALL)


def test_a_table_has_the_datas_own_columns_and_no_more(ingest: Ingest) -> None:
    loaded = ingest(
        "json",
        {"a.json": '{"id": 1, "n": "x"}\n{"id": 2}\n'},
        destination={"lineage_columns": None},
        on_schema_change=None,
    )
    ran = loaded.load()
    assert (ran.status, ran.errors) == ("success", [])
    assert loaded.service.spark.session().table(loaded.table).columns == ["id", "n"]
    assert loaded.rows() == [(1, "x"), (2, None)]
    # Without a rule other columns are left out, and told of; a bad file fails alone.
    ran = loaded.load({"b.json": '{"id": 3, "other": true}\n', "bad.json": '{"id": "x"}\n'})
    assert (ran.status, ran.files, set(ran.failed())) == ("partial", 1, {"bad.json"})
    assert any("'other'" in note or "other" in note for note in ran.notes), ran.notes
    assert loaded.rows() == [(1, "x"), (2, None), (3, None)]
    assert loaded.service.spark.session().table(loaded.table).columns == ["id", "n"]
    # Nobody can count rows per file without the column.
    assert {name: known.records for name, known in loaded.files().items()} == dict.fromkeys(
        ("a.json", "b.json", "bad.json")
    )
    assert loaded.load().message == "nothing new"
