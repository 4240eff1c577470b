"""How a process of ours logs: one handler on standard error, with the redactor in it."""

from __future__ import annotations

import logging

from autoloader_server.security.redact import RedactingFilter


def configure_logging(level: int = logging.INFO) -> None:
    """For processes that are ours (`autoloader serve`); an embedding program has its own."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(RedactingFilter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # A line for each poll of each client says nothing.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
