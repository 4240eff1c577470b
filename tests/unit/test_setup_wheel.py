"""The wheel carries all that an installed copy needs, and nothing else."""

from __future__ import annotations

import email
import zipfile
from pathlib import Path

import pytest
from hatchling.build import build_wheel

ROOT = Path(__file__).parents[2]
PACKAGES = {"autoloader_sdk": "sdk", "autoloader_server": "server", "autoloader_flows": "flows"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return zipfile.ZipFile(folder / build_wheel(str(folder)))


def files_of(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_every_module_and_the_mark_of_types_are_in_it(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package, floor in PACKAGES.items():
        expected = {f"{package}/{name}" for name in files_of(ROOT / floor / package)}
        assert f"{package}/py.typed" in expected
        assert expected - names == set()


def test_the_migrations_are_in_it(wheel: zipfile.ZipFile) -> None:
    migrations = {f"autoloader_server/db/migrations/{name}" for name in files_of(ROOT / "alembic")}
    assert any("/versions/" in name for name in migrations)
    assert migrations - set(wheel.namelist()) == set()


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {*PACKAGES, next(top for top in tops if top.endswith(".dist-info"))}
    assert [name for name in wheel.namelist() if "test" in name or name.endswith((".pyc", ".lock"))] == []


def test_it_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    [path] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel.read(path))
    assert metadata["Name"] == "autoloader-sdk"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) >= {"all", "cli", "flows", "local", "notebook"}
    bare = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert sorted(one.split(">=")[0] for one in bare) == ["httpx", "platformdirs", "pydantic", "stamina"]
    folder = path.rpartition("/")[0]
    assert "Version 2.0, January 2004" in wheel.read(f"{folder}/licenses/LICENSE").decode()
    assert "autoloader = autoloader_sdk.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
