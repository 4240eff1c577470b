"""What has to be known of a CSV file before Spark reads it: its header, and that it is text at all.

Spark goes by the position of columns: files whose headers differ land in the wrong columns without an error.
It reads binary files, other encodings, and compressed files under another name as rows of rubbish. So the
head of each file is looked at first.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from autoloader_sdk.discovery.heads import LINE_ENDS, Head, decode_head

# A first record longer than this (20,000 columns fit) is taken for a quote that is never closed.
MAX_RECORD_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How a CSV file is written: RFC 4180 in UTF-8, unless told otherwise."""

    delimiter: str = ","
    quote: str = '"'  # may be empty: nothing is quoted
    escape: str = '"'
    encoding: str | None = None  # None: by the byte order mark, else UTF-8
    line_separator: str = ""  # empty: LF, CRLF or CR; told, the only end of a record

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> CsvOptions:
        """Read `format.options`, Spark's own names too. ValueError names the option at fault."""
        delimiter = _text(options, "delimiter", "sep") or ","
        delimiter = "\t" if delimiter == "\\t" else delimiter
        quote = _text(options, "quote")
        quote = '"' if quote is None else quote
        escape = _text(options, "escape") or quote
        for name, value in (("quote", quote), ("escape", escape)):
            if len(value) > 1 or not value.isascii():
                raise ValueError(f"format.options.{name} is {value!r}: it must be one character of ASCII")
        comment = _text(options, "comment") or ""
        if not comment.isascii():
            raise ValueError(f"format.options.comment is {comment!r}: it must be one character of ASCII")
        encoding = _text(options, "encoding", "charset")
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError as error:
                raise ValueError(f"format.options.encoding is {encoding!r}: no such encoding") from error
        ends = _text(options, "line_separator", "lineSep") or ""
        own = "" if ends in LINE_ENDS else ends
        # Spark does not see an end of two characters behind a closing quote, and takes two records for one.
        if len(own) > 1 or not own.isascii():
            raise ValueError(
                f"format.options.line_separator is {own!r}: in CSV it is one character of ASCII, or a usual line end"
            )
        if quote and quote in delimiter:
            raise ValueError(f"format.options.delimiter is {delimiter!r}: the quote {quote!r} is in it")
        if own and own in f"{delimiter}{quote}{escape}{comment}":
            raise ValueError(f"format.options.line_separator is {own!r}: another option has the same character")
        return cls(delimiter, quote, escape, encoding, own)

    @property
    def line_end(self) -> str:
        """What ends a record, as a pattern."""
        return re.escape(self.line_separator) or r"\r\n|\r|\n"


def _text(options: Mapping[str, object], *names: str) -> str | None:
    for name in names:
        value = options.get(name)
        if value is not None:
            if not isinstance(value, str):
                raise ValueError(f"format.options.{name} is {value!r}: it must be text")
            return value
    return None


@dataclass(frozen=True, slots=True)
class CsvHead:
    """The head of a CSV file.

    `columns` are the fields of the first record that is not blank, as they stand in the file: the header, or,
    of a file without one, the first row; none where there is no record at all. `encoding` is what to tell
    Spark. `problem` is a sentence why the file must not be loaded. `blanks_first`: a line of blanks stands before it.
    """

    columns: tuple[str, ...] = ()
    encoding: str = "UTF-8"
    problem: str | None = None
    blanks_first: bool = False

    @property
    def duplicates(self) -> tuple[str, ...]:
        """Names that stand there more than once, without regard to case, as Spark compares them."""
        count = Counter(column.casefold() for column in self.columns if column)
        return tuple(dict.fromkeys(column for column in self.columns if count[column.casefold()] > 1))


def csv_head(head: Head, options: CsvOptions) -> CsvHead | None:
    """The head of a CSV file from its first bytes; None if they end before the first record does."""
    decoded = decode_head(head.data, options.encoding, whole=head.whole)
    about = CsvHead(encoding=decoded.encoding)
    if decoded.problem:
        return replace(about, problem=decoded.problem)
    text = decoded.text
    blank = re.compile(rf"(?:[ \t]*(?:{options.line_end}))*+(?:[ \t]*\Z)?")
    start = blank.match(text).end()  # type: ignore[union-attr]  # it matches the empty string too
    about = replace(about, blanks_first=any(blank in text[:start] for blank in " \t"))
    if start == len(text) and head.whole:
        return about
    record = _record_at(text, start, options, whole=head.whole)
    if record is None:
        return replace(about, problem="its first record has a quote that is never closed") if head.whole else None
    return replace(about, columns=tuple(record[0]))


def csv_records(text: str, options: CsvOptions) -> Iterator[list[str]]:
    """The fields of each record of a text, up to one with a quote that is not closed. Empty lines are none."""
    at = 0
    while at < len(text):
        found = _record_at(text, at, options, whole=True)
        if found is None:
            return
        fields, at = found
        if fields != [""]:
            yield fields


def _record_at(text: str, start: int, options: CsvOptions, *, whole: bool) -> tuple[list[str], int] | None:
    """The fields of the record at `start`, and where the next one begins; None if the text ends before it does."""
    line_end = re.compile(options.line_end).search(text, start)
    if line_end is None and not whole:
        return None
    line = text[start : line_end.start() if line_end else len(text)]
    if not options.quote or options.quote not in line:  # nearly every header
        return line.split(options.delimiter), line_end.end() if line_end else len(text)
    fields: list[str] = []
    field_end = re.compile(rf"{re.escape(options.delimiter)}|{options.line_end}")
    at = start
    while True:
        quoted = ""
        if text.startswith(options.quote, at):
            closed = _quoted_field(text, at + 1, options)
            if closed is None:
                return None
            quoted, at = closed
        end = field_end.search(text, at)
        if end is None and not whole:
            return None
        fields.append(quoted + text[at : end.start() if end else len(text)])
        if end is None:
            return fields, len(text)
        at = end.end()
        if end[0] != options.delimiter:
            return fields, at


def _quoted_field(text: str, at: int, options: CsvOptions) -> tuple[str, int] | None:
    """What stands between the quotes, the first of them before `at`, and the place after the second."""
    special = re.compile(f"[{re.escape(options.quote)}{re.escape(options.escape)}]")
    value = ""
    while found := special.search(text, at):
        value += text[at : found.start()]
        at = found.end()
        following = text[at : at + 1]
        if found[0] == options.escape and following in (options.quote, options.escape) and following:
            value += following
            at += 1
        elif found[0] == options.quote:
            return value, at
        else:
            value += found[0]
    return None
