"""What commands print: a table for people, a JSON object a line for programs."""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, and nothing else on stdout.")]
"""The option of all that shows something."""

# A table is as wide as what is in it; of a hundred thousand files nobody waits for the last.
_AT_ONCE = 1_000
_STYLES = {"ok": "green", "success": "green", "healthy": "green", "warning": "yellow", "partial": "yellow"}
_STYLES |= {"failed": "red", "error": "red", "skipped": "dim", "held": "yellow"}


def say(text: str, *, err: bool = False) -> None:
    """Lines for people, which say nothing to a terminal beside what they say."""
    for line in text.split("\n"):
        typer.echo(plain(line), err=err)


def print_json(*records: BaseModel | Mapping[str, Any]) -> None:
    """One object a line, whole."""
    from pydantic import BaseModel

    for record in records:
        typer.echo(record.model_dump_json() if isinstance(record, BaseModel) else json.dumps(record, default=str))


def print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """In a terminal a table; else columns as wide as what is in them, a row a line, without colours."""
    if sys.stdout.isatty():
        _print_rich(header, rows)
        return
    lines = [header, *(tuple(map(plain, row)) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    for line in lines:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def plain(text: str) -> str:
    """A text on one line that says nothing to a terminal: names of files may hold whatever."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _print_rich(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout)
    left = iter(rows)
    first = True
    while (some := list(islice(left, _AT_ONCE))) or first:
        first = False
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in header:
            # An id is to be copied, and a time to be read.
            table.add_column(name, overflow="fold", no_wrap=name == "id" or name.endswith("(UTC)"))
        for row in some:
            table.add_row(*(Text(plain(cell), style=_STYLES.get(cell.lower(), "")) for cell in row))
        console.print(table)
