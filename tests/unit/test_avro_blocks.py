"""What is no whole Avro file is told in a sentence, whatever its bytes are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fastavro
import pytest

from autoloader_server.engine.formats.avro_blocks import schema_of_whole
from autoloader_server.engine.formats.avro_files import Avro
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.formats.text import Unreadable

SCHEMA = {"type": "record", "name": "row", "fields": [{"name": "a", "type": "long"}]}


def whole(count: int = 1000) -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, SCHEMA, [{"a": at} for at in range(count)], sync_interval=200)
    return sink.getvalue()


def header(entries: dict[bytes, bytes]) -> bytes:
    """A file with this header and no block."""
    told = b"".join(number(len(part)) + part for pair in entries.items() for part in pair)
    return b"Obj\x01" + number(len(entries)) + told + number(0) + b"m" * 16


def number(value: int) -> bytes:
    """Avro's own form of a number: zigzag, 7 bits a byte."""
    value = value * 2 if value >= 0 else -value * 2 - 1
    found = b""
    while value > 0x7F:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def test_the_schema_of_a_whole_file_is_what_its_header_says() -> None:
    assert json.loads(schema_of_whole(io.BytesIO(whole())))["fields"] == SCHEMA["fields"]
    assert json.loads(schema_of_whole(io.BytesIO(whole(0))))["fields"] == SCHEMA["fields"]


def test_a_file_that_ends_anywhere_but_between_two_blocks_is_not_whole() -> None:
    data = whole()
    marker = data[-16:]
    ends = {at + 16 for at in range(len(data)) if data.startswith(marker, at)}
    assert len(ends) > 5
    for length in range(len(data)):
        if length in ends:
            schema_of_whole(io.BytesIO(data[:length]))
        else:
            with pytest.raises(Unreadable):
                schema_of_whole(io.BytesIO(data[:length]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is not an Avro file"),
        (b"Obj\x01" + b"\xff" * 20, "a length in it is none"),
        # A length of 2**40: the rest of the file is not read into memory for it.
        (b"Obj\x01" + number(1) + number(2**40) + b"x" * 100, "a length in its header is none"),
        (b"Obj\x01" + number(1) + number(-5), "a length in its header is none"),
        (header({b"a": b"b"}), "its header has no schema"),
        (header({b"avro.schema": b"\xff"}), "its header has no schema"),
        (header({b"avro.codec": b"lz4"}), "its Avro codec is 'lz4'"),
        (header({b"avro.schema": b"{}"}) + number(-1) + number(1), "a block has a negative length"),
        (header({b"avro.schema": b"{}"}) + number(1) + number(1) + b"x" + b"n" * 16, "does not end with the file's"),
    ],
)
def test_damage_is_told_in_a_sentence(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said.replace("(", "\\(")):
        schema_of_whole(io.BytesIO(data))


@pytest.mark.parametrize(
    "schema", [b"[" * 100_000, b'"long"', b"[1]", b'{"fields": 1}', b'{"fields": [{"name": "a"}]}', b"{"]
)
def test_a_schema_that_is_no_record_fails_its_file(schema: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    path.write_bytes(header({b"avro.schema": schema}))
    (found,) = Avro({}).look([(str(path), path.stat().st_size)], None)
    assert not isinstance(found, Look)
    assert found.message == "its Avro schema is no record with fields: only records become rows"
