"""Files to load: JSON lines of orders, the same for the same seed."""

from __future__ import annotations

import json
import random
from pathlib import Path

_CITIES = ("Berlin", "Ankara", "Zürich", "New York", "São Paulo")


def write_json(folder: Path, files: int, size: int, *, per_folder: int = 10_000, seed: int = 7) -> list[str]:
    """So many files of about so many bytes; their paths, sorted."""
    rng = random.Random(seed)  # noqa: S311 - data, no secret
    lines = [_line(rng) for _ in range(2_000)]
    paths = []
    for number in range(files):
        place = folder / f"{number // per_folder:03}" if files > per_folder else folder
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"part-{number:06}.json"
        start = rng.randrange(len(lines))
        text: list[str] = []
        left = size
        while left > 0:
            line = lines[(start + len(text)) % len(lines)]
            text.append(line)
            left -= len(line)
        path.write_text("".join(text))
        paths.append(str(path))
    return sorted(paths)


def _line(rng: random.Random) -> str:
    return (
        json.dumps(
            {
                "id": rng.randrange(10**9),
                "customer": f"customer-{rng.randrange(10**6):06}",
                "amount": round(rng.random() * 1000, 2),
                "paid": rng.random() < 0.5,
                "city": rng.choice(_CITIES),
                "at": f"2026-01-01T00:00:{rng.randrange(60):02}.000Z",
                "tags": ["a", "b"],
                "place": {"lat": rng.random(), "lon": rng.random()},
            }
        )
        + "\n"
    )
