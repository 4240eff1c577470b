"""Paths as Spark's readers want them."""

from __future__ import annotations

# Hadoop expands globs in every path that a reader is given, and splits a string of paths at commas.
_GLOB_CHARACTERS = str.maketrans({character: "\\" + character for character in "{}[]*?\\,"})


def spark_path(path: str) -> str:
    """The raw path of one file, with what Hadoop would take as a glob escaped by a backslash.

    Spaces, `%20`, `#` and `ü` stay as they are. The way back is `unquote(_metadata.file_path)`.
    """
    return path.translate(_GLOB_CHARACTERS)
