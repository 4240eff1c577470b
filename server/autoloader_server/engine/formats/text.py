"""The whole of a text file, read once before Spark reads it.

Spark puts U+FFFD for what it cannot decode, and takes all that follows a quote which is never closed for one value,
both without an error. Reading a file here costs a few percent of loading it, and most of its bytes are looked at only
by C loops (ASCII or not, a quote or none).
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from autoloader_sdk.discovery.heads import decode_head, not_text

if TYPE_CHECKING:
    import numpy as np

PIECE_BYTES: Final = 8 * 2**20
_HEAD_BYTES: Final = 64 * 1024
_PACKED_BYTES: Final = 64 * 1024
_GZIP, _BZIP2 = ".gz", ".bz2"
# What Hadoop takes for a codec, or people for compressed; of these Spark reads text from the first two only.
_COMPRESSED: Final = {
    _GZIP: "gzip",
    _BZIP2: "bzip2",
    ".deflate": "deflate",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".snappy": "snappy",
    ".lz4": "lz4",
    ".xz": "xz",
    ".zip": "zip",
    ".br": "brotli",
}
# Python's names of encodings for which Java has another.
_JAVA_NAMES: Final = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "ascii": "US-ASCII",
    "iso8859-1": "ISO-8859-1",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16LE",
    "utf-16-be": "UTF-16BE",
    "utf-32": "UTF-32",
    "utf-32-le": "UTF-32LE",
    "utf-32-be": "UTF-32BE",
    "mac-roman": "x-MacRoman",
}
# Without a byte order mark Java takes these as big-endian, Python as the machine's.
_BIG_ENDIAN: Final = {"utf-16": "utf-16-be", "utf-32": "utf-32-be"}


class Unreadable(ValueError):
    """A file's content is not what its name and the options say; the message is a sentence about the file."""


def java_name(encoding: str) -> str:
    """An encoding as Spark takes it: Python knows more spellings (`latin-1`) than Java."""
    name = codecs.lookup(encoding).name
    if name.startswith("cp125"):
        return "windows-" + name[2:]
    return _JAVA_NAMES.get(name, name)


def is_utf8(encoding: str | None) -> bool:
    return encoding is None or java_name(encoding) == "UTF-8"


def is_wide(encoding: str) -> bool:
    """Whether a line does not end in a single byte."""
    return codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


def pieces(path: str, size: int = PIECE_BYTES, opener: Callable[[], BinaryIO] | None = None) -> Iterator[bytes]:
    """A file's decompressed content, without an `opener` a local one's: in pieces of `size`, and what is left.

    Raises Unreadable where it is damaged, OSError as opening and reading it do.
    """
    suffix = compression(path)
    with opener() if opener is not None else open(path, "rb", buffering=0) as raw:
        if suffix is None:
            while piece := raw.read(size):
                yield piece
            return
        name = _COMPRESSED[suffix]
        try:
            yield from _gunzipped(raw, size) if suffix == _GZIP else _bunzipped(raw, size)
        except EOFError as error:
            raise Unreadable(f"its {name} data ends in the middle: it was cut short; write it again, whole") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise Unreadable(f"its {name} data is damaged: {error}; write it again") from error
        except OSError as error:
            if error.errno is not None:  # of the file, not of bz2
                raise
            raise Unreadable(f"its {name} data is damaged: {error}; write it again") from error


def _gunzipped(raw: BinaryIO, size: int) -> Iterator[bytes]:
    stream = gzip.GzipFile(fileobj=raw)
    while piece := stream.read(size):
        yield piece


def _bunzipped(raw: BinaryIO, size: int) -> Iterator[bytes]:
    """One stream after another, as parallel compressors write them.

    Python's own reader leaves out what follows a stream and begins none, and so does Spark's: without a word.
    """
    stream: bz2.BZ2Decompressor | None = None
    packed = b""
    piece = bytearray()
    while True:
        if not packed and (stream is None or stream.needs_input):
            # A little at a time: what is left behind a stream's end is copied.
            packed = raw.read(_PACKED_BYTES)
            if not packed:
                break
        stream = stream or bz2.BZ2Decompressor()
        piece += stream.decompress(packed, size - len(piece))
        packed = b""
        if stream.eof:
            packed, stream = stream.unused_data, None
        if len(piece) == size:
            yield bytes(piece)
            piece.clear()
    if stream is not None:
        raise EOFError
    if piece:
        yield bytes(piece)


def text_lines(stream: Iterator[bytes], encoding: str) -> Iterator[str]:
    """The lines of a text that was found to be of this encoding, without their ends; any mark before them is gone."""
    decode = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("replace"), translate=True).decode
    left = ""
    for piece in stream:
        *whole, left = (left + decode(piece)).split("\n")
        yield from (line.removeprefix("\ufeff") for line in whole)
    left += decode(b"", final=True)
    if left:
        yield left.removesuffix("\n").removeprefix("\ufeff")


