"""The time that is shown to people: aware, in UTC. Leases go by the database's own clock."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def shown(moment: datetime | None) -> str:
    """A moment within a sentence."""
    return "an unknown day" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
