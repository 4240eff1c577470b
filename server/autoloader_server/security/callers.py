"""Who asks, and how much they may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autoloader_sdk.models import SCOPES, Scope
from autoloader_server.db.tenancy import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever is behind a request: the holder of a token, or of the service itself."""

    tenant: str
    scope: Scope
    name: str | None = None
    token_id: str | None = None
    expires_at: datetime | None = None

    @property
    def holds_service(self) -> bool:
        """Whether it is at home in the service's own folder, and so no tenant's guest."""
        return self.token_id is None

    def may(self, scope: Scope) -> bool:
        """Whether its scope takes in another one."""
        return SCOPES.index(scope) <= SCOPES.index(self.scope)


#: Who runs the service: a program with it in its own process; on loopback anybody, as long as there is no token.
HOLDER = Caller(DEFAULT_TENANT, "admin")
