"""What a session needs on a Spark 3.5 server, and a Spark 4 client to be understood there.

The two differ in two places that matter. A statement of `spark.sql()` travels in the field `SqlCommand.input`, and 3.5
reads the older `SqlCommand.sql`: it would parse an empty statement. And `createDataFrame` asks for settings that 3.5
does not have. Both are put right on the way to the server, in the calls of one session's client. Iceberg's tables are
read row by row there: in columns an older Iceberg ends the server.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from autoloader_sdk.errors import UnsupportedSpark

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

# What 3.5 does where 4.x has a setting. Local relations are never cached there: it does not know how 4.1 cuts them for
# the cache. They travel whole, up to gRPC's 128 MB.
_ANSWERS = {
    "spark.connect.session.planCompression.threshold": "-1",
    "spark.connect.session.planCompression.defaultAlgorithm": "NONE",
    "spark.sql.connect.serverStacktrace.enabled": "false",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    "spark.sql.execution.pandas.inferPandasDictAsMap": "false",
    "spark.sql.pyspark.legacy.inferMapTypeFromFirstPair.enabled": "false",
    "spark.sql.session.localRelationBatchOfChunksSizeBytes": str(2**30),
    "spark.sql.session.localRelationCacheThreshold": str(2**62),
    "spark.sql.session.localRelationChunkSizeBytes": str(2**24),
    "spark.sql.session.localRelationChunkSizeRows": "10000",
}

# From 3.5.4 on Spark frees the columns of a batch of rows before it asks for the next one (SPARK-50235), and Iceberg
# before 1.6.2 and 1.7.2 goes on writing into them: the JVM dies of it where a data file has over 5,000 rows.
_SETTINGS = {"spark.sql.iceberg.vectorization.enabled": "false"}


def adapt(session: SparkSession) -> str:
    """Make `session` speak as its server understands it, and read as it can; the server's version.

    Raises:
        UnsupportedSpark: the server is neither 3.5 nor 4.x.
    """
    version: str = session.version
    check(version)
    client: Any = session.client
    if version.startswith("3."):
        if _client_major() >= 4 and not isinstance(client._stub, _OlderServer):  # noqa: SLF001
            client._stub = _OlderServer(client._stub)  # noqa: SLF001
        for name, value in _SETTINGS.items():
            session.conf.set(name, value)
    return version


def is_older(session: SparkSession) -> bool:
    """Whether `adapt` found a 3.5 server."""
    return isinstance(session.client._stub, _OlderServer)  # noqa: SLF001 - where `adapt` has put it


def check(version: str) -> None:
    """Raises UnsupportedSpark unless a server of this version can be spoken to."""
    if not re.match(r"(3\.5|4\.\d+)(\D|$)", version):
        raise UnsupportedSpark(
            f"the server is Spark {version}, and this version of autoloader-sdk works with 3.5 and 4.x: "
            "choose another cluster, or another version of autoloader-sdk"
        )


def _client_major() -> int:
    import pyspark

    return int(pyspark.__version__.partition(".")[0])


class _OlderServer:
    """The calls of a client's stub, as a 3.5 server takes them."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    def ExecutePlan(self, request: Any, **options: Any) -> Any:  # noqa: N802 - as the service has it
        if request.plan.command.HasField("sql_command"):
            _fill(request.plan.command.sql_command)
        return self._stub.ExecutePlan(request, **options)

    def Config(self, request: Any, **options: Any) -> Any:  # noqa: N802
        if not request.operation.HasField("get"):
            return self._stub.Config(request, **options)
        wanted = list(request.operation.get.keys)
        request.operation.get.keys[:] = [key for key in wanted if key not in _ANSWERS]
        try:
            answer = self._stub.Config(request, **options)
        finally:
            # A request that is tried again is the same one.
            request.operation.get.keys[:] = wanted
        for key in wanted:
            if key in _ANSWERS:
                answer.pairs.add(key=key, value=_ANSWERS[key])
        return answer


def _fill(command: Any) -> None:
    if not command.HasField("input"):
        return
    if command.input.WhichOneof("rel_type") != "sql":
        raise UnsupportedSpark("spark.sql() with data frames as arguments needs Spark 4: make temporary views of them")
    query = command.input.sql
    arguments = [*query.named_arguments.values(), *query.pos_arguments]
    if any(each.WhichOneof("expr_type") != "literal" for each in arguments):
        raise UnsupportedSpark("spark.sql() with arguments other than plain values needs Spark 4")
    command.sql = query.query
    for name, value in query.named_arguments.items():
        command.args[name].CopyFrom(value.literal)
    del command.pos_args[:]
    command.pos_args.extend(value.literal for value in query.pos_arguments)
