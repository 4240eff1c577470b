"""The doctor: what it says of a service that is well, and of each thing that is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.parts.answering import older
from tests.parts.listening import listening, nobody

from autoloader_sdk import Client
from autoloader_sdk.doctor import Check, Report, examine, without_client
from autoloader_sdk.errors import AutoloaderError
from autoloader_sdk.models import TokenCreate
from autoloader_server.app import create_app
from autoloader_server.security.callers import HOLDER
from autoloader_server.service import Service
from autoloader_server.services import tokens
from autoloader_server.settings import Settings

WRONG = "autoloader_" + "w" * 43
# Spark is not what is tested here: this address is refused before anything is connected, and none is started.
NO_SPARK = "sc://127.0.0.1:1/nowhere"


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("URL", "TOKEN", "PROFILE", "HOME", "PREFECT_API_URL"):
        monkeypatch.delenv(f"AUTOLOADER_{name}", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = Service.open(Settings.load(home=tmp_path / "home", spark_remote=NO_SPARK))
    yield opened
    opened.close()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with listening(create_app(service)) as found:
        yield found


def seen(report: Report) -> dict[str, Check]:
    assert len({check.name for check in report}) == len(report)
    return {check.name: check for check in report}


def states(report: Report) -> dict[str, str]:
    return {check.name: check.state for check in report}


def token(service: Service, **given: Any) -> str:
    body = TokenCreate(**{"name": "mine", "scope": "admin", **given})
    return tokens.create(service.database, HOLDER, body).token


def write_profile(tmp_path: Path, content: str, mode: int = 0o600) -> Path:
    place = tmp_path / "config" / "autoloader" / "config.toml"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    place.chmod(mode)
    return place


def test_a_service_that_is_well_but_for_its_spark(url: str) -> None:
    told: list[Check] = []
    with Client(url) as client:
        report = examine(client, on_check=told.append)
    assert told == report
    assert states(report) == {
        "configuration": "ok",
        "address": "ok",
        "token": "ok",
        "database": "ok",
        "clock": "ok",
        "spark local": "failed",
        "prefect": "skipped",
        "store": "skipped",
    }
    found = seen(report)
    assert found["configuration"].message == f"{url}, from an argument"
    assert found["token"].message == "none needed"
    assert found["database"].message == "sqlite: healthy"
    assert "Invalid URL for Spark Connect" in found["spark local"].message
    assert "look whether that Spark runs" in found["spark local"].advice
    assert not report.ok
    assert "spark local" in report._repr_html_()


def test_a_service_in_this_process_has_no_address_and_no_clock_of_its_own(tmp_path: Path) -> None:
    with Client.local(tmp_path / "home", spark_remote=NO_SPARK) as client:
        found = seen(examine(client))
    assert (found["configuration"].state, found["clock"].state) == ("ok", "skipped")
    assert "in this process" in found["configuration"].message
    assert found["address"].state == found["token"].state == found["database"].state == "ok"


def test_a_service_that_is_away_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOLOADER_URL", nobody())
    with Client() as client:
        report = examine(client, ingestion="orders")
    assert [name for name, state in states(report).items() if state == "failed"] == ["address"]
    found = seen(report)
    assert "could not be reached" in found["address"].message
    assert "autoloader serve" in found["address"].advice
    assert "from the environment" in found["configuration"].message
    assert {found[name].state for name in ("token", "database", "clock", "spark", "store")} == {"skipped"}


def test_a_wrong_token_is_refused_and_shown_nowhere(url: str) -> None:
    with Client(url, WRONG) as client:
        report = examine(client, ingestion="orders")
    found = seen(report)
    assert found["token"].state == "failed"
    assert "not known here" in found["token"].message
    assert "an argument" in found["token"].advice
    assert found["database"].state == "ok"
    assert (found["spark"].state, found["store"].state) == ("skipped", "skipped")
    assert WRONG not in f"{report}{report!r}{report._repr_html_()}"


def test_a_token_that_is_missing_is_told_with_how_to_get_one(service: Service, url: str) -> None:
    token(service)
    with Client(url) as client:
        found = seen(examine(client))
    assert found["token"].state == "failed"
    assert "autoloader token create" in found["token"].advice


@pytest.mark.parametrize(("days", "state"), [(30, "ok"), (2, "warning")])
def test_when_a_token_ends_is_told_and_soon_is_a_warning(service: Service, url: str, days: int, state: str) -> None:
    token(service, name="another")  # never used, so not ours
    mine = token(service, expires_in=timedelta(days=days))
    with Client(url, mine) as client:
        report = examine(client)
    found = seen(report)["token"]
    assert found.state == state
    assert f"until {datetime.now(UTC) + timedelta(days=days):%Y-%m}" in found.message
    assert "'mine', scope 'admin'" in found.message
    assert mine not in str(report)


def test_of_two_tokens_in_use_nothing_tells_which_is_ours(service: Service, url: str) -> None:
    other, mine = token(service, name="other"), token(service)
    with Client(url, other) as client:
        client.ingestions.list()
    with Client(url, mine) as client:
        found = seen(examine(client))
    assert (found["token"].state, found["token"].message) == ("ok", "taken; when it expires is not told")


def test_what_a_narrow_token_may_not_look_at_is_skipped(service: Service, url: str, tmp_path: Path) -> None:
    with Client(url, token(service)) as client:
        client.ingestions.create(name="orders", source=tmp_path, format="csv", destination="b.orders")
    with Client(url, token(service, scope="read", name="reads")) as client:
        found = seen(examine(client, ingestion="orders"))
    for name in ("spark local", "store"):
        assert found[name].state == "skipped"
        assert "needs a token of scope" in found[name].message


def test_a_database_that_does_not_answer_fails_and_nothing_raises(service: Service, url: str) -> None:
    with service.database.write() as connection:
        connection.execute(text("ALTER TABLE tokens RENAME TO gone"))
    with Client(url) as client:
        report = examine(client)
    found = seen(report)
    assert found["address"].state == "ok"
    assert found["token"].state == "failed"
    assert "request id" in found["token"].message
    assert "log" in found["token"].advice


@pytest.mark.parametrize(("seconds", "word"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_clock_that_is_off_is_a_warning(seconds: int, word: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    with older(first_contract, date) as address, Client(address) as client:
        found = seen(examine(client))["clock"]
    assert found.state == "warning"
    assert word in found.message
    assert "NTP" in found.advice


def first_contract(method: str, path: str) -> Any:
    """What a service answers that knows nothing of ours."""
    known: dict[str, Any] = {
        "/": {"name": "older autoloader", "version": "0.9", "status": "healthy"},
        "/health": {"status": "healthy"},
        "/api/v1/clusters": [{"id": "main"}],
        "/api/v1/clusters/main/test-connection": {
            "status": "success",
            "cluster_id": "main",
            "spark_version": "3.5.7",
            "available_memory_gb": 4,
        },
    }
    return known.get(path)


def test_an_older_service_is_said_to_be_one_and_is_never_asked_for_a_dry_run() -> None:
    asked: list[str] = []

    def answers(method: str, path: str) -> Any:
        asked.append(f"{method} {path}")
        return first_contract(method, path)

    with older(answers) as address, Client(address) as client:
        report = examine(client, ingestion="ing_0123456789ab")
    found = seen(report)
    assert found["address"].state == "warning"
    assert "older autoloader 0.9; it is an older service" in found["address"].message
    assert found["token"].state == "skipped"
    assert (found["database"].state, found["clock"].state) == ("ok", "ok")
    assert (found["spark main"].state, found["spark main"].message) == ("ok", "Spark 3.5.7")
    assert found["store"].state == "skipped"
    assert not [each for each in asked if "refresh" in each]
    assert report.ok


def test_what_a_cluster_lacks_is_told() -> None:
    lacking = {"status": "failed", "missing": ["no jar of Iceberg"], "message": "no jar of Iceberg"}

    def answers(method: str, path: str) -> Any:
        return lacking if path.endswith("test-connection") else first_contract(method, path)

    with older(answers) as address, Client(address) as client:
        found = seen(examine(client))["spark main"]
    assert (found.state, found.message) == ("failed", "no jar of Iceberg")


@pytest.mark.parametrize("body", [[], {"hello": "world"}, "text"])
def test_another_program_at_the_address_is_told(body: Any) -> None:
    with older(lambda _method, _path: body) as address, Client(address) as client:
        found = seen(examine(client))["address"]
    assert found.state == "failed"
    assert "no autoloader service" in found.message


def test_the_source_of_an_ingestion_is_listed_and_nothing_is_started(
    service: Service, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.csv").write_text("a\n1\n")
    with Client(url) as client:
        made = client.ingestions.create(name="orders", source=folder, format="csv", destination="b.orders")
        found = seen(examine(client, ingestion="orders"))["store"]
        assert (found.state, "has 1 files to load" in found.message) == ("ok", True), found
        assert made.runs() == []
        folder.rename(tmp_path / "elsewhere")
        gone = seen(examine(client, ingestion="orders"))["store"]
        unknown = seen(examine(client, ingestion="oders"))["store"]
    assert gone.state == "failed"
    assert str(folder) in gone.message
    assert unknown.state == "failed"
    assert "did you mean 'orders'?" in unknown.message


def test_a_profile_that_others_can_read_is_a_warning(url: str, tmp_path: Path) -> None:
    secret = tmp_path / "the token"
    secret.write_text(WRONG)
    secret.chmod(0o640)
    profile = f'default = "team"\n[profiles.team]\nurl = "{url}"\ntoken = {{file = "{secret}"}}\n'
    place = write_profile(tmp_path, profile, 0o644)
    with Client() as client:
        report = examine(client)
    found = seen(report)["configuration"]
    assert found.state == "warning"
    assert "profile 'team'" in found.message
    assert found.advice == f"chmod 600 {place} '{secret}'"
    assert WRONG not in str(report)
    place.chmod(0o600)
    secret.chmod(0o600)
    with Client() as client:
        assert seen(examine(client))["configuration"].state == "ok"


def test_without_a_client_the_reason_is_the_one_failed_check(tmp_path: Path) -> None:
    write_profile(tmp_path, f'default = "team"\n[profiles.team]\nurl = "http://x"\ntoken = "{WRONG}"\nurll = "y"\n')
    with pytest.raises(AutoloaderError) as raised:
        Client()
    report = without_client(raised.value)
    found = seen(report)
    assert (found["configuration"].state, report.ok) == ("failed", False)
    assert "did you mean 'url'?" in found["configuration"].message
    assert {check.state for check in report[1:]} == {"skipped"}
    assert WRONG not in str(report)


def test_prefect_is_looked_at_where_an_address_of_it_is_set(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", nobody().replace("//", "//someone:pass-word@") + "/api")
    with Client(url) as client:
        report = examine(client)
    found = seen(report)["prefect"]
    assert found.state == "failed"
    assert "PREFECT_API_URL" in found.advice
    assert "pass-word" not in str(report)


def test_a_prefect_that_is_there_says_its_version(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"/api/health": True, "/api/admin/version": "3.9.1"}
    with older(lambda _method, path: answers.get(path)) as prefect, Client(url) as client:
        monkeypatch.setenv("AUTOLOADER_PREFECT_API_URL", f"{prefect}/api")
        found = seen(examine(client))["prefect"]
    assert (found.state, "Prefect 3.9.1" in found.message) == ("ok", True), found


def test_a_secret_in_an_error_is_not_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No error of ours holds one; a library's might."""
    with Client(url, WRONG) as client:
        monkeypatch.setattr(type(client), "health", lambda _: (_ for _ in ()).throw(OSError(f"bad header {WRONG}")))
        found = seen(examine(client))["database"]
    assert (found.state, found.message) == ("failed", "OSError: bad header ***")


@pytest.mark.parametrize("address", ["http://[::1", "http://me:p4ss/word@127.0.0.1:80a0", "nowhere"])
def test_an_address_that_is_none_is_a_failed_check(address: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", address)
    with Client(url) as client:
        report = examine(client)
    assert seen(report)["prefect"].state == "failed"
    assert "p4ss" not in str(report)
    with pytest.raises(AutoloaderError) as raised:
        Client(address)
    assert "p4ss" not in str(raised.value)
    assert not without_client(raised.value).ok


def test_each_address_of_prefect_that_is_set_is_looked_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "AUTOLOADER_PREFECT_API_URL"):
        monkeypatch.setenv(name, nobody() + "/api")
    with Client(url) as client:
        told = [check for check in examine(client) if check.name == "prefect"]
    assert [check.state for check in told] == ["failed", "failed"]
    assert [check.advice.rpartition(" ")[2] for check in told] == ["AUTOLOADER_PREFECT_API_URL", "PREFECT_API_URL"]
