"""From files in a bucket to a table, on a schedule, with proof that none is missing.

    from autoloader_sdk import Client

    client = Client.local()
    flights = client.ingestions.create(
        name="flights", source="data/flights/", format="csv", destination="lake.bronze.flights"
    )
    print(flights.run().wait())

Importing this costs next to nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoloader_sdk import errors, models
    from autoloader_sdk.batches import Batch
    from autoloader_sdk.client import AsyncClient, Client
    from autoloader_sdk.clusters import Cluster
    from autoloader_sdk.errors import (
        ApiError,
        ApplyFailed,
        AutoloaderError,
        BadRequest,
        ClientClosed,
        Conflict,
        ConnectionFailed,
        Forbidden,
        Invalid,
        MissingExtra,
        NotFound,
        NotSupported,
        RunFailed,
        ServerError,
        Timeout,
        TooMany,
        Unauthorized,
        WaitTimeout,
    )
    from autoloader_sdk.events import RunEvent
    from autoloader_sdk.files import File, Files, Verdict
    from autoloader_sdk.ingestions import Ingestion
    from autoloader_sdk.runs import Run

    __version__: str

__all__ = [
    "ApiError",
    "ApplyFailed",
    "AsyncClient",
    "AutoloaderError",
    "BadRequest",
    "Batch",
    "Client",
    "ClientClosed",
    "Cluster",
    "Conflict",
    "ConnectionFailed",
    "File",
    "Files",
    "Forbidden",
    "Ingestion",
    "Invalid",
    "MissingExtra",
    "NotFound",
    "NotSupported",
    "Run",
    "RunEvent",
    "RunFailed",
    "ServerError",
    "Timeout",
    "TooMany",
    "Unauthorized",
    "Verdict",
    "WaitTimeout",
    "__version__",
    "errors",
    "models",
]

_MODULE_OF = {
    "AsyncClient": "client",
    "Batch": "batches",
    "Client": "client",
    "Cluster": "clusters",
    "File": "files",
    "Files": "files",
    "Ingestion": "ingestions",
    "Run": "runs",
    "RunEvent": "events",
    "Verdict": "files",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'autoloader_sdk' has no attribute '{name}'")
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("autoloader-sdk")
    elif name in {"errors", "models"}:
        return importlib.import_module(f"autoloader_sdk.{name}")
    else:
        value = getattr(importlib.import_module(f"autoloader_sdk.{_MODULE_OF.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
