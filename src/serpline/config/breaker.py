"""Settings of the circuit breaker that a schedule or a run has of its own."""

from typing import Annotated

from pydantic import Field

from serpline.config.model import ConfigModel
from serpline.config.values import number, whole
from serpline.domain.breaker_settings import FAILURE_THRESHOLD_MAX, BreakerSettings

_DAY_SECONDS = 86_400
_DEFAULT = BreakerSettings()
Count = Annotated[int, whole(1, FAILURE_THRESHOLD_MAX)]
Seconds = Annotated[float, number(f"above 0, at most {_DAY_SECONDS}", gt=0, le=_DAY_SECONDS)]


class ScheduleBreaker(ConfigModel):
    """When a schedule's own breaker opens and closes, and how long it stays open."""

    failure_threshold: Count = Field(
        _DEFAULT.failure_threshold, description="Consecutive failures that open the breaker."
    )
    success_threshold: Count = Field(
        _DEFAULT.success_threshold, description="Successful probes that close it."
    )
    timeout_seconds: Seconds = Field(
        _DEFAULT.timeout_seconds, description="Seconds it stays open the first time."
    )


class RunBreaker(ScheduleBreaker):
    """All settings of a run's own breaker."""

    timeout_seconds_max: Seconds = Field(
        _DEFAULT.timeout_seconds_max,
        description="The most seconds it stays open; failed probes double the time.",
    )
    rate_threshold: Annotated[float, number("above 0, at most 1", gt=0, le=1)] = Field(
        _DEFAULT.rate_threshold, description="Share of failed calls that opens the breaker."
    )
    rate_calls_min: Annotated[int, whole(1, 1_000_000)] = Field(
        _DEFAULT.rate_calls_min, description="The fewest calls for which the share can open it."
    )
    rate_window_seconds: Seconds = Field(
        _DEFAULT.rate_window_seconds, description="Seconds over which the share is measured."
    )
    permit_seconds: Seconds | None = Field(
        _DEFAULT.permit_seconds,
        description="Seconds a probe's permit lasts; null: as long as its call may take.",
    )

    def settings(self) -> BreakerSettings:
        """Convert to the breaker's settings."""
        return BreakerSettings(**self.model_dump())
