"""How records show themselves: plain text always, and one compact HTML block beside it in a notebook.

The HTML is native, semantic elements with simple inline styles, so that it survives an untrusted notebook and
reads on dark and light. Whatever came from data is escaped. Nothing here asks the network, nothing raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from autoloader_sdk.models import (
    UNENDED,
    BatchData,
    ClusterData,
    FileData,
    FileVerdict,
    IngestionData,
    RefreshImpact,
    RefreshOperation,
    RunData,
    RunStatus,
    SchemaChange,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

_MARKS = {
    RunStatus.SUCCESS: "✓",
    "completed": "✓",
    RunStatus.PARTIAL: "◐",
    RunStatus.FAILED: "✗",
    RunStatus.CANCELLED: "✗",
}
SHOWN_ROWS = 50
_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"


def count(number: float | None) -> str:
    """1234567 → 1,234,567."""
    return "–" if number is None else f"{number:,.0f}"


def size(number: float | None) -> str:
    """Bytes in the nearest unit of 1024: 1536 → 1.5 KiB."""
    if number is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def moment(value: datetime | None) -> str:
    """In the reader's own zone, to the second."""
    return "–" if value is None else local(value).strftime("%Y-%m-%d %H:%M:%S %Z").strip()


def local(value: datetime) -> datetime:
    """In the reader's own zone; of the first year, or the last, in its own."""
    try:
        return value.astimezone()
    except (OverflowError, ValueError, OSError):
        return value


def run_text(run: RunData) -> str:
    """Several plain lines: how it ended, what it did, and why what failed did."""
    took = run.metrics
    lines = [f"run {run.id or '(id not known yet)'}: {run.status}", f"  {_did(run)}"]
    if run.message and run.message not in {error.message for error in run.errors}:
        lines.append(f"  {run.message}")
    if took.held:
        lines.append(f"  held: {count(took.held)}")
    if took.skipped:
        lines.append(f"  skipped: {count(took.skipped)} (files(status='skipped') tells why)")
    if took.columns_ignored:
        lines.append(f"  columns ignored: {count(took.columns_ignored)}")
    lines += [f"  warning: {warning}" for warning in run.warnings]
    lines += [f"  failed: {f'{error.file}: ' if error.file else ''}{reason(error.message)}" for error in run.errors]
    return "\n".join(lines)


def reason(message: str | None) -> str:
    """A message on one line."""
    return " ".join((message or "no reason given").split())


def _did(run: RunData) -> str:
    took = run.metrics
    failed = f", {count(took.error_count)} failed" if took.error_count else ""
    return (
        f"{some(took.files_processed, 'file')}{failed}, {some(took.records_ingested, 'row')}, "
        f"{size(took.bytes_read)} read, {size(took.bytes_written)} written, "
        f"{took.duration_seconds or 0:.1f} s{_going(run)}"
    )


def left(run: RunData) -> tuple[float, float] | None:
    """Of a run that goes on: which part of its files is done, and for how many seconds more it goes on at this pace.

    None as long as that cannot be told: before it knows its files, and before the first of them is loaded.
    """
    took = run.metrics
    done, planned = (took.files_processed or 0) + (took.error_count or 0), took.files_planned or 0
    if run.status not in UNENDED or not 0 < done <= planned or not took.duration_seconds:
        return None
    return done / planned, took.duration_seconds * (planned - done) / done


def _going(run: RunData) -> str:
    """How fast it goes, and how long yet."""
    part = left(run)
    if part is None:
        return f", {run.step}" if run.step and run.status in UNENDED else ""
    took = run.metrics
    pace = size((took.bytes_read or 0) / (took.duration_seconds or 1))
    return f", of {count(took.files_planned)} files, {pace}/s, about {part[1]:,.0f} s left"


def some(number: int | None, what: str) -> str:
    """1, "file" → 1 file."""
    return f"{count(number)} {what if number == 1 else what + 's'}"


def run_line(run: RunData) -> str:
    """One line, for a terminal."""
    return f"{_MARKS.get(run.status, '…')} {run.status}: {_did(run)}"


def run_html(run: RunData) -> str:
    """A run as a block: a bar while it goes on, figures, failed files in a table."""
    heading = f"{_MARKS.get(run.status, '…')} run {run.id}: {run.status}".replace("  ", " ")
    parts = [f"<strong>{escape(heading)}</strong>", f"<div>{escape(_did(run))}</div>"]
    if run.status in UNENDED:
        part = left(run)
        value = "" if part is None else f' value="{part[0]:.3f}" max="1"'
        parts.insert(1, f" <progress{value}>{escape(run.status)}</progress>")
    parts += [f"<div>{escape(note)}</div>" for note in [run.message, *run.warnings] if note]
    if run.metrics.held:
        parts.append(f"<div>held: {count(run.metrics.held)}</div>")
    if run.errors:
        rows = [(error.file or "–", error.error_type or "–", reason(error.message)) for error in run.errors]
        parts.append(table("what failed", ("file", "kind", "reason"), rows))
    return block(parts)


