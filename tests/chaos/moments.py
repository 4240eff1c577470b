"""Kill a worker, or its Spark server, at a moment that the world's own random numbers choose."""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil
from tests.chaos.waiting import until
from tests.chaos.world import START_SECONDS, World

from autoloader_server.spark.state import SparkFolder

# From before the run is asked for until after its end.
_RUN_SECONDS = (0.1, 4.0)


def kill_at_a_moment(world: World, victim: str) -> bool:
    """Start a worker, and kill `victim` (worker, spark) at some moment. False where it was done before."""
    worker = world.start()
    folder = SparkFolder(world.home)
    if victim == "spark":
        # A server that is not there yet is waited for.
        until(lambda: (server := folder.server()) is not None and server.answers(), "Spark", START_SECONDS)
    worker.process.join(world.source.random.uniform(*_RUN_SECONDS))
    if worker.ended:
        return False
    if victim == "worker":
        worker.end()
        return worker.process.exitcode == -signal.SIGKILL
    server = folder.server()
    if server is None:
        raise AssertionError(f"there is no Spark server to kill:\n{worker.said()}")
    with suppress(psutil.NoSuchProcess):
        psutil.Process(server.jvm.pid).kill()
    worker.wait()
    world.bring_spark_back()
    return True
