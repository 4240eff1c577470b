"""Commands around files and the batches that they are loaded in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from autoloader_sdk.cli.group import Context, Name, fail, group
from autoloader_sdk.cli.output import Json, plain, print_json, print_table, say
from autoloader_sdk.cli.runs import Force, end_with

if TYPE_CHECKING:
    from autoloader_sdk.batches import Batch
    from autoloader_sdk.client import Client

app = group()
files = group(help="What became of each file.")
app.add_typer(files, name="files")
batches = group(help="What one write loads; some wait for a word, since a quality rule holds them.")
app.add_typer(batches, name="batches")

BatchId = Annotated[str, typer.Argument(help="Its id.")]


@files.command("list")
def list_files(
    ctx: typer.Context,
    ingestion: Name,
    *,
    status: Annotated[str | None, typer.Option(help="One of the ledger's states, such as FAILED or HELD.")] = None,
    path: Annotated[str | None, typer.Option(help="A file, a folder, or a file's name.")] = None,
    as_json: Json = False,
) -> None:
    """List the files that an ingestion knows of: which are in the table, which are not, and why.

    Where stdout is no terminal: status, path and reason, parted by tabs, as they come.
    """
    with Context.of(ctx).client() as client:
        found = client.ingestions.get(ingestion).files(status=status, path=path)
        if as_json:
            for each in found:
                print_json(each.data)
            return
        rows = ((each.status, each.path, each.reason or "") for each in found)
        if sys.stdout.isatty():
            print_table(("status", "path", "reason"), rows)
            return
        for row in rows:
            typer.echo("\t".join(map(plain, row)))


@files.command()
def why(
    ctx: typer.Context,
    ingestion: Name,
    path: Annotated[str, typer.Argument(help="The file's path, or its path below the source.")],
    *,
    as_json: Json = False,
) -> None:
    """Tell why a file is in the table, or is not."""
    with Context.of(ctx).client() as client:
        verdict = client.ingestions.get(ingestion).files.why(path)
    if as_json:
        print_json(verdict.data)
    else:
        say(str(verdict))


@batches.command("list")
def list_batches(
    ctx: typer.Context,
    ingestion: Name,
    *,
    status: Annotated[str | None, typer.Option(help="Only these: held, landed, burned, open or burning.")] = None,
    as_json: Json = False,
) -> None:
    """List an ingestion's batches, newest first."""
    with Context.of(ctx).client() as client:
        found = [each.data for each in client.ingestions.get(ingestion).batches(status=status)]
    if as_json:
        print_json(*found)
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
def release(
    ctx: typer.Context, ingestion: Name, batch: BatchId, *, force: Force = False, as_json: Json = False
) -> None:
    """Load a held batch all the same, by a run that loads what else is new; exit codes as of `run`."""
    with Context.of(ctx).client() as client:
        end_with(_held(client, ingestion, batch).release(force=force), as_json=as_json)


@batches.command()
def drop(ctx: typer.Context, ingestion: Name, batch: BatchId, *, force: Force = False, as_json: Json = False) -> None:
    """Do not load a held batch: its files are skipped until they change. Otherwise as `release`."""
    with Context.of(ctx).client() as client:
        end_with(_held(client, ingestion, batch).drop(force=force), as_json=as_json)


def _held(client: Client, ingestion: str, batch: str) -> Batch:
    held = {each.id: each for each in client.ingestions.get(ingestion).batches(status="held")}
    if batch not in held:
        fail(f"{ingestion} holds no batch {batch}; held: {', '.join(held) or 'none'}")
    return held[batch]
