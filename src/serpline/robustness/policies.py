"""Each provider's limits: an ordinary account's, unless settings override them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from serpline.config.values import AMOUNT_LIMIT
from serpline.core.settings import Settings
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import UserError
from serpline.domain.names import PROVIDERS, suggestion
from serpline.domain.providers import QUOTA_ZONES

# Calls a second of an ordinary paid account (documented limits, or less).
DEFAULT_RATES: Mapping[str, float] = {
    "scaleserp": 10.0,
    "dataforseo": 0.2,
    "pdl": 15.0,
    "wikidata": 2.0,
    "youtube": 20.0,
    "youtube_search": 20.0,
    "llm": 20.0,
    "page": 50.0,
}
# Concurrent calls, where a provider documents a limit. For the others the rate is the limit.
# DataForSEO: 30 requests sent simultaneously (docs.dataforseo.com/v3/dataforseo_labs-overview).
# Wikidata: 5 queries in parallel per IP address (mediawiki.org, "Wikidata Query Service/User
# Manual", query limits).
# ScaleSERP (docs.trajectdata.com, which bounds running batches alone), People Data Labs
# (docs.peopledatalabs.com, "usage limits": per minute), the YouTube Data API (units a day) and
# OpenAI (requests and tokens a minute) document none.
DEFAULT_CONCURRENCY: Mapping[str, int] = {"dataforseo": 30, "wikidata": 5}
# Only quotas that every account has. What a team wants to spend is its own decision.
# Since June 2026 YouTube counts searches separately (developers.google.com/youtube/v3, "Quota
# costs").
DEFAULT_CREDITS_PER_DAY: Mapping[str, float] = {"youtube": 10_000.0, "youtube_search": 100.0}
_BREAKERS = {
    "scaleserp": "scale_serp_api",
    "dataforseo": "dataforseo_api",
    "pdl": "pdl_api",
    "wikidata": "wikidata_api",
    "youtube": "youtube_api",
    "youtube_search": "youtube_api",
    "llm": "llm_api",
}


@dataclass(frozen=True, slots=True)
class ProviderPolicy:
    """Limits for all workers together. Credits are in the provider's own unit.

    ``concurrency`` None: only the rate and the workers' own limits bound the calls in flight.
    ``breaker`` is None for web pages, which have no common health. ``zone`` is the time zone of the
    provider's quota day. Each content type may make retries of its own: ``retry_share`` of its
    first attempts, plus ``retry_floor`` in any one minute, or half of it a minute over many
    minutes.
    """

    provider: str
    breaker: str | None
    rate_per_second: float
    breaker_settings: BreakerSettings = field(default_factory=BreakerSettings)
    concurrency: int | None = None
    credits_per_day: float | None = None
    credits_per_month: float | None = None
    zone: str = "UTC"
    retry_share: float = 0.1
    retry_floor: float = 30.0

    def __post_init__(self) -> None:
        """Refuse limits that allow no calls, and unknown time zones."""
        if not 0 < self.rate_per_second <= 10_000:
            raise UserError(
                f"{self.provider} rate_per_second={self.rate_per_second}: must be 0 to 10000"
            )
        if self.concurrency is not None and not 1 <= self.concurrency <= 10_000:
            raise UserError(f"{self.provider} concurrency={self.concurrency}: must be 1 to 10000")
        for name in ("credits_per_day", "credits_per_month"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < AMOUNT_LIMIT:
                raise UserError(
                    f"{self.provider} {name}={value}: must be 0 or more, below {AMOUNT_LIMIT:.0e}"
                )
        if not 0 <= self.retry_share <= 1:
            raise UserError(f"{self.provider} retry_share={self.retry_share}: must be 0 to 1")
        if not 1 <= self.retry_floor <= 100_000:
            raise UserError(f"{self.provider} retry_floor={self.retry_floor}: must be 1 to 100000")
        try:
            ZoneInfo(self.zone)
        except (ValueError, OSError):
            raise UserError(f"{self.provider} zone={self.zone!r}: not an IANA time zone") from None

    @property
    def retry_tokens_max(self) -> float:
        """The capacity of a content type's retry budget: a minute's worth at the full rate."""
        return self.retry_floor / 2 + self.retry_share * self.rate_per_second * 60

    def day_ends_at(self, now: datetime) -> datetime:
        """The instant of the provider's next midnight."""
        tomorrow = now.astimezone(ZoneInfo(self.zone)).date() + timedelta(days=1)
        return self._midnight(tomorrow.year, tomorrow.month, tomorrow.day, now)

    def month_ends_at(self, now: datetime) -> datetime:
        """The instant at which the provider's next month begins."""
        today = now.astimezone(ZoneInfo(self.zone)).date()
        year, month = (today.year + 1, 1) if today.month == 12 else (today.year, today.month + 1)
        return self._midnight(year, month, 1, now)

    def _midnight(self, year: int, month: int, day: int, now: datetime) -> datetime:
        local = datetime.combine(datetime(year, month, day).date(), time.min, ZoneInfo(self.zone))  # noqa: DTZ001  only its date is used
        return local.astimezone(now.tzinfo)


def equal_rates(calls_per_second: float) -> dict[str, float]:
    """Return the setting ``provider_rates`` with the same rate for every provider.

    For simulated accounts, which are faster than real ones.
    """
    return dict.fromkeys(DEFAULT_RATES, calls_per_second)


def check_providers(setting: str, names: Iterable[str]) -> None:
    """Raise ``UserError`` for the first unknown provider."""
    for name in sorted(set(names) - set(PROVIDERS)):
        raise UserError(f"{setting}: unknown provider {name!r}; {suggestion(name, PROVIDERS)}")


def policies(settings: Settings) -> list[ProviderPolicy]:
    """Every provider's policy under these settings. Raises ``UserError`` for an unknown one."""
    given: dict[str, Mapping[str, float]] = {
        "SERPLINE_PROVIDER_RATES": settings.provider_rates,
        "SERPLINE_PROVIDER_CONCURRENCY": settings.provider_concurrency,
        "SERPLINE_CREDITS_PER_DAY": settings.credits_per_day,
        "SERPLINE_CREDITS_PER_MONTH": settings.credits_per_month,
    }
    for name, value in given.items():
        check_providers(name, value)
    concurrency = {**DEFAULT_CONCURRENCY, **settings.provider_concurrency}
    per_day = {**DEFAULT_CREDITS_PER_DAY, **settings.credits_per_day}
    return [
        ProviderPolicy(
            provider,
            _BREAKERS.get(provider),
            rate_per_second=settings.provider_rates.get(provider, default_rate),
            concurrency=concurrency.get(provider),
            credits_per_day=per_day.get(provider),
            credits_per_month=settings.credits_per_month.get(provider),
            zone=QUOTA_ZONES.get(provider, "UTC"),
        )
        for provider, default_rate in DEFAULT_RATES.items()
    ]
