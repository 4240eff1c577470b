"""Lines or one document: told from the head of the file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoloader_sdk.discovery.jsonfiles import read_json_head, sniff_json


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ('{"a": 1}', "lines"),
        ('{"a": 1}\n{"a": 2}\n', "lines"),
        ('\n{"a": 1}  \r\n\r\n{"a": 2}', "lines"),
        ('{"a": bad}\n{"a": 2}', "lines"),
        ('{"a": "never closed\n{"a": 2}', "lines"),
        ('{"a": ' + "9" * 6_000 + "}", "lines"),
        ("[1]\n[2]", "lines"),
        ('[{"a": 1}, {"a": 2}]', "array"),
        ('[\n  {"a": 1},\n  {"a": 2}\n]', "array"),
        ('[{"a": bad}]', "array"),
        ('{\n  "a": 1\n}\n', "multiline"),
        ('{"a": {"b": 1},\n "c": 2}', "multiline"),
        ('{\n "a": 1\n}\n{\n "a": 2\n}\n', "concatenated"),
        ('{"a": 1}{"a": 2}', "concatenated"),
        ('{"a": 1} {"a": 2}\n{"a": 3}', "concatenated"),
        ("[\n1\n]\n[\n2\n]", "concatenated"),
    ],
)
def test_each_kind_is_recognised(text: str, kind: str) -> None:
    assert sniff_json(text, whole=True) == kind


OBJECTS = st.lists(
    st.dictionaries(st.text(max_size=3), st.integers() | st.text() | st.none(), min_size=1), min_size=1
)


@given(objects=OBJECTS, cut=st.integers(0, 60))
def test_what_json_dumps_writes_is_recognised_also_from_a_part(
    objects: list[dict[str, object]], cut: int
) -> None:
    lines = "".join(json.dumps(one) + "\n" for one in objects)
    assert sniff_json(lines, whole=True) == "lines"
    assert sniff_json(lines[: 1 + cut], whole=False) == "lines"
    array = json.dumps(objects, indent=2)
    assert sniff_json(array, whole=True) == "array"
    assert sniff_json(array[: 1 + cut], whole=False) == "array"
    pretty = json.dumps(objects[0], indent=2)
    assert sniff_json(pretty, whole=True) == "multiline"
    assume(cut < len(pretty) - 2)
    assert sniff_json(pretty[: 3 + cut], whole=False) == "multiline"


def test_a_deep_value_is_no_crash() -> None:
    assert sniff_json('{"a":' * 100_000, whole=False) == "lines"


def test_a_compressed_file_and_a_binary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'[{"a": 1}]'))
    head = read_json_head(str(path))
    assert (head.kind, head.compression, head.problem) == ("array", "gzip", None)
    path = tmp_path / "b.json"
    path.write_bytes(b'{"a": 1}\n\0\0')
    assert "NUL" in (read_json_head(str(path)).problem or "")
