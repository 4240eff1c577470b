"""`python -m tests.chaos --kills 50 --seed 7`: kill loads at all steps and at random moments.

The last line on stdout is the result, such as `kills 50, lost 0, doubled 0, partial reads 0`.
Progress is on stderr.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from random import Random

import click
from tests.chaos.moments import kill_at_a_moment
from tests.chaos.scenes import HOLDING, UNFINISHED, WORLDS, set_scene
from tests.chaos.world import Verdict, World, open_lake
from tests.homes import spark_home
from tests.parts import postgres, spark35
from tests.parts.object_stores import running_seaweed

from autoloader_server.engine.killpoints import POINTS

# So many rounds of kills, and of a run that finishes, in one world; then a new table is begun.
_ROUNDS = 4


def _scenario(random: Random, *, new: bool, spark: bool) -> tuple[str, str]:
    """What is killed (worker, `spark`; or is only stopped), and at which point ("" for a random moment)."""
    victim = random.choices(["worker", "stop", "spark"], [7, 2, int(spark)])[0]
    if random.random() < 0.25 and victim != "stop":
        return victim, ""
    points = sorted(UNFINISHED) if victim == "spark" else [point for point in POINTS if point not in WORLDS]
    while (point := random.choice(points)) == "table_made" and not new:
        pass
    return victim, point


def _round(world: World, victim: str, point: str) -> int:
    """Kill once, or as often as the point takes, and let a run finish; how often it was killed."""
    sleeper = None
    if world.replaces and len(world.source.rows) > 1:
        world.source.change(2)
    if not point:
        world.source.add(6)
        kills = int(kill_at_a_moment(world, victim))
    else:
        kills = set_scene(world, point) + 1
        if victim == "spark":
            world.kill_spark_at(point)
        elif victim == "stop":
            sleeper = world.stop_at(point)
            world.end_leases()
        else:
            world.kill_at(point)
    if point in HOLDING:
        world.release_held()
    world.finish()
    if sleeper is not None:
        sleeper.wake()
        sleeper.wait()
    return kills


@click.command()
@click.option("--kills", default=20, show_default=True, type=click.IntRange(min=1), help="How many, at least.")
@click.option("--seed", default=1, show_default=True, help="Another seed is another order of moments.")
@click.option("--database", default="sqlite", show_default=True, type=click.Choice(["sqlite", "postgresql"]))
@click.option("--source", default="local", show_default=True, type=click.Choice(["local", "s3"]))
@click.option("--spark", default="local", show_default=True, type=click.Choice(["local", "3.5"]))
def main(kills: int, seed: int, database: str, source: str, spark: str) -> None:
    """Kill loads, and count the rows. Exit code 1 where anything is wrong with them or with the ledger."""
    random = Random(seed)
    total, done, reads = Verdict(), 0, 0
    with ExitStack() as parts:
        folder = parts.enter_context(tempfile.TemporaryDirectory(prefix="autoloader-chaos-"))
        server = parts.enter_context(postgres.running()) if database == "postgresql" else None
        store = parts.enter_context(running_seaweed(Path(folder, "seaweed"))) if source == "s3" else None
        home = parts.enter_context(spark_home(Path(folder, "home")))
        remote = None
        if spark != "local":
            remote = parts.enter_context(spark35.running(home)).url
            # Workers know of it so.
            os.environ["AUTOLOADER_SPARK_REMOTE"] = remote
        lake = open_lake(home, remote)
        try:
            number = 0
            while done < kills:
                number += 1
                name = f"world_{number}"
                format_ = random.choice(["json", "csv"])
                url = server.make_database() if server is not None else None
                world = World(
                    *(lake, home, Path(folder, name), name),
                    format_=format_,
                    seed=number,
                    remote=remote,
                    database_url=url,
                    on_changed=random.choice(["hold", "replace"]),
                    bucket=store.bucket() if store is not None else None,
                )
                try:
                    with world.reader() as reader:
                        for turn in range(_ROUNDS):
                            if done >= kills:
                                break
                            victim, point = _scenario(random, new=turn == 0, spark=remote is None)
                            click.echo(f"{done + 1:4} {victim} at {point or 'a random moment'}", err=True)
                            done += _round(world, victim, point)
                finally:
                    world.end()
                reads += reader.reads
                verdict = world.verify()
                for fault in verdict.faults:
                    click.echo(f"     {world.table_name}: {fault}", err=True)
                total = total + verdict
        finally:
            lake.close()
    click.echo(f"{number} tables, {reads} reads while they were loaded, {len(total.faults)} faults", err=True)
    click.echo(f"kills {done}, lost {total.lost}, doubled {total.doubled}, partial reads {total.partial_reads}")
    sys.exit(0 if total.good and reads else 1)


if __name__ == "__main__":
    main()
