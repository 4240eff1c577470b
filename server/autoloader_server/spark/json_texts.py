"""The columns of JSON that is in a frame: what Scala has `spark.read.json(texts)` for, and Python no call.

Spark Connect has known the relation behind it (`Parse`) since 3.4: org.apache.spark.sql.connect's `transformParse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


def inferred(texts: DataFrame, options: Mapping[str, str]) -> StructType:
    """What Spark infers of a frame with one column of texts, each a record of JSON."""
    from pyspark.sql.connect import proto
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.dataframe import DataFrame as ConnectFrame
    from pyspark.sql.connect.plan import LogicalPlan

    class Parse(LogicalPlan):
        def plan(self, session: SparkConnectClient) -> proto.Relation:
            relation = self._create_proto_relation()
            relation.parse.input.CopyFrom(source.plan(session))
            relation.parse.format = proto.Parse.PARSE_FORMAT_JSON
            relation.parse.options.update(options)
            return relation

    assert isinstance(texts, ConnectFrame)
    source: LogicalPlan = texts._plan  # noqa: SLF001 - what has no call is made of what calls are made of
    return ConnectFrame(Parse(source), texts.sparkSession).schema
