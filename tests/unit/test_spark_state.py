"""Who serves, who uses, and who only seems to: pids come back, files stay."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from autoloader_server.spark.launch import catalog_uri
from autoloader_server.spark.processes import ProcessIdentity, listens_on, write_private
from autoloader_server.spark.state import Server, SparkFolder


@pytest.fixture
def me() -> ProcessIdentity:
    identity = ProcessIdentity.of()
    assert identity is not None
    return identity


@pytest.fixture
def folder(tmp_path: Path) -> SparkFolder:
    folder = SparkFolder(tmp_path)
    folder.create()
    return folder


def test_a_process_is_itself_and_no_later_one_with_its_pid(me: ProcessIdentity) -> None:
    assert me.pid == os.getpid()
    assert me.alive()
    assert ProcessIdentity.from_json(me.to_json()) == me
    assert not dataclasses.replace(me, started="before").alive()


def test_a_dead_process_and_a_zombie_do_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    assert identity.alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected
    assert not identity.alive()
    child.communicate()
    assert not identity.alive()
    assert ProcessIdentity.of(child.pid) is None


@pytest.mark.parametrize("text", ["", "{", "7", "null", '{"pid": 7}', '{"pid": "x", "started": ""}'])
def test_half_a_file_is_no_identity(text: str) -> None:
    assert ProcessIdentity.from_json(text) is None


def test_only_the_process_that_listens_is_taken_for_the_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert listens_on(os.getpid(), port)
        assert not listens_on(os.getppid(), port)
    assert not listens_on(os.getpid(), port)


def test_a_secret_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o644)
    write_private(path, "token")
    assert path.read_text() == "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_server_is_written_down_its_token_out_of_sight(folder: SparkFolder, me: ProcessIdentity) -> None:
    server = Server(jvm=me, supervisor=me, port=5, token="hidden")
    folder.write_server(server)
    assert folder.server() == server
    assert folder.pid_file.read_text() == f"{me.pid}\n"
    assert stat.S_IMODE(folder.server_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert "hidden" not in repr(server)

    folder.forget_server(me.pid + 1)
    assert folder.server() == server
    folder.forget_server(me.pid)
    assert folder.server() is None
    assert not folder.pid_file.exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"jvm": {}}'])
def test_a_broken_server_file_is_no_server(folder: SparkFolder, text: str) -> None:
    folder.server_file.write_text(text)
    assert folder.server() is None


def test_users_are_living_processes_only(folder: SparkFolder, me: ProcessIdentity) -> None:
    folder.add_user(me, "a")
    folder.add_user(me, "b")
    folder.add_user(dataclasses.replace(me, pid=me.pid, started="before"), "reused")
    folder.remove_user(me, "a")
    assert folder.users() == [me]
    assert [file.name for file in (folder.path / "users").iterdir()] == [f"{me.pid}-b"]


def test_temporary_files_of_dead_supervisors_are_taken_away(folder: SparkFolder, me: ProcessIdentity) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left = folder.path / "tmp" / str(child.pid)
    (left / "blocks").mkdir(parents=True)
    mine = folder.new_scratch(me)
    assert not left.exists()
    assert list((folder.path / "tmp").iterdir()) == [mine]


def test_the_catalog_survives_any_folder_name() -> None:
    assert catalog_uri(Path("/a b/50%/#1/ü/c.db")) == "jdbc:sqlite:file:///a%20b/50%25/%231/%C3%BC/c.db"


def test_importing_the_sessions_costs_no_pyspark() -> None:
    program = (
        "import sys, pathlib; from autoloader_server.spark.sessions import SparkSessions\n"
        "sessions = SparkSessions(pathlib.Path('/nowhere')); sessions.close(); assert not sessions.started\n"
        "print([name for name in ('pyspark', 'pandas', 'grpc', 'pyarrow') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
