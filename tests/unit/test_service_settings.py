"""Where settings come from, and what is said when one is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoloader_sdk.models import Limits
from autoloader_server.settings import Settings, listed, unknown_variables


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment and a current folder without settings."""
    import os

    for name in list(os.environ):
        if name.upper().startswith(("AUTOLOADER_", "PREFECT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def origin_of(settings: Settings, name: str) -> str:
    return next(row.origin for row in listed(settings) if row.name == name)


def test_the_nearer_source_wins_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> tuple[int, str]:
        settings = Settings.load(home=tmp_path)
        return settings.port, origin_of(settings, "port")

    assert found() == (8000, "default")
    toml = tmp_path / "autoloader.toml"
    toml.write_text("port = 1\n")
    assert found() == (1, str(toml))
    Path(".env").write_text("AUTOLOADER_PORT=2\nSOMETHING_ELSE=x\n")
    assert found() == (2, ".env")
    monkeypatch.setenv("AUTOLOADER_PORT", "3")
    assert found() == (3, "environment")
    settings = Settings.load(home=tmp_path, port=4)
    assert (settings.port, origin_of(settings, "port")) == (4, "argument")


def test_the_home_named_by_the_environment_holds_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "h"
    home.mkdir()
    (home / "autoloader.toml").write_text('max_bytes_per_batch = "2GiB"\n')
    monkeypatch.setenv("AUTOLOADER_HOME", str(home))
    assert Settings.load().max_bytes_per_batch == 2 * 2**30
    other = tmp_path / "other.toml"
    other.write_text("max_attempts = 9\n")
    monkeypatch.setenv("AUTOLOADER_CONFIG", str(other))
    assert (Settings.load().max_bytes_per_batch, Settings.load().max_attempts) == (10 * 2**30, 9)


def test_the_names_and_defaults_that_are_fixed() -> None:
    settings = Settings.load()
    assert settings.home == Path.home() / ".autoloader"
    assert settings.secrets_key_file == settings.home / "secrets.key"
    expected: dict[str, Any] = {
        "prefect_api_url": "http://prefect-server:4200/api",
        "prefect_default_work_queue": "autoloader-default",
        "prefect_high_memory_work_queue": "autoloader-high-memory",
        "prefect_priority_work_queue": "autoloader-priority",
        "prefect_flow_run_timeout_seconds": 3600,
        "prefect_task_retry_delay_seconds": 60,
        "prefect_max_task_retries": 3,
        "high_memory_threshold_gb": 10,
        "lease_seconds": 60,
        "lease_renew_seconds": 15,
        "max_files_per_batch": 10_000,
        "max_bytes_per_batch": 10 * 2**30,
        "max_attempts": 5,
        "max_parallel_runs": 4,
        "host": "127.0.0.1",
        "port": 8000,
    }
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("variables", "mode", "url"),
    [
        ({}, "off", "http://prefect-server:4200/api"),
        ({"PREFECT_API_URL": "http://a/api"}, "on", "http://a/api"),
        (
            {"PREFECT_API_URL": "http://a/api", "AUTOLOADER_PREFECT_API_URL": "http://b/api"},
            "on",
            "http://b/api",
        ),
        ({"PREFECT_API_URL": "http://a/api", "AUTOLOADER_PREFECT_MODE": "off"}, "off", "http://a/api"),
    ],
)
def test_prefect_is_off_until_its_url_is_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], mode: str, url: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert (settings.prefect_mode, settings.prefect_api_url) == (mode, url)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prot": 1}, ["'prot'", "did you mean port?"]),
        ({"port": "x"}, ["setting port", "AUTOLOADER_PORT", "integer"]),
        ({"lease_seconds": 20}, ["lease_renew_seconds"]),
        ({"prefect_mode": "maybe"}, ["prefect_mode", "'off'"]),
        ({"clusters": [{"id": "local", "url": "sc://x"}]}, ["'local'"]),
        ({"clusters": [{"id": "a", "url": "http://x"}]}, ["clusters.0.url"]),
        ({"clusters": [{"id": "a", "url": "sc://x", "token": "hunter2-itself"}]}, ["clusters.0.token"]),
        ({"clusters": [{"id": "a", "url": "sc://x", "token": {"value": "hunter2"}}]}, ["clusters.0.token", "{env"]),
        ({"clusters": [{"id": "a", "url": "sc://x/;token=hunter2"}]}, ["clusters.0.url", "env:NAME"]),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Settings.load(**given)
    assert all(word in str(caught.value) for word in words)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_key_of_the_file_names_the_file_and_the_nearest_key(tmp_path: Path) -> None:
    file = tmp_path / "autoloader.toml"
    file.write_text("max_atempts = 3\n")
    with pytest.raises(ValueError, match="did you mean max_attempts") as caught:
        Settings.load(home=tmp_path)
    assert str(file) in str(caught.value)


