"""What `make chaos` promises of its kills: as many as were asked for, at every step, each where it can be reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from tests.chaos.plan import BEFORE_SPARK, KILLED_BEFORE, ROUNDS, Plan, Round
from tests.chaos.scenes import BURNING, DROPPING, UNFINISHED, WIDENING, WORLDS

from autoloader_server.engine.killpoints import POINTS

# The number of the documentation and of `--help`.
ENOUGH = 50


def worlds(kills: int, seed: int, *, late: float = 0) -> Iterator[tuple[dict[str, Any], list[Round]]]:
    """All worlds of a plan, each with its rounds; so many of the random moments come too late."""
    plan, chance = Plan(kills, Random(seed)), Random(seed)
    left = kills
    while plan.left:
        made = plan.world()
        rounds: list[Round] = []
        while (one := plan.next()) is not None:
            rounds.append(one)
            plan.left -= 0 if not one.point and chance.random() < late else one.kills
            assert 0 <= plan.left <= left
            left = plan.left
        assert 1 <= len(rounds) <= ROUNDS
        yield made, rounds


@pytest.mark.parametrize("late", [0, 0.5])
@pytest.mark.parametrize("kills", [1, 2, 3, 20, ENOUGH, 101])
def test_there_are_as_many_kills_as_were_asked_for(kills: int, late: float) -> None:
    for seed in range(100):
        # The loop in `worlds` ends at 0, and never goes below.
        rounds = [one for _, rounds in worlds(kills, seed, late=late) for one in rounds]
        assert sum(one.kills for one in rounds if one.point) <= kills
        if not late:
            assert sum(one.kills for one in rounds) == kills


def test_fifty_kills_reach_every_step() -> None:
    for seed in range(200):
        rounds = [one for _, rounds in worlds(ENOUGH, seed) for one in rounds]
        assert {one.point for one in rounds if one.victim == "worker"} - {""} == set(POINTS), seed


def test_each_point_is_reached_in_a_world_that_gets_there() -> None:
    for seed in range(100):
        for made, rounds in worlds(200, seed):
            for turn, one in enumerate(rounds):
                for name, value in WORLDS.get(one.point, {}).items():
                    assert made[name] == value
                if one.point in DROPPING | WIDENING | {"table_made"}:
                    assert turn == 0
                if "sets_aside" in made:
                    assert one.point not in BURNING
                    assert made["on_changed"] == "hold"


def test_spark_dies_at_each_step_from_the_one_on_where_a_load_asks_it() -> None:
    rounds = [one for seed in range(100) for _, rounds in worlds(200, seed) for one in rounds]
    assert {one.point for one in rounds if one.victim == "spark"} - {""} == set(POINTS) - BEFORE_SPARK
    assert not BEFORE_SPARK & UNFINISHED
    assert {one.point for one in rounds if one.victim == "stop"} == set(POINTS)


def test_moments_of_chance_and_all_worlds_come_up() -> None:
    rounds = Counter(
        one.victim for seed in range(20) for _, rounds in worlds(ENOUGH, seed) for one in rounds if not one.point
    )
    assert rounds["worker"]
    assert rounds["spark"]
    assert not rounds["stop"]


def test_a_seed_says_it_all_and_another_one_says_something_else() -> None:
    assert list(worlds(20, 7)) == list(worlds(20, 7))
    assert list(worlds(20, 7)) != list(worlds(20, 8))


def test_kills_that_bring_a_point_about_are_counted() -> None:
    assert sorted(KILLED_BEFORE) == ["quarantine_burned", "settle_found", "taken_over"]
    assert [Round("worker", point).kills for point in ("staged", "taken_over", "")] == [1, 2, 1]
    assert [Round("stop", point).kills for point in ("staged", "taken_over")] == [0, 1]
