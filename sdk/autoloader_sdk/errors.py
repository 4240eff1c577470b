"""What can go wrong, as one tree.

AutoloaderError
├── ConnectionFailed     the service could not be reached (also a ConnectionError)
├── Timeout              it was reached and did not answer in time (also a TimeoutError)
├── ApiError             it answered with an error
│   ├── BadRequest       400
│   ├── Unauthorized     401
│   ├── Forbidden        403
│   ├── NotFound         404
│   ├── Conflict         409
│   ├── Invalid          422, or found before anything was sent; `fields` says what is wrong where
│   ├── TooMany          429
│   └── ServerError      500 and above
│       └── NotSupported 501: a later version of the service will know it
├── RunFailed            a run ended as failed or cancelled; `run` is that run
├── WaitTimeout          a run had not ended in the time given; `run` goes on (also a TimeoutError)
├── ApplyFailed          some ingestions of files could not be made or changed; the others were
├── ClientClosed         the client was closed
├── UnsupportedSpark     a cluster's Spark is none that this version can speak to
└── MissingExtra         an extra is not installed; the message has the line (also an ImportError)

Each message says what to do. None holds a token or a credential.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from autoloader_sdk.code.plan import Plan
    from autoloader_sdk.runs import Run


Missing: TypeAlias = Literal["thing", "path", "unknown"]


class AutoloaderError(Exception):
    """Any error of this package.

    `method` and `url` are those of the request, `status` and `request_id` those of the answer, None where
    there was none. The service's log has the request id. `repeated`: an earlier try of the request may have done what
    was asked. `outage`: the service, or the way to it, is away; it may be back in a while.
    """

    repeated = False
    outage = False

    def __init__(
        self,
        message: str,
        *,
        method: str | None = None,
        url: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.method = method
        self.url = url
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        if self.method is None:
            return self.message
        answer = f" answered {self.status}" if self.status else ""
        request_id = f", request id {self.request_id}" if self.request_id else ""
        return f"{self.message} ({self.method} {self.url}{answer}{request_id})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_remade, (type(self), self.message), self.__dict__)


def _remade(kind: type[AutoloaderError], message: str) -> AutoloaderError:
    """An error as pickle needs it: kinds differ in what their constructors ask for."""
    error = kind.__new__(kind, message)
    error.args = (message,)
    return error


class ConnectionFailed(AutoloaderError, ConnectionError):
    """The service could not be reached, tries included."""


class Timeout(AutoloaderError, TimeoutError):
    """The service did not answer in time. What was asked may still have been done."""


class ApiError(AutoloaderError):
    """The service answered with an error."""


class BadRequest(ApiError):
    """400: the service could not make sense of the request."""


class Unauthorized(ApiError):
    """401: no token, or one that the service does not take."""


class Forbidden(ApiError):
    """403: the token does not allow this."""


class NotFound(ApiError):
    """404: there is no such thing.

    `missing`: whether the service does not know the `thing`, or the `path` at all; `unknown` where a proxy says so.
    """

    missing: Missing = "thing"


class Conflict(ApiError):
    """409: it clashes with the state that things are in."""


class FieldProblem(NamedTuple):
    """What is wrong with one field; `field` is its path, for example `format.options.header`."""

    field: str
    message: str


class Invalid(ApiError):
    """A request that breaks the contract: 422 from the service, or found here before anything was sent.

    `fields` has one entry for each fault. Not sent: `status`, `method` and `url` are None.
    """

    def __init__(self, message: str, *, fields: Iterable[FieldProblem] = (), **request: Any) -> None:
        super().__init__(message, **request)
        self.fields = tuple(fields)

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]], **request: Any) -> Invalid:
        """From a list of `{loc, msg}`: pydantic's errors and the service's `detail` are both such lists."""
        fields = [FieldProblem(_path(entry.get("loc", ())), str(entry.get("msg", ""))) for entry in entries]
        lines = [f"{field}: {text}" if field else text for field, text in fields]
        return cls("; ".join(lines), fields=fields, **request)


def _path(loc: Any) -> str:
    parts = [str(part) for part in loc] if isinstance(loc, (list, tuple)) else [str(loc)]
    if len(parts) > 1 and parts[0] in {"body", "query", "path"}:
        parts = parts[1:]
    return ".".join(parts)


class TooMany(ApiError):
    """429: too many requests; wait and try again. `retry_after`: for so many seconds, if the answer said so."""

    retry_after: float | None = None


class ServerError(ApiError):
    """500 and above: the service failed. Its log has more, under the request id."""


class NotSupported(ServerError):
    """501: this version of the service does not do that yet."""


STATUS_ERRORS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: TooMany,
    501: NotSupported,
}


class RunFailed(AutoloaderError):
    """A run ended as failed or cancelled. `run` has the metrics, and the reason of each file."""

    def __init__(self, message: str, *, run: Run[Any], **request: Any) -> None:
        super().__init__(message, **request)
        self.run = run


class WaitTimeout(AutoloaderError, TimeoutError):
    """The time given to `wait` is over. The run goes on; `run.wait()` takes up the waiting again."""

    def __init__(self, message: str, *, run: Run[Any], **request: Any) -> None:
        super().__init__(message, **request)
        self.run = run


class ApplyFailed(AutoloaderError):
    """Some of what files say could not be done; all else was.

    `failed` has the name and the error of each, `plan` what became of every entry.
    """

    def __init__(
        self, message: str, *, plan: Plan, failed: Iterable[tuple[str, AutoloaderError]], **request: Any
    ) -> None:
        super().__init__(message, **request)
        self.plan = plan
        self.failed = tuple(failed)


class ClientClosed(AutoloaderError):
    """The client (or one that this record came from) was closed."""


class UnsupportedSpark(AutoloaderError):
    """The server's Spark is none that this version can speak to."""


class MissingExtra(AutoloaderError, ImportError):
    """Something that was asked for needs an extra of this package."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install \"autoloader-sdk[{extra}]\"")
        self.extra = extra
