"""What may be wrong between here and a table: one check after the other, each with a sentence and what to do.

    from autoloader_sdk import Client, doctor

    doctor.examine(Client())                       # a table of checks in a notebook
    doctor.examine(client, ingestion="orders")     # lists its source as well, and starts nothing

Nothing is changed by it; the local Spark is started where it was not there. No check raises.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autoloader_sdk._http.endpoint import Call, L, Reply, Request, Resource, Sync, call
from autoloader_sdk.config import file, profiles, without_user
from autoloader_sdk.errors import (
    AutoloaderError,
    ConnectionFailed,
    Forbidden,
    NotFound,
    NotSupported,
    ServerError,
    Timeout,
    Unauthorized,
)
from autoloader_sdk.models import ServiceInfo

if TYPE_CHECKING:
    from autoloader_sdk.client import Client
    from autoloader_sdk.clusters import Cluster
    from autoloader_sdk.config import Config

State = Literal["ok", "warning", "failed", "skipped"]
#: Clocks that differ by more than this make times misleading, and tokens end at another moment than said.
CLOCK_SECONDS = 60.0
_SOON = timedelta(days=7)
# A service writes down the use of a token at most once a minute.
_USE_KEPT_EVERY = timedelta(seconds=61)
_PREFECT_URLS = ("AUTOLOADER_PREFECT_API_URL", "PREFECT_API_URL")
_SECRET_VARIABLES = ("AUTOLOADER_TOKEN", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
_NAMES = ("configuration", "address", "token", "database", "clock", "spark", "prefect", "store")


@dataclass(frozen=True)
class Check:
    """One check. `message` says what was found, `advice` what to do where that is not well."""

    name: str
    state: State
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.name}: {self.message}" + (f" ({self.advice})" if self.advice else "")


class Report(list[Check]):
    """The checks, in their order."""

    @property
    def ok(self) -> bool:
        """Whether none has failed."""
        return all(check.state != "failed" for check in self)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def _repr_html_(self) -> str:
        from autoloader_sdk.notebook.display import table

        rows = ((each.name, each.state, each.message, each.advice) for each in self)
        return f"<div>{table('checks', ('check', 'state', 'found', 'to do'), rows)}</div>"


def examine(
    client: Client, *, ingestion: str | None = None, on_check: Callable[[Check], object] | None = None
) -> Report:
    """Look at all that a load needs, from the configuration here to Spark there.

    Args:
        client: of the service to look at; a plain one, not an `AsyncClient`.
        ingestion: the name or id of one whose source is listed as well.
        on_check: called with each check as soon as it is done.
    """
    report = Report()
    for check in _Examination(client, ingestion).checks():
        report.append(_without_secrets(check, client.config))
        if on_check is not None:
            on_check(report[-1])
    return report


def without_client(error: Exception) -> Report:
    """The report where no client could be made at all: `error` is what was raised instead."""
    failed = _failed("configuration", error, "`autoloader config` shows what is read, and from where")
    left = (Check(name, "skipped", "there is no client to ask with") for name in _NAMES[1:])
    return Report(_without_secrets(check, None) for check in (failed, *left))


class _Door(Resource[L]):
    @call
    def knock(self) -> Call[Reply]:
        """What answers at the address, and how."""
        return (yield Request("GET", "/"))


class _Examination:
    def __init__(self, client: Client, ingestion: str | None) -> None:
        self.client = client
        self.ingestion = ingestion
        self.reply: Reply | None = None
        self.ahead = 0.0
        self.inside = client.config.origins.get("url") == "this process"

    def checks(self) -> Iterator[Check]:
        yield self._guarded("configuration", self._configuration)
        yield (address := self._guarded("address", self._address))
        if address.state == "failed":
            yield from (Check(name, "skipped", "the service did not answer") for name in _NAMES[2:6])
        else:
            yield (token := self._guarded("token", self._token))
            yield self._guarded("database", self._database)
            yield self._guarded("clock", self._clock)
            if token.state == "failed":
                yield Check("spark", "skipped", "the service lets nobody in without a token that it takes")
            else:
                yield from self._spark()
        yield from self._prefect()
        if self.ingestion is None:
            yield Check("store", "skipped", "no ingestion was named whose source could be listed")
        elif address.state == "failed" or token.state == "failed":
            yield Check("store", "skipped", "the service could not be asked")
        else:
            yield self._guarded("store", self._store)

    def _guarded(self, name: str, look: Callable[[], Check]) -> Check:
        try:
            return look()
        except Exception as error:  # whatever happened is what was found
            return _failed(name, error)

    def _configuration(self) -> Check:
        config = self.client.config
        if self.inside:
            return Check("configuration", "ok", "the service is one in this process")
        found = f"{without_user(config.url)}, from {_told(config, 'url')}"
        if config.token is not None:
            found += f"; a token, from {_told(config, 'token')}"
        open_ones = _readable_by_others(config)
        if open_ones:
            named = " and ".join(str(place) for place in open_ones)
            return Check(
                "configuration", "warning", f"{found}; others can read {named}", f"chmod 600 {_words(open_ones)}"
            )
        return Check("configuration", "ok", found)

    def _address(self) -> Check:
        started = time.monotonic()
        reply = _Door[Sync](self.client._link).knock()  # noqa: SLF001 - its own package
        took = time.monotonic() - started
        if reply.date is not None:
            self.ahead = (reply.date - datetime.now(UTC)).total_seconds()
        where = "the service in this process" if self.inside else without_user(self.client.config.url)
        told = reply.body if isinstance(reply.body, dict) else {}
        if not reply.ours and not {"name", "version"} <= set(told):
            return Check(
                "address",
                "failed",
                f"what answers at {where} is no autoloader service",
                "look at the address, and at who listens there",
            )
        self.reply = reply
        info = reply.read(ServiceInfo)
        found = f"{where} answered within {max(took, 0.001) * 1000:,.0f} ms: {info.name or 'autoloader'} {info.version}"
        if reply.ours:
            return Check("address", "ok", found.rstrip())
        return Check(
            "address",
            "warning",
            f"{found}; it is an older service, which does not send Autoloader-Version",
            "what it does not know ends as NotSupported, and nothing is sent to it twice; a newer one knows more",
        )

    def _token(self) -> Check:
        given = self.client.config.token is not None
        try:
            known = self.client.tokens.list()
        except (NotFound, NotSupported):
            return Check("token", "skipped", "an older service: it tells nothing of tokens")
        except Unauthorized as error:
            if given:
                return _failed("token", error, f"it is from {_told(self.client.config, 'token')}; ask for another one")
            return _failed("token", error, "ask who runs the service for one: autoloader token create --name NAME")
        except Forbidden as error:
            return Check("token", "ok", f"taken; it may not list tokens: {error}")
        if not given:
            return Check("token", "ok", "none needed")
        now = self._now()
        valid = [
            each
            for each in known
            if each.revoked_at is None and each.last_used_at and (each.expires_at is None or each.expires_at > now)
        ]
        newest = max((each.last_used_at for each in valid if each.last_used_at), default=None)
        # Ours was used just now. Were others too, nothing tells them apart.
        ours = [each for each in valid if newest and each.last_used_at and newest - each.last_used_at < _USE_KEPT_EVERY]
        if len(ours) != 1 or ours[0].expires_at is None:
            return Check("token", "ok", "taken; when it expires is not told")
        mine = ours[0]
        found = f"taken: '{mine.name}', scope '{mine.scope}', until {mine.expires_at:%Y-%m-%d %H:%M} UTC"
        if mine.expires_at is not None and mine.expires_at - now < _SOON:
            advice = "make another one in time: autoloader token create --name NAME"
            return Check("token", "warning", f"{found}: soon", advice)
        return Check("token", "ok", found)

    def _database(self) -> Check:
        health = self.client.health()
        kind = getattr(health, "database_kind", None)
        state = health.database or health.status
        if state in {"healthy", "ok", "connected"}:
            return Check("database", "ok", f"{kind}: {state}" if kind else state)
        advice = "look at the service's log, and at its database_url"
        return Check("database", "failed", f"the service says '{state or 'nothing'}' of it", advice)

    def _clock(self) -> Check:
        if self.inside:
            return Check("clock", "skipped", "it is the same one")
        if self.reply is None or self.reply.date is None:
            return Check("clock", "skipped", "the service does not send its time")
        if abs(self.ahead) <= CLOCK_SECONDS:
            return Check("clock", "ok", f"it differs from the service's by less than {CLOCK_SECONDS:.0f} s")
        return Check(
            "clock",
            "warning",
            f"the service's is {abs(self.ahead):,.0f} s {'ahead of' if self.ahead > 0 else 'behind'} the one here",
            "let both machines ask a time server (NTP)",
        )

    def _spark(self) -> Iterator[Check]:
        try:
            clusters = self.client.clusters.list()
        except Exception as error:
            yield _failed("spark", error)
            return
        if not clusters:
            yield Check("spark", "warning", "the service knows no cluster", "name one in its setting 'clusters'")
        for each in clusters:
            yield self._guarded(f"spark {each.id}", lambda cluster=each: _cluster(cluster))  # type: ignore[misc]

    def _prefect(self) -> Iterator[Check]:
        """Of each address that is set: `client.prefect` goes by the one, the service by the other."""
        names = [name for name in _PREFECT_URLS if os.environ.get(name)]
        if not names:
            yield Check("prefect", "skipped", f"neither {' nor '.join(_PREFECT_URLS)} is set")
        for name in names:
            yield self._guarded("prefect", lambda name=name: _prefect_at(name))  # type: ignore[misc]

    def _store(self) -> Check:
        assert self.ingestion is not None
        if self.reply is None or not self.reply.ours:
            # One that does not know dry runs would drop the table.
            return Check("store", "skipped", "an older service: what it would do with a dry run is not known")
        ingestion = self.client.ingestions.get(self.ingestion)
        try:
            seen = ingestion.refresh_new_only(dry_run=True, auto_run=False)
        except Forbidden as error:
            return Check("store", "skipped", str(error))
        new, known = seen.impact.files_to_process, seen.impact.files_skipped or 0
        return Check(
            "store", "ok", f"'{ingestion.name}': {ingestion.source.path} has {new:,} files to load, {known:,} known"
        )

    def _now(self) -> datetime:
        return (self.reply.date if self.reply is not None else None) or datetime.now(UTC)


def _prefect_at(name: str) -> Check:
    from autoloader_sdk.prefect import Prefect

    where = f"{without_user(os.environ[name])} ({name})"
    advice = f"look whether that server runs, and at {name}"
    try:
        with Prefect(os.environ[name]) as prefect:
            healthy, version = prefect.health(), prefect.version()
    except Exception as error:
        return _failed("prefect", error, advice)
    if not healthy:
        return Check("prefect", "failed", f"{where} says that it is not well", advice)
    return Check("prefect", "ok", f"{where} answers: Prefect {version}")


#: The second is an older service's word.
_CONNECTED = frozenset({"success", "connected"})


def _cluster(cluster: Cluster) -> Check:
    name = f"spark {cluster.id}"
    try:
        found = cluster.test_connection()
    except Forbidden as error:
        return Check(name, "skipped", str(error))
    if found.missing:
        return Check(name, "failed", "; ".join(found.missing), "add it where that Spark is configured")
    if found.status not in _CONNECTED:
        advice = "look whether that Spark runs, and at its URL and token in the service's settings"
        return Check(name, "failed", found.message or f"the service says '{found.status}' of it", advice)
    parts = [f"Spark {found.spark_version}"]
    if found.iceberg_version:
        parts.append(f"Iceberg {found.iceberg_version} in the catalog '{found.catalog}'")
    return Check(name, "ok", ", ".join(parts))


def _failed(name: str, error: Exception, advice: str = "") -> Check:
    """An error as a check, in its own words; other people's errors with their kind."""
    ours = isinstance(error, AutoloaderError | ValueError)
    message = " ".join(str(error).split())
    return Check(
        name, "failed", message if ours and message else f"{type(error).__name__}: {message}", advice or _advice(error)
    )