def ingestion_text(ingestion: IngestionData) -> str:
    """Several plain lines."""
    return "\n".join(
        [f"ingestion {ingestion.name} ({ingestion.id}): {ingestion.status}"]
        + [f"  {name}: {value}" for name, value in _ingestion_rows(ingestion)]
    )


def ingestion_html(ingestion: IngestionData) -> str:
    """An ingestion as a table of its parts."""
    heading = f"<strong>ingestion {escape(ingestion.name)}: {escape(ingestion.status)}</strong>"
    return block([heading, table(ingestion.id, ("part", "value"), _ingestion_rows(ingestion))])


def _ingestion_rows(ingestion: IngestionData) -> list[tuple[str, str]]:
    source, to, schedule = ingestion.source, ingestion.destination, ingestion.schedule
    when = "when asked"
    if schedule is not None and (schedule.frequency or schedule.cron_expression):
        parts = (schedule.frequency, schedule.time, schedule.cron_expression, schedule.timezone)
        when = " ".join(part for part in parts if part)
    rows = [
        ("source", " ".join(part for part in (source.path, source.file_pattern) if part) or "–"),
        ("format", ingestion.format.type or "–"),
        ("destination", ".".join(part or "–" for part in (to.catalog, to.database, to.table))),
        ("schedule", when),
        ("on schema change", ingestion.on_schema_change or "–"),
        ("last run", moment(ingestion.metadata.last_run_time)),
        ("next run", moment(ingestion.metadata.next_run_time)),
    ]
    return rows + [("warning", warning) for warning in ingestion.warnings]


def file_text(file: FileData) -> str:
    """One line."""
    why = f" ({reason(file.reason)})" if file.reason else ""
    return f"<File {file.path!r}: {file.status}{why}>"


def verdict_html(verdict: FileVerdict) -> str:
    """The sentence, and the file where one is known."""
    parts = [f"<div><strong>{escape(verdict.path)}</strong>: {escape(verdict.sentence)}</div>"]
    if verdict.file is not None:
        parts.append(table("its newest version", _FILE_COLUMNS, [_file_row(verdict.file)]))
    return block(parts)


def file_html(file: FileData) -> str:
    """One file as a table."""
    return block([table("file", _FILE_COLUMNS, [_file_row(file)])])


_FILE_COLUMNS = ("path", "status", "reason", "size", "rows", "loaded at")


def _file_row(file: FileData) -> tuple[str, ...]:
    why = reason(file.reason) if file.reason else "–"
    return (file.path, file.status, why, size(file.size), count(file.records), moment(file.loaded_at))


def refresh_text(data: RefreshOperation) -> str:
    """What was done or would be done, and what it means."""
    lines = [f"{data.status}: {data.message}"]
    lines += [f"  {name}: {told}" for name, told in _refresh_steps(data)]
    lines += [f"  {name}: {value}" for name, value in _impact_rows(data.impact)]
    lines += [f"  {sentence}" for sentence in (*data.warnings, *data.notes)]
    return "\n".join(lines + [f"  {name.replace('_', ' ')}: {what}" for name, what in (data.next_steps or {}).items()])


def refresh_html(data: RefreshOperation) -> str:
    """A refresh, or the plan of one, as a table of its steps and of what it means."""
    heading = f"<strong>refresh, {escape(data.mode.replace('_', ' '))}: {escape(data.status)}</strong>"
    parts = [heading, f"<div>{escape(data.message)}</div>"]
    if steps := _refresh_steps(data):
        what = "what it would do" if data.would_perform else "what it did"
        parts.append(table(what, ("step", "outcome"), steps))
    parts.append(table("what it means", ("", ""), _impact_rows(data.impact)))
    return block(parts + [f"<div>{escape(sentence)}</div>" for sentence in (*data.warnings, *data.notes)])


def _refresh_steps(data: RefreshOperation) -> list[tuple[str, str]]:
    done = [(each.operation, f"{each.status}{f' ({each.error})' if each.error else ''}") for each in data.operations]
    would = [
        (
            str(each.get("operation")),
            "; ".join(f"{name}: {value}" for name, value in each.items() if name != "operation"),
        )
        for each in data.would_perform or []
    ]
    return done or would


def _impact_rows(impact: RefreshImpact) -> list[tuple[str, str]]:
    return [
        ("files to load", count(impact.files_to_process)),
        ("files that stay out", count(impact.files_skipped)),
        ("size", size(impact.estimated_data_size_gb * 1e9)),
        ("about", f"{impact.estimated_duration_minutes:.1f} min, ${impact.estimated_cost_usd:,.2f}"),
    ]


