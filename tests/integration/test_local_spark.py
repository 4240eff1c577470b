"""The local Spark Connect server: one for all processes of a folder, closed to others, mortal."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.homes import spark_home

from autoloader_server.engine.iceberg import Table
from autoloader_server.engine.sql import TableName
from autoloader_server.spark.errors import SparkUnavailable
from autoloader_server.spark.local import LocalSpark
from autoloader_server.spark.processes import ProcessIdentity
from autoloader_server.spark.sessions import SESSION_CONFS, SparkSessions, connect, release, spark_errors
from autoloader_server.spark.state import Server, SparkFolder
from autoloader_server.spark.warm import warm_archive

# A user process: takes the server, says its pid, and stays until its stdin ends.
USER = """
import pathlib, sys
from autoloader_server.spark.local import LocalSpark
spark = LocalSpark(pathlib.Path(sys.argv[1]), idle_seconds=float(sys.argv[2]))
spark.ensure()
print(spark.pid(), flush=True)
sys.stdin.read()
"""


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def user(home: Path, idle_seconds: float = 600) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(home), str(idle_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def told_pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def serving(home: Path) -> Server:
    server = SparkFolder(home).server()
    assert server is not None
    assert server.answers()
    return server


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder of its own; what still serves there at the end is stopped."""
    with spark_home(tmp_path):
        yield tmp_path


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of one server for the tests that do it no harm; its name would break a careless URL."""
    home = tmp_path_factory.mktemp("shared") / "a b%20#c?ü;d"
    home.mkdir()
    warm_archive()  # as `make setup` does
    with spark_home(home):
        LocalSpark(home, idle_seconds=600).ensure()
        yield home


@pytest.fixture(scope="module")
def shared(shared_home: Path) -> Iterator[SparkSessions]:
    sessions = SparkSessions(shared_home)
    yield sessions
    sessions.close()


def test_a_session_works_in_the_lake_with_our_settings(shared: SparkSessions, shared_home: Path) -> None:
    session = shared.session()
    assert shared.started
    assert shared.session() is session
    assert {name: session.conf.get(name) for name in SESSION_CONFS} == SESSION_CONFS
    session.sql("CREATE NAMESPACE lake.first")
    session.range(7).writeTo("lake.first.rows").create()
    assert session.table("first.rows").count() == 7  # `lake` is the default catalog
    assert list((shared_home / "lake" / "warehouse" / "first" / "rows" / "data").glob("*.parquet"))


def test_java_maps_sparks_classes_from_the_archive(shared: SparkSessions, shared_home: Path) -> None:
    mapped = {mapping.path for mapping in psutil.Process(serving(shared_home).jvm.pid).memory_maps()}
    assert str(warm_archive()) in mapped


def test_a_session_sees_at_once_what_another_one_wrote(shared: SparkSessions, shared_home: Path) -> None:
    session = shared.session()
    other = connect(serving(shared_home).url, confs={"spark.sql.session.timeZone": "Asia/Tokyo"})
    try:
        assert other.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"
        session.sql("CREATE NAMESPACE lake.seen")
        session.range(1).writeTo("lake.seen.rows").create()
        assert other.table("lake.seen.rows").count() == 1
        session.range(1).writeTo("lake.seen.rows").append()
        assert other.table("lake.seen.rows").count() == 2
    finally:
        other.stop()


def test_24_appends_at_once_all_get_in(shared: SparkSessions) -> None:
    session = shared.session()
    session.sql("CREATE NAMESPACE lake.many")
    session.sql("CREATE TABLE lake.many.rows (id BIGINT) USING iceberg")
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda n: session.range(n, n + 1).writeTo("lake.many.rows").append(), range(24)))
    rows = session.table("lake.many.rows").collect()
    assert sorted(row.id for row in rows) == list(range(24))


def test_tables_that_are_made_at_once_in_a_new_namespace_are_all_made(shared: SparkSessions) -> None:
    session = shared.session()
    columns = session.range(1).schema
    for number in range(5):
        names = [TableName("lake", f"at once {number}", f"t{at}") for at in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: Table(session, name).create(columns, [], {"a": "b"}), names))
        assert all(session.catalog.tableExists(name.quoted) for name in names)


def test_all_threads_share_one_session(shared: SparkSessions) -> None:
    with ThreadPoolExecutor(8) as pool:
        sessions = set(pool.map(lambda _: id(shared.session()), range(16)))
    assert len(sessions) == 1


def test_nobody_beyond_this_machine_can_reach_it(shared_home: Path) -> None:
    process = psutil.Process(serving(shared_home).jvm.pid)
    listening = [one.laddr for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    assert serving(shared_home).port in {address.port for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("token", ["", ";token=wrong"])
def test_without_the_token_nobody_gets_in(shared_home: Path, token: str) -> None:
    with pytest.raises(SparkUnavailable, match="refuses the token") as refused:
        connect(f"sc://localhost:{serving(shared_home).port}/{token}")
    assert "wrong" not in str(refused.value)


def test_the_token_stands_nowhere_but_in_a_file_for_its_owner(shared_home: Path) -> None:
    server = serving(shared_home)
    for pid in (server.jvm.pid, server.supervisor.pid):
        assert server.token not in " ".join(psutil.Process(pid).cmdline())
    folder = SparkFolder(shared_home)
    files = [file for file in shared_home.rglob("*") if file.is_file()]
    holders = [file for file in files if server.token.encode() in file.read_bytes()]
    assert holders == [folder.server_file]
    assert stat.S_IMODE(folder.server_file.stat().st_mode) == 0o600


def test_the_pid_file_holds_the_pid_alone(shared_home: Path) -> None:
    assert (shared_home / "spark" / "pid").read_text() == f"{serving(shared_home).jvm.pid}\n"


def test_a_second_process_finds_the_server(shared_home: Path) -> None:
    second = user(shared_home)
    assert told_pid(second) == serving(shared_home).jvm.pid
    second.communicate()
    assert second.returncode == 0


def test_two_that_start_at_once_get_one_server_which_outlives_the_first_and_not_the_last(home: Path) -> None:
    users = [user(home, idle_seconds=1) for _ in range(3)]
    pids = {told_pid(process) for process in users}
    server = serving(home)
    assert pids == {server.jvm.pid}

    # Ctrl-C in the terminal of each, and a kill: neither takes the server along.
    os.killpg(users[0].pid, signal.SIGINT)
    users[1].kill()
    for process in users[:2]:
        process.wait(timeout=30)
    until(lambda: len(SparkFolder(home).users()) == 1)
    assert serving(home) == server

    users[2].communicate()
    until(lambda: not server.jvm.alive() and not (home / "spark" / "pid").exists())
    assert LocalSpark(home).pid() is None


def test_two_sessions_that_begin_at_once_on_a_new_home_both_make_their_tables(home: Path) -> None:
    url = LocalSpark(home).ensure()

    def begin(number: int) -> int:
        session = connect(url)
        try:
            session.sql(f"CREATE NAMESPACE lake.n{number}")
            session.range(number).writeTo(f"lake.n{number}.rows").create()
            return int(session.table(f"lake.n{number}.rows").count())
        finally:
            release(session)

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(begin, range(1, 5))) == [1, 2, 3, 4]


def test_old_files_that_name_a_stranger_are_seen_through(home: Path) -> None:
    me = ProcessIdentity.of()
    assert me is not None
    folder = SparkFolder(home)
    folder.create()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        reused = ProcessIdentity(me.pid, "in an earlier life")
        port = stranger.getsockname()[1]
        folder.write_server(Server(jvm=reused, supervisor=reused, port=port, token="old"))
        spark = LocalSpark(home)
        assert spark.pid() is None
        connect(spark.ensure()).stop()  # and this process was not ended in the stranger's place
        assert serving(home).jvm.pid not in (None, me.pid)
        assert serving(home).port != port


def test_a_dead_server_is_a_clear_error_and_the_next_session_has_a_new_one(home: Path) -> None:
    sessions = SparkSessions(home)
    session = sessions.session()
    session.sql("CREATE NAMESPACE lake.kept")
    session.range(5).writeTo("lake.kept.rows").create()
    killed = serving(home)
    ended: list[BaseException | None] = []

    def endless() -> None:
        try:
            with spark_errors("the local Spark server"):
                session.sql("SELECT count(DISTINCT a.id * b.id) FROM range(999999) a, range(999999) b").collect()
        except SparkUnavailable as error:
            ended.append(error)

    query = threading.Thread(target=endless)
    query.start()
    until(lambda: psutil.Process(killed.jvm.pid).cpu_percent(interval=0.2) > 50)
    os.kill(killed.jvm.pid, signal.SIGKILL)
    query.join(timeout=30)
    assert [str(error).startswith("the local Spark server died") for error in ended] == [True]

    again = sessions.session()
    assert again is not session
    assert serving(home).jvm != killed.jvm
    assert again.table("lake.kept.rows").count() == 5
    sessions.close()
    assert not sessions.started


@pytest.mark.parametrize("last_words", ["", "os.kill(sessions._local.pid(), signal.SIGKILL)"])
def test_a_process_ends_quietly_with_its_session_open(home: Path, last_words: str) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from autoloader_server.spark.sessions import SparkSessions\n"
        "sessions = SparkSessions(pathlib.Path(sys.argv[1]))\n"
        "print(sessions.session().range(3).count())\n" + last_words
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(home)], capture_output=True, text=True, timeout=120, check=True
    )
    assert (run.stdout, run.stderr) == ("3\n", "")


def test_a_server_whose_supervisor_was_killed_does_not_stay(home: Path) -> None:
    spark = LocalSpark(home)
    spark.ensure()
    orphan = serving(home)
    os.kill(orphan.supervisor.pid, signal.SIGKILL)
    if sys.platform.startswith("linux"):
        until(lambda: not orphan.jvm.alive())
    spark.ensure()
    assert not orphan.jvm.alive()
    assert serving(home).jvm != orphan.jvm


def test_a_server_whose_folder_was_deleted_ends(home: Path) -> None:
    LocalSpark(home).ensure()
    server = serving(home)
    shutil.rmtree(home / "spark", ignore_errors=True)
    until(lambda: not server.jvm.alive() and not server.supervisor.alive())


def test_stop_ends_it_whoever_uses_it(home: Path) -> None:
    spark = LocalSpark(home)
    spark.stop()  # nothing to do
    spark.ensure()
    server = serving(home)
    spark.stop()
    assert not server.jvm.alive()
    assert not server.supervisor.alive()
    assert spark.pid() is None
    assert list((home / "spark" / "tmp").iterdir()) == []


def test_a_start_that_fails_tells_what_java_said(home: Path) -> None:
    with pytest.raises(SparkUnavailable, match=r"(?s)server\.log.*Invalid maximum heap size: -Xmxplenty"):
        LocalSpark(home, memory="plenty").ensure()
    assert LocalSpark(home).pid() is None


def test_a_file_name_beyond_ascii_is_read_even_where_the_locale_is_c(home: Path) -> None:
    (home / "Grüße 1.csv").write_text("a\n1\n2\n", encoding="utf-8")
    program = (
        "import pathlib, sys\n"
        "from autoloader_server.spark.sessions import SparkSessions\n"
        "home = pathlib.Path(sys.argv[1])\n"
        "session = SparkSessions(home).session()\n"
        "print(session.read.option('header', 'true').csv(str(next(home.glob('*.csv')))).count())\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    run = subprocess.run(
        [sys.executable, "-c", program, str(home)],
        env={**environment, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("2\n", "")


def test_on_a_server_that_leaves_out_what_it_cannot_read_our_sessions_do_not(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", " ".join(f"-D{name}=true" for name in settings))
    cut = home / "cut.parquet"
    cut.write_bytes(b"PAR1 cut short")
    sessions = SparkSessions(home)
    try:
        with pytest.raises(Exception, match=r"cut\.parquet"):
            sessions.session().read.schema("a int").parquet(str(cut)).collect()
        assert [sessions.session().conf.get(name) for name in settings] == ["false", "false"]
    finally:
        sessions.close()


def test_nothing_behind_a_url_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    sessions = SparkSessions(Path("/nowhere"), f"sc://localhost:{port}/;token=secret")
    with pytest.raises(
        SparkUnavailable, match=rf"sc://localhost:{port} cannot be reached: nothing listens there"
    ) as failed:
        sessions.session()
    assert "secret" not in str(failed.value)
    assert not sessions.started