def compression(path: str) -> str | None:
    """The ending of a compressed file's name, None for a plain one. Raises Unreadable where Spark cannot read it."""
    name = path.rpartition("/")[2]
    suffix = "." + name.rpartition(".")[2]
    known = _COMPRESSED.get(suffix.lower())
    if known is None or "." not in name:
        return None
    if suffix.lower() not in (_GZIP, _BZIP2):
        raise Unreadable(f"it is {known}-compressed; of compressed text only gzip (.gz) and bzip2 (.bz2) is read")
    if suffix != suffix.lower():
        raise Unreadable(f"its name ends in {suffix}, which Spark does not take for {known}: name it {suffix.lower()}")
    return suffix


def check_head(data: bytes, declared: str | None, *, whole: bool) -> str:
    """The encoding that a file is written in, from its first bytes. Raises Unreadable for what is no text."""
    if declared is None and data.isascii() and b"\0" not in data:
        return "UTF-8"
    head = data[:_HEAD_BYTES]
    decoded = decode_head(head, declared, whole=whole and len(head) == len(data))
    if decoded.problem:
        raise Unreadable(decoded.problem)
    return decoded.encoding


class StrictDecoder:
    """Holds a file's bytes, piece by piece, against its encoding. Raises Unreadable at a byte that is not of it."""

    def __init__(self, encoding: str, *, declared: bool, start: bytes = b"") -> None:
        name = codecs.lookup(encoding).name
        if name in _BIG_ENDIAN and not start.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
            name = _BIG_ENDIAN[name]
        self._decoder = codecs.getincrementaldecoder(name)("strict")
        self._encoding = encoding
        self._declared = declared
        self._plain = not is_wide(encoding)
        self._at = 0

    def check(self, piece: bytes, *, final: bool = False) -> None:
        """As `decode`; what is ASCII in an encoding that keeps ASCII is not decoded."""
        self.refuse_nul(piece)
        if self._plain and not self._decoder.getstate()[0] and piece.isascii():
            self._at += len(piece)
            return
        self.decode(piece, final=final)

    def refuse_nul(self, piece: bytes) -> None:
        """Raises Unreadable for the NUL of a binary file; in UTF-16 and UTF-32 it is half a letter."""
        if self._plain and b"\0" in piece:
            raise Unreadable(not_text(self._at + piece.index(0)))

    def decode(self, piece: bytes, *, final: bool = False) -> str:
        held = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            at = self._at - held + error.start
            advice = (
                "set format.options.encoding to the right one"
                if self._declared
                else "set format.options.encoding, for example to windows-1252"
            )
            raise Unreadable(
                f"byte {at} (0x{error.object[error.start]:02x}) is not {self._encoding}: {advice}"
            ) from error
        self._at += len(piece)
        return text


class CommentLines:
    """Leaves the comments of a CSV file out, piece by piece: lines that begin with a character, outside of quotes.

    `line_separator`: what ends a line, if that is not one of the usual ends.
    """

    def __init__(self, comment: str, quote: str, escape: str, line_separator: str = "") -> None:
        self._comment = comment.encode()
        self._own_end = re.compile(b"(?<=" + re.escape(line_separator.encode()) + b")") if line_separator else None
        self._quote = quote.encode() or b"\0"
        self._escape = escape.encode() if escape != quote else b""
        self._held = b""
        self._within = False

    def rest(self, piece: bytes, *, final: bool = False) -> bytes:
        """What of this piece, and of a line that the one before had begun, is no comment."""
        data = self._held + piece
        lines = self._own_end.split(data) if self._own_end else data.splitlines(keepends=True)
        self._held = b"" if final or not lines else lines.pop()
        return b"".join(line for line in lines if not self._is_comment(line))

    def _is_comment(self, line: bytes) -> bool:
        if not self._within and line.startswith(self._comment):
            return True
        if self._escape:
            line = line.replace(self._escape + self._escape, b"").replace(self._escape + self._quote, b"")
        self._within ^= line.count(self._quote) % 2 == 1
        return False


class EvenQuotes:
    """Whether the quotes in each line of a CSV file are even in number: then no line ends within them.

    Of such a file, and most are, nothing else about its quotes matters; QuoteCheck takes two to three times as long.
    """

    def __init__(self, quote: str) -> None:
        self._quote = quote.encode() or b"\0"  # an empty one turns quoting off
        self._others = bytes(set(range(256)) - set(self._quote + b"\r\n"))
        self._held = b""

    def even(self, piece: bytes, *, final: bool = False) -> bool:
        """Whether they are in the lines that end in this piece."""
        marks = self._held
        if self._quote in piece or marks:
            # Quotes and line ends alone are left: a tenth of most files.
            marks += piece.translate(None, self._others)
        whole = len(marks) if final else max(marks.rfind(b"\n"), marks.rfind(b"\r")) + 1
        self._held = marks[whole:]
        return self._quote not in marks[:whole].replace(self._quote * 2, b"")


