"""What a service has, written as files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoloader_sdk._http.endpoint import Call
from autoloader_sdk.code import meaning
from autoloader_sdk.code.apply import everything
from autoloader_sdk.code.plan import shown
from autoloader_sdk.code.yaml12 import dump
from autoloader_sdk.errors import AutoloaderError, NotFound
from autoloader_sdk.models import IngestionData

_LONGEST = 100
# Devices of Windows, whatever comes after a dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def export(folder: str | os.PathLike[str], names: Collection[str], *, force: bool) -> Call[list[Path]]:
    """Write a file for each ingestion, or for those of `names` (or ids); returns them in the service's order."""
    found, _ = yield from everything()
    chosen = [data for data in found if not names or data.name in names or data.id in names]
    missing = [one for one in names if not any(one in (data.name, data.id) for data in chosen)]
    if missing:
        raise NotFound(f"no ingestion '{missing[0]}': nothing was written")
    files = _files(Path(folder), chosen)
    try:
        _write(Path(folder), files, force=force)
    except OSError as error:
        raise AutoloaderError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return list(files)


def _write(folder: Path, files: Mapping[Path, bytes], *, force: bool) -> None:
    differing = [path for path, content in files.items() if path.exists() and path.read_bytes() != content]
    if differing and not force:
        lines = "\n  ".join(map(str, differing))
        raise AutoloaderError(
            "nothing was written: these files are there and hold something else; force=True (--force) writes over "
            f"them:\n  {lines}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        if path in differing or not path.exists():
            # Hidden, so that it is in nobody's way if we die here.
            beside = path.with_name(f".{path.name}.new")
            beside.write_bytes(content)
            os.replace(beside, path)


def _files(folder: Path, chosen: list[IngestionData]) -> dict[Path, bytes]:
    counts = Counter(data.name for data in chosen)
    several = [name for name, count in counts.items() if count > 1]
    if several:
        ids = ", ".join(data.id for data in chosen if data.name == several[0])
        raise AutoloaderError(
            f"nothing was written: several ingestions are called '{shown(several[0])}' ({ids}), and in files a name is "
            "one ingestion's; delete all but one, or name those to export"
        )
    try:
        return {folder / file_name(data.name): text(data).encode() for data in chosen}
    except ValidationError:
        broken = ", ".join(data.id for data in chosen if not _is_known(data))
        raise AutoloaderError(
            f"nothing was written: {broken} has values that this version does not know; name the others to export them"
        ) from None


def _is_known(data: IngestionData) -> bool:
    try:
        meaning.said(data)
    except ValidationError:
        return False
    return True


def file_name(name: str) -> str:
    """A file for an ingestion's name, on any file system, and another one for each name.

    Where something had to give way, or upper case would not count, a digest of the name stands at the end.
    """
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-_")[:_LONGEST].rstrip(".-_")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    if not plain or plain != name or _DEVICE.fullmatch(plain) or re.search(r"-[0-9a-f]{8}$", plain):
        plain = f"{'ingestion' if not plain or _DEVICE.fullmatch(plain) else plain}-{digest}"
    return f"{plain}.yaml"


def text(data: IngestionData) -> str:
    """The file of an ingestion: what is not the default, in the order of the contract."""
    return _about_credentials(data.source.credentials) + dump(meaning.said(data))


def _about_credentials(masked: Mapping[str, Any] | None) -> str:
    if masked is None:
        return ""
    names = f" ({', '.join(sorted(map(_plainly, masked)))})" if masked else ""
    return (
        f"# source.credentials{names}: kept by the service, which does not tell them, and left out here.\n"
        "# Applied without them, this file leaves those that are stored as they are.\n"
    )


def _plainly(name: str) -> str:
    return name if re.fullmatch(r"\w+", name, re.ASCII) else json.dumps(name)
