"""Ingestions as files, over the real application: compared, applied, exported."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from typer.testing import CliRunner

from autoloader_sdk import AsyncClient, AutoloaderError, Client, Invalid, NotFound
from autoloader_sdk._http.asgi import LoopThread, PlainASGI
from autoloader_sdk.cli.group import app as autoloader
from autoloader_sdk.code.plan import Entry, Plan
from autoloader_sdk.errors import ApplyFailed
from autoloader_server.db.tables import processed_files
from autoloader_server.embedded import BASE_URL, EmbeddedService
from autoloader_server.service import Service

API = "/api/v1"
INGESTIONS = f"{API}/ingestions"


class Recording(httpx.BaseTransport):
    """The way to the application; `sent` has what might change something, and `cut` ends the process before one."""

    def __init__(self, to: httpx.BaseTransport) -> None:
        self.to = to
        self.sent: list[tuple[str, str]] = []
        self.cut: int | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            if self.cut is not None and len(self.sent) == self.cut:
                raise KeyboardInterrupt
            self.sent.append((request.method, request.url.path))
        return self.to.handle_request(request)


@pytest.fixture
def way(embedded: EmbeddedService) -> Iterator[Recording]:
    thread = LoopThread()
    yield Recording(PlainASGI(embedded.app, thread))
    thread.stop()


@pytest.fixture
def client(way: Recording) -> Iterator[Client]:
    with Client(BASE_URL, transport=way) as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "ingestions"
    folder.mkdir()
    return folder


def document(name: str, *more: str, source: str | None = None) -> str:
    lines = (f"name: {name}", f"source: {source or f'/data/{name}/'}", "format: csv", f"destination: bronze.{name}")
    return "\n".join([*lines, *more, ""])


def kinds(plan: Plan) -> dict[str, str]:
    return {entry.name: entry.kind for entry in plan}


def test_what_is_new_is_made_with_the_defaults_of_the_sdk_and_a_second_time_nothing_is_sent(
    client: Client, way: Recording, files: Path
) -> None:
    (files / "both.yaml").write_text(document("orders", "schedule: daily") + "---\n" + document("flights"))
    plan = client.diff(files)
    assert bool(plan)
    assert kinds(plan) == {"orders": "new", "flights": "new"}
    assert way.sent == []
    done = client.apply(files)
    assert [entry.outcome for entry in done] == ["created", "created"]
    made = client.ingestions.get("orders")
    by_hand = client.ingestions.create(
        name="by hand", source="/data/orders/", format="csv", destination="bronze.orders", schedule="daily"
    )
    named = {"id", "name", "created_at", "updated_at"}
    assert made.data.model_dump(exclude=named) == by_hand.data.model_dump(exclude=named)
    by_hand.delete()
    before = list(way.sent)
    again = client.apply(files)
    assert not again
    assert kinds(again) == {"orders": "same", "flights": "same"}
    assert way.sent == before


def test_a_field_that_is_left_out_has_its_default_again(client: Client, files: Path) -> None:
    file = files / "orders.yaml"
    whole = document(
        "orders",
        "schedule: {frequency: daily, time: 02:30, timezone: Europe/Berlin}",
        "quality: {row_count_threshold: 5}",
        "limits: {max_attempts: 2}",
        "on_schema_change: ignore",
        "on_bad_record: rescue",
        "cluster_id: other",
    ).replace("source: /data/orders/", "source: {path: /data/orders/*.csv, on_changed_file: append}")
    file.write_text(whole.replace("format: csv", "format: {type: csv, options: {delimiter: ;}}"))
    client.apply(file)
    there = client.ingestions.get("orders")
    assert there.data.schedule is not None
    assert (there.data.schedule.time, there.source.file_pattern) == ("02:30", "*.csv")
    file.write_text(document("orders"))
    (entry,) = client.diff(file)
    assert entry.kind == "changed"
    assert [change.field for change in entry.changes] == [
        "cluster_id",
        "source.file_pattern",
        "source.on_changed_file",
        "format.options.delimiter",
        "schedule.frequency",
        "schedule.time",
        "schedule.timezone",
        "quality.row_count_threshold",
        "on_schema_change",
        "on_bad_record",
        "limits.max_attempts",
    ]
    assert 'source.on_changed_file: "append" → "hold"' in str(entry)
    assert [each.outcome for each in client.apply(file)] == ["updated"]
    assert not client.diff(file)
    there.reload()
    assert there.data.schedule is not None
    assert there.data.schedule.frequency is None
    assert there.source.file_pattern is None
    assert there.data.on_bad_record == "fail"


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("source: /data/orders/", "source: /data/other/", "source.path"),
        ("format: csv", "format: json", "format.type"),
        ("destination: bronze.orders", "destination: silver.orders", "destination.database"),
        (
            "destination: bronze.orders",
            "destination: {catalog: lake, database: bronze, table: orders, lineage_columns: []}",
            "destination.lineage_columns",
        ),
    ],
)
def test_what_cannot_change_is_said_before_and_the_others_are_done(
    before: str, after: str, field: str, client: Client, way: Recording, files: Path
) -> None:
    file = files / "x.yaml"
    file.write_text(document("orders"))
    client.apply(file)
    text = document("orders", "schedule: daily").replace(before, after)
    file.write_text(text + "---\n" + document("flights"))
    plan = client.diff(file)
    assert plan
    (entry,) = plan.of("in the way")
    assert field in [change.field for change in entry.changes]
    assert f"cannot be changed: {field}" in entry.notes[0]
    sent = len(way.sent)
    with pytest.raises(ApplyFailed, match="1 failed, 1 done") as raised:
        client.apply(file)
    assert way.sent[sent:] == [("POST", INGESTIONS)]
    assert [name for name, _ in raised.value.failed] == ["orders"]
    assert {entry.name: entry.outcome for entry in raised.value.plan} == {"orders": "failed", "flights": "created"}


def test_with_one_that_fails_the_others_go_on_and_the_error_has_the_words_of_the_service(
    client: Client, service: Service, files: Path
) -> None:
    for name in ("a", "b", "c"):
        (files / f"{name}.yaml").write_text(document(name))
    client.apply(files)
    found = {"ingestion_id": client.ingestions.get("b").id, "path": "/data/b/1", "identity": "i", "size": 1}
    with service.database.write() as connection:
        row = found | {"tenant_id": "default", "ordinal": 1, "status": "DISCOVERED", "first_seen_at": datetime.now(UTC)}
        connection.execute(insert(processed_files).values(row))
    for name in ("a", "b", "c"):
        source = f"{{path: /data/{name}/, include_existing: false}}"
        (files / f"{name}.yaml").write_text(document(name, source=source))
    seen: list[tuple[str, str | None]] = []
    with pytest.raises(ApplyFailed, match="files were found, and judged by it") as raised:
        client.apply(files, on_done=lambda entry: seen.append((entry.name, entry.outcome)))
    assert seen == [("a", "updated"), ("b", "failed"), ("c", "updated")]
    assert f"{files / 'b.yaml'}:1" in str(raised.value)
    assert kinds(client.diff(files)) == {"a": "same", "b": "changed", "c": "same"}


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_death_in_the_middle_and_once_more_ends_the_same(
    at: int, client: Client, way: Recording, files: Path
) -> None:
    for name in ("a", "b", "c"):
        (files / f"{name}.yaml").write_text(document(name))
    client.apply(files / "b.yaml")
    (files / "b.yaml").write_text(document("b", "schedule: hourly"))
    way.cut = len(way.sent) + at
    with pytest.raises(KeyboardInterrupt):
        client.apply(files)
    way.cut = None
    client.apply(files)
    assert not client.diff(files)
    assert sorted(each.name for each in client.ingestions) == ["a", "b", "c"]


def test_somebody_else_who_makes_it_meanwhile_is_a_conflict_and_no_second_one(client: Client, files: Path) -> None:
    (files / "a.yaml").write_text(document("a"))

    def meanwhile(_plan: Plan) -> None:
        client.ingestions.create(name="a", source="/data/a/", format="csv", destination="bronze.a")

    with pytest.raises(ApplyFailed, match="is there already"):
        client.apply(files, on_plan=meanwhile)
    assert len(client.ingestions.list()) == 1
    assert not client.diff(files)


def test_a_dry_run_and_a_plan_that_is_refused_change_nothing(client: Client, way: Recording, files: Path) -> None:
    (files / "a.yaml").write_text(document("a"))
    assert kinds(client.apply(files, dry_run=True)) == {"a": "new"}

    def refuse(_plan: Plan) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        client.apply(files, on_plan=refuse)
    assert way.sent == []


def test_what_the_service_warns_of_is_told(client: Client, files: Path) -> None:
    (files / "a.yaml").write_text(document("a", "schedule: daily"), encoding="utf-8")
    (entry,) = client.apply(files)
    assert entry.outcome == "created"
    assert any(note.startswith("warning: schedule: nothing will fire the schedule") for note in entry.notes)


def test_a_folder_is_the_same_however_a_file_leads_there(client: Client, files: Path) -> None:
    (files / "a.yaml").write_text(document("a", source=str(files.parent / "data")), encoding="utf-8")
    client.apply(files)
    (files / "a.yaml").write_text(document("a", source="../data"), encoding="utf-8")
    assert kinds(client.diff(files)) == {"a": "same"}


def test_what_is_in_no_file_is_told_and_stays_unless_it_is_named(client: Client, way: Recording, files: Path) -> None:
    for name in ("a", "b", "c"):
        (files / f"{name}.yaml").write_text(document(name))
    client.apply(files)
    for name in ("b", "c"):
        (files / f"{name}.yaml").unlink()
    plan = client.diff(files)
    assert not plan
    assert kinds(plan) == {"a": "same", "b": "not in files", "c": "not in files"}
    client.apply(files)
    assert len(client.ingestions.list()) == 3
    with pytest.raises(AutoloaderError, match="stands in the files"):
        client.apply(files, prune=["a"])
    assert kinds(client.apply(files, dry_run=True, prune="b")) == {"a": "same", "b": "to delete", "c": "not in files"}
    done = client.apply(files, prune=["b", "one that was deleted before"])
    assert {entry.name: entry.outcome for entry in done} == {"a": None, "b": "deleted", "c": None}
    assert way.sent[-1][0] == "DELETE"
    assert sorted(each.name for each in client.ingestions) == ["a", "c"]


def test_nothing_is_deleted_where_a_file_has_a_fault_or_another_one_failed(
    client: Client, way: Recording, files: Path
) -> None:
    (files / "a.yaml").write_text(document("a"))
    client.apply(files)
    (files / "a.yaml").write_text(document("b") + "shedule: daily\n")
    with pytest.raises(Invalid, match="did you mean 'schedule'"):
        client.apply(files, prune=["a"])
    pair = "on_changed_file: replace"  # the service wants a lineage column for it
    table = "{catalog: lake, database: bronze, table: b, lineage_columns: []}"
    text = document("b", source=f"{{path: /data/b/, {pair}}}").replace("bronze.b", table)
    (files / "a.yaml").write_text(text)
    with pytest.raises(ApplyFailed, match="_source_file") as raised:
        client.apply(files, prune=["a"])
    assert {entry.name: entry.outcome for entry in raised.value.plan} == {"b": "failed", "a": "not tried"}
    assert "DELETE" not in {method for method, _ in way.sent}


def test_a_name_that_the_service_has_twice_is_an_error_with_the_ids(
    client: Client, http: httpx.Client, body: dict[str, Any], files: Path
) -> None:
    ids = [http.post(INGESTIONS, json=body).json()["id"] for _ in range(2)]
    (files / "orders.yaml").write_text(document("orders"))
    for work in (lambda: client.diff(files), lambda: client.export(files / "new")):
        with pytest.raises(AutoloaderError) as raised:
            work()
        assert all(each in str(raised.value) for each in ids)
    (files / "orders.yaml").write_text(document("other"))
    assert len(client.diff(files).of("not in files")) == 2
    with pytest.raises(AutoloaderError, match="name their ids"):
        client.apply(files, prune=["orders"])
    client.apply(files, prune=[ids[0]])
    assert [each.id for each in client.ingestions if each.name == "orders"] == [ids[1]]


def test_another_name_for_the_same_files_and_table_is_warned_of(client: Client, files: Path) -> None:
    (files / "a.yaml").write_text(document("old", source="/data/x"))
    client.apply(files)
    (files / "a.yaml").write_text(document("new", source="/data/x/").replace("bronze.new", "bronze.old"))
    (entry,) = client.diff(files).of("new")
    assert "'old'" in entry.notes[0]
    assert "twice" in entry.notes[0]


CREDENTIALS = "aws_access_key_id: {env: KEY_ID}, aws_secret_access_key: {file: /run/secrets/key}"


def s3(*credentials: str) -> str:
    inside = f", credentials: {{{', '.join(credentials)}}}" if credentials else ""
    return document("orders", source=f"{{path: s3://bucket/orders/{inside}}}")


def test_credentials_are_stored_as_references_compared_by_name_and_sent_again_when_asked(
    client: Client, way: Recording, service: Service, files: Path
) -> None:
    file = files / "orders.yaml"
    file.write_text(s3(CREDENTIALS))
    client.apply(file)
    assert stored(service) == {
        "aws_access_key_id": {"env": "KEY_ID"},
        "aws_secret_access_key": {"file": "/run/secrets/key"},
    }
    file.write_text(s3(CREDENTIALS.replace("KEY_ID", "OTHER")))
    plan = client.diff(file)
    assert not plan
    assert "not compared" in str(plan)
    sent = len(way.sent)
    client.apply(file)
    assert len(way.sent) == sent
    done = client.apply(file, credentials=True)
    assert [entry.outcome for entry in done] == ["updated"]
    assert stored(service)["aws_access_key_id"] == {"env": "OTHER"}
    file.write_text(s3(CREDENTIALS, "region: eu-central-1"))
    (entry,) = client.diff(file)
    assert [change.field for change in entry.changes] == ["source.credentials"]
    assert "***" in str(entry.changes[0].old)
    client.apply(file)
    assert stored(service) == {
        "aws_access_key_id": {"env": "KEY_ID"},
        "aws_secret_access_key": {"file": "/run/secrets/key"},
        "region": "eu-central-1",
    }


def test_credentials_that_a_file_does_not_speak_of_stay_and_null_takes_them_away(
    client: Client, service: Service, files: Path
) -> None:
    client.ingestions.create(
        name="orders",
        source={
            "path": "s3://bucket/orders/",
            "credentials": {"aws_access_key_id": "AKIA", "aws_secret_access_key": "very secret"},
        },
        format="csv",
        destination="bronze.orders",
    )
    before = stored(service)
    (file,) = client.export(files)
    text = file.read_text()
    assert "secret" not in text.replace("aws_secret_access_key", "")
    assert "***" not in text
    assert text.startswith("# source.credentials (aws_access_key_id, aws_secret_access_key): kept by the service")
    assert not client.diff(file)
    file.write_text(text + "schedule: daily\n")
    client.apply(file)
    assert stored(service) == before
    file.write_text(s3().replace("orders/}", "orders/, credentials: null}"))
    (entry,) = client.diff(file)
    assert [change.field for change in entry.changes] == ["source.credentials", "schedule.frequency"]
    client.apply(file)
    assert stored(service) is None
    assert not client.diff(file)


def stored(service: Service) -> Any:
    from autoloader_server.db.tables import ingestions

    with service.database.read() as connection:
        kept = connection.execute(ingestions.select().with_only_columns(ingestions.c.credentials)).scalar()
    return None if kept is None else service.secrets.decrypt(kept)


def test_what_another_client_made_differs_where_it_means_something_else(
    client: Client, http: httpx.Client, body: dict[str, Any], files: Path
) -> None:
    """It has neither our column nor our rule for new columns: a file that does not say so wants both."""
    http.post(INGESTIONS, json=body)
    file = files / "orders.yaml"
    file.write_text(document("orders", source=body["source"]["path"]))
    (entry,) = client.diff(file)
    assert entry.kind == "in the way"
    assert [change.field for change in entry.changes] == [
        "cluster_id",
        "destination.lineage_columns",
        "on_schema_change",
    ]
    (exported,) = client.export(files / "new")
    assert "lineage_columns: []" in exported.read_text()
    assert "on_schema_change: ignore" in exported.read_text()
    assert not client.diff(exported)


def test_a_rule_that_followed_from_the_schema_is_kept_when_the_schema_goes(
    client: Client, http: httpx.Client, body: dict[str, Any], files: Path
) -> None:
    body["format"]["schema"] = {"evolution_enabled": True}
    body["destination"]["lineage_columns"] = ["_source_file"]
    http.post(INGESTIONS, json=body)
    (files / "a.yaml").write_text(document("orders", "cluster_id: local", source=body["source"]["path"]))
    (entry,) = client.diff(files)
    assert [change.field for change in entry.changes] == ["format.schema.evolution_enabled"]
    client.apply(files)
    assert client.ingestions.get("orders").data.on_schema_change == "append_new_columns"
    assert not client.diff(files)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/data/orders", "/data/orders/"),
        ("/data//orders/./", "file:///data/orders"),
        ("s3a://bucket/orders/", "s3://bucket/orders/"),
    ],
)
def test_two_ways_to_write_a_place_are_no_difference(first: str, second: str, client: Client, files: Path) -> None:
    (files / "a.yaml").write_text(document("orders", source=first))
    client.apply(files)
    (files / "a.yaml").write_text(document("orders", source=second))
    assert not client.diff(files)


def test_an_export_writes_over_nothing_that_differs_unless_forced_and_its_bytes_stay(
    client: Client, files: Path
) -> None:
    for name in ("Aufträge / 2024", "aufträge / 2024", "con", "a.b", "..", "x" * 255):
        client.ingestions.create(name=name, source="/data", format="csv", destination="bronze.x")
    written = client.export(files)
    assert len({str(path).casefold() for path in written}) == 6
    assert all(path.parent == files and not path.name.startswith(".") and len(path.name) < 128 for path in written)
    first = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in written}
    assert client.export(files) == written
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in written} == first
    assert not client.diff(files)
    assert not client.diff(*written)
    written[3].write_text("mine")
    written[0].unlink()
    with pytest.raises(AutoloaderError, match=r"hold something else.*\n.*a\.b\.yaml"):
        client.export(files)
    assert not written[0].exists()
    assert client.export(files, "con") == [written[2]]
    assert not written[0].exists()
    with pytest.raises(NotFound, match="'nobody'"):
        client.export(files, "nobody")
    client.export(files, force=True)
    assert {path: path.read_bytes() for path in written} == {path: content for path, (content, _) in first.items()}
    assert sorted(files.iterdir()) == sorted(written)
    with pytest.raises(AutoloaderError, match="cannot be written"):
        client.export(written[0] / "below a file")


def test_the_asynchronous_client_does_the_same(embedded: EmbeddedService, files: Path) -> None:
    (files / "a.yaml").write_text(document("a"))

    async def work() -> tuple[bool, bool, list[Path]]:
        async with AsyncClient(BASE_URL, transport=httpx.ASGITransport(embedded.app)) as client:
            before = bool(await client.diff(files))
            await client.apply(files)
            return before, bool(await client.diff(files)), await client.export(files / "out")

    before, after, written = asyncio.run(work())
    assert (before, after) == (True, False)
    assert [path.name for path in written] == ["a.yaml"]


def test_an_open_text_is_taken_and_entries_are_plain_json(client: Client) -> None:
    plan = client.diff(io.StringIO(document("a")))
    entry: Entry = next(iter(plan))
    assert json.loads(json.dumps(entry.as_dict()))["where"] == "<text>:1"
    assert "a" in plan._repr_html_()
    assert repr(plan) == "<Plan: 1 new>"


class Command:
    """The command over a home folder of its own; what it printed to either stream, and how it ended."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: str, stdin: str | None = None) -> tuple[int, str, str]:
        done = CliRunner().invoke(autoloader, ["--home", str(self.home), *words], input=stdin)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path / "home")


