"""Which service a command asks, and that no token shows on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.parts.answering import older
from tests.parts.listening import listening
from typer.testing import CliRunner, Result

from autoloader_sdk.cli.group import app
from autoloader_sdk.models import TokenCreate
from autoloader_server.app import create_app
from autoloader_server.security.callers import HOLDER
from autoloader_server.service import Service
from autoloader_server.services import tokens
from autoloader_server.settings import Settings

WRONG = "autoloader_" + "w" * 43
Invoke = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    for name in ("URL", "TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AUTOLOADER_{name}", raising=False)
    monkeypatch.setenv("AUTOLOADER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return lambda *arguments, **variables: CliRunner().invoke(app, arguments, env=variables)


@pytest.fixture
def answering() -> Iterator[Callable[[str], str]]:
    """URLs of older services, each with one ingestion of the name that is given."""
    entered = []

    def start(name: str) -> str:
        data = {"id": "ing_0123456789ab", "name": name}
        service = older(lambda _method, path: [data] if path == "/api/v1/ingestions" else None)
        entered.append(service)
        return service.__enter__()

    yield start
    for service in entered:
        service.__exit__(None, None, None)


def profiles(tmp_path: Path, content: str) -> Path:
    place = tmp_path / "config" / "autoloader" / "config.toml"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    place.chmod(0o600)
    return place


def asked(done: Result) -> list[str]:
    """The names that the service which was asked has; none of the empty one in this process."""
    assert done.exit_code == 0, done.output
    return [json.loads(line)["name"] for line in done.stdout.splitlines()]


LIST = ("ingestions", "list", "--json")


def test_the_first_that_says_where_the_service_is_counts(
    invoke: Invoke, answering: Callable[[str], str], tmp_path: Path
) -> None:
    by_option, by_variable, by_default, other = map(answering, ("option", "variable", "default", "other"))
    assert asked(invoke(*LIST)) == []
    assert (tmp_path / "home").exists()
    usual = f'default = "usual"\n[profiles.usual]\nurl = "{by_default}"\n[profiles.other]\nurl = "{other}"\n'
    profiles(tmp_path, usual)
    assert asked(invoke(*LIST)) == ["default"]
    assert asked(invoke(*LIST, AUTOLOADER_PROFILE="other")) == ["other"]
    assert asked(invoke("--profile", "usual", *LIST, AUTOLOADER_PROFILE="other")) == ["default"]
    assert asked(invoke(*LIST, AUTOLOADER_URL=by_variable)) == ["variable"]
    assert asked(invoke("--url", by_option, *LIST, AUTOLOADER_URL=by_variable)) == ["option"]
    assert asked(invoke("--home", str(tmp_path / "elsewhere"), *LIST, AUTOLOADER_URL=by_variable)) == []
    assert (tmp_path / "elsewhere").exists()


def test_a_file_of_profiles_without_a_default_leaves_it_to_this_process(invoke: Invoke, tmp_path: Path) -> None:
    profiles(tmp_path, '[profiles.team]\nurl = "http://127.0.0.1:1"\n')
    assert asked(invoke(*LIST)) == []


def test_no_wait_is_for_any_service_that_outlives_the_command(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("run", "orders", "--no-wait").exit_code == 2
    # It is asked, and is not there.
    profiles(tmp_path, 'default = "team"\n[profiles.team]\nurl = "http://127.0.0.1:1"\n')
    assert invoke("run", "orders", "--no-wait").exit_code == 1


def test_config_tells_where_each_value_came_from_and_opens_nothing(invoke: Invoke, tmp_path: Path) -> None:
    local = {row["name"]: row for row in map(json.loads, invoke("config", "--json").stdout.splitlines())}
    assert (local["url"]["value"], local["profiles"]["value"]) == ("none: the service is in this process", [])
    assert local["home"]["value"] == str(tmp_path / "home")
    assert not (tmp_path / "home").exists()
    place = profiles(
        tmp_path,
        f'default = "team"\n[profiles.team]\nurl = "https://a:b@x.example"\ntoken = "{WRONG}"\ntimeout = 5\n'
        '[profiles.other]\nurl = "http://y"\n',
    )
    done = invoke("config")
    assert done.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line}
    told = f"profile 'team' in {place}"
    assert rows["url"] == ["https://x.example", *told.split()]
    assert rows["token"] == ["***", *told.split()]
    assert rows["timeout"] == ["5", "s", *told.split()]
    assert rows["ca"] == ["none", "default"]
    assert done.stdout.splitlines()[-1] == f"profiles in {place}: other, team (the default)"
    elsewhere = invoke("config", "--json", AUTOLOADER_URL="http://z.example", AUTOLOADER_TOKEN=WRONG)
    of = {row["name"]: (row["value"], row["origin"]) for row in map(json.loads, elsewhere.stdout.splitlines())}
    assert (of["url"], of["token"]) == (("http://z.example", "environment"), ("***", "environment"))
    for each in (done, elsewhere):
        assert WRONG not in each.output


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a service of ours that asks for a token, and one that it takes."""
    service = Service.open(Settings.load(home=tmp_path / "theirs", spark_remote="sc://127.0.0.1:1/nowhere"))
    token = tokens.create(service.database, HOLDER, TokenCreate(name="mine", scope="admin")).token
    with listening(create_app(service)) as url:
        yield url, token
    service.close()


