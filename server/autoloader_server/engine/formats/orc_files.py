"""ORC: the tail of each file tells its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from autoloader_server.engine.formats.columnar import told_by
from autoloader_server.engine.formats.described import Described, Told

if TYPE_CHECKING:
    import pyarrow as pa


class Orc(Described):
    """ORC."""

    spark_name = "orc"

    def told(self, path: str, size: int) -> Told:  # noqa: ARG002 - a tail is found from the end
        return told_by(_schema, "ORC", self._place, path)


def _schema(file: BinaryIO) -> pa.Schema:
    from pyarrow import orc

    return orc.ORCFile(file).schema
