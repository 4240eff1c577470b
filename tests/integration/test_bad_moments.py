"""Files that change under a run's hands, Ctrl-C, stopped services, closed folders, full disks: nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.chaos.waiting import until
from tests.homes import spark_home
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion, Ran
from tests.integration.test_load_parquet import parquet
from tests.parts.rights import reading_what_is_open

from autoloader_sdk import Client
from autoloader_sdk.errors import RunFailed, ServerError
from autoloader_server.engine import load
from autoloader_server.engine.formats.base import Look
from autoloader_server.service import Service
from autoloader_server.services import runs as run_service
from autoloader_server.settings import Settings
from autoloader_server.spark.sessions import SparkSessions
from autoloader_server.spark.supervisor import free_port

AUTOLOADER = (str(Path(sys.executable).with_name("autoloader")),)
GOOD = "a,b\n1,x\n2,y\n"
# A script that runs an ingestion by the embedded client and waits for it: home, ledger, ingestion.
SCRIPT = """
import sys
from autoloader_sdk import Client
client = Client.local(home=sys.argv[1], database_url=sys.argv[2])
run = client.ingestions.get(sys.argv[3]).run()
print(run.wait(timeout=150).status)
"""


def script(loaded: Ingestion, point: str) -> subprocess.Popen[str]:
    """The script in a process group of its own, which stops itself (SIGSTOP) when its load gets to `point`."""
    service = loaded.service
    code = ("-c", SCRIPT, str(service.home), str(service.database.url), loaded.id)
    return stopping_itself([sys.executable, *code], loaded, point)


def stopping_itself(command: Sequence[str], loaded: Ingestion, point: str) -> subprocess.Popen[str]:
    """A command over the ingestion's ledger, in a process group of its own, which stops itself at `point`."""
    ours = {"AUTOLOADER_HOME": str(loaded.service.home), "AUTOLOADER_DATABASE_URL": str(loaded.service.database.url)}
    return subprocess.Popen(
        command,
        env={**os.environ, **ours, "AUTOLOADER_KILL_AT": f"{point}=stop", "AUTOLOADER_LEASE_SECONDS": "600"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def stopped_at(loaded: Ingestion, point: str) -> Iterator[subprocess.Popen[str]]:
    """The script, stopped at `point`; afterwards it goes on, and ends."""
    process = script(loaded, point)
    with ended_in_any_case(process):
        wait_for_stop(process)
        yield process
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=120)


@contextmanager
def ended_in_any_case(process: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever happens in the block, the process does not outlive it."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for_stop(process: subprocess.Popen[str]) -> None:
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "its point is reached", 240)


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        *((point, "csv") for point in ("discovered", "inspected", "claimed", "staged")),
        *((point, "json") for point in ("inspected", "staged")),
        *((point, "parquet") for point in ("discovered", "claimed")),
    ],
)
def test_files_that_vanish_or_change_while_they_are_loaded(
    ingest: Ingest, point: str, kind: str, tmp_path: Path
) -> None:
    def content(*values: int) -> str | bytes:
        match kind:
            case "csv":
                return "a\n" + "".join(f"{value}\n" for value in values)
            case "json":
                return "".join(f'{{"a": {value}}}\n' for value in values)
        return parquet({"a": list(values)})

    files = {"stays": content(1, 2), "goes": content(3), "changes": content(4, 5)}
    loaded = ingest(kind, files, folder=tmp_path / "source")
    gone = loaded.folder / "goes"
    with stopped_at(loaded, point):
        loaded.write({"changes": content(6, 7, 8)})
        kept, moment = gone.read_bytes(), gone.stat().st_mtime_ns
        gone.unlink()
    (last,) = run_service.find(loaded.service, loaded.id).items
    assert last.status == "partial"
    assert [(error.file, error.error_type) for error in last.errors or []] == [(str(gone), "missing")]
    assert "vanished" in str((last.errors or [])[0].message)
    assert loaded.counts() == {"stays": 2, "changes": 3}
    assert sorted(loaded.values("a")) == [1, 2, 6, 7, 8]

    gone.write_bytes(kept)
    os.utime(gone, ns=(moment, moment))
    assert loaded.wait(run_service.retry(loaded.service, loaded.id, last.id).run_id).files == 1
    assert loaded.counts() == {"stays": 2, "changes": 3, "goes": 1}
    assert loaded.load().message == "nothing new"


