"""What would be done, as a record; once it was done, what became of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final, Literal, TypeAlias

from autoloader_sdk.code.meaning import Change
from autoloader_sdk.notebook import display

Kind: TypeAlias = Literal["new", "changed", "same", "in the way", "to delete", "not in files"]
Outcome: TypeAlias = Literal["created", "updated", "deleted", "failed", "not tried"]

_MARKS: Final[Mapping[Kind, str]] = {
    "new": "+",
    "changed": "~",
    "same": "=",
    "in the way": "!",
    "to delete": "-",
    "not in files": "?",
}
_INFORMATION: Final = ("same", "not in files")
# Of what is the same so many are named.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One ingestion of a plan.

    `where` is its file and line, `id` the service's; None where there is none. `changes` are the fields that differ.
    `notes` are sentences: why it is in the way, what is not compared. `outcome` and `error` tell what was done.
    """

    kind: Kind
    name: str
    where: str | None = None
    id: str | None = None
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    outcome: Outcome | None = None
    error: str | None = None
    body: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """The whole ingestion as the file wants it."""

    @property
    def differs(self) -> bool:
        """Whether something is to be done about it."""
        return self.kind not in _INFORMATION

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            **{name: getattr(self, name) for name in ("kind", "name", "where", "id")},
            "changes": [change._asdict() for change in self.changes],
            "notes": list(self.notes),
            "outcome": self.outcome,
            "error": self.error,
        }

    def __str__(self) -> str:
        head = [f"{_MARKS[self.kind]} {self.name}", self.kind, self.where, self.id]
        texts = [*map(change_text, self.changes), *self.notes, self.done]
        lines = ["  ".join(text for text in head if text), *(f"    {text}" for text in texts if text)]
        return "\n".join(map(shown, lines))

    @property
    def done(self) -> str:
        """What became of it, in a line; nothing where nothing was tried."""
        return f"{self.outcome or ''}{f': {display.reason(self.error)}' if self.error else ''}"


class Plan:
    """What would have to be done for the service to have what the files say.

    It is true where something would, also where it cannot be: an entry that is in the way. Its entries come in the
    order of the files, then those to delete, then those that are in no file.
    """

    def __init__(self, entries: tuple[Entry, ...], notes: tuple[str, ...] = (), *, ours: bool = True) -> None:
        self.entries = entries
        self.notes = notes
        #: Whether the service is one that knows more than the first contract.
        self.ours = ours

    def of(self, kind: Kind) -> list[Entry]:
        """The entries of one kind."""
        return [entry for entry in self.entries if entry.kind == kind]

    @property
    def summary(self) -> str:
        """How many of each kind, in a line."""
        counts = {kind: len(self.of(kind)) for kind in _MARKS}
        return ", ".join(f"{number} {kind}" for kind, number in counts.items() if number) or "nothing"

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __bool__(self) -> bool:
        return any(entry.differs for entry in self.entries)

    def __repr__(self) -> str:
        return f"<Plan: {self.summary}>"

    def __str__(self) -> str:
        """All but the entries that are the same, of which only notes are told."""
        entries = [str(entry) for entry in self.entries if entry.kind != "same"]
        return "\n".join([*entries, *map(shown, self._remarks()), self.summary])

    def _repr_html_(self) -> str:
        rows = []
        for entry in self.entries:
            if entry.kind != "same":
                texts = [*map(change_text, entry.changes), *entry.notes, *([entry.done] if entry.done else [])]
                rows.append((entry.kind, entry.name, entry.where or entry.id or "", "; ".join(texts)))
        notes = "".join(f"<div>{escape(note)}</div>" for note in self._remarks())
        return f"<div>{display.table(self.summary, ('', 'ingestion', 'where', 'what'), rows)}{notes}</div>"

    def _remarks(self) -> list[str]:
        """Sentences about the whole, and those about entries that are the same, each once."""
        about: dict[str, list[str]] = {}
        for entry in self.of("same"):
            for note in entry.notes:
                about.setdefault(note, []).append(entry.name)
        return [*self.notes, *(f"{_some(names)}: {note}" for note, names in about.items())]


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def change_text(change: Change) -> str:
    """A change on one line."""
    return f"{change.field}: {_value(change.old)} → {_value(change.new)}"


def _value(value: Any) -> str:
    return "(default)" if value is None else json.dumps(value, ensure_ascii=False)


def shown(name: str) -> str:
    """A name on one line that says nothing to a terminal."""
    return name if name.isprintable() else ascii(name)[1:-1]
