"""`make chaos` itself, as a process: what its last line says, and that it fails where a row is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Somebody takes a row out of the table after the run that was to make everything right.
THIEF = """
from tests.chaos import __main__ as command
from tests.chaos.world import World

finish = World.finish

def finish_and_steal(world, ask=None):
    run = finish(world, ask)
    name = world.table_name.quoted
    world.table.spark.sql(f"DELETE FROM {name} WHERE id = (SELECT max(id) FROM {name})")
    return run

World.finish = finish_and_steal
command.main()
"""


def chaos(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )


def test_the_last_line_tells_of_as_many_kills_as_were_asked_for_and_of_nothing_wrong() -> None:
    done = chaos("-m", "tests.chaos", "--kills", "2", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "kills 2, lost 0, doubled 0, partial reads 0\n"
    assert re.search(r"\d+ tables, [1-9]\d* reads while they were loaded, .* 0 faults$", done.stderr.rstrip())


def test_a_row_that_is_missing_after_the_next_run_is_told_and_fails_the_command() -> None:
    done = chaos("-c", THIEF, "--kills", "1", "--seed", "7")
    assert done.returncode == 1, done.stdout + done.stderr
    found = re.fullmatch(r"kills 1, lost (\d+), doubled 0, partial reads \d+\n", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert int(found[1]) >= 1
    assert re.search(r"^ {5}\S*world_1\S*: lost: /", done.stderr, re.MULTILINE)
