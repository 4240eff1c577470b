"""Commands around tokens."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from autoloader_sdk.cli.group import Context, group
from autoloader_sdk.cli.output import Json, print_json, print_table
from autoloader_sdk.models import Scope
from autoloader_sdk.models.token import TOKEN_DAYS

if TYPE_CHECKING:
    from autoloader_sdk.models import TokenData

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}

app = group()
token = group(help="Who may use the service beyond this process, and for what.")
app.add_typer(token, name="token")


def _span(text: str | timedelta) -> timedelta:
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"(\d{1,6})([mhd])", text.strip())
    if match is None:
        raise typer.BadParameter(f"'{text}' is no span of time: write 30m, 12h or 90d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@token.command()
def create(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[
        Scope,
        typer.Option(
            help="read looks; operate also runs, cancels, pauses, decides; admin also makes, changes, deletes."
        ),
    ] = "read",
    expires: Annotated[
        timedelta,
        typer.Option(
            parser=_span, metavar="SPAN", help=f"30m, 12h, 90d, …  [default: {TOKEN_DAYS}d]", show_default=False
        ),
    ] = timedelta(days=TOKEN_DAYS),
    tenant: Annotated[
        str | None,
        typer.Option(help="Whose ingestions it sees.  [default: the caller's; without a token: default]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token, and show it this once: on stdout, the rest on stderr."""
    with Context.of(ctx).client() as client:
        made = client.tokens.create(name, scope=scope, expires=expires, tenant=tenant)
    if as_json:
        print_json(made)
        return
    typer.echo(
        f"token '{made.name}' of tenant '{made.tenant}', scope '{made.scope}', until {_day(made.expires_at)}. "
        "It is shown this once:",
        err=True,
    )
    if made.expires_at is not None and made.created_at is not None and made.expires_at < made.created_at + expires:
        typer.echo("It ends with the token that it was made with, before the time that was asked for.", err=True)
    typer.echo(made.token)


@token.command("list")
def list_tokens(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List them, newest first, without themselves."""
    with Context.of(ctx).client() as client:
        found = client.tokens.list()
    if as_json:
        print_json(*found)
        return
    print_table(
        ("id", "name", "tenant", "scope", "state", "expires (UTC)", "last used (UTC)"),
        (
            (
                each.id,
                each.name,
                each.tenant,
                each.scope,
                _state(each),
                _day(each.expires_at),
                _day(each.last_used_at),
            )
            for each in found
        ),
    )


@token.command()
def revoke(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(help="Its id, or its name.")],
    *,
    as_json: Json = False,
) -> None:
    """End a token, by its id or name, and all that were derived from it."""
    with Context.of(ctx).client() as client:
        ended = client.tokens.revoke(token)
    if as_json:
        print_json(ended)
    else:
        typer.echo(f"token '{ended.name}' ({ended.id}) ended on {_day(ended.revoked_at)} UTC")


def _state(data: TokenData) -> str:
    if data.revoked_at is not None:
        return "revoked"
    return "expired" if data.expires_at is not None and data.expires_at <= datetime.now(UTC) else "valid"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment is not None else "never"
