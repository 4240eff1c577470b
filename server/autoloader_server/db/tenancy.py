"""Whose rows: each statement of a tenant's connection sees and writes that tenant's rows alone.

`Database.of_tenant` marks its connections; here, and nowhere else, a statement is bound to the tenant. Work that serves
all tenants (the queue, the engine, which go by the ids of ingestions and runs) is not bound, and says of each row that
it inserts whose it is: `Database.for_rows_of`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    ColumnClause,
    Connection,
    Delete,
    Executable,
    FromClause,
    Join,
    Select,
    TextClause,
    Update,
    or_,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import Alias, CompoundSelect, TableClause

#: The tenant of whoever runs the service, and of all that was there before there were tenants.
DEFAULT_TENANT = "default"
# Options of a connection: whose rows are inserted; whether it sees that tenant's rows alone.
TENANT, BOUND = "autoloader_tenant", "autoloader_bound"
#: Option of a statement that looks across tenants on purpose: two of them could load into one table.
ACROSS_TENANTS = {"autoloader_across_tenants": True}
#: The one statement that is text.
PING = "SELECT 1"
_INNER = (Select, CompoundSelect)


def tenant_of_new_row(context: Any) -> str:
    """The default of every `tenant_id`, as SQLAlchemy calls it."""
    return str(context.execution_options.get(TENANT, DEFAULT_TENANT))


def bind(
    connection: Connection,
    statement: Executable,
    multiparams: Any,
    params: Any,
    _options: Mapping[str, Any],
) -> tuple[Executable, Any, Any]:
    """A listener to `before_execute`: the statement as it is sent.

    Raises TypeError for one that cannot be bound: text with tables in it, a change that looks into a second table.
    """
    options = connection.get_execution_options()
    across = statement.get_execution_options().get(*ACROSS_TENANTS)
    if options.get(BOUND) and not across:
        statement = _bound(statement, str(options[TENANT]))
    return statement, multiparams, params


def _bound(statement: Any, tenant: str) -> Any:
    if isinstance(statement, TextClause):
        if statement.text == PING:
            return statement
        raise TypeError("a statement given as text cannot be bound to a tenant: write it with tables")

    def within(element: Any, **_: Any) -> Any:
        inner = isinstance(element, _INNER) and element is not statement
        return _bound(element, tenant) if inner else None

    parts = list(visitors.iterate(statement))
    tables = {table for part in parts if (table := _table_of(part)) is not None}
    froms: Collection[FromClause] = tables
    nested = any(isinstance(part, _INNER) and part is not statement for part in parts)
    if len(tables) > 1 or nested:
        bound = visitors.replacement_traverse(statement, {}, within)
        froms = bound.get_final_froms() if isinstance(bound, Select) else ()
    else:
        # The same, without the copy and the compilation behind it: a millisecond less for each of most statements.
        bound = statement
    if isinstance(bound, Select):
        for source, optional in _sources(froms):
            own = source.c.tenant_id == tenant
            bound = bound.where(or_(own, source.c.tenant_id.is_(None)) if optional else own)
    elif isinstance(bound, (Update, Delete)):
        if nested is False and len(tables) > 1:
            raise TypeError(f"a {type(bound).__name__} with a second table cannot be bound to a tenant: use a subquery")
        bound = bound.where(bound.table.c.tenant_id == tenant)
    return bound


def _table_of(part: Any) -> FromClause | None:
    found = part.table if isinstance(part, ColumnClause) else part
    return found if isinstance(found, (TableClause, Alias)) else None


def _sources(froms: Iterable[FromClause]) -> Iterator[tuple[FromClause, bool]]:
    """The tables that a SELECT reads, each with whether a row of it may be missing (an outer join)."""
    found: dict[FromClause, bool] = {}
    for source in froms:
        for table, optional in _leaves(source, optional=False):
            found[table] = found.get(table, False) or optional
    yield from found.items()


def _leaves(source: FromClause, *, optional: bool) -> Iterator[tuple[FromClause, bool]]:
    if isinstance(source, Join):
        yield from _leaves(source.left, optional=optional or source.full)
        yield from _leaves(source.right, optional=optional or source.full or source.isouter)
    elif isinstance(source, TableClause) or (isinstance(source, Alias) and isinstance(source.element, TableClause)):
        yield source, optional
