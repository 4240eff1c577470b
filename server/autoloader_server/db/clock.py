"""The time that is shown to people: aware, in UTC. Leases go by the database's own clock."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)
