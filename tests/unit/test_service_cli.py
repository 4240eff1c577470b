"""The command: what it prints and what it ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from autoloader_server.spark.supervisor import free_port

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOLOADER_", "PREFECT_"))}
    return kept | {"AUTOLOADER_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def autoloader(environment: dict[str, str], tmp_path: Path) -> Command:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from autoloader_sdk.cli import main; main()", *arguments],
            env=environment | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_settings_are_listed_with_where_they_came_from(autoloader: Command, tmp_path: Path) -> None:
    done = autoloader("settings", AUTOLOADER_PORT="9", AUTOLOADER_PROT="9", AUTOLOADER_SECRETS_KEY="s3cr3t-itself")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["port"] == ["9", "environment"]
    assert rows["home"] == [str(tmp_path / "home"), "environment"]
    assert rows["max_parallel_runs"] == ["4", "default"]
    assert "s3cr3t-itself" not in done.stdout
    assert "did you mean AUTOLOADER_PORT?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("serve", "--host", "0.0.0.0"), {}),
        (("serve",), {"AUTOLOADER_HOST": "0.0.0.0"}),
        (("serve",), {"AUTOLOADER_HOST": "::"}),
    ],
)
def test_listening_beyond_this_machine_is_refused_with_a_sentence(
    autoloader: Command, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    done = autoloader(*arguments, **variables)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: refusing to listen")
    assert "autoloader token create" in line


def test_a_wrong_setting_is_a_sentence_and_no_traceback(autoloader: Command) -> None:
    done = autoloader("ingestions", "list", AUTOLOADER_PORT="x")
    assert done.returncode == 1
    assert "setting port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_ledger_that_does_not_open_is_a_sentence(autoloader: Command) -> None:
    done = autoloader("db", "upgrade", AUTOLOADER_DATABASE_URL="sqlite:////nowhere-at-all/x.db")
    assert done.returncode == 1
    assert "does not open" in done.stderr
    assert "Traceback" not in done.stderr


def test_create_list_and_look_in_one_folder(autoloader: Command, tmp_path: Path) -> None:
    assert "up to date" in autoloader("db", "upgrade").stdout
    data = tmp_path / "data"
    data.mkdir()
    made = autoloader("ingestions", "create", "orders", "--source", "data", "--format", "csv", "--to", "lake.b.orders")
    assert made.returncode == 0, made.stderr
    listed = autoloader("ingestions", "list").stdout.splitlines()
    assert listed[1].split() == [made.stdout.strip(), "orders", "draft", str(data), "lake.b.orders"]
    (line,) = autoloader("ingestions", "list", "--json").stdout.splitlines()
    assert json.loads(line)["id"] == made.stdout.strip()
    assert autoloader("runs", "orders").stdout.splitlines()[0].startswith("id")
    assert autoloader("files", "list", "orders").stdout == ""
    (data / "new.csv").write_text("a\n1\n")
    sentence = "it is at the source, and no run has looked yet: the next run loads it"
    assert autoloader("files", "why", "orders", "new.csv").stdout == f"{data}/new.csv: {sentence}\n"
    told = json.loads(autoloader("files", "why", "orders", str(data / "new.csv"), "--json").stdout)
    assert (told["in_table"], told["sentence"], told["file"]) == (False, sentence, None)
    unknown = autoloader("runs", "oders")
    assert unknown.returncode == 1
    assert "oders" in unknown.stderr
    assert autoloader("ingestions", "run", "orders", "--no-wait").returncode == 2


def test_an_ingestion_is_paused_resumed_and_deleted(autoloader: Command, tmp_path: Path) -> None:
    make = ("ingestions", "create", "orders", "--source", ".", "--format", "csv", "--to", "b.orders")
    assert autoloader(*make, "--on-bad-record", "quarantine", "--on-schema-change", "fail").returncode == 0

    def shown() -> list[dict[str, object]]:
        return list(map(json.loads, autoloader("ingestions", "list", "--json").stdout.splitlines()))

    assert [(one["on_bad_record"], one["on_schema_change"]) for one in shown()] == [("quarantine", "fail")]
    assert autoloader("ingestions", "pause", "orders").returncode == 0
    assert [one["status"] for one in shown()] == ["paused"]
    assert autoloader("run", "orders").returncode == 1
    assert autoloader("ingestions", "resume", "orders").returncode == 0
    assert [one["status"] for one in shown()] == ["active"]
    unasked = autoloader("ingestions", "delete", "orders")
    assert unasked.returncode == 1
    assert len(shown()) == 1
    assert autoloader("ingestions", "delete", "orders", "--yes").returncode == 0
    assert shown() == []


def test_what_is_held_is_listed_and_only_that_can_be_released(autoloader: Command) -> None:
    make = ("ingestions", "create", "orders", "--source", "*.csv", "--format", "csv", "--to", "b.orders")
    assert autoloader(*make, "--on-changed-file", "replace").returncode == 0
    made = json.loads(autoloader("ingestions", "list", "--json").stdout)
    assert (made["source"]["on_changed_file"], made["source"]["file_pattern"]) == ("replace", "*.csv")
    assert autoloader("batches", "list", "orders", "--status", "held").stdout.split() == [
        *("id", "status", "files", "rows", "reason")
    ]
    for word in ("release", "drop"):
        refused = autoloader("batches", word, "orders", "b1")
        assert refused.returncode == 1
        assert "orders holds no batch b1; held: none" in refused.stderr


def test_a_service_that_is_not_there_is_one_sentence(autoloader: Command) -> None:
    done = autoloader("--url", f"http://127.0.0.1:{free_port()}", "ingestions", "list")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "could not be reached" in line


def test_serve_answers_on_its_port_and_ends_on_sigterm(
    environment: dict[str, str], autoloader: Command, tmp_path: Path
) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-c",
        "from autoloader_sdk.cli import main; main()",
        "serve",
        "--port",
        str(port),
    ]
    server = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                health = httpx.get(f"{url}/health", trust_env=False)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                assert server.poll() is None
        assert health.json()["status"] == "healthy"
        stranger = httpx.get(f"{url}/health", headers={"Host": f"evil.example:{port}"}, trust_env=False)
        assert stranger.status_code == 403
        made = autoloader("--url", url, "ingestions", "create", "o", "--source", ".", "--format", "csv", "--to", "b.t")
        assert made.returncode == 0, made.stderr
        assert httpx.get(f"{url}/api/v1/ingestions", trust_env=False).json()[0]["id"] == made.stdout.strip()
    finally:
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "Traceback" not in said


def test_importing_the_application_brings_neither_spark_nor_alembic() -> None:
    heavy = ("pyspark", "alembic", "pandas", "uvicorn")
    modules = "sys, autoloader_server.app, autoloader_server.embedded"
    code = f"import {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_how_files_are_written_is_said_by_options_and_a_wrong_one_is_named(autoloader: Command, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    make = ("ingestions", "create", "sales", "--source", "files", "--format", "csv", "--to", "lake.bronze.sales")
    done = autoloader(*make, "--option", "delimiter=;", "--option", "header=false")
    assert done.returncode == 0, done.stderr
    (shown,) = map(json.loads, autoloader("ingestions", "list", "--json").stdout.splitlines())
    assert (shown["format"]["options"]["delimiter"], shown["format"]["options"]["header"]) == (";", False)
    wrong = autoloader(*make, "--option", "delimeter=;")
    assert wrong.returncode == 1
    assert "delimiter" in wrong.stderr
    assert autoloader(*make, "--option", "header").returncode == 2
    assert autoloader("clear", "sales").stdout == "Cleared 0 processed file records\n"
