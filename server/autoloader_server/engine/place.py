"""Where an ingestion's files are: the worker's way to them, and Spark's."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import BinaryIO, Final, Self, TypeVar

from autoloader_sdk.discovery.errors import SourceForbidden
from autoloader_sdk.discovery.escape import spark_path
from autoloader_sdk.discovery.s3 import S3Store
from autoloader_sdk.discovery.s3_access import S3Access, current_keys
from autoloader_sdk.discovery.store import LocalStore, Store
from autoloader_sdk.models.source import Source
from autoloader_server.security.redact import redact
from autoloader_server.spark.s3 import S3Reads

# Up to here an object is fetched before its turn comes; so at most 16 MiB wait.
FETCHED_BYTES: Final = 2**20

Opener = Callable[[], BinaryIO]
_Got = TypeVar("_Got")


@dataclass(frozen=True, slots=True)
class Place:
    """A source's store; `options` is what Spark's reader needs to read the same files with the same rights."""

    store: Store
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    _alias: Callable[[str], str] = str

    @classmethod
    def of(
        cls,
        source: Source,
        credentials: Callable[[], Mapping[str, str]],
        notice: Callable[[str], None],
        *,
        spark_is_local: bool = False,
    ) -> Self:
        """`credentials` tells the source's, references followed. ValueError for a type that is not read yet.

        Where they are none a cluster reads with its own identity; the local Spark is given the keys that the service
        itself has at this moment (a profile, single sign-on), which Hadoop would not find.
        """
        if source.type == "local":
            return cls(LocalStore(source.path))
        if source.type == "s3":
            access = S3Access.of(credentials())
            reads = S3Reads.of(_with_own_keys(access) if spark_is_local else access)
            return cls(S3Store(source.path, access, notice=notice), reads.options, reads.path)
        raise ValueError(f"source.type {source.type!r} cannot be read by this version")

    def spark(self, path: str) -> str:
        """A path of the ledger as Spark's readers want it."""
        return spark_path(self._alias(path))

    def ahead(
        self, files: Iterable[tuple[str, int]], get: Callable[[str, int], _Got]
    ) -> Iterator[tuple[str, int, Callable[[], _Got]]]:
        """Each file (path, size) in turn, and a call that tells what `get` had for it or raises what it raised.

        In a store where reading waits, `get` is called for some files ahead, side by side; elsewhere in turn.
        """
        many = self.store.readers
        if many == 1:
            for path, size in files:
                yield path, size, partial(get, path, size)
            return
        left = iter(files)
        pool = ThreadPoolExecutor(many, thread_name_prefix="look")
        try:
            begun = deque((path, size, pool.submit(get, path, size)) for path, size in islice(left, many))
            while begun:
                path, size, future = begun.popleft()
                yield path, size, future.result
                begun.extend((path, size, pool.submit(get, path, size)) for path, size in islice(left, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def content(self, path: str, size: int) -> Opener:
        """How to open a file from its beginning; one that is small and far away is fetched already."""
        if self.store.readers == 1 or size > FETCHED_BYTES:
            return partial(self.store.open, path)
        with self.store.open(path) as stream:
            content = stream.read()
        return partial(io.BytesIO, content)


LOCAL: Final = Place(LocalStore("/"))


def _with_own_keys(access: S3Access) -> S3Access:
    if access.has_keys:
        return access
    try:
        keys = current_keys(access)
    except SourceForbidden:
        return access  # the listing comes first, and says so
    redact.register([keys.secret_access_key, keys.token])
    return access.with_keys(keys)
