"""Files are looked into while Spark stages them already, as a sample of them says how they are to be read.

Looking into every byte takes a fifth of the time of staging, and fits beside it. What it finds counts as much as if it
had come first: nothing is published, nor written down as staged, before it has ended well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

from autoloader_server.engine.errors import BatchRefused, FileFailure
from autoloader_server.engine.formats.base import Look, Looks
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.security.redact import logger
from autoloader_server.spark.errors import first_line

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from autoloader_server.engine.work import Work

_log = logger(__name__)


@dataclass
class Seen:
    """What was found in file versions beside the columns `known`: a round that follows need not look again."""

    known: StructType | None = None
    found: dict[int, Look | FileFailure] = field(default_factory=dict)

    def of(self, file: FileVersion, known: StructType | None) -> Look | FileFailure | None:
        return self.found.get(file.id) if known is not None and known == self.known else None


class Check:
    """Looks into a batch's files in a thread, from entering the block on; leaving it ends the thread.

    As soon as something is found that the staging did not expect, what Spark is doing for it is interrupted.
    """

    def __init__(self, work: Work, files: Sequence[FileVersion], guessed: Sequence[Look], known: StructType) -> None:
        self._work = work
        self._files = files
        self._groups = {look.path: look.group for look in guessed}
        self._known = known
        self._found: dict[int, Look | FileFailure] = {}
        self._refused = False
        self._stop = Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name=f"check-{work.run_id[:8]}", daemon=True)
        self._tag = f"{work.tag}-stage-{id(self)}"

    def __enter__(self) -> Self:
        self._work.spark.addTag(self._tag)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._work.spark.removeTag(self._tag)

    def verdict(self) -> None:
        """Wait until all files were looked into.

        Raises BatchRefused where one is not as the sample said: with those that cannot be loaded; what was seen in the
        others is kept for the next round.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._refused:
            self._work.seen = Seen(self._known, self._found)
            raise BatchRefused([one for one in self._found.values() if isinstance(one, FileFailure)])

    def _run(self) -> None:
        try:
            looks = self._work.format.look([(file.path, file.size) for file in self._files], self._known)
            for file, found in zip(self._files, looks, strict=True):
                if self._stop.is_set():
                    return
                self._found[file.id] = found
                if not self._refused and not self._as_expected(found):
                    self._refused = True
                    self._interrupt()
        except Exception as error:
            self._error = error

    def _as_expected(self, found: Look | FileFailure) -> bool:
        return isinstance(found, Look) and not found.unfamiliar and found.group == self._groups[found.path]

    def _interrupt(self) -> None:
        try:
            self._work.spark.interruptTag(self._tag)
        except Exception as error:
            # Then it is staged to its end, in vain.
            _log.warning("what Spark was staging could not be interrupted: %s", first_line(error))


def guess(work: Work, files: Sequence[FileVersion], known: StructType) -> list[Look] | None:
    """How these files are read, as a sample of them tells; None where they must be looked into first.

    A few small files are looked into in no time. Where one round was in vain, the next one looks first.
    """
    if sum(file.size for file in files) < work.check_beside_bytes:
        return None
    looked = work.refused.keys() | work.exact
    if any(work.seen.of(file, known) or file.path in work.wider or file.id in looked for file in files):
        return None
    return work.format.guess([(file.path, file.size) for file in files], known)


def look_into(work: Work, files: Sequence[FileVersion], known: StructType | None) -> Looks:
    """What is in these files; what a round in vain has seen of them is not looked for again."""
    found = {file.path: seen for file in files if (seen := work.seen.of(file, known)) is not None}
    rest = [(file.path, file.size) for file in files if file.path not in found]
    fresh = work.format.look(rest, known) if rest else iter(())
    return Looks.of(found[file.path] if file.path in found else next(fresh) for file in files)
