"""The first bytes of a file: decoded, and refused where they are not text."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

HEAD_BYTES: Final = 64 * 1024
# What ends a line unless an ingestion says otherwise; told one of them, others are still read as such.
LINE_ENDS: Final = ("\n", "\r\n", "\r")

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
    """The first bytes of a file, decompressed. `whole`: there are no more."""

    data: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Text:
    """A head as text. `encoding` is what to tell Spark; `problem` is why the bytes are not text."""

    text: str = ""
    encoding: str = "UTF-8"
    problem: str | None = None


def decode_head(data: bytes, declared: str | None, *, whole: bool) -> Text:
    """Decode a head by the declared encoding, else by its byte order mark, else as UTF-8. Strictly.

    A head can only tell of itself: bytes further on that are not of this encoding are not seen here.
    """
    if data.startswith(tuple(_SIGNATURES)):
        what = next(what for signature, what in _SIGNATURES.items() if data.startswith(signature))
        return Text(problem=f"it is {what}, which its name does not say")
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
    return not_text(data.index(0))


def not_text(at: int) -> str:
    """What is wrong with a file whose byte `at` (from 0) is NUL, and what to do."""
    return (
        f"byte {at} is NUL: it is a binary file, not text; leave it out by file_pattern, or load it by its own format"
    )
