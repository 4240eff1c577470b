"""`python -m tests.chaos --kills 50 --seed 7`: kill loads at all steps and at random moments.

The last line on stdout is the result, such as `kills 50, lost 0, doubled 0, partial reads 0`. A kill is a SIGKILL, to a
worker or to Spark; workers that are only stopped for a while come on top. Progress is on stderr.
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
from tests.chaos.plan import Plan, Round
from tests.chaos.scenes import HOLDING, set_scene
from tests.chaos.world import Verdict, World, open_lake
from tests.parts import postgres, sparks
from tests.parts.object_stores import running_seaweed

from autoloader_server.engine.killpoints import POINTS


def play(world: World, a_round: Round, *, mixed: bool = False) -> int:
    """Kill at this point, or let a worker sleep there, and let a run finish; how many SIGKILLs it took.

    `mixed`: among the new files is one with bad records, for a world that sets them aside.
    """
    if world.replaces and len(world.source.rows) > 1:
        world.source.change(2)
    if mixed:
        world.source.add_mixed()
    point = a_round.point
    if not point:
        world.source.add(6)
        kills = int(kill_at_a_moment(world, a_round.victim))
    else:
        kills = set_scene(world, point)
        if a_round.victim == "stop":
            world.stop_at(point)
        elif a_round.victim == "spark":
            world.kill_spark_at(point)
        else:
            world.kill_at(point)
        kills += a_round.victim != "stop"
        assert kills == a_round.kills, f"{kills} kills for {a_round}"
    if point in HOLDING:
        world.release_held()
    sleepers = [worker for worker in world._workers if not worker.ended]
    if sleepers:
        world.end_leases()
    world.finish()
    for sleeper in sleepers:
        sleeper.wake()
        sleeper.wait()
    return kills


@click.command()
@click.option(
    "--kills", default=20, show_default=True, type=click.IntRange(min=1), help="How many SIGKILLs; 50 reach every step."
)
@click.option("--seed", default=1, show_default=True, help="Another seed is another order of moments.")
@click.option("--database", default="sqlite", show_default=True, type=click.Choice(["sqlite", "postgresql"]))
@click.option("--source", default="local", show_default=True, type=click.Choice(["local", "s3"]))
@click.option("--spark", default="local", show_default=True, type=click.Choice(["local", "3.5"]))
def main(kills: int, seed: int, database: str, source: str, spark: str) -> None:
    """Kill loads, and count the rows. Exit code 1 where anything is wrong with them or with the ledger."""
    plan = Plan(kills, Random(seed))
    total, number, reads = Verdict(), 0, 0
    steps: set[str] = set()
    with ExitStack() as parts:
        folder = parts.enter_context(tempfile.TemporaryDirectory(prefix="autoloader-chaos-"))
        server = parts.enter_context(postgres.running()) if database == "postgresql" or spark == "3.5" else None
        store = parts.enter_context(running_seaweed(Path(folder, "seaweed"))) if source == "s3" else None

        def make_database() -> str:
            assert server is not None
            return server.make_database()

        running = parts.enter_context(sparks.servers(lambda: Path(folder, "home"), make_database))
        on = running(sparks.LOCAL if spark == "local" else sparks.OLD)
        if on.url is not None:
            # Workers know of it so.
            os.environ["AUTOLOADER_SPARK_REMOTE"] = on.url
        bucket = store.bucket() if store is not None else None
        lake = open_lake(on)
        try:
            while plan.left:
                number += 1
                name = f"world_{number}"
                made = plan.world()
                world = World(
                    *(lake, on, Path(folder, name), name),
                    database_url=make_database() if database == "postgresql" else None,
                    bucket=bucket,
                    **made,
                )
                verdict = Verdict()
                try:
                    with world.reader() as reader:
                        while verdict.good and (a_round := plan.next()) is not None:
                            what = f"{a_round.victim} at {a_round.point or 'a random moment'}"
                            click.echo(f"{kills - plan.left + 1:4} {what}", err=True)
                            plan.left -= play(world, a_round, mixed="sets_aside" in made)
                            if a_round.victim == "worker":
                                steps.add(a_round.point)
                            verdict = world.verify()
                finally:
                    world.end()
                reads += reader.reads
                verdict += Verdict(partial_reads=len(world.partial), faults=world.partial)
                for fault in verdict.faults:
                    click.echo(f"     {world.table_name}: {fault}", err=True)
                total += verdict
        finally:
            lake.close()
    click.echo(
        f"{number} tables, {reads} reads while they were loaded, a worker killed at {len(steps & {*POINTS})} of "
        f"{len(POINTS)} steps, {len(total.faults)} faults",
        err=True,
    )
    done = kills - plan.left
    click.echo(f"kills {done}, lost {total.lost}, doubled {total.doubled}, partial reads {total.partial_reads}")
    sys.exit(0 if total.good and reads else 1)


if __name__ == "__main__":
    main()
