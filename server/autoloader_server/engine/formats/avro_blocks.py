"""An Avro file from its first byte to its last, before Spark reads it.

The Java library takes an end in the middle of a block for the end of the data, without an error (its
DataFileStream.hasNext catches EOFException), so a file that was cut short would lose rows silently. A cut exactly
between two blocks cannot be told from a whole file: Avro writes down no number of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from autoloader_server.engine.formats.text import PIECE_BYTES, Unreadable

_MAGIC: Final = b"Obj\x01"
_SYNC_BYTES: Final = 16
# What the Avro inside Spark decompresses.
_CODECS: Final = ("null", "deflate", "snappy", "bzip2", "xz", "zstandard")
# Of a 64-bit number, by 7 bits each.
_LONGEST_NUMBER: Final = 10
# Of a name or a value in the header, which is held in memory.
_LONGEST_ENTRY: Final = 64 * 2**20
_CUT_SHORT: Final = "it ends in the middle of its Avro data: it was cut short; write it again, whole"
_DAMAGED: Final = "its Avro data is damaged"


def schema_of_whole(file: BinaryIO) -> str:
    """The schema that the header tells, as JSON; all blocks after it were walked through.

    Raises Unreadable where the file is not whole, OSError as reading it does.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise Unreadable("it is not an Avro file")
    header = _header(file)
    sync = _take(file, _SYNC_BYTES)
    codec = header.get(b"avro.codec", b"null").decode("utf-8", "replace")
    if codec not in _CODECS:
        raise Unreadable(f"its Avro codec is {codec!r}; read are {', '.join(_CODECS)}")
    while first := file.read(1):
        records, length = _number(file, first), _number(file)
        if records < 0 or length < 0:
            raise Unreadable(f"{_DAMAGED}: a block has a negative length")
        for _ in _pieces(file, length):
            pass
        if _take(file, _SYNC_BYTES) != sync:
            raise Unreadable(f"{_DAMAGED}: a block does not end with the file's marker")
    try:
        return header[b"avro.schema"].decode("utf-8")
    except (KeyError, UnicodeDecodeError) as error:
        raise Unreadable(f"{_DAMAGED}: its header has no schema") from error


def _header(file: BinaryIO) -> dict[bytes, bytes]:
    """The map in the header: runs of entries, each run after their number, the last one empty."""
    found: dict[bytes, bytes] = {}
    while entries := _number(file):
        if entries < 0:  # then the run's length in bytes follows
            _number(file)
        for _ in range(abs(entries)):
            key = _take(file, _number(file))
            found[key] = _take(file, _number(file))
    return found


def _number(file: BinaryIO, first: bytes = b"") -> int:
    """A zigzag number of variable length; `first` is its first byte, where that was read already."""
    value = 0
    for position in range(_LONGEST_NUMBER):
        byte = (first or _take(file, 1))[0]
        first = b""
        value |= (byte & 0x7F) << (7 * position)
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1)
    raise Unreadable(f"{_DAMAGED}: a length in it is none")


def _take(file: BinaryIO, length: int) -> bytes:
    if not 0 <= length <= _LONGEST_ENTRY:
        raise Unreadable(f"{_DAMAGED}: a length in its header is none")
    return b"".join(_pieces(file, length))


def _pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        piece = file.read(min(length, PIECE_BYTES))
        if not piece:
            raise Unreadable(_CUT_SHORT)
        length -= len(piece)
        yield piece
