"""ORC: the tail of each file tells its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from autoloader_server.engine.formats.columnar import told_by
from autoloader_server.engine.formats.described import Described, Told
from autoloader_server.engine.formats.text import Unreadable

if TYPE_CHECKING:
    import pyarrow as pa


class Orc(Described):
    """ORC."""

    spark_name = "orc"

    def told(self, path: str, size: int) -> Told:  # noqa: ARG002 - a tail is found from the end
        return told_by(_schema, "ORC", self._place, path)


def _schema(file: BinaryIO) -> pa.Schema:
    from pyarrow import orc

    schema = orc.ORCFile(file).schema
    for field in schema:
        if _has_zone(field.type):
            raise Unreadable(
                f"its column {field.name!r} is a timestamp with local time zone, which Spark cannot read from ORC: "
                "write it as a timestamp, or as Parquet"
            )
    return schema


def _has_zone(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return kind.tz is not None
    return any(_has_zone(kind.field(at).type) for at in range(kind.num_fields))
