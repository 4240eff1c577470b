"""Which files are read, and their text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, TypeAlias

from autoloader_sdk.code.yaml12 import Fault

_ENDS = (".yaml", ".yml")


class Readable(Protocol):
    """An open text, such as `sys.stdin`."""

    def read(self) -> str:
        """All of it."""


Where: TypeAlias = str | os.PathLike[str] | Readable


class Text(NamedTuple):
    """A file that was read; `folder` is where its relative paths begin."""

    name: str
    folder: str
    text: str


class FileFault(NamedTuple):
    """A fault and its file."""

    file: str
    fault: Fault


def texts(places: Iterable[Where]) -> Iterator[Text | FileFault]:
    """The files at `places`, each once: a file, a folder with all `*.yaml` and `*.yml` below it, or an open text."""
    seen = set()
    for place in places:
        if not isinstance(place, str | os.PathLike):
            yield Text(str(getattr(place, "name", "<text>")), os.getcwd(), place.read())
            continue
        name = os.fspath(place)
        try:
            found = list(_below(name)) if os.path.isdir(name) else [name]
        except OSError as error:
            yield FileFault(str(error.filename or name), Fault(1, "", f"cannot be read: {error.strerror}"))
            continue
        if not found:
            yield FileFault(name, Fault(1, "", f"there is no {' or '.join('*' + end for end in _ENDS)} in it"))
        for file in found:
            if (real := os.path.realpath(file)) not in seen:
                seen.add(real)
                yield _read(file)


def _below(folder: str) -> Iterator[str]:
    def complain(error: OSError) -> None:
        raise error

    seen = set()
    for at, folders, files in os.walk(folder, onerror=complain, followlinks=True):
        if (real := os.path.realpath(at)) in seen:
            folders[:] = []  # a link that leads back
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            os.path.join(at, name)
            for name in sorted(files)
            if name.lower().endswith(_ENDS) and not name.startswith(".")
        )


def _read(file: str) -> Text | FileFault:
    try:
        with open(file, "rb") as opened:
            raw = opened.read()
    except OSError as error:
        return FileFault(file, Fault(1, "", f"cannot be read: {error.strerror}"))
    try:
        return Text(file, os.path.dirname(os.path.abspath(file)), raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return FileFault(file, Fault(raw.count(b"\n", 0, error.start) + 1, "", "is not UTF-8"))
