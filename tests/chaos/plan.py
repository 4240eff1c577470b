"""Which worlds `python -m tests.chaos` makes, and what dies in them.

A worker is killed at each point once, in an order of chance, before it is killed at any a second time. Every fourth
round of a world belongs to something else: a random moment, Spark, a worker that only sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from tests.chaos.scenes import BURNING, DROPPING, SETTING_ASIDE, SETTLING, WIDENING, WORLDS

from autoloader_server.engine.killpoints import POINTS

Victim = Literal["worker", "spark", "stop"]
# So many rounds of something that dies, and of a run that finishes, in one world; then a new table is begun.
ROUNDS = 4
# What brings these about kills a worker (scenes.py).
KILLED_BEFORE = SETTLING - {"settle_waited"} | {"quarantine_burned"}
# Here a load has asked Spark for nothing yet: one that is dead is started anew, as any that is not there.
BEFORE_SPARK = frozenset({"run_started", "settled", "discovered", "settle_waited", "taken_over"})


@dataclass(frozen=True, slots=True)
class Round:
    """What is killed, or only stopped, and at which point ("" for a random moment)."""

    victim: Victim
    point: str

    @property
    def kills(self) -> int:
        """How many processes are killed for it; none where a random moment comes too late."""
        return int(self.victim != "stop") + int(self.point in KILLED_BEFORE)


class Plan:
    """The rounds until `left`, the number of kills that are still to come, is 0; whoever plays them counts it down."""

    def __init__(self, kills: int, random: Random) -> None:
        self.left = kills
        self._random = random
        self._own: frozenset[str] = frozenset()
        self._turn = 0
        self._steps = self._shuffled()
        self._again = False

    def world(self) -> dict[str, Any]:
        """A new world begins: what it is made with, so that the next step can be reached in it."""
        step = self._ahead()[0]
        self._turn = 0
        self._own = next((own for own in (DROPPING, WIDENING, SETTING_ASIDE) if step in own), frozenset())
        made = {
            "seed": self._random.getrandbits(32),
            "format_": self._random.choice(["json", "csv"]),
            # What an old version of a file set aside is no matter of these tests.
            "on_changed": "hold" if step in SETTING_ASIDE else self._random.choice(["hold", "replace"]),
        }
        return made | WORLDS.get(step, {})

    def next(self) -> Round | None:
        """The next round in this world, or None where another one is to be made."""
        self._turn += 1
        if not self.left or self._turn > ROUNDS:
            return None
        if self._turn == ROUNDS:
            return self._other()
        steps = [step for step in self._ahead() if self._reaches(step)]
        for step in steps:
            if Round("worker", step).kills <= self.left:
                self._steps.remove(step)
                return Round(self._victim(step), step)
        # One kill is left, and all of these take two.
        return Round("worker", "") if steps else None

    def _ahead(self) -> list[str]:
        if not self._steps:
            self._steps = self._shuffled()
            self._again = True
        return self._steps

    def _shuffled(self) -> list[str]:
        return self._random.sample(POINTS, len(POINTS))

    def _reaches(self, point: str) -> bool:
        """Whether this world gets to the point in this round."""
        new = self._turn == 1
        if point in WORLDS:
            # A column is widened once in a world, and dropped once.
            return point in self._own and (new or point in SETTING_ASIDE)
        if self._own == SETTING_ASIDE and point in BURNING:
            # What would make a batch fail is set aside there.
            return False
        return new or point != "table_made"

    def _victim(self, step: str) -> Victim:
        """A worker the first time; after that it may be something else."""
        if not self._again:
            return "worker"
        return self._choose(7, spark=2 if step not in BEFORE_SPARK else 0)

    def _other(self) -> Round:
        victim = self._choose(4, spark=4)
        if victim == "worker" or (victim == "spark" and self._random.random() < 0.25):
            return Round(victim, "")
        points = [point for point in POINTS if self._reaches(point) and point not in KILLED_BEFORE]
        if victim == "spark":
            points = [point for point in points if point not in BEFORE_SPARK]
        return Round(victim, self._random.choice(points))

    def _choose(self, worker: int, spark: int) -> Victim:
        """By these weights; 2 is that of a worker that is stopped."""
        victims: tuple[Victim, ...] = ("worker", "stop", "spark")
        return self._random.choices(victims, [worker, 2, spark])[0]
