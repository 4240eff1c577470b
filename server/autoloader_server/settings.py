"""What can be set, and where each value came from.

A value is taken from the first of: an argument, the environment (`AUTOLOADER_…`), a `.env` file in the
current folder, a TOML file (`AUTOLOADER_CONFIG`, else `<home>/autoloader.toml`), the default. `autoloader
settings` lists them all.

`home` is one folder for all state, `~/.autoloader` unless said otherwise, for `autoloader serve`, the
commands and `Client.local()` alike: what one of them loaded, the others see.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from autoloader_sdk.config import Secret
from autoloader_sdk.models import MOST_ATTEMPTS, MOST_BAD_RECORDS, MOST_FILES_PER_BATCH
from autoloader_sdk.spark import with_token

PREFIX = "AUTOLOADER_"
DEFAULT_HOME = Path("~/.autoloader")
LOCAL_CLUSTER = "local"
LOCAL_CATALOG = "lake"
# Read by other parts of the project, so not unknown.
_OTHER_VARIABLES = frozenset(
    {"AUTOLOADER_URL", "AUTOLOADER_TOKEN", "AUTOLOADER_PROFILE", "AUTOLOADER_JARS_DIR", "AUTOLOADER_IVY_SETTINGS"}
    | {"AUTOLOADER_CONFIG", "AUTOLOADER_KILL_AT"}
)


class ClusterSettings(BaseModel):
    """A Spark Connect cluster that ingestions can run on, besides the local one."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: str = Field(min_length=1, max_length=255)
    name: str | None = None
    url: str = Field(pattern=r"^sc://", description="Spark Connect URL, without the token")
    token: str | None = Field(
        default=None,
        pattern=r"^(env|file):.+",
        description="where the token is: `env:NAME` or `file:/path` (or {env = …}, {file = …}), never the token itself",
    )
    catalog: str | None = Field(
        default=None, min_length=1, description="the Iceberg catalog there, which test-connection looks at"
    )
    dbu_rate: float = Field(default=0.0, ge=0, description="price of one DBU")
    workers: int = Field(default=1, ge=0)
    dbu_per_worker: float = Field(default=0.0, ge=0, description="DBU per worker and hour")

    @field_validator("url")
    @classmethod
    def _has_no_secret(cls, url: str) -> str:
        if re.search(r";\s*(token|authorization)=", url, re.IGNORECASE):
            raise ValueError("the URL is shown to users: give the token by `token`, as env:NAME or file:/path")
        return url

    @field_validator("token", mode="before")
    @classmethod
    def _by_reference(cls, token: Any) -> Any:
        if isinstance(token, Mapping):
            if len(token) != 1 or not {"env", "file"} >= set(token):
                raise ValueError("a token is given by reference: {env = NAME} or {file = PATH}")
            ((kind, place),) = token.items()
            return f"{kind}:{place}"
        return token

    def remote(self) -> str:
        """The URL with its token, read now from where `token` says; raises ValueError if it is gone.

        A token makes the client demand TLS. Where the URL says `use_ssl=false`, it travels as a header without.
        """
        if self.token is None:
            return self.url
        kind, _, place = self.token.partition(":")
        try:
            token = os.environ[place] if kind == "env" else Path(place).expanduser().read_text(encoding="utf-8").strip()
        except (KeyError, OSError):
            named = f"the environment variable {place}" if kind == "env" else f"the file {place}"
            raise ValueError(f"cluster {self.id!r}: its token should be in {named}, which cannot be read") from None
        return with_token(self.url, Secret(token))


