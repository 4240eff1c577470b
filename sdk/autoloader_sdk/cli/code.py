"""Commands around ingestions as code: apply, diff, export."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoloader_sdk.cli.group import Context, group
from autoloader_sdk.cli.output import Json, plain, print_json, say
from autoloader_sdk.errors import ApplyFailed

if TYPE_CHECKING:
    from autoloader_sdk.client import Client
    from autoloader_sdk.code.files import Where
    from autoloader_sdk.code.plan import Entry, Plan

# What `diff` ends with, beside 0, 1 for an error and 2 for a wrong call. `terraform plan` has 2 for it, which here a
# misspelt option has, too.
DIFFERENT = 3

app = group()

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE", help="YAML files, folders of them, or - for stdin.", show_default=False),
]
MoreFiles = Annotated[
    list[str] | None,
    typer.Option("--file", "-f", metavar="FILE", help="The same, for those who are used to it.", show_default=False),
]


@app.command()
def diff(ctx: typer.Context, files: Files = None, *, more: MoreFiles = None, as_json: Json = False) -> None:
    """Show what `apply` would do, and change nothing.

    Exit codes: 0 nothing would change, 3 something would, or ought to and cannot; 1 an error, 2 the command was wrong.
    """
    places = _places(_named(files, more))
    with Context.of(ctx).client() as client:
        plan = client.diff(*places)
    _show(plan, as_json=as_json)
    if plan:
        raise typer.Exit(DIFFERENT)


@app.command()
def apply(
    ctx: typer.Context,
    files: Files = None,
    *,
    more: MoreFiles = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the ingestions that are in no file; their tables stay. Asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --prune: do not ask.")] = False,
    credentials: Annotated[
        bool, typer.Option("--credentials", help="Also send credentials of which only the names can be compared.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make and change ingestions until the service has what the files say.

    Exit codes: 0 it has, 1 an error (with one that fails the others go on), 2 the command was wrong.
    """
    named = _named(files, more)
    if prune and not (yes or dry_run) and "-" in named:
        raise typer.BadParameter("stdin holds the files, and cannot answer: give --yes, too", param_hint="--prune")
    places = _places(named)
    with Context.of(ctx).client() as client:
        doomed = _doomed(client, places, ask=not (yes or dry_run)) if prune else ()
        try:
            plan = client.apply(
                *_again(places),
                dry_run=dry_run,
                prune=doomed,
                credentials=credentials,
                on_plan=None if as_json else lambda plan: _show(plan, as_json=False),
                on_done=None if as_json else _report,
            )
        except ApplyFailed as failed:
            if as_json:
                _show(failed.plan, as_json=True)
            raise
    if as_json:
        _show(plan, as_json=True)


@app.command()
def export(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where the files are written.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these, by name or id.", show_default=False)
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Write over files that hold something else.")] = False,
    as_json: Json = False,
) -> None:
    """Write a file for each ingestion, as `apply` reads it; credentials are left out."""
    with Context.of(ctx).client() as client:
        written = client.export(folder, *(names or []), force=force)
    for file in written:
        if as_json:
            print_json({"file": str(file)})
        else:
            typer.echo(plain(str(file)))


def _named(files: list[str] | None, more: list[str] | None) -> list[str]:
    named = [*(files or []), *(more or [])]
    if not named:
        raise typer.BadParameter("name the files, or the folder that they are in", param_hint="FILE")
    return named


def _places(files: list[str]) -> list[Where]:
    """Files as they are read; stdin is read once, whatever is asked of it."""
    return [_Stdin(sys.stdin.read()) if file == "-" else file for file in files]


class _Stdin(io.StringIO):
    name = "<stdin>"


def _again(places: list[Where]) -> list[Where]:
    return [_Stdin(place.getvalue()) if isinstance(place, _Stdin) else place for place in places]


def _doomed(client: Client, places: list[Where], *, ask: bool) -> list[str]:
    """The ids of what is in no file, once somebody has said that it may go: these and no others are deleted."""
    rest = client.diff(*_again(places)).of("not in files")
    if rest and ask:
        for entry in rest:
            typer.echo(f"- {plain(entry.name)}  {entry.id}", err=True)
        what = "this ingestion, which is" if len(rest) == 1 else f"these {len(rest)} ingestions, which are"
        typer.confirm(f"Delete {what} in no file? Tables stay", abort=True, err=True)
    return [entry.id for entry in rest if entry.id is not None]


def _show(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        print_json(*(entry.as_dict() for entry in plan))
        for note in plan.notes:
            say(note, err=True)
    else:
        say(str(plan))


def _report(entry: Entry) -> None:
    typer.echo(f"{plain(entry.name)}: {plain(entry.done)}", err=entry.error is not None)
    for note in entry.notes:
        if note.startswith("warning: "):
            say(f"{plain(entry.name)}: {note}", err=True)
