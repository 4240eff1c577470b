"""What `make bench` prints, and how it ends: held by benchmarks that measure nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks import __main__ as command
from benchmarks.figures import Figure, at_most, below, say, times_quicker

ROOT = Path(__file__).parents[2]
KEYS = {"name", "ours", "peer", "peer_name", "ratio", "unit", "reach", "ok"}
FIGURES = [
    at_most("a load", 3.0, 2.0, "plain Spark", 2),
    times_quicker("a listing", 0.5, 100.0, "another tool", 10),
    below("a start", 95.0, 90, "s"),
]

Stub = Callable[[str, Callable[[], list[Figure]]], None]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Adds a benchmark of this name; there are no others then but those that were added."""
    names: list[str] = []

    def add(name: str, measure: Callable[[], list[Figure]]) -> None:
        module = ModuleType(f"benchmarks.{name}")
        module.measure = measure  # type: ignore[attr-defined]  # what a benchmark is
        monkeypatch.setitem(sys.modules, module.__name__, module)
        names.append(name)
        monkeypatch.setattr(command, "NAMES", tuple(names))

    return add


def measure() -> list[Figure]:
    say("  round 1/1")
    return FIGURES


def test_figures_are_a_table_and_a_line_of_json_each_and_one_that_falls_short_is_no_failure(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub("quick", measure)
    assert command.main(["quick"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    table, told = lines[: len(FIGURES) + 1], [json.loads(line) for line in lines[len(FIGURES) + 1 :]]
    assert [re.split(" {2,}", line) for line in table] == [
        ["figure", "ours", "peer", "ratio", "reach"],
        ["a load", "3 s", "2 s (plain Spark)", "1.50", "<= 2 x", "ok"],
        ["a listing", "0.5 s", "100 s (another tool)", "1/200", ">= 10 x quicker", "ok"],
        ["a start", "95 s", "90 s (the limit)", "1.06", "<= 90 s", "FALLS SHORT"],
    ]
    assert [set(figure) for figure in told] == [KEYS] * len(FIGURES)
    assert [figure["name"] for figure in told] == ["a load", "a listing", "a start"]
    assert [figure["ratio"] for figure in told] == [1.5, 0.005, 1.0556]
    assert [figure["ok"] for figure in told] == [True, True, False]
    assert said.err.splitlines() == ["quick:", "  round 1/1"]


def test_without_a_name_all_are_measured_in_their_order(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("second_by_name", "first_by_name"):
        stub(name, measure)
    assert command.main([]) == 0
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if line.endswith(":")] == ["second_by_name:", "first_by_name:"]
    assert len([line for line in said.out.splitlines() if line.startswith("{")]) == 2 * len(FIGURES)


def test_figures_before_a_benchmark_that_raises_are_told(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> list[Figure]:
        raise RuntimeError("the peer is not installed")

    stub("quick", measure)
    stub("broken", fail)
    stub("later", measure)
    with pytest.raises(RuntimeError, match="not installed"):
        command.main([])
    said = capsys.readouterr()
    assert [json.loads(line)["name"] for line in said.out.splitlines() if line.startswith("{")] == [
        figure.name for figure in FIGURES
    ]
    assert said.err.splitlines()[-1] == "broken:"
    with pytest.raises(RuntimeError):
        command.main(["broken"])
    assert capsys.readouterr().out == ""


def test_a_name_that_is_none_is_refused_with_those_that_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "imports", "ingets"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip() == f"there is no benchmark 'ingets'; there are {', '.join(command.NAMES)}"


def test_each_name_is_a_benchmark() -> None:
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "def measure(" in path.read_text("utf-8")}
    assert set(command.NAMES) == files
