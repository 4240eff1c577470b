"""Files: why is one (not) in the table."""

from __future__ import annotations

from datetime import datetime

from autoloader_sdk.models import FileData
from autoloader_sdk.notebook import display


class File:
    """One content of one path, and what became of it.

    `status` is DISCOVERED, PROCESSING, SUCCESS, FAILED, SKIPPED, HELD or QUARANTINED, and `reason` says why.
    """

    def __init__(self, data: FileData) -> None:
        self.data = data

    @property
    def path(self) -> str:
        """The path as the store has it."""
        return self.data.path

    @property
    def status(self) -> str:
        """The ledger's state of it."""
        return self.data.status

    @property
    def reason(self) -> str | None:
        """Why it failed, is held or was skipped."""
        return self.data.reason

    @property
    def size(self) -> int | None:
        """Bytes."""
        return self.data.size

    @property
    def records(self) -> int | None:
        """Rows that it brought to the table."""
        return self.data.records

    @property
    def run_id(self) -> str | None:
        """The run that last worked on it."""
        return self.data.run_id

    @property
    def modified_at(self) -> datetime | None:
        """When it was last written, in UTC."""
        return self.data.modified_at

    @property
    def loaded_at(self) -> datetime | None:
        """When its rows became visible in the table, in UTC."""
        return self.data.loaded_at

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    def __repr__(self) -> str:
        return display.file_text(self.data)

    def _repr_html_(self) -> str:
        return display.file_html(self.data)
