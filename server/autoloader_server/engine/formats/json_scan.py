"""Whether JSON fits a Spark schema: no field that it lacks, no value of another type, no key twice. At 0.4 GB/s.

Spark drops fields that its schema lacks, and rounds numbers, without a word. So each file is decoded here against types
made from the schema; what those refuse is walked through value by value, which is slow and rare.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from autoloader_server.engine.formats.base import Strange

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructType

Path = tuple[str, ...]
_UNKNOWN = msgspec.UNSET
_LONG = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_INT = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
# An integer beyond 64 bits would lose digits.
_DOUBLE = _LONG | float
# Integers up to here, and all numbers up to there, a float holds.
_FLOAT_WHOLE = 2**24
_FLOAT_LARGEST = 3.4028234663852886e38
_FLOAT = (
    Annotated[int, msgspec.Meta(ge=-_FLOAT_WHOLE, le=_FLOAT_WHOLE)]
    | Annotated[float, msgspec.Meta(ge=-_FLOAT_LARGEST, le=_FLOAT_LARGEST)]
)
_MOST_DIGITS = 38
# The power of ten of the largest double; what is beyond would be read as infinite.
_LARGEST = 308
# What a message shows of a number.
_SHOWN_BITS = 300
_SHOWN_LETTERS = 60
_ENCODER = msgspec.json.Encoder()
# A colon, written otherwise.
_HIDDEN_COLONS = (b"\\u003a", b"\\u003A")
# More unknown fields than this are not learned: they are data in the place of names.
_MOST_LEARNED = 200


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """`{}`."""


# What msgspec refuses; of a name that is not UTF-8; of what is nested too deeply for it.
UNREAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EMPTY: Any = Annotated[list[msgspec.Raw], msgspec.Meta(max_length=0)] | _Nothing | None


class Scanner:
    """Holds bytes of strict JSON against the columns of a table."""

    def __init__(self, schema: StructType) -> None:
        self._schema = schema
        self._nameable = _nameable(schema)
        # Unknown fields that files have had so far: those with values, and those without any.
        self._valued: set[Path] = set()
        self._empty: set[Path] = set()
        self._fresh_empty: set[Path] = set()
        self._again = bytearray()
        # Whether what was walked through last has no value of which only Spark can tell that it fits.
        self.sound = False
        self._build()

    def fits(self, data: bytes, *, whole: bool) -> bool:
        """False where there is a field or a type that the schema does not have, or the JSON is not strict.

        As lines each record must have a line of its own: of a second one in a line Spark would not know.
        """
        try:
            if not self._nameable:
                return False
            found = self._records.decode(data) if whole else self._record.decode_lines(data)
            return (whole or one_a_line(data, len(found))) and self._has_no_key_twice(data, found)
        except UNREAD:
            return False

    def strange(self, data: bytes, *, whole: bool) -> tuple[Strange, ...]:
        """What in strict JSON does not fit; of the types only what Spark would not refuse by itself."""
        self.sound = False
        names = self._learned(data, whole=whole)
        if names is None:
            found = dict.fromkeys(self._walk(data, whole=whole))
            self._learn(found)
            return tuple(one for one in found if one.kind != "unknown" or one.path not in self._empty)
        nested = [path for path in sorted(self._valued) if len(path) > 1]
        return tuple(Strange(path, "unknown") for path in (*names, *nested))

    def _learned(self, data: bytes, *, whole: bool) -> list[Path] | None:
        """The unknown fields of a file that has only such as were met before; None where it has others."""
        if not self._valued:
            return None
        try:
            if whole:
                self._known_records.decode(data)
            else:
                self._known_record.decode_lines(data)
            found = _ANY.decode(data) if whole else _ANY.decode_lines(data)
            # Also within what is new.
            if not self._has_no_key_twice(data, found):
                return None
        except UNREAD:
            return None
        names = {name for record in (found if isinstance(found, list) else [found]) for name in record}
        return [path for path in sorted(self._valued) if len(path) == 1 and path[0] in names]

    def _has_no_key_twice(self, data: bytes, found: Any) -> bool:
        """Whether JSON has as many keys as what was decoded from it, which holds one of each in an object.

        A colon stands behind each key, and those within texts are in both. False also where it cannot be told.
        """
        _ENCODER.encode_into(found, self._again)
        if data.count(b":") != self._again.count(b":"):
            return False
        return not any(colon in data for colon in _HIDDEN_COLONS)

    def _learn(self, found: Mapping[Strange, None]) -> None:
        unknown = {one.path for one in found if one.kind == "unknown"}
        self._fresh_empty = {path for path in self._fresh_empty if _is_nameable(path[-1])}
        if not self._nameable or not all(_is_nameable(path[-1]) for path in unknown):
            return
        before = self._valued, self._empty
        if len(unknown | self._valued) + len(self._empty) > _MOST_LEARNED:
            return
        self._valued = self._valued | unknown
        self._empty = (self._empty | self._fresh_empty) - self._valued
        self._fresh_empty = set()
        if (self._valued, self._empty) != before:
            self._build()

    def _build(self) -> None:
        if not self._nameable:
            return
        empty = dict.fromkeys(self._empty, _EMPTY)
        row: Any = _record(self._schema, (), empty)
        known: Any = _record(self._schema, (), empty | dict.fromkeys(self._valued, msgspec.Raw))
        self._record: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row)
        self._records: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row | _list_of(row))
        self._known_record: msgspec.json.Decoder[Any] = msgspec.json.Decoder(known)
        self._known_records: msgspec.json.Decoder[Any] = msgspec.json.Decoder(known | _list_of(known))

    def _walk(self, data: bytes, *, whole: bool) -> Iterator[Strange]:
        self.sound = True
        texts = [data] if whole else data.splitlines()
        for text in texts:
            if not text.strip():
                continue
            try:
                value = json.loads(
                    text,
                    parse_float=_decimal,
                    parse_int=_integer,
                    parse_constant=float,
                    object_pairs_hook=_Fields,
                )
            except (ValueError, RecursionError):
                self.sound = False
                continue
            records = value if isinstance(value, list) else [value]
            self.sound = self.sound and all(isinstance(record, dict) for record in records)
            try:
                found = [each for record in records for each in self._strange(record, self._schema, ())]
            except RecursionError:
                # From Python 3.12 on what is too deep for us to walk through can be read all the same.
                self.sound = False
                continue
            yield from found

    def _strange(self, value: Any, kind: Any, path: Path) -> Iterator[Strange]:
        from pyspark.sql import types as T

        match kind, value:
            case T.StructType(), _Fields():
                yield from value.twice(path)
                known = {field.name: field.dataType for field in kind.fields}
                folded = {name.casefold() for name in known}
                for name, inner in value.items():
                    here = (*path, name)
                    if name in known:
                        yield from self._strange(inner, known[name], here)
                    elif name.casefold() in folded:
                        yield Strange(here, "case")
                    elif inner in (None, {}, []):
                        if here not in self._empty:
                            self._fresh_empty.add(here)
                    else:
                        yield Strange(here, "unknown")
                        yield from _twice_within(inner, here)
            case T.ArrayType(), list():
                for inner in value:
                    yield from self._strange(inner, kind.elementType, (*path, "element"))
            case T.MapType(), _Fields():
                yield from value.twice(path)
                for inner in value.values():
                    yield from self._strange(inner, kind.valueType, (*path, "value"))
            case _, None:
                return
            case (T.BooleanType(), bool()):
                return
            case _, (int() | Decimal()) if not isinstance(value, bool) and _is_number(kind):
                wrong = _number(value, kind)
                if wrong is None:
                    return
                self.sound = False
                what, needs = wrong
                if what is not None:
                    yield Strange(path, what, needs, _shown(value))
            case _ if not _passes(kind):
                self.sound = False


class _Fields(dict[str, Any]):
    """An object of JSON, with the keys that it has more than once."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._twice: tuple[str, ...] = ()
        if len(self) < len(pairs):
            self._twice = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)

    def twice(self, path: Path) -> Iterator[Strange]:
        """Those keys, of an object at this path."""
        return (Strange((*path, name), "twice") for name in self._twice)


