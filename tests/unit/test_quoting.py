"""Names become SQL in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoloader_sdk.spark import identifier, quoted_table
from autoloader_server.engine import sql

ROOT = Path(__file__).parents[2]
FOLDERS = ("sdk", "server", "flows")


def quotings(source: str) -> Iterator[ast.AST]:
    """Where a program doubles backticks, or puts a value between them."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="replace"), args=[ast.Constant("`"), ast.Constant("``")]):
                yield node
            case ast.BinOp(op=ast.Add(), left=ast.Constant(str(text))) if text.endswith("`"):
                yield node
            case ast.BinOp(op=ast.Add(), right=ast.Constant(str(text))) if text.startswith("`"):
                yield node
            case ast.JoinedStr(values=parts):
                for before, after in pairwise(parts):
                    match before, after:
                        case ast.Constant(str(text)), ast.FormattedValue() if text.endswith("`"):
                            yield node


def test_one_module_alone_quotes_names() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = {path.relative_to(ROOT).as_posix() for path in files if any(quotings(path.read_text(encoding="utf-8")))}
    assert found == {"sdk/autoloader_sdk/spark.py"}


@pytest.mark.parametrize(
    "source",
    [
        """part.replace("`", "``")""",
        """"SELECT `" + name""",
        """name + "` FROM t\"""",
        """f"SELECT `{name}` FROM t\"""",
    ],
)
def test_each_way_to_quote_would_be_seen(source: str) -> None:
    assert any(quotings(source))


def test_the_service_quotes_as_the_sdk_does() -> None:
    assert sql.identifier is identifier
    assert sql.TableName("a.b", "c`", "d").quoted == quoted_table("a.b", "c`", "d") == "`a.b`.`c```.`d`"


@given(st.text())
@example("`; DROP TABLE t; --`")
def test_no_name_ends_its_own_quotes(name: str) -> None:
    quoted = identifier(name)
    inside = quoted[1:-1]
    assert quoted[0] == quoted[-1] == "`"
    assert "`" not in inside.replace("``", "")
    assert inside.replace("``", "`") == name
