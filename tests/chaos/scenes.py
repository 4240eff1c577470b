"""What a world needs so that the next worker gets to a kill point."""

from __future__ import annotations

from typing import Any

from tests.chaos.world import World

from autoloader_server.db.tables import runs
from autoloader_server.engine.killpoints import POINTS

BURNING = frozenset({"stage_failed", "burning", "burn_branch_created", "burn_staged", "burned", "burn_recorded"})
SETTLING = frozenset({"settle_waited", "taken_over", "settle_found"})
NEW_COLUMNS = frozenset({"columns_intended", "columns_added"})
DROPPING = frozenset({"drop_intended", "columns_dropped"})
WIDENING = frozenset({"column_widened"})
SETTING_ASIDE = frozenset({"quarantine_staged", "quarantine_published", "quarantine_burned"})
# What a world must be made with, so that these can be reached in it.
WORLDS: dict[str, dict[str, Any]] = {
    **{point: {"rule": "sync_all_columns"} for point in DROPPING},
    **{point: {"format_": "json", "narrow": True} for point in WIDENING},
    **{point: {"narrow": True, "sets_aside": True} for point in SETTING_ASIDE},
}
# Here the quality rule holds what is loaded: a test lets go of it by `World.release_held`.
HOLDING = frozenset({"held", "claimed_again"})
# Between the claim and the record, and in the burning: here a batch is unfinished.
UNFINISHED = frozenset(POINTS[POINTS.index("claimed") : POINTS.index("recorded")]) - HOLDING - {*WORLDS} | BURNING


def set_scene(world: World, point: str) -> int:
    """Add files, and bring about what makes a worker reach `point`; how many workers were killed for it.

    A world's first load is what reaches `table_made`; every other point is reached in old worlds too.
    """
    killed = 0
    if point in DROPPING:
        world.source.add_column()
    if point in BURNING | NEW_COLUMNS | DROPPING | WIDENING and not world.source.rows:
        world.source.add(2)
        world.finish()
    if point in NEW_COLUMNS:
        world.source.add_column()
    if point in DROPPING:
        world.source.drop_column()
    if point in WIDENING:
        world.source.widen()
    world.source.add(3)
    if point in BURNING:
        world.source.add_bad()
        world.source.add(2)
    if point in SETTING_ASIDE:
        world.source.add_mixed()
        world.source.add_mixed()
    if point == "quarantine_burned":
        # It is not staged again, since it may have set records aside.
        world.kill_at("quarantine_staged")
        killed += 1
    if point in HOLDING:
        world.hold()
    if point == "claimed_again":
        world.finish()
        world.release_held()
    elif point == "settle_waited":
        world.stop_at("stage_recorded")
        # As in the moment when a worker's run has expired, and its batch, which it claimed later, has not.
        world.end_leases(runs)
    elif point in SETTLING:
        world.kill_at("staged")
        killed += 1
    return killed