def _twice_within(value: Any, path: Path) -> Iterator[Strange]:
    match value:
        case _Fields():
            yield from value.twice(path)
            for name, inner in value.items():
                yield from _twice_within(inner, (*path, name))
        case list():
            for inner in value:
                yield from _twice_within(inner, (*path, "element"))


def _is_number(kind: Any) -> bool:
    from pyspark.sql import types as T

    return isinstance(kind, T.DoubleType | T.FloatType | T.LongType | T.IntegerType | T.DecimalType)


def _number(
    value: int | Decimal, kind: Any
) -> tuple[Literal["digits", "fraction", "wider"] | None, DataType | None] | None:
    """What is wrong with a number in a column of type `kind`, and the type that it needs; None where it fits.

    Of what Spark refuses by itself, and no wider type would hold, the first is None.
    """
    from pyspark.sql import types as T

    match kind, value:
        case ((T.LongType() | T.IntegerType()), int()):
            if -(2**31) <= value < 2**31 or (isinstance(kind, T.LongType) and _is_long(value)):
                return None
            return ("wider", T.LongType()) if _is_long(value) else (None, None)
        case ((T.DoubleType() | T.FloatType()), int()):
            if not _is_long(value):
                return "digits", None
            if isinstance(kind, T.DoubleType) or abs(value) <= _FLOAT_WHOLE:
                return None
            return "wider", T.DoubleType()
        case ((T.DoubleType() | T.FloatType()), Decimal()):
            if value.adjusted() > _LARGEST:
                return "digits", None
            fits = isinstance(kind, T.DoubleType) or abs(value) <= Decimal(_FLOAT_LARGEST)
            return None if fits else ("wider", T.DoubleType())
        case T.DecimalType(), _:
            number = Decimal(value)
            if number.adjusted() > _MOST_DIGITS:
                return None, None
            if _digits_after_the_point(number) > kind.scale:
                return "fraction", None
            digits = max(number.adjusted() + 1, 0) + kind.scale if number else 0
            if digits <= kind.precision:
                return None
            return ("wider", T.DecimalType(digits, kind.scale)) if digits <= _MOST_DIGITS else (None, None)
    return None, None


