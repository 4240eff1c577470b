"""The flow's names, retries and time-out are fixed, and the settings have their say. In processes: prefect is heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SHOW = """
import json
from autoloader_flows import ingestion as i
names = ("discover_files", "check_file_state", "process_files", "create_run_record", "complete_run_record",
         "fail_run_record")
tasks = {name: getattr(i, f"{name}_task") for name in names}
flow = i.run_ingestion_flow
print(json.dumps({
    "flow": [flow.name, flow.log_prints, flow.retries, flow.retry_delay_seconds, flow.timeout_seconds],
    "parameters": flow.parameters.model_dump()["properties"],
    "retries": {name: one.retries for name, one in tasks.items()},
    "delays": sorted({one.retry_delay_seconds for one in tasks.values()}),
    "names": sorted(one.name for one in tasks.values()),
}))
"""


def show(home: Path, **settings: str) -> dict[str, Any]:
    environment = os.environ | {"AUTOLOADER_HOME": str(home), "PREFECT_HOME": str(home / "prefect")} | settings
    done = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_names_retries_and_times_are_as_documented(tmp_path: Path) -> None:
    found = show(tmp_path)
    assert found["flow"] == ["run_ingestion", True, 1, 300, 3600]
    assert list(found["parameters"]) == ["ingestion_id", "trigger"]
    assert found["parameters"]["trigger"]["default"] == "scheduled"
    assert found["delays"] == [60]
    assert found["names"] == sorted(f"{name}_task" for name in found["retries"])
    documented = (Path(__file__).parents[2] / "docs" / "flows.md").read_text(encoding="utf-8")
    for name, retries in found["retries"].items():
        assert f"| `{name}_task` | {retries} |" in documented


def test_settings_cap_the_retries_and_set_the_times(tmp_path: Path) -> None:
    found = show(
        tmp_path,
        AUTOLOADER_PREFECT_MAX_TASK_RETRIES="1",
        AUTOLOADER_PREFECT_TASK_RETRY_DELAY_SECONDS="7",
        AUTOLOADER_PREFECT_FLOW_RUN_TIMEOUT_SECONDS="90",
    )
    assert set(found["retries"].values()) == {1}
    assert found["delays"] == [7]
    assert found["flow"][4] == 90


def test_the_package_alone_imports_neither_prefect_nor_pyspark() -> None:
    program = "import sys, autoloader_flows; sys.exit(any(name in sys.modules for name in ('prefect', 'pyspark')))"
    subprocess.run([sys.executable, "-c", program], check=True)
