"""Commands around the service itself: serve, settings, setup, db."""

from __future__ import annotations

import click

from autoloader_sdk.cli.group import Context, server


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8000]")
@click.pass_obj
def serve(context: Context, host: str | None, port: int | None) -> None:
    """Run the service until Ctrl-C."""
    settings = context.settings(host=host, port=port)
    server("app").serve(settings)


@click.command()
@click.pass_obj
def settings(context: Context) -> None:
    """List each setting, its value, and where that came from."""
    module = server("settings")
    rows = module.listed(context.settings())
    names, values = (max(len(getattr(row, part)) for row in rows) for part in ("name", "value"))
    for row in rows:
        click.echo(f"{row.name:<{names}}  {row.value:<{values}}  {row.origin}")
    for sentence in module.unknown_variables():
        click.echo(f"warning: {sentence}", err=True)


@click.command()
def setup() -> None:
    """Fetch what Spark needs, and prepare it for quick starts: once, into the cache."""

    def progress(line: str) -> None:
        click.echo(line, err=True)

    try:
        found = server("spark.jars").ensure_jars(progress)
        server("spark.warm").warm_archive(progress)
    except server("spark.errors").SparkError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(found)} jars are in {found[0].parent}")


@click.group()
def db() -> None:
    """The database."""


@db.command()
@click.pass_obj
def upgrade(context: Context) -> None:
    """Bring the database to this version's schema."""
    database = server("service").open_database(context.settings())
    database.close()
    click.echo(f"{database.url.render_as_string(hide_password=True)} is up to date")


COMMANDS = (serve, settings, setup, db)
