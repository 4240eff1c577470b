"""Tokens: by them a service tells who asks, and how much they may do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from autoloader_sdk._http.endpoint import API, Call, L, Request, Resource, call, ours_only, quoted
from autoloader_sdk.listing import Listing

if TYPE_CHECKING:
    from autoloader_sdk.models import NewToken, Scope, TokenData


class Tokens(Resource[L]):
    """The tokens of the caller's tenant. The older service has none: NotFound."""

    @call
    def create(
        self,
        name: str,
        *,
        scope: Scope = "read",
        expires: timedelta | None = None,
        tenant: str | None = None,
    ) -> Call[NewToken]:
        """A new token. Its `token` is in this answer and nowhere else: keep it now.

        With a token that is no admin's, one of the same or a narrower scope can be made, for 24 hours at most. It ends
        with the one that it was made with.

            >>> from datetime import timedelta
            >>> made = client.tokens.create("nightly notebook", scope="operate", expires=timedelta(hours=2))
            >>> made.token[:11], made.scope
            ('autoloader_', 'operate')

        Args:
            name: What it is for.
            scope: `read` looks; `operate` also runs, cancels, pauses and decides; `admin` also makes, changes, deletes.
            expires: How long it lasts, 90 days unless said.
            tenant: Another tenant than the caller's, for who runs the service.

        Raises:
            Forbidden: more than the caller's own token allows.
            Invalid: a name or a time that cannot be.
        """
        from autoloader_sdk.models import NewToken, TokenCreate
        from autoloader_sdk.shorthand import checked

        given = {"name": name, "scope": scope, "expires_in": expires, "tenant": tenant}
        body = checked(TokenCreate, {key: value for key, value in given.items() if value is not None})
        # Were it sent twice, there would be two, one of them unseen.
        request = Request("POST", f"{API}/tokens", body=body, safe=False)
        return (yield from ours_only(request, "gives no tokens")).read(NewToken)

    @call
    def list(self) -> Call[Listing[TokenData]]:
        """All of them, newest first, also those that have ended; who runs the service sees every tenant's.

        >>> [token.name for token in client.tokens.list()]
        []
        """
        from autoloader_sdk.models import TokenData

        return Listing((yield from ours_only(Request("GET", f"{API}/tokens"), "gives no tokens")).entries(TokenData))

    @call
    def revoke(self, token: str) -> Call[TokenData]:
        """End a token, by its id or name, and all that were derived from it.

            >>> made = client.tokens.create("a colleague's")
            >>> client.tokens.revoke("a colleague's").name
            "a colleague's"

        Raises:
            NotFound: there is none.
            Conflict: several that have not ended have this name.
        """
        from autoloader_sdk.models import TokenData

        return (yield Request("DELETE", f"{API}/tokens/{quoted(token)}")).read(TokenData)
