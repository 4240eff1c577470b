"""The jars that the local server needs beyond the pyspark wheel: pinned, fetched once, checked, cached."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from autoloader_server.spark.errors import JarUnavailable
from autoloader_server.spark.java import find_java
from autoloader_server.spark.truststore import truststore_options

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """A Maven artifact, and the content that we accept under that name."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


LOCAL_JARS = (
    Jar(
        "org.apache.iceberg",
        "iceberg-spark-runtime-4.1_2.13",
        "1.11.0",
        "d6ea6c5d099288daeb7d5a92061bd3d7d8f296492632b42378e5f2f0e3066242",
    ),
    Jar(
        "org.xerial",
        "sqlite-jdbc",
        "3.47.1.0",
        "4164d95347aeab42b754cabb7945b93e54f29ddb2eded967dbe979b4045cb685",
    ),
    # Spark's own, which its Python package leaves out.
    Jar(
        "org.apache.spark",
        "spark-avro_2.13",
        "4.1.1",
        "6a19d90bc3b6e88d8db0fa36a19273aa10fea2dbd7a62bb60e4cedd73051b32d",
    ),
    # S3A, without what it depends on (a bundle of 641 MB): the AWS SDK is in Iceberg's, but for the last one.
    Jar(
        "org.apache.hadoop",
        "hadoop-aws",
        "3.4.2",
        "d2d24e6b715b5656b9d238bf13b6682a07e2004dd36aad74a73aeb854319f4d9",
    ),
    Jar(
        "org.apache.iceberg",
        "iceberg-aws-bundle",
        "1.11.0",
        "38f01da7e96850cdd05e6616d758b77b43314b712a8808e3f9a824d56976162f",
    ),
    Jar(
        "software.amazon.awssdk",
        "s3-transfer-manager",
        "2.44.4",
        "dbcad736b19f6eb8471f9edf027d9fffe994228f25f415894efd01fd80cb6c02",
    ),
)


