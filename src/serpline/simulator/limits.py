"""Rate limits: a sliding window per provider or operation, on the simulator's clock."""

from collections import deque

from serpline.core.clock import Clock
from serpline.simulator.config import RateLimit, SimulatorConfig


class Limits:
    """Counts accepted calls per window."""

    def __init__(self, config: SimulatorConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._windows: dict[str, deque[float]] = {}

    def take(self, provider: str, operation: str) -> float | None:
        """Count a call. Returns None, or the seconds to wait if it exceeds the limit."""
        found = self._config.limit(provider, operation)
        if found is None:
            return None
        name, limit = found
        arrivals = self._windows.setdefault(name, deque())
        now = self._clock.monotonic()
        self._drop_expired(arrivals, limit, now)
        if len(arrivals) < limit.calls:
            arrivals.append(now)
            return None
        return max(0.0, arrivals[0] + limit.seconds - now) if arrivals else limit.seconds

    @staticmethod
    def _drop_expired(arrivals: deque[float], limit: RateLimit, now: float) -> None:
        while arrivals and arrivals[0] <= now - limit.seconds:
            arrivals.popleft()
