"""Files: why is one (not) in the table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from autoloader_sdk._http.endpoint import (
    Async,
    Call,
    L,
    Request,
    Resource,
    Stream,
    Sync,
    all_pages,
    call,
    each_entry,
    ours_only,
    stream,
)
from autoloader_sdk.listing import frame_of
from autoloader_sdk.models import FileData, FileVerdict
from autoloader_sdk.notebook import display

if TYPE_CHECKING:
    from pandas import DataFrame

# So many files an answer: a page costs a hundredth of the time of a hundred of them one by one.
_PAGE = "1000"
_NO_LEDGER = "keeps no ledger of files"


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


class Verdict:
    """Why a file is in the table, or is not. `str` gives the sentence."""

    def __init__(self, data: FileVerdict) -> None:
        self.data = data

    @property
    def path(self) -> str:
        """The file, as the ledger calls it."""
        return self.data.path

    @property
    def in_table(self) -> bool:
        """Whether rows of it, or of an earlier version of it, are in the table, loaded by this ingestion."""
        return self.data.in_table

    @property
    def sentence(self) -> str:
        """What became of it, and what is to be done."""
        return self.data.sentence

    @property
    def file(self) -> File | None:
        """Its newest version in the ledger, if there is any."""
        return File(self.data.file) if self.data.file is not None else None

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}"

    def __repr__(self) -> str:
        return f"<Verdict {self}>"

    def _repr_html_(self) -> str:
        return display.verdict_html(self.data)


class Files(Resource[L]):
    """The files of an ingestion. Called, it gives them one by one; so does a loop over it."""

    def __init__(self, link: L, path: str) -> None:
        super().__init__(link)
        self._path = path

    @stream
    def __call__(self, *, status: str | None = None, path: str | None = None) -> Stream[File]:
        """Each file that the service knows of, with what became of it, as they are read page by page.

            >>> for file in flights.files(status="failed"):
            ...     print(file.path, file.reason)

        Args:
            status: only those of this status, as in `File`, in any case.
            path: only this file, those below this folder, or those of this name.
        """
        yield from each_entry(self._first(status, path), FileData, File, what=_NO_LEDGER)

    @call
    def to_pandas(self, *, status: str | None = None, path: str | None = None) -> Call[DataFrame]:
        """The files as a pandas DataFrame, one row each; arguments as for a call.

            >>> list(flights.files.to_pandas().columns[:3])
            ['path', 'status', 'reason']

        Raises:
            MissingExtra: pandas is not installed.
        """
        found = yield from all_pages(self._first(status, path), FileData, what=_NO_LEDGER)
        return frame_of(found, FileData)

    @call
    def why(self, path: str) -> Call[Verdict]:
        """Why a file is in the table, or is not, and what is to be done.

            >>> print(flights.files.why("monday.csv"))  # doctest: +ELLIPSIS
            /.../monday.csv: there is no such file at the source, ...

        Args:
            path: the file's path, or its path below the source. It need not be one that was ever seen.

        Raises:
            NotSupported: the service is an older one, which keeps no such ledger.
        """
        request = Request("GET", f"{self._path}/why", {"path": path})
        reply = yield from ours_only(request, "does not tell why a file is (not) in the table")
        return Verdict(reply.read(FileVerdict))

    def _first(self, status: str | None, path: str | None) -> Request:
        params = {key: value for key, value in (("status", status and status.upper()), ("path", path)) if value}
        return Request("GET", self._path, params | {"limit": _PAGE})

    def __iter__(self: Files[Sync]) -> Iterator[File]:
        return iter(self())

    def __aiter__(self: Files[Async]) -> AsyncIterator[File]:
        return self()

    def __repr__(self) -> str:
        return f"<Files {self._path}>"
