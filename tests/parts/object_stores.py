"""S3 on this machine: SeaweedFS, which knows who may read what, and ministack, which takes every key.

Both are fixtures of all tests (tests/conftest.py), and started once:

def test_…(seaweed: Seaweed) -> None:
    a = seaweed.bucket("a")                     # a new bucket, and an identity that may read just that
    a.put("data/x.json", b"{}")
    source = {"type": "s3", "path": a.path("data/"), "credentials": a.credentials}
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_START_SECONDS = 60.0
IDENTITIES = 64


@dataclass(frozen=True)
class Bucket:
    """A bucket, the credentials of who may read it, and a client that may do everything."""

    name: str
    credentials: dict[str, str]
    client: Any

    def path(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, content: bytes | str) -> None:
        body = content.encode() if isinstance(content, str) else content
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


class ObjectStore:
    """One running store; its buckets are made as tests ask for them."""

    def __init__(self, url: str, root: tuple[str, str]) -> None:
        import botocore.session
        from botocore.config import Config

        self.url = url
        self._root = root
        self._made = 0
        self.client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=root[0],
            aws_secret_access_key=root[1],
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
        )

    def bucket(self) -> Bucket:
        """A new bucket; in SeaweedFS the number in its name tells which identity may read it."""
        name = f"bucket-{self._made}"
        self._made += 1
        self.client.create_bucket(Bucket=name)
        return Bucket(name, self.credentials(name), self.client)

    def credentials(self, name: str) -> dict[str, str]:
        return self._keys(*self._root)

    def _keys(self, key_id: str, secret: str) -> dict[str, str]:
        return {
            "aws_access_key_id": key_id,
            "aws_secret_access_key": secret,
            "endpoint_url": self.url,
            "region": "us-east-1",
        }


class Seaweed(ObjectStore):
    """Each bucket may be read by its own identity; of those below `open/` another may read, and list all."""

    def credentials(self, name: str) -> dict[str, str]:
        return self._keys(f"KEYOF{name.upper()}", f"secret+of/{name}=")

    def partial(self, bucket: Bucket) -> dict[str, str]:
        """The keys of who may list the bucket, and read only what is below `open/`."""
        return self._keys(f"PARTOF{bucket.name.upper()}", f"part+of/{bucket.name}=")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """The one SeaweedFS of all tests."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as store:
        yield store


@pytest.fixture(scope="session")
def bucket(seaweed: Seaweed) -> Bucket:
    """For tests that want none of their own: SeaweedFS has room for some 60 of them."""
    return seaweed.bucket()


@contextmanager
def running_seaweed(folder: Path) -> Iterator[Seaweed]:
    """SeaweedFS on free ports of 127.0.0.1; its data in `folder`."""
    folder.mkdir(exist_ok=True)
    names = [f"bucket-{number}" for number in range(IDENTITIES)]
    identities = [_identity("root", "rootkey", "rootsecret", ["Admin"])]
    for name in names:
        own = [f"Read:{name}", f"List:{name}"]
        identities += [
            _identity(name, f"KEYOF{name.upper()}", f"secret+of/{name}=", own),
            _identity(
                f"part-{name}", f"PARTOF{name.upper()}", f"part+of/{name}=", [f"List:{name}", f"Read:{name}/open/*"]
            ),
        ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}), encoding="utf-8")
    parts = ("s3", "master", "filer", "volume", "admin")
    flags = [f"{part}.{kind}" for part in parts for kind in ("port", "port.grpc")]
    ports = dict(zip(flags, _free_ports(len(flags)), strict=True))
    command = [
        *(_program("weed"), "-logtostderr=true", "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-s3.config={folder}/s3.json", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"),
        *("-s3.port.lance=0", "-master.telemetry=false", *(f"-{flag}={port}" for flag, port in ports.items())),
    ]
    url = f"http://127.0.0.1:{ports['s3.port']}"
    yield from _running(command, folder, url, lambda: Seaweed(url, ("rootkey", "rootsecret")), os.environ)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """ministack's S3 and nothing else of it, on a free port of 127.0.0.1."""
    folder = tmp_path_factory.mktemp("ministack")
    [port] = _free_ports(1)
    url = f"http://127.0.0.1:{port}"
    # Without the last it listens for MQTT on every address of the machine.
    environment = {
        **os.environ,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "IOT_MTLS_ENABLED": "0",
    }
    make = lambda: ObjectStore(url, ("ministack", "ministack-secret"))  # noqa: E731
    yield from _running([_program("ministack")], folder, url, make, environment)


def _running(command: list[str], folder: Path, url: str, make: Any, environment: Any) -> Iterator[Any]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=dict(environment))
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            assert process.poll() is None, (folder / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, f"{command[0]} does not answer"
            time.sleep(0.05)
        yield make()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def _identity(name: str, key_id: str, secret: str, actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": key_id, "secretKey": secret}], "actions": actions}


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed: run 'make setup'"
    return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
