"""Sessions on a Spark Connect server: how they are opened, and the one that a process shares."""

from __future__ import annotations

import atexit
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autoloader_server.spark.errors import SparkUnavailable, first_line
from autoloader_server.spark.hello import greet
from autoloader_server.spark.local import LocalSpark

if TYPE_CHECKING:
    from pyspark.sql.connect.client.retries import RetryPolicy
    from pyspark.sql.connect.session import SparkSession

# Keys of a store as they stand among the options of a read, in the text of a request.
CREDENTIALS = (
    r'fs\.s3a\.(?:[^"\s]*\.)?(?:access\.key|secret\.key|session\.token)"\s*value:\s*"[^"\\]*+(?:\\.[^"\\]*+)*+"'
)
_REDACTED = "spark.sql.redaction.string.regex"

SESSION_CONFS: Mapping[str, str] = {
    # Measured on 2,000 files of 50 KB: 0.6 of the time, and 1/2 to 1/3.5 of the time.
    "spark.sql.files.openCostInBytes": "65536",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "16",
    # Where a cluster's own settings say otherwise, a damaged file would be loaded in part, without an error.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    # Spark 3.5 and 4.x differ in these defaults.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    # Otherwise 4.x reads text in six encodings only, without windows-1252.
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.avro.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
}

# Waits of 0.05, 0.2, 0.8, 2, 2, 2 s, up to 0.5 s longer each: about 8 s until a dead server is an error. The
# client's own policy tries for over 150 s.
_RETRIES = 6
_MAX_BACKOFF_MS = 2000

# gRPC waits longer after each connection that was refused, up to two minutes, and all channels of a process to one
# address share that wait: a server that is back would be called dead because another session has asked it in vain.
CHANNEL = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", _MAX_BACKOFF_MS))

# What a server may take for its first answer.
_HELLO_SECONDS = 30.0
_CHECK_SECONDS = 30.0
# A live server answers within milliseconds.
_RELEASE_SECONDS = 2.0
# Releasing two sessions takes as long at the most.
_CLOSE_SECONDS = 5.0

_log = logging.getLogger(__name__)

# What a client is told where the server is gone, or is another one, or has dropped the session.
_GONE = re.compile(
    r"StatusCode\.UNAVAILABLE|failed to connect to all addresses|Socket closed|Connection reset by peer|"
    r"RESPONSE_ALREADY_RECEIVED"
)
_DROPPED = re.compile(
    r"INVALID_HANDLE\.SESSION_(CHANGED|CLOSED|NOT_FOUND)|NO_ACTIVE_SESSION|incorrect server side session identifier"
)
# A setting by which a session is known again: Spark 3.5 makes a new session, with none of ours, under the name of one
# that it has dropped, and says nothing.
_MARK = "spark.autoloader.session"
_REFUSED = re.compile(r"UNAUTHENTICATED|Invalid authentication token")


def connect(
    url: str,
    *,
    confs: Mapping[str, str] | None = None,
    alive: Callable[[], bool] | None = None,
    seconds: float = _HELLO_SECONDS,
    retries: int = _RETRIES,
) -> SparkSession:
    """A new session on the server at ``url``, with the settings that the engine relies on.

    Args:
        url: a Spark Connect URL, ``sc://host:port/;token=…``.
        confs: settings beyond ours, which they override.
        alive: whether the server's process lives, where that can be known: a dead one is not tried again.
        seconds: how long the server may take for its first answer.
        retries: how often a call is tried again, from then on too.

    Raises:
        SparkUnavailable: nothing answers there, or it refuses the token.
        SparkUnsupported: it is neither Spark 3.5 nor 4.x.

    """
    from pyspark.sql.connect.client.core import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession

    # Said beside the error that says the same, and better.
    warnings.filterwarnings("ignore", r"\[RETRIES_EXCEEDED\]", UserWarning, r"pyspark\.sql\.connect")
    # It prints each expected refusal (no such table yet) to the user's terminal; the errors themselves are raised.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    # Has `pyspark.sql.functions` make columns for Connect, as the builder would: users of `table()` call them.
    os.environ.setdefault("SPARK_CONNECT_MODE_ENABLED", "1")
    # Not by the builder: that makes it the default of the user's own `getOrCreate()`.
    session = SparkSession(connection=DefaultChannelBuilder(url, channelOptions=list(CHANNEL)))
    client = session.client
    # Its own shuts down a pool that all sessions of the process share, and waits for it; `SparkSession.__del__` calls
    # it in whatever thread collects garbage, also in one of that pool, which then waits for itself for ever.
    client.close = client._channel.close  # type: ignore[method-assign]  # noqa: SLF001
    client.set_retry_policies([_retry_policy(alive, retries)])
    # Spark 4 would clean its ML cache at exit, and wait for a server that may be gone by then.
    if (cleanup := getattr(client, "_cleanup_ml_cache", None)) is not None:
        atexit.unregister(cleanup)
    try:
        greet(session, _address(url), seconds)
        with spark_errors(_address(url)):
            # A cluster's page of Spark Connect, and its event log, show what a session asks for, with the options of
            # reads. What the cluster leaves out by itself stays so.
            own = session.conf.get(_REDACTED, "")
            redacted = f"{own}|{CREDENTIALS}" if own else CREDENTIALS
            ours = {**SESSION_CONFS, _REDACTED: redacted, **(confs or {}), _MARK: session.session_id}
            for name, value in ours.items():
                session.conf.set(name, value)
    except BaseException:
        release(session)
        raise
    return session


