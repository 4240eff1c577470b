"""A real Prefect server on a free port of 127.0.0.1, with all that it keeps in a temporary folder.

`running` sets the environment by which Prefect's client in this process, and in those that it starts, finds that server
and no other: before `prefect` is imported for the first time, since it looks only then.

The server is the Prefect that is installed here; `AUTOLOADER_TEST_PREFECT` names the command `prefect`
of another environment, which has another version in it. It keeps its books in SQLite, as `prefect server start` does,
or in a database of PostgreSQL that it is given: on a slow disk SQLite once kept a request waiting for a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.chaos.waiting import until

from autoloader_server.spark.supervisor import free_port

_START_SECONDS = 300
_STOP_SECONDS = 30


@contextmanager
def running(folder: Path, database_url: str | None = None) -> Iterator[str]:
    """The URL of the API of a server, for as long as the block lasts."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_PROFILES_PATH": str(folder / "prefect" / "profiles.toml"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if database_url is not None:
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url.replace("+psycopg:", "+asyncpg:")
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    other = os.environ.get("AUTOLOADER_TEST_PREFECT")
    prefect = [other] if other else [sys.executable, "-m", "prefect"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*prefect, "server", "start", "--no-ui"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the tests: they stop it in the end.
            start_new_session=True,
        )
    try:
        until(lambda: _answers(process, url, folder / "server.log"), "Prefect answers", _START_SECONDS)
        yield url
    finally:
        _stop(process)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _answers(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    assert process.poll() is None, f"Prefect does not start:\n{log.read_text()}"
    try:
        return httpx.get(f"{url}/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
