"""The flow in a process of its own: `python -m tests.parts.flow_worker INGESTION_ID`, settings by the environment.

Its last line on stdout is the state that the flow run ended in, as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from autoloader_flows.ingestion import run_ingestion_flow


def main(ingestion_id: str) -> None:
    # By its signature it could be awaited; the flow is no coroutine.
    state: Any = run_ingestion_flow(ingestion_id=ingestion_id, return_state=True)
    sys.stdout.write(f"{json.dumps({'type': state.type.value, 'name': state.name, 'message': state.message})}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
