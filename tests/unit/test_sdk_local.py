"""The embedded service is as alive as its process: what happens when a script ends during a run.

The scripts are real processes; the service in them is a small one that does what the exit has to cope with:
its run hands work to a thread pool until it is done.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

# `autoloader_server.embedded`, with nothing behind it but the parts that matter at exit.
SERVICE = '''
import sys, threading, time, types
from concurrent.futures import ThreadPoolExecutor

class Service:
    opened = 0

    def __init__(self, home, settings):
        Service.opened += 1
        self.home, self.settings, self.runs = home, settings, []
        self.closing = threading.Event()

    async def app(self, scope, receive, send):
        body = b'[]'
        if scope["method"] == "POST":
            self.runs.append("r1")
            self.thread = threading.Thread(target=self._run, daemon=True)
            self.thread.start()
            body = b'{"run_id": "r1", "status": "accepted"}'
        elif scope["path"].endswith("/runs/r1"):
            body = b'{"id": "r1", "status": "running"}'
        elif scope["path"].endswith("ing_0123456789ab"):
            body = b'{"id": "ing_0123456789ab", "name": "flights"}'
        elif scope["path"] == "/health":
            body = b'{"status": "ok"}'
        elif scope["path"] == "/":
            raise RuntimeError("a fault of the application")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def _run(self):
        """As a run over Spark Connect does: work for a pool, until the end."""
        with ThreadPoolExecutor() as pool:
            for step in range(STEPS):
                pool.submit(time.sleep, 0.02).result()
                if self.closing.is_set():
                    return
        print("run done", flush=True)
        self.runs.remove("r1")

    def active_runs(self):
        return list(self.runs)

    def close(self):
        """As the real one: a run that still goes on is left, and does no more."""
        self.closing.set()
        if self.runs:
            self.thread.join()
        print("service closed", flush=True)

def open_service(home=None, **settings):
    return Service(home, settings)

module = types.ModuleType("autoloader_server.embedded")
module.open_service, module.Service = open_service, Service
sys.modules["autoloader_server.embedded"] = module
from autoloader_sdk import Client
'''


def script(text: str, *, steps: int = 150) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", f"STEPS = {steps}\n{SERVICE}\n{text}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "AUTOLOADER_HOME"},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.splitlines(), err.splitlines()


RUN = 'client = Client.local(); run = client.ingestions.get("ing_0123456789ab").run()'
WAITING = "waiting for run r1; Ctrl-C leaves the work to the next start"
LEFT = "left run r1: the next start takes the work up"


def test_a_script_that_ends_during_a_run_waits_for_it_with_one_line() -> None:
    assert ended(script(RUN)) == (0, ["run done", "service closed"], [WAITING])


def test_a_script_without_a_run_ends_at_once_and_says_nothing() -> None:
    assert ended(script("client = Client.local(); print(client.health().status)")) == (
        0,
        ["ok", "service closed"],
        [],
    )


def test_a_script_that_fails_shows_its_error_first_and_waits_too() -> None:
    code, out, err = ended(script(f"{RUN}\nraise ValueError('mine')"))
    assert (code, out) == (1, ["run done", "service closed"])
    assert err[-2:] == ["ValueError: mine", WAITING]


def test_a_script_that_calls_exit_waits_and_keeps_its_code() -> None:
    assert ended(script(f"{RUN}\nraise SystemExit(3)")) == (3, ["run done", "service closed"], [WAITING])


def test_ctrl_c_during_the_waiting_leaves_the_run() -> None:
    process = script(RUN, steps=100_000)
    assert process.stderr is not None
    assert process.stderr.readline().strip() == WAITING
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, ["service closed"], [LEFT])


def test_ctrl_c_in_the_script_leaves_the_run_without_asking_twice() -> None:
    process = script(f"{RUN}\nprint('started')\nrun.wait()", steps=100_000)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "started"
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    # Ended by the signal, or 1: CPython forgets that it was one when another thread executes source meanwhile,
    # as the making of a dataclass does (run_eval_code_obj in pythonrun.c).
    assert code in {-signal.SIGINT, 1}
    assert out == ["service closed"]
    assert err[-2:] == ["KeyboardInterrupt", LEFT]
    assert not [line for line in err if "waiting" in line or "ignored" in line]


def test_a_with_block_waits_at_its_end() -> None:
    text = "with Client.local() as client:\n    client.ingestions.get('ing_0123456789ab').run()\nprint('after')"
    assert ended(script(text)) == (0, ["run done", "service closed", "after"], [WAITING])


def test_clients_of_one_folder_share_a_service_which_the_last_closes(tmp_path: Path) -> None:
    text = f"""
first, second = Client.local({str(tmp_path)!r}), Client.local({str(tmp_path)!r})
other = Client.local({str(tmp_path)!r}, max_workers=3)
print(module.Service.opened)
first.close(); first.close(); print("first"); second.close(); print("second")
"""
    assert ended(script(text))[1] == ["2", "first", "service closed", "second", "service closed"]


def test_it_answers_inside_a_running_loop_and_from_several_loops() -> None:
    text = """
import asyncio
from autoloader_sdk import AsyncClient
client, later = Client.local(), AsyncClient.local()
async def inside():
    return client.health().status, (await later.health()).status
print(asyncio.run(inside()), asyncio.run(inside()))
async def end(): await later.close()
asyncio.run(end())
"""
    assert ended(script(text)) == (0, ["('ok', 'ok') ('ok', 'ok')", "service closed"], [])


def test_a_fault_of_the_application_is_a_server_error() -> None:
    text = """
from autoloader_sdk import ServerError
client = Client.local()
try:
    client.info()
except ServerError as error:
    print(error.status)
print(client.health().status)
"""
    assert ended(script(text))[1] == ["500", "ok", "service closed"]


def test_a_forked_child_gets_a_clear_error_and_does_not_wait_for_its_parents_run() -> None:
    text = f"""
{RUN}
import multiprocessing
from autoloader_sdk import AutoloaderError
def child():
    try:
        client.health()
    except AutoloaderError as error:
        print(error, flush=True)
process = multiprocessing.get_context("fork").Process(target=child)
process.start(); process.join()
"""
    code, out, err = ended(script(text))
    assert (code, out[0]) == (0, "this client was opened before the process forked; open one in each process")
    assert err[-1] == WAITING
    assert err.count(WAITING) == 1
    assert out.count("service closed") == 1


def test_a_missing_service_is_named_with_its_install_line() -> None:
    text = """
import sys
sys.modules["autoloader_server.embedded"] = None
from autoloader_sdk import MissingExtra
try:
    Client.local()
except MissingExtra as error:
    print(error)
"""
    expected = "Client.local() needs the extra 'local': pip install \"autoloader-sdk[local]\""
    assert ended(script(text)) == (0, [expected], [])
