"""The end of a run that the ledger could not be told of at its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoloader_server.db.engine import Database
from autoloader_server.db.tables import runs
from autoloader_server.engine import run_record
from autoloader_server.engine.lease import let_go

if TYPE_CHECKING:
    from autoloader_server.engine.outcome import Outcome


class Untold(Exception):
    """The ledger could not be told how a run ended that held this lease; whoever catches this tells it later."""

    def __init__(self, run_id: str, lease_token: str, ending: Outcome) -> None:
        super().__init__(ending.message or str(ending.status))
        self.run_id = run_id
        self.lease_token = lease_token
        self.ending = ending

    def tell(self, database: Database) -> bool:
        """Write it, and let go of what the run held, if it is still the one of that lease. False where it is not."""
        status, message, category = self.ending
        with database.write() as connection:
            its = runs.c.lease_token == self.lease_token
            ended = run_record.end(connection, self.run_id, status, message, its, category=category)
            if ended:
                let_go(connection, self.lease_token)
        return ended
