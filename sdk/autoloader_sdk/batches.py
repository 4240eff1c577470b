"""Batches: what is held back by a quality rule, and the word that releases or drops it."""

from __future__ import annotations

from collections.abc import Mapping

from autoloader_sdk._http.endpoint import API, Call, L, Request, Resource, all_pages, call, quoted
from autoloader_sdk.listing import Listing
from autoloader_sdk.models import BatchData
from autoloader_sdk.notebook import display
from autoloader_sdk.runs import Run, from_receipt


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


def list_batches(link: L, ingestion_id: str, status: str | None) -> Call[Listing[Batch[L]]]:
    """The batches of one ingestion, newest first, or those of one status."""
    params: Mapping[str, str] = {"status": status.upper()} if status else {}
    request = Request("GET", f"{API}/ingestions/{quoted(ingestion_id)}/batches", params)
    found = yield from all_pages(request, BatchData, what="tells of no batches", ingestion_id=ingestion_id)
    return Listing(Batch(link, data) for data in found)
