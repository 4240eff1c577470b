"""The examples in the SDK's docstrings work, and the page that is made of them is in step with them."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autoloader_sdk
from autoloader_sdk import Client

ROOT = Path(__file__).parents[2]
# Those with examples; what `flights`, `client` and `folder` are in them is said below.
MODULES = [
    "autoloader_sdk.client",
    "autoloader_sdk.clusters",
    "autoloader_sdk.files",
    "autoloader_sdk.ingestions",
    "autoloader_sdk.listing",
    "autoloader_sdk.runs",
    "autoloader_sdk.schema_versions",
    "autoloader_sdk.tokens",
]


def examples(name: str) -> Iterator[doctest.DocTest]:
    """The examples of a module's classes and their methods: also of those that a decorator has made descriptors of."""
    module = importlib.import_module(name)
    parser = doctest.DocTestParser()
    for owner in vars(module).values():
        if isinstance(owner, type) and owner.__module__ == name:
            for attribute, value in [("", owner), *vars(owner).items()]:
                text = value.fget.__doc__ if isinstance(value, property) else getattr(value, "__doc__", None)
                if isinstance(text, str) and ">>>" in text:
                    yield parser.get_doctest(text, {}, f"{owner.__name__}.{attribute}", module.__file__, None)


@pytest.fixture
def names(tmp_path: Path) -> Iterator[dict[str, Any]]:
    folder = tmp_path / "flights"
    folder.mkdir()
    with Client.local(tmp_path / "home") as client:
        flights = client.ingestions.create(
            name="flights", source=folder, format="csv", destination="lake.bronze.flights"
        )
        yield {"client": client, "flights": flights, "folder": folder, "Client": Client}


@pytest.mark.parametrize(
    "example", [each for name in MODULES for each in examples(name)], ids=lambda example: example.name
)
def test_an_example_works(example: doctest.DocTest, names: dict[str, Any]) -> None:
    example.globs = names
    told: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=told.append, clear_globs=False)
    assert result.failed == 0, "".join(told)
    assert result.attempted


def test_no_module_with_an_example_is_forgotten() -> None:
    found = {
        module.name
        for module in pkgutil.walk_packages(autoloader_sdk.__path__, "autoloader_sdk.")
        if ">>>" in Path(importlib.import_module(module.name).__file__ or "").read_text(encoding="utf-8")
    }
    assert found == set(MODULES)


def test_the_reference_is_made_of_the_docstrings() -> None:
    made: str = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["page"]()
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == made, "run `make reference`"
