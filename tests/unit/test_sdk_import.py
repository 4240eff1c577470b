"""What importing costs, and that the types of both clients hold."""

import json
import subprocess
import sys
from pathlib import Path

import autoloader_sdk

HEAVY = ("httpx", "pydantic", "pandas", "pyspark", "IPython", "stamina", "asyncio", "importlib.metadata")


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    listing = "import sys, json; had = set(sys.modules); {}; print(json.dumps(sorted(set(sys.modules) - had)))"
    loaded = set(json.loads(fresh(listing.format("import autoloader_sdk"))))
    assert loaded >= {"autoloader_sdk"}
    assert not loaded & set(HEAVY)
    for_client = set(json.loads(fresh(listing.format("from autoloader_sdk import Client"))))
    assert not for_client & {"httpx", "stamina", "pandas", "pyspark", "IPython", "autoloader_server"}


def test_each_public_name_is_there_and_an_unknown_one_is_an_attribute_error() -> None:
    for name in autoloader_sdk.__all__:
        assert getattr(autoloader_sdk, name) is not None
    assert dir(autoloader_sdk) == sorted(autoloader_sdk.__all__)
    assert not hasattr(autoloader_sdk, "Clinet")
    assert autoloader_sdk.__version__[0].isdigit()


TYPED = """
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

from autoloader_sdk import AsyncClient, Client, File, Ingestion, Run, RunEvent, Verdict
from autoloader_sdk._http.endpoint import Async, Sync
from autoloader_sdk.batches import Batch
from autoloader_sdk.clusters import Cluster
from autoloader_sdk.code.plan import Plan
from autoloader_sdk.models import (
    ConnectionTest, CostBreakdown, NewToken, PreviewResult, RunLogLine, SchemaVersion, TokenData,
)
from autoloader_sdk.prefect import AsyncPrefect, Deployment, FlowRun, Prefect, Schedule, WorkPool
from autoloader_sdk.refreshes import Refresh
from autoloader_sdk.schema_versions import SchemaDifference


def plain(client: Client) -> Run:
    ingestion = client.ingestions.get("flights")
    assert_type(ingestion, Ingestion[Sync])
    assert_type(ingestion.files(status="failed"), Iterator[File])
    assert_type(ingestion.files.why("a.csv"), Verdict)
    for file in ingestion.files:
        assert_type(file, File)
    assert_type(ingestion.run(force=True).wait(timeout=3).ok, bool)
    assert_type(ingestion.run().follow(), Iterator[RunEvent])
    assert_type(ingestion.run().logs(follow=True), Iterator[RunLogLine])
    assert_type(ingestion.schema_versions()[0], SchemaVersion)
    assert_type(ingestion.schema_versions.diff(1, 3), SchemaDifference)
    assert_type(client.tokens.create("x", scope="operate"), NewToken)
    for each in client.ingestions:
        assert_type(each, Ingestion)
    assert_type(ingestion.preview(sample=False), PreviewResult)
    assert_type(ingestion.estimate_cost(), CostBreakdown)
    assert_type(ingestion.refresh_full(dry_run=True), Refresh[Sync])
    assert_type(ingestion.batches(status="held")[0], Batch[Sync])
    assert_type(ingestion.batches()[0].release(), Run[Sync])
    assert_type(ingestion.deployment(), Deployment[Sync])
    assert_type(ingestion.runs()[0].flow_run(), FlowRun[Sync])
    assert_type(client.clusters.list()[0], Cluster[Sync])
    assert_type(client.clusters.get("x").test_connection(), ConnectionTest)
    assert_type(client.tokens.list()[0], TokenData)
    assert_type(client.diff("ingestions/"), Plan)
    return ingestion.runs()[0]


def of_prefect(prefect: Prefect) -> None:
    deployment = prefect.deployments.get_by_name("flow/deployment")
    assert_type(deployment, Deployment[Sync])
    assert_type(deployment.schedules.list()[0], Schedule[Sync])
    assert_type(deployment.run({"a": 1}).wait(), FlowRun[Sync])
    assert_type(prefect.work_pools.get("p"), WorkPool[Sync])
    assert_type(prefect.version(), str)


async def of_prefect_awaited(prefect: AsyncPrefect) -> None:
    deployment = await prefect.deployments.get_by_name("flow/deployment")
    assert_type(deployment, Deployment[Async])
    assert_type(await (await deployment.run()).wait(), FlowRun[Async])
    assert_type((await deployment.schedules.list())[0], Schedule[Async])


async def awaited(client: AsyncClient) -> None:
    ingestion = await client.ingestions.get("flights")
    assert_type(ingestion, Ingestion[Async])
    assert_type(ingestion.files(), AsyncIterator[File])
    assert_type(await ingestion.files.why("a.csv"), Verdict)
    assert_type((await ingestion.run()).follow(), AsyncIterator[RunEvent])
    assert_type(await ingestion.schema_versions.diff(), SchemaDifference)
    assert_type(await client.tokens.create("x"), NewToken)
    assert_type(await ingestion.preview(), PreviewResult)
    assert_type(await ingestion.refresh_new_only(), Refresh[Async])
    assert_type((await ingestion.batches())[0], Batch[Async])
    assert_type(await ingestion.deployment(), Deployment[Async])
    assert_type(await (await ingestion.run()).flow_run(), FlowRun[Async])
    assert_type((await client.clusters.list())[0], Cluster[Async])
    assert_type(await client.diff("ingestions/"), Plan)
    async for each in client.ingestions:
        assert_type(each, Ingestion[Async])
    async for run in ingestion.runs:
        assert_type(run, Run[Async])
    async for batch in ingestion.batches:
        assert_type(batch, Batch[Async])
    async for file in ingestion.files:
        assert_type(file, File)
    started = ingestion.run()
    _ = assert_type(started, Coroutine[Any, Any, Run[Async]])
    assert_type((await (await started).wait()).metrics.records_ingested, int | None)


def wrong(client: Client) -> None:
    client.ingestions.get(3)  # expected: arg-type
    client.ingestions.get("x").run(fore=True)  # expected: call-arg
    client.tokens.create("x", scope="root")  # expected: arg-type
"""
EXPECTED = [at for at, line in enumerate(TYPED.splitlines(), 1) if "# expected" in line]
ROOT = Path(__file__).parents[2]


def test_both_clients_type_check_from_one_definition(tmp_path: Path) -> None:
    module = tmp_path / "typed.py"
    module.write_text(TYPED)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        str(tmp_path / "c"),
    ]
    done = subprocess.run([*command, str(module)], capture_output=True, text=True, cwd=ROOT, check=False)
    found = [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]
    assert found == EXPECTED, done.stdout


def test_pyright_sees_the_same(tmp_path: Path) -> None:
    """By its engine in a package that brings its own Node.js; what editors show comes from there."""
    (tmp_path / "typed.py").write_text(TYPED)
    settings = {"include": ["typed.py"], "typeCheckingMode": "standard", "extraPaths": [str(ROOT / "sdk")]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    told = [each for each in json.loads(done.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    assert [each["range"]["start"]["line"] + 1 for each in told] == EXPECTED, done.stdout
