"""The command's options, and what its subcommands share: a client, the service's modules, plain errors."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoloader_sdk.errors import AutoloaderError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autoloader_sdk.client import Client


class _Lazy(click.Group):
    """Subcommands live in modules that are imported when they are needed."""

    modules = ("autoloader_sdk.cli.loads", "autoloader_sdk.cli.service", "autoloader_sdk.cli.tokens")

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self._load()
        return super().get_command(ctx, cmd_name)

    def _load(self) -> None:
        for module in self.modules:
            for command in importlib.import_module(module).COMMANDS:
                self.add_command(command)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (AutoloaderError, ValueError) as error:
            # Ours say what is wrong and what to do; a traceback would only bury it.
            raise click.ClickException(str(error)) from error


class Context:
    """What the options before the subcommand said."""

    def __init__(self, home: Path | None, url: str | None) -> None:
        self.home = home
        self.url = url

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client of the service at `--url`, else of one in this process over the home folder."""
        from autoloader_sdk.client import Client

        with Client(self.url) if self.url else Client.local(self.home) as client:
            yield client

    def settings(self, **values: Any) -> Any:
        """The service's settings, with these arguments before all else."""
        given = {name: value for name, value in {"home": self.home, **values}.items() if value is not None}
        return server("settings").Settings.load(**given)


def server(module: str) -> Any:
    """A module of the service. Raises MissingExtra where it is not installed."""
    try:
        return importlib.import_module(f"autoloader_server.{module}")
    except ModuleNotFoundError as missing:
        raise MissingExtra("This command", "local") from missing


@click.group(cls=_Lazy)
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for all state.  [default: AUTOLOADER_HOME, else ~/.autoloader]",
)
@click.option("--url", envvar="AUTOLOADER_API_URL", help="A service to talk to, instead of one in this process.")
@click.version_option(version("autoloader-sdk"), message="%(version)s")
@click.pass_context
def autoloader(ctx: click.Context, home: Path | None, url: str | None) -> None:
    """Load files into tables, each exactly once."""
    ctx.obj = Context(home, url)
