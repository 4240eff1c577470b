"""A batch's files as one frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from autoloader_sdk.models import IngestionCreate
from autoloader_server.engine.errors import CONFIGURATION, RunStopped
from autoloader_server.engine.formats.avro_files import Avro
from autoloader_server.engine.formats.base import CORRUPT_COLUMN, PATH_COLUMN, Format, Look, Looks, Sifting
from autoloader_server.engine.formats.csv_files import Csv
from autoloader_server.engine.formats.json_files import Json
from autoloader_server.engine.formats.orc_files import Orc
from autoloader_server.engine.formats.parquet_files import Parquet
from autoloader_server.engine.place import Place
from autoloader_server.engine.schema import without
from autoloader_server.engine.sql import identifier
from autoloader_server.spark.s3 import ALIAS_LENGTH, unalias

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

SOURCE_FILE = "_source_file"
RESCUED_DATA = "_rescued_data"
_REMOTE = "s3://"
_LONGEST = 2**31 - 1
# Characters that a URL may hold in another form than the path.
_ENCODED = re.compile(r"[^A-Za-z0-9/._=-]")


def make_format(spec: IngestionCreate, place: Place) -> Format:
    """The reader of an ingestion's format, with its options.

    Raises RunStopped where these say what cannot be, as they may in one that an older version took.
    """
    options = spec.format.options.given() if spec.format.options else {}
    match spec.format.type:
        case "csv":
            try:
                return Csv(options, place)
            except ValueError as error:
                raise RunStopped(f"{error}. Change it in the ingestion", CONFIGURATION) from error
        case "json":
            return Json(options, place, sifts=spec.on_bad_record != "fail")
        case "parquet":
            return Parquet(options, place)
        case "avro":
            return Avro(options, place)
        case "orc":
            return Orc(options, place)


def own_columns(spec: IngestionCreate) -> list[str]:
    """The columns of the table that are ours, not the data's."""
    rescued = [RESCUED_DATA] if spec.on_bad_record == "rescue" else []
    return [*(spec.destination.lineage_columns or []), *rescued]


def frame_of(
    spark: SparkSession, fmt: Format, looks: Sequence[Look], schema: StructType, lineage: Sequence[str]
) -> DataFrame:
    """All rows of these files in the table's columns, each group of files by its own read.

    Of bad records the rows are there only if they have a column for their text.
    """
    from pyspark.sql.connect import functions as F

    data = without(schema, lineage)
    plain = Looks([look for look in looks if not look.by_records]).groups().values()
    frames = [fmt.read(spark, members, data) for members in plain]
    if RESCUED_DATA in lineage:
        frames = [frame.withColumn(CORRUPT_COLUMN, F.lit(None).cast("string")) for frame in frames]
    for members in Looks([look for look in looks if look.by_records]).groups().values():
        assert isinstance(fmt, Sifting)
        frame = fmt.sifted(spark, members, data, all_known=True)
        frames.append(frame if RESCUED_DATA in lineage else frame.where(F.col(CORRUPT_COLUMN).isNull()))
    union = frames[0]
    for frame in frames[1:]:
        union = union.unionByName(frame, allowMissingColumns=True)
    remote = looks[0].path.startswith(_REMOTE)
    encoded = any(_ENCODED.search(look.path.removeprefix(_REMOTE)) for look in looks)
    return union.select(
        *[
            source_path(PATH_COLUMN, encoded=encoded, remote=remote).alias(name)
            if name in lineage and name != RESCUED_DATA
            else F.col(CORRUPT_COLUMN if name in lineage else identifier(name)).alias(name)
            for name in (field.name for field in schema.fields)
        ]
    )


def source_path(column: str, *, encoded: bool = True, remote: bool = False) -> Column:
    """The raw path of a row's file, as the ledger has it: Spark shows it as a URL, in S3 under an alias scheme.

    Decoding costs a quarter of a load, and paths of plain characters need none (`encoded` false).
    """
    from pyspark.sql.connect import functions as F

    path = F.col(column)
    if remote:
        bare = F.concat(F.lit("s3"), F.substring(path, ALIAS_LENGTH + 1, _LONGEST))
    else:  # file:///a or file:/a
        local = F.substring(path, 6, _LONGEST)
        bare = F.when(path.startswith("file://"), F.substring(path, 8, _LONGEST)).otherwise(local)
    return F.url_decode(F.replace(bare, F.lit("+"), F.lit("%2B"))) if encoded else bare


def plain_path(shown: str) -> str:
    """The same for one path, here."""
    return re.sub(r"^file:(//)?/", "/", unalias(unquote(shown)))
