"""What is allowed towards one provider: one value per provider, made by the composition."""

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from serpline.domain.breaker import BreakerSettings
from serpline.domain.errors import UserError


@dataclass(frozen=True, slots=True)
class ProviderPolicy:
    """Limits that hold across all workers together.

    ``breaker`` is None for what has no health of its own (pages of the web). ``zone`` is where the
    provider's quota day ends. ``retry_share`` of first attempts may be retried, plus
    ``retry_floor`` retries a minute. Credits are in the provider's own unit.
    """

    provider: str
    breaker: str | None
    breaker_settings: BreakerSettings = field(default_factory=BreakerSettings)
    rate_per_second: float = 10.0
    concurrency: int = 16
    credits_per_day: float | None = None
    credits_per_month: float | None = None
    zone: str = "UTC"
    retry_share: float = 0.1
    retry_floor: float = 30.0

    def __post_init__(self) -> None:
        """Refuse limits that let nothing through, and zones that are none."""
        if not 0 < self.rate_per_second <= 10_000:
            raise UserError(
                f"{self.provider} rate_per_second={self.rate_per_second}: must be 0 to 10000"
            )
        if not 1 <= self.concurrency <= 10_000:
            raise UserError(f"{self.provider} concurrency={self.concurrency}: must be 1 to 10000")
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
        """How many retries may be saved up: a minute's worth at the full rate."""
        return self.retry_floor / 2 + self.retry_share * self.rate_per_second * 60

    def day_ends_at(self, now: datetime) -> datetime:
        """The provider's next midnight, an instant."""
        tomorrow = now.astimezone(ZoneInfo(self.zone)).date() + timedelta(days=1)
        return self._midnight(tomorrow.year, tomorrow.month, tomorrow.day, now)

    def month_ends_at(self, now: datetime) -> datetime:
        """Midnight of the first day of the provider's next month, an instant."""
        today = now.astimezone(ZoneInfo(self.zone)).date()
        year, month = (today.year + 1, 1) if today.month == 12 else (today.year, today.month + 1)
        return self._midnight(year, month, 1, now)

    def _midnight(self, year: int, month: int, day: int, now: datetime) -> datetime:
        local = datetime.combine(datetime(year, month, day).date(), time.min, ZoneInfo(self.zone))  # noqa: DTZ001  only its date is used
        return local.astimezone(now.tzinfo)
