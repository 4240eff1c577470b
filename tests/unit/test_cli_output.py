"""How it looks: in a terminal, where there is none, and what start-up costs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parts.answering import older
from typer.testing import CliRunner

from autoloader_sdk.cli.group import app
from autoloader_sdk.cli.output import plain, print_json, print_table
from autoloader_sdk.cli.progress import did, lines
from autoloader_sdk.models import RunData

COMMAND = [sys.executable, "-c", "from autoloader_sdk.cli import main; main()"]
INGESTION: dict[str, Any] = {
    "id": "ing_0123456789ab",
    "name": "orders\x1b[31m",
    "status": "error",
    "source": {"path": "/data/" + "x" * 200},
}


def run(status: str = "running", **metrics: Any) -> RunData:
    return RunData.model_validate({"id": "r1", "status": status, "metrics": metrics})


def test_columns_are_aligned_a_row_a_line_and_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "why"), [("a", "x" * 300), ("longer", "two\nlines"), ("ü", "")])
    assert capsys.readouterr().out.splitlines() == ["name    why", f"a       {'x' * 300}", "longer  two\\nlines", "ü"]


def test_an_empty_table_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "name"), [])
    assert capsys.readouterr().out == "id  name\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b/ü.csv", "a b/ü.csv"), ("\x1b[2J", "\\x1b[2J"), ("a\tb\r\n", "a\\tb\\r\\n"), ("\udcff", "\\udcff")],
)
def test_names_of_files_say_nothing_to_a_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_json_has_a_record_a_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(run(), {"a": "two\nlines", "b": Path("/x")})
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["id"], second) == ("r1", {"a": "two\nlines", "b": "/x"})


def test_progress_tells_files_of_those_planned_rows_and_the_rate() -> None:
    going = run(files_processed=1000, error_count=2, files_planned=2000, records_ingested=50_000, duration_seconds=4)
    assert did(going) == "1,002/2,000 files, 50,000 rows, 12,500 rows/s"
    assert did(run()) == "0 files, 0 rows"
    # A run fails for more than its files.
    assert did(run(error_count=2, files_planned=1)) == "1/1 files, 0 rows"


def test_a_log_gets_a_line_in_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    class Known:
        status, done, data = "running", False, run(files_processed=1)

    moments = iter([0, 5, 9.9, 10, 10, 12, 21, 21])
    show: Callable[[Any], None] = lines(lambda: next(moments))
    told = []
    for _ in range(5):
        show(Known())
        told.append(capsys.readouterr().err)
    assert told == ["", "", "running: 1 files, 0 rows\n", "", "running: 1 files, 0 rows\n"]
    Known.done = True
    show(Known())
    assert capsys.readouterr().err == ""


@pytest.fixture
def url() -> Iterator[str]:
    data = {"id": "r1", "ingestion_id": INGESTION["id"], "started_at": "2026-03-01T12:00:00Z"}
    states = iter(
        [data | {"status": "running", "metrics": {"files_processed": done, "files_planned": 4}} for done in (1, 2, 3)]
    )
    ended = data | {"status": "partial", "metrics": {"files_processed": 3, "error_count": 1, "files_planned": 4}}

    def answers(method: str, path: str) -> Any:
        if method == "POST":
            return {"run_id": "r1", "status": "accepted"}
        if path.endswith("/runs/r1"):
            return next(states, ended)
        return [INGESTION] if path.endswith("/ingestions") else INGESTION

    with older(answers) as found:
        yield found


def in_a_terminal(words: tuple[str, ...], tmp_path: Path, **variables: str) -> tuple[int, str]:
    """What a command writes to a terminal of 100 columns, both streams, and what it ends with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOLOADER_", "NO_COLOR"))}
    kept |= {"XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm", "COLUMNS": "100", **variables}
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=kept)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    return process.wait(60), seen.decode()


def test_a_terminal_gets_a_table_that_fits_and_colours_that_can_be_turned_off(url: str, tmp_path: Path) -> None:
    code, seen = in_a_terminal(("--url", url, "ingestions", "list"), tmp_path)
    assert code == 0
    assert "\x1b[31merror" in seen
    assert "orders\\x1b[31m" in seen
    assert "─" in seen
    code, seen = in_a_terminal(("--url", url, "ingestions", "list"), tmp_path, NO_COLOR="1")
    assert "\x1b[31m" not in seen
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in seen.splitlines()) == 100


def test_a_run_in_a_terminal_has_a_bar_and_leaves_how_it_ended(url: str, tmp_path: Path) -> None:
    code, seen = in_a_terminal(("--url", url, "run", INGESTION["id"]), tmp_path)
    assert code == 3
    assert "━" in seen
    assert "3/4 files" in seen
    assert "run r1: partial" in seen


def test_no_terminal_gets_a_table_for_other_programs_and_a_run_only_its_end(url: str, tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "FORCE_COLOR": "1", "COLUMNS": "40"}
    listed = CliRunner().invoke(app, ["--url", url, "ingestions", "list"], env=environment)
    assert [line.split() for line in listed.stdout.splitlines()] == [
        ["id", "name", "status", "source", "table"],
        [INGESTION["id"], "orders\\x1b[31m", "error", INGESTION["source"]["path"], ".."],
    ]
    ran = CliRunner().invoke(app, ["--url", url, "run", INGESTION["id"]], env=environment)
    assert ran.exit_code == 3
    assert ran.stdout.startswith("run r1: partial\n")
    assert ran.stderr == ""


def test_a_reader_that_has_seen_enough_is_no_error(url: str, tmp_path: Path) -> None:
    words = "ingestions list"
    command = f"{sys.executable} -c 'from autoloader_sdk.cli import main; main()' --url {url} {words} | head -n 0"
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_command_imports_what_it_needs_and_no_more(tmp_path: Path) -> None:
    """httpx brings rich, where it is installed; so this is a command that asks no service."""
    code = (
        "import sys\n"
        "from autoloader_sdk.cli.group import autoloader\n"
        "print(*({modules} & set(sys.modules)), file=sys.stderr)\n"
        "autoloader(['config'], prog_name='autoloader', standalone_mode=False)\n"
        "print(*({modules} & set(sys.modules)), file=sys.stderr)\n"
    )
    modules = {"rich", "httpx", "pandas", "pyspark", "autoloader_server", "autoloader_sdk.models"}
    modules |= {"autoloader_sdk.cli.loads", "autoloader_sdk.cli.tokens", "autoloader_sdk.doctor"}
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "AUTOLOADER_URL": "http://127.0.0.1:1"}
    command = [sys.executable, "-c", code.replace("{modules}", repr(modules))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "http://127.0.0.1:1" in done.stdout
    assert done.stderr.splitlines() == ["", ""]


def test_the_package_itself_imports_neither_typer_nor_rich() -> None:
    modules = "sys, autoloader_sdk, autoloader_sdk.client, autoloader_sdk.doctor"
    code = f"import {modules}; print([m for m in ('typer', 'rich', 'click') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
