"""What a circuit breaker goes by: when it opens, for how long, and what closes it again."""

from dataclasses import dataclass

from serpline.domain.errors import UserError

FAILURE_THRESHOLD_MAX = 1000
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When to open, for how long, and what it takes to close again.

    ``permit_seconds`` is for how long a permit is lent; None: as long as its call may take, which
    whoever asks for it says.
    """

    failure_threshold: int = 5
    success_threshold: int = 2
    timeout_seconds: float = 60.0
    timeout_seconds_max: float = 900.0
    rate_threshold: float = 0.5
    rate_calls_min: int = 20
    rate_window_seconds: float = 60.0
    permit_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse settings with which the breaker could never open or never close."""
        if not 1 <= self.failure_threshold <= FAILURE_THRESHOLD_MAX:
            raise UserError(
                f"failure_threshold={self.failure_threshold}: must be 1 to {FAILURE_THRESHOLD_MAX}"
            )
        if not 1 <= self.success_threshold <= FAILURE_THRESHOLD_MAX:
            raise UserError(
                f"success_threshold={self.success_threshold}: must be 1 to {FAILURE_THRESHOLD_MAX}"
            )
        if not 0 < self.rate_threshold <= 1:
            raise UserError(f"rate_threshold={self.rate_threshold}: must be above 0, at most 1")
        if self.rate_calls_min < 1:
            raise UserError(f"rate_calls_min={self.rate_calls_min}: must be at least 1")
        seconds = {
            "timeout_seconds": self.timeout_seconds,
            "rate_window_seconds": self.rate_window_seconds,
            "permit_seconds": self.permit_seconds,
        }
        for name, value in seconds.items():
            if value is not None and not 0 < value <= 86_400:
                raise UserError(f"{name}={value}: must be above 0, at most 86400")

    def open_seconds(self, relapses: int, chance: float) -> float:
        """How long to stay open after ``relapses`` failed probes; ``chance`` in [0, 1)."""
        cap = max(self.timeout_seconds, self.timeout_seconds_max)
        doubled: float = self.timeout_seconds * 2 ** min(relapses, 32)
        return min(cap, doubled) * (1 - JITTER + 2 * JITTER * chance)
