"""What the SDK costs over bare httpx: at its first call, at its thousandth, at 500 at once, over 100,000 rows.

The service that answers is `autoloader serve` in a process of its own, the same for both sides.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import BaseModel

from autoloader_sdk import AsyncClient, Client
from autoloader_server.spark.supervisor import free_port
from benchmarks.figures import Figure, at_least, at_most, below, in_turns, say

CALLS = 1_000
AT_ONCE = 500
ROWS = 100_000
_START_SECONDS = 120.0

# In a fresh process each: the seconds from before the import to the answer.
_OURS = """
import sys, time
start = time.perf_counter()
from autoloader_sdk import Client
Client(sys.argv[1]).ingestions.get(sys.argv[2])
print(time.perf_counter() - start)
"""
_BARE = """
import sys, time
start = time.perf_counter()
import httpx, pydantic
class Ingestion(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    id: str
    name: str
    status: str
with httpx.Client(base_url=sys.argv[1]) as client:
    answer = client.get(f"/api/v1/ingestions/{sys.argv[2]}")
    answer.raise_for_status()
    Ingestion.model_validate(answer.json())
print(time.perf_counter() - start)
"""


class _Ingestion(BaseModel, extra="allow"):
    id: str
    name: str
    status: str


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="autoloader-bench-") as folder:
        home = Path(folder) / "home"
        embedded, rows = _embedded(home, Path(folder))
        with _serving(home) as url:
            with Client(url) as client:
                wanted = client.ingestions.list()[0].id
            return [
                *_first(url, wanted),
                *_many(url, wanted),
                *_at_once(url, wanted),
                embedded,
                _rows(url, wanted, rows),
            ]


def _first(url: str, wanted: str) -> list[Figure]:
    def alone(script: str) -> float:
        command = [sys.executable, "-c", script, url, wanted]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    took = in_turns({"ours": partial(alone, _OURS), "bare": partial(alone, _BARE)}, rounds=11)
    return [at_most("first client and call", took["ours"], took["bare"], "httpx and pydantic", 1.25)]


def _many(url: str, wanted: str) -> list[Figure]:
    with Client(url) as client, httpx.Client(base_url=url) as bare:

        def ours() -> None:
            for _ in range(CALLS):
                client.ingestions.get(wanted)

        def peer() -> None:
            for _ in range(CALLS):
                bare.get(f"/api/v1/ingestions/{wanted}").raise_for_status().json()

        took = in_turns({"ours": ours, "bare": peer}, rounds=3)
        process = psutil.Process()
        before = process.memory_info().rss
        ours()
        grown = (process.memory_info().rss - before) / 2**20
    return [
        at_most(f"{CALLS:,} calls", took["ours"], took["bare"], "httpx, the same connection", 1.3),
        below(f"memory after {CALLS:,} more calls", max(grown, 0.0), 1, "MB"),
    ]


def _at_once(url: str, wanted: str) -> list[Figure]:
    async def ours() -> float:
        async with AsyncClient(url) as client:
            await client.health()
            start = time.perf_counter()
            await asyncio.gather(*(client.ingestions.get(wanted) for _ in range(AT_ONCE)))
            return time.perf_counter() - start

    async def peer() -> float:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            await client.get("/health")
            start = time.perf_counter()
            answers = await asyncio.gather(*(client.get(f"/api/v1/ingestions/{wanted}") for _ in range(AT_ONCE)))
            for answer in answers:
                answer.raise_for_status().json()
            return time.perf_counter() - start

    took = in_turns({"ours": lambda: asyncio.run(ours()), "bare": lambda: asyncio.run(peer())}, rounds=3)
    rates = {name: AT_ONCE / seconds for name, seconds in took.items()}
    return [at_least(f"{AT_ONCE} calls at once", rates["ours"], rates["bare"], "httpx", 0.8, "calls/s")]


def _embedded(home: Path, folder: Path) -> tuple[Figure, int]:
    """One call within a process against the service's own function; and how many rows its ledger has for `_rows`."""
    from autoloader_server.db.bulk import insert_many
    from autoloader_server.db.tables import processed_files
    from autoloader_server.services import ingestions

    source = folder / "files"
    source.mkdir()
    with Client.local(home) as client:
        made = client.ingestions.create(name="one", source=source, format="csv", destination="lake.bench.one")
        service: Any = client._link._embedded.service.service  # type: ignore[attr-defined]  # noqa: SLF001 - its own function
        of_tenant = service.of_tenant("default")

        def through() -> None:
            for _ in range(CALLS):
                client.ingestions.get(made.id)

        def function() -> None:
            for _ in range(CALLS):
                ingestions.get(of_tenant, made.id)

        took = in_turns({"embedded": through, "function": function}, rounds=3)
        moment = datetime.now(UTC)
        names = ("ingestion_id", "path", "identity", "status", "size", "first_seen_at", "reason")
        rows = [
            (
                made.id,
                f"{source}/2026/11/28/part-{number:06}.csv",
                "1-1",
                "SKIPPED",
                1,
                moment,
                "an example of a reason",
            )
            for number in range(ROWS)
        ]
        with service.database.write() as connection:
            insert_many(connection, processed_files, names, rows)
    more = (took["embedded"] - took["function"]) / CALLS * 1000
    return below("embedded call, over the service's function", more, 2, "ms"), ROWS


def _rows(url: str, wanted: str, rows: int) -> Figure:
    """In a fresh process: how much more memory it has had after all rows than after the first."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.client", url, wanted], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["rows"] == rows, told
    return below(f"memory for {rows:,} rows of the ledger, streamed", told["megabytes"], 100, "MB")


@contextmanager
def _serving(home: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-c", "from autoloader_sdk.cli import main; main()", "--home", str(home)]
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen([*command, "serve", "--port", str(port)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                httpx.get(f"{url}/health").raise_for_status()
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError((home / "serve.log").read_text(errors="replace")) from None
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def main(url: str, wanted: str) -> None:
    from benchmarks.place import peak_megabytes

    files = iter(Client(url).ingestions.get(wanted).files())
    next(files)
    before = peak_megabytes()
    rows = 1 + sum(1 for _ in files)
    say(f"  {before:.0f} MB, then {peak_megabytes():.0f} MB")
    print(json.dumps({"rows": rows, "megabytes": max(peak_megabytes() - before, 0.0)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