def check_session(session: SparkSession) -> None:
    """Raises SparkUnavailable where the server has dropped the session, also where it has made another in its place."""
    with spark_errors():
        if session.conf.get(_MARK, "") != session.session_id:
            raise SparkUnavailable(_lost("the Spark server"))


def _lost(where: str) -> str:
    return (
        f"{where} has dropped our session (it was restarted, or the session was ended there). What it was doing may or "
        "may not have been done; run again: a new session is opened, and unfinished work is settled first."
    )


def _retry_policy(alive: Callable[[], bool] | None, retries: int) -> RetryPolicy:
    from pyspark.sql.connect.client.retries import DefaultPolicy

    class WhileAlive(DefaultPolicy):
        """Retries what the client would, but for 8 s, and not at all where the server's process is gone."""

        def can_retry(self, e: BaseException) -> bool:
            return bool(super().can_retry(e)) and (alive is None or alive())

    return WhileAlive(max_retries=retries, max_backoff=_MAX_BACKOFF_MS)


def spark_unavailable(error: BaseException, where: str = "the Spark server") -> SparkUnavailable | None:
    """The same error as one that says that the server is gone, or None where it tells of something else."""
    text = str(error)
    if isinstance(error, SparkUnavailable):
        return error
    if not type(error).__module__.startswith(("pyspark.", "grpc")):
        return None
    if _REFUSED.search(text):
        return SparkUnavailable(f"{where} refuses the token: give the right one in the URL, `;token=…`.")
    if _DROPPED.search(text):
        return SparkUnavailable(_lost(where))
    if _GONE.search(text) or _status_name(error) == "UNAVAILABLE":
        return SparkUnavailable(
            f"{where} died or does not answer any more. What it was doing may or may not have been done; "
            f"run again: a new session is opened, and unfinished work is settled first. "
            f"Spark's client said: {_reason(text) or type(error).__name__}"
        )
    return None


@contextmanager
def spark_errors(where: str = "the Spark server") -> Iterator[None]:
    """Within this block the death of the server is raised as :class:`SparkUnavailable`; other errors pass."""
    try:
        yield
    except Exception as error:
        converted = spark_unavailable(error, where)
        if converted is None or converted is error:
            raise
        raise converted from error


