"""Settings: parsed once from the environment (``SERPLINE_*``), frozen; secrets are ``SecretStr``.

Every provider's base URL and key is a setting, so any server with the same API can replace it.
"""

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from platformdirs import user_data_path
from pydantic import (
    AfterValidator,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable


class SettingsError(ValueError):
    """A setting is invalid. The message names the key and the value."""


def _base_url(value: str) -> str:
    HttpUrl(value)
    return value.rstrip("/")


def _base_url_or_off(value: str) -> str:
    return _base_url(value) if value else value


BaseUrl = Annotated[str, AfterValidator(_base_url)]
_EMPTY = SecretStr("")
_DAY_SECONDS = 86_400.0
_PREFIX = "SERPLINE_"


class Settings(BaseSettings):
    """All settings with their defaults."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=lambda: user_data_path("serpline"))
    database_url: SecretStr | None = None
    # The folder of another PostgreSQL's programs, for the embedded server.
    postgres_bin: Path | None = None
    public_url: BaseUrl | None = None
    log_level: str = "INFO"

    scaleserp_base_url: BaseUrl = "https://api.scaleserp.com"
    scaleserp_api_key: SecretStr = _EMPTY
    # The time zone of the account's profile, in which the provider starts scheduled batches.
    scaleserp_timezone: ZoneInfo = ZoneInfo("UTC")
    youtube_base_url: BaseUrl = "https://www.googleapis.com/youtube/v3"
    youtube_api_key: SecretStr = _EMPTY
    dataforseo_base_url: BaseUrl = "https://api.dataforseo.com"
    dataforseo_login: str = ""
    dataforseo_password: SecretStr = _EMPTY
    pdl_base_url: BaseUrl = "https://api.peopledatalabs.com"
    pdl_api_key: SecretStr = _EMPTY
    # Wikidata needs no key. An empty URL turns it off.
    wikidata_base_url: Annotated[str, AfterValidator(_base_url_or_off)] = (
        "https://query.wikidata.org"
    )
    wikidata_contact: str = "https://example.org/contact"
    llm_base_url: BaseUrl = "https://api.openai.com"
    llm_api_key: SecretStr = _EMPTY
    llm_model: str = "gpt-4o-mini"

    # A map of host name → "address:port" and a CA file, for the simulator's pages, whose names do
    # not resolve. Refused together with a real key (see ``app``).
    net_host_map: dict[str, str] = Field(default_factory=dict)
    net_test_ca: Path | None = None

    # Scheduled runs that are running at once, of all schedules together.
    scheduled_runs_max: int = Field(default=10, ge=1, le=1000)
    worker_concurrency: int = Field(default=4, ge=1, le=64)
    call_concurrency: int = Field(default=16, ge=1, le=256)
    worker_heartbeat_seconds: float = Field(default=5.0, gt=0, le=300)
    worker_dead_after_seconds: float = Field(default=20.0, gt=0, le=3600, validate_default=True)
    chunk_silence_seconds: float = Field(default=1800.0, gt=0, le=7 * _DAY_SECONDS)
    shutdown_grace_seconds: float = Field(default=20.0, ge=0, le=25)
    look_again_seconds: float = Field(default=30.0, gt=0, le=3600)
    batch_poll_seconds: float = Field(default=30.0, gt=0, le=3600)
    webhook_wait_seconds: float = Field(default=10.0, ge=0, le=3600)
    batch_call_seconds: float = Field(default=60.0, gt=0, le=600)
    batch_file_seconds: float = Field(default=300.0, gt=0, le=3600)
    batch_running_seconds_max: float = Field(default=_DAY_SECONDS, gt=0, le=30 * _DAY_SECONDS)
    # Calls a second by provider, if the account's limit is not the default.
    provider_rates: dict[str, float] = Field(default_factory=dict)
    # A file of prices for the costs that are shown. None: prices.yaml of the data directory.
    prices: Path | None = None
    # Concurrent calls by provider, for all workers together.
    provider_concurrency: dict[str, int] = Field(default_factory=dict)
    # Credits a day and a month by provider, in its own unit and time zone.
    credits_per_day: dict[str, float] = Field(default_factory=dict)
    credits_per_month: dict[str, float] = Field(default_factory=dict)
    # Days to keep each kind of data (docs/retention.md). Hours between prunings; 0: only by hand.
    retention_days: dict[str, int] = Field(default_factory=dict)
    prune_hours: float = Field(default=24.0, ge=0, le=24 * 366)
    # A breaker that is open for so long is an incident.
    notify_breaker_minutes: float = Field(default=10.0, gt=0, le=1440)
    extractor_processes: int = Field(default=1, ge=1, le=16)
    web_port: int = Field(default=8077, ge=0, le=65535)

    @field_validator("worker_dead_after_seconds")
    @classmethod
    def _check_dead_after(cls, value: float, info: ValidationInfo) -> float:
        """One late heartbeat must not make a worker count as dead."""
        beat = info.data.get("worker_heartbeat_seconds", 0.0)
        if value < 2 * beat:
            raise ValueError(f"must be at least twice SERPLINE_WORKER_HEARTBEAT_SECONDS ({beat:g})")
        return value

    @property
    def has_llm(self) -> bool:
        """Whether a language model is set up: OpenAI's with a key, or any other server."""
        own = urlsplit(self.llm_base_url).hostname != "api.openai.com"
        return own or bool(self.llm_api_key.get_secret_value())

    @property
    def providers(self) -> frozenset[str]:
        """The providers that are set up. No other is called."""
        is_set_up = {
            "scaleserp": self.scaleserp_api_key.get_secret_value(),
            "dataforseo": self.dataforseo_login and self.dataforseo_password.get_secret_value(),
            "pdl": self.pdl_api_key.get_secret_value(),
            "wikidata": self.wikidata_base_url,
            "youtube": self.youtube_api_key.get_secret_value(),
            "llm": self.has_llm,
        }
        return frozenset(name for name, value in is_set_up.items() if value)

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value that is set. Logs and errors must not show them."""
        values = [v.get_secret_value() for v in self.__dict__.values() if isinstance(v, SecretStr)]
        return tuple(value for value in values if value)


# Variables that single commands read.
_OF_COMMANDS = ("notify_url",)
_PAGE = "docs/settings.md"
# Kubernetes gives every container variables for each service of its namespace, such as "serpline"
# or "serpline-web" (kubernetes.io, "Discovering services"). Each service has one that ends so.
_SERVICE_HOST = "_SERVICE_HOST"
_SERVICE_ENDS = ("_SERVICE_", "_PORT")


def check_variables(names: Iterable[str]) -> None:
    """Raise ``SettingsError`` for the first SERPLINE_ variable that is no setting.

    Its value may be a secret, so the message has only the name. Case does not matter. Variables of
    Kubernetes services are left alone.
    """
    known = [name.upper() for name in (*Settings.model_fields, *_OF_COMMANDS)]
    given = {name.upper() for name in names}
    services = tuple(
        f"{name.removesuffix(_SERVICE_HOST)}{end}"
        for name in given
        if name.endswith(_SERVICE_HOST)
        for end in _SERVICE_ENDS
    )
    own = given - {name for name in given if name.startswith(services)}
    for name in sorted(name[len(_PREFIX) :] for name in own if name.startswith(_PREFIX)):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {_PREFIX}{near[0]}?" if near else f"{_PAGE} lists all settings"
            raise SettingsError(f"{_PREFIX}{name} is no setting: {hint}")


def load(**overrides: Any) -> Settings:
    """Read the environment; ``overrides`` (command-line options) win. Raises ``SettingsError``."""
    check_variables(os.environ)
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"SERPLINE_{key.upper()}={first.get('input')!r}: "
            + first["msg"].removeprefix("Value error, ")
        ) from None
    except UnreadableVariable as error:
        # Raised for settings that are JSON objects. None of them contains a secret.
        field = re.search(r'field "(\w+)"', str(error))
        name = f"SERPLINE_{field[1].upper()}" if field else "SERPLINE_*"
        given_text = os.environ.get(name)
        raise SettingsError(f"{name}={given_text!r}: must be a JSON object") from None
