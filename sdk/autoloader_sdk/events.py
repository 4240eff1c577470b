"""What happens in a run, told one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from autoloader_sdk.models import FINISHED, RunData
from autoloader_sdk.notebook import display

Kind = Literal["status", "step", "progress", "failure", "warning"]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing that happened, with the run as it was then.

    `kind`: `status` (it started, it ended), `step` (what it is doing now), `progress` (`batches`, `files`, `rows` and
    `bytes` more than before are in the table), `failure` (`file` could not be loaded, or the run itself, for
    `message`), `warning`.
    """

    kind: Kind
    message: str
    run: RunData = field(repr=False)
    file: str | None = None
    batches: int = 0
    files: int = 0
    rows: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        return f"{self.kind}: {f'{self.file}: ' if self.file else ''}{self.message}"

    def _repr_html_(self) -> str:
        return display.text_html(str(self))


def between(before: RunData | None, now: RunData) -> Iterator[RunEvent]:
    """What happened between two looks at a run; how it ended comes last, that it started first."""
    started = before is None or before.status != now.status
    told = f": {now.message}" if now.message and now.status in FINISHED else ""
    status = RunEvent("status", display.run_line(now) + told, now)
    if started and now.status not in FINISHED:
        yield status
    if now.step and (before is None or before.step != now.step):
        yield RunEvent("step", now.step, now)
    done, had = now.metrics, (before or RunData(id=now.id)).metrics
    batches, files, rows, size = (
        max(0, (getattr(done, name) or 0) - (getattr(had, name) or 0))
        for name in ("batches", "files_processed", "records_ingested", "bytes_read")
    )
    if batches or files or rows or size:
        told = f"{display.count(files)} files, {display.count(rows)} rows, {display.size(size)}"
        yield RunEvent("progress", told, now, batches=batches, files=files, rows=rows, bytes=size)
    for warning in now.warnings[len(before.warnings) if before is not None else 0 :]:
        yield RunEvent("warning", warning, now)
    for error in now.errors[len(before.errors) if before is not None else 0 :]:
        yield RunEvent("failure", display.reason(error.message), now, file=error.file)
    if started and now.status in FINISHED:
        yield status