def _digits_after_the_point(number: Decimal) -> int:
    """Not by `normalize`, which fails beyond a million."""
    _, digits, exponent = number.as_tuple()
    if not number or not isinstance(exponent, int):
        return 0
    zeros = next(at for at, digit in enumerate(reversed(digits)) if digit)
    return max(-(exponent + zeros), 0)


def _is_long(value: int) -> bool:
    return -(2**63) <= value < 2**63


def _shown(value: int | Decimal) -> str:
    # By Decimal: a double does not hold every integer.
    text = f"{Decimal(value):.6e}" if isinstance(value, int) and value.bit_length() > _SHOWN_BITS else str(value)
    return text if len(text) <= _SHOWN_LETTERS else text[:_SHOWN_LETTERS] + "…"


def one_a_line(data: bytes, records: int) -> bool:
    """Whether strict JSON of so many objects has each on a line of its own.

    Between `}` and `{` with nothing but a line's end between them there can only be the end of a record.
    """
    ends = data.count(b"\n") - data.endswith(b"\n")
    between = data.count(b"}\n{") or data.count(b"}\r\n{")
    if records == ends + 1 == between + 1 and not data[:1].isspace():
        return True
    lines = [line for line in data.splitlines() if line.strip()]
    return len(lines) == records and all(map(is_one, lines))


