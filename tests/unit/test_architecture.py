"""The direction of imports, as pyproject.toml draws it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w

ROOT = Path(__file__).parents[2]


def lint_imports(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=None))"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_imports_go_one_way() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "imports", "contract"),
    [
        ("autoloader_sdk/client.py", "import autoloader_server", "A floor knows the floors below it"),
        ("autoloader_server/api/x.py", "import autoloader_flows", "A floor knows the floors below it"),
        ("autoloader_server/api/x.py", "import prefect", "over REST and never import it"),
        ("autoloader_sdk/client.py", "def late():\n    import fastapi", "none of the service's libraries"),
        ("autoloader_sdk/runs.py", "import httpx", "only _http imports httpx"),
        ("autoloader_sdk/discovery/x.py", "import pyspark", "Discovery works without Spark"),
        ("autoloader_server/engine/x.py", "import autoloader_server.api", "Within the server"),
        ("autoloader_server/db/x.py", "import autoloader_server.engine", "Within the server"),
    ],
)
def test_each_contract_breaks_where_it_should(module: str, imports: str, contract: str, tmp_path: Path) -> None:
    """A contract over modules that were renamed would hold for ever: so each is broken once, in a copy."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for one in rules["contracts"]:
        one["unmatched_ignore_imports_alerting"] = "none"
    (tmp_path / "pyproject.toml").write_text(tomli_w.dumps({"tool": {"importlinter": rules}}))
    server_layers = ("api", "services", "engine", "db", "security", "settings", "spark", "app")
    packages = ["autoloader_sdk", "autoloader_sdk/_http", "autoloader_sdk/client", "autoloader_sdk/discovery"]
    packages += [
        "autoloader_server",
        *(f"autoloader_server/{name}" for name in server_layers),
        "autoloader_flows",
    ]
    for package in packages:
        if f"{package}.py" != module:
            (tmp_path / package).mkdir()
            (tmp_path / package / "__init__.py").touch()
    (tmp_path / module).write_text(imports + "\n")
    result = lint_imports(tmp_path, PYTHONPATH=str(tmp_path))
    broken = [line for line in result.stdout.splitlines() if line.rstrip().endswith("BROKEN")]
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(contract in line for line in broken), result.stdout
