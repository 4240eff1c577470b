"""Objects of S3 as files of Python's."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any


class Stream(io.RawIOBase):
    """The chunks of a GET as a file that is read once."""

    def __init__(self, chunks: Iterator[Any], explain: Callable[[BaseException], OSError]) -> None:
        self._chunks = chunks
        self._explain = explain
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As many bytes as there are, up to the buffer's size; OSError as `explain` says it."""
        if not self._left:
            try:
                self._left = memoryview(next(self._chunks, b""))
            except Exception as error:
                raise self._explain(error) from None
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


class Seekable(io.RawIOBase):
    """obstore's reader as a file of Python's."""

    def __init__(self, reader: Any, explain: Callable[[BaseException], OSError]) -> None:
        self._reader = reader
        self._explain = explain

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """The place after that."""
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        """The place now."""
        return int(self._reader.tell())

    def readinto(self, buffer: Any) -> int:
        """As many bytes as there are, up to the buffer's size; OSError as `explain` says it."""
        try:
            taken = memoryview(self._reader.read(len(buffer)))
        except Exception as error:
            raise self._explain(error) from None
        buffer[: len(taken)] = taken
        return len(taken)
