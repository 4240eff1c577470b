"""What routes take: the service, and how pages are linked."""

from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response

from autoloader_server.security.callers import Caller
from autoloader_server.service import Service
from autoloader_server.services.paging import Page


# Both are awaited since neither waits for anything: a plain function would go through a pool of threads.
async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


TheCaller = Annotated[Caller, Depends(_caller)]


async def _service(request: Request, caller: TheCaller) -> Service:
    service: Service = request.app.state.service
    return service.of_tenant(caller.tenant)


T = TypeVar("T")
TheService = Annotated[Service, Depends(_service)]
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="the same key and request are answered alike for 24 hours"),
]


def link_next(request: Request, response: Response, page: Page[T]) -> list[T]:
    """The items; where there are more, the answer says where, as RFC 8288 has it."""
    if page.next_cursor is not None:
        url = request.url.include_query_params(cursor=page.next_cursor)
        response.headers["Link"] = f'<{url}>; rel="next"'
    return page.items
