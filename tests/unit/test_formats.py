"""What all formats have in common, and what the rest of the service believes of them."""

from __future__ import annotations

from typing import get_args

import pytest

from autoloader_sdk.models import IngestionCreate
from autoloader_sdk.models.format import FormatType
from autoloader_server.engine.errors import RunStopped
from autoloader_server.engine.formats.base import Sifting
from autoloader_server.engine.formats.csv_files import Csv
from autoloader_server.engine.formats.json_files import Json
from autoloader_server.engine.place import LOCAL
from autoloader_server.engine.read import make_format
from autoloader_server.services.acceptance import WITH_RECORDS


def ingestion(kind: str, **options: str) -> IngestionCreate:
    return IngestionCreate.model_validate(
        {
            "name": "flights",
            "source": {"type": "local", "path": "/data"},
            "format": {"type": kind, "options": options},
            "destination": {"catalog": "lake", "database": "bronze", "table": "flights"},
        }
    )


@pytest.mark.parametrize("kind", get_args(FormatType))
def test_bad_records_are_told_apart_where_the_service_takes_a_rule_for_them(kind: str) -> None:
    assert isinstance(make_format(ingestion(kind), LOCAL), Sifting) == (kind in WITH_RECORDS)


def test_options_that_an_older_version_took_end_a_run_with_a_sentence() -> None:
    with pytest.raises(RunStopped) as stopped:
        make_format(ingestion("csv", line_separator="||"), LOCAL)
    assert stopped.value.category == "configuration"
    assert str(stopped.value).startswith("format.options.line_separator is '||': ")
    assert str(stopped.value).endswith("Change it in the ingestion")


def test_what_is_told_apart_is_written_as_the_protocol_has_it() -> None:
    kinds: list[type[Sifting]] = [Csv, Json]
    assert [kind.reads_hastily for kind in kinds] == [True, False]
