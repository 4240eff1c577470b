"""What the engine asks of a place that holds files, and the one that is a folder of this machine."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Protocol

from autoloader_sdk.discovery.entries import Entry, local_path
from autoloader_sdk.discovery.local_listing import list_local
from autoloader_sdk.discovery.patterns import Pattern


class Store(Protocol):
    """A source's files. Paths are those of its entries; all methods may be called from several threads."""

    root: str
    """The source in the normal form that every entry's path begins with."""
    readers: int
    """How many files are best read side by side: 1 where reading does not wait."""

    def entries(self, pattern: Pattern | None) -> Iterator[list[Entry]]:
        """The files that match, as runs of any length, in any order. Raises SourceError."""
        ...

    def stat(self, path: str) -> Entry:
        """One file as it is now; FileNotFoundError, PermissionError or another OSError."""
        ...

    def stat_all(self, paths: Sequence[str]) -> list[Entry | OSError]:
        """Many files as they are now, in the order of `paths`."""
        ...

    def open(self, path: str) -> BinaryIO:
        """A file's bytes from the first to the last, as many at a time as are asked for; errors as `stat`."""
        ...

    def open_seekable(self, path: str) -> BinaryIO:
        """The same, for reading here and there, such as a footer."""
        ...


class LocalStore:
    """A folder of this machine, or one file."""

    readers = 1

    def __init__(self, source_path: str) -> None:
        self.root = local_path(source_path)

    def entries(self, pattern: Pattern | None) -> Iterator[list[Entry]]:
        """Sorted by the bytes of the path."""
        return list_local(self.root, pattern)

    def stat(self, path: str) -> Entry:
        """Size and modification time; a local file has no ETag. IsADirectoryError for what is no regular file."""
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is no regular file", path)
        return Entry(path, found.st_size, found.st_mtime_ns)

    def stat_all(self, paths: Sequence[str]) -> list[Entry | OSError]:
        """One by one: 2 µs each."""
        return [tried(self.stat, path) for path in paths]

    def open(self, path: str) -> BinaryIO:
        """The file itself."""
        return open(path, "rb", buffering=0)

    def open_seekable(self, path: str) -> BinaryIO:
        """The file itself, buffered."""
        return open(path, "rb")


def tried(stat: Callable[[str], Entry], path: str) -> Entry | OSError:
    """What `stat` tells of a file, or why it cannot."""
    try:
        return stat(path)
    except OSError as error:
        return error
