"""CSV values that Spark would round, or take for infinite, without an error: a column is read so that they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, DecimalType, StructField

# Half-way between the largest float and what would be the next: as a float, what is below is the largest.
BEYOND_FLOAT = 3.4028235677973366e38
_MOST_DIGITS = 38
# As Java writes it, besides what the options say.
_INFINITE = r"^\s*[+-]?Infinity\s*$"
_INTEGER = r"^\s*[+-]?\d+\s*$"
# From here on an integer is beyond 64 bits, and may lose digits in a double.
_BEYOND_LONG = 2.0**63
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_ZERO = r"^[+-]?[0.]+([eE].*)?$"


@dataclass(frozen=True, slots=True)
class Checks:
    """How values are held against their column's type. Columns are told by their names in SQL.

    `plain`: numbers are written as in English, so that Spark takes a comma in a decimal for nothing. `infinite`: how
    the options write it.
    """

    plain: bool
    infinite: tuple[str, ...]

    def read_as(self, kind: DataType) -> DataType:
        """As what a column is read: of a decimal its digits are counted in its text, where that can be read here."""
        from pyspark.sql.types import DecimalType, DoubleType, FloatType, StringType

        match kind:
            case DecimalType() if self.plain:
                return StringType()
            case DecimalType():
                return _roomy(kind)
            case FloatType():
                return DoubleType()
        return kind

    def quick(self, name: str, kind: DataType) -> tuple[Column, Column] | None:
        """A column that was read so, in its own type, and whether that holds the value; None of one that always does.

        An infinite number is held for one that is too large, and one from 2^63 on for an integer that loses digits.
        """
        from pyspark.sql.connect import functions as F
        from pyspark.sql.types import DecimalType, DoubleType, FloatType

        column = F.col(name)
        match kind:
            case DecimalType() if self.plain:
                return _decimal(f"replace({name}, ',')", kind)
            case DecimalType():
                # Compared in one type: Spark would round either side to another one.
                value = f"try_cast({name} AS {kind.simpleString()})"
                same = F.expr(f"CAST({value} AS {_roomy(kind).simpleString()}) = {name}")
                return F.expr(value), F.coalesce(same, F.lit(False))
            case FloatType() | DoubleType():
                return column.cast(kind), F.isnan(column) | (F.abs(column) < _BEYOND_LONG)
        return None

    def exact(self, name: str, text: str, kind: DataType) -> tuple[Column, Column] | None:
        """The same where the field's text is there as well: it shows what is infinite, and what an integer."""
        from pyspark.sql.connect import functions as F
        from pyspark.sql.types import DecimalType, FloatType

        found = self.quick(name, kind)
        if found is None or isinstance(kind, DecimalType):
            return found
        value, holds = found
        number, written = F.col(name), F.col(text)
        infinite = written.isin(list(self.infinite)) | written.rlike(_INFINITE)
        largest = BEYOND_FLOAT if isinstance(kind, FloatType) else float("inf")
        # The largest and the smallest of 64 bits are 2^63 as doubles.
        whole = written.rlike(_INTEGER) & F.expr(f"try_cast({text} AS BIGINT)").isNull()
        return value, holds | infinite | ((F.abs(number) < largest) & ~whole)


def raised(field: StructField) -> Column:
    """The error of a value that does not fit; which one it is, and of which record, an exact reading finds out."""
    from pyspark.sql.connect import functions as F

    what = f"MALFORMED_VALUE: {field.name!r} is no {field.dataType.simpleString()}"
    return F.raise_error(F.lit(what)).cast(field.dataType)


def _roomy(kind: DecimalType) -> DecimalType:
    """As many digits before the point, and all the others after it."""
    from pyspark.sql.types import DecimalType

    return DecimalType(_MOST_DIGITS, _MOST_DIGITS - (kind.precision - kind.scale))


def _decimal(text: str, kind: DecimalType) -> tuple[Column, Column]:
    """A text, an expression in SQL, as a decimal, and whether that loses no digit."""
    from pyspark.sql.connect import functions as F

    # Of an exponent such as -1000000000 Java makes no number, and ends the query.
    far = f"{text} RLIKE '[eE][+-]?0*[0-9]{{5,}}$'"
    value = F.expr(f"CASE WHEN NOT {far} THEN try_cast({text} AS {kind.simpleString()}) END")
    # Blanks around it are a cast's to leave out, and not a CSV reader's.
    bare = f"left({text}, 1) > ' ' AND right({text}, 1) > ' ' AND NOT {text} ILIKE '%e%'"
    few = F.expr(f"{bare} AND (instr({text}, '.') = 0 OR length({text}) - instr({text}, '.') <= {kind.scale})")
    return value, F.coalesce(value.isNotNull() & (few | _fits(text, kind.scale)), F.lit(False))


def _fits(text: str, scale: int) -> Column:
    """Whether a number has no more digits after the point, but for zeros at its end; also one with an exponent."""
    from pyspark.sql.connect import functions as F

    its = F.expr(text)
    exponent = F.expr(rf"coalesce(try_cast(regexp_extract({text}, '[eE](.*)$', 1) AS BIGINT), 0)")
    fraction = F.length(F.regexp_extract(its, r"\.(\d*?)0*(?:[eE].*)?$", 1))
    zeros = F.length(F.regexp_extract(its, r"^[+-]?\d*?(0*)(?:\.0*)?(?:[eE].*)?$", 1))
    digits = F.when(fraction > 0, fraction).otherwise(-zeros) - exponent
    return its.rlike(_NUMBER) & ((digits <= scale) | its.rlike(_ZERO))
