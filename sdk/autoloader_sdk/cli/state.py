"""Commands that tell how things stand: status, doctor, config."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoloader_sdk.cli.group import Context, group, ingestion_names
from autoloader_sdk.cli.output import Json, print_json, print_table
from autoloader_sdk.errors import AutoloaderError

if TYPE_CHECKING:
    from autoloader_sdk.doctor import Check
    from autoloader_sdk.ingestions import Ingestion
    from autoloader_sdk.models import RunData

app = group()


@app.command()
def status(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Show how the service is, what runs now, and what failed within the last day."""
    from autoloader_sdk.config import without_user
    from autoloader_sdk.models import UNENDED, RunStatus

    with Context.of(ctx).client() as client:
        info, health = client.info(), client.health()
        everything = client.ingestions.list()
        where = "this process" if Context.of(ctx).local else without_user(client.config.url)
        # One goes on at a time, and one may wait behind it, however long ago they were asked for.
        newest = [(each, run.data) for each in everything for run in each.runs(days=36_500, limit=2)]
        lately = [(each, run.data) for each in everything for run in each.runs(days=1, limit=10_000)]
        in_error = [(each, _reason(each)) for each in everything if each.status == "error"]
    running = [(each, run) for each, run in newest if run.status in UNENDED]
    failed = [(each, run) for each, run in lately if run.status == RunStatus.FAILED]
    states = Counter(each.status for each in everything)
    if as_json:
        print_json(
            {
                "service": {"url": where, "version": info.version, **health.model_dump(mode="json")},
                "ingestions": dict(states),
                "running": [_named(*each) for each in running],
                "in_error": [{"id": each.id, "name": each.name, "reason": reason} for each, reason in in_error],
                "failed": [_named(*each) for each in failed],
            }
        )
        return
    kinds = (getattr(health, "database_kind", None) or "database", health.database), ("Spark", health.spark)
    parts = [f"{info.name} {info.version}", *(f"{kind} {state}" for kind, state in kinds if state)]
    rows = [("service", where, health.status, ", ".join(parts))]
    rows += [("ingestions", str(number), state, "") for state, number in sorted(states.items())]
    rows += [("running", each.name, run.status, f"{_started(run)}: run {run.id}, {_did(run)}") for each, run in running]
    rows += [("in error", each.name, each.status, reason) for each, reason in in_error]
    rows += [("failed", each.name, run.status, f"{_started(run)}: run {run.id}, {_why(run)}") for each, run in failed]
    print_table(("what", "which", "state", "more"), rows)


def _named(ingestion: Ingestion, run: RunData) -> dict[str, Any]:
    return {"ingestion": ingestion.name, **run.model_dump(mode="json")}


def _reason(ingestion: Ingestion) -> str:
    """What its newest run that failed said: the ingestion itself tells no reason."""
    from autoloader_sdk.models import RunStatus

    runs = ingestion.runs(days=3650, limit=20)
    return next((_why(run.data) for run in runs if run.status == RunStatus.FAILED), "")


def _why(run: RunData) -> str:
    from autoloader_sdk.notebook.display import reason

    return reason(run.message or next((error.message for error in run.errors), None))


def _started(run: RunData) -> str:
    return f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC" if run.started_at else "not started"


def _did(run: RunData) -> str:
    from autoloader_sdk.cli.progress import did

    return did(run)


@app.command()
def doctor(
    ctx: typer.Context,
    *,
    ingestion: Annotated[
        str | None,
        typer.Option(help="List the source of this one, too; nothing is loaded.", autocompletion=ingestion_names),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for what is wrong, from the configuration here to Spark there, and say what to do.

    Exit codes: 0 nothing failed (there may be warnings), 1 something did. It starts the local Spark.
    """
    from autoloader_sdk.cli.progress import busy
    from autoloader_sdk.doctor import examine, without_client

    def tell(check: Check) -> None:
        if as_json:
            print_json(vars(check))

    try:
        client = Context.of(ctx).open()
    except (AutoloaderError, ValueError) as error:
        report = without_client(error)
        for each in report:
            tell(each)
    else:
        with client, busy("looking at the service, its database and its Spark"):
            report = examine(client, ingestion=ingestion, on_check=tell)
    if not as_json:
        print_table(("check", "state", "found"), ((each.name, each.state, _found(each)) for each in report))
    if not report.ok:
        raise typer.Exit(1)


def _found(check: Check) -> str:
    return f"{check.message} → {check.advice}" if check.advice else check.message


@app.command()
def config(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Show which service commands talk to, and by what; each setting with where it came from."""
    from autoloader_sdk.config import file, profiles

    context = Context.of(ctx)
    rows = context.config().rows()
    if context.local:
        settings = context.settings()
        rows = [
            ("url", "none: the service is in this process", "default" if context.home is None else "--home"),
            ("home", str(settings.home), settings.origins.get("home", "default")),
        ]
    default, known = profiles()
    if as_json:
        print_json(*({"name": name, "value": value, "origin": origin} for name, value, origin in rows))
        print_json({"name": "profiles", "value": sorted(known), "default": default, "origin": str(file())})
        return
    print_table(("setting", "value", "origin"), rows)
    names = ", ".join(f"{name} (the default)" if name == default else name for name in sorted(known))
    typer.echo(f"\nprofiles in {file()}: {names or 'none'}")
