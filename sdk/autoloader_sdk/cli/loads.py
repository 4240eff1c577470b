"""Commands around ingestions: what is loaded, and what would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoloader_sdk.cli.group import Context, Name, group, ingestion_names
from autoloader_sdk.cli.output import Json, plain, print_json, print_table, say
from autoloader_sdk.cli.progress import busy
from autoloader_sdk.cli.runs import run_one
from autoloader_sdk.models import OnBadRecord, OnChangedFile, OnSchemaChange
from autoloader_sdk.notebook.display import size

if TYPE_CHECKING:
    from autoloader_sdk.models import PreviewResult

app = group()
ingestions = group(help="Configured loads.")
app.add_typer(ingestions, name="ingestions")

_SOURCE = "A folder, or s3://bucket/folder/."
_FORMAT = "csv, json, parquet, avro or orc."
_TO = "catalog.database.table, or database.table in lake"
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="How the files are written, once for each: delimiter=;  encoding=latin-1  header=false",
    ),
]


@ingestions.command("list")
def list_ingestions(
    ctx: typer.Context,
    *,
    status: Annotated[str | None, typer.Option(help="Only these: draft, active, paused or error.")] = None,
    as_json: Json = False,
) -> None:
    """List them."""
    with Context.of(ctx).client() as client:
        found = [each.data for each in client.ingestions.list(status=status)]
    if as_json:
        print_json(*found)
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
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    *,
    source: Annotated[str, typer.Option(help=_SOURCE)],
    file_format: Annotated[str, typer.Option("--format", help=_FORMAT)],
    destination: Annotated[str, typer.Option("--to", metavar="TABLE", help=_TO)],
    options: Options = None,
    on_schema_change: Annotated[
        OnSchemaChange, typer.Option(help="What to do when files bring other columns.")
    ] = "append_new_columns",
    on_bad_record: Annotated[
        OnBadRecord, typer.Option(help="What to do with a record that cannot be loaded (csv, json).")
    ] = "fail",
    on_changed_file: Annotated[
        OnChangedFile, typer.Option(help="What to do with a file that changes after it was loaded.")
    ] = "hold",
    schedule: Annotated[
        str | None,
        typer.Option(help="hourly, daily, weekly, or a cron expression in UTC; kept, nothing fires it yet."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make one."""
    form = _format(file_format, options)
    with Context.of(ctx).client() as client:
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
        say(f"warning: {warning}", err=True)
    if as_json:
        print_json(made.data)
    else:
        typer.echo(made.id)


@ingestions.command()
def show(ctx: typer.Context, ingestion: Name, *, as_json: Json = False) -> None:
    """Tell all that is known of one, by its name or id."""
    with Context.of(ctx).client() as client:
        found = client.ingestions.get(ingestion)
    if as_json:
        print_json(found.data)
    else:
        say(str(found))


@ingestions.command()
def pause(ctx: typer.Context, ingestion: Name, *, as_json: Json = False) -> None:
    """Let it not run until `resume`, but by force."""
    with Context.of(ctx).client() as client:
        done = client.ingestions.get(ingestion).pause()
    if as_json:
        print_json(done.data)


@ingestions.command()
def resume(ctx: typer.Context, ingestion: Name, *, as_json: Json = False) -> None:
    """Let it run again."""
    with Context.of(ctx).client() as client:
        done = client.ingestions.get(ingestion).resume()
    if as_json:
        print_json(done.data)


@ingestions.command()
def delete(
    ctx: typer.Context,
    ingestion: Name,
    *,
    delete_table: Annotated[
        bool, typer.Option("--table", help="Drop its table, too, and that of its bad records.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also when another one loads into that table.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm the action without prompting.")] = False,
    as_json: Json = False,
) -> None:
    """Delete one, by its name or id; its runs stay on record, and so does the table unless asked otherwise."""
    with Context.of(ctx).client() as client:
        found = client.ingestions.get(ingestion)
        if not yes:
            to = found.destination
            table = ".".join(part or "" for part in (to.catalog, to.database, to.table))
            fate = "is dropped" if delete_table else "stays"
            question = f"Delete {plain(found.name)} ({found.id})? Its table {plain(table)} {fate}"
            typer.confirm(question, abort=True, err=True)
        found.delete(delete_table=delete_table, force=force)
    if as_json:
        print_json({"id": found.id, "name": found.name, "deleted": True})


# `autoloader run …` is what people type; it also stands with its noun.
ingestions.command("run")(run_one)


@app.command()
def clear(ctx: typer.Context, ingestion: Name, *, as_json: Json = False) -> None:
    """Forget which files an ingestion has loaded: its next run loads them all, beside the rows that are there."""
    with Context.of(ctx).client() as client:
        cleared = client.ingestions.get(ingestion).clear()
    if as_json:
        print_json(cleared)
    else:
        say(cleared.message)


@app.command()
def preview(
    ctx: typer.Context,
    ingestion: Annotated[
        str | None,
        typer.Argument(help="The name or id of one that is there.", autocompletion=ingestion_names),
    ] = None,
    *,
    source: Annotated[str | None, typer.Option(help=_SOURCE)] = None,
    file_format: Annotated[str | None, typer.Option("--format", help=_FORMAT)] = None,
    destination: Annotated[
        str, typer.Option("--to", metavar="TABLE", help=f"{_TO}; without it all columns are new.", show_default=False)
    ] = "lake.preview.preview",
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Show what an ingestion would load: its files, columns and first rows. Nothing is made.

    Either one that is there, by its name or id; or one that could be made, by --source and --format.
    """
    if (ingestion is None) == (source is None or file_format is None) or (ingestion and (source or file_format)):
        raise typer.BadParameter("give the name of an ingestion, or --source and --format", param_hint="INGESTION")
    with Context.of(ctx).client() as client:
        if ingestion is not None:
            there = client.ingestions.get(ingestion)
            with busy("listing the files, and letting Spark read some"):
                seen = there.preview()
        else:
            assert file_format is not None
            assert source is not None
            to_be = _format(file_format, options)
            with busy("listing the files, and letting Spark read some"):
                seen = client.ingestions.test(source=source, format=to_be, destination=destination)
    if as_json:
        print_json(seen)
    else:
        _show(seen)


def _show(seen: PreviewResult) -> None:
    for warning in seen.warnings:
        say(f"warning: {warning}", err=True)
    rows = "not known how many" if seen.estimated_records is None else f"about {seen.estimated_records:,}"
    typer.echo(f"{seen.file_count:,} files, {rows} rows")
    if seen.plan is not None and seen.plan.parts:
        typer.echo()
        parts = ((each.action, each.reason, f"{each.files:,}", size(each.bytes)) for each in seen.plan.parts)
        print_table(("action", "reason", "files", "size"), parts)
    if seen.schema_:
        typer.echo()
        print_table(
            ("column", "type", "", ""),
            (
                (
                    column.name,
                    column.data_type,
                    "" if column.nullable else "not null",
                    "new" if column.is_new else "",
                )
                for column in seen.schema_
            ),
        )
    if seen.sample_data:
        typer.echo()
        for row in seen.sample_data:
            typer.echo(plain(row))


def _format(kind: str, options: list[str] | None) -> str | dict[str, Any]:
    return {"type": kind, "options": dict(map(_option, options))} if options else kind


def _option(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"'{text}' is not NAME=VALUE", param_hint="--option")
    return name, value