def test_the_command_tells_by_its_exit_code_whether_something_would_change(command: Command, files: Path) -> None:
    (files / "a.yaml").write_text(document("a"))
    code, out, err = command("diff", str(files))
    assert (code, err) == (3, "")
    assert out.splitlines() == [f"+ a  new  {files}/a.yaml:1", "1 new"]
    code, out, _ = command("apply", str(files), "--dry-run")
    assert (code, out.splitlines()[-1]) == (0, "1 new")
    code, out, _ = command("apply", str(files))
    assert (code, out.splitlines()[-1]) == (0, "a: created")
    assert command("diff", str(files)) == (0, "1 same\n", "")
    assert command("diff", "-f", str(files)) == (0, "1 same\n", "")
    code, _, err = command("diff")
    assert (code, "name the files" in err) == (2, True)
    (files / "a.yaml").write_text(document("a", "schedule: 7"))
    code, out, err = command("diff", str(files))
    assert (code, out) == (1, "")
    assert f"{files}/a.yaml:5: schedule" in err
    code, _, _ = command("diff", "--jsn", str(files))
    assert code == 2


def test_the_command_takes_stdin_and_prints_an_object_a_line(command: Command, files: Path) -> None:
    text = document("a") + "---\n" + document("b")
    code, out, err = command("apply", "-", "--json", stdin=text)
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(each["name"], each["where"], each["outcome"]) for each in lines] == [
        ("a", "<stdin>:1", "created"),
        ("b", "<stdin>:6", "created"),
    ]
    code, out, _ = command("diff", "-", "--json", stdin=document("a", "schedule: daily"))
    assert code == 3
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["changes"] == [{"field": "schedule.frequency", "old": None, "new": "daily"}]
    assert second["kind"] == "not in files"
    code, out, err = command("apply", "-", "--json", stdin=document("a", source="/elsewhere"))
    assert code == 1
    assert [json.loads(line)["outcome"] for line in out.splitlines()] == ["failed", None]
    assert "cannot be changed: source.path" in err
    code, out, _ = command("export", str(files))
    assert (code, out.splitlines()) == (0, [f"{files}/a.yaml", f"{files}/b.yaml"])
    assert command("diff", str(files))[0] == 0
    (files / "b.yaml").write_text("mine")
    code, _, err = command("export", str(files))
    assert code == 1
    assert "--force" in err
    assert command("export", str(files), "b", "--force", "--json")[1] == json.dumps({"file": f"{files}/b.yaml"}) + "\n"


