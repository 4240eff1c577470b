"""Which service a client talks to, and how: from arguments, the environment, or a profile.

A profile stands in `config.toml` in the user's folder for settings (`autoloader config` tells where that is):

    default = "team"                           # the profile to take where none is named

    [profiles.team]
    url = "https://autoloader.example.org"
    token = {env = "TEAM_TOKEN"}               # or {file = "~/.team-token"}, or the token itself
    ca = "~/company-ca.pem"                    # certificates to trust, beside the usual ones
    proxy = "http://proxy.example.org:3128"
    timeout = 60                               # seconds for one answer

Nothing is read before a client is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoloader_sdk.errors import AutoloaderError

URL, TOKEN, PROFILE = "AUTOLOADER_URL", "AUTOLOADER_TOKEN", "AUTOLOADER_PROFILE"
#: Seconds that a service has for one answer.
TIMEOUT = 30.0
_KEYS = ("url", "token", "ca", "proxy", "timeout")


class Secret:
    """A text that no repr shows: neither in an error, nor among the variables of a traceback."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def of(cls, text: str | Secret | None) -> Secret | None:
        """The same, hidden."""
        return cls(text) if isinstance(text, str) else text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def masked_in(self, text: str) -> str:
        """A text that somebody else has written, without this one in it, also as URLs have it."""
        from urllib.parse import quote

        for form in (self._text, quote(self._text), quote(self._text, safe="")):
            text = text.replace(form, "***") if form else text
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "'***'"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class Config:
    """What a client goes by; `origins` says of each value where it came from."""

    url: str
    token: Secret | None = None
    profile: str | None = None
    timeout: float | None = TIMEOUT
    ca: Path | None = None
    proxy: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value, _ in self.rows())})"

    def _repr_html_(self) -> str:
        from autoloader_sdk.notebook import display

        return display.config_html(self.rows())

    def rows(self) -> list[tuple[str, str, str]]:
        """Each setting, its value as it may be shown, and where it came from."""
        shown = {
            "url": without_user(self.url),
            "token": "***" if self.token is not None else "none",
            "profile": self.profile or "none",
            "timeout": "none" if self.timeout is None else f"{self.timeout:g} s",
            "ca": str(self.ca or "none"),
            "proxy": without_user(self.proxy) if self.proxy else "none",
        }
        return [(name, value, self.origins.get(name, "default")) for name, value in shown.items()]

    def __str__(self) -> str:
        rows = self.rows()
        names, values = (max(len(row[at]) for row in rows) for at in (0, 1))
        return "\n".join(f"{name:<{names}}  {value:<{values}}  {origin}" for name, value, origin in rows)


def load(
    url: str | None = None,
    token: str | Secret | None = None,
    *,
    profile: str | None = None,
    timeout: float | None = None,
    ca: str | os.PathLike[str] | None = None,
    proxy: str | None = None,
) -> Config:
    """The settings of a client: what is given, else the environment's, else the profile's.

    A `profile` that is given comes before the environment. A profile's token goes to the profile's own URL, and of
    others only one that is given does.

    Raises:
        AutoloaderError: there is no address, no such profile, or the file of profiles is not what it should be.
    """
    token = Secret.of(token)  # from here on no traceback shows it
    if timeout is not None:
        checked_timeout("argument", timeout)
    given: dict[str, Any] = {"url": url, "token": token, "timeout": timeout, "ca": ca, "proxy": proxy}
    sources: list[tuple[str, dict[str, Any]]] = [
        ("argument", {key: value for key, value in given.items() if value is not None}),
        ("environment", _of_environment()),
    ]
    named = profile or os.environ.get(PROFILE) or None
    told = "argument" if profile else "environment" if named else "default"
    # A profile that the caller names comes before the environment.
    before = sources[:1] if profile else sources
    values = _profile(named, needed=named is not None or not any("url" in source for _, source in before))
    if values is not None:
        named = values.pop("profile")
        if any("url" in source for _, source in before):
            values.pop("token", None)
        elif "token" in values:
            sources[1][1].pop("token", None)
        sources.insert(len(before), (f"profile '{named}' in {file()}", values))
    found: dict[str, Any] = {}
    origins: dict[str, str] = {"profile": told} if values is not None else {}
    for origin, source in reversed(sources):
        for key, value in source.items():
            found[key], origins[key] = value, origin
    if "url" not in found:
        raise AutoloaderError(
            f"no address of a service: give Client('http://127.0.0.1:8000'), set {URL}, write a profile into "
            f"{file()}, or run one in this process with Client.local()"
        )
    kept = found.pop("token", None)
    token = _followed(kept, origins["token"]) if isinstance(kept, Mapping) else kept
    text = Secret("" if token is None else token.reveal().strip())
    if not re.fullmatch(r"[!-~]*", text.reveal()):
        raise AutoloaderError(f"token ({origins['token']}): it is one line of plain characters without blanks")
    if "ca" in found:
        found["ca"] = _certificates(found["ca"], origins["ca"])
    return Config(
        **{"timeout": TIMEOUT, **found},
        token=text if text.reveal() else None,
        profile=named if values is not None else None,
        origins=origins,
    )