class Settings(BaseSettings):
    """All settings of the service. Sizes take units (`10GiB`), times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        hide_input_in_errors=True,
    )

    home: Path = Field(default=DEFAULT_HOME, description="folder for all state")
    database_url: SecretStr | None = Field(
        default=None, description="SQLAlchemy URL of the ledger; SQLite in the home folder by default"
    )
    spark_remote: SecretStr | None = Field(
        default=None, description="a Spark Connect server (sc://…) to use instead of the local one"
    )
    spark_idle_seconds: int = Field(default=600, ge=0, description="the local Spark stops after so long unused")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)

    secrets_key: SecretStr | None = Field(
        default=None, description="encrypts credentials; several, newest first, parted by commas"
    )
    secrets_key_file: Path | None = Field(default=None, description="where the key is kept: <home>/secrets.key")

    lease_seconds: int = Field(default=60, ge=3, description="a worker is taken for dead after so long in silence")
    lease_renew_seconds: int = Field(default=15, ge=1)
    max_files_per_batch: int = Field(default=10_000, ge=1, le=MOST_FILES_PER_BATCH)
    max_bytes_per_batch: ByteSize = Field(default=ByteSize(10 * 2**30), ge=1)
    check_beside_bytes: ByteSize = Field(
        default=ByteSize(4 * 2**20),
        ge=0,
        description="batches from this size on are looked into while Spark stages them; smaller ones before",
    )
    max_attempts: int = Field(default=5, ge=1, le=MOST_ATTEMPTS, description="how often a failing file is tried")
    max_bad_records_per_file: int = Field(
        default=1_000,
        ge=1,
        le=MOST_BAD_RECORDS,
        description="a file with more fails, where bad records are rescued or quarantined",
    )
    max_parallel_runs: int = Field(default=4, ge=1)

    prefect_mode: Literal["off", "on"] = Field(
        default="off", description="`on` as soon as prefect_api_url is set explicitly"
    )
    prefect_api_url: str = "http://prefect-server:4200/api"
    prefect_default_work_queue: str = "autoloader-default"
    prefect_high_memory_work_queue: str = "autoloader-high-memory"
    prefect_priority_work_queue: str = "autoloader-priority"
    prefect_flow_run_timeout_seconds: int = Field(default=3600, ge=1)
    prefect_task_retry_delay_seconds: int = Field(default=60, ge=0)
    prefect_max_task_retries: int = Field(default=3, ge=0)
    high_memory_threshold_gb: float = Field(default=10, gt=0)

    storage_usd_per_gb_month: float = Field(
        default=0.023, ge=0, description="for cost estimates: 10^9 bytes for a month"
    )
    list_usd_per_1000_requests: float = Field(default=0.005, ge=0, description="for cost estimates: listing a store")

    clusters: list[ClusterSettings] = Field(default_factory=list, description="clusters besides the local one")

    origins: dict[str, str] = Field(default_factory=dict, exclude=True, repr=False)

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Like `Settings(…)`, with each mistake told in a sentence.

        Raises ValueError that names the setting, what is wrong with it, and where it may come from.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise ValueError("\n".join(_sentences(error))) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = [init_settings(), env_settings(), dotenv_settings()]
        config = _config_file(given, dotenv_settings)
        toml = TomlConfigSettingsSource(settings_cls, toml_file=config)
        _refuse_unknown(init_settings(), "argument")
        _refuse_unknown(toml(), str(config))
        named: list[tuple[str, PydanticBaseSettingsSource]] = [
            ("argument", init_settings),
            ("environment", env_settings),
            (".env", dotenv_settings),
            (str(config), toml),
            ("PREFECT_API_URL", InitSettingsSource(settings_cls, _prefects_own(os.environ))),
        ]
        origins = {key: name for name, source in reversed(named) for key in source()}
        return (*(source for _, source in named), InitSettingsSource(settings_cls, {"origins": origins}))

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self.home = self.home.expanduser().absolute()
        if self.secrets_key_file is None:
            self.secrets_key_file = self.home / "secrets.key"
        if "prefect_mode" not in self.origins and "prefect_api_url" in self.origins:
            self.prefect_mode = "on"
        if self.lease_renew_seconds * 2 > self.lease_seconds:
            raise ValueError("lease_renew_seconds must be at most half of lease_seconds, or one hiccup loses the lease")
        ids = [cluster.id for cluster in self.clusters]
        twice = sorted({name for name in ids if ids.count(name) > 1} | ({LOCAL_CLUSTER} & set(ids)))
        if twice:
            raise ValueError(f"clusters: the id {twice[0]!r} is there twice (`local` is always there)")
        return self


@dataclass(frozen=True)
class Listed:
    """One setting as `autoloader settings` prints it; a secret is masked."""

    name: str
    value: str
    origin: str
    description: str


def listed(settings: Settings) -> list[Listed]:
    """Each setting with its value and where it came from."""
    rows = []
    for name, field in Settings.model_fields.items():
        if name == "origins":
            continue
        value = getattr(settings, name)
        origin = settings.origins.get(name, "default")
        rows.append(Listed(name, _shown(name, value), origin, field.description or ""))
    return rows


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each `AUTOLOADER_…` variable that nothing reads, with the nearest right name.

    These only warn: an environment may be shared with a newer version.
    """
    known = {PREFIX + name.upper() for name in _names()} | _OTHER_VARIABLES
    present = os.environ if environment is None else environment
    return [
        f"the environment variable {name} is not known and does nothing{_nearest(name.upper(), known)}"
        for name in sorted(present)
        if name.upper().startswith(PREFIX) and name.upper() not in known
    ]


def _names() -> set[str]:
    return set(Settings.model_fields) - {"origins"}


def _nearest(name: str, known: set[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _refuse_unknown(values: Mapping[str, Any], place: str) -> None:
    for key in values:
        if key not in _names():
            raise ValueError(f"{place}: there is no setting {key!r}{_nearest(key, _names())}")


def _config_file(given: list[dict[str, Any]], dotenv: PydanticBaseSettingsSource) -> Path:
    in_file = dotenv.env_vars if isinstance(dotenv, DotEnvSettingsSource) else {}
    named = os.environ.get(f"{PREFIX}CONFIG") or in_file.get(f"{PREFIX}CONFIG".lower())
    if named:
        file = Path(named).expanduser()
        if not file.is_file():
            raise ValueError(f"{PREFIX}CONFIG names {file}, which is not a file")
        return file
    home = next((values["home"] for values in given if values.get("home")), DEFAULT_HOME)
    return Path(home).expanduser() / "autoloader.toml"


def _prefects_own(environment: Mapping[str, str]) -> dict[str, Any]:
    url = environment.get("PREFECT_API_URL")
    return {"prefect_api_url": url} if url else {}


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        top = place.split(".")[0]
        where = f" (argument, {PREFIX}{top.upper()}, .env or autoloader.toml)" if top in _names() else ""
        yield f"setting {place}{where}: {message}" if place else message


def _shown(name: str, value: Any) -> str:
    if name in ("database_url", "spark_remote") and value is not None:
        from autoloader_server.security.redact import redact

        return redact(value.get_secret_value())
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, ByteSize):
        return value.human_readable()
    if isinstance(value, list):
        return ", ".join(cluster.id for cluster in value) or "none"
    return "not set" if value is None else str(value)
