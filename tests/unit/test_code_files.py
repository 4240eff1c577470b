"""Ingestions as files: what a file says, what is wrong with it, and against a service of the older contract."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoloader_sdk import Client, Invalid
from autoloader_sdk.code.export import file_name
from autoloader_sdk.code.wanted import Wanted, read
from autoloader_sdk.code.yaml12 import Document, documents, dump
from autoloader_sdk.errors import ApplyFailed

ORDERS = "name: orders\nsource: /data/orders/\nformat: csv\ndestination: bronze.orders\n"


def bodies(text: str) -> list[dict[str, Any]]:
    return [wanted.body for wanted in read([io.StringIO(text)])]


def faults(text: str) -> dict[str, str]:
    """Where (line and field), and what is said."""
    with pytest.raises(Invalid) as raised:
        read([io.StringIO(text)])
    assert raised.value.status is None
    return {problem.field.removeprefix("<text>:"): problem.message for problem in raised.value.fields}


def options(text: str) -> dict[str, Any]:
    (body,) = bodies(ORDERS.replace("format: csv\n", f"format:\n  type: csv\n  options:\n    {text}\n"))
    return dict(body["format"]["options"])


def of_options(text: str) -> dict[str, str]:
    return faults(ORDERS.replace("format: csv\n", f"format:\n  type: csv\n  options:\n    {text}\n"))


def test_short_forms_mean_what_they_mean_to_the_client() -> None:
    (body,) = bodies(
        "name: orders\nsource: s3://bucket/folder/*.csv\nformat: csv\ndestination: orders.`a.b`\nschedule: 30 2 * * *\n"
    )
    assert body["source"] == {"type": "s3", "path": "s3://bucket/folder", "file_pattern": "*.csv"}
    assert body["destination"] == {
        "catalog": "lake",
        "database": "orders",
        "table": "a.b",
        "write_mode": "append",
        "lineage_columns": ["_source_file"],
    }
    assert body["schedule"] == {"frequency": "custom", "cron_expression": "30 2 * * *", "timezone": "UTC"}
    assert body["on_schema_change"] == "append_new_columns"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            (word, word)
            for word in ("no", "NO", "off", "on", "yes", "y", "NA", "true", "1_000", "017", "0o17", "02:30")
        ),
        *(
            (word, word)
            for word in ("190:20:30", "2024-01-01", "2024-01-01 10:00:00", "1e3", ".inf", ".nan", "0x1F", "=")
        ),
        *(("'NULL'", "NULL"), ('"~"', "~"), ("!!str null", "null"), ("''", ""), ('"a\\tb"', "a\tb"), ("a  b", "a  b")),
    ],
)
def test_text_stays_the_text_that_is_written(text: str, value: str) -> None:
    assert options(f"null_value: {text}") == {"null_value": value}


@pytest.mark.parametrize("word", ["null", "NULL", "Null", "~"])
def test_a_word_for_nothing_that_may_be_meant_as_text_is_asked_about(word: str) -> None:
    assert "put it in quotes" in of_options(f"null_value: {word}")["6: format.options.null_value"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("delimiter: :", "stands in quotes"),
        ("delimiter: ,", "stands in quotes"),
        ("delimiter: *", "stands in quotes"),
        ("delimiter: |", "put it in quotes"),
        ("delimiter: >", "put it in quotes"),
        ("comment: #", "put it in quotes"),
        ('quote: "', "found unexpected end of stream"),
        ("\tquote: x", "indent by blanks"),
    ],
)
def test_signs_of_yaml_that_stand_for_themselves_are_asked_about_at_their_line(text: str, said: str) -> None:
    found = of_options(text)
    assert any(said in message for message in found.values()), found
    assert next(iter(found)).startswith("6"), found


def test_numbers_and_flags_are_those_of_yaml_1_2() -> None:
    (body,) = bodies(f"{ORDERS}limits: {{max_attempts: 017, max_files_per_batch: 0o17, max_bytes_per_batch: 1_000}}\n")
    assert body["limits"] == {"max_attempts": 17, "max_files_per_batch": 15, "max_bytes_per_batch": 1000}
    assert options("header: no") == {"header": False}
    assert options("header: true") == {"header": True}
    assert next(iter(faults(f"{ORDERS}limits: {{max_attempts: 1:30}}\n"))) == "5: limits.max_attempts"


def test_a_time_and_a_day_are_the_text_that_is_written() -> None:
    (body,) = bodies(f"{ORDERS}schedule:\n  frequency: daily\n  time: 02:30\n  backfill: {{start_date: 2024-01-01}}\n")
    assert body["schedule"]["time"] == "02:30"
    assert body["schedule"]["backfill"]["start_date"].startswith("2024-01-01")


def test_anchors_and_merge_keys_work_and_what_is_written_goes_before() -> None:
    first, second = bodies(
        "name: a\nsource: {path: /a, <<: &rules {on_changed_file: append, include_existing: false}}\n"
        "format: &csv {type: csv, options: {header: false}}\ndestination: x.a\n"
        "---\nname: b\nsource:\n  path: /b\n  on_changed_file: hold\n"
        "  <<: [{on_changed_file: append}, {file_pattern: '*'}]\n"
        "format: csv\ndestination: x.b\n"
    )
    assert first["source"]["on_changed_file"] == "append"
    assert first["source"]["include_existing"] is False
    assert (second["source"]["on_changed_file"], second["source"]["file_pattern"]) == ("hold", "*")


def test_every_fault_of_every_file_is_told_at_once_with_its_line_and_field(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{ORDERS}shedule: daily\nlimits: 3\n---\n{ORDERS}")
    (tmp_path / "b.yml").write_text(
        "source: gopher://x\nformat:\n  type: csv\n  options:\n    header: 7\n    sep: ;\n"
        "destination: x\nschedule: {frequency: dayly}\nquality: {row_count_threshold: -1}\n"
    )
    (tmp_path / "c.yaml").write_text("- name: x\n")
    (tmp_path / "d.yaml").write_text("name: x\nname: y\n  z: 1\n")
    (tmp_path / "e.yaml").write_bytes(b"# fine\nname: \xff\n")
    (tmp_path / "f.yaml").write_text("name: \x01\n")
    (tmp_path / "g.yaml").write_text(ORDERS.replace("/data/orders/", "{path: /x, file_pattern: '['}"))
    with pytest.raises(Invalid, match="nothing was sent") as raised:
        read([tmp_path, tmp_path / "none.yaml"])
    found = {field.removeprefix(f"{tmp_path}/"): message for field, message in raised.value.fields}
    assert list(found) == [
        "a.yaml:5: shedule",
        "a.yaml:6: limits",
        "b.yml:1: name",
        "b.yml:1: source.path",
        "b.yml:5: format.options.header",
        "b.yml:6: format.options.sep",
        "b.yml:7: destination",
        "b.yml:8: schedule.frequency",
        "b.yml:9: quality.row_count_threshold",
        "c.yaml:1",
        "d.yaml:3",
        "e.yaml:2",
        "f.yaml:1",
        "g.yaml:2: source.file_pattern",
        "none.yaml:1",
        "a.yaml:8: name",
        "g.yaml:1: name",
    ]
    assert "did you mean 'schedule'" in found["a.yaml:5: shedule"]
    assert "did you mean 'delimiter'" in found["b.yml:6: format.options.sep"]
    assert f"first at {tmp_path}/a.yaml:1" in found["g.yaml:1: name"]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("name: a\nformat: csv\nname: b\n", "3: name", "first at line 1"),
        (f"{ORDERS}quality: !!python/object/apply:os.system [id]\n", "5: quality", "tag"),
        (f"{ORDERS}quality: !!set {{a}}\n", "5: quality", "!!set"),
        (ORDERS.replace("orders\ns", "!!binary aGk=\ns"), "1: name", "!!binary"),
        (f"{ORDERS}limits: {{max_attempts: !!int x}}\n", "5: limits.max_attempts", "!!int"),
        (f"{ORDERS}quality: &a {{alert_recipients: [*a]}}\n", "5: quality.alert_recipients.0", "contains itself"),
        (f"{ORDERS}quality: &a {{<<: *a}}\n", "5: quality", "contain itself"),
        (f"{ORDERS}quality: {{<<: 3}}\n", "5: quality", "takes a mapping"),
        (f"{ORDERS}quality: {{[a]: 3}}\n", "5: quality", "plain text"),
        (f"{ORDERS}quality: *nobody\n", "5", "undefined alias"),
        (f"{ORDERS}quality: []\n", "5: quality", "mapping"),
        (ORDERS.replace("/data/orders/", "[a]"), "2: source", "text or a mapping"),
        (ORDERS.replace("/data/orders/", "s3://${BUCKET}/a/"), "2: source", "nothing is filled in"),
        (ORDERS.replace("/data/orders/", '"/${HOME}/a/"'), "2: source", "nothing is filled in"),
        ("name: a\nsource:\nformat: csv\ndestination: a.b\n", "1: source", "required"),
        ("[" * 5000, "1", "nested too deep"),
    ],
)
def test_what_is_no_plain_value_is_refused_at_its_line(text: str, where: str, said: str) -> None:
    assert said in faults(text)[where]


def test_aliases_that_stand_for_too_much_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too much" in faults("\n".join(lines))["1"]


def test_in_single_quotes_a_variable_is_text() -> None:
    (body,) = bodies(ORDERS.replace("/data/orders/", "'/${HOME}/a/'"))
    assert body["source"]["path"] == "/${HOME}/a/"


def test_a_credential_in_clear_is_refused_and_not_shown() -> None:
    source = (
        "source:\n  path: s3://b/\n  credentials:\n    aws_access_key_id: AKIA\n    aws_secret_access_key: hunter2\n"
        "    region: eu-central-1\n"
    )
    text = ORDERS.replace("source: /data/orders/\n", source)
    with pytest.raises(Invalid) as raised:
        read([io.StringIO(text)])
    assert "AKIA" not in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert [problem.field for problem in raised.value.fields] == [
        "<text>:5: source.credentials.aws_access_key_id",
        "<text>:6: source.credentials.aws_secret_access_key",
    ]
    referred = text.replace("AKIA", "{env: ID}").replace("hunter2", "{file: /run/key}")
    (body,) = bodies(referred)
    assert body["source"]["credentials"] == {
        "aws_access_key_id": {"env": "ID"},
        "aws_secret_access_key": {"file": "/run/key"},
        "region": "eu-central-1",
    }
    found = faults(referred.replace("{env: ID}", "{envv: ID}"))
    assert list(found) == ["5: source.credentials.aws_access_key_id"]


def test_a_folder_gives_all_its_files_sorted_and_each_once(tmp_path: Path) -> None:
    names = ("b.yaml", "a/z.yml", "a/b.yaml", "c.YAML.txt", ".hidden.yaml", ".git/x.yaml", "a/.b.yaml.new")
    for at, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ORDERS.replace("orders", f"orders{at}"))
    found = read([tmp_path / "a", tmp_path, f"{tmp_path}/a/../b.yaml"])
    assert [Path(each.file).relative_to(tmp_path).as_posix() for each in found] == ["a/b.yaml", "a/z.yml", "b.yaml"]
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "there").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "back").symlink_to(tmp_path / "a")
    assert [Path(each.file).name for each in read([tmp_path / "linked"])] == ["b.yaml", "z.yml"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match=r"empty:1: there is no \*\.yaml or \*\.yml"):
        read([tmp_path / "empty"])
    (tmp_path / "empty" / "a.yaml").write_text("# nothing yet\n---\n")
    with pytest.raises(Invalid, match="there is no ingestion"):
        read([tmp_path / "empty"])


def test_a_relative_folder_begins_where_its_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.yaml").write_text(
        ORDERS.replace("/data/orders/", "../data/*.csv") + "---\n"
        "name: b\nsource: {path: data/}\nformat: csv\ndestination: a.b\n---\n"
        "name: c\nsource: ~/x\nformat: csv\ndestination: a.b\n"
    )
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/somebody")
    first, second, third = read([tmp_path / "in"])
    assert first.body["source"] == {"type": "local", "path": f"{tmp_path}/data", "file_pattern": "*.csv"}
    assert second.body["source"]["path"] == f"{tmp_path}/in/data"
    assert third.body["source"]["path"] == "/home/somebody/x"


def test_a_byte_order_mark_and_windows_lines_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + ORDERS.replace("\n", "\r\n").encode())
    (found,) = read([file])
    assert isinstance(found, Wanted)
    assert found.where == f"{file}:1"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), below)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_as_the_same_value(value: Any) -> None:
    (document,) = documents(dump({"x": value}), lambda _path: False)
    assert isinstance(document, Document), document
    assert document.value == {"x": value}
    assert repr(document.value) == repr({"x": value})


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_two_names_are_two_files_on_any_file_system(one: str, other: str) -> None:
    for name in (one, other):
        file = file_name(name)
        assert file == file_name(name)
        assert len(file.encode()) < 128
        assert all(c.isascii() and (c.isalnum() or c in "._-") for c in file)
        assert not file.startswith((".", "-"))
        assert file.split(".")[0] not in {"con", "nul", "aux", "com1"}
    if one != other:
        assert file_name(one).casefold() != file_name(other).casefold()


@pytest.mark.parametrize(
    "name", ["CON", "nul", "com1", "con.x", "a", "A", "a-0a1b2c3d", "a.", "a ", "ａ", "é", "e\u0301"]
)
def test_a_name_that_some_file_system_would_change_has_a_digest(name: str) -> None:
    others = {
        file_name(each).casefold() for each in ("a", "A", "a.", "a ", "con", "CON", "é", "e\u0301") if each != name
    }
    assert file_name(name).casefold() not in others
    assert (file_name(name) == f"{name}.yaml") == (name == "a")


class OlderService:
    """Knows what it was told of the first contract, tells nothing else, and says no version."""

    known = ("name", "cluster_id", "source", "format", "destination", "schedule", "quality")

    def __init__(self) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.sent: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=list(self.there.values()))
        self.sent.append(request.method)
        body = json.loads(request.content)
        if request.method == "POST":
            made = {"id": f"ing_{len(self.there):012x}", **{name: body.get(name) for name in self.known}}
            made["source"] = {name: made["source"].get(name) for name in ("type", "path", "file_pattern")}
            made["destination"].pop("lineage_columns", None)
            self.there[made["id"]] = made
            return httpx.Response(201, json=made)
        made = self.there[request.url.path.rpartition("/")[2]]
        made |= {name: body[name] for name in ("schedule", "quality") if name in body}
        return httpx.Response(200, json=made)

    def client(self) -> Client:
        return Client("http://127.0.0.1:9", transport=httpx.MockTransport(self))


S3 = ORDERS.replace("/data/", "s3://bucket/")


def test_an_older_service_gets_what_it_can_do_and_the_rest_is_said_before() -> None:
    service = OlderService()
    client = service.client()
    client.apply(io.StringIO(S3))
    assert not client.diff(io.StringIO(S3))
    done = client.apply(io.StringIO(S3 + "schedule: daily\nquality: {row_count_threshold: 3}\n"))
    assert [entry.outcome for entry in done] == ["updated"]
    assert not client.diff(io.StringIO(S3 + "schedule: daily\nquality: {row_count_threshold: 3}\n"))
    sent = list(service.sent)
    other = S3.replace("format: csv", "format: {type: csv, options: {header: false}}") + "schedule: hourly\n"
    plan = client.diff(io.StringIO(other))
    (entry,) = plan.of("in the way")
    assert "older service: format.options.header" in entry.notes[0]
    assert "older one" in str(plan)
    with pytest.raises(ApplyFailed, match="older service"):
        client.apply(io.StringIO(other))
    assert service.sent == sent


def test_of_what_an_older_service_does_not_tell_the_plan_says_so() -> None:
    service = OlderService()
    client = service.client()
    asked = S3 + "on_bad_record: rescue\n"
    (entry,) = client.diff(io.StringIO(asked))
    assert "do nothing about on_bad_record" in entry.notes[0]
    client.apply(io.StringIO(asked))
    plan = client.diff(io.StringIO(asked))
    assert not plan
    assert "on_bad_record" in str(plan)


def test_a_service_that_lets_nobody_in_is_not_asked_for_each_of_hundreds() -> None:
    service = OlderService()

    def closed(request: httpx.Request) -> httpx.Response:
        answer = service(request)
        return answer if request.method == "GET" else httpx.Response(401, json={"detail": "no such token"})

    text = "---\n".join(S3.replace("orders", f"orders{at}") for at in range(9))
    with pytest.raises(ApplyFailed, match="1 failed, 0 done, 8 not tried") as raised:
        Client("http://127.0.0.1:9", transport=httpx.MockTransport(closed)).apply(io.StringIO(text))
    assert len(service.sent) == 1
    assert {entry.outcome for entry in raised.value.plan} == {"failed", "not tried"}


def test_without_pyyaml_the_line_that_installs_it_is_told() -> None:
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from autoloader_sdk import Client, MissingExtra\n"
        "client = Client('http://127.0.0.1:9')\n"
        "for work in (lambda: client.diff('x'), lambda: client.apply('x'), lambda: client.export('x')):\n"
        "    try: work()\n"
        "    except MissingExtra as missing: print(missing)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.count("autoloader-sdk[code]") == 3


def test_merge_keys_that_stand_for_too_much_are_refused() -> None:
    levels = ["a0: &a0 {k: v}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    assert "its aliases stand for too much" in str(faults("\n".join(levels)))


@pytest.mark.parametrize("escape", [r'"\UFFFFFFFF"', r'"\U00110000"', r'"\ud800"'])
def test_an_escape_that_names_no_character_is_a_fault(escape: str) -> None:
    told = str(faults(ORDERS.replace("name: orders", f"name: {escape}")))
    assert "no character" in told


def test_what_is_wrong_with_a_sign_of_yaml_does_not_repeat_the_word_behind_it() -> None:
    secret = "source:\n  type: s3\n  path: s3://b/x/\n  credentials:\n    aws_secret_access_key: *hunter2\n"
    told = str(faults(ORDERS.replace("source: /data/orders/\n", secret)))
    assert "alias" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("name", "value"), [("region", "hunter2 secret"), ("region", "Hunter2"), ("endpoint_url", "https://u:hunter2@h/x")]
)
@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_where_an_address_belongs_a_secret_is_refused_and_not_shown(kind: str, name: str, value: str) -> None:
    path = {"s3": "s3://b/x/", "gcs": "gs://b/x/"}[kind]
    given = f"source:\n  type: {kind}\n  path: {path}\n  credentials:\n    {name}: {value}\n"
    told = faults(ORDERS.replace("source: /data/orders/\n", given))
    assert any("a credential does not stand in a file" in each for each in told.values())
    assert "unter2" not in str(told)


def test_the_end_of_a_name_counts_in_any_case(tmp_path: Path) -> None:
    for name in ("a.YAML", "b.Yml"):
        (tmp_path / name).write_text(ORDERS.replace("orders", name[0]), encoding="utf-8")
    assert [wanted.name for wanted in read([tmp_path])] == ["a", "b"]


def at_service(*answers: tuple[int, Any]) -> tuple[Client, list[str]]:
    """A client of a service of ours that gives these answers, one after the other."""
    asked: list[str] = []
    left = iter(answers)

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        status, body = next(left)
        return httpx.Response(status, json=body, headers={"Autoloader-Version": "1"})

    return Client("http://127.0.0.1:9", transport=httpx.MockTransport(handler)), asked


def known(**fields: Any) -> dict[str, Any]:
    (body,) = bodies(ORDERS)
    return {**body, "id": "ing_0123456789ab", "status": "draft", **fields}


def test_what_a_service_took_and_did_not_set_is_a_failure() -> None:
    wanted = ORDERS + "limits: {max_attempts: 2}\n"
    client, asked = at_service((200, [known(limits=None)]), (200, known(limits=None)))
    with pytest.raises(ApplyFailed, match=r"the service took it, and has not set limits\.max_attempts"):
        client.apply(io.StringIO(wanted))
    assert asked == ["GET /api/v1/ingestions", "PUT /api/v1/ingestions/ing_0123456789ab"]
    client, _ = at_service((200, []), (201, known(limits=None)))
    with pytest.raises(ApplyFailed, match="has not set"):
        client.apply(io.StringIO(wanted))


def test_what_is_gone_already_is_deleted() -> None:
    other = known(name="other", id="ing_ba9876543210")
    client, _ = at_service((200, [known(), other]), (404, {"detail": "not found"}))
    plan = client.apply(io.StringIO(ORDERS), prune=["other"])
    assert {entry.name: entry.outcome for entry in plan}["other"] == "deleted"


def test_an_odd_ingestion_of_somebody_else_is_in_nobodys_way() -> None:
    odd = known(name="odd", id="ing_ba9876543210", source={"type": "s3", "path": "bucket/x"})
    client, _ = at_service((200, [known(), odd]))
    assert {entry.name: entry.kind for entry in client.diff(io.StringIO(ORDERS))} == {
        "orders": "same",
        "odd": "not in files",
    }


def test_one_is_not_true() -> None:
    def with_schema(value: Any) -> dict[str, Any]:
        field = {"name": "a", "type": "integer", "nullable": True, "metadata": {"k": value}}
        return {"type": "csv", "schema": {"schema_json": {"type": "struct", "fields": [field]}}}

    text = ORDERS.replace("format: csv\n", f"format: {json.dumps(with_schema(True))}\n")
    client, _ = at_service((200, [known(format=with_schema(1))]))
    (entry,) = client.diff(io.StringIO(text))
    assert [change.field for change in entry.changes] == ["format.schema.schema_json"]
