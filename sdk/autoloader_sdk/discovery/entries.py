"""One file as a listing shows it, and the one place that normalises paths and identities."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import NamedTuple


class Entry(NamedTuple):
    """A file in a store.

    `path` is absolute, POSIX, without a scheme for local files, and always storable as UTF-8. `problem` is
    a sentence for a file whose name the engine can not read: it is listed, never left out, and fails.
    A tuple, because a listing holds hundreds of thousands of them.
    """

    path: str
    size: int
    modified_ns: int
    etag: str | None = None
    problem: str | None = None

    @property
    def modified_at(self) -> datetime:
        """When it was last written, in UTC."""
        return datetime.fromtimestamp(self.modified_ns / 1e9, UTC)


def identity(entry: Entry) -> str:
    """What tells one content of a path from the next: the ETag, else size and modification time in ns.

    An ETag is opaque; it loses only its quotes and the weak mark `W/`.
    """
    if entry.etag:
        return entry.etag.removeprefix("W/").strip('"')
    return f"{entry.size}-{entry.modified_ns}"


_FILE_SCHEME = re.compile(r"file:(?://(?P<host>[^/]*))?(?=/)", re.IGNORECASE)


def local_path(source: str) -> str:
    """The absolute path of a local source: `data/x/`, `/data/x`, `file:/data/x`, `file:///data/x`.

    Percent signs are kept as they are: as Spark does, a path is a raw name and not a URL.
    """
    if scheme := _FILE_SCHEME.match(source):
        if scheme["host"] not in (None, "", "localhost"):
            raise ValueError(f"source.path {source!r} names the host {scheme['host']!r}; a local path is file:///…")
        source = source[scheme.end() :]
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        raise ValueError(f"source.path {source!r} is not a local path")
    if not source:
        raise ValueError("source.path is empty: give a folder or a file")
    if "\0" in source:
        raise ValueError(f"source.path {source!r} holds a NUL character, which no file name can")
    path = os.path.abspath(source)
    return path[1:] if path.startswith("//") else path


def below(root: str, path: str) -> str:
    """`path` relative to the source `root`; a source that is the file itself gives the file's name."""
    if path == root:
        return path.rpartition("/")[2]
    folder = root if root.endswith("/") else root + "/"
    if not path.startswith(folder):
        raise ValueError(f"{path!r} is not below {root!r}")
    return path[len(folder) :]
