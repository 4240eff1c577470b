"""YAML by the core schema of YAML 1.2, each value with the line it stands on.

PyYAML reads the text; by its own schema, that of YAML 1.1, `no` would be false, `02:30` 150 and `017` 15. Here plain
text is null, true, false or a number only where YAML 1.2 says so; where a field wants text it is what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

Path = tuple[str, ...]

_CORE: Final = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _STR = (_CORE + kind for kind in ("null", "bool", "int", "float", "str"))
_MERGE: Final = "<<"
_INTEGER: Final = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FRACTION: Final = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
# Aliases of aliases stand for more than memory holds; no ingestion says so much.
_MOST_VALUES: Final = 100_000
VARIABLE: Final = re.compile(r"\$\{[A-Za-z_]\w*\}")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's way


for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, _INTEGER, list("-+0123456789")),
    (_FLOAT, _FRACTION, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


class Fault(NamedTuple):
    """What is wrong at a line; `field` is a path, empty where it is no field's fault."""

    line: int
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """What one document says; `lines` has the line of each field, by its dotted path."""

    value: Any
    line: int
    lines: dict[str, int] = field(default_factory=dict)

    def line_of(self, path: str) -> int:
        """The line of a field; of one that is not there, that of what it would be in."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, self.line)


def documents(text: str, wants_text: Callable[[Path], bool]) -> Iterator[Document | Fault]:
    """The documents of a text, and what is wrong with it; where it is no YAML the rest of it is not read.

    `wants_text` tells of a path whether text belongs there: a plain scalar is then taken as it is written.
    """
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            reader = _Reader(text, wants_text)
            value = reader.value(node, (), frozenset())
            yield from reader.faults
            yield Document(value, node.start_mark.line + 1, reader.lines)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        yield Fault(line, "", f"a character that YAML does not allow: {chr(_code(error.character))!a}")
    except yaml.MarkedYAMLError as error:
        # What is never closed is at fault where it began.
        at_end = "end of stream" in (error.problem or "")
        mark = (error.context_mark if at_end else None) or error.problem_mark or error.context_mark
        yield Fault(mark.line + 1 if mark is not None else 1, "", _explained(error))
    except (ValueError, OverflowError):
        # An escape such as "\\UFFFFFFFF"; where it stands PyYAML does not say.
        yield Fault(1, "", "an escape in double quotes names no character")
    except (RecursionError, _TooMuch):
        yield Fault(1, "", "it is nested too deep, or its aliases stand for too much")


def _code(character: Any) -> int:
    return ord(character) if isinstance(character, str | bytes) else int(character)


def _explained(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's words, and what to do about the usual causes. They never hold what the file says."""
    problem = error.problem or "not readable"
    if "alias" in problem or "tag" in problem or "anchor" in problem:
        problem = re.sub("'.*'", "…", problem)  # a name that the file has given
    since = error.context_mark
    began = f", which began at line {since.line + 1}" if since is not None and error.context else ""
    context = f"{error.context}{began}: " if error.context else ""
    hint = ""
    if "'\\t'" in problem:
        hint = "; indent by blanks, not by tabs"
    elif "are not allowed here" in problem:
        hint = "; is a line indented wrongly? Text with a colon and a blank in it, or a colon alone, stands in quotes"
    elif "cannot start any token" in problem or "alias" in f"{context}{problem}" or "expected the node" in problem:
        hint = "; text that begins with a sign of YAML (* & , | > % @ `) stands in quotes"
    elif "<block end>" in problem:
        hint = "; is a line indented wrongly?"
    return f"not YAML: {context}{problem}{hint}"


class _TooMuch(Exception):
    pass


