"""Every library that the code imports is asked for by the extra that ships that code."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FLOORS = ["autoloader_sdk", "autoloader_server", "autoloader_flows"]

# Part of the interface of what is asked for.
COMES_WITH = {
    "pydantic": {"pydantic-core", "typing-extensions"},
    "fastapi": {"starlette"},
    "ipywidgets": {"ipython"},
}


def asked_for(extras: list[str]) -> set[str]:
    texts = [*PROJECT["dependencies"]]
    for extra in extras:
        texts += PROJECT["optional-dependencies"][extra]
    names = set()
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            names |= asked_for(sorted(requirement.extras))
        else:
            name = canonicalize_name(requirement.name)
            names |= {name, *COMES_WITH.get(name, ())}
    return names


def imported(folder: Path) -> dict[str, Path]:
    """Top-level names that are imported anywhere, late imports too, and one module that does."""
    found: dict[str, Path] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            else:
                continue
            found.update({name.partition(".")[0]: path for name in names})
    return {name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, *FLOORS}}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        # A Spark session is opened with the pyspark that the user, or the extra `local`, brings.
        ("sdk", ["cli", "local", "notebook"]),
        ("server", ["local"]),
        ("flows", ["flows"]),
    ],
)
def test_what_is_imported_is_asked_for(folder: str, extras: list[str]) -> None:
    asked = asked_for(extras)
    distributions = packages_distributions()
    for name, path in imported(ROOT / folder).items():
        providers = {canonicalize_name(one) for one in distributions.get(name, [])}
        assert providers & asked, f"{path.relative_to(ROOT)} imports {name}, which [{', '.join(extras)}] lacks"
