"""Commands around loading: ingestions, run, runs, files, batches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, get_args

import click

from autoloader_sdk.cli.group import Context
from autoloader_sdk.cli.output import as_json, print_json, print_table
from autoloader_sdk.models import OnBadRecord, OnChangedFile, OnSchemaChange

if TYPE_CHECKING:
    from autoloader_sdk.batches import Batch
    from autoloader_sdk.client import Client
    from autoloader_sdk.runs import Run

# What `run` ends with, beside 0 and click's 2 for a wrong call.
FAILED = 1
PARTIAL = 3


@click.group()
def ingestions() -> None:
    """Configured loads."""


@ingestions.command("list")
@click.option("--status", help="Only these: draft, active, paused or error.")
@as_json
@click.pass_obj
def list_ingestions(context: Context, status: str | None, *, as_json: bool) -> None:
    """List them."""
    with context.client() as client:
        found = [each.data for each in client.ingestions.list(status=status)]
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "name", "status", "source", "table"),
        (
            (
                each.id,
                each.name,
                each.status,
                each.source.path or "",
                ".".join(
                    part or "" for part in (each.destination.catalog, each.destination.database, each.destination.table)
                ),
            )
            for each in found
        ),
    )


@ingestions.command()
@click.argument("name")
@click.option("--source", required=True, help="A folder, or s3://bucket/folder/.")
@click.option("--format", "file_format", required=True, help="csv, json, parquet, avro or orc.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="How the files are written, once for each: delimiter=;  encoding=latin-1  header=false",
)
@click.option(
    "--to", "destination", required=True, metavar="TABLE", help="catalog.database.table, or database.table in lake"
)
@click.option(
    "--on-schema-change",
    type=click.Choice(get_args(OnSchemaChange)),
    default="append_new_columns",
    show_default=True,
    help="What to do when files bring other columns.",
)
@click.option(
    "--on-bad-record",
    type=click.Choice(get_args(OnBadRecord)),
    default="fail",
    show_default=True,
    help="What to do with a record that cannot be loaded (csv, json).",
)
@click.option(
    "--on-changed-file",
    type=click.Choice(get_args(OnChangedFile)),
    default="hold",
    show_default=True,
    help="What to do with a file that changes after it was loaded.",
)
@click.option("--schedule", help="hourly, daily, weekly, or a cron expression in UTC; kept, nothing fires it yet.")
@click.pass_obj
def create(
    context: Context,
    name: str,
    *,
    source: str,
    file_format: str,
    options: tuple[str, ...],
    destination: str,
    on_schema_change: OnSchemaChange,
    on_bad_record: OnBadRecord,
    on_changed_file: OnChangedFile,
    schedule: str | None,
) -> None:
    """Make one."""
    form = {"type": file_format, "options": dict(map(_option, options))} if options else file_format
    with context.client() as client:
        made = client.ingestions.create(
            name=name,
            source={"path": source, "on_changed_file": on_changed_file},
            format=form,
            destination=destination,
            schedule=schedule,
            on_schema_change=on_schema_change,
            on_bad_record=on_bad_record,
        )
    for warning in made.data.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(made.id)


@ingestions.command()
@click.argument("ingestion")
@click.pass_obj
def pause(context: Context, ingestion: str) -> None:
    """Let it not run until `resume`, but by force."""
    with context.client() as client:
        client.ingestions.get(ingestion).pause()


@ingestions.command()
@click.argument("ingestion")
@click.pass_obj
def resume(context: Context, ingestion: str) -> None:
    """Let it run again."""
    with context.client() as client:
        client.ingestions.get(ingestion).resume()


@ingestions.command()
@click.argument("ingestion")
@click.option("--table", "delete_table", is_flag=True, help="Drop its table, too, and that of its bad records.")
@click.confirmation_option(prompt="Delete it?")
@click.pass_obj
def delete(context: Context, ingestion: str, *, delete_table: bool) -> None:
    """Delete one, by its name or id; its runs stay on record, and so does the table unless asked otherwise."""
    with context.client() as client:
        client.ingestions.get(ingestion).delete(delete_table=delete_table)


@click.command()
@click.argument("ingestion")
@click.pass_obj
def clear(context: Context, ingestion: str) -> None:
    """Forget which files an ingestion has loaded: its next run loads them all, beside the rows that are there."""
    with context.client() as client:
        click.echo(client.ingestions.get(ingestion).clear().message)


@ingestions.command("run")
@click.argument("ingestion")
@click.option("--no-wait", is_flag=True, help="Only ask for the run (of a service at --url).")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait.  [default: 3600]")
@click.option("--force", is_flag=True, help="Also when it is paused.")
@click.pass_obj
def run_one(context: Context, ingestion: str, *, no_wait: bool, timeout: float | None, force: bool) -> None:
    """Run one, by its name or id, and wait for the end.

    Exit codes: 0 it loaded all that it had to, 1 it failed, 3 some files failed; 2 the command was wrong. A malformed
    file is not tried again until it changes: later runs end with 0, and warn of it.
    """
    if no_wait and context.url is None:
        raise click.UsageError("--no-wait needs a service that outlives this command: give --url")
    with context.client() as client:
        run = client.ingestions.get(ingestion).run(force=force)
        if no_wait:
            click.echo(run.id)
            return
        _end_with(run, timeout)


def _end_with(run: Run, timeout: float | None = None) -> None:
    """Wait for a run, show it, and let the command end as it did."""
    run.wait(timeout, check=False, progress=sys.stderr.isatty())
    click.echo(str(run))
    if not run.ok:
        from autoloader_sdk.models import RunStatus

        sys.exit(PARTIAL if run.status == RunStatus.PARTIAL else FAILED)


@click.group()
def batches() -> None:
    """What one write loads; some wait for a word, since a quality rule holds them."""


@batches.command("list")
@click.argument("ingestion")
@click.option("--status", help="Only these: held, landed, burned, open or burning.")
@as_json
@click.pass_obj
def list_batches(context: Context, ingestion: str, status: str | None, *, as_json: bool) -> None:
    """List an ingestion's batches, newest first."""
    with context.client() as client:
        found = [each.data for each in client.ingestions.get(ingestion).batches(status=status)]
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "status", "files", "rows", "reason"),
        (
            (
                each.id,
                each.status,
                "" if each.files is None else str(each.files),
                "" if each.records is None else str(each.records),
                each.reason or "",
            )
            for each in found
        ),
    )


