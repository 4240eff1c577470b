"""What a service has answered, as a reply or as an error that says what to do."""

from __future__ import annotations

from typing import Any

import httpx

from autoloader_sdk import errors
from autoloader_sdk._http.address import REQUEST_ID
from autoloader_sdk._http.endpoint import Reply
from autoloader_sdk._http.retry import NotNow, moment_of, retry_after, untrusted
from autoloader_sdk._http.service import NO_SUCH_PATH, Service
from autoloader_sdk.config import without_user
from autoloader_sdk.errors import AutoloaderError

#: Answers of a proxy, or of a service that is just starting. What was asked may have been done.
_NOT_READY = frozenset({502, 503, 504})
_TOO_MANY = 429
_FAULT = 500
#: Of redirects, unlike those of a service that has moved.
_FOR_THIS_TIME = frozenset({302, 303})
#: A service of ours says so in each answer: it keeps idempotency keys, so a POST may be sent twice.
OURS = "Autoloader-Version"


def ready(response: httpx.Response, service: Service) -> httpx.Response:
    """The answer, if it is one. Raises NotNow where the service could not give any."""
    if response.status_code in _NOT_READY or response.status_code == _TOO_MANY:
        raise NotNow(response, refused=service.refused(response.status_code, _json(response)))
    return response


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def closed() -> AutoloaderError:
    return errors.ClientClosed("this client is closed; make a new one")


def failure(
    error: httpx.HTTPError, request: httpx.Request, service: Service, *, repeated: bool = False
) -> AutoloaderError:
    """A request without an answer; `repeated`: an earlier try may have done what it asks."""
    asked: dict[str, Any] = {"method": request.method, "url": without_user(str(request.url))}
    host = without_user(f"{request.url.scheme}://{request.url.netloc.decode()}")
    if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        asked["request_id"] = request.headers.get(REQUEST_ID)
    if isinstance(error, (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)):
        made: AutoloaderError = errors.Timeout(
            f"{host} did not answer in time; give the client a longer timeout, or look at {service.called}",
            **asked,
        )
    elif untrusted(error):
        made = errors.ConnectionFailed(
            f"the certificate of {host} is not trusted ({error}): give the file of the authority that signed it "
            "(`ca`, or SSL_CERT_FILE), or look who answers there",
            **asked,
        )
    else:
        reason = str(error) or type(error).__name__
        made = errors.ConnectionFailed(
            f"{host} could not be reached ({reason}); is {service.called} running, and the address right?", **asked
        )
    made.__cause__ = _without_frames(error)
    made.repeated = repeated
    made.outage = not untrusted(error) and not isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError)
    return made


def _without_frames(error: BaseException) -> BaseException:
    """The error without the frames below it: those of a proxy's connection hold the token in their variables."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def read(response: httpx.Response, service: Service, *, repeated: bool = False) -> Reply | AutoloaderError:
    """The reply, or the error, of a request; `repeated`: an earlier try may have done what it asks."""
    request = response.request
    told: dict[str, Any] = {
        "method": request.method,
        "url": without_user(str(request.url)),
        "status": response.status_code,
        "request_id": response.headers.get(REQUEST_ID),
    }
    if not response.is_success:
        error = _error(response, service, told)
        error.repeated = repeated
        error.outage = response.status_code in _NOT_READY
        return error
    try:
        body = response.json() if response.content.strip() else None
    except ValueError:
        cut_off = f"the answer is not JSON: it was cut off, or this is not the address of {service.name}"
        return errors.ApiError(service.page if _is_page(response) else cut_off, **told)
    return Reply(
        status=response.status_code,
        body=body,
        next_path=_next_path(response, service.root),
        date=moment_of(response.headers.get("Date")),
        told=told,
        ours=OURS in response.headers,
        service=service,
    )


def _next_path(response: httpx.Response, root: str) -> str | None:
    """Where the next page is, below the address that we know: a proxy's link may name another host."""
    link = response.links.get("next", {}).get("url")
    if not link:
        return None
    whole = str(response.url.join(link))
    return root + whole.partition(root)[2]


def _error(response: httpx.Response, service: Service, told: dict[str, Any]) -> AutoloaderError:
    status = response.status_code
    kind = errors.STATUS_ERRORS.get(status, errors.ServerError if status >= 500 else errors.ApiError)
    if response.has_redirect_location:
        return errors.ApiError(_sent_on(response, service), **told)
    detail = _detail(response, service)
    fields: tuple[errors.FieldProblem, ...] = ()
    if isinstance(detail, list) and all(isinstance(entry, dict) for entry in detail) and detail:
        listed = errors.Invalid.of(detail)
        detail, fields = listed.message, listed.fields
    own = detail and not _is_page(response)
    said = f"{service.says if own else ''}{detail or response.reason_phrase or 'no reason given'}"
    made = kind(f"{said}{service.advice(status, detail)}", **told)
    if status == _FAULT and told["request_id"] and "request id" not in str(detail):
        made.message += "; the service's log tells why, under the request id"
    if isinstance(made, errors.NotFound):
        made.missing = _missing(response, service)
    if isinstance(made, errors.Invalid):
        made.fields = fields
    if isinstance(made, errors.TooMany):
        made.retry_after = retry_after(response)
    return made


def _sent_on(response: httpx.Response, service: Service) -> str:
    """What a redirect means; a query may hold what lets one in, and is left out."""
    to = response.url.join(response.headers["Location"])
    where = without_user(str(to.copy_with(query=None, fragment=None)))
    if response.status_code in _FOR_THIS_TIME and to.path != response.url.path:
        return (
            f"{service.called} sends one on to {where}, as a login in front of it does; is {service.setting} the "
            "address of the service itself, and is a token needed?"
        )
    return f"{service.called} has moved to {where}; set {service.setting} to that"


def _missing(response: httpx.Response, service: Service) -> errors.Missing:
    """Whether it is a thing or the path itself that an application does not know; a proxy's word says neither."""
    detail = service.detail(_json(response))
    if not isinstance(detail, str):
        return "unknown"
    return "path" if detail == NO_SUCH_PATH and OURS not in response.headers else "thing"


def _detail(response: httpx.Response, service: Service) -> Any:
    """What the answer says of the error; of a web page only that it is one."""
    try:
        body = response.json()
    except ValueError:
        if _is_page(response):
            return f"{response.reason_phrase or 'an error'}, as a web page and not as {service.name} tells it"
        return " ".join(response.text.split())[:200]
    return service.detail(body)


def _is_page(response: httpx.Response) -> bool:
    return response.text.lstrip()[:1] == "<"
