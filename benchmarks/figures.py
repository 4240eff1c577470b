"""What a benchmark gives: figures, and how they are printed."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure beside its peer, and what it is to reach."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    reach: str
    ok: bool

    @property
    def ratio(self) -> float:
        """Ours over the peer's."""
        return self.ours / self.peer


def at_most(name: str, ours: float, peer: float, peer_name: str, limit: float, unit: str = "s") -> Figure:
    return Figure(name, ours, peer, peer_name, unit, f"<= {limit:g} x", ours / peer <= limit)


def times_quicker(name: str, ours: float, peer: float, peer_name: str, limit: float, unit: str = "s") -> Figure:
    return Figure(name, ours, peer, peer_name, unit, f">= {limit:g} x quicker", peer / ours >= limit)


def at_least(name: str, ours: float, peer: float, peer_name: str, limit: float, unit: str) -> Figure:
    return Figure(name, ours, peer, peer_name, unit, f">= {limit:g} x", ours / peer >= limit)


def below(name: str, ours: float, limit: float, unit: str) -> Figure:
    return Figure(name, ours, limit, "the limit", unit, f"<= {limit:g} {unit}", ours <= limit)


def in_turns(parts: Mapping[str, Callable[[], float | None]], rounds: int, warmups: int = 1) -> dict[str, float]:
    """Medians of seconds of each part, run in turns so that a slow moment of the machine hits all of them.

    A part may return its own seconds, where it does more than what counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(warmups + rounds):
        for name, part in parts.items():
            start = time.perf_counter()
            own = part()
            took = time.perf_counter() - start if own is None else own
            kind = "warm-up" if turn < warmups else f"round {turn - warmups + 1}/{rounds}"
            say(f"  {kind:<10} {name:<28} {took:8.3f} s")
            if turn >= warmups:
                seconds[name].append(took)
    return {name: statistics.median(values) for name, values in seconds.items()}


def say(text: str) -> None:
    """Progress, on stderr: stdout holds the figures alone."""
    print(text, file=sys.stderr, flush=True)


def show(figures: Iterable[Figure]) -> None:
    """The figures as a table, then one JSON line each."""
    rows = list(figures)
    header = ("figure", "ours", "peer", "ratio", "reach", "")
    table = [header] + [
        (
            figure.name,
            f"{figure.ours:.3g} {figure.unit}",
            f"{figure.peer:.3g} {figure.unit} ({figure.peer_name})",
            f"1/{1 / figure.ratio:.0f}" if 0 < figure.ratio < 0.1 else f"{figure.ratio:.2f}",
            figure.reach,
            "ok" if figure.ok else "FALLS SHORT",
        )
        for figure in rows
    ]
    widths = [max(len(row[at]) for row in table) for at in range(len(header))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for figure in rows:
        print(json.dumps({**asdict(figure), "ratio": round(figure.ratio, 4)}))
