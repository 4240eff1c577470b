"""What one kind of service has of its own: how its address looks, what lets one in, how it tells of errors."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from autoloader_sdk.errors import AutoloaderError

#: What FastAPI says of a path that it does not know.
NO_SUCH_PATH = "Not Found"


class Service:
    """A service of ours. Another kind is a class of its own, which replaces what differs."""

    #: What it is, and what it is called in a sentence.
    name = "an autoloader service"
    called = "the service"
    #: Begins a sentence of the service's own words.
    says = ""
    #: Where its address is set, and what one looks like.
    setting = "base_url"
    example = "http://127.0.0.1:8000"
    #: Whether its log knows requests by an id that the client gives them.
    request_ids = True
    #: What the paths of its API begin with.
    root = "/api/v1"
    #: The scheme of the header by which one is let in, and how to get in.
    scheme = "Bearer"
    entry = "give a token: Client(token=...) or AUTOLOADER_TOKEN"
    #: What a web page in the place of an answer means.
    page = (
        "the answer is a web page, as a proxy or a login in front of a service sends it; is base_url the address "
        "of the service itself, and is a token needed?"
    )

    def base(self, url: str) -> str:
        """The address as requests need it, without what they add themselves.

        Raises:
            AutoloaderError: it is none.
        """
        return self.checked(url).rstrip("/").removesuffix(self.root)

    def checked(self, url: str) -> str:
        """The address, if it is one of the web."""
        try:
            parts = urlsplit(url.strip())
            well = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # as of half an IPv6 address, or of a port that is no number
            well = False
        if not well:
            # What is no URL may hold a password anywhere before its last @.
            shown = re.sub(r"^([A-Za-z]+://)?.*@", r"\1", url.strip(), flags=re.DOTALL)
            raise AutoloaderError(
                f"{self.setting} '{shown}' is no address of {self.name}; write it like {self.example}"
            )
        return url.strip()

    def credentials(self, secret: str) -> str:
        """What stands behind the scheme."""
        return secret

    def refused(self, status: int, body: Any) -> bool:  # noqa: ARG002 - another service says it in the body
        """Whether an answer of a service that is not ready says that nothing was done."""
        return status == 429

    def detail(self, body: Any) -> Any:
        """What an error's JSON says: text, or a list of `{loc, msg}`."""
        return body.get("detail", body) if isinstance(body, dict) else body

    def advice(self, status: int, detail: Any) -> str:
        """What to do about an error, added to what the service says."""
        match status:
            case 401:
                return f"; {self.entry}"
            case 429:
                return "; wait a little and try again"
            case 502 | 503 | 504:
                return f"; {self.called} is not ready: look whether what was asked was done, then try again"
        if status == 404 and detail == NO_SUCH_PATH:
            return f"; there is no such path: {self.setting} is another address, or the service is an older one"
        return ""


AUTOLOADER = Service()
