"""Tokens: what a client sends to be let in."""

from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, PlainSerializer

from autoloader_sdk.models.base import AnswerModel, Moment, RequestModel

Scope: TypeAlias = Literal["read", "operate", "admin"]

SCOPES: tuple[Scope, ...] = ("read", "operate", "admin")
"""Each takes in those before it: look; run, cancel, pause, decide; define, change, delete, preview a source."""

TOKEN_DAYS = 90
"""How long a token lasts unless it is said."""

MOST_TOKEN_DAYS = 3660

_Seconds = PlainSerializer(lambda span: span.total_seconds(), return_type=float, when_used="json")


class TokenCreate(RequestModel):
    """A token to be made.

    `expires_in`: seconds, or an ISO 8601 duration. `tenant`: another one than the caller's is for who runs the service.
    """

    name: Annotated[str, Field(min_length=1, max_length=255)]
    scope: Scope = "read"
    expires_in: Annotated[timedelta, Field(ge=timedelta(seconds=1), le=timedelta(days=MOST_TOKEN_DAYS)), _Seconds] = (
        timedelta(days=TOKEN_DAYS)
    )
    tenant: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None


class TokenData(AnswerModel):
    """A token as a service tells of it: never the token itself."""

    id: str
    name: str = ""
    scope: str = ""
    tenant: str = ""
    parent_id: str | None = None
    created_at: Moment | None = None
    expires_at: Moment | None = None
    revoked_at: Moment | None = None
    last_used_at: Moment | None = None


class NewToken(TokenData):
    """The answer to `POST /tokens`, and the only one that ever holds `token`."""

    token: Annotated[str, Field(repr=False)] = ""
