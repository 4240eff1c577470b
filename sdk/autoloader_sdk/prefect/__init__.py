"""A thin client of a Prefect server: deployments and their schedules, flow runs and their logs, work pools.

    from autoloader_sdk.prefect import Prefect

    prefect = Prefect("http://127.0.0.1:4200/api")          # or PREFECT_API_URL
    run = prefect.deployments.get_by_name("etl/nightly").run(parameters={"day": "2026-11-28"})
    for line in run.follow_logs():
        print(line)
    run.wait()

It speaks to a self-hosted server, any 3.x, over its REST API, and needs nothing of Prefect installed.
"""

from autoloader_sdk.prefect.client import AsyncPrefect, Prefect
from autoloader_sdk.prefect.deployments import Deployment, Deployments
from autoloader_sdk.prefect.flow_runs import FlowRun, FlowRuns
from autoloader_sdk.prefect.models import LogLine, StateData
from autoloader_sdk.prefect.schedules import Schedule, Schedules
from autoloader_sdk.prefect.work_pools import WorkPool, WorkPools, WorkQueue, WorkQueues

__all__ = [
    "AsyncPrefect",
    "Deployment",
    "Deployments",
    "FlowRun",
    "FlowRuns",
    "LogLine",
    "Prefect",
    "Schedule",
    "Schedules",
    "StateData",
    "WorkPool",
    "WorkPools",
    "WorkQueue",
    "WorkQueues",
]
