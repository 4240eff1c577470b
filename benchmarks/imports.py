"""What `import autoloader_sdk` costs, in fresh processes, against `import httpx`."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.figures import Figure, at_most, in_turns

_TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def measure() -> list[Figure]:
    took = in_turns({name: partial(_seconds, name) for name in ("autoloader_sdk", "httpx")}, rounds=11)
    return [at_most("import autoloader_sdk", took["autoloader_sdk"], took["httpx"], "import httpx", 0.2)]


def _seconds(module: str) -> float:
    done = subprocess.run([sys.executable, "-c", _TIMED.format(module)], capture_output=True, text=True, check=True)
    return float(done.stdout)
