"""Which listed files are not data, and why."""

from __future__ import annotations

import re

# Spark leaves out names that begin with `.`, or with `_` unless they hold a `=` (a partition folder such as
# `_year=2026`), and uploads of `hdfs put` under way. Named explicitly, such a file is read as zero rows
# without an error. Below the source the same goes for each folder: `_temporary/` holds what a job is still
# writing. A segment `.` or `..` of an object's key is no name: such a key cannot be read (`key_problem`).
_HIDDEN = re.compile(r"(?:^|/)(\.(?!\.?(?:/|\Z))[^/]*|_[^/=]*)(?=/|\Z)", re.DOTALL)


def skip_reason(
    relative_path: str,
    size: int,
    modified_ns: int | None = None,
    *,
    modified_after_ns: int | None = None,
    existing_until_ns: int | None = None,
) -> str | None:
    """Why a file below the source is not loaded, as a short phrase, or None for a file that is data.

    `modified_after_ns` is `source.modified_after`. `existing_until_ns` is when the ingestion was made, given
    for `include_existing: false`. Both are nanoseconds since 1970 and compared with `modified_ns`.
    """
    if relative_path.endswith("/"):
        return "folder marker"
    name = relative_path.rpartition("/")[2]
    if name == "_SUCCESS":
        return "job marker _SUCCESS"
    if name.endswith(".crc"):
        return "checksum file"
    if name.endswith("._COPYING_"):
        return "upload under way"
    if hidden := _HIDDEN.search(relative_path):
        return "hidden file" if hidden.end() == len(relative_path) else f"hidden folder {hidden[1]}"
    if size == 0:
        return "empty file"
    if modified_ns is not None:
        if modified_after_ns is not None and modified_ns <= modified_after_ns:
            return "not modified after source.modified_after"
        if existing_until_ns is not None and modified_ns <= existing_until_ns:
            return "there before the ingestion (include_existing is false)"
    return None
