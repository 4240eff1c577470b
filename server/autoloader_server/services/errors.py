"""What a use case refuses. The API answers each with its status; `detail` is for the caller to read.

ServiceRefusal
├── NotLetIn      401: no token, or none that is taken
├── NotAllowed    403: a token of too little scope
├── NotFound      404
├── Conflict      409
├── Invalid       422, with one entry for each field at fault
├── NotYet        501: a later version will do it
└── NotDone       503: something else that it needs failed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autoloader_sdk.models import nearest


class ServiceRefusal(Exception):
    """A request that cannot be carried out; the message says why and what to do."""

    status_code = 400


class NotLetIn(ServiceRefusal):
    """Who asks is not known."""

    status_code = 401


class NotAllowed(ServiceRefusal):
    """Who asks is known, and may not do this."""

    status_code = 403


class NotFound(ServiceRefusal):
    """There is no such thing (any more)."""

    status_code = 404


class Conflict(ServiceRefusal):
    """It clashes with the state that things are in."""

    status_code = 409


class NotYet(ServiceRefusal):
    """This version does not do that."""

    status_code = 501


class NotDone(ServiceRefusal):
    """Spark, or what else it needs, failed; nothing was changed."""

    status_code = 503


class Fault(NamedTuple):
    """What is wrong with one field: where it is in the request, and a sentence."""

    loc: tuple[str | int, ...]
    message: str


class Invalid(ServiceRefusal):
    """A value that cannot be taken, found beyond what the body's model checks."""

    status_code = 422

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, fault.loc[1:]))}: {fault.message}" for fault in faults))
        self.faults = faults


def known_status(name: str, known: Sequence[str]) -> str:
    """A status that a list is to be filtered by, in any case; raises Invalid, with the nearest one that there is."""
    if (found := next((each for each in known if each.casefold() == name.casefold()), None)) is not None:
        return found
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
    raise Invalid([Fault(("query", "status"), f"unknown status '{name}'; {hint}")])
