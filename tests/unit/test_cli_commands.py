"""The commands over a service in this process: what they print, and what they end with."""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.parts.answering import older
from tests.parts.listening import nobody
from typer.testing import CliRunner, Result

from autoloader_sdk.cli.group import MODULES, app, autoloader

Invoke = Callable[..., Result]
ESCAPE = "\x1b"
PAGES = [Path(__file__).parents[2] / page for page in ("README.md", "docs/command-line.md")]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    for name in ("URL", "TOKEN", "PROFILE", "PREFECT_API_URL"):
        monkeypatch.delenv(f"AUTOLOADER_{name}", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("AUTOLOADER_HOME", str(tmp_path / "home"))
    # Refused before anything is connected: no Spark is started.
    monkeypatch.setenv("AUTOLOADER_SPARK_REMOTE", "sc://127.0.0.1:1/nowhere")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    # Who asks for colours gets them in a terminal, and nowhere else.
    monkeypatch.setenv("FORCE_COLOR", "1")

    def call(*arguments: str, **options: Any) -> Result:
        done = CliRunner().invoke(app, arguments, **options)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert ESCAPE not in done.output
        return done

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    return place


@pytest.fixture
def orders(invoke: Invoke, folder: Path) -> str:
    """An ingestion without files: its runs start no Spark."""
    made = invoke("ingestions", "create", "orders", "--source", str(folder), "--format", "csv", "--to", "b.orders")
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


def objects(done: Result) -> list[dict[str, Any]]:
    """What stands on stdout, if it is one object a line and nothing else."""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(isinstance(each, dict) for each in found)
    return found


SHOWING = [
    ("settings",),
    ("db", "upgrade"),
    ("status",),
    ("config",),
    ("doctor", "--ingestion", "orders"),
    ("preview", "orders"),
    ("ingestions", "list"),
    ("ingestions", "run", "orders"),
    ("run", "orders"),
    ("runs", "orders"),
    ("files", "list", "orders"),
    ("files", "why", "orders", "a.csv"),
    ("batches", "list", "orders"),
    ("clear", "orders"),
    ("ingestions", "pause", "orders"),
    ("ingestions", "resume", "orders"),
    ("ingestions", "delete", "orders", "--yes"),
    ("token", "create", "--name", "mine"),
    ("token", "list"),
]


@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_json_is_one_object_a_line_and_nothing_else(invoke: Invoke, orders: str, command: tuple[str, ...]) -> None:
    told = invoke(*command, "--json")
    found = objects(told)
    assert found or command[0] in {"runs", "files", "batches", "token"}
    assert told.exit_code == (1 if command[0] == "doctor" else 0), told.output


def test_each_command_that_shows_something_takes_json() -> None:
    """The one without it runs until it is ended."""
    without = {each for each in commands() if "--json" not in options(each)}
    assert without == {"serve"}
    assert {" ".join(each[:2]) for each in SHOWING if each[0] in {"db", "token", "files"}} <= set(commands())


def commands() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in MODULES:
        command = autoloader.get_command(None, name)
        parts = getattr(command, "commands", None)
        found |= {f"{name} {part}": each for part, each in parts.items()} if parts else {name: command}
    return found


def options(name: str) -> set[str]:
    return {option for parameter in commands()[name].params for option in parameter.opts}


def test_ids_come_back_as_json_from_what_makes_and_decides(invoke: Invoke, folder: Path) -> None:
    make = ("ingestions", "create", "sales", "--source", str(folder), "--format", "csv", "--to", "b.sales", "--json")
    (made,) = objects(invoke(*make))
    assert made["name"] == "sales"
    (run,) = objects(invoke("run", made["id"], "--json"))
    assert (run["ingestion_id"], run["status"]) == (made["id"], "success")
    (token,) = objects(invoke("token", "create", "--name", "mine", "--json"))
    (ended,) = objects(invoke("token", "revoke", "mine", "--json"))
    assert ended["id"] == token["id"]
    assert "token" not in ended


def test_a_run_ends_with_0_where_nothing_failed_and_with_1_where_it_did(
    invoke: Invoke, orders: str, folder: Path
) -> None:
    assert invoke("run", "orders").exit_code == 0
    folder.rmdir()
    failed = invoke("run", orders)
    assert failed.exit_code == 1
    assert f"no file or folder '{folder}'" in failed.stdout
    assert failed.stderr == ""


def first_contract(status: str) -> Callable[[str, str], Any]:
    """An older service with one ingestion, whose runs end so."""
    data = {"id": "ing_0123456789ab", "name": "orders"}
    error = {"file": "a.csv", "error_type": "data_malformed", "message": "line 3: a quote is open"}
    run: dict[str, Any] = {"id": "r1", "ingestion_id": data["id"], "status": status, "errors": [error]}
    run |= {"started_at": "2026-03-01T12:00:00Z", "metrics": {"files_processed": 1, "error_count": 1}}

    def answers(method: str, path: str) -> Any:
        if method == "POST":
            return {"run_id": "r1", "status": "accepted"}
        known: dict[str, Any] = {"/api/v1/ingestions": [data], f"/api/v1/ingestions/{data['id']}/runs": [run]}
        known[f"/api/v1/ingestions/{data['id']}/runs/r1"] = run
        return known.get(path)

    return answers


@pytest.mark.parametrize(("status", "code"), [("success", 0), ("completed", 0), ("partial", 3), ("failed", 1)])
@pytest.mark.parametrize("words", [("run",), ("ingestions", "run")])
def test_the_exit_code_tells_how_a_run_ended(invoke: Invoke, status: str, code: int, words: tuple[str, ...]) -> None:
    with older(first_contract(status)) as url:
        done = invoke("--url", url, *words, "orders")
        asked = invoke("--url", url, *words, "orders", "--no-wait")
    assert done.exit_code == code, done.output
    assert done.stdout.splitlines()[0] == f"run r1: {status}"
    assert "failed: a.csv: line 3: a quote is open" in done.stdout
    assert (asked.exit_code, asked.stdout) == (0, "r1\n")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("stauts",),
        ("run",),
        ("run", "orders", "--no-wait"),
        ("run", "orders", "--timeout", "soon"),
        ("runs", "orders", "--limit", "0"),
        ("preview",),
        ("preview", "orders", "--source", "x", "--format", "csv"),
        ("preview", "--source", "x"),
        ("ingestions", "create", "o", "--source", "x", "--format", "csv", "--to", "b.t", "--option", "header"),
        ("ingestions", "create", "o", "--source", "x", "--format", "csv", "--to", "b.t", "--on-bad-record", "x"),
        ("token", "create", "--name", "x", "--scope", "root"),
        ("token", "create", "--name", "x", "--expires", "tomorrow"),
        ("--home", "x", "--url", "http://127.0.0.1:1", "status"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_2(invoke: Invoke, words: tuple[str, ...], tmp_path: Path) -> None:
    done = invoke(*words)
    assert done.exit_code == 2
    assert done.stderr
    assert not (tmp_path / "home").exists()


def test_a_command_that_is_misspelt_is_told_with_the_one_that_was_meant(invoke: Invoke) -> None:
    assert "Did you mean 'status'?" in invoke("stauts").stderr
    assert "30m, 12h or 90d" in invoke("token", "create", "--name", "x", "--expires", "tomorrow").stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("runs", "oders"), "did you mean 'orders'?"),
        (("files", "why", "x", "a.csv"), "no ingestion 'x'"),
        (("batches", "release", "orders", "b1"), "orders holds no batch b1; held: none"),
        (("token", "revoke", "none"), "there is no token"),
        (("--profile", "none", "status"), "there is no profile 'none'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_an_error_is_one_sentence_on_stderr(invoke: Invoke, orders: str, words: tuple[str, ...], sentence: str) -> None:
    done = invoke(*words)
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert sentence in line
    assert (done.exit_code, done.stdout) == (1, "")


def test_the_last_run_is_retried_and_one_is_named_by_the_beginning_of_its_id(invoke: Invoke, orders: str) -> None:
    assert "was not run yet" in invoke("retry", "orders").stderr
    invoke("run", "orders")
    again = invoke("retry", "orders", "--json")
    assert (again.exit_code, json.loads(again.stdout)["trigger"]) == (0, "retry")
    number = json.loads(again.stdout)["id"]
    for words in ((), (number[:8],), (number,)):
        done = invoke("cancel", "orders", *words)
        assert (done.exit_code, done.stdout) == (0, f"run {number} is success\n")
    assert invoke("cancel", "orders", "zzz").exit_code == 1


def test_the_run_that_is_going_is_cancelled_and_not_the_one_behind_it(invoke: Invoke) -> None:
    runs = [{"id": "behind", "status": "queued"}, {"id": "going", "status": "running"}]

    def answers(method: str, path: str) -> Any:
        if path.endswith("/ingestions"):
            return [{"id": "ing_0123456789ab", "name": "orders"}]
        if path.endswith("/runs"):
            return runs
        wanted = [run for run in runs if f"/runs/{run['id']}" in path]
        return wanted[0] if wanted else None

    with older(answers) as url:
        done = invoke("--url", url, "cancel", "orders")
    assert (done.exit_code, done.stdout) == (0, "run going is running, and ends at its next safe point\n")


def test_a_refresh_says_what_it_means_and_is_not_done_unless_confirmed(invoke: Invoke, orders: str) -> None:
    plan = invoke("refresh", "orders", "full", "--dry-run")
    assert (plan.exit_code, "b.orders" in plan.stdout) == (0, True), plan.output
    assert json.loads(invoke("refresh", "orders", "new-only", "--dry-run", "--json").stdout)["mode"] == "new_only"
    refused = invoke("refresh", "orders", "full", input="n\n")
    assert refused.exit_code == 1
    assert "b.orders" in refused.stderr
    assert "Do it?" in refused.stderr
    assert invoke("runs", "orders", "--json").stdout == ""
    done = invoke("refresh", "orders", "full", "--yes")  # there is no Spark to drop the table
    assert (done.exit_code, "table_dropped" in done.stdout) == (1, True), done.output
    assert invoke("refresh", "orders", "some").exit_code == 2
    invoke("ingestions", "pause", "orders")
    assert invoke("refresh", "orders", "full", "--dry-run").exit_code == 1
    assert invoke("refresh", "orders", "full", "--dry-run", "--force").exit_code == 0


def test_a_token_of_another_tenant_is_made_for_it_alone(invoke: Invoke) -> None:
    made = json.loads(invoke("token", "create", "--name", "theirs", "--tenant", "acme", "--json").stdout)
    assert (made["tenant"], made["scope"]) == ("acme", "read")
    (listed,) = objects(invoke("token", "list", "--json"))
    assert (listed["name"], listed["tenant"]) == ("theirs", "acme")


def test_one_ingestion_is_shown_whole(invoke: Invoke, orders: str, folder: Path) -> None:
    shown = invoke("ingestions", "show", "orders").stdout
    assert str(folder) in shown
    assert json.loads(invoke("ingestions", "show", orders, "--json").stdout)["name"] == "orders"


def test_what_is_not_confirmed_is_not_deleted(invoke: Invoke, orders: str) -> None:
    asked = invoke("ingestions", "delete", "orders", input="n\n")
    assert asked.exit_code == 1
    assert "Delete orders (ing_" in asked.stderr
    assert len(objects(invoke("ingestions", "list", "--json"))) == 1
    assert invoke("ingestions", "delete", "orders", input="y\n").exit_code == 0
    assert objects(invoke("ingestions", "list", "--json")) == []


def test_the_status_tells_of_the_service_its_ingestions_and_what_failed(
    invoke: Invoke, orders: str, folder: Path
) -> None:
    folder.rmdir()
    invoke("run", "orders")
    rows = [re.split(r" {2,}", line) for line in invoke("status").stdout.splitlines()]
    assert rows[0] == ["what", "which", "state", "more"]
    assert rows[1][:3] == ["service", "this process", "healthy"]
    assert rows[2] == ["ingestions", "1", "draft"]
    assert rows[3][:3] == ["failed", "orders", "failed"]
    assert f"no file or folder '{folder}'" in rows[3][3]
    (told,) = objects(invoke("status", "--json"))
    assert (told["ingestions"], told["running"], told["in_error"]) == ({"draft": 1}, [], [])
    assert [each["ingestion"] for each in told["failed"]] == ["orders"]


def test_a_preview_tells_of_files_that_are_not_there_yet(invoke: Invoke, orders: str, folder: Path) -> None:
    for words in (("orders",), ("--source", str(folder), "--format", "csv", "--option", "delimiter=;")):
        seen = invoke("preview", *words)
        assert (seen.exit_code, seen.stdout) == (0, "0 files, about 0 rows\n")
        assert "no files at the source" in seen.stderr
    wrong = invoke("preview", "--source", str(folder), "--format", "cvs")
    assert wrong.exit_code == 1
    assert "did you mean 'csv'?" in wrong.stderr


def test_a_preview_is_a_table_of_columns_and_the_first_rows(invoke: Invoke) -> None:
    seen = {
        "schema": [
            {"name": "id", "data_type": "bigint", "nullable": False, "is_new": False},
            {"name": "note", "data_type": "string", "is_new": True},
        ],
        "sample_data": ['{"id":1,"note":"a\\u001b[31m"}', "{}\x1b"],
        "file_count": 1200,
        "estimated_records": None,
        "warnings": ["a.csv would fail: line 3"],
    }
    with older(lambda method, _path: seen if method == "POST" else None) as url:
        told = invoke("--url", url, "preview", "--source", "s3://b/x/", "--format", "csv", "--to", "lake.b.t")
    assert told.stdout.splitlines() == [
        "1,200 files, not known how many rows",
        "",
        "column  type",
        "id      bigint  not null",
        "note    string            new",
        "",
        '{"id":1,"note":"a\\u001b[31m"}',
        "{}\\x1b",
    ]
    assert told.stderr == "warning: a.csv would fail: line 3\n"


def test_an_older_service_has_no_preview_of_an_ingestion_that_is_there(invoke: Invoke) -> None:
    data = {"id": "ing_0123456789ab", "name": "orders"}
    with older(lambda _method, path: [data] if path.endswith("/ingestions") else None) as url:
        told = invoke("--url", url, "preview", "orders")
    assert told.exit_code == 1
    assert "has no preview of an ingestion that is there" in told.stderr
    assert "it is an older one" in told.stderr


def test_the_doctor_ends_with_1_where_a_check_failed_and_0_where_none_did(invoke: Invoke, tmp_path: Path) -> None:
    away = invoke("--url", nobody(), "doctor")
    assert away.exit_code == 1
    rows = {line.split()[0]: line.split()[1] for line in away.stdout.splitlines()}
    assert (rows["address"], rows["database"]) == ("failed", "skipped")
    known = {"/": {"name": "a", "version": "0.1"}, "/health": {"status": "healthy"}, "/api/v1/clusters": []}
    with older(lambda _method, path: known.get(path)) as url:
        well = invoke("--url", url, "doctor")
    assert well.exit_code == 0, well.output
    assert "it is an older service" in well.stdout


def test_the_doctor_tells_of_profiles_that_cannot_be_read(invoke: Invoke, tmp_path: Path) -> None:
    place = tmp_path / "config" / "autoloader" / "config.toml"
    place.parent.mkdir(parents=True)
    place.write_text('[profiles.team]\ntoken = "t0p-s3cret"\nurl =\n')
    told = invoke("doctor", "--json")
    assert told.exit_code == 1
    first, *others = objects(told)
    assert (first["name"], first["state"]) == ("configuration", "failed")
    assert str(place) in first["message"]
    assert {each["state"] for each in others} == {"skipped"}
    assert "t0p-s3cret" not in told.output
    assert invoke("status").exit_code == 1


def test_the_version_is_a_line(invoke: Invoke) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", invoke("--version").stdout)


def test_help_names_every_command_and_tells_which_service_is_asked(invoke: Invoke) -> None:
    shown = invoke("--help").stdout
    for name in MODULES:
        assert re.search(rf"^  {name}  ", shown, re.MULTILINE), name
    for word in ("--home", "--url", "--profile", "AUTOLOADER_URL", "AUTOLOADER_PROFILE", "--install-completion"):
        assert word in shown
    for words in (each.split() for each in commands()):
        assert invoke(*words, "--help").exit_code == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_the_docs_are_taken_as_they_stand(page: Path) -> None:
    """Arguments and options are checked; nothing is run."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in fenced if not kind for line in block.splitlines()]
    shown = [line for line in lines if line.startswith((".venv/bin/autoloader ", "autoloader "))]
    assert shown
    for line in shown:
        words = shlex.split(line.partition(" | ")[0], comments=True)[1:]
        command, context = autoloader, autoloader.make_context("autoloader", words)
        while hasattr(command, "commands"):
            name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
            context = command.make_context(name, words, parent=context)


@pytest.fixture
def completed(invoke: Invoke) -> Callable[..., list[str]]:
    def complete(*words: str) -> list[str]:
        variables = {"_AUTOLOADER_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words)}
        variables["COMP_CWORD"] = str(len(words) - 1)
        done = invoke(env=variables, prog_name="autoloader")
        assert done.stderr == ""
        return done.stdout.split()

    return complete


def test_the_shell_completes_commands_and_names_of_a_service(completed: Callable[..., list[str]]) -> None:
    assert completed("autoloader", "ru") == ["run", "runs"]
    assert completed("autoloader", "files", "w") == ["why"]
    with older(first_contract("success")) as url:
        assert completed("autoloader", "--url", url, "run", "or") == ["orders"]
        assert completed("autoloader", "--url", url, "run", "x") == []


def test_a_completion_starts_no_service_and_fails_without_a_word(
    completed: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert completed("autoloader", "run", "or") == []
    assert not (tmp_path / "home").exists()
    assert completed("autoloader", "--url", nobody(), "run", "or") == []
    assert completed("autoloader", "--profile", "none", "run", "or") == []


def test_the_log_of_a_run_is_shown_line_by_line(invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    made = invoke("ingestions", "create", "empty", "--source", str(folder), "--format", "csv", "--to", "lake.b.empty")
    assert made.exit_code == 0, made.output
    none = invoke("runs", "empty", "--log", "last")
    assert (none.exit_code, none.stderr) == (1, "Error: 'empty' was not run yet\n")
    run = json.loads(invoke("run", "empty", "--json").stdout)
    lines = invoke("runs", "empty", "--log", "last").stdout.splitlines()
    assert lines[0].endswith("info    started (manual)")
    assert "ended: success" in lines[-1]
    told = [json.loads(line) for line in invoke("runs", "empty", "--log", run["id"][:6], "--json").stdout.splitlines()]
    assert [each["message"] for each in told] == [line.split(maxsplit=3)[3] for line in lines]


def test_names_of_files_say_nothing_to_a_terminal(invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "_a\x1b]0;x\x07.csv").write_text("a\n1\n")
    invoke("ingestions", "create", "odd", "--source", str(folder), "--format", "csv", "--to", "lake.b.odd")
    invoke("run", "odd")
    for command in (
        ["files", "list", "odd"],
        ["files", "why", "odd", "_a\x1b]0;x\x07.csv"],
        ["files", "why", "x\x1b[0m", "y"],
    ):
        shown = invoke(*command)
        assert ESCAPE not in shown.stdout + shown.stderr
        assert "\\x1b" in shown.stdout + shown.stderr


def test_a_text_option_may_be_true(invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    given = ["--option", "null_value=true", "--option", "header=false"]
    made = invoke(
        "ingestions", "create", "o", "--source", str(folder), "--format", "csv", "--to", "lake.b.o", *given, "--json"
    )
    options = json.loads(made.stdout)["format"]["options"]
    assert (options["null_value"], options["header"]) == ("true", False)


def test_every_command_is_on_the_page() -> None:
    page = PAGES[1].read_text(encoding="utf-8")
    assert [name for name in MODULES if f"`{name}" not in page] == []


def test_what_is_deleted_is_named_before_it_is(invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    made = invoke("ingestions", "create", "sales", "--source", str(folder), "--format", "csv", "--to", "lake.b.sales")
    misspelt = invoke("ingestions", "delete", "sale", input="y\n")
    assert (misspelt.exit_code, misspelt.stderr) == (1, "Error: no ingestion 'sale'; did you mean 'sales'?\n")
    asked = invoke("ingestions", "delete", "sales", input="n\n")
    assert f"Delete sales ({made.stdout.strip()})? Its table lake.b.sales stays [y/N]" in asked.stderr
    assert invoke("ingestions", "delete", "sales", "--table", input="n\n").stderr.count("lake.b.sales is dropped") == 1
    assert json.loads(invoke("ingestions", "list", "--json").stdout)["name"] == "sales"


def test_the_folder_of_a_service_in_this_process_is_told(invoke: Invoke, tmp_path: Path) -> None:
    shown = invoke("config").stdout
    assert re.search(rf"home +{re.escape(str(tmp_path / 'home'))} +environment", shown)
    assert "in this process" in shown


def test_a_port_that_is_taken_is_one_sentence(invoke: Invoke) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = invoke("serve", "--port", str(port))
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: cannot listen on 127.0.0.1, port {port}: Address already in use. Choose another one: --port, --host\n"
    )
