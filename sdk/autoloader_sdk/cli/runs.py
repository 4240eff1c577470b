"""Commands around runs: run, runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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

app = group()

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
            _show_log(client, its, log, as_json=as_json)
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


def _show_log(client: Client, ingestion: Ingestion, wanted: str, *, as_json: bool) -> None:
    if wanted == "last":
        newest = ingestion.runs(days=36_500, limit=1)
        if not newest:
            raise NotFound(f"'{ingestion.name}' was not run yet")
        run = newest[0]
    else:
        # The beginning of an id will do.
        begun = [each for each in ingestion.runs(days=36_500, limit=1000) if wanted and each.id.startswith(wanted)]
        run = begun[0] if len(begun) == 1 else client.runs.get(ingestion.id, wanted)
    for line in run.logs(follow=True):
        if as_json:
            print_json(line)
        else:
            say(str(line))