class SparkSessions:
    """The session that all threads of this process share, on the local server or a remote one.

    Nothing is started and pyspark is not imported until :meth:`session` is called.

    Args:
        home: the state folder that the local server belongs to.
        remote: the URL of a Spark Connect server to use instead of the local one, or what tells it, with the token of
            the day: it is asked when a session is opened.
        idle_seconds: as for :class:`LocalSpark`.
        memory: as for :class:`LocalSpark`.

    """

    def __init__(
        self,
        home: Path,
        remote: str | Callable[[], str] | None = None,
        *,
        idle_seconds: float = 60,
        memory: str = "2g",
    ) -> None:
        self._local = None if remote else LocalSpark(home, idle_seconds=idle_seconds, memory=memory)
        self._remote = remote
        self._lock = threading.Lock()
        self._session: SparkSession | None = None
        self._url: str | None = None
        self._users: tuple[str, SparkSession] | None = None
        self._checked = 0.0
        self._abandoned = False

    @property
    def is_local(self) -> bool:
        """Whether it is the local server: one of the same user, on this machine."""
        return self._local is not None

    @property
    def started(self) -> bool:
        """Whether this process holds a session."""
        return self._session is not None

    def session(self, progress: Callable[[str], None] | None = None) -> SparkSession:
        """The shared session; where its server died, a new one on a new server.

        Raises:
            SparkError: there is no server, and why.

        """
        with self._lock:
            url, alive = None, None
            if self._local is not None:
                url = self._local.ensure(progress)
                server = self._local.folder.server()
                alive = None if server is None else server.jvm.alive
            if self._session is not None and (url not in (None, self._url) or not self._answers()):
                self._drop()
            if self._session is None:
                if url is None:
                    assert self._remote is not None
                    url = self._remote if isinstance(self._remote, str) else self._remote()
                self._session = connect(url, alive=alive)
                self._url = url
                self._checked = time.monotonic()
                atexit.register(self.close)
            if self._abandoned:
                self._abandoned = False
                self._drop()
                if self._local is not None:
                    self._local.release()
                raise SparkUnavailable("the service is closing")
            return self._session

    def for_user(self) -> SparkSession:
        """A session of the user's own, always the same one: what is set in it does not reach runs."""
        url = (self.session(), self._url)[1]
        if url is None:
            raise SparkUnavailable("the service is closing")
        with self._lock:
            if self._users is not None and (self._users[0] != url or not _is_known(self._users[1])):
                release(self._users[1])
                self._users = None
            if self._users is None:
                self._users = (url, connect(url))
            return self._users[1]

    def doubt(self) -> None:
        """Something went wrong: whether the server still has the session is asked before it is given out again."""
        self._checked = -_CHECK_SECONDS

    def close(self) -> None:
        """Release the session, and stop being a user of the local server.

        A server that is being started right now may take minutes: whoever starts it lets go of it then.
        """
        if not self._lock.acquire(timeout=_CLOSE_SECONDS):
            self._abandoned = True
            return
        try:
            self._drop()
            if self._users is not None:
                release(self._users[1])
                self._users = None
            if self._local is not None:
                self._local.release()
        finally:
            self._lock.release()

    def _answers(self) -> bool:
        """Whether the server still knows the held session; asked at most every 30 s."""
        assert self._session is not None
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return True
        try:
            check_session(self._session)
        except SparkUnavailable:
            return False
        self._checked = time.monotonic()
        return True

    def _drop(self) -> None:
        session, self._session, self._url = self._session, None, None
        if session is None:
            return
        atexit.unregister(self.close)
        release(session)


def _is_known(session: SparkSession) -> bool:
    """Whether a session was not stopped here, and is still there on the server."""
    try:
        check_session(session)
    except (SparkUnavailable, ValueError):  # grpc's word for a channel that was closed here
        return False
    return True


def release(session: SparkSession) -> None:
    """Let go of a session without waiting for a server that may be dead, or busy with ending it.

    Not by ``session.stop()``: that asks the server under a lock that all sessions share, without a limit of time.
    """
    client = session.client
    for policy in client.get_retry_policies():  # calls that are being retried right now give up too
        policy.max_retries = 0
    client.set_retry_policies([])
    telling = threading.Thread(target=_tell_of_the_end, args=(session,), daemon=True)
    telling.start()
    telling.join(_RELEASE_SECONDS)
    # Ends the calls that are still in flight.
    client.close()


def _tell_of_the_end(session: SparkSession) -> None:
    try:
        session.client.release_session()
    except Exception as error:
        _log.debug("a session could not be released: %s", first_line(error))


def _reason(text: str) -> str:
    """The one line of a gRPC error that says something."""
    details = re.search(r'details = "(.*?)"', text)
    return (details[1] if details else text.partition("\n")[0])[:300]


def _address(url: str) -> str:
    """The part of a URL that may be shown: no token."""
    return "The Spark server at " + url.split("/;", 1)[0].split(";", 1)[0]


def _status_name(error: BaseException) -> str:
    """The name of the gRPC status, where the error carries one (pyspark 4.x, or grpc's own)."""
    for attribute in ("getGrpcStatusCode", "code"):
        if callable(ask := getattr(error, attribute, None)):
            return str(getattr(ask(), "name", ""))
    return ""
