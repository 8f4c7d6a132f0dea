"""A circuit breaker's settings: when it opens, for how long, and what closes it."""

from dataclasses import dataclass

from serpline.domain.errors import UserError

FAILURE_THRESHOLD_MAX = 1000
JITTER = 0.1
_COUNTS_MAX = {
    "failure_threshold": FAILURE_THRESHOLD_MAX,
    "success_threshold": FAILURE_THRESHOLD_MAX,
    "rate_calls_min": 1_000_000,
}
_NUMBERS_MAX = {
    "rate_threshold": 1,
    "timeout_seconds": 86_400,
    "timeout_seconds_max": 86_400,
    "rate_window_seconds": 86_400,
    "permit_seconds": 86_400,
}


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When to open, for how long, and when to close again.

    ``permit_seconds``: the lease of a permit. None: as long as its call may take.
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
        """Refuse settings under which the breaker could never open or never close."""
        for name, most in _COUNTS_MAX.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise UserError(f"{name}={value!r}: must be a whole number, 1 to {most}")
        for name, limit in _NUMBERS_MAX.items():
            value = getattr(self, name)
            if name == "permit_seconds" and value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value <= limit:
                raise UserError(f"{name}={value!r}: must be above 0, at most {limit}")

    def open_seconds(self, relapses: int, chance: float) -> float:
        """How long to stay open after ``relapses`` failed probes. ``chance`` in [0, 1)."""
        cap = max(self.timeout_seconds, self.timeout_seconds_max)
        doubled: float = self.timeout_seconds * 2 ** min(relapses, 32)
        return min(cap, doubled) * (1 - JITTER + 2 * JITTER * chance)
