"""requirements.lock is what pyproject.toml asks for, with hashes, from no index, and is installed."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = re.findall(r"^([^\s#].*?)\s*\\$", LOCK, re.MULTILINE)
ENVIRONMENTS = list(product(("3.11", "3.12", "3.13"), ("linux", "darwin")))


def environment(python: str, platform: str) -> dict[str, str]:
    system = {"linux": "Linux", "darwin": "Darwin"}[platform]
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
        "platform_system": system,
        "platform_machine": "arm64" if platform == "darwin" else "x86_64",
        "extra": "",
    }


def applies(marker: Marker | None, where: dict[str, str]) -> bool:
    return marker is None or marker.evaluate(where)


def pinned(where: dict[str, str]) -> dict[str, str]:
    """Name to version of what the lock installs there."""
    found: dict[str, str] = {}
    for pin in map(Requirement, PINS):
        if applies(pin.marker, where):
            [specifier] = pin.specifier
            assert specifier.operator == "=="
            assert canonicalize_name(pin.name) not in found, f"{pin.name} is pinned twice for {where}"
            found[canonicalize_name(pin.name)] = specifier.version
    return found


def test_every_line_is_a_pin_with_hashes() -> None:
    assert len(PINS) > 100
    blocks = re.split(r"^(?=[^\s#])", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(PINS)
    for block in blocks:
        assert re.match(r"[a-z0-9._-]+==\S+( ; .+)? \\\n    --hash=sha256:[0-9a-f]{64}", block), block


def test_it_names_no_index_and_no_machine() -> None:
    assert "://" not in LOCK
    assert not re.search(r"^\s*-(i|f|-index-url|-extra-index-url|-find-links)\b", LOCK, re.MULTILINE)
    assert not re.search(r"(?<![\w.])/\w", LOCK)


def asked_for() -> list[Requirement]:
    project = PYPROJECT["project"]
    texts = [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
        *PYPROJECT["dependency-groups"]["dev"],
        *PYPROJECT["build-system"]["requires"],
        *PYPROJECT["tool"]["uv"]["constraint-dependencies"],
    ]
    return [one for one in map(Requirement, texts) if one.name != project["name"]]


@pytest.mark.parametrize(("python", "platform"), ENVIRONMENTS)
def test_it_satisfies_pyproject_on_each_python(python: str, platform: str) -> None:
    where = environment(python, platform)
    pins = pinned(where)
    assert len(asked_for()) > 20
    for requirement in asked_for():
        if applies(requirement.marker, where):
            name = canonicalize_name(requirement.name)
            assert name in pins, f"{requirement} is not locked: run make lock"
            assert requirement.specifier.contains(pins[name]), f"{requirement} is not {pins[name]}: run make lock"


def test_the_pythons_it_is_made_for_are_those_of_the_project() -> None:
    classifiers = [one.rpartition(" ")[2] for one in PYPROJECT["project"]["classifiers"] if ":: 3." in one]
    assert classifiers == sorted({python for python, _ in ENVIRONMENTS})
    assert PYPROJECT["project"]["requires-python"] == ">=3.11,<3.14"


def test_what_is_locked_is_what_is_installed() -> None:
    pins = pinned({name: str(value) for name, value in default_environment().items()})
    wrong = {name: (pin, version(name)) for name, pin in pins.items() if version(name) != pin}
    assert wrong == {}, "run make setup"
