"""Where a client's settings come from, and that no token is seen on the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoloader_sdk import AsyncClient, Client, errors
from autoloader_sdk import config as module
from autoloader_sdk.config import Config, Secret, load

TOKEN = "autoloader_t0ken"
FILE = """
default = "team"

[profiles.team]
url = "https://team.example.org"
token = "of-the-team"
timeout = 60

[profiles.referred]
url = "https://referred.example.org"
token = {env = "REFERRED_TOKEN"}

[profiles.kept]
url = "https://kept.example.org"
token = {file = "~/kept-token"}
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (module.URL, module.TOKEN, module.PROFILE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def write() -> Callable[[str], Path]:
    """Writes the file of profiles."""

    def profiles(text: str = FILE) -> Path:
        place = module.file()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place

    return profiles


def told(config: Config) -> dict[str, tuple[str, str]]:
    return {name: (value, origin) for name, value, origin in config.rows()}


def test_an_argument_comes_first_then_the_environment_then_the_profile(
    monkeypatch: pytest.MonkeyPatch, write: Callable[..., Path]
) -> None:
    with pytest.raises(errors.AutoloaderError, match=r"no address of a service: .*AUTOLOADER_URL.*config\.toml"):
        load()
    place = write()
    by_profile = f"profile 'team' in {place}"
    assert told(load()) == {
        "url": ("https://team.example.org", by_profile),
        "token": ("***", by_profile),
        "profile": ("team", "default"),
        "timeout": ("60 s", by_profile),
        "ca": ("none", "default"),
        "proxy": ("none", "default"),
    }
    monkeypatch.setenv(module.PROFILE, "kept")
    (Path.home() / "kept-token").write_text("kept\n")
    found = load()
    assert found.token == Secret("kept")
    assert told(found)["profile"] == ("kept", "environment")
    assert load(profile="team").token == Secret("of-the-team")
    monkeypatch.setenv(module.URL, "https://environment.example.org")
    monkeypatch.setenv(module.TOKEN, f"  {TOKEN}\n")
    found = load(timeout=5)
    assert told(found)["url"] == ("https://environment.example.org", "environment")
    assert told(found)["token"] == ("***", "environment")
    assert told(found)["timeout"] == ("5 s", "argument")
    assert found.token == Secret(TOKEN)
    found = load("https://argument.example.org", "given")
    assert (found.url, found.token) == ("https://argument.example.org", Secret("given"))


def test_a_profile_that_is_named_comes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, write: Callable[..., Path]
) -> None:
    write(FILE + '[profiles.bare]\nurl = "https://bare.example.org"\n')
    monkeypatch.setenv(module.URL, "https://environment.example.org")
    monkeypatch.setenv(module.TOKEN, TOKEN)
    assert load().url == "https://environment.example.org"
    found = load(profile="team")
    assert (found.url, found.token) == ("https://team.example.org", Secret("of-the-team"))
    # One without a token is let in by that of the environment.
    assert load(profile="bare").token == Secret(TOKEN)
    monkeypatch.delenv(module.URL)
    # To the address of a profile that has a token goes no other one, unless it is given.
    assert load().token == Secret("of-the-team")
    assert load(token="given").token == Secret("given")


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_profiles_token_goes_to_its_own_address_alone(
    by: str, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Path]
) -> None:
    write()
    other = "https://another.example.org"
    if by == "environment":
        monkeypatch.setenv(module.URL, other)
    else:
        monkeypatch.setenv(module.TOKEN, TOKEN)
    monkeypatch.setenv(module.PROFILE, "team")
    found = load(other if by == "argument" else None)
    assert (found.token == Secret(TOKEN)) == (by == "argument")
    found = load(other, token="", profile="team")
    assert (found.url, found.token, found.timeout) == (other, None, 60)


