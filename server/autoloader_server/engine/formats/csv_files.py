"""CSV: the header of each file is read here, since Spark goes by position and would put columns under other names."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar

from autoloader_sdk.discovery.csvfiles import MAX_RECORD_BYTES, CsvHead, CsvOptions, csv_head, csv_records
from autoloader_sdk.discovery.heads import HEAD_BYTES, Head
from autoloader_server.engine.changes import Change, Path
from autoloader_server.engine.errors import SCHEMA_MISMATCH, FileFailure
from autoloader_server.engine.formats.base import (
    CORRUPT_COLUMN,
    PATH_COLUMN,
    BadRecord,
    Look,
    Looks,
    by_name,
    not_known,
    sampled,
    shown_path,
    spark_options,
    spread,
    unopened,
)
from autoloader_server.engine.formats.csv_records import TEXT_COLUMN, no_records, parsed, texts, types_of
from autoloader_server.engine.formats.csv_values import Checks, raised
from autoloader_server.engine.formats.text import (
    CommentLines,
    EvenQuotes,
    QuoteCheck,
    StrictDecoder,
    Unreadable,
    is_wide,
    java_name,
    pieces,
    text_lines,
)
from autoloader_server.engine.place import LOCAL, Opener, Place
from autoloader_server.engine.required import any_lacking
from autoloader_server.engine.schema import as_text, merge
from autoloader_server.engine.sql import identifier

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructField, StructType

_SPARK_NAMES = {
    "delimiter": "sep",
    "quote": "quote",
    "escape": "escape",
    "comment": "comment",
    "line_separator": "lineSep",
    "null_value": "nullValue",
    "empty_value": "emptyValue",
    "nan_value": "nanValue",
    "positive_inf": "positiveInf",
    "negative_inf": "negativeInf",
    "date_format": "dateFormat",
    "timestamp_format": "timestampFormat",
    "timestamp_ntz_format": "timestampNTZFormat",
    "locale": "locale",
    "ignore_leading_white_space": "ignoreLeadingWhiteSpace",
    "ignore_trailing_white_space": "ignoreTrailingWhiteSpace",
}
# Up to here the types are taken from every row of the files that make the table; beyond, from a sample of files.
_INFER_ALL_BYTES = 256 * 2**20


# What Java takes for a double and a person does not (`1D`, ` 5`), and integers that a double would round.
_NUMBER = r"^(?:[+-]?(?!0*[1-9]\d{18,}$)(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|NaN|[+-]?Inf(?:inity)?)$"
_MARK = b"\xef\xbb\xbf"
# How many of them tell how many columns a file without a header has.
_FIRST_RECORDS = 100
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class _Group:
    """How files are read: `multiline` where a line may end within quotes; then `ends` is how they do (LF, CRLF, CR)."""

    columns: tuple[str, ...]
    encoding: str
    multiline: bool
    ends: str = ""


class Csv:
    """CSV with an ingestion's options; RFC 4180 where they say nothing."""

    reads_hastily: ClassVar[bool] = True

    def __init__(self, options: dict[str, Any], place: Place = LOCAL) -> None:
        self._place = place
        self._header = bool(options.get("header", True))
        self._head_options = CsvOptions.from_mapping(options)
        self._comment = str(options.get("comment") or "")
        # Quotes are doubled within quotes; Spark's own default is a backslash.
        quote = str(options.get("quote", '"'))
        self._parsing = {
            "escape": quote,
            # With pruning, a record with too few or too many fields is not noticed.
            "columnPruning": "false",
            "columnNameOfCorruptRecord": CORRUPT_COLUMN,
            "maxCharsPerColumn": "-1",
            "maxColumns": "100000",
            **spark_options(options, _SPARK_NAMES),
        }
        # These alone may be literals of an expression, which plans and errors show: the place's hold secrets.
        self._options = {**self._parsing, **place.options}
        self._checks = Checks(
            plain=self._options.get("locale", "en-US") == "en-US",
            infinite=(self._options.get("positiveInf", "Inf"), self._options.get("negativeInf", "-Inf")),
        )

    def look(self, files: Sequence[tuple[str, int]], known: StructType | None) -> Iterator[Look | FileFailure]:
        have = by_name(known) if known is not None else {}
        for path, size, opener in self._place.ahead(files, self._place.content):
            try:
                group, duplicates = self._look(path, opener())
            except (OSError, Unreadable) as error:
                yield unopened(path, error)
                continue
            if duplicates:
                names = ", ".join(repr(name) for name in duplicates)
                message = f"its header has columns that are the same but for case: {names}"
                yield FileFailure(path, SCHEMA_MISMATCH, message)
                continue
            unfamiliar = any(column.casefold() not in have for column in group.columns)
            yield Look(path, size, group, group.columns, checked=known is not None, unfamiliar=unfamiliar)

    def guess(self, files: Sequence[tuple[str, int]], known: StructType) -> list[Look] | None:
        """Each file's own header, and for the rest as the sample is: lines within quotes show at their end only."""
        sample = sampled(self, files, known)
        if sample is None:
            return None
        kinds = {(group.encoding, group.multiline, group.ends) for group in sample}
        if len(kinds) > 1:
            return None
        encoding, multiline, ends = kinds.pop()
        have = by_name(known)
        looks = []
        for path, size, begin in self._place.ahead(files, self._beginning):
            try:
                data = begin()
                head = self._head(data, whole=len(data) < HEAD_BYTES)
            except (OSError, Unreadable):
                return None
            group = _Group(self._names(self._columns(data, head)), head.encoding, multiline, ends)
            known_columns = all(column.casefold() in have for column in group.columns)
            if not known_columns or head.duplicates or group.encoding != encoding:
                return None
            looks.append(Look(path, size, group, group.columns, checked=True))
        return looks

    def infer(self, spark: SparkSession, looks: Sequence[Look]) -> StructType:
        from pyspark.sql.types import StructType

        if sum(look.size for look in looks) > _INFER_ALL_BYTES:
            looks = spread(looks)
        found = StructType([])
        for group, members in Looks(list(looks)).groups().items():
            assert isinstance(group, _Group)
            if group.columns:
                found = merge(found, self._infer(spark, group, [self._place.spark(look.path) for look in members]))
        return found

    def wider(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> Iterator[tuple[str, Change]]:  # noqa: ARG002 - a value shows when it is read
        return iter(())

    def absent(self, spark: SparkSession, files: Sequence[tuple[str, int]], data: StructType) -> set[Path]:  # noqa: ARG002 - a header is quickly read
        wanted = {field.name.casefold(): field.name for field in data.fields}
        for path, _ in files:
            try:
                beginning = self._beginning(path, 0)
                head = self._head(beginning, whole=len(beginning) < HEAD_BYTES)
            except (OSError, Unreadable):
                return set()
            for name in self._names(self._columns(beginning, head)):
                wanted.pop(name.casefold(), None)
            if not wanted:
                break
        return {(name,) for name in wanted.values()}

    def values(self, look: Look, record: str) -> Mapping[str, str | None]:
        assert isinstance(look.group, _Group)
        found = self._fields(record)
        if len(found) != len(look.group.columns):
            return {}
        nothing = {"", self._options.get("nullValue", "")}
        return {name: None if text in nothing else text for name, text in zip(look.group.columns, found, strict=True)}

    def out_of_shape(self, look: Look, record: str) -> str | None:
        assert isinstance(look.group, _Group)
        found, columns = len(self._fields(record)), len(look.group.columns)
        if found in (0, columns):
            return None
        return f"it has {found} field{'s' * (found != 1)}, its file {columns} column{'s' * (columns != 1)}"

    def _fields(self, record: str) -> list[str]:
        """The fields of a record; none where Python's reader cannot tell them."""
        return next(self._records(record), [])

    def _records(self, text: str) -> Iterator[list[str]]:
        """The fields of each record, up to where Python's reader cannot tell them."""
        how = self._head_options
        if how.line_separator:
            yield from csv_records(text, how)
            return
        escape = None if how.escape in ("", how.quote) else how.escape
        quoting: Any = csv.QUOTE_MINIMAL if how.quote else csv.QUOTE_NONE
        try:
            yield from csv.reader(
                io.StringIO(text, newline=""),
                delimiter=how.delimiter,
                quotechar=how.quote or None,
                escapechar=escape,
                quoting=quoting,
            )
        except (csv.Error, TypeError):  # the latter of a delimiter of several letters
            return

    def misfits(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> list[FileFailure]:  # noqa: ARG002 - a record of another type shows when it is read
        return []

    def read(
        self, spark: SparkSession, looks: Sequence[Look], data: StructType, *, keep_malformed: bool = False
    ) -> DataFrame:
        from pyspark.sql.connect import functions as F
        from pyspark.sql.types import StructField, StructType

        if keep_malformed:
            return self._by_record(spark, looks, data).drop(TEXT_COLUMN)
        group = looks[0].group
        assert isinstance(group, _Group)
        # By position.
        kinds = types_of(group.columns, data)
        schema = StructType([StructField(f"c{at}", self._checks.read_as(kind)) for at, kind in enumerate(kinds)])
        reader = spark.read.schema(schema).options(**self._reader(group))
        frame = reader.option("mode", "FAILFAST").csv([self._place.spark(look.path) for look in looks])
        at = {name.casefold(): f"c{position}" for position, name in enumerate(group.columns)}
        file = shown_path(schema)
        columns = [
            (
                self._held(at[name], field)
                if (name := field.name.casefold()) in at
                else F.lit(None).cast(field.dataType)
            ).alias(field.name)
            for field in data.fields
        ]
        return frame.select(*columns, file.alias(PATH_COLUMN))

    def _held(self, name: str, field: StructField) -> Column:
        """A column as `read_as` had it read, in its own type. A value that it does not hold fails the read."""
        from pyspark.sql.connect import functions as F

        column = F.col(name)
        checked = self._checks.quick(name, field.dataType)
        if checked is None:
            return column
        value, holds = checked
        return F.when(column.isNull() | holds, value).otherwise(raised(field))

    def _by_record(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> DataFrame:
        """Each record by itself, with its text: as exact as can be, and with more work for Spark than `read`."""
        group = looks[0].group
        assert isinstance(group, _Group)
        width = len(group.columns)
        if not width:
            return no_records(spark, data)
        # The one line that Spark would take for no value, and which is no record of as many fields.
        quoted = 2 * self._parsing.get("quote", '"')
        nothing = (self._parsing.get("nullValue") or quoted) if width > 1 else self._head_options.delimiter
        paths = [self._place.spark(look.path) for look in looks]
        ends = group.ends or self._head_options.line_separator
        records = texts(spark, paths, width, self._reader(group), ends)
        parsing = {**self._parsing, "multiLine": str(group.multiline).lower()}
        return parsed(records, group.columns, data, parsing, self._checks, ends=group.ends, nothing=nothing)

    def has_records(self, look: Look) -> bool:  # noqa: ARG002 - what could not be cut into records is no Look
        return True

    def garbled(self, look: Look, data: StructType | None) -> Iterator[BadRecord]:  # noqa: ARG002 - what Spark does not refuse it reads right
        return iter(())

    def sifted(self, spark: SparkSession, looks: Sequence[Look], data: StructType, *, all_known: bool) -> DataFrame:
        from pyspark.sql.connect import functions as F

        text = F.col(CORRUPT_COLUMN)
        frame = self._by_record(spark, looks, data)
        lacks = any_lacking(data, lambda name: F.col(identifier(name)))
        if lacks is not None:
            text = F.coalesce(text, F.when(lacks, F.col(TEXT_COLUMN)))
        if all_known:
            known = F.sha2(text, 256).isin(list({record.digest for look in looks for record in look.bad}))
            text = F.when(text.isNull() | known, text).otherwise(not_known())
        return frame.withColumn(CORRUPT_COLUMN, text).drop(TEXT_COLUMN)

    def lines(self, look: Look) -> Iterator[str]:
        assert isinstance(look.group, _Group)
        return text_lines(pieces(look.path, opener=partial(self._place.store.open, look.path)), look.group.encoding)

    def _look(self, path: str, opener: Opener) -> tuple[_Group, tuple[str, ...]]:
        """How to read one file, and the names that its header has more than once. Reads all of it."""
        stream = pieces(path, opener=opener)
        data = next(stream, b"")
        after = next(stream, None)
        head = self._head(data, whole=after is None)
        duplicates = head.duplicates if self._header else ()
        columns = self._columns(data, head)
        options = self._head_options
        decoder = partial(StrictDecoder, head.encoding, declared=options.encoding is not None, start=data[:4])
        wide = is_wide(head.encoding)
        multiline = wide or len(columns) == 1 or bool(self._comment) or bool(options.line_separator)
        content: Iterable[bytes] = [data] if after is None else chain([data, after], stream)
        if not multiline and options.quote.isascii() and options.escape in ("", options.quote):
            if _has_even_lines(content, decoder(), options.quote):
                return _Group(self._names(columns), head.encoding, multiline=False), duplicates
            content = [data] if after is None else pieces(path, opener=opener)
        own = options.line_separator
        quotes = QuoteCheck(options.quote, options.escape, options.delimiter, self._comment, line_separator=own)
        _follow(content, decoder(), quotes, decoded=wide or not options.delimiter.isascii())
        multiline = multiline or quotes.broken_lines
        if (quotes.broken_lines or own) and quotes.stray:
            raise Unreadable("a quote in it is never closed, or stands within a field without being doubled")
        if own and quotes.ends_in_usual_end:
            raise Unreadable(f"a line's end stands behind its last {own!r}: take it away, or write a {own!r} behind it")
        if multiline and len(quotes.ends) > 1:
            raise Unreadable(
                f"its lines end in different ways ({', '.join(sorted(quotes.ends))}): write them all alike"
            )
        if multiline and head.blanks_first:
            raise Unreadable("its first line holds nothing but blanks: take it away")
        ends = next(iter(quotes.ends), "") if multiline else ""
        return _Group(self._names(columns), head.encoding, multiline, ends), duplicates

    def _begin(self, data: bytes) -> bytes:
        """The first bytes of a file without a byte order mark, and without comments if a line ends in one byte."""
        options = self._head_options
        data = data.removeprefix(_MARK)
        if not self._comment or data.startswith(_WIDE_MARKS) or is_wide(options.encoding or "utf-8"):
            return data
        return CommentLines(self._comment, options.quote, options.escape, options.line_separator).rest(data, final=True)

    def _columns(self, beginning: bytes, head: CsvHead) -> tuple[str, ...]:
        """The first record; without a header as many names as most of the first records have fields."""
        if self._header:
            return tuple(head.columns)
        cut = len(beginning) >= HEAD_BYTES
        text = self._begin(beginning[:HEAD_BYTES]).decode(head.encoding, "replace")
        records = list(islice(self._records(text), _FIRST_RECORDS + 1))
        widths = Counter(len(record) for record in records[: -1 if cut else None] if record)
        # Of widths that are as frequent the first.
        return ("",) * (widths.most_common(1)[0][0] if widths else len(head.columns))

    def _beginning(self, path: str, size: int) -> bytes:  # noqa: ARG002 - as `ahead` calls it
        return next(pieces(path, HEAD_BYTES, partial(self._place.store.open, path)), b"")

    def _head(self, data: bytes, *, whole: bool) -> CsvHead:
        for most in (HEAD_BYTES, MAX_RECORD_BYTES):
            part = data[:most]
            mark = part[: len(_MARK)] if part.startswith(_MARK) else b""
            whole_part = whole and len(part) == len(data)
            head = csv_head(Head(mark + self._begin(part), whole=whole_part), self._head_options)
            if head is not None:
                if head.problem:
                    raise Unreadable(head.problem)
                return head
        raise Unreadable("its first record is longer than 1 MiB: a quote is not closed, or the delimiter is another")

    def _infer(self, spark: SparkSession, group: _Group, paths: list[str]) -> StructType:
        from pyspark.sql.connect import functions as F
        from pyspark.sql.types import DoubleType, StringType, StructField, StructType

        options = self._reader(group)
        inferred = spark.read.options(**options).option("inferSchema", "true").csv(paths).schema
        kinds = [field.dataType for field in inferred.fields][: len(group.columns)]
        # Spark leaves out what it saw no value of, as in a file with a header alone.
        kinds += [StringType() for _ in range(len(group.columns) - len(kinds))]
        found = StructType([StructField(name, kind) for name, kind in zip(group.columns, kinds, strict=True)])
        doubles = [at for at, kind in enumerate(kinds) if isinstance(kind, DoubleType)]
        if not doubles:
            return found
        as_texts = StructType([StructField(f"c{at}", StringType()) for at in range(len(kinds))])
        frame = spark.read.schema(as_texts).options(**options).csv(paths)
        special = [options[name] for name in ("nanValue", "positiveInf", "negativeInf") if name in options]
        wrong = [
            F.max(~F.col(f"c{at}").isin(special) & (~F.col(f"c{at}").rlike(_NUMBER) | _beyond_double(f"c{at}")))
            for at in doubles
        ]
        row = frame.agg(*[one.alias(f"c{at}") for at, one in zip(doubles, wrong, strict=True)]).collect()[0]
        for at in doubles:
            if row[f"c{at}"]:
                found = as_text(found, (group.columns[at],))
        return found

    def _names(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """What Spark would call the columns."""
        if not self._header:
            return tuple(f"_c{at}" for at in range(len(columns)))
        return tuple(name if name.strip() else f"_c{at}" for at, name in enumerate(columns))

    def _reader(self, group: _Group) -> dict[str, str]:
        return {
            **self._options,
            "header": str(self._header).lower(),
            "encoding": java_name(group.encoding),
            "multiLine": str(group.multiline).lower(),
        }


def _beyond_double(name: str) -> Column:
    """Whether a number, not written as infinite, is read as infinite."""
    from pyspark.sql.connect import functions as F

    return F.expr(f"NOT {name} ILIKE '%inf%' AND abs(try_cast({name} AS DOUBLE)) = DOUBLE('Infinity')")


def _has_even_lines(content: Iterable[bytes], decoder: StrictDecoder, quote: str) -> bool:
    """Whether no line of a file ends within quotes. Reads on until one does; raises Unreadable as the decoder does."""
    quotes = EvenQuotes(quote)
    for piece in content:
        decoder.check(piece)
        if not quotes.even(piece):
            return False
    decoder.decode(b"", final=True)
    return quotes.even(b"", final=True)


def _follow(content: Iterable[bytes], decoder: StrictDecoder, quotes: QuoteCheck, *, decoded: bool) -> None:
    mark = _MARK
    for piece in content:
        if decoded:
            decoder.refuse_nul(piece)
            text = decoder.decode(piece).encode()
        else:
            decoder.check(piece)
            text = piece
        quotes.check(text.removeprefix(mark))
        mark = b""
    decoder.decode(b"", final=True)
    quotes.check(b"", final=True)
