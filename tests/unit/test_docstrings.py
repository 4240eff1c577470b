"""The examples in the SDK's docstrings work, and the page that is made of them is in step with them."""

from __future__ import annotations

import importlib
import pkgutil
import runpy
from collections.abc import Iterator
from doctest import DocTest
from pathlib import Path
from typing import Any

import pytest
from tests.parts.examples import OF_PREFECT, OF_THE_SERVICE, check, examples

import autoloader_sdk
from autoloader_sdk import Client

ROOT = Path(__file__).parents[2]


@pytest.fixture
def names(tmp_path: Path) -> Iterator[dict[str, Any]]:
    folder = tmp_path / "flights"
    folder.mkdir()
    with Client.local(tmp_path / "home") as client:
        flights = client.ingestions.create(
            name="flights", source=folder, format="csv", destination="lake.bronze.flights"
        )
        yield {"client": client, "flights": flights, "folder": folder, "Client": Client}


@pytest.mark.parametrize("example", list(examples(OF_THE_SERVICE)), ids=lambda example: example.name)
def test_an_example_works(example: DocTest, names: dict[str, Any]) -> None:
    check(example, names)


def test_no_module_with_an_example_is_forgotten() -> None:
    found = {
        module.name
        for module in pkgutil.walk_packages(autoloader_sdk.__path__, "autoloader_sdk.")
        if ">>>" in Path(importlib.import_module(module.name).__file__ or "").read_text(encoding="utf-8")
    }
    assert found == {*OF_THE_SERVICE, *OF_PREFECT}


def test_the_reference_is_made_of_the_docstrings() -> None:
    made: str = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["page"]()
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == made, "run `make reference`"