def test_the_command_deletes_what_is_in_no_file_after_a_yes_alone(command: Command, files: Path) -> None:
    (files / "a.yaml").write_text(document("a"))
    assert command("apply", str(files))[0] == 0
    (files / "a.yaml").write_text(document("b"))

    def is_left() -> bool:
        return "? a  not in files" in command("diff", str(files))[1]

    for answer in ("n\n", ""):
        code, out, err = command("apply", str(files), "--prune", stdin=answer)
        assert (code, out.strip(" n\n")) == (1, "")  # the answer that was typed, and nothing else
        assert "Delete this ingestion, which is in no file? Tables stay" in err
    assert command("apply", "-", "--prune", stdin=document("b"))[0] == 2
    code, out, _ = command("apply", str(files), "--prune", "--dry-run")
    assert code == 0
    assert "- a  to delete" in out
    code, out, _ = command("apply", str(files))
    assert "a: deleted" not in out
    assert is_left()
    code, out, _ = command("apply", str(files), "--prune", stdin="y\n")
    assert (code, out.splitlines()[-1]) == (0, "a: deleted")
    assert not is_left()
    (files / "a.yaml").write_text(document("c"))
    code, out, _ = command("apply", str(files), "--prune", "--yes")
    assert (code, out.splitlines()[-2:]) == (0, ["c: created", "b: deleted"])


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SAYS = TEXT.filter(lambda text: bool(text.strip()))
PLAIN = SAYS.map(lambda text: "".join(c for c in text if ord(c) >= 32 and ord(c) != 127)).filter(
    lambda text: bool(text.strip())
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIGNS = (
    ":",
    "|",
    "#",
    " a ",
    "a\nb",
    "a: b",
    "- a",
    "*",
    "&a",
    "!!x",
    "\x85",
    "\u2028",
    "\ufeff",
    "'",
    '"',
    "\\",
    "${HOME}",
)
OTHERS = (
    "no",
    "NO",
    "yes",
    "off",
    "null",
    "~",
    "02:30",
    "017",
    "0o17",
    "1_000",
    "1e3",
    ".nan",
    "2024-01-01",
    "<<",
    "=",
)
TRAPS = st.sampled_from([*SIGNS, *OTHERS])
WORDS = st.one_of(TRAPS, TEXT)


def optional(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


def maybe(kind: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | kind


FLAG = st.none() | st.booleans()
OPTIONS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "csv": optional(
        header=FLAG,
        multiline=FLAG,
        # One with a quote in it is refused.
        delimiter=maybe(WORDS.filter(lambda text: bool(text) and not set(text) & set("\"'#"))),
        quote=maybe(st.sampled_from(["", '"', "'", "#"])),
        escape=maybe(st.sampled_from(["\\", "~", "|"])),
        comment=maybe(st.sampled_from(["#", "1", "n"])),
        null_value=maybe(WORDS),
        empty_value=maybe(WORDS),
        nan_value=maybe(WORDS),
        date_format=maybe(WORDS.filter(bool)),
        encoding=maybe(st.sampled_from(["utf-8", "latin-1"])),
        compression=maybe(st.sampled_from(["none", "auto", "gzip"])),
        ignore_leading_white_space=FLAG,
    ),
    "json": optional(allow_comments=FLAG, multiline=FLAG, timestamp_format=maybe(WORDS.filter(bool))),
    "parquet": optional(header=FLAG),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=3),
    max_leaves=6,
)


def _column_name(column: Any) -> str:
    return str(column["name"])


COLUMNS = st.fixed_dictionaries(
    {
        "type": st.just("struct"),
        "fields": st.lists(
            st.fixed_dictionaries(
                {
                    "name": WORDS.filter(bool),
                    "type": st.sampled_from(["string", "long", "date"]),
                    "nullable": st.booleans(),
                    "metadata": st.dictionaries(WORDS, JSON, max_size=2),
                }
            ),
            min_size=1,
            max_size=3,
            unique_by=_column_name,
        ),
    }
)
SCHEMA = optional(
    evolution_enabled=FLAG, inference=maybe(st.just("auto")), schema_json=maybe(COLUMNS)
) | st.fixed_dictionaries({"inference": st.just("manual"), "schema_json": COLUMNS})
PATHS = st.one_of(
    st.sampled_from([("local", "/"), ("local", "//x//y/./z/"), ("local", "file:///a b/"), ("local", "/a/*.csv")]),
    PLAIN.map(lambda text: ("local", f"/{text}")),
    st.sampled_from([("s3", "s3://bucket"), ("s3", "s3a://bucket/a*/"), ("s3", "s3n://bucket/ünï/x")]),
)
SOURCE = st.tuples(
    PATHS,
    optional(
        file_pattern=maybe(st.sampled_from(["*.csv", "a/**/b", "{a,b}", "[ab]*", "no", "1"])),
        include_existing=st.booleans(),
        modified_after=maybe(
            st.integers(0, 2**32 * 10**6).map(lambda at: (EPOCH + timedelta(microseconds=at)).isoformat())
        ),
        min_age_seconds=st.integers(0, 604_800),
        on_changed_file=st.sampled_from(["hold", "append"]),
    ),
).map(lambda drawn: {"type": drawn[0][0], "path": drawn[0][1], **drawn[1]})
COLUMN_NAMES = st.lists(WORDS.filter(bool), max_size=3, unique=True)
DESTINATION = st.fixed_dictionaries(
    {"catalog": PLAIN, "database": PLAIN, "table": PLAIN},
    optional={
        "write_mode": st.sampled_from(["append", None]),
        "partitioning": maybe(
            optional(enabled=st.sampled_from([None, False]), columns=COLUMN_NAMES)
            | st.fixed_dictionaries({"enabled": st.just(True), "columns": COLUMN_NAMES.filter(bool)})
        ),
        "optimization": maybe(optional(z_ordering_enabled=FLAG, z_ordering_columns=COLUMN_NAMES)),
        "lineage_columns": st.sampled_from([[], ["_source_file"], None]),
    },
)
SCHEDULE = optional(
    frequency=st.sampled_from([None, "hourly", "daily", "weekly"]),
    time=maybe(st.sampled_from(["02:30", "00:00", "23:59"])),
    timezone=maybe(st.sampled_from(["UTC", "Europe/Berlin"])),
    cron_expression=maybe(st.sampled_from(["*/5 * * * *", "0 0 1 1 *"])),
    backfill=maybe(
        optional(
            enabled=FLAG,
            start_date=maybe(st.sampled_from(["2024-01-01", "2024-01-01T10:00:00", "2024-01-01T10:00:00Z"])),
        )
    ),
)
BODIES = st.sampled_from(["csv", "json", "parquet"]).flatmap(
    lambda kind: st.fixed_dictionaries(
        {
            "name": PLAIN.flatmap(lambda name: st.sampled_from([name, f"{name}\n", "no", "017", "${HOME}"])),
            "source": SOURCE,
            "format": st.fixed_dictionaries(
                {"type": st.just(kind)}, optional={"options": maybe(OPTIONS[kind]), "schema": maybe(SCHEMA)}
            ),
            "destination": DESTINATION,
        },
        optional={
            "cluster_id": WORDS.filter(bool),
            "schedule": maybe(SCHEDULE),
            "quality": maybe(
                optional(
                    row_count_threshold=maybe(st.integers(0, 10**12)),
                    on_low_row_count=st.sampled_from([None, "warn", "hold"]),
                    alerts_enabled=FLAG,
                    alert_recipients=maybe(st.lists(WORDS, max_size=2)),
                )
            ),
            "on_schema_change": st.sampled_from([None, "ignore", "append_new_columns", "sync_all_columns", "fail"]),
            "on_bad_record": st.sampled_from(["fail", "rescue"] if kind != "parquet" else ["fail"]),
            "limits": maybe(optional(max_files_per_batch=st.integers(1, 10_000), max_attempts=st.integers(1, 1_000))),
        },
    )
)


@pytest.mark.parametrize("database_kind", ["sqlite"])
# Making an example smaller would take as long as all of them, over and over.
@settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(first=BODIES, second=BODIES)
def test_whatever_the_contract_can_express_is_exported_and_shows_no_difference(
    first: dict[str, Any],
    second: dict[str, Any],
    client: Client,
    http: httpx.Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """And made anew from its file it is exported as the same bytes; and any one becomes any other of its place."""
    out = tmp_path_factory.mktemp("out")
    made = http.post(INGESTIONS, json=first)
    assert made.status_code == 201, made.text
    try:
        (file,) = client.export(out)
        assert not client.diff(file), file.read_text()
        client.ingestions.get(made.json()["id"]).delete()
        client.apply(file)
        assert client.export(out) == [file]  # which writes over nothing that differs
        moved = {**second, "name": first["name"], "destination": first["destination"]}
        moved["source"] = second["source"] | {name: first["source"][name] for name in ("type", "path")}
        if second["format"]["type"] == first["format"]["type"]:
            other = http.post(INGESTIONS, json={**moved, "name": "other"}).json()["id"]
            (wanted,) = client.export(out, other, force=True)
            text = wanted.read_text()
            (named,) = [line for line in file.read_text().splitlines() if line.startswith("name: ")]
            file.write_text(text.replace("name: other", named, 1))
            client.apply(file)
            assert not client.diff(file), file.read_text()
    finally:
        for each in client.ingestions.list():
            each.delete()