def test_a_reference_is_followed_when_the_client_is_made(
    monkeypatch: pytest.MonkeyPatch, write: Callable[..., Path]
) -> None:
    write()
    with pytest.raises(errors.AutoloaderError, match=r"its token should be in the variable REFERRED_TOKEN"):
        load(profile="referred")
    with pytest.raises(
        errors.AutoloaderError, match=r"its token should be in ~/kept-token, which cannot be read: No such"
    ):
        load(profile="kept")
    monkeypatch.setenv("REFERRED_TOKEN", "by-variable")
    assert load(profile="referred").token == Secret("by-variable")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("default = 1\n", "default = 1 is no profile; there are none"),
        ('default = "no"\n[profiles.yes]\nurl="http://x"\n', "default = 'no' is no profile; there are yes"),
        ("[profile.team]\n", "unknown key 'profile'; known: default, profiles"),
        ("profiles = 3\n", r"a profile is a table, as in \[profiles.team\]"),
        ("[profiles.team]\nulr = 'x'\n", "profile 'team': unknown key 'ulr'; did you mean 'url'"),
        ("[profiles.team]\nurl = 3\n", "profile 'team': url is text"),
        ("[profiles.team]\ntoken = 3\n", "profile 'team': token is text"),
        ("[profiles.team]\ntoken = {keyring = 'x'}\n", "profile 'team': token is text, "),
        ("[profiles.team]\ntimeout = 0\n", "profile 'team': timeout is a number of seconds above 0"),
        ("[profiles.team]\ntimeout = true\n", "profile 'team': timeout is a number of seconds above 0"),
        ("[profiles.team]\ntoken = 's3cret\n", "is not TOML: at "),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_told_of(text: str, says: str, write: Callable[..., Path]) -> None:
    write(text if not text.startswith("[profiles.team]") else f'default = "team"\n{text}')
    with pytest.raises(errors.AutoloaderError, match=says) as caught:
        load()
    assert "s3cret" not in str(caught.value)
    # Whoever says where to go does not need it.
    assert load("http://127.0.0.1:9").url == "http://127.0.0.1:9"


def test_a_fault_in_a_profile_is_in_no_other_ones_way(write: Callable[..., Path]) -> None:
    write(FILE + "[profiles.broken]\nulr = 3\n")
    assert load(profile="team").url == "https://team.example.org"
    with pytest.raises(errors.AutoloaderError, match="profile 'broken': unknown key 'ulr'"):
        load(profile="broken")


def test_an_unknown_profile_is_told_with_those_there_are(write: Callable[..., Path]) -> None:
    with pytest.raises(errors.AutoloaderError, match=r"there is no profile 'x' in .*; there are none"):
        load(profile="x")
    write()
    with pytest.raises(errors.AutoloaderError, match=r"there is no profile 'x' in .*; there are kept, referred, team"):
        load("http://127.0.0.1:9", profile="x")


def test_a_file_that_nobody_may_read_is_told_of(write: Callable[..., Path]) -> None:
    place = write()
    place.unlink()
    place.mkdir()
    with pytest.raises(errors.AutoloaderError, match="cannot be read"):
        load()


def test_nothing_is_read_at_import(tmp_path: Path) -> None:
    """A profile that is a folder would be an error, were it looked at."""
    (tmp_path / "config" / "autoloader" / "config.toml").mkdir(parents=True)
    script = "import autoloader_sdk; from autoloader_sdk import Client, AsyncClient, config; print('ok')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ok\n", "")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_tells_its_settings_and_no_token(kind: type[Client | AsyncClient]) -> None:
    made = kind("http://me:p4ssword@127.0.0.1:9/", TOKEN)
    assert isinstance(made.config, Config)
    shown = f"{made!r} {made.config!r} {made.config} {vars(made)} {vars(made.config)}"
    assert TOKEN not in shown
    assert "p4ssword" not in f"{made!r} {made.config} {made.config!r}"
    assert "argument" in str(made.config)


