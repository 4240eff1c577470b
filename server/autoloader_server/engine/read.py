"""A batch's files as one frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from autoloader_sdk.models import IngestionCreate
from autoloader_server.engine.errors import RunStopped
from autoloader_server.engine.formats.base import PATH_COLUMN, Format, Look, Looks
from autoloader_server.engine.formats.csv_files import Csv
from autoloader_server.engine.formats.json_files import Json
from autoloader_server.engine.formats.parquet_files import Parquet
from autoloader_server.engine.schema import without
from autoloader_server.engine.sql import identifier

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

SOURCE_FILE = "_source_file"
_LONGEST = 2**31 - 1
# Characters that a URL may hold in another form than the path.
_ENCODED = re.compile(r"[^A-Za-z0-9/._=-]")


def make_format(spec: IngestionCreate) -> Format:
    """The reader of an ingestion's format, with its options."""
    options = spec.format.options.given() if spec.format.options else {}
    match spec.format.type:
        case "csv":
            return Csv(options)
        case "json":
            return Json(options)
        case "parquet":
            return Parquet(options)
        case other:
            raise RunStopped(f"format.type: {other!r} cannot be loaded by this version")


def frame_of(
    spark: SparkSession, fmt: Format, looks: Sequence[Look], schema: StructType, lineage: Sequence[str]
) -> DataFrame:
    """All rows of these files in the table's columns, each group of files by its own read."""
    from pyspark.sql.connect import functions as F

    data = without(schema, lineage)
    frames = [fmt.read(spark, members, data) for members in Looks(list(looks)).groups().values()]
    union = frames[0]
    for frame in frames[1:]:
        union = union.unionByName(frame)
    encoded = any(_ENCODED.search(look.path) for look in looks)
    return union.select(
        *[
            source_path(PATH_COLUMN, encoded=encoded).alias(name) if name in lineage else F.col(identifier(name))
            for name in (field.name for field in schema.fields)
        ]
    )


def source_path(column: str, *, encoded: bool = True) -> Column:
    """The raw path of a row's file, as the ledger has it: Spark shows it as a URL.

    Decoding costs a quarter of a load, and paths of plain characters need none (`encoded` false).
    """
    from pyspark.sql.connect import functions as F

    path = F.col(column)
    # file:///a or file:/a
    bare = F.when(path.startswith("file://"), F.substring(path, 8, _LONGEST)).otherwise(F.substring(path, 6, _LONGEST))
    return F.url_decode(F.replace(bare, F.lit("+"), F.lit("%2B"))) if encoded else bare


def plain_path(shown: str) -> str:
    """The same for one path, here."""
    return re.sub(r"^file:(//)?/", "/", unquote(shown))