class _Reader:
    """Makes values of the nodes of one document."""

    def __init__(self, text: str, wants_text: Callable[[Path], bool]) -> None:
        self.faults: list[Fault] = []
        self.lines: dict[str, int] = {}
        self._text = text
        self._wants_text = wants_text
        self._left = _MOST_VALUES

    def value(self, node: yaml.Node, path: Path, within: frozenset[int]) -> Any:
        self._charge()
        if id(node) in within:
            return self._refuse(node, path, "it contains itself, by an alias")
        within |= {id(node)}
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
            found = {}
            for key, (at, below) in self._pairs(node, path, within).items():
                here = (*path, key)
                self.lines[".".join(here)] = at.start_mark.line + 1
                found[key] = self.value(below, here, within)
            return found
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
            values = []
            for position, below in enumerate(node.value):
                here = (*path, str(position))
                self.lines[".".join(here)] = below.start_mark.line + 1
                values.append(self.value(below, here, within))
            return values
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return self._refuse(node, path, f"the tag {_shown(node.tag)} is not taken: only plain values are")

    def _charge(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooMuch

    def _pairs(
        self, node: yaml.MappingNode, path: Path, within: frozenset[int]
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """What stands in a mapping, and after it what `<<` brings; the first of a key counts."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for key, below in node.value:
            self._charge()
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, path, "a key is plain text")
            elif key.value in own or (_is_merge(key) and merged):
                here = (*path, key.value)
                before = own[key.value][0].start_mark.line + 1 if key.value in own else node.start_mark.line + 1
                self._refuse(key, here, f"this key is there twice, first at line {before}")
            elif _is_merge(key):
                merged = below.value if isinstance(below, yaml.SequenceNode) else [below]
            else:
                own[key.value] = (key, below)
        for each in merged:
            if not isinstance(each, yaml.MappingNode) or id(each) in within:
                self._refuse(each, path, "<< takes a mapping, or a list of them, that does not contain itself")
                continue
            for name, pair in self._pairs(each, path, within | {id(each)}).items():
                self._charge()
                own.setdefault(name, pair)
        return own

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text, tag = node.value, node.tag
        if any("\ud800" <= character <= "\udfff" for character in text):
            return self._refuse(node, path, "half of a pair (\\ud800 to \\udfff) is no character")
        if node.style != "'" and (variable := VARIABLE.search(text)):
            why = f"nothing is filled in for {variable[0]}: write what is meant (in single quotes it is just text)"
            return self._refuse(node, path, why)
        if node.style in ("|", ">") and not text:
            return self._refuse(
                node, path, f"{node.style} begins a block of lines, and there is none: put it in quotes"
            )
        if tag == _STR:
            return text
        wanted = self._wants_text(path)
        if tag == _NULL:
            if node.style is None and not text and self._rest_of_line(node) == "#":
                return self._refuse(node, path, "# begins a comment: put it in quotes")
            if text and wanted and path[:2] == ("format", "options"):
                return self._refuse(node, path, f"{text} alone says nothing: for this very text put it in quotes")
            return None
        if wanted and tag in (_BOOL, _INT, _FLOAT):
            return text
        try:
            return self._number_or_bool(text, tag)
        except ValueError:
            return self._refuse(node, path, f"the tag {_shown(tag)} is not taken for this value: only plain values are")

    def _number_or_bool(self, text: str, tag: str) -> Any:
        if tag == _BOOL and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        if tag == _INT and re.fullmatch(_INTEGER, text):
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if tag == _FLOAT and re.fullmatch(_FRACTION, text):
            return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        raise ValueError(text)

    def _rest_of_line(self, node: yaml.Node) -> str:
        return self._text[node.start_mark.index :].split("\n", 1)[0].lstrip(": \t").rstrip()

    def _refuse(self, node: yaml.Node, path: Path, why: str) -> None:
        self.faults.append(Fault(node.start_mark.line + 1, ".".join(path), why))


def _is_merge(key: yaml.ScalarNode) -> bool:
    return key.value == _MERGE and key.style is None


def _shown(tag: str) -> str:
    return f"!!{tag.removeprefix(_CORE)}" if tag.startswith(_CORE) else tag


class _Dumper(yaml.SafeDumper):
    # What YAML 1.1 or YAML 1.2 would take for something else is quoted.
    yaml_implicit_resolvers: dict[str, Any] = {  # noqa: RUF012 - PyYAML's way
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *_Loader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if VARIABLE.search(text) else '"' if re.search(r"[\r\n\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar(_STR, text, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """A value as one document that `documents` reads as the same value: block style, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31)
