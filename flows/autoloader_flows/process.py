"""What one process keeps from flow run to flow run: the service, its Spark session, and the runs that it is at."""

from __future__ import annotations

import atexit

from autoloader_server.service import Service
from autoloader_server.services.stepped_run import SteppedRun
from autoloader_server.settings import Settings

runs: dict[str, SteppedRun] = {}
"""By run id: a run stays here from its first attempt to its end, also between two attempts."""

_open: list[Service] = []


def service() -> Service:
    """The service of this process, as the settings are now: opened once, so that only the first flow run pays for it.

    It takes up no queued runs. Raises ValueError where a setting is wrong or the database does not open.
    """
    settings = Settings.load()
    if _open and (_open[0].settings != settings or _open[0].closing.is_set()):
        close()
    if not _open:
        _open.append(Service.open(settings, takes_up_runs=False))
    return _open[0]


@atexit.register
def close() -> None:
    """Let go of Spark and the database. A run that is still going is finished by the next one."""
    while _open:
        _open.pop().close()
