"""The demo, as `make demo` runs it, in a folder of its own: it keeps its promises, or ends as failed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.homes import spark_home

from autoloader_server.spark.state import SparkFolder

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Path]:
    """A copy of the demo: it writes beside the folder that it is in, and what is there from before is not ours."""
    copy = tmp_path / "examples" / DEMO.name
    copy.parent.mkdir()
    shutil.copy(DEMO, copy)
    with spark_home(tmp_path / "demo-output" / "home"):
        yield copy


def run(demo: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(demo)], capture_output=True, text=True, check=False, timeout=400)


def test_the_demo_does_what_it_says_and_leaves_a_picture_and_no_server(demo: Path) -> None:
    done = run(demo)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, nothing, broken, table = sections(done.stdout)
    assert "335 files, 309,628 rows" in first
    assert "30 files, 27,148 rows" in second
    assert "0 files, 0 rows" in nothing
    assert "0 files, 1 failed, 0 rows" in broken
    assert "2014-01-01.csv: 1 of its 40 records do not fit the table's columns" in broken
    assert table.count("336,776") == 2
    assert "336,776   the same" in table
    assert "Frontier Airlines Inc." in table
    output = demo.parents[1] / "demo-output"
    assert (output / "delays.png").read_bytes().startswith(b"\x89PNG")
    assert f"chart: {output / 'delays.png'}" in table
    assert SparkFolder(output / "home").server() is None


def sections(said: str) -> list[str]:
    """What is said below the titles from the second on; the repetition of the third is one of its own."""
    rest = said
    found = []
    for title in ("2. Load them", "3. Thirty more days", "and once more", "4. A broken file", "5. Ask the table"):
        before, there, rest = rest.partition(title)
        assert there, f"{title!r} is not said:\n{said}"
        found.append(before)
    return [*found[1:], rest]


def test_a_demo_that_breaks_a_promise_says_which_and_fails(demo: Path) -> None:
    text = demo.read_text(encoding="utf-8")
    # Two files come where 335 are promised.
    broken = text.replace("days[:DAYS_FIRST]:", "days[:2]:")
    assert broken != text
    demo.write_text(broken, encoding="utf-8")
    done = run(demo)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "demo: it did not keep its promise: files of the first load: 2, not 335"
