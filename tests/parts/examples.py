"""The examples in docstrings, to be run by the tests that have what they are about."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

# Those with examples about the service, and about Prefect.
OF_THE_SERVICE = tuple(
    f"autoloader_sdk.{name}"
    for name in (
        *("batches", "client", "clusters", "files", "ingestions"),
        *("listing", "runs", "schema_versions", "tokens"),
    )
)
OF_PREFECT = tuple(f"autoloader_sdk.prefect.{name}" for name in ("deployments", "flow_runs", "schedules", "work_pools"))


def examples(modules: Sequence[str]) -> Iterator[doctest.DocTest]:
    """The examples of the classes and methods of modules: also of those that a decorator has made descriptors of."""
    parser = doctest.DocTestParser()
    for name in modules:
        module = importlib.import_module(name)
        for owner in vars(module).values():
            if isinstance(owner, type) and owner.__module__ == name:
                for attribute, value in [("", owner), *vars(owner).items()]:
                    text = value.fget.__doc__ if isinstance(value, property) else getattr(value, "__doc__", None)
                    if isinstance(text, str) and ">>>" in text:
                        yield parser.get_doctest(text, {}, f"{owner.__name__}.{attribute}", module.__file__, None)


def check(example: doctest.DocTest, names: dict[str, Any]) -> None:
    """Run an example in which these names are known; it must give what it says."""
    example.globs = names
    told: list[str] = []
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    result = doctest.DocTestRunner(verbose=False, optionflags=flags).run(example, out=told.append, clear_globs=False)
    assert result.failed == 0, "".join(told)
    assert result.attempted
