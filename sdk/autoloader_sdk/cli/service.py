"""Commands around the service itself: serve, settings, setup, db."""

from __future__ import annotations

from typing import Annotated

import typer

from autoloader_sdk.cli.group import Context, fail, group, server
from autoloader_sdk.cli.output import Json, print_json, print_table

app = group()
db = group(help="The database.")
app.add_typer(db, name="db")


@app.command()
def serve(
    ctx: typer.Context,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.  [default: 8000]")
    ] = None,
) -> None:
    """Run the service until Ctrl-C or SIGTERM."""
    settings = Context.of(ctx).settings(host=host, port=port)
    server("app").serve(settings)


@app.command()
def settings(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List each setting of the service, its value, and where that came from."""
    module = server("settings")
    rows = module.listed(Context.of(ctx).settings())
    if as_json:
        print_json(*({"name": row.name, "value": row.value, "origin": row.origin} for row in rows))
    else:
        print_table(("setting", "value", "origin"), ((row.name, row.value, row.origin) for row in rows))
    for sentence in module.unknown_variables():
        typer.echo(f"warning: {sentence}", err=True)


@app.command()
def setup(*, as_json: Json = False) -> None:
    """Fetch what Spark needs, and prepare it for quick starts: once, into the cache."""

    def progress(line: str) -> None:
        typer.echo(line, err=True)

    try:
        found = server("spark.jars").ensure_jars(progress)
        server("spark.warm").warm_archive(progress)
    except server("spark.errors").SparkError as error:
        fail(str(error))
    folder = found[0].parent
    if as_json:
        print_json({"jars": len(found), "folder": str(folder)})
    else:
        typer.echo(f"{len(found)} jars are in {folder}")


@db.command()
def upgrade(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Bring the database to this version's schema."""
    database = server("service").open_database(Context.of(ctx).settings())
    database.close()
    url = database.url.render_as_string(hide_password=True)
    if as_json:
        print_json({"database": url, "status": "up to date"})
    else:
        typer.echo(f"{url} is up to date")
