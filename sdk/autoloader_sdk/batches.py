"""Batches: what is held back by a quality rule, and the word that releases or drops it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from autoloader_sdk._http.endpoint import (
    API,
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
    quoted,
    stream,
)
from autoloader_sdk.listing import Listing
from autoloader_sdk.models import BatchData
from autoloader_sdk.notebook import display
from autoloader_sdk.runs import Run, from_receipt

_NO_BATCHES = "tells of no batches"


class Batch(Resource[L]):
    """The files that one write loads. A held one is staged already and waits for `release` or `drop`.

    `status` is OPEN, HELD, LANDED (in the table), BURNING or BURNED (it can never be published any more).
    """

    def __init__(self, link: L, data: BatchData) -> None:
        super().__init__(link)
        self.data = data

    @property
    def id(self) -> str:
        """The batch's id; its files name it as `batch_id`."""
        return self.data.id

    @property
    def ingestion_id(self) -> str:
        """The ingestion that it is a batch of."""
        return self.data.ingestion_id or ""

    @property
    def status(self) -> str:
        """The status when it was last asked for; `reload` asks again."""
        return self.data.status

    @property
    def reason(self) -> str | None:
        """Why it is held, or was burned."""
        return self.data.reason

    @property
    def files(self) -> int | None:
        """How many files it has."""
        return self.data.files

    @property
    def records(self) -> int | None:
        """How many rows it has, where they are known."""
        return self.data.records

    @call
    def release(self, *, force: bool = False) -> Call[Run[L]]:
        """Load a held batch all the same. Returns at once, with the run that does it.

        Args:
            force: although the ingestion is paused. The run loads what else is new, too.

        Raises:
            Conflict: it is not held (any more), or the ingestion is paused. Nothing was changed.
        """
        return (yield from self._decide("release", force=force))

    @call
    def drop(self, *, force: bool = False) -> Call[Run[L]]:
        """Do not load a held batch: its files are skipped until they change. Otherwise as `release`."""
        return (yield from self._decide("drop", force=force))

    @call
    def reload(self) -> Call[Batch[L]]:
        """Ask the service again; returns the batch itself."""
        reply = yield Request("GET", self._path)
        self.data = reply.read(BatchData, ingestion_id=self.ingestion_id)
        return self

    @property
    def _path(self) -> str:
        return f"{API}/ingestions/{quoted(self.ingestion_id)}/batches/{quoted(self.id)}"

    def _decide(self, word: str, *, force: bool) -> Call[Run[L]]:
        reply = yield Request("POST", f"{self._path}/{word}", {"force": "true"} if force else {})
        return from_receipt(self._link, self.ingestion_id, reply)

    def __repr__(self) -> str:
        return display.batch_text(self.data)

    def _repr_html_(self) -> str:
        return display.batch_html(self.data)


class BatchesOf(Resource[L]):
    """The batches of one ingestion, newest first. A loop over it reads them all, page by page as it goes on."""

    def __init__(self, link: L, ingestion_id: str) -> None:
        super().__init__(link)
        self._ingestion_id = ingestion_id

    @call
    def __call__(self, *, status: str | None = None) -> Call[Listing[Batch[L]]]:
        """All of them; `status="held"`: those that wait to be released or dropped.

        >>> list(flights.batches(status="held"))
        []
        """
        found = yield from all_pages(self._first(status), BatchData, what=_NO_BATCHES, ingestion_id=self._ingestion_id)
        return Listing(Batch(self._link, data) for data in found)

    @stream
    def _each(self) -> Stream[Batch[L]]:
        known = {"ingestion_id": self._ingestion_id}
        yield from each_entry(
            self._first(None), BatchData, lambda data: Batch(self._link, data), what=_NO_BATCHES, **known
        )

    def _first(self, status: str | None) -> Request:
        params = {"status": status.upper()} if status else {}
        return Request("GET", f"{API}/ingestions/{quoted(self._ingestion_id)}/batches", params)

    def __iter__(self: BatchesOf[Sync]) -> Iterator[Batch[Sync]]:
        return self._each()

    def __aiter__(self: BatchesOf[Async]) -> AsyncIterator[Batch[Async]]:
        return self._each()

    def __repr__(self) -> str:
        return f"<batches of {self._ingestion_id}>"
