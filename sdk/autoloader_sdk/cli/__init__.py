"""The command `autoloader`. Imports what a command needs when it is called."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script."""
    try:
        from autoloader_sdk.cli.group import autoloader
    except ModuleNotFoundError as missing:
        if missing.name != "typer":
            raise
        sys.exit("the command needs the extra 'cli': pip install \"autoloader-sdk[cli]\"")
    autoloader(prog_name="autoloader")
