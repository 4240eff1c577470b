"""How the end of a run is written, and what keeps it where the ledger could not be told of it at its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoloader_server.db.clock import now
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import runs
from autoloader_server.engine import run_record
from autoloader_server.engine.lease import let_go

if TYPE_CHECKING:
    from autoloader_server.engine.outcome import Outcome


def tell(database: Database, run_id: str, lease_token: str, ending: Outcome) -> bool:
    """Write how a run ended, and let go of what it held; False where it is not under this lease any more."""
    with database.write() as connection:
        its = runs.c.lease_token == lease_token
        ended = run_record.end(connection, run_id, ending.status, ending.message, its, category=ending.category)
        if ended:
            let_go(connection, lease_token)
    return ended


class Untold(Exception):
    """The ledger could not be told how a run ended that held this lease; whoever catches this tells it later."""

    def __init__(self, run_id: str, lease_token: str, ending: Outcome) -> None:
        super().__init__(ending.message or str(ending.status))
        self.run_id = run_id
        self.lease_token = lease_token
        self.ending = ending
        self.moment = now()

    def tell(self, database: Database) -> bool:
        """As the function does."""
        return tell(database, self.run_id, self.lease_token, self.ending)