def test_clusters_come_from_a_file_or_the_environment_with_their_tokens_by_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("A_TOKEN", "a=b;c")
    (tmp_path / "token").write_text("of-a-file\n")
    (tmp_path / "autoloader.toml").write_text(
        '[[clusters]]\nid = "a"\nurl = "sc://x:1"\ntoken = {env = "A_TOKEN"}\ncatalog = "warehouse"\n'
        f'[[clusters]]\nid = "b"\nurl = "sc://x/;use_ssl=true"\ntoken = {{file = "{tmp_path / "token"}"}}\n'
        '[[clusters]]\nid = "c"\nurl = "sc://x/;use_ssl=false"\ntoken = "env:A_TOKEN"\n'
    )
    clusters = Settings.load(home=tmp_path).clusters
    assert clusters[0].catalog == "warehouse"
    assert [cluster.remote() for cluster in clusters] == [
        "sc://x:1/;token=a%3Db%3Bc",
        "sc://x/;use_ssl=true;token=of-a-file",
        # A token by its own parameter would make the client demand TLS.
        "sc://x/;use_ssl=false;authorization=Bearer%20a%3Db%3Bc",
    ]
    assert "of-a-file" not in repr(clusters)
    monkeypatch.setenv("AUTOLOADER_CLUSTERS", '[{"id": "e", "url": "sc://y", "token": {"env": "A_TOKEN"}}]')
    (only,) = Settings.load(home=tmp_path).clusters
    assert (only.id, only.remote()) == ("e", "sc://y/;token=a%3Db%3Bc")


def test_a_config_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOLOADER_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(ValueError, match=r"none\.toml"):
        Settings.load()


def test_an_unknown_variable_is_warned_of_with_the_nearest_name() -> None:
    found = unknown_variables({"AUTOLOADER_PROT": "1", "AUTOLOADER_PORT": "1", "AUTOLOADER_URL": "x", "PATH": "y"})
    assert len(found) == 1
    assert "AUTOLOADER_PROT" in found[0]
    assert "did you mean AUTOLOADER_PORT?" in found[0]


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    secret = "s3cr3t-value"
    settings = Settings.load(
        database_url=f"postgresql://me:{secret}@db/ledger",
        spark_remote=f"sc://spark:443/;token={secret}",
        secrets_key=secret,
    )
    shown = {row.name: row.value for row in listed(settings)}
    assert secret not in repr(settings) + str(settings) + str(shown)
    assert shown["database_url"] == "postgresql://me:***@db/ledger"
    assert set(shown) == set(Settings.model_fields) - {"origins"}


def test_a_limit_that_may_be_set_is_one_that_an_ingestion_may_have() -> None:
    for name in Limits.model_fields:
        largest = Limits.model_json_schema()["properties"][name].get("maximum", 2**40)
        assert Limits.model_validate({name: getattr(Settings.load(**{name: largest}), name)})
        with pytest.raises(ValueError, match=name):
            Settings.load(**{name: 0})
        if largest < 2**40:
            with pytest.raises(ValueError, match=name):
                Settings.load(**{name: largest + 1})
