"""The built wheel, in an environment with nothing but its extra `local`, loads a file into a table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path

import pytest
from hatchling.build import build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path
import autoloader_sdk, autoloader_server
from autoloader_sdk import Client

assert all(Path(module.__file__).is_relative_to(sys.prefix) for module in (autoloader_sdk, autoloader_server))
Path("data").mkdir()
Path("data/a.csv").write_text("id,name\\n1,x\\n2,y\\n")
with Client.local("state") as client:
    ingestion = client.ingestions.create(name="w", source="data", format="csv", destination="lake.bronze.w")
    run = ingestion.run()
    run.wait(timeout=240)
    print("status", run.status, "records", run.metrics.records_ingested)
"""


def needed(requires: list[str], extra: str) -> set[str]:
    """All that `autoloader-sdk[extra]` brings, as the running environment, the lock's, knows it."""
    seen: set[tuple[str, str]] = set()
    todo = [("autoloader-sdk", ""), ("autoloader-sdk", extra)]
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        below = requires if name == "autoloader-sdk" else distribution(name).requires or []
        for one in map(Requirement, below):
            if one.marker is None or one.marker.evaluate({"extra": wanted}):
                todo += [(canonicalize_name(one.name), inner) for inner in ("", *one.extras)]
    return {name for name, _ in seen} - {"autoloader-sdk"}


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of a new environment with the wheel and what `[local]` asks for, at the lock's versions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        wheel = tmp_path / build_wheel(str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        [path] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        requires = message_from_bytes(archive.read(path)).get_all("Requires-Dist", [])
    names = needed(requires, "local")
    assert "pyspark" in names
    assert not names & {"prefect", "jupyterlab", "pytest", "hatchling"}
    blocks = re.split(r"^(?=[^\s#])", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    lock = tmp_path / "local.lock"
    lock.write_text("".join(block for block in blocks if canonicalize_name(block.split("==")[0]) in names))
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps"]
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(environment)],
        [*install, "--require-hashes", "--compile-bytecode", "-r", str(lock)],
        [*install, str(wheel)],
    ):
        subprocess.run(command, check=True, timeout=300)
    return python


def test_an_installed_copy_loads_a_file(python: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    ours = {"PYTHONPATH", "VIRTUAL_ENV"}
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    clean = {name: value for name, value in clean.items() if not name.startswith("AUTOLOADER_")}
    if jars := os.environ.get("AUTOLOADER_JARS_DIR"):
        clean["AUTOLOADER_JARS_DIR"] = jars
    result = subprocess.run(
        [str(python), "-c", PROGRAM],
        cwd=work,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "status success records 2"
    assert list((work / "state").iterdir())
