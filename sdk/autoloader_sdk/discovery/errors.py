"""Why a source can not be listed.

SourceError            the store answered with an error
├── SourceMissing      there is nothing at this path
└── SourceForbidden    we may not look
"""

from __future__ import annotations


class SourceError(Exception):
    """A source, or a folder in it, that could not be listed; `path` is what was being read."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


class SourceMissing(SourceError):
    """There is no folder and no file at the source's path."""


class SourceForbidden(SourceError):
    """The source, or a folder below it, may not be read by the user that lists it."""
