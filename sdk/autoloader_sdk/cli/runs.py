"""Commands around runs: run, retry, cancel, refresh, runs."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autoloader_sdk.cli.group import Context, Name, group
from autoloader_sdk.cli.output import Json, print_json, print_table, say
from autoloader_sdk.errors import NotFound

if TYPE_CHECKING:
    from autoloader_sdk.client import Client
    from autoloader_sdk.ingestions import Ingestion
    from autoloader_sdk.runs import Run

# What `run` ends with, beside 0, and 2 for a wrong call.
FAILED = 1
PARTIAL = 3
_WHOLE_ID = 36

app = group()

Which = Annotated[str, typer.Argument(metavar="[RUN]", help="A run's id, or its beginning; the last one unless said.")]
Force = Annotated[bool, typer.Option("--force", help="Also when the ingestion is paused.")]


@app.command("run")
def run_one(
    ctx: typer.Context,
    ingestion: Name,
    *,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Only ask for the run (of a service at --url).")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait.  [default: 3600]")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run one, by its name or id, and wait for the end.

    Exit codes: 0 it loaded all that it had to, 1 it failed, 3 some files failed; 2 the command was wrong. A malformed
    file is not tried again until it changes: later runs end with 0, and warn of it.
    """
    context = Context.of(ctx)
    if no_wait and context.local:
        raise typer.BadParameter("it needs a service that outlives this command: give --url", param_hint="--no-wait")
    with context.client() as client:
        run = client.ingestions.get(ingestion).run(force=force)
        if not no_wait:
            end_with(run, timeout, as_json=as_json)
        elif as_json:
            print_json(run.data)
        else:
            typer.echo(run.id)


@app.command()
def retry(ctx: typer.Context, ingestion: Name, run: Which = "last", *, as_json: Json = False) -> None:
    """Run once more over the files that failed in a run, and what is new; wait for the end. Exit codes as of `run`."""
    with Context.of(ctx).client() as client:
        end_with(_one(client, client.ingestions.get(ingestion), run).retry(), as_json=as_json)


@app.command()
def cancel(ctx: typer.Context, ingestion: Name, run: Which = "last", *, as_json: Json = False) -> None:
    """Have a run end at its next safe point: what it has not published is not in the table, and is loaded later."""
    with Context.of(ctx).client() as client:
        its = client.ingestions.get(ingestion)
        going = next((each for each in its.runs(limit=2) if each.status == "running"), None) if run == "last" else None
        asked = (going or _one(client, its, run)).cancel()
    if as_json:
        print_json(asked.data)
    else:
        say(f"run {asked.id} is {asked.status}" + ("" if asked.done else ", and ends at its next safe point"))


@app.command()
def refresh(
    ctx: typer.Context,
    ingestion: Name,
    mode: Annotated[
        Literal["full", "new-only"],
        typer.Argument(help="Load all that is at the source (full), or only what was not loaded before."),
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm the action without prompting.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also when it is paused, or another one loads into its table.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Drop an ingestion's table and load into a new one; wait for the end. Exit codes as of `run`."""
    with Context.of(ctx).client() as client:
        its = client.ingestions.get(ingestion)
        ask = its.refresh_full if mode == "full" else its.refresh_new_only
        if dry_run or not yes:
            plan = ask(dry_run=True, force=force)
            if dry_run and as_json:
                print_json(plan.data)
            else:
                say(str(plan), err=not dry_run)
        if dry_run:
            return
        if not yes:
            typer.confirm("Do it?", abort=True, err=True)
        done = ask(force=force)
        if done.run is None:
            if as_json:
                print_json(done.data)
            else:
                say(str(done))
            raise typer.Exit(FAILED)
        end_with(done.run, as_json=as_json)


def end_with(run: Run, timeout: float | None = None, *, as_json: bool) -> None:
    """Wait for a run, show it, and let the command end as it did."""
    from autoloader_sdk.cli.progress import shown

    with shown() as show:
        run.wait(timeout, check=False, progress=False, on_update=show)
    if as_json:
        print_json(run.data)
    else:
        say(str(run))
    if not run.ok:
        from autoloader_sdk.models import RunStatus

        raise typer.Exit(PARTIAL if run.status == RunStatus.PARTIAL else FAILED)


@app.command()
def runs(
    ctx: typer.Context,
    ingestion: Name,
    *,
    days: Annotated[int, typer.Option(min=1, help="Of the last so many days.")] = 30,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    log: Annotated[
        str | None, typer.Option(metavar="RUN", help="Instead the log of this one, or of the `last`, as it is written.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List an ingestion's runs, newest first."""
    with Context.of(ctx).client() as client:
        its = client.ingestions.get(ingestion)
        if log is not None:
            _show_log(_one(client, its, log), as_json=as_json)
            return
        found = [each.data for each in its.runs(days=days, limit=limit)]
    if as_json:
        print_json(*found)
        return
    print_table(
        ("id", "status", "trigger", "started (UTC)", "files", "rows", "failed", "message"),
        (
            (
                each.id,
                each.status,
                each.trigger or "",
                each.started_at.strftime("%Y-%m-%d %H:%M:%S") if each.started_at else "",
                str(each.metrics.files_processed or 0),
                str(each.metrics.records_ingested or 0),
                str(each.metrics.error_count or 0),
                each.message or "",
            )
            for each in found
        ),
    )


def _one(client: Client, ingestion: Ingestion, wanted: str) -> Run:
    """The run that is meant by `last`, or by the beginning of its id."""
    if wanted == "last":
        newest = ingestion.runs(days=36_500, limit=1)
        if not newest:
            raise NotFound(f"'{ingestion.name}' was not run yet")
        return newest[0]
    if 0 < len(wanted) < _WHOLE_ID:
        begun = list(islice((each for each in ingestion.runs if each.id.startswith(wanted)), 2))
        if len(begun) == 1:
            return begun[0]
    return client.runs.get(ingestion.id, wanted)


def _show_log(run: Run, *, as_json: bool) -> None:
    for line in run.logs(follow=True):
        if as_json:
            print_json(line)
        else:
            say(str(line))
