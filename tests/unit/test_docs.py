"""What README and docs say is there is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import ByteSize

from autoloader_sdk.cli.group import autoloader
from autoloader_server.app import create_app
from autoloader_server.engine.killpoints import POINTS
from autoloader_server.service import Service
from autoloader_server.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FOLDERS = ("sdk", "server", "flows", "alembic", "tests", "benchmarks", "examples", "docs", "notebooks")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_ROW = re.compile(r"^\| `([^`]+)`([^|]*)\|([^|]*)\|", re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def fenced(page: Path, language: str) -> list[str]:
    return [text for kind, text in _FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def rows(page: str, heading: str) -> list[tuple[str, str, str]]:
    """The table rows below a heading that begin with code: the code, what follows it, the next cell."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"docs/{page} has no heading {heading!r}"
    level = heading.split(" ", maxsplit=1)[0]
    below = re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return [(code, after.strip(), cell.strip()) for code, after, cell in _ROW.findall(below)]


@cache
def modules() -> list[str]:
    return [f"/{path.relative_to(ROOT).as_posix()}" for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]


@pages
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = [link for link in _LINK.findall(prose(page)) if not re.match(r"[a-z]+:|#", link)]
    missing = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


@pages
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = [
        code
        for code in _CODE.findall(prose(page))
        if code.split("/")[0] in FOLDERS and "/" in code and re.fullmatch(r"[\w./-]+", code) and "NNNN" not in code
    ]
    missing = [code for code in named if not (ROOT / code).exists()]
    assert not missing


@pages
def test_every_module_that_is_named_exists(page: Path) -> None:
    named = [code for code in _CODE.findall(prose(page)) if re.fullmatch(r"[\w./-]+\.py", code) and "NNNN" not in code]
    missing = [code for code in named if not any(module.endswith(f"/{code}") for module in modules())]
    assert not missing


@pages
def test_python_snippets_compile(page: Path) -> None:
    for number, text in enumerate(fenced(page, "python")):
        compile(text, f"{page.name}, snippet {number}", "exec")


def test_readme_has_snippets_a_picture_and_its_text() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert fenced(ROOT / "README.md", "python")
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", readme)
    assert pictures
    for text, file in pictures:
        assert len(text) > 20
        assert (ROOT / file).read_bytes().startswith(b"\x89PNG")


@pages
def test_commands_of_the_project_are_taken_as_they_stand(page: Path) -> None:
    """Arguments and options are checked; nothing is run."""
    for block in fenced(page, ""):
        for line in block.splitlines():
            if line.startswith((".venv/bin/autoloader ", "autoloader ")):
                _parse(shlex.split(line, comments=True)[1:])


def _parse(words: list[str]) -> None:
    command = autoloader
    context = command.make_context("autoloader", list(words))
    # A group, whether it is click's or of the copy that typer has of it.
    while hasattr(command, "resolve_command"):
        left = [*context._protected_args, *context.args]
        name, found, left = command.resolve_command(context, left)
        assert found is not None
        command = found
        context = command.make_context(name, left, parent=context)


@pages
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = [*_CODE.findall(prose(page)), *(line for block in fenced(page, "") for line in block.splitlines())]
    named = {found[1] for text in code if (found := re.match(r"make ([a-z]+)", text))}
    assert named <= targets


def test_every_setting_is_in_the_configuration_page_with_its_default() -> None:
    documented = {code: default for code, _, default in rows("configuration.md", "## Settings")}
    fields = {name: field for name, field in Settings.model_fields.items() if name != "origins"}
    assert set(documented) == set(fields)
    for name, field in fields.items():
        if isinstance(field.default, (int, float, str)) and not isinstance(field.default, ByteSize):
            assert documented[name].strip("`").replace(",", "") == str(field.default), name


def test_the_settings_file_of_the_configuration_page_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = fenced(ROOT / "docs" / "configuration.md", "toml")
    (tmp_path / "autoloader.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(home=tmp_path)
    assert settings.max_bytes_per_batch == 2 * 2**30
    assert [cluster.id for cluster in settings.clusters] == [one["id"] for one in tomllib.loads(text)["clusters"]]


def test_every_kill_point_is_in_the_testing_page_in_the_order_of_the_code() -> None:
    assert [code for code, _, _ in rows("testing.md", "### Kill points")] == list(POINTS)


def test_every_route_is_in_the_api_page_with_a_mark_where_it_is_not_there_yet(tmp_path: Path) -> None:
    service = Service.open(Settings.load(home=tmp_path))
    try:
        paths: dict[str, Any] = create_app(service).openapi()["paths"]
    finally:
        service.close()
    routes = {
        f"{method.upper()} {path}": "501" in operation["responses"]
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    documented = {code: "**501**" in answer for code, _, answer in rows("rest-api.md", "## Routes")}
    assert documented == routes