@batches.command()
@click.argument("ingestion")
@click.argument("batch")
@click.option("--force", is_flag=True, help="Also when the ingestion is paused.")
@click.pass_obj
def release(context: Context, ingestion: str, batch: str, *, force: bool) -> None:
    """Load a held batch all the same, by a run that loads what else is new; exit codes as of `run`."""
    with context.client() as client:
        _end_with(_held(client, ingestion, batch).release(force=force))


@batches.command()
@click.argument("ingestion")
@click.argument("batch")
@click.option("--force", is_flag=True, help="Also when the ingestion is paused.")
@click.pass_obj
def drop(context: Context, ingestion: str, batch: str, *, force: bool) -> None:
    """Do not load a held batch: its files are skipped until they change. Otherwise as `release`."""
    with context.client() as client:
        _end_with(_held(client, ingestion, batch).drop(force=force))


def _held(client: Client, ingestion: str, batch: str) -> Batch:
    held = list(client.ingestions.get(ingestion).batches(status="held"))
    for each in held:
        if each.id == batch:
            return each
    names = ", ".join(each.id for each in held) or "none"
    raise click.ClickException(f"{ingestion} holds no batch {batch}; held: {names}")


@click.command()
@click.argument("ingestion")
@click.option("--days", default=30, show_default=True, type=click.IntRange(min=1))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@as_json
@click.pass_obj
def runs(context: Context, ingestion: str, days: int, limit: int, *, as_json: bool) -> None:
    """List an ingestion's runs, newest first."""
    with context.client() as client:
        found = [each.data for each in client.ingestions.get(ingestion).runs(days=days, limit=limit)]
    if as_json:
        print_json(found)
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


@click.group()
def files() -> None:
    """What became of each file."""


@files.command("list")
@click.argument("ingestion")
@click.option("--status", help="One of the ledger's states, such as FAILED or HELD.")
@click.option("--path", help="A file, a folder, or a file's name.")
@as_json
@click.pass_obj
def list_files(context: Context, ingestion: str, status: str | None, path: str | None, *, as_json: bool) -> None:
    """List the files that an ingestion knows of: which are in the table, which are not, and why."""
    with context.client() as client:
        for each in client.ingestions.get(ingestion).files(status=status, path=path):
            if as_json:
                click.echo(each.data.model_dump_json())
            else:
                click.echo("\t".join((each.status, each.path, each.reason or "")))


@files.command()
@click.argument("ingestion")
@click.argument("path")
@as_json
@click.pass_obj
def why(context: Context, ingestion: str, path: str, *, as_json: bool) -> None:
    """Tell why a file is in the table, or is not. PATH is the file's path, or its path below the source."""
    with context.client() as client:
        verdict = client.ingestions.get(ingestion).files.why(path)
    click.echo(verdict.data.model_dump_json() if as_json else str(verdict))


def _option(text: str) -> tuple[str, str | bool]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"'{text}' is not NAME=VALUE", param_hint="--option")
    return name, {"true": True, "false": False}.get(value, value)


# `autoloader run …` is what people type; it also stands with its noun.
COMMANDS = (ingestions, run_one, runs, files, batches, clear)
