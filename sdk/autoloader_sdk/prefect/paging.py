"""Lists of a Prefect server, page by page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from autoloader_sdk._http.endpoint import Call, Item, Request, Stream
from autoloader_sdk.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from autoloader_sdk.models.base import AnswerModel
    from autoloader_sdk.prefect.models import Thing

M = TypeVar("M", bound="AnswerModel")
K = TypeVar("K", bound="Thing")
T = TypeVar("T")

_TOO_MANY = re.compile(r"limit: must be less than or equal to (\d+)")


@dataclass
class Pages(Generic[M]):
    """What `POST {path}` answers to `body`, in pages of `size`: as many as a server gives at once, by default."""

    path: str
    body: Mapping[str, Any]
    model: type[M]
    size: int = 200

    def read(self, offset: int, most: int | None = None, **more: Any) -> Call[list[M]]:
        """A page; one shorter than `most`, else `size`, is the last."""
        limit = self.size if most is None else min(most, self.size)
        body = {**self.body, **more, "offset": offset, "limit": limit}
        try:
            reply = yield Request("POST", self.path, body=body, safe=True)
        except Invalid as error:
            allowed = _TOO_MANY.search(error.message)
            if allowed is None or not 0 < int(allowed[1]) < limit:
                raise
            self.size = int(allowed[1])  # what this server was set to
            return (yield from self.read(offset, most, **more))
        return reply.entries(self.model)


def stepwise(pages: Pages[K], made: Callable[[K], T], *, most: int | None) -> Stream[T]:
    """Each entry once, page after page. What is deleted meanwhile moves those behind it: some may be missed then."""
    offset, seen = 0, set[str]()
    while most is None or len(seen) < most:
        left = None if most is None else most - len(seen)
        page = yield from pages.read(offset, left)
        for each in page:
            if each.id not in seen:
                seen.add(each.id)
                yield Item(made(each))
        if len(page) < (pages.size if left is None else min(left, pages.size)):
            return
        offset += len(page)
