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
from autoloader_sdk.models import NewToken, RunLogLine, SchemaVersion
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
    return ingestion.runs()[0]


async def awaited(client: AsyncClient) -> None:
    ingestion = await client.ingestions.get("flights")
    assert_type(ingestion, Ingestion[Async])
    assert_type(ingestion.files(), AsyncIterator[File])
    assert_type(await ingestion.files.why("a.csv"), Verdict)
    assert_type((await ingestion.run()).follow(), AsyncIterator[RunEvent])
    assert_type(await ingestion.schema_versions.diff(), SchemaDifference)
    assert_type(await client.tokens.create("x"), NewToken)
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
