"""What commands print: a table for people, a JSON object a line for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


def print_json(records: Iterable[BaseModel]) -> None:
    """One object a line, whole."""
    for record in records:
        click.echo(record.model_dump_json())


def print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Columns as wide as what is in them."""
    lines = [header, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
