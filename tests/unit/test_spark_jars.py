"""Jars against a Maven repository in a folder: the same Ivy, the same path through the code, no network."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from autoloader_server.spark.errors import JarUnavailable
from autoloader_server.spark.jars import LOCAL_JARS, Jar, ensure_jars, jar_cache, pyspark_jars

CONTENT = b"PK not really a jar, but Ivy does not look inside" * 100
JAR = Jar("org.example", "lamp", "1.0", hashlib.sha256(CONTENT).hexdigest())


class Repository:
    """A folder in Maven's layout and Ivy settings that know nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "settings.xml"
        folder.mkdir()
        self.settings.write_text(
            textwrap.dedent(f"""\
            <ivysettings>
              <settings defaultResolver="here"/>
              <resolvers><ibiblio name="here" m2compatible="true" root="{folder.as_uri()}"/></resolvers>
            </ivysettings>
            """),
            encoding="utf-8",
        )

    def publish(self, jar: Jar, content: bytes, dependency: str = "") -> None:
        place = self.folder / jar.group.replace(".", "/") / jar.artifact / jar.version
        place.mkdir(parents=True, exist_ok=True)
        (place / jar.file_name).write_bytes(content)
        (place / f"{jar.artifact}-{jar.version}.pom").write_text(
            f"<project><modelVersion>4.0.0</modelVersion><groupId>{jar.group}</groupId>"
            f"<artifactId>{jar.artifact}</artifactId><version>{jar.version}</version>"
            f"<dependencies>{dependency}</dependencies></project>",
            encoding="utf-8",
        )

    def withdraw(self, jar: Jar) -> None:
        (self.folder / jar.group.replace(".", "/") / jar.artifact / jar.version / jar.file_name).unlink()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    repository = Repository(tmp_path / "repository")
    monkeypatch.setenv("AUTOLOADER_IVY_SETTINGS", str(repository.settings))
    monkeypatch.setenv("AUTOLOADER_JARS_DIR", str(tmp_path / "jars of mine"))
    return repository


def test_a_jar_is_fetched_once_and_each_fetch_is_told(repository: Repository) -> None:
    repository.publish(JAR, CONTENT)
    lines: list[str] = []
    (path,) = ensure_jars(lines.append, jars=[JAR])
    assert path == jar_cache() / "lamp-1.0.jar"
    assert path.read_bytes() == CONTENT
    assert lines == ["fetching org.example:lamp:1.0", "fetched lamp-1.0.jar (0 MB)"]

    repository.withdraw(JAR)
    assert ensure_jars(lines.append, jars=[JAR]) == [path]
    assert len(lines) == 2
    assert [kept.name for kept in path.parent.iterdir() if not kept.name.startswith(".")] == ["lamp-1.0.jar"]
    assert not list(path.parent.glob(".fetch-*"))


def test_what_a_jar_depends_on_is_not_fetched(repository: Repository) -> None:
    repository.publish(
        JAR,
        CONTENT,
        "<dependency><groupId>org.example</groupId><artifactId>missing</artifactId><version>1</version></dependency>",
    )
    (path,) = ensure_jars(jars=[JAR])
    assert path.is_file()


def test_a_jar_with_another_content_is_refused_and_named(repository: Repository) -> None:
    repository.publish(JAR, CONTENT + b"!")
    with pytest.raises(JarUnavailable) as refused:
        ensure_jars(jars=[JAR])
    message = str(refused.value)
    assert "org.example:lamp:1.0" in message
    assert JAR.sha256 in message
    assert hashlib.sha256(CONTENT + b"!").hexdigest() in message
    assert not (jar_cache() / "lamp-1.0.jar").exists()


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT[:-1] + b"?"])
def test_a_damaged_jar_in_the_cache_is_fetched_again(repository: Repository, damage: bytes) -> None:
    repository.publish(JAR, CONTENT)
    (path,) = ensure_jars(jars=[JAR])
    path.write_bytes(damage)
    os.utime(path, ns=(1, 1))
    lines: list[str] = []
    assert ensure_jars(lines.append, jars=[JAR]) == [path]
    assert path.read_bytes() == CONTENT
    assert "damaged" in lines[0]


def test_offline_the_error_says_which_file_to_put_where_and_doing_so_helps(repository: Repository) -> None:
    with pytest.raises(JarUnavailable) as failed:
        ensure_jars(jars=[JAR])
    message = str(failed.value)
    place = jar_cache() / "lamp-1.0.jar"
    assert "org.example:lamp:1.0 could not be fetched" in message
    assert f"put lamp-1.0.jar (Maven coordinate org.example:lamp:1.0, sha256 {JAR.sha256}) at {place}" in message
    assert "module not found: org.example#lamp;1.0" in message
    assert str(repository.settings) in message

    place.write_bytes(CONTENT)
    assert ensure_jars(jars=[JAR]) == [place]


def test_two_processes_at_once_fetch_a_jar_once(repository: Repository) -> None:
    repository.publish(JAR, CONTENT)
    program = (
        "from autoloader_server.spark.jars import Jar, ensure_jars\n"
        f"print(ensure_jars(lambda line: print(line), jars=[{JAR!r}])[0].stat().st_size)"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [run.communicate(timeout=60)[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert [answer[-1] for answer in answers] == [str(len(CONTENT))] * 3
    assert sum("fetching org.example:lamp:1.0" in answer for answer in answers) == 1


def test_the_settings_that_ivy_itself_would_take_are_found(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.publish(JAR, CONTENT)
    usual = tmp_path / "home" / ".ivy2" / "ivysettings.xml"
    usual.parent.mkdir(parents=True)
    repository.settings.rename(usual)
    monkeypatch.delenv("AUTOLOADER_IVY_SETTINGS")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (path,) = ensure_jars(jars=[JAR])
    assert path.read_bytes() == CONTENT


def test_settings_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOLOADER_JARS_DIR", str(tmp_path / "jars"))
    monkeypatch.setenv("AUTOLOADER_IVY_SETTINGS", str(tmp_path / "none.xml"))
    with pytest.raises(JarUnavailable, match=r"AUTOLOADER_IVY_SETTINGS names .*none\.xml, which is no file"):
        ensure_jars(jars=[JAR])


def test_a_bundle_of_certificates_that_is_none_is_named(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.publish(JAR, CONTENT)
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with pytest.raises(JarUnavailable, match=r"SSL_CERT_FILE names .*ca\.pem"):
        ensure_jars(jars=[JAR])


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOLOADER_JARS_DIR", str(tmp_path / "file" / "jars"))
    with pytest.raises(JarUnavailable, match="AUTOLOADER_JARS_DIR"):
        ensure_jars(jars=[JAR])


def test_the_iceberg_jar_fits_the_spark_that_is_installed() -> None:
    (connect,) = pyspark_jars().glob("spark-connect_*.jar")
    scala, version = connect.stem.removeprefix("spark-connect_").split("-")
    spark = ".".join(version.split(".")[:2])
    assert LOCAL_JARS[0].artifact == f"iceberg-spark-runtime-{spark}_{scala}"
