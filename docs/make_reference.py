"""Makes docs/reference.md from the SDK's docstrings, for `make reference`. A test holds the two in step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import griffe

PAGE = Path(__file__).with_name("reference.md")
# In the order in which one meets them.
CLASSES = (
    "client.Client",
    "client.AsyncClient",
    "ingestions.Ingestions",
    "ingestions.Ingestion",
    "runs.Runs",
    "runs.Run",
    "events.RunEvent",
    "files.Files",
    "files.File",
    "files.Verdict",
    "runs.RunsOf",
    "batches.BatchesOf",
    "batches.Batch",
    "refreshes.Refresh",
    "schema_versions.VersionsOfSchema",
    "schema_versions.SchemaDifference",
    "clusters.Clusters",
    "clusters.Cluster",
    "tokens.Tokens",
    "listing.Listing",
    "config.Config",
    "doctor.Report",
    "doctor.Check",
    "prefect.client.Prefect",
    "prefect.deployments.Deployments",
    "prefect.deployments.Deployment",
    "prefect.schedules.Schedules",
    "prefect.flow_runs.FlowRuns",
    "prefect.flow_runs.FlowRun",
    "prefect.work_pools.WorkPools",
    "prefect.work_pools.WorkPool",
)
_CALLED = frozenset({"__init__", "__call__"})
_HEAD = """# Reference of the SDK

What `from autoloader_sdk import Client` leads to, made from the docstrings by `make reference`. A method whose answer
is a `Call[…]` is plain on a `Client` and awaited on an `AsyncClient`; a `Stream[…]` is an iterator, or an asynchronous
one.
"""


def page() -> str:
    """The page as it should be."""
    package = griffe.load("autoloader_sdk", search_paths=[str(Path(__file__).parents[1] / "sdk")])
    parts = [_HEAD]
    for name in CLASSES:
        found = package[name]
        assert isinstance(found, griffe.Class)
        parts += _class(found)
    parts += ["## Errors", "```", _tree(package["errors"]), "```"]
    return "\n".join(parts) + "\n"


def _class(found: griffe.Class) -> Iterator[str]:
    yield f"## {found.name}"
    yield _text(found)
    inherited = [base for base in found.mro() if base.name.startswith("_")]
    members = {name: each for owner in (*reversed(inherited), found) for name, each in owner.members.items()}
    for name, member in members.items():
        if member.is_alias or (name.startswith("_") and name not in _CALLED) or member.docstring is None:
            continue
        if isinstance(member, griffe.Function):
            yield f"### {found.name}.{name}" if name not in _CALLED else f"### {found.name}(…)"
            yield f"```\n{_signature(member)}\n```"
        elif isinstance(member, griffe.Attribute):
            yield f"### {found.name}.{name}"
            yield f"`{member.annotation}`\n" if member.annotation is not None else ""
        yield _text(member)


def _signature(function: griffe.Function) -> str:
    shown: list[str] = []
    for each in function.parameters:
        if each.name == "self":
            continue
        if each.kind is griffe.ParameterKind.keyword_only and not any(one.startswith("*") for one in shown):
            shown.append("*")
        if each.kind is griffe.ParameterKind.var_positional:
            shown.append(f"*{each.name}: {each.annotation}")
            continue
        if each.kind is griffe.ParameterKind.var_keyword:
            shown.append(f"**{each.name}: {each.annotation}")
            continue
        default = f" = {each.default}" if each.default is not None else ""
        shown.append(f"{each.name}: {each.annotation}{default}")
    one = f"{function.name}({', '.join(shown)}) -> {function.returns}"
    if len(one) <= 100:
        return one
    return "\n".join([f"{function.name}(", *(f"    {each}," for each in shown), f") -> {function.returns}"])


def _text(member: griffe.Object | griffe.Alias) -> str:
    """A docstring as Markdown. An indented example is code there too."""
    parts: list[str] = []
    for section in member.docstring.parse("google") if member.docstring is not None else ():
        if isinstance(section, griffe.DocstringSectionText):
            parts.append(section.value)
        elif isinstance(section, griffe.DocstringSectionParameters):
            parts.append("\n".join(f"- `{each.name}`: {_line(each.description)}" for each in section.value))
        elif isinstance(section, griffe.DocstringSectionRaises):
            raised = (f"- `{each.annotation}`: {_line(each.description)}" for each in section.value)
            parts.append("\n".join(["Raises:", *raised]))
        else:
            raise TypeError(f"{member.path}: a docstring with {section.kind.value}")
    return "\n\n".join([*parts, ""])


def _line(text: str) -> str:
    return " ".join(text.split())


def _tree(errors: griffe.Object | griffe.Alias) -> str:
    text = errors.docstring.value if errors.docstring is not None else ""
    return text[text.index("AutoloaderError") :].partition("\n\n")[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