def failing(token: str) -> list[Callable[[], Any]]:
    """What goes wrong in as many places as a client has."""

    def unreachable() -> None:
        Client("http://127.0.0.1:9", token).ingestions.list()

    def broken() -> None:
        def handler(_request: httpx.Request) -> httpx.Response:
            raise RuntimeError("from within")

        Client("http://127.0.0.1:9", token, transport=httpx.MockTransport(handler)).ingestions.list()

    def refused() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(401, json={"detail": "no"}))
        Client("http://127.0.0.1:9", token, transport=transport).ingestions.list()

    def through_a_proxy(scheme: str) -> None:
        Client(f"{scheme}://service.test", token, proxy="http://127.0.0.1:9").ingestions.list()

    def awaited_through_a_proxy() -> None:
        async def ask() -> None:
            async with AsyncClient("http://service.test", token, proxy="http://127.0.0.1:9") as client:
                await client.ingestions.list()

        asyncio.run(ask())

    return [
        awaited_through_a_proxy,
        *(partial(through_a_proxy, scheme) for scheme in ("http", "https")),
        unreachable,
        broken,
        refused,
        lambda: Client("no address", token),
        lambda: Client("http://127.0.0.1:9", token, ca="/nowhere.pem"),
        lambda: Client("http://127.0.0.1:9", token, ca=__file__),
        lambda: Client("https://example.org", token, proxy="no proxy"),
        lambda: Client("http://127.0.0.1:9", token, profile="none"),
        lambda: AsyncClient("no address", token),
    ]


def shown(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:  # half made, by whoever's class it is
        return ""


@pytest.mark.parametrize("which", range(12))
def test_no_tracebacks_variables_show_the_token(which: int) -> None:
    hidden = TOKEN
    with pytest.raises((errors.AutoloaderError, RuntimeError)) as caught:
        failing(hidden)[which]()
    seen: list[BaseException] = []
    error: BaseException | None = caught.value
    while error is not None:
        seen.append(error)
        error = error.__cause__ or error.__context__
    for each in seen:
        for frame, _ in traceback.walk_tb(each.__traceback__):
            # The caller's own variables are the caller's.
            if frame.f_code.co_filename != __file__:
                for name, value in frame.f_locals.items():
                    assert hidden not in shown(value), (frame.f_code, name)


@pytest.mark.parametrize("token", ["s3cret\nsecond", "s3cret two", "s3crét", "s3cret\x00"])
def test_a_token_that_no_header_can_hold_is_told_without_it(token: str, write: Callable[..., Path]) -> None:
    with pytest.raises(
        errors.AutoloaderError, match=r"token \(argument\): it is one line of plain characters"
    ) as caught:
        Client("http://127.0.0.1:9", token)
    assert "s3cr" not in str(caught.value)
    (Path.home() / "kept-token").write_text(token)
    write()
    with pytest.raises(errors.AutoloaderError, match=r"token \(profile 'kept' in .*\): it is one line"):
        Client(profile="kept")


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("s3cret")
    assert "s3cret" not in f"{secret} {secret!r} {[secret]} { ({'a': secret}) }"
    assert secret == Secret("s3cret")
    assert secret != "s3cret"
    assert hash(secret) == hash(Secret("s3cret"))


def test_certificates_and_a_proxy_are_what_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(
        errors.AutoloaderError, match=r"ca \(argument\): there is no file .*none\.pem with certificates"
    ):
        Client("https://example.org", ca=tmp_path / "none.pem")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    with pytest.raises(errors.AutoloaderError, match=r"empty\.pem holds no certificates in PEM"):
        Client("https://example.org", ca=empty)
    with pytest.raises(errors.AutoloaderError, match="proxy 'what' is no address of one") as caught:
        Client("https://example.org", proxy="me:s3cret@what")
    assert "s3cret" not in str(caught.value)


def test_the_file_is_where_the_system_keeps_such_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if sys.platform == "linux":
        assert module.file() == tmp_path / "config" / "autoloader" / "config.toml"
        monkeypatch.delenv("XDG_CONFIG_HOME")
        assert module.file() == Path(os.environ["HOME"]) / ".config" / "autoloader" / "config.toml"
