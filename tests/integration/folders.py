"""Where the files of a test's ingestion are: a folder of this machine, or with `--on cluster` a prefix of a bucket."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.parts.object_stores import Bucket


class Folder(Protocol):
    """What tests do with files; their names are relative to the folder."""

    @property
    def source(self) -> dict[str, Any]:
        """What an ingestion says of it: `type`, `path` without a slash at the end, and what it is read with."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file. One that was there has another modification time afterwards, in a bucket by the second."""

    def remove(self, name: str) -> None: ...


@dataclass(frozen=True)
class LocalFolder:
    path: Path

    @property
    def source(self) -> dict[str, Any]:
        return {"type": "local", "path": str(self.path)}

    def write(self, name: str, content: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_bytes(content)
        if path.stat().st_mtime_ns <= before:
            os.utime(path, ns=(before + 1, before + 1))

    def remove(self, name: str) -> None:
        (self.path / name).unlink()


@dataclass(frozen=True)
class BucketFolder:
    bucket: Bucket
    prefix: str

    @property
    def source(self) -> dict[str, Any]:
        return {"type": "s3", "path": self.bucket.path(self.prefix), "credentials": self.bucket.credentials}

    def write(self, name: str, content: bytes) -> None:
        self.bucket.put(f"{self.prefix}/{name}", content)

    def remove(self, name: str) -> None:
        self.bucket.delete(f"{self.prefix}/{name}")