def test_a_file_that_never_rests_fails_alone_and_is_loaded_when_it_does(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = ingest("csv", {"rests.csv": GOOD, "changes.csv": "a,b\n0,new\n"})
    frame_of, read = load.frame_of, list[set[str]]()

    def meanwhile(spark: Any, format_: Any, looks: Sequence[Look], *more: Any) -> Any:
        read.append({Path(look.path).name for look in looks})
        loaded.write({"changes.csv": f"a,b\n{len(read)},newer\n"})
        return frame_of(spark, format_, looks, *more)

    with monkeypatch.context() as patched:
        patched.setattr(load, "frame_of", meanwhile)
        ran = loaded.load()
    # Once it is waited for, together with the others; then they are loaded without it.
    both = {"rests.csv", "changes.csv"}
    assert read == [both, both, {"rests.csv"}]
    assert (ran.status, ran.files) == ("partial", 1)
    assert [(error.file, error.category, error.message) for error in ran.errors] == [
        ("changes.csv", "unknown", "it keeps changing while it is being loaded; the next run tries again")
    ]
    assert loaded.counts() == {"rests.csv": 2}
    assert loaded.load().files == 1
    assert loaded.rows() == [(1, "x"), (2, "y"), (3, "newer")]
    assert loaded.counts() == {"rests.csv": 2, "changes.csv": 1}
    assert loaded.load().message == "nothing new"


def test_a_file_that_was_written_a_moment_ago_waits_until_it_rests(ingest: Ingest, tmp_path: Path) -> None:
    folder = tmp_path / "written"
    folder.mkdir()
    loaded = ingest("csv", {"old.csv": GOOD, "new.csv": GOOD}, folder=folder, source={"min_age_seconds": 600})

    def written_before(name: str, seconds: int) -> None:
        moment = time.time() - seconds
        os.utime(folder / name, (moment, moment))

    written_before("old.csv", 700)
    ran = loaded.load()
    assert (ran.status, ran.files) == ("success", 1)
    note = "left alone: 1 file written less than source.min_age_seconds (600) ago; a later run loads them"
    assert note in ran.notes
    assert loaded.load().message == "nothing was loaded; too new: 1 file"
    written_before("new.csv", 601)
    assert loaded.load().files == 1
    assert loaded.counts() == {"old.csv": 2, "new.csv": 2}


def test_what_is_written_again_while_it_is_loaded_fails_until_it_rests(
    ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "written"
    folder.mkdir()
    loaded = ingest("csv", {"rests.csv": GOOD, "changes.csv": GOOD}, folder=folder, source={"min_age_seconds": 600})
    frame_of = load.frame_of

    def rest(*names: str) -> None:
        moment = time.time() - 700
        for name in names:
            os.utime(folder / name, (moment, moment))

    def meanwhile(*given: Any) -> Any:
        if folder.joinpath("changes.csv").read_text() == GOOD:
            loaded.write({"changes.csv": GOOD + "3,half of a rec"})
        return frame_of(*given)

    rest("rests.csv", "changes.csv")
    with monkeypatch.context() as patched:
        patched.setattr(load, "frame_of", meanwhile)
        ran = loaded.load()
    assert (ran.status, ran.files) == ("partial", 1)
    assert ran.failed()["changes.csv"].message == (
        "written again, less than source.min_age_seconds ago: a later run loads it"
    )
    loaded.write({"changes.csv": GOOD + "3,half of a record\n"})
    assert loaded.load().files == 0
    rest("changes.csv")
    assert loaded.load().files == 1
    assert loaded.counts() == {"rests.csv": 2, "changes.csv": 3}


@pytest.mark.parametrize(("by", "point"), [("script", "claimed"), ("command", "stage_recorded")])
def test_ctrl_c_in_the_middle_of_a_run_leaves_the_work_to_the_next_one(ingest: Ingest, by: str, point: str) -> None:
    # A batch for each: woken by the same signal, the run may come to the end of one before the process ends.
    loaded = ingest("csv", {f"{at}.csv": GOOD for at in range(4)}, limits={"max_files_per_batch": 1})
    if by == "script":
        process = script(loaded, point)
    else:
        process = stopping_itself([*AUTOLOADER, "run", loaded.id], loaded, point)
    with ended_in_any_case(process):
        wait_for_stop(process)
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGCONT)
        _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert ("Traceback" in said) == (by == "script"), said
    until(lambda: all(run.status != "running" for run in run_service.find(loaded.service, loaded.id).items), "its end")
    (left,) = run_service.find(loaded.service, loaded.id).items
    assert f"left run {left.id}: the next start takes the work up" in said
    assert left.status == "failed"
    assert "the next run" in (left.message or "")
    ran = loaded.load()
    assert (ran.status, ran.files > 0) == ("success", True)
    assert loaded.counts() == {f"{at}.csv": 2 for at in range(4)}
    assert loaded.load().message == "nothing new"


@pytest.mark.parametrize(("ending", "point"), [(signal.SIGINT, "staged"), (signal.SIGTERM, "publishing")])
def test_a_service_that_is_stopped_in_the_middle_of_a_run_leaves_the_work_to_the_next_start(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, ending: signal.Signals, point: str
) -> None:
    loaded = ingest("csv", {f"{at}.csv": GOOD for at in range(4)}, limits={"max_files_per_batch": 1})
    port = free_port()
    process = stopping_itself([*AUTOLOADER, "serve", "--port", str(port)], loaded, point)
    with ended_in_any_case(process), monkeypatch.context() as patched:
        # Else this process may be the one that takes up the run.
        patched.setattr(loaded.service.queue, "sweep", lambda: None)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:

            def answers() -> bool:
                with suppress(httpx.TransportError):
                    return http.get("/health").is_success
                return False

            until(answers, "the service answers", 60)
            assert http.post(f"/api/v1/ingestions/{loaded.id}/run").is_success
        wait_for_stop(process)
        process.send_signal(ending)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    (left,) = run_service.find(loaded.service, loaded.id).items
    assert left.status == "failed"
    assert left.message == "the service was stopped in the middle of the run; the next run finishes its work"
    assert [error.error_type for error in left.errors or []] == ["interrupted"]
    ran = loaded.load()
    assert (ran.status, ran.files > 0) == ("success", True)
    assert loaded.counts() == {f"{at}.csv": 2 for at in range(4)}
    assert loaded.load().message == "nothing new"


def run_without_rights(loaded: Ingestion) -> Ran:
    service = loaded.service
    done = subprocess.run(
        [
            *reading_what_is_open(),
            *(sys.executable, "-c", SCRIPT),
            *(str(service.home), str(service.database.url), loaded.id),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    asked = run_service.find(service, loaded.id).items
    assert asked, done.stderr
    return loaded.wait(asked[0].id)


def test_a_closed_folder_fails_the_run_by_name(ingest: Ingest, tmp_path: Path) -> None:
    loaded = ingest("csv", {"a.csv": GOOD, "closed/b.csv": GOOD}, folder=tmp_path / "source")
    closed = loaded.folder / "closed"
    closed.chmod(0)
    ran = run_without_rights(loaded)
    closed.chmod(0o700)
    message = (
        f"'{closed}/' may not be read by this user (Permission denied): "
        "give it the right to read files and list folders there"
    )
    assert [(error.category, error.message) for error in ran.errors] == [("auth", message)]
    assert (ran.status, ran.files) == ("failed", 0)
    assert loaded.load().files == 2


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_closed_file_fails_alone_and_is_loaded_when_it_is_opened(ingest: Ingest, kind: str, tmp_path: Path) -> None:
    content: dict[str, str | bytes] = {"csv": GOOD, "json": '{"a": 1}\n{"a": 2}\n', "parquet": parquet({"a": [1, 2]})}
    loaded = ingest(kind, {"open": content[kind], "closed": content[kind]}, folder=tmp_path / "source")
    closed = loaded.folder / "closed"
    closed.chmod(0)
    ran = run_without_rights(loaded)
    closed.chmod(0o600)
    assert (ran.status, ran.files) == ("partial", 1)
    assert [(error.file, error.category, error.message) for error in ran.errors] == [
        ("closed", "auth", "it may not be read by this user; give the right to, and retry the run")
    ]
    (last,) = run_service.find(loaded.service, loaded.id).items
    # A retry takes up what is new, too.
    loaded.write({"new": content[kind]})
    assert loaded.wait(run_service.retry(loaded.service, loaded.id, last.id).run_id).files == 2
    assert loaded.counts() == {"open": 2, "closed": 2, "new": 2}


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of this size mounted at `place`; what it gives resizes it. Needs root, or sudo without a password."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]

    def mount(options: str) -> None:
        owner = f"uid={os.geteuid()},gid={os.getegid()},mode=700"
        command = [*sudo, "mount", "-t", "tmpfs", "-o", f"{owner},{options}", "tmpfs", str(place)]
        subprocess.run(command, check=True, capture_output=True)

    place.mkdir(parents=True, exist_ok=True)
    mount(f"size={size}")
    try:
        yield lambda new: mount(f"remount,size={new}")
    finally:
        subprocess.run([*sudo, "umount", "--lazy", str(place)], check=True)


def test_a_full_disk_under_the_table_is_told_and_the_next_run_finishes(
    ingest: Ingest, home: Path, namespace: str
) -> None:
    noise = random.Random(7)
    with small_disk(home / "lake" / "warehouse" / namespace, "1m") as resize:
        loaded = ingest("csv", {"a.csv": "text\nx\n"})
        assert loaded.load().status == "success"
        big = "text\n" + "".join(f"{noise.getrandbits(4000):x}\n" for _ in range(5000))
        ran = loaded.load({"b.csv": big, "c.csv": "text\ny\n"})
        assert (ran.status, ran.files) == ("failed", 0)
        assert [(error.file, error.category, error.message) for error in ran.errors] == [
            (None, "write_failure", "the disk is full: free some space and run again; nothing was lost")
        ]
        resize("64m")
        assert loaded.load().files == 2
        assert loaded.counts() == {"a.csv": 1, "b.csv": 5000, "c.csv": 1}


def test_a_full_disk_under_everything_is_told_and_the_next_run_finishes(tmp_path: Path) -> None:
    """Ledger, tables and Spark's own files in one home, as a laptop has them."""
    source, home = tmp_path / "source", tmp_path / "home"
    source.mkdir()
    ballast = home / "ballast"
    noise = random.Random(7)
    with small_disk(home, "40m"), spark_home(home), Client.local(home) as client:
        (source / "a.csv").write_text("text\nx\n")
        loaded = client.ingestions.create(name="all", source=source, format="csv", destination="lake.all.t")
        run = loaded.run()
        assert run.wait(timeout=150).status == "success"
        (source / "b.csv").write_text("text\n" + "".join(f"{noise.getrandbits(4000):x}\n" for _ in range(5000)))
        (source / "c.csv").write_text("text\ny\n")
        said = []
        for room in (2 * 2**20, 0):
            ballast.write_bytes(b"")
            with suppress(OSError), ballast.open("r+b", buffering=0) as file:
                left = shutil.disk_usage(home).free - room
                while left > 0:
                    left -= file.write(bytes(min(left, 2**16)))
            with pytest.raises((RunFailed, ServerError)) as failed:
                loaded.run().wait(timeout=150)
            said.append(str(failed.value))
        assert all("free some space" in each for each in said), said
        ballast.unlink()

        def finished() -> bool:
            with suppress(RunFailed):
                loaded.run().wait(timeout=150)
                return True
            return False

        until(finished, "a run that finishes", 150)
        assert loaded.table().count() == 5002
        assert {file.status for file in loaded.files()} == {"SUCCESS"}


def test_a_full_disk_under_the_ledger_is_told_and_the_next_run_finishes(
    home: Path, lake: SparkSessions, namespace: str, tmp_path: Path
) -> None:
    source, disk = tmp_path / "source", tmp_path / "disk"
    source.mkdir()
    with small_disk(disk, "900k") as resize:
        url = f"sqlite:///{disk}/autoloader.db"
        service = Service.open(Settings.load(home=home, database_url=url, lease_seconds=3, lease_renew_seconds=1))
        service.spark.close()
        service.spark = lake
        spec = {
            "name": "full",
            "source": {"type": "local", "path": str(source)},
            "format": {"type": "csv"},
            "destination": {
                "catalog": "lake",
                "database": namespace,
                "table": "t",
                "lineage_columns": ["_source_file"],
            },
        }
        loaded = Ingestion(service, spec)
        loaded.write({f"{at:04}.csv": GOOD for at in range(2000)})
        ran = loaded.load()
        assert (ran.status, ran.files) == ("failed", 0)
        resize("64m")
        until(lambda: loaded.load().status == "success", "a run that finishes")
        assert loaded.counts() == {f"{at:04}.csv": 2 for at in range(2000)}
        said = [run.message or "" for run in run_service.find(service, loaded.id).items]
        full = "disk is full; free some space and run again; nothing was lost"
        assert any("the ledger's database failed: " in each and full in each for each in said), said
        assert service.queue.wait_idle(60)
        service.queue.close()
        service.database.close()