def _advice(error: Exception) -> str:
    match error:
        case ConnectionFailed():
            return "start it (autoloader serve), or give its address: --url, AUTOLOADER_URL or a profile"
        case Timeout():
            return "ask again; or give more time, by 'timeout' of the profile"
        case Unauthorized() | Forbidden():
            return "use a token that the service takes for this: AUTOLOADER_TOKEN or a profile"
        case ServerError():
            return "the service's log says more, under the request id"
    return ""


def _told(config: Config, name: str) -> str:
    origin = config.origins.get(name, "default")
    return {"argument": "an argument", "environment": "the environment", "default": "the default"}.get(origin, origin)


def _readable_by_others(config: Config) -> list[Path]:
    """Of the file of profiles, and the file that the profile's token is in, those that other users may read."""
    if config.profile is None or os.name == "nt":
        return []
    places = [file()]
    token = profiles()[1].get(config.profile, {}).get("token")
    if isinstance(token, dict) and "file" in token:
        places.append(Path(token["file"]).expanduser())
    return [place for place in places if place.exists() and place.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]


def _words(places: list[Path]) -> str:
    import shlex

    return shlex.join(map(str, places))


def _without_secrets(check: Check, config: Config | None) -> Check:
    """No error should hold a secret; should one all the same, it is not shown."""
    found = {os.environ.get(name, "").strip() for name in _SECRET_VARIABLES}
    urls = [os.environ.get(name) for name in _PREFECT_URLS]
    if config is not None:
        found.add(config.token.reveal() if config.token is not None else "")
        urls += [config.url, config.proxy]
    found |= {_password(url) for url in urls if url}
    message, advice = check.message, check.advice
    for secret in sorted((each for each in found if len(each) > 3), key=len, reverse=True):
        message, advice = message.replace(secret, "***"), advice.replace(secret, "***")
    return Check(check.name, check.state, message, advice)


def _password(url: str) -> str:
    """The password in a URL, also in one that is none."""
    return url.rpartition("@")[0].rpartition("//")[2].partition(":")[2]
