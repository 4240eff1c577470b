"""Listing a source: pages of entries. Those of a local folder are in the order of their paths' bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from autoloader_sdk.discovery.entries import Entry
from autoloader_sdk.discovery.patterns import Pattern, compile_pattern
from autoloader_sdk.discovery.store import LocalStore, Store

PAGE_SIZE: Final = 10_000


def list_source(
    source: str | Store, *, pattern: str | Pattern | None = None, page_size: int = PAGE_SIZE
) -> Iterator[list[Entry]]:
    """The files at a source that match `pattern`, in pages of at most `page_size` entries.

    `source` is a local path, or a store. No page is empty, an empty source has no page. A source that is a file
    lists that one file. The path and the pattern are checked at the call, the store is read as the pages are
    taken. Only a local folder is sorted; an object store lists as it likes, and after a key that its first
    lister cannot tell it may list an object once more.

    Raises SourceMissing, SourceForbidden (which names the folder that is closed: nothing is left out in
    silence) or SourceError for any other failure of the store; ValueError for an invalid path or pattern.
    """
    store = LocalStore(source) if isinstance(source, str) else source
    compiled = compile_pattern(pattern) if isinstance(pattern, str) else pattern
    return _pages(store.entries(compiled), page_size)


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
