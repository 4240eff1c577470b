"""The bodies of the contract: strict where we send, tolerant where we read."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoloader_sdk.models import (
    FormatOptions,
    IngestionCreate,
    IngestionData,
    IngestionUpdate,
    RunData,
    Schedule,
    SchemaVersion,
    cron_fault,
    nearest,
    source_type,
)

STRUCT = {"type": "struct", "fields": [{"name": "a", "type": "long", "nullable": True, "metadata": {}}]}


def body(**changes: Any) -> dict[str, Any]:
    return {
        "name": "flights",
        "cluster_id": "c1",
        "source": {"type": "s3", "path": "s3://bucket/flights/", "file_pattern": "*.csv"},
        "format": {"type": "csv", "options": {"header": True}},
        "destination": {"catalog": "lake", "database": "bronze", "table": "flights", "write_mode": "append"},
        "schedule": {},
    } | changes


def faults(**changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as raised:
        IngestionCreate.model_validate(body(**changes))
    return {".".join(map(str, line["loc"])): line["msg"] for line in raised.value.errors()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "schedule": {
                "frequency": None,
                "time": None,
                "timezone": None,
                "cron_expression": None,
                "backfill": None,
            }
        },
        {"schedule": {"backfill": {"enabled": False}}},
        {"schedule": {"backfill": {"enabled": True, "start_date": "2024-01-31"}}},
        {"schedule": {"frequency": "daily", "time": "02:30", "timezone": "Europe/Berlin"}},
        {"schedule": {"frequency": "custom", "cron_expression": "*/15 6-22 * JAN,dec MON-FRI"}},
        {"schedule": None},
        {"quality": {"row_count_threshold": None}},
        {
            "quality": {
                "row_count_threshold": 0,
                "alerts_enabled": True,
                "alert_recipients": ["a@example.org"],
            }
        },
        {"quality": None, "on_schema_change": None},
        {"format": {"type": "csv", "options": {"multiline": False}}},
        {"format": {"type": "parquet", "options": {"multiline": False}}},
        {"format": {"type": "json", "options": None, "schema": None}},
        {"format": {"type": "csv", "schema": {"inference": "manual", "schema_json": STRUCT}}},
        {"format": {"type": "csv", "schema": {"inference": "manual", "schema_json": json.dumps(STRUCT)}}},
        {"format": {"type": "csv", "schema": {"inference": "auto", "evolution_enabled": True}}},
        {"destination": {"catalog": "l", "database": "a.b", "table": 'x"y`z'}},
        {"destination": {"catalog": "l", "database": "d", "table": "t", "partitioning": {"enabled": False}}},
        {"destination": {"catalog": "l", "database": "d", "table": "t", "lineage_columns": ["_source_file"]}},
        {"source": {"type": "azure_blob", "path": "abfss://box@account.dfs.core.windows.net/in"}},
        {"source": {"type": "gcs", "path": "gs://bucket"}},
        {
            "source": {
                "type": "local",
                "path": "/data/in",
                "include_existing": False,
                "on_changed_file": "hold",
            }
        },
        {"source": {"type": "local", "path": "file:///data/in", "modified_after": "2024-01-01T00:00:00Z"}},
        {"limits": {"max_attempts": 3}},
    ],
)
def test_each_form_in_use_is_accepted(changes: dict[str, Any]) -> None:
    IngestionCreate.model_validate(body(**changes))


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"nme": "x"}, "nme", "did you mean 'name'?"),
        ({"format": {"type": "csv", "optons": {}}}, "format.optons", "did you mean 'options'?"),
        (
            {"format": {"type": "csv", "options": {"sep": ";"}}},
            "format.options.sep",
            "did you mean 'delimiter'?",
        ),
        (
            {"format": {"type": "csv", "options": {"nullValue": ""}}},
            "format.options.nullValue",
            "'null_value'",
        ),
        ({"format": {"type": "json", "options": {"escape": "!"}}}, "format.options.escape", "known fields: "),
        ({"format": {"type": "cvs"}}, "format.type", "did you mean 'csv'?"),
        (
            {"source": {"type": "ftp", "path": "ftp://x"}},
            "source.type",
            "allowed: s3, azure_blob, gcs, local",
        ),
        ({"source": {"type": "s3", "path": "s3://"}}, "source.path", "names no bucket"),
        ({"source": {"type": "s3", "path": "gs://b"}}, "source.path", "did you mean type 'gcs'?"),
        ({"source": {"type": "local", "path": "data"}}, "source.path", "absolute"),
        ({"source": {"type": "local", "path": " "}}, "source.path", "empty"),
        (
            {"source": {"type": "local", "path": "/d", "file_pattern": ""}},
            "source.file_pattern",
            "at least 1",
        ),
        ({"on_schema_change": "append"}, "on_schema_change", "did you mean 'append_new_columns'?"),
        ({"name": "  "}, "name", "blank"),
        ({"schedule": {"frequency": "custom"}}, "schedule.cron_expression", "five fields"),
        ({"schedule": {"cron_expression": "daly"}}, "schedule.cron_expression", "did you mean 'daily'?"),
        ({"schedule": {"timezone": "Europe/Berln"}}, "schedule.timezone", "did you mean 'Europe/Berlin'?"),
        ({"schedule": {"time": "24:00"}}, "schedule.time", "HH:MM"),
        ({"quality": {"row_count_threshold": -1}}, "quality.row_count_threshold", "greater"),
        ({"quality": {"on_low_row_count": "holt"}}, "quality.on_low_row_count", "did you mean 'hold'?"),
    ],
)
def test_a_fault_names_its_field_and_what_was_meant(changes: dict[str, Any], field: str, words: str) -> None:
    found = faults(**changes)
    assert list(found) == [field]
    assert words in found[field]


@pytest.mark.parametrize("mode", ["overwrite", "merge", "Append"])
def test_a_write_mode_other_than_append_is_refused(mode: str) -> None:
    to = {"catalog": "l", "database": "d", "table": "t", "write_mode": mode}
    assert "allowed: append" in faults(destination=to)["destination.write_mode"]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\0b"])
def test_a_name_that_no_table_can_have_is_refused(name: str) -> None:
    assert list(faults(destination={"catalog": "l", "database": "d", "table": name})) == ["destination.table"]


@pytest.mark.parametrize(
    "struct",
    [
        [],
        {"type": "struct"},
        {"type": "struct", "fields": []},
        {"type": "struct", "fields": [{"name": "a"}]},
        {"type": "struct", "fields": [{"type": "long"}]},
        {"type": "struct", "fields": [{"name": "a", "type": {"type": "array"}}]},
        {"type": "struct", "fields": [{"name": "a", "type": "long"}, {"name": "a", "type": "long"}]},
        "not json",
    ],
)
def test_a_schema_that_is_no_struct_is_refused(struct: object) -> None:
    found = faults(format={"type": "csv", "schema": {"schema_json": struct}})
    assert list(found) == ["format.schema.schema_json"]


def test_all_faults_are_told_at_once() -> None:
    found = faults(nme=1, format={"type": "cvs"}, destination={"catalog": "", "database": "d"})
    assert set(found) == {"nme", "format.type", "destination.catalog", "destination.table"}


@pytest.mark.parametrize(
    "source",
    [
        {"type": "ftp", "path": "x", "credentials": "hunter2"},
        {"type": "s3", "path": "s3://b", "credentials": {"aws_secret_acces_key": "hunter2"}},
        {"type": "s3", "path": "", "credentials": {"aws_secret_access_key": "hunter2"}},
        {"type": "s3", "credentials": {"aws_secret_access_key": "hunter2"}, "hunger": {"k": "hunter2"}},
    ],
)
def test_no_error_and_no_repr_shows_a_credential(source: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        IngestionCreate.model_validate(body(source=source))
    assert "hunter2" not in f"{raised.value} {raised.value!r} {raised.value.errors()} {raised.value.json()}"
    keys = {"aws_access_key_id": "hunter2", "aws_secret_access_key": "hunter2"}
    good = body(source={"type": "s3", "path": "s3://b", "credentials": keys})
    model = IngestionCreate.model_validate(good)
    assert "hunter2" not in f"{model} {model!r}"
    assert model.wire() == good


@pytest.mark.parametrize(
    ("given", "effective"),
    [
        ({}, "ignore"),
        ({"format": {"type": "csv", "schema": {"evolution_enabled": True}}}, "append_new_columns"),
        ({"format": {"type": "csv", "schema": {"evolution_enabled": False}}}, "ignore"),
        (
            {"on_schema_change": "fail", "format": {"type": "csv", "schema": {"evolution_enabled": True}}},
            "fail",
        ),
    ],
)
def test_the_rule_for_schema_changes_that_is_in_force(given: dict[str, Any], effective: str) -> None:
    assert IngestionCreate.model_validate(body(**given)).effective_on_schema_change == effective


@pytest.mark.parametrize(
    ("schedule", "cron"),
    [
        ({}, None),
        ({"frequency": "hourly", "time": "00:20"}, "20 * * * *"),
        ({"frequency": "daily", "time": "02:05"}, "5 2 * * *"),
        ({"frequency": "daily"}, "0 0 * * *"),
        ({"frequency": "weekly", "time": "23:59"}, "59 23 * * 1"),
        ({"frequency": "custom", "cron_expression": "1 2 3 4 5"}, "1 2 3 4 5"),
    ],
)
def test_a_schedule_as_cron(schedule: dict[str, Any], cron: str | None) -> None:
    assert Schedule.model_validate(schedule).cron == cron


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "0 0 0 * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
    ],
)
def test_what_is_not_cron_is_said_in_a_sentence(expression: str) -> None:
    fault = cron_fault(expression)
    assert fault
    assert "cron" in fault


def test_idle_options_are_named_and_false_asks_for_nothing() -> None:
    options = {"header": True, "multiline": False, "compression": "gzip"}
    found = IngestionCreate.model_validate(body(format={"type": "parquet", "options": options}))
    assert found.format.idle_options == ["compression", "header"]
    as_text = IngestionCreate.model_validate(
        body(format={"type": "csv", "options": {**options, "compression": "none"}})
    )
    assert as_text.format.idle_options == []


def test_an_update_sends_what_was_given_even_null() -> None:
    update = IngestionUpdate.model_validate({"schedule": {"frequency": None}})
    assert update.wire() == {"schedule": {"frequency": None}}
    with pytest.raises(ValidationError, match="did you mean 'schedule'"):
        IngestionUpdate.model_validate({"shedule": {}})


names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=3, max_size=20)


@given(st.sampled_from(IngestionCreate.wire_names()), st.integers(0, 20), st.characters(categories=["Ll"]))
def test_one_wrong_letter_is_traced_to_the_field(field: str, at: int, letter: str) -> None:
    typo = field[: at % len(field)] + letter + field[at % len(field) + 1 :]
    assume(typo not in IngestionCreate.wire_names())
    assert f"'{nearest(typo, IngestionCreate.wire_names())}'" == f"'{field}'"
    assert f"did you mean '{field}'?" in faults(**{typo: None})[typo]


@given(names)
def test_an_unknown_option_is_never_accepted(name: str) -> None:
    assume(name not in FormatOptions.wire_names())
    assert list(faults(format={"type": "csv", "options": {name: 1}})) == [f"format.options.{name}"]


sources = st.one_of(
    st.fixed_dictionaries({"type": st.just("local"), "path": st.from_regex(r"/[a-z %\[\]{}#ü`'\"]+", fullmatch=True)}),
    st.fixed_dictionaries(
        {"type": st.just("s3"), "path": st.from_regex(r"s3a?://[a-z]{3,9}(/[a-z #%]+)*", fullmatch=True)},
        optional={
            "credentials": st.fixed_dictionaries(
                {"aws_access_key_id": st.text(min_size=1), "aws_secret_access_key": st.text(min_size=1)}
            )
        },
    ),
)
table_names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(str.strip)
bodies = st.fixed_dictionaries(
    {
        "name": table_names,
        "cluster_id": table_names,
        "source": sources,
        "format": st.fixed_dictionaries(
            {"type": st.sampled_from(["csv", "json", "parquet"])},
            optional={
                "options": st.fixed_dictionaries({}, optional={"multiline": st.booleans(), "header": st.none()}),
                "schema": st.fixed_dictionaries({"evolution_enabled": st.booleans(), "schema_json": st.just(STRUCT)}),
            },
        ),
        "destination": st.fixed_dictionaries(
            {"catalog": table_names, "database": table_names, "table": table_names},
            optional={"write_mode": st.just("append")},
        ),
        "schedule": st.just({}),
    },
    optional={"on_schema_change": st.sampled_from(["ignore", "append_new_columns", "fail"])},
)


@given(bodies)
def test_what_was_given_goes_over_the_wire_as_it_was(given_body: dict[str, Any]) -> None:
    model = IngestionCreate.model_validate(given_body)
    assert model.wire() == given_body
    assert IngestionCreate.model_validate_json(json.dumps(model.wire())) == model


@given(bodies, st.dictionaries(names, st.none() | st.integers() | st.text()), st.text())
def test_an_answer_keeps_what_it_does_not_know(given_body: dict[str, Any], more: dict[str, Any], status: str) -> None:
    told = {**more, **given_body, "id": "ing_0123456789ab", "status": status}
    assume(not set(more) & set(IngestionData.model_fields))
    kept = IngestionData.model_validate(told).model_dump(mode="json", by_alias=True)
    assert {name: kept[name] for name in more} == more
    assert kept["status"] == status


def test_nulls_and_times_without_a_zone_are_read() -> None:
    told = {
        "id": "r",
        "started_at": "2024-01-01T10:00:00",
        "errors": None,
        "metrics": None,
        "status": "melted",
    }
    run = RunData.model_validate(told)
    assert run.started_at == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert (run.errors, run.metrics.files_processed, run.status) == ([], 0, "melted")


@pytest.mark.parametrize("older", [True, False])
def test_a_schema_version_has_both_sets_of_names(older: bool) -> None:
    ours = {"schema_json": STRUCT, "changes_json": [{"change_type": "NEW_COLUMN", "column_name": "b"}]}
    names_of = {"schema_json": "schema", "changes_json": "changes"}
    told = {names_of[name]: value for name, value in ours.items()} if older else ours
    answer = SchemaVersion.model_validate({"version": 2, **told}).model_dump(mode="json", by_alias=True)
    assert answer["schema_json"] == answer["schema"] == STRUCT
    assert answer["changes_json"] == answer["changes"]
    assert answer["changes"][0]["column_name"] == "b"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("data/x", "local"),
        ("/x", "local"),
        ("s3a://b", "s3"),
        ("GS://b", "gcs"),
        ("abfss://c@a/x", "azure_blob"),
    ],
)
def test_a_scheme_tells_the_source_type(path: str, kind: str) -> None:
    assert source_type(path) == kind
    assert source_type("ftp://x") is None
