"""How long the demo takes once everything is set up, Spark's start included."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure, below, say

_DEMO = Path(__file__).parents[1] / "examples" / "demo.py"


def measure() -> list[Figure]:
    start = time.perf_counter()
    subprocess.run([sys.executable, str(_DEMO)], stdout=subprocess.DEVNULL, check=True)
    took = time.perf_counter() - start
    say(f"  demo {took:.1f} s")
    return [below("make demo, once set up", took, 90, "s")]
