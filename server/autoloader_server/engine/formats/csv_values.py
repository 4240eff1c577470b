"""CSV values that Spark would round, or take for infinite, without an error: a column is read so that they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, StructField

# What an error says of such a value. A number that reads as infinite may have been written so: see `Checks.exact`.
MALFORMED_VALUE = "MALFORMED_VALUE"
_LARGEST_FLOAT = 3.4028234663852886e38
_MOST_DIGITS = 38
# As Java writes it, besides what the options say.
_INFINITE = r"^\s*[+-]?Infinity\s*$"


@dataclass(frozen=True, slots=True)
class Checks:
    """How values are held against their column's type. Columns are told by their names in SQL.

    `plain`: numbers are written as in English, so that Spark takes a comma in a decimal for nothing. `infinite`: how
    the options write it.
    """

    plain: bool
    infinite: tuple[str, ...]

    def read_as(self, kind: DataType) -> DataType:
        """As what a column is read."""
        from pyspark.sql.types import DecimalType, DoubleType, FloatType, StringType

        match kind:
            case DecimalType() if kind.precision < _MOST_DIGITS:
                # As many digits before the point, and all the others after it.
                return DecimalType(_MOST_DIGITS, _MOST_DIGITS - (kind.precision - kind.scale))
            case DecimalType() if self.plain:
                return StringType()
            case FloatType():
                return DoubleType()
        return kind

    def quick(self, name: str, kind: DataType) -> tuple[Column, Column] | None:
        """A column that was read so, in its own type, and whether that holds the value; None of one that always does.

        An infinite number is held for one that is too large.
        """
        from pyspark.sql.connect import functions as F
        from pyspark.sql.types import DecimalType, DoubleType, FloatType

        column = F.col(name)
        match kind:
            case DecimalType() if kind.precision < _MOST_DIGITS:
                rounded = F.round(column, kind.scale)
                return rounded.cast(kind), rounded == column
            case DecimalType() if self.plain:
                return _widest_decimal(name, kind)
            case FloatType():
                return column.cast(kind), F.isnan(column) | (F.abs(column) <= _LARGEST_FLOAT)
            case DoubleType():
                return column, F.isnan(column) | (F.abs(column) < float("inf"))
        return None

    def exact(self, name: str, text: str, kind: DataType) -> tuple[Column, Column] | None:
        """The same where the field's text is there as well: a number that is written as infinite is."""
        from pyspark.sql.connect import functions as F
        from pyspark.sql.types import DecimalType

        found = self.quick(name, kind)
        if found is None or isinstance(kind, DecimalType):
            return found
        value, holds = found
        written = F.col(text).isin(list(self.infinite)) | F.col(text).rlike(_INFINITE)
        return value, holds | written


def raised(column: Column, field: StructField, file: Column) -> Column:
    """The error of a value that does not fit, with the value and its file."""
    from pyspark.sql.connect import functions as F

    what = f"{MALFORMED_VALUE}: {field.name!r} is no {field.dataType.simpleString()}: "
    return F.raise_error(F.concat(F.lit(what), column.cast("string"), F.lit("; in "), file)).cast(field.dataType)


def _widest_decimal(name: str, kind: DataType) -> tuple[Column, Column]:
    """Of a decimal that can be no wider the digits are counted in its text."""
    from pyspark.sql.connect import functions as F
    from pyspark.sql.types import DecimalType

    assert isinstance(kind, DecimalType)
    text = f"replace({name}, ',')"
    value = F.expr(f"try_cast({text} AS {kind.simpleString()})")
    after_point = F.length(F.regexp_extract(F.expr(text), r"\.(\d*?)0*(?:[eE].*)?$", 1))
    exponent = F.expr(rf"coalesce(try_cast(regexp_extract({text}, '[eE](.*)$', 1) AS INT), 0)")
    return value, value.isNotNull() & (after_point - exponent <= kind.scale)
