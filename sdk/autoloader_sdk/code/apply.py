"""What files say against what a service has: the plan, and carrying it out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from autoloader_sdk._http.endpoint import API, Call, Link, Request, quoted
from autoloader_sdk.code import meaning
from autoloader_sdk.code.files import Where
from autoloader_sdk.code.meaning import Change
from autoloader_sdk.code.plan import Entry, Outcome, Plan, shown
from autoloader_sdk.code.wanted import Wanted, read
from autoloader_sdk.errors import ApplyFailed, AutoloaderError, ClientClosed, ConnectionFailed, NotFound, Unauthorized
from autoloader_sdk.ingestions import Ingestion
from autoloader_sdk.models import IngestionData

_INGESTIONS = f"{API}/ingestions"
# After these each further try would end the same way, some of them after a long wait.
_HOPELESS = (ConnectionFailed, Unauthorized, ClientClosed)

OnPlan = Callable[[Plan], object]
OnDone = Callable[[Entry], object]


def everything() -> Call[tuple[list[IngestionData], bool]]:
    """All ingestions of a service, and whether it is one of ours; an older one knows the first contract alone."""
    found: list[IngestionData] = []
    reply = yield Request("GET", _INGESTIONS)
    ours = reply.ours
    found += reply.entries(IngestionData)
    while reply.next_path:
        reply = yield Request("GET", reply.next_path)
        found += reply.entries(IngestionData)
    return found, ours


def diff(places: Sequence[Where], prune: Collection[str] = (), *, credentials: bool = False) -> Call[Plan]:
    """The plan; `prune` and `credentials` as in `apply`."""
    return (yield from _plan(read(places), prune, credentials=credentials))


def apply(
    link: Link,
    places: Sequence[Where],
    *,
    dry_run: bool,
    prune: Collection[str],
    credentials: bool,
    on_plan: OnPlan | None,
    on_done: OnDone | None,
) -> Call[Plan]:
    """Carry out the plan, one ingestion after the other; raises ApplyFailed in the end where some could not be done."""
    plan = yield from diff(places, prune, credentials=credentials)
    if on_plan is not None:
        on_plan(plan)
    if dry_run:
        return plan
    done: list[Entry] = []
    failed: list[tuple[Entry, AutoloaderError]] = []
    hopeless = False
    for entry in plan.entries:
        outcome: Outcome | None = None
        error: str | None = None
        warnings: list[str] = []
        if entry.differs and hopeless:
            outcome = "not tried"
        elif entry.kind == "to delete" and failed:
            outcome, error = "not tried", "nothing is deleted where something else failed"
        elif entry.differs:
            try:
                outcome, warnings = yield from _do(link, entry, ours=plan.ours)
            except AutoloaderError as reason:
                outcome, error = "failed", str(reason)
                failed.append((entry, reason))
                hopeless = isinstance(reason, _HOPELESS)
        notes = (*entry.notes, *(f"warning: {each}" for each in warnings))
        done.append(replace(entry, outcome=outcome, error=error, notes=notes))
        if outcome is not None and on_done is not None:
            on_done(done[-1])
    result = Plan(tuple(done), plan.notes, ours=plan.ours)
    if failed:
        raise _failure(failed, result)
    return result


def _failure(failed: list[tuple[Entry, AutoloaderError]], result: Plan) -> ApplyFailed:
    waiting = sum(entry.outcome == "not tried" for entry in result)
    count = sum(entry.outcome in ("created", "updated", "deleted") for entry in result)
    lines = [f"{shown(entry.name)} ({entry.where or entry.id}): {reason}" for entry, reason in failed]
    rest = f", {waiting} not tried" if waiting else ""
    message = f"{len(failed)} failed, {count} done{rest}; apply again once this is put right:\n  " + "\n  ".join(lines)
    return ApplyFailed(message, plan=result, failed=[(entry.name, reason) for entry, reason in failed])


def _do(link: Link, entry: Entry, *, ours: bool) -> Call[tuple[Outcome, list[str]]]:
    """Do what an entry is about; what became of it, and what the service warns of."""
    if entry.kind == "new":
        # The name is one ingestion's: another process that makes it meanwhile is a conflict, not a second one.
        reply = yield Request("POST", _INGESTIONS, {"unique_name": "true"}, body=entry.body)
        made = reply.read(IngestionData)
        _check(entry, made, ours=ours)
        return "created", made.warnings
    if entry.kind == "to delete":
        # Gone is gone: by somebody else, or by a first try of ours whose answer was lost.
        with suppress(NotFound):
            yield Request("DELETE", f"{_INGESTIONS}/{quoted(entry.id or '')}")
        return "deleted", []
    if entry.kind == "in the way":
        raise AutoloaderError(" ".join(entry.notes))
    there = Ingestion(link, IngestionData(id=entry.id or "", name=entry.name))
    changed: Ingestion[Any] = yield from Ingestion.update.function(there, **_update(entry))
    _check(entry, changed.data, ours=ours)
    return "updated", changed.warnings


def _check(entry: Entry, data: IngestionData, *, ours: bool) -> None:
    """Raises AutoloaderError where the service has answered well, and has not done what was asked."""
    left, _ = meaning.differences(entry.body or {}, data, ours=ours)
    if left:
        raise AutoloaderError(f"the service took it, and has not set {', '.join(change.field for change in left)}")


def _update(entry: Entry) -> dict[str, Any]:
    """The arguments of `Ingestion.update` that make the changes of an entry. What is no more in the file is reset."""
    body = entry.body or {}
    fields = [change.field.split(".") for change in entry.changes]
    changed = {parts[0] for parts in fields}
    given: dict[str, Any] = {}
    for name in changed & {"schedule", "quality", "limits"}:
        given[name] = body.get(name) or {}
    for name in changed & {"on_schema_change", "on_bad_record"}:
        given[name] = meaning.complete(body)[name]
    if "cluster_id" in changed:
        given["cluster_id"] = body["cluster_id"]
    for part in ("source", "format"):
        names = {parts[1] for parts in fields if parts[0] == part}
        if names:
            whole = {**meaning.complete(body)[part], **body[part]}
            given[part] = {name: whole.get(name) for name in sorted(names)}
    if "format" in given and "schema" in given["format"]:
        # Where it was never said, it follows from the schema.
        given["on_schema_change"] = meaning.complete(body)["on_schema_change"]
    return given


def _plan(wanted: list[Wanted], prune: Collection[str], *, credentials: bool) -> Call[Plan]:
    found, ours = yield from everything()
    by_name: defaultdict[str, list[IngestionData]] = defaultdict(list)
    for data in found:
        by_name[data.name].append(data)
    several = [each.name for each in wanted if len(by_name[each.name]) > 1]
    if several:
        lines = [f"{shown(name)}: {', '.join(data.id for data in by_name[name])}" for name in several]
        why = "the service has several ingestions of a name that stands in the files; delete all but one of each"
        raise AutoloaderError("\n  ".join([why, *lines]))
    names = {each.name for each in wanted}
    rest = [data for data in found if data.name not in names]
    doomed = _doomed(prune, found, rest)
    ways: defaultdict[tuple[Any, ...], list[IngestionData]] = defaultdict(list)
    for data in rest:
        ways[meaning.way(meaning.told(data))].append(data)
    entries = [
        _new(each, ways[meaning.way(each.body)], ours=ours)
        if not by_name[each.name]
        else _there(each, by_name[each.name][0], ours=ours, credentials=credentials)
        for each in wanted
    ]
    entries += [Entry("to delete", data.name, id=data.id) for data in rest if data.id in doomed]
    entries += [Entry("not in files", data.name, id=data.id) for data in rest if data.id not in doomed]
    note = "the service is an older one: of an ingestion that is there it changes schedule and quality alone"
    return Plan(tuple(entries), () if ours else (note,), ours=ours)


def _doomed(prune: Collection[str], found: list[IngestionData], rest: list[IngestionData]) -> set[str]:
    """The ids that are to be deleted. One that is not there was deleted before; one that stands in a file stays."""
    ids: set[str] = set()
    for one in [prune] if isinstance(prune, str) else prune:
        hits = [data for data in found if one in (data.id, data.name)]
        if any(data not in rest for data in hits):
            raise AutoloaderError(f"'{one}' is to be deleted, and stands in the files: nothing was done")
        if len(hits) > 1:
            several = ", ".join(data.id for data in hits)
            raise AutoloaderError(f"{len(hits)} ingestions are called '{one}': name their ids instead: {several}")
        ids |= {data.id for data in hits}
    return ids


def _new(wanted: Wanted, others: Iterable[IngestionData], *, ours: bool) -> Entry:
    """One to be made; `others` are in no file and load the same way."""
    notes = [
        f"'{shown(data.name)}' ({data.id}) loads the same files into the same table: this one would load them once "
        "more, and their rows were there twice. A name cannot be changed; keep the old one"
        for data in others
    ]
    if not ours and (unknown := meaning.beyond_first_contract(wanted.body)):
        notes.append(f"an older service may do nothing about {', '.join(unknown)}")
    return Entry("new", wanted.name, wanted.where, notes=tuple(notes), body=wanted.body)


def _there(wanted: Wanted, data: IngestionData, *, ours: bool, credentials: bool) -> Entry:
    changes, untold = meaning.differences(wanted.body, data, ours=ours)
    notes = [f"this service does not tell, and so may not know: {', '.join(untold)}"] if untold else []
    if meaning.not_compared(wanted.body, data, ours=ours):
        if credentials and ours:
            sent = wanted.body["source"]["credentials"]
            changes.append(Change("source.credentials", dict.fromkeys(sent, "***"), sent))
        else:
            notes.append(
                "source.credentials: not compared, since the service shows their names alone, and not sent"
                + ("; to send them again: credentials=True, or --credentials" if ours else "")
            )
    fixed = [change.field for change in changes if not meaning.changeable(change.field, ours=ours)]
    if fixed:
        notes.insert(0, _in_the_way(fixed, ours=ours))
    kind = "in the way" if fixed else "changed" if changes else "same"
    return Entry(kind, wanted.name, wanted.where, data.id, tuple(changes), tuple(notes), body=wanted.body)  # type: ignore[arg-type]


def _in_the_way(fixed: list[str], *, ours: bool) -> str:
    what = ", ".join(fixed)
    able = [field for field in fixed if meaning.changeable(field, ours=True)]
    if able and not ours and len(able) == len(fixed):
        return f"cannot be changed on this older service: {what}. Put back what it has, or update the service."
    return (
        f"cannot be changed: {what}. The ledger knows by it which files are in which table. Put back what the service "
        "has; or give this one a new name and a table of its own, which loads all files, and delete the old one."
    )