def model_html(model: BaseModel) -> str:
    """Any answer as a table of what it says."""
    shown = {
        name: value
        for name, value in model
        if value not in (None, [], {}) and (name not in type(model).model_fields or type(model).model_fields[name].repr)
    }
    rows = [
        (name.rstrip("_"), moment(value) if isinstance(value, datetime) else str(value))
        for name, value in shown.items()
    ]
    return block([table(type(model).__name__, ("", ""), rows)])


def schema_difference_html(old: int, new: int, changes: Sequence[SchemaChange]) -> str:
    """Which columns came, went, or have another type."""
    rows = [
        (each.column_name, each.change_type.replace("_", " ").lower(), each.old_type or "–", each.new_type or "–")
        for each in changes
    ]
    heading = f"<strong>schema version {old} → {new}</strong>"
    if not rows:
        return block([heading, "<div>no difference</div>"])
    return block([heading, table("what changed", ("column", "change", "old type", "new type"), rows)])


def batch_text(batch: BatchData) -> str:
    """One line."""
    why = f" ({reason(batch.reason)})" if batch.reason else ""
    return f"<Batch {batch.id}: {batch.status}, {count(batch.files)} files, {count(batch.records)} rows{why}>"


def batch_html(batch: BatchData) -> str:
    """One batch as a table."""
    return block([table("batch", _BATCH_COLUMNS, [_batch_row(batch)])])


_BATCH_COLUMNS = ("batch", "status", "reason", "files", "size", "rows", "made at")


def _batch_row(batch: BatchData) -> tuple[str, ...]:
    why = reason(batch.reason) if batch.reason else "–"
    figures = (count(batch.files), size(batch.bytes), count(batch.records))
    return (batch.id, batch.status, why, *figures, moment(batch.created_at))


def cluster_html(cluster: ClusterData) -> str:
    """One cluster as a table."""
    return block([table("cluster", _CLUSTER_COLUMNS, [_cluster_row(cluster)])])


_CLUSTER_COLUMNS = ("id", "name", "status", "workers")


def _cluster_row(cluster: ClusterData) -> tuple[str, ...]:
    return cluster.id, cluster.name, cluster.status, count(cluster.workers)


def listing_html(records: Sequence[object]) -> str:
    """A list of records of one kind as a table; of anything else, as its text."""
    datas = [getattr(record, "data", None) for record in records[:SHOWN_ROWS]]
    more = f" (the first {SHOWN_ROWS})" if len(records) > SHOWN_ROWS else ""
    caption = f"{len(records):,} {'entry' if len(records) == 1 else 'entries'}{more}"
    if not records:
        return block(["none"])
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    match type(records[0]).__name__:
        case "Ingestion":
            columns = ("name", "id", "status", "source", "destination")
            rows = [
                (
                    each.name,
                    each.id,
                    each.status,
                    each.source.path or "–",
                    dict(_ingestion_rows(each))["destination"],
                )
                for each in datas
                if each is not None
            ]
        case "Run":
            columns = ("run", "status", "started", "files", "rows", "failed", "seconds")
            rows = [_run_row(each) for each in datas if each is not None]
        case "File":
            columns, rows = _FILE_COLUMNS, [_file_row(each) for each in datas if each is not None]
        case "Batch":
            columns, rows = _BATCH_COLUMNS, [_batch_row(each) for each in datas if each is not None]
        case "Cluster":
            columns, rows = _CLUSTER_COLUMNS, [_cluster_row(each) for each in datas if each is not None]
        case _:
            columns, rows = ("entry",), [(repr(record),) for record in records[:SHOWN_ROWS]]
    return block([table(caption, columns, rows)])


def _run_row(run: RunData) -> tuple[str, ...]:
    took = run.metrics
    done = (count(took.files_processed), count(took.records_ingested), count(took.error_count))
    return (run.id, run.status, moment(run.started_at), *done, f"{took.duration_seconds or 0:.1f}")


def text_html(text: str) -> str:
    """What says all it has to say as text."""
    return block([escape(text)])


def config_html(rows: Sequence[tuple[str, str, str]]) -> str:
    """Settings, each with its value and where it came from."""
    return block([table("settings", ("setting", "value", "from"), rows)])


def table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of plain text."""
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(str(cell))}</td>' for cell in row) + "</tr>" for row in rows
    )
    return (
        '<table style="border-collapse:collapse">'
        f'<caption style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def block(parts: Iterable[str]) -> str:
    """One piece of a notebook's output."""
    return "<div>" + "".join(parts) + "</div>"
