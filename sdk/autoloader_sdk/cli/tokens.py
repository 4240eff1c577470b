"""Commands around tokens."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from autoloader_sdk.cli.group import Context
from autoloader_sdk.cli.output import as_json, print_json, print_table
from autoloader_sdk.models import SCOPES, Scope
from autoloader_sdk.models.token import TOKEN_DAYS

if TYPE_CHECKING:
    from autoloader_sdk.models import TokenData

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class _Span(click.ParamType[timedelta]):
    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,6})([mhd])", str(value).strip())
        if match is None:
            self.fail(f"'{value}' is no span of time: write 30m, 12h or 90d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.group()
def token() -> None:
    """Who may use the service beyond this process, and for what."""


@token.command()
@click.option("--name", required=True, help="What it is for.")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="read",
    show_default=True,
    help="read looks; operate also runs, cancels, pauses, decides; admin also makes, changes, deletes.",
)
@click.option("--expires", type=_Span(), default=f"{TOKEN_DAYS}d", show_default=True, help="30m, 12h, 90d, …")
@click.option("--tenant", help="Whose ingestions it sees.  [default: the caller's; without a token: default]")
@as_json
@click.pass_obj
def create(context: Context, name: str, scope: Scope, expires: timedelta, tenant: str | None, *, as_json: bool) -> None:
    """Make a token, and show it this once: on stdout, the rest on stderr."""
    with context.client() as client:
        made = client.tokens.create(name, scope=scope, expires=expires, tenant=tenant)
    if as_json:
        print_json([made])
        return
    click.echo(
        f"token '{made.name}' of tenant '{made.tenant}', scope '{made.scope}', until {_day(made.expires_at)}. "
        "It is shown this once:",
        err=True,
    )
    click.echo(made.token)


@token.command("list")
@as_json
@click.pass_obj
def list_tokens(context: Context, *, as_json: bool) -> None:
    """List them, newest first, without themselves."""
    with context.client() as client:
        found = client.tokens.list()
    if as_json:
        print_json(found)
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
@click.argument("token")
@as_json
@click.pass_obj
def revoke(context: Context, token: str, *, as_json: bool) -> None:
    """End a token, by its id or name, and all that were derived from it."""
    with context.client() as client:
        ended = client.tokens.revoke(token)
    if as_json:
        print_json([ended])
    else:
        click.echo(f"token '{ended.name}' ({ended.id}) ended on {_day(ended.revoked_at)} UTC")


def _state(data: TokenData) -> str:
    if data.revoked_at is not None:
        return "revoked"
    return "expired" if data.expires_at is not None and data.expires_at <= datetime.now(UTC) else "valid"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment is not None else "never"


COMMANDS = (token,)
