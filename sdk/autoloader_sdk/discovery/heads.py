"""The first bytes of a local file: decompressed, decoded, and refused where they are not text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import zlib
from dataclasses import dataclass
from typing import IO, Final

HEAD_BYTES: Final = 64 * 1024

# Spark, too, goes by the end of the name and never by the content.
_COMPRESSIONS: Final = {
    "gz": "gzip",
    "bz2": "bzip2",
    "deflate": "deflate",
    "lz4": "lz4",
    "snappy": "snappy",
    "xz": "xz",
    "zip": "zip",
    "zst": "zstd",
}

# What a file is that begins so, whatever its name says. None can begin a text; other binary files hold a NUL.
_SIGNATURES: Final = {
    b"\x1f\x8b": "gzip-compressed",
    b"BZh91AY&SY": "bzip2-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"\xfd7zXZ\x00": "xz-compressed",
    b"PK\x03\x04": "a zip archive (or an Excel workbook)",
}

# The longer mark first: UTF-32's begins with UTF-16's. Java's names; with those of the right, it takes the
# mark away.
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)


@dataclass(frozen=True, slots=True)
class Head:
    """The first bytes of a file, decompressed. `whole`: there are no more. `problem`: why there are none."""

    data: bytes
    whole: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A head as text. `encoding` is what to tell Spark; `problem` is why the bytes are not text."""

    text: str = ""
    encoding: str = "UTF-8"
    problem: str | None = None


def read_head(path: str, size: int = HEAD_BYTES) -> Head:
    """The first `size` bytes of a file, after decompression by the end of its name.

    OSError as `open` raises it: what a file that went away or is forbidden means is the caller's to say.
    """
    compression = _COMPRESSIONS.get(path.rpartition("/")[2].rpartition(".")[2].lower())
    if compression not in (None, "gzip", "bzip2"):
        why = f"it is {compression}-compressed; of compressed text only gzip (.gz) and bzip2 (.bz2) is read"
        return Head(b"", whole=True, problem=why)
    with open(path, "rb", buffering=0) as raw:
        if compression is None:
            data = raw.read(size)
            return Head(data, whole=len(data) < size)
        try:
            data = _decompressed(raw, compression).read(size)
        except EOFError:
            why = f"its {compression} data ends in the middle: it was cut short"
        except (gzip.BadGzipFile, zlib.error) as error:
            why = f"its {compression} data is damaged: {error}"
        except OSError as error:
            if error.errno is not None:  # of the file, not of bz2
                raise
            why = f"its {compression} data is damaged: {error}"
        else:
            return Head(data, whole=len(data) < size)
    return Head(b"", whole=True, problem=why)


def _decompressed(raw: IO[bytes], compression: str) -> IO[bytes]:
    return gzip.GzipFile(fileobj=raw) if compression == "gzip" else bz2.BZ2File(raw)  # type: ignore[return-value]


def decode_head(data: bytes, declared: str | None, *, whole: bool) -> Text:
    """Decode a head by the declared encoding, else by its byte order mark, else as UTF-8. Strictly.

    A head can only tell of itself: bytes further on that are not of this encoding are not seen here.
    """
    if data.startswith(tuple(_SIGNATURES)):
        what = next(what for signature, what in _SIGNATURES.items() if data.startswith(signature))
        return Text(problem=f"it is {what}, which neither its name nor the format says")
    encoding = codec = declared or "UTF-8"
    mark = b""
    for bom, codec_of_bom, name in _BYTE_ORDER_MARKS:
        if data.startswith(bom) and (declared is None or _same_family(declared, codec_of_bom)):
            mark, codec, encoding = bom, codec_of_bom, declared or name
            break
    else:
        codec = _JAVA_DEFAULTS.get(codecs.lookup(codec).name, codec)
    wide = codec.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32"))
    if not wide and b"\0" in data:
        return Text(encoding=encoding, problem=_nul_problem(data))
    try:
        text = codecs.getincrementaldecoder(codec)("strict").decode(data[len(mark) :], final=whole)
    except UnicodeDecodeError as error:
        at = error.start + len(mark)
        advice = (
            "set format.options.encoding to the right one"
            if declared
            else "set format.options.encoding, for example to windows-1252"
        )
        return Text(encoding=encoding, problem=f"byte {at} (0x{data[at]:02x}) is not {encoding}: {advice}")
    return Text(text, encoding)


# Without a byte order mark Java takes these as big-endian, Python as the machine's.
_JAVA_DEFAULTS: Final = {"utf-16": "utf-16-be", "utf-32": "utf-32-be"}


def _same_family(declared: str, codec: str) -> bool:
    return codecs.lookup(declared).name.rstrip("-lbe") == codec.rstrip("-lbe")


def _nul_problem(data: bytes) -> str:
    """NUL at every second place is UTF-16 of Latin text; anywhere else it is no text."""
    pairs = len(data) // 2
    if pairs and max(data[0::2].count(0), data[1::2].count(0)) > 0.7 * pairs:
        return "it looks like UTF-16 without a byte order mark: set format.options.encoding (UTF-16LE, UTF-16BE)"
    return f"byte {data.index(0)} is NUL: it is a binary file, not text"
