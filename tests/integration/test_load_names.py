"""Names of files and tables: whatever the store can hold and Spark can read is loaded under its exact path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.conftest import Ingest
from tests.parts import sparks

from autoloader_sdk.models import IngestionUpdate, RefreshRequest
from autoloader_server.services import batches, ingestions
from autoloader_server.services.batches import Decision
from autoloader_server.services.refresh import refresh

# How files are read is up to Spark; with which Iceberg it writes is tested in test_table_behind_our_back.py.
pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)


@pytest.fixture
def names_folder(tmp_path: Path) -> Path:
    """A folder of this machine, on whatever parts the tests run: the names are those of local files."""
    folder = tmp_path / "names"
    folder.mkdir()
    return folder


NAMES = [
    "two words",
    "percent%20twenty",
    "per%cent",
    "[1]",
    "{a}",
    "{a,b}",
    "hash#tag",
    "ü",
    "e\u0301 decomposed",
    "日本",
    "😀",
    "star*",
    "question?",
    "back\\slash",
    "plus+plus",
    "and&and",
    "semi;colon",
    "quo'te",
    'double"quote',
    "back`tick",
    "comma,comma",
    "equal=equal",
    "dollar$",
    "~tilde",
    "caret^",
    "pipe|pipe",
    "<angle>",
    "tab\tin",
    "at@",
    "(paren)!",
    "dot.dot. dot",
    " leading",
    "trailing ",
    "l" * 232,
]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_each_readable_name_is_loaded_under_its_exact_path(ingest: Ingest, names_folder: Path, kind: str) -> None:
    def content(at: int) -> str:
        rows = range(at + 1)
        return "a,b\n" + f"{at},x\n" * len(rows) if kind == "csv" else f'{{"a": {at}}}\n' * len(rows)

    suffixes = ["", "/part"]
    names = [f"{name}{suffix}.{kind}" for name in NAMES for suffix in suffixes]
    loaded = ingest(kind, {name: content(at) for at, name in enumerate(names)}, folder=names_folder)
    ran = loaded.load()
    assert ran.errors == []
    expected = {name: at + 1 for at, name in enumerate(names)}
    assert loaded.counts() == expected
    assert {name: known.records for name, known in loaded.files().items()} == expected
    assert loaded.sql("SELECT count(*) FROM {table} WHERE _source_file IS NULL") == [(0,)]
    assert loaded.load().message == "nothing new"


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_names_that_spark_takes_for_patterns_where_records_span_lines(
    ingest: Ingest, names_folder: Path, kind: str
) -> None:
    names = ["[1]", "{a,b}", "star*", "question?", "plain"]

    def content(at: int) -> str:
        return f'a,b\n{at},"x\ny"\n' if kind == "csv" else json.dumps({"a": at, "b": "x"}, indent=1)

    loaded = ingest(kind, {f"{name}.{kind}": content(at) for at, name in enumerate(names)}, folder=names_folder)
    ran = loaded.load()
    assert set(ran.failed()) == {f"[1].{kind}", f"{{a,b}}.{kind}"}
    assert {error.category for error in ran.errors} == {"data_malformed"}
    assert all("give it a name without [ ] { }" in error.message for error in ran.errors)
    assert loaded.values("a") == [2, 3, 4]
    # Where the table is there, nothing is made out of them.
    assert loaded.load({f"two {name}.{kind}": content(at) for at, name in enumerate(names)}).errors == []
    assert loaded.values("a") == [0, 1, 2, 2, 3, 3, 4, 4]
    assert set(loaded.counts().values()) == {1}


def test_a_bad_file_is_blamed_by_its_exact_name(ingest: Ingest, names_folder: Path) -> None:
    loaded = ingest("csv", {"good.csv": "a,b\n1,x\n"}, folder=names_folder)
    loaded.load()
    names = [f"{name}.csv" for name in NAMES]
    ran = loaded.load(dict.fromkeys(names, "a,b\none,x\n") | {"more.csv": "a,b\n2,y\n"})
    assert {error.file for error in ran.errors} == set(names)
    assert (ran.status, ran.files) == ("partial", 1)
    assert loaded.load().message == "nothing new"


def test_a_run_over_hidden_and_empty_files_alone_says_that_they_were_left_out(
    ingest: Ingest, names_folder: Path
) -> None:
    loaded = ingest("csv", {"_sales.csv": "a,b\n1,x\n", "empty.csv": ""}, folder=names_folder)
    ran = loaded.load()
    assert (ran.status, ran.skipped) == ("success", 2)
    assert ran.message == "nothing to load; left out, each with its reason in the ledger: 2 files"
    assert loaded.load().message == "nothing new"


def test_hidden_and_empty_files_are_skipped_with_the_reason_and_unreadable_names_fail(ingest: Ingest) -> None:
    good = "a,b\n1,x\n"
    loaded = ingest(
        "csv",
        {
            "good.csv": good,
            "_hidden.csv": good,
            ".hidden.csv": good,
            "_temporary/x.csv": good,
            "_SUCCESS": "",
            "empty.csv": "",
            "at 12:30.csv": good,
            "new\nline.csv": good,
        },
    )
    ran = loaded.load()
    assert {name: (known.status, known.reason) for name, known in loaded.files().items()} == {
        "good.csv": ("SUCCESS", None),
        "_hidden.csv": ("SKIPPED", "hidden file"),
        ".hidden.csv": ("SKIPPED", "hidden file"),
        "_temporary/x.csv": ("SKIPPED", "hidden folder _temporary"),
        "_SUCCESS": ("SKIPPED", "job marker _SUCCESS"),
        "empty.csv": ("SKIPPED", "empty file"),
        "at 12:30.csv": ("FAILED", "the path has a colon in it, which Spark can not read: rename it"),
        "new\nline.csv": ("FAILED", "the path has a newline in it, which Spark can not read: rename it"),
    }
    assert (ran.status, ran.files, ran.skipped) == ("partial", 1, 5)
    assert set(ran.failed()) == {"at 12:30.csv", "new\nline.csv"}
    again = loaded.load()
    assert (again.status, again.message) == ("success", "nothing new")


@pytest.mark.parametrize("name", ["quo'te", 'double"quote', "back`tick", "a.b", "two words", "ü", "semi;--", "UPPER"])
def test_a_table_and_its_database_may_have_any_name(ingest: Ingest, namespace: str, name: str) -> None:
    database = f"{namespace} {name}"
    loaded = ingest("json", {"a.json": json.dumps({"a": 1})}, destination={"database": database, "table": name})
    assert loaded.load().errors == []
    ran = loaded.load({"b.json": json.dumps({"a": 2, "n": 1}), "bad.json": '{"a": "x"}'})
    assert (ran.status, ran.files) == ("partial", 1)
    assert loaded.values("a") == [1, 2]
    quoted = database.replace("`", "``")
    assert [row[1] for row in loaded.sql(f"SHOW TABLES IN lake.`{quoted}`")] == [name]


def test_whatever_is_done_to_a_table_takes_its_name(ingest: Ingest, namespace: str) -> None:
    """Rows are replaced and set aside, a batch is held and released, another burned, and all is loaded afresh."""
    name = "back`tick \"a\".'b' ;--"
    loaded = ingest(
        "csv",
        {"a.csv": "a,b\n1,x\n2,y\n"},
        source={"on_changed_file": "replace"},
        destination={"database": f"{namespace} {name}", "table": name},
        on_bad_record="quarantine",
        quality={"row_count_threshold": 2, "on_low_row_count": "hold"},
    )
    assert loaded.load().errors == []
    assert loaded.load({"a.csv": "a,b\n3,x\n4,y\n5,z,more\n"}).errors == []
    assert loaded.values("a") == [3, 4]
    aside = loaded.table.removesuffix("`") + "__quarantine`"
    assert loaded.sql(f"SELECT line, record FROM {aside}") == [(4, "5,z,more")]

    decisions: list[tuple[str, Decision]] = [("b.csv", "release"), ("c.csv", "drop")]
    for few, decision in decisions:
        loaded.load({few: "a,b\n6,w\n"})
        (held,) = batches.find(loaded.service, loaded.id, status=["held"]).items
        assert loaded.wait(batches.decide(loaded.service, loaded.id, held.id, decision).run_id).errors == []
        assert loaded.values("a") == [3, 4, 6]

    ingestions.change(loaded.service, loaded.id, IngestionUpdate.model_validate({"quality": {}}))
    done = refresh(loaded.service, loaded.id, RefreshRequest(confirm=True), "full")
    assert loaded.wait(done.run_id).files == 3
    assert loaded.values("a") == [3, 4, 6, 6]


def test_columns_may_have_any_name(ingest: Ingest) -> None:
    names = [
        "quo'te",
        'dou"ble',
        "back`tick",
        "a.b",
        "two words",
        "ü",
        "semi;--",
        "(x)",
        "%",
        "select",
        "tab\tx",
        "a,b",
        "back\\slash",
    ]
    loaded = ingest("json", {"a.json": json.dumps({"s": {"x": 1}})})
    loaded.load()
    ran = loaded.load({"b.json": json.dumps({**dict.fromkeys(names, 1), "s": dict.fromkeys(names, 2)})})
    assert ran.errors == []
    assert [row for row in loaded.rows(*names) if row[0]] == [tuple([1] * len(names))]
    assert loaded.load({"c.json": json.dumps({"tab\tx": 2, 'new"': 3})}).errors == []
    assert [row for row in loaded.rows("tab\tx", 'new"') if row[1]] == [(2, 3)]
