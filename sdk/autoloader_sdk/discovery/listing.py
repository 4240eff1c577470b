"""Listing a source: pages of entries, in the order of their paths' bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from autoloader_sdk.discovery.entries import Entry, local_path
from autoloader_sdk.discovery.local_listing import list_local
from autoloader_sdk.discovery.patterns import Pattern, compile_pattern

PAGE_SIZE: Final = 10_000


def list_source(
    source_path: str, *, pattern: str | Pattern | None = None, page_size: int = PAGE_SIZE
) -> Iterator[list[Entry]]:
    """The files at a source that match `pattern`, in pages of at most `page_size` entries.

    Sorted over the whole listing by the bytes of the path; no page is empty, an empty source has no page. A
    source that is a file lists that one file. The path and the pattern are checked at the call, the store is
    read as the pages are taken.

    Raises SourceMissing, SourceForbidden (which names the folder that is closed: nothing is left out in
    silence) or SourceError for any other failure of the store; ValueError for an invalid path or pattern.
    """
    compiled = compile_pattern(pattern) if isinstance(pattern, str) else pattern
    return _pages(list_local(local_path(source_path), compiled), page_size)


def _pages(runs: Iterator[list[Entry]], page_size: int) -> Iterator[list[Entry]]:
    """Cut runs of entries, each of any length, into full pages and a last shorter one."""
    page: list[Entry] = []
    for run in runs:
        start = 0
        while len(page) + len(run) - start >= page_size:
            end = start + page_size - len(page)
            yield page + run[start:end]
            page, start = [], end
        page += run[start:]
    if page:
        yield page
