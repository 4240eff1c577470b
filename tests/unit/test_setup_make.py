"""The commands that a person and CI start with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TARGETS = ["setup", "demo", "test", "check", "bench", "chaos", "lock", "reference", "clean", "help"]


def make(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        # Not the flags of the make that runs these tests.
        env={**os.environ, "PATH": path or os.environ["PATH"], "MAKEFLAGS": "", "MAKELEVEL": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_names_every_command() -> None:
    for arguments in ([], ["help"]):
        lines = make(ROOT, *arguments).stdout.splitlines()
        assert [line.split()[1] for line in lines] == TARGETS
        assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("target", TARGETS)
def test_each_command_is_one_that_make_can_plan(target: str) -> None:
    result = make(ROOT, "--dry-run", target)
    assert result.returncode == 0, result.stderr


def test_a_machine_without_a_right_python_is_told_so(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")  # as a shim of pyenv for a version that is not chosen
        (tmp_path / name).chmod(0o755)
    result = make(tmp_path, "setup", path=f"{tmp_path}:{os.environ['PATH']}")
    assert result.returncode != 0
    assert "no Python 3.11, 3.12 or 3.13" in result.stderr
    assert "make setup PYTHON=" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_the_whole_suite() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")


def test_the_hooks_of_pre_commit_are_ours_and_run_what_make_check_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    entries = {hook["id"]: hook["entry"] for hook in config["repos"][0]["hooks"]}
    makefile = (ROOT / "Makefile").read_text()
    for target in ("check", "test"):
        assert re.search(rf"^{target}: setup lint ", makefile, re.MULTILINE)
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert lint is not None
    for tool in ("ruff format", "ruff check", "mypy", "lint-imports"):
        assert f"$(BIN)/{tool}" in lint[1]
        assert any(entry.startswith(f".venv/bin/{tool}") for entry in entries.values())


@pytest.mark.parametrize(
    ("line", "is_output"),
    [
        ('   "execution_count": 3,', True),
        ('     "output_type": "stream",', True),
        ('   "execution_count": null,', False),
        ('   "outputs": [],', False),
    ],
)
def test_the_hook_for_notebooks_sees_output(line: str, is_output: bool) -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    [hook] = [hook for hook in config["repos"][0]["hooks"] if hook["id"] == "notebook-output"]
    assert bool(re.search(hook["entry"], line)) == is_output