def jar_cache() -> Path:
    """``AUTOLOADER_JARS_DIR``, or ``autoloader/jars`` in the user's cache folder."""
    if chosen := os.environ.get("AUTOLOADER_JARS_DIR"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "autoloader" / "jars"


def pyspark_jars() -> Path:
    """The folder of jars inside the installed pyspark, found without importing it.

    Raises:
        JarUnavailable: pyspark is not installed, or came without its jars (``pyspark-client``).

    """
    spec = find_spec("pyspark")
    folders = [] if spec is None else spec.submodule_search_locations or []
    for folder in folders:
        if (jars := Path(folder) / "jars").is_dir():
            return jars
    message = "The local Spark needs pyspark with its jars: `pip install 'autoloader-sdk[local]'`."
    raise JarUnavailable(message)


def ensure_jars(progress: Progress | None = None, *, jars: Iterable[Jar] = LOCAL_JARS) -> list[Path]:
    """The paths of all jars, fetched first where they are not in the cache yet.

    The content of each is checked when it comes into the cache, by sha256, and again when its size or time of
    change is not what it was then. Two processes at once fetch a jar once.

    Args:
        progress: called with one line for each jar that is fetched.
        jars: what to resolve.

    Raises:
        JarUnavailable: a jar can not be fetched, or its content is not the pinned one; the message says which
            file to put where.

    """
    folder = jar_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"The jar cache {folder} cannot be made ({error}): set AUTOLOADER_JARS_DIR to another."
        raise JarUnavailable(message) from error
    wanted = list(jars)
    if not all(_verified(folder / jar.file_name, jar) for jar in wanted):
        with FileLock(folder / ".lock"):
            for left in folder.glob(".fetch-*"):  # of a process that was killed
                shutil.rmtree(left)
            for jar in wanted:
                _complete(folder, jar, progress)
    return [folder / jar.file_name for jar in wanted]


def _complete(folder: Path, jar: Jar, progress: Progress | None) -> None:
    target = folder / jar.file_name
    if _verified(target, jar):
        return
    if target.is_file():
        if _sha256(target) == jar.sha256:  # put there by hand, or touched
            _record(target, jar)
            return
        _tell(progress, f"{jar.file_name} in {folder} is damaged (wrong sha256): fetching it again")
    else:
        _tell(progress, f"fetching {jar.coordinate}")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        fetched = _resolve(jar, Path(scratch), target)
        found = _sha256(fetched)
        if found != jar.sha256:
            message = (
                f"{jar.coordinate}, as the repository gave it, has sha256 {found} and not {jar.sha256}: "
                f"refused. If a mirror changed it, put the right {jar.file_name} at {target}."
            )
            raise JarUnavailable(message)
        fetched.replace(target)
    _record(target, jar)
    _tell(progress, f"fetched {jar.file_name} ({target.stat().st_size / 1e6:.0f} MB)")


def _resolve(jar: Jar, scratch: Path, target: Path) -> Path:
    """Fetch one jar, without what it depends on, by the Ivy in the pyspark wheel and the user's settings."""
    ivy = next(pyspark_jars().glob("ivy-*.jar"))
    settings = _ivy_settings()
    command = [
        str(find_java()),
        *truststore_options(scratch),
        "-jar",
        str(ivy),
        *(["-settings", str(settings)] if settings else []),
        *("-cache", str(scratch / "cache")),
        *("-dependency", jar.group, jar.artifact, jar.version),
        "-notransitive",
        *("-confs", "default"),
        *("-retrieve", str(scratch / "jars" / "[artifact]-[revision].[ext]")),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    fetched = scratch / "jars" / jar.file_name
    if not fetched.is_file():
        with_settings = f" with the Ivy settings {settings}" if settings else ""
        message = (
            f"{jar.coordinate} could not be fetched{with_settings}.\n"
            f"Without a network: put {jar.file_name} (Maven coordinate {jar.coordinate}, "
            f"sha256 {jar.sha256}) at {target}.\n"
            "With a mirror: name its repository in an Ivy settings file, ~/.ivy2/ivysettings.xml or the one "
            "that AUTOLOADER_IVY_SETTINGS names.\n"
            f"Ivy said: {_complaint(told.stdout + told.stderr)}"
        )
        raise JarUnavailable(message)
    return fetched


def _ivy_settings() -> Path | None:
    if chosen := os.environ.get("AUTOLOADER_IVY_SETTINGS"):
        if not (path := Path(chosen).expanduser()).is_file():
            message = f"AUTOLOADER_IVY_SETTINGS names {path}, which is no file."
            raise JarUnavailable(message)
        return path
    usual = Path.home() / ".ivy2" / "ivysettings.xml"
    return usual if usual.is_file() else None


def _complaint(output: str) -> str:
    """The lines of Ivy's output that tell what failed, each once."""
    marks = ("WARN", "ERROR", "Exception", "UNRESOLVED", "not found", "failed")
    lines = dict.fromkeys(line.strip(" \t:") for line in output.splitlines() if any(mark in line for mark in marks))
    return "\n  ".join(list(lines)[:12]) or output.strip()[-2000:] or "nothing"


def _marker(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")


def _state(path: Path, jar: Jar) -> str:
    found = path.stat()
    return f"{jar.sha256} {found.st_size} {found.st_mtime_ns}"


def _record(path: Path, jar: Jar) -> None:
    marker = _marker(path)
    draft = marker.with_name(f"{marker.name}.{os.getpid()}")
    draft.write_text(_state(path, jar), encoding="ascii")
    draft.replace(marker)


def _verified(path: Path, jar: Jar) -> bool:
    """Whether the file is the one whose content was checked; costs two stats and a read of 100 bytes."""
    try:
        return _marker(path).read_text(encoding="ascii") == _state(path, jar)
    except FileNotFoundError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tell(progress: Progress | None, line: str) -> None:
    if progress is not None:
        progress(line)
