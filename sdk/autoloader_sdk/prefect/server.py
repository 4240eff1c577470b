"""A Prefect server as a service: its address, what lets one in, and its own words for errors."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from autoloader_sdk._http.service import NO_SUCH_PATH, Service
from autoloader_sdk.config import TIMEOUT, Config, Secret, checked_timeout, user_in, without_user
from autoloader_sdk.errors import AutoloaderError

URL, AUTH = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"
#: What Prefect says where its database was locked and has taken the whole transaction back; a proxy says it otherwise.
_LOCKED = {"exception_message": "Service Unavailable"}


class PrefectServer(Service):
    """The API of a Prefect server that somebody runs themselves."""

    name = "Prefect's API"
    called = "Prefect"
    says = "Prefect: "
    setting = URL
    example = "http://127.0.0.1:4200/api"
    request_ids = False
    root = "/api"
    scheme = "Basic"
    entry = f"give what the server has as PREFECT_SERVER_API_AUTH_STRING: Prefect(auth_string=...) or {AUTH}"
    page = (
        f"the answer is a web page: {URL} is the address of Prefect's pages, or of a login in front of it, and not of "
        "its API, which is like http://127.0.0.1:4200/api"
    )

    def base(self, url: str) -> str:
        """The address with `/api` at its end, whether it was given so, without, or as `/api/v1`."""
        parts = urlsplit(self.checked(url))
        path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
        if path.endswith("/api/v1"):
            path = path.removesuffix("/v1")
        elif "/api/" not in f"{path}/":
            path += self.root
        return urlunsplit((parts.scheme, parts.netloc, path, "", ""))

    def credentials(self, secret: str) -> str:
        """As Basic authentication has it."""
        return base64.b64encode(secret.encode()).decode()

    def refused(self, status: int, body: Any) -> bool:
        """Also where the database was locked, as SQLite's often is: nothing was done then."""
        return super().refused(status, body) or (status == 503 and body == _LOCKED)

    def detail(self, body: Any) -> Any:
        """Prefect's own words. What it repeats of the request (`request_body`) is left out."""
        if not isinstance(body, dict):
            return body
        said = body.get("exception_detail") or body.get("detail") or body.get("exception_message")
        if isinstance(said, list) and all(isinstance(entry, str) for entry in said):
            return "; ".join(said)
        return said or body.get("message")

    def advice(self, status: int, detail: Any) -> str:
        """Also of a path that the server does not know, and of a database that is locked."""
        if status == 503 and detail == _LOCKED["exception_message"]:
            return "; its database was locked, or away, and nothing was done: try again"
        if status == 404 and detail == NO_SUCH_PATH:
            return f"; there is no such path: is {URL} the address of its API, and is it 3.0 or newer?"
        return super().advice(status, detail)


PREFECT = PrefectServer()


def settings(
    url: str | None,
    auth: Secret | None,
    *,
    timeout: float | None,
    ca: str | os.PathLike[str] | None,
    proxy: str | None,
) -> Config:
    """What is given, else the environment's.

    Raises:
        AutoloaderError: there is no address, or something here is not what it should be.
    """
    address, auth = apart(url, auth) if url else apart(os.environ.get(URL), auth)
    if not address:
        raise AutoloaderError(
            f"no address of Prefect's API: give Prefect('{PREFECT.example}') or set {URL} "
            "(profiles of Prefect are not read, and no server is started)"
        )
    if auth is None and os.environ.get(AUTH):
        auth = Secret(os.environ[AUTH])
    if auth is not None and ":" not in auth.reveal():
        raise AutoloaderError(f"the auth string of Prefect ({AUTH}) is user:password, with a colon")
    return Config(
        address,
        token=auth,
        timeout=TIMEOUT if timeout is None else checked_timeout("argument", timeout),
        ca=None if ca is None else Path(ca).expanduser(),
        proxy=proxy,
    )


def apart(url: str | None, auth: Secret | None) -> tuple[str | None, Secret | None]:
    """A URL without its user and password, and these; those that are given beside it go before."""
    if url is None:
        return None, auth
    return without_user(url.strip()), user_in(url) if auth is None else auth
