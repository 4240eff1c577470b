"""Which JSON a file holds, from its head: Spark's two modes read each other's files wrongly, or in part.

Read as lines, a pretty-printed object is rubbish rows; read as one document (`multiLine`), of several lines
only the first object is loaded, without an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from autoloader_sdk.discovery.heads import Head, decode_head, read_head

JsonKind = Literal["empty", "lines", "array", "multiline", "concatenated"]


@dataclass(frozen=True, slots=True)
class JsonHead:
    """The head of a JSON file.

    `encoding` is what to tell Spark, `problem` a sentence why the file must not be loaded.
    """

    kind: JsonKind = "empty"
    encoding: str = "UTF-8"
    bom: bool = False
    compression: str | None = None
    problem: str | None = None


def read_json_head(path: str, encoding: str | None = None) -> JsonHead:
    """Look at the first 64 KiB of a local file. OSError as `open` raises it."""
    return json_head(read_head(path), encoding)


def json_head(head: Head, encoding: str | None = None) -> JsonHead:
    """What the first bytes of a JSON file tell."""
    if head.problem:
        return JsonHead(compression=head.compression, problem=head.problem)
    decoded = decode_head(head.data, encoding, whole=head.whole)
    if decoded.problem:
        return JsonHead(encoding=decoded.encoding, compression=head.compression, problem=decoded.problem)
    kind = sniff_json(decoded.text, whole=head.whole)
    return JsonHead(kind, decoded.encoding, decoded.bom, head.compression)


# A number is not made: one of 5,000 digits would be refused by Python's int.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_SPACE = re.compile(r"\s*")


def sniff_json(text: str, *, whole: bool) -> JsonKind:
    """The kind of a JSON text, as far as its head can tell.

    `lines`: each line begins a value of its own (also if it is malformed: that is for the reader to say).
    `array`: one array of objects. `multiline`: one object over several lines.
    `concatenated`: several values that are not one a line, which neither mode of Spark reads whole.
    `whole`: the text is all of the file.
    """
    start = _skip_space(text, 0)
    if start == len(text):
        return "empty"
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    try:
        _, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        if text[start] == "[":
            return "array"
        # Fine up to the end of the first line: the value goes on below it. A head may end in a value, too.
        goes_on = error.pos >= _skip_space(text, len(text[:line_end].rstrip())) and line_end < len(text)
        return "multiline" if goes_on else "lines"
    except RecursionError:
        return "lines"
    rest = _skip_space(text, end)
    if end <= line_end:
        if rest < line_end:
            return "concatenated"
        return "array" if text[start] == "[" and whole and rest == len(text) else "lines"
    if rest < len(text):
        return "concatenated"
    return "array" if text[start] == "[" else "multiline"


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
