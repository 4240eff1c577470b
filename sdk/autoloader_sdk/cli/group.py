"""The command's options, and what its subcommands share: a client, the service's modules, plain errors."""

from __future__ import annotations

import importlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from autoloader_sdk.errors import AutoloaderError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autoloader_sdk.client import Client
    from autoloader_sdk.config import Config

# Each command, and the module below `autoloader_sdk.cli` that has it; of a module, `app` is looked into.
MODULES = {
    "serve": "service",
    "settings": "service",
    "setup": "service",
    "db": "service",
    "status": "state",
    "doctor": "state",
    "config": "state",
    "ingestions": "loads",
    "preview": "loads",
    "run": "runs",
    "retry": "runs",
    "cancel": "runs",
    "refresh": "runs",
    "runs": "runs",
    "files": "files",
    "batches": "files",
    "clear": "loads",
    "apply": "code",
    "diff": "code",
    "export": "code",
    "token": "tokens",
}


class _Lazy(TyperGroup):
    """Subcommands live in modules that are imported when they are needed."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as typer calls it
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in MODULES:
            # From all that there is typer tells which was meant.
            for name in MODULES:
                self.get_command(ctx, name)
        elif cmd_name not in self.commands:
            module = importlib.import_module(f"autoloader_sdk.cli.{MODULES[cmd_name]}")
            self.commands.update(typer.main.get_group(module.app).commands)
        return self.commands.get(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (AutoloaderError, ValueError) as error:
            # Ours say what is wrong and what to do; a traceback would only bury it.
            fail("\n".join([str(error), *getattr(error, "__notes__", [])]))


def fail(sentence: str) -> NoReturn:
    """End with one sentence on stderr, and 1."""
    from autoloader_sdk.cli.output import say

    say(f"Error: {sentence}", err=True)
    raise typer.Exit(1)


def group(**options: Any) -> typer.Typer:
    """A set of commands. No traceback of theirs shows variables: these may hold secrets."""
    plain = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "no_args_is_help": True}
    return typer.Typer(**{"add_completion": False, **plain, **options})


class Context:
    """What the options before the subcommand said."""

    def __init__(self, home: Path | None, url: str | None, profile: str | None) -> None:
        self.home = home
        self.url = url
        self.profile = profile

    @classmethod
    def of(cls, ctx: typer.Context) -> Context:
        """That of a subcommand."""
        found = ctx.find_object(cls)
        assert found is not None
        return found

    @property
    def local(self) -> bool:
        """Whether the service is one in this process: `--home` says so, or nothing says where another one is."""
        from autoloader_sdk.config import PROFILE, URL, profiles

        if self.home is not None:
            return True
        if self.url or self.profile or os.environ.get(URL) or os.environ.get(PROFILE):
            return False
        return profiles()[0] is None

    def open(self, *, timeout: float | None = None) -> Client:
        """A client of that service; `timeout`: seconds for an answer, where it is not in this process."""
        from autoloader_sdk.client import Client

        if self.local:
            return Client.local(self.home)
        return Client(self.url, profile=self.profile, timeout=timeout)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The same for one block."""
        with self.open() as client:
            yield client

    def config(self) -> Config:
        """What such a client goes by; none is made."""
        from autoloader_sdk.config import load

        if self.local:
            from autoloader_sdk.local import _CONFIG

            return _CONFIG
        return load(self.url, profile=self.profile)

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


def ingestion_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """For the shell: the ingestions whose names begin so; none where a service would have to be started for that."""
    try:
        given = ctx.find_root().params
        context = Context(given.get("home"), given.get("url"), given.get("profile"))
        if context.local:
            return []
        with context.open(timeout=2) as client:
            return [each.name for each in client.ingestions.list() if each.name.startswith(incomplete)]
    except Exception:  # a word that is not completed tells enough
        return []


Name = Annotated[str, typer.Argument(help="Its name, or its id.", autocompletion=ingestion_names)]
"""The ingestion that a command is about."""


def _version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    if wanted:
        from importlib.metadata import version

        typer.echo(version("autoloader-sdk"))
        raise typer.Exit


app = group(name="autoloader", cls=_Lazy, add_completion=True)


@app.callback()
def _autoloader(
    ctx: typer.Context,
    *,
    home: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for all state.  [default: AUTOLOADER_HOME, else ~/.autoloader]"),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="A service to talk to.  [env: AUTOLOADER_URL]", show_default=False)
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="A service that the file of profiles knows.  [env: AUTOLOADER_PROFILE]", show_default=False),
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Load files into tables, each exactly once.

    Which service a command talks to: with --home one in this process, over that folder; else the one that --url or
    --profile names; else that of AUTOLOADER_URL or AUTOLOADER_PROFILE; else the default of the file of profiles; and
    without all these one in this process. `autoloader config` shows it.
    """
    if home is not None and (url or profile):
        why = "it stands for a service in this process, --url and --profile for one elsewhere: give one of them"
        raise typer.BadParameter(why, param_hint="--home")
    ctx.obj = Context(home, url, profile)


# A command of click, or of the copy that typer has of it: which, depends on its version.
autoloader: Any = typer.main.get_command(app)