def test_a_token_lets_one_in_and_shows_nowhere(invoke: Invoke, ours: tuple[str, str], tmp_path: Path) -> None:
    url, token = ours
    source = ("--source", str(tmp_path), "--format", "csv", "--to", "b.orders")
    words: list[tuple[str, ...]] = [("ingestions", "create", "orders", *source), ("status",), ("config",), ("doctor",)]
    words += [("token", "list"), ("ingestions", "list"), ("runs", "orders"), ("runs", "none"), ("doctor", "--json")]
    for given in words:
        done = invoke("--url", url, *given, AUTOLOADER_TOKEN=token)
        # Spark is away, and there is no ingestion 'none'.
        assert done.exit_code == (1 if given[0] == "doctor" or "none" in given else 0), done.output
        assert token not in f"{done.output}{done.exception!r}"
    refused = invoke("--url", url, "status", AUTOLOADER_TOKEN=WRONG)
    missing = invoke("--url", url, "status")
    for done, why in ((refused, "the token is not known here"), (missing, "this service asks for a token")):
        (line,) = done.stderr.splitlines()
        assert (done.exit_code, done.stdout) == (1, "")
        assert why in line
        assert WRONG not in line


def test_a_token_that_is_made_stands_alone_on_stdout(invoke: Invoke, ours: tuple[str, str]) -> None:
    url, token = ours
    made = invoke("--url", url, "token", "create", "--name", "nightly", "--expires", "12h", AUTOLOADER_TOKEN=token)
    (line,) = made.stdout.splitlines()
    assert line.startswith("autoloader_")
    assert line not in made.stderr
    assert asked(invoke("--url", url, *LIST, AUTOLOADER_TOKEN=line)) == []
    shown = invoke("--url", url, "token", "list", "--json", AUTOLOADER_TOKEN=token)
    assert line not in shown.output
    ended = invoke("--url", url, "token", "revoke", "nightly", AUTOLOADER_TOKEN=token)
    assert ended.exit_code == 0
    assert "was revoked" in invoke("--url", url, *LIST, AUTOLOADER_TOKEN=line).stderr


# An error of the program itself, while a variable holds a token.
FAULT = """
from autoloader_sdk.cli.group import app
from autoloader_sdk.client import Client

def info(self):
    token = "".join(("s3cret", "-in-a-", "variable"))
    raise RuntimeError(f"a fault, and {len(token)} letters")

Client.info = info
app(["--url", "http://127.0.0.1:1", "status"])
"""


def test_a_traceback_shows_no_variables(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FAULT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "RuntimeError: a fault, and 20 letters" in done.stderr
    assert "s3cret-in-a-variable" not in done.stderr + done.stdout