def file() -> Path:
    """The file of profiles, whether it is there or not."""
    import platformdirs

    return platformdirs.user_config_path("autoloader") / "config.toml"


def without_user(url: str) -> str:
    """A URL without the user and password that it may hold."""
    # Also where it is no URL: somebody has mistyped one then.
    return re.sub(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)?[^/?#]*@", r"\1", url)


def user_in(url: str) -> Secret | None:
    """The `user:password` that a URL holds."""
    from urllib.parse import unquote

    found = re.match(r"^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)@", url.strip())
    return Secret(unquote(found[1])) if found and found[1] else None


def checked_timeout(where: str, value: Any) -> float:
    """Seconds for an answer. Raises AutoloaderError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise AutoloaderError(f"{where}: timeout is a number of seconds above 0")
    return value


def profiles() -> tuple[str | None, dict[str, dict[str, Any]]]:
    """The profiles in the file, none where it is not there, and the name of the usual one.

    Raises:
        AutoloaderError: the file cannot be read, or is not what it should be.
    """
    import tomllib

    place = file()
    try:
        content = tomllib.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, {}
    except (OSError, UnicodeDecodeError) as error:
        raise AutoloaderError(f"the profiles in {place} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        # It may quote the line, and with it a token.
        raise AutoloaderError(f"{place} is not TOML: {str(error).rpartition('(')[2].rstrip(')')}") from None
    default, found = content.pop("default", None), content.pop("profiles", {})
    if content:
        raise AutoloaderError(f"{place}: unknown key '{next(iter(content))}'; known: default, profiles")
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise AutoloaderError(f"{place}: a profile is a table, as in [profiles.team]")
    if default is not None and default not in found:
        raise AutoloaderError(f"{place}: default = {default!r} is no profile; {_names(found)}")
    return default, found


def _check(where: str, values: Mapping[str, Any]) -> None:
    from difflib import get_close_matches

    for key, value in values.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(_KEYS)}"
            raise AutoloaderError(f"{where}: unknown key '{key}'; {hint}")
        if key == "timeout":
            checked_timeout(where, value)
        elif key == "token" and isinstance(value, dict):
            if len(value) != 1 or not {"env", "file"} >= set(value) or not isinstance(next(iter(value.values())), str):
                raise AutoloaderError(f'{where}: token is text, {{env = "NAME"}} or {{file = "/path"}}')
        elif not isinstance(value, str) or not value:
            raise AutoloaderError(f"{where}: {key} is text")


def _profile(named: str | None, *, needed: bool) -> dict[str, Any] | None:
    """The profile of that name, else the usual one; a broken file is told of where a profile is `needed`."""
    if not needed:
        return None
    default, found = profiles()
    name = named or default
    if name is None:
        return None
    if name not in found:
        raise AutoloaderError(f"there is no profile '{name}' in {file()}; {_names(found)}")
    _check(f"{file()}: profile '{name}'", found[name])
    values = dict(found[name])
    if isinstance(values.get("token"), str):
        values["token"] = Secret(values["token"])
    return {**values, "profile": name}


def _names(found: Mapping[str, Any]) -> str:
    return f"there are {', '.join(sorted(found))}" if found else "there are none"


def _of_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    if url := os.environ.get(URL):
        found["url"] = url
    if os.environ.get(TOKEN, "").strip():
        found["token"] = Secret(os.environ[TOKEN])
    return found


def _followed(reference: Mapping[str, str], origin: str) -> Secret:
    """What a reference to a token leads to, now."""
    ((kind, place),) = reference.items()
    if kind == "env":
        if not os.environ.get(place):
            raise AutoloaderError(f"{origin}: its token should be in the variable {place}, which is not set")
        return Secret(os.environ[place])
    try:
        return Secret(Path(place).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise AutoloaderError(f"{origin}: its token should be in {place}, which cannot be read: {why}") from None


def _certificates(place: str | os.PathLike[str], origin: str) -> Path:
    found = Path(place).expanduser()
    if not found.is_file():
        raise AutoloaderError(f"ca ({origin}): there is no file {found} with certificates")
    return found
