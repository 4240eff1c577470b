"""How a preview shows itself: what would be done about the files, the columns, the first rows."""

from __future__ import annotations

from html import escape

from autoloader_sdk.models import FilePlan, PlannedFile, PreviewResult
from autoloader_sdk.notebook.display import SHOWN_ROWS, block, count, moment, size, some, table


def plan_text(plan: FilePlan) -> str:
    """What would be done about how many files, then for which reasons."""
    return "\n".join([_heading(plan), *_lines(plan)])


def plan_html(plan: FilePlan) -> str:
    """The same as a table, with the first files of each action below it."""
    return block(_plan_parts(plan))


def preview_text(preview: PreviewResult) -> str:
    """What a load would see, in plain lines."""
    lines = [_seen(preview)]
    if preview.plan is not None:
        lines += _lines(preview.plan)
    lines += [f"  {column.name} {column.data_type}{' (new)' if column.is_new else ''}" for column in preview.schema_]
    lines += [f"  warning: {warning}" for warning in preview.warnings]
    return "\n".join([*lines, *preview.sample_data])


def preview_html(preview: PreviewResult) -> str:
    """What a load would see: its files, columns, first rows and warnings."""
    parts = [f"<strong>{escape(_seen(preview))}</strong>"]
    if preview.plan is not None:
        parts += _plan_parts(preview.plan)
    if preview.schema_:
        rows = [(each.name, each.data_type, "new" if each.is_new else "") for each in preview.schema_]
        parts.append(table("columns", ("name", "type", ""), rows))
    if preview.sample_data:
        parts.append(table("first rows", ("",), [(row,) for row in preview.sample_data[:SHOWN_ROWS]]))
    return block(parts + [f"<div>{escape(warning)}</div>" for warning in preview.warnings])


def _seen(preview: PreviewResult) -> str:
    about = "an unknown number of" if preview.estimated_records is None else f"about {count(preview.estimated_records)}"
    return f"{some(preview.file_count, 'file')}, {about} rows"


def _heading(plan: FilePlan) -> str:
    return (
        f"load {some(plan.load, 'file')} ({size(plan.load_bytes)}), skip {count(plan.skip)}, hold {count(plan.hold)}, "
        f"fail {count(plan.fail)}"
    )


def _lines(plan: FilePlan) -> list[str]:
    return [f"  {each.action}, {each.reason}: {some(each.files, 'file')}, {size(each.bytes)}" for each in plan.parts]


def _plan_parts(plan: FilePlan) -> list[str]:
    parts = [f"<div>{escape(_heading(plan))}</div>"]
    if plan.parts:
        rows = [(each.action, each.reason, count(each.files), size(each.bytes)) for each in plan.parts]
        parts.append(table("what would be done", ("action", "reason", "files", "size"), rows))
    shown = [_row(each) for each in plan.files[:SHOWN_ROWS]]
    if shown:
        more = len(plan.files) > SHOWN_ROWS or plan.truncated
        columns = ("file", "action", "why", "size", "modified")
        parts.append(table("some of the files" if more else "the files", columns, shown))
    return parts


def _row(file: PlannedFile) -> tuple[str, ...]:
    why = f"{file.reason}: {file.detail}" if file.detail else file.reason
    return file.path, file.action, why, size(file.size), moment(file.modified_at)