def is_one(data: bytes) -> bool:
    """Whether this is one value of strict JSON, and nothing more."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except UNREAD:
        return False
    return True


def is_almost_strict(data: bytes) -> bool:
    """Whether this is one value of JSON that is strict but for numbers: NaN, Infinity and -Infinity."""
    try:
        json.loads(data, parse_int=_integer)
    except (ValueError, RecursionError):
        return False
    return True


_ANY = msgspec.json.Decoder()


def _decimal(text: str) -> Decimal:
    """Python refuses exponents of more than eighteen digits: the number is then beyond all columns, or nothing."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("1e-400") if "e-" in text.lower() else Decimal("1e400")


def _integer(text: str) -> int | str:
    """Python refuses to make integers of more than some thousand digits."""
    return int(text) if len(text) < 1000 else 10**1000


def _record(schema: StructType, path: Path, more: Mapping[Path, Any]) -> Any:
    """A struct's type, with further fields at their paths."""
    given = {field.name: _field(field.dataType, (*path, field.name), more) for field in schema.fields}
    extra = {
        at[-1]: (msgspec.Raw, msgspec.Raw(b"null")) if kind is msgspec.Raw else (_EMPTY | msgspec.UnsetType, _UNKNOWN)
        for at, kind in more.items()
        if at[:-1] == path and at[-1] not in given
    }
    fields = [(f"f{at}", *typed) for at, typed in enumerate([*given.values(), *extra.values()])]
    names = {f"f{at}": name for at, name in enumerate([*given, *extra])}
    return msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True, omit_defaults=True, gc=False)


def _field(kind: Any, path: Path, more: Mapping[Path, Any]) -> tuple[Any, Any]:
    """A field's type and what stands for it where it is left out."""
    if _passes(kind):
        return msgspec.Raw, msgspec.Raw(b"null")
    return _type(kind, path, more) | None | msgspec.UnsetType, _UNKNOWN


def _type(kind: Any, path: Path, more: Mapping[Path, Any]) -> Any:
    """The msgspec type of what Spark reads into `kind`; values whose text Spark parses itself pass as they are."""
    from pyspark.sql import types as T

    match kind:
        case T.StructType():
            return _record(kind, path, more)
        case T.ArrayType():
            return _list_of(_inner(kind.elementType, (*path, "element"), more))
        case T.MapType():
            value: Any = _inner(kind.valueType, (*path, "value"), more)
            return dict[str, value]
        case T.BooleanType():
            return bool
        case T.LongType():
            return _LONG
        case T.IntegerType():
            return _INT
        case T.DoubleType():
            return _DOUBLE
        case T.FloatType():
            return _FLOAT
        case T.DecimalType():
            # Of more digits than 64 bits have they are walked through.
            most = min(10 ** (kind.precision - kind.scale), 2**63) - 1
            return Annotated[int, msgspec.Meta(ge=-most, le=most)]
        case _:
            raise TypeError(f"no JSON type for {kind}")


def _inner(kind: Any, path: Path, more: Mapping[Path, Any]) -> Any:
    return msgspec.Raw if _passes(kind) else _type(kind, path, more) | None


def _nameable(kind: Any) -> bool:
    """Whether all names in a type can be those of msgspec's fields; of others the files are walked through."""
    from pyspark.sql import types as T

    match kind:
        case T.StructType():
            return all(_is_nameable(field.name) and _nameable(field.dataType) for field in kind.fields)
        case T.ArrayType():
            return _nameable(kind.elementType)
        case T.MapType():
            return _nameable(kind.valueType)
        case _:
            return True


def _is_nameable(name: str) -> bool:
    return not any(letter in '\\"' or letter < " " for letter in name)


def _list_of(kind: Any) -> Any:
    return list[kind]


def _passes(kind: Any) -> bool:
    """Text (Spark takes any value as text), and what is parsed from text."""
    from pyspark.sql import types as T

    checked = (
        T.StructType,
        T.ArrayType,
        T.MapType,
        T.BooleanType,
        T.LongType,
        T.IntegerType,
        T.DoubleType,
        T.FloatType,
        T.DecimalType,
    )
    return not isinstance(kind, checked)