class QuoteCheck:
    """Follows the quotes of a CSV file as RFC 4180 has them, piece by piece.

    A quoted field begins after a delimiter or a line's end, and ends before one; a quote within is doubled. What does
    not keep to that is let through as long as it stays in its line (`5" disk, 3" disk`): then no record is lost by it.
    Lines that begin with `comment`, if that is not empty, are left out. `line_separator`: the byte that ends a line, if
    that is not one of the usual ends.
    """

    def __init__(self, quote: str, escape: str, delimiter: str, comment: str = "", *, line_separator: str = "") -> None:
        self._comments = CommentLines(comment, quote, escape, line_separator) if comment else None
        self._quote = quote.encode() or b"\0"  # an empty one turns quoting off
        self._escape = escape.encode() if escape != quote else b""
        self._own_end = line_separator.encode()
        # One of several bytes is followed as a NUL, which is in no text.
        one = delimiter.encode()
        self._long_delimiter = one if len(one) > 1 and quote else b""
        # What may stand before a field's first quote, and after its last one.
        ends = self._own_end or b"\r\n"
        self._beside = frozenset(ends + self._quote + (b"\0" if self._long_delimiter else one))
        # What may be the beginning of more.
        self._unsure = frozenset(self._quote + self._escape + b"\r" + self._long_delimiter)
        self._held = b""
        self._last = ends[-1]
        self._quotes = 0
        self.stray = False
        self.broken_lines = False
        """Whether a line's end stands within quotes: then Spark must not read line by line."""
        self.ends: set[str] = set()
        """How its lines end, outside of quotes: LF, CRLF, CR; nothing where that was told."""

    @property
    def ends_in_usual_end(self) -> bool:
        """Whether the last byte so far is that of LF or CR."""
        return self._last in b"\r\n"

    def check(self, piece: bytes, *, final: bool = False) -> None:
        if self._comments is not None:
            piece = self._comments.rest(piece, final=final)
        data = self._held + piece if self._held else piece
        self._held = b""
        if not final:
            # What follows the last bytes is not known yet.
            keep = len(data)
            while keep and data[keep - 1] in self._unsure:
                keep -= 1
            data, self._held = data[:keep], data[keep:]
        if self._long_delimiter:
            data = data.replace(self._long_delimiter, b"\0")
        if self._escape:
            data = data.replace(self._escape + self._escape, b"").replace(self._escape + self._quote, b"")
        if not data:
            pass
        elif self._quote in data or self._quotes % 2 or b"\r" in data:
            self._follow(data)
        elif b"\n" in data and not self._own_end:
            self.ends.add("LF")
        if data:
            self._last = data[-1]
        if final and self._quotes % 2:
            self.stray = self.broken_lines = True

    def _follow(self, data: bytes) -> None:
        import numpy as np

        found = np.frombuffer(data, np.uint8)
        quotes = np.flatnonzero(found == self._quote[0])
        ends = np.flatnonzero(found == self._own_end[0] if self._own_end else (found == 0x0A) | (found == 0x0D))
        if ends.size:
            within = ((np.searchsorted(quotes, ends) + self._quotes) & 1).astype(bool)
            self.broken_lines = self.broken_lines or bool(within.any())
            if not self._own_end:
                self._note_ends(found, ends[~within])
        if not self.stray and quotes.size:
            opening = quotes[self._quotes % 2 :: 2]
            closing = quotes[1 - self._quotes % 2 :: 2]
            self.stray = not (
                self._all_in(found, opening[opening > 0] - 1, self._beside)
                and (opening.size == 0 or opening[0] > 0 or self._last in self._beside)
                and self._all_in(found, closing[closing < found.size - 1] + 1, self._beside)
            )
        self._quotes += int(quotes.size)

    def _note_ends(self, found: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]) -> None:
        import numpy as np

        returns = ends[found[ends] == 0x0D]
        paired = int((found[np.minimum(returns + 1, found.size - 1)] == 0x0A).sum()) if returns.size else 0
        kinds = (("CRLF", paired), ("CR", returns.size - paired), ("LF", ends.size - returns.size - paired))
        self.ends.update(name for name, count in kinds if count)

    @staticmethod
    def _all_in(found: np.ndarray[Any, Any], at: np.ndarray[Any, Any], allowed: frozenset[int]) -> bool:
        import numpy as np

        return bool(np.isin(found[at], list(allowed)).all())
