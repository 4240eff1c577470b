"""What can go wrong before Spark runs anything.

SparkError
├── JavaNotFound      no Java that this Spark runs on
├── JarUnavailable    a jar is not in the cache and could not be fetched, or has the wrong content
├── SparkUnavailable  the server did not start, died, does not answer, or has dropped the session
└── SparkUnsupported  the server is a Spark that we cannot speak to
"""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """What an error says in short: Spark's go on with pages of a stack trace. Its type where it says nothing."""
    lines = (line.strip() for line in str(error).partition("JVM stacktrace:")[0].splitlines())
    return next((line for line in lines if line), type(error).__name__)


class SparkError(Exception):
    """Spark cannot be used; the message says why and what to do."""


class JavaNotFound(SparkError):
    """No Java that this Spark runs on was found."""


class JarUnavailable(SparkError):
    """A jar that the local server needs is missing or is not the pinned one."""


class SparkUnavailable(SparkError):
    """The Spark server did not start, died, does not answer, or has dropped the session."""


class SparkUnsupported(SparkError):
    """The server is neither Spark 3.5 nor 4.x."""
