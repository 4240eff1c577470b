"""`python -m benchmarks [NAME …]`: the figures as a table and as JSON lines on stdout, progress on stderr.

A figure that falls short is said (`"ok": false`), and is no failure of the command. A benchmark that cannot be carried
out is one: the figures before it are told all the same.
"""

from __future__ import annotations

import importlib
import sys

from benchmarks.figures import Figure, say, show

# In this order: the quick ones first.
NAMES = (
    "imports",
    "client",
    "discovery",
    "nothing_new",
    "ingest",
    "s3",
    "large",
    "bad_files",
    "killed",
    "flow",
    "demo",
)


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        say(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
        return 2
    figures: list[Figure] = []
    try:
        for name in wanted or NAMES:
            say(f"{name}:")
            figures += importlib.import_module(f"benchmarks.{name}").measure()
    finally:
        if figures:
            show(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
