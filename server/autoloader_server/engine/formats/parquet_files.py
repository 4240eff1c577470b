"""Parquet: the footer of each file tells its columns."""

from __future__ import annotations

from autoloader_server.engine.formats.columnar import told_by
from autoloader_server.engine.formats.described import Described, Told


class Parquet(Described):
    """Parquet."""

    spark_name = "parquet"

    def told(self, path: str, size: int) -> Told:  # noqa: ARG002 - a footer is found from the end
        import pyarrow.parquet as pq

        return told_by(pq.read_schema, "Parquet", self._place, path)
