"""A closed breaker's record of recent calls: consecutive failures and the failure rate.

Promise: the record holds at most ``failure_threshold`` times and twelve buckets of one window.

Limits: reports from several processes are ordered by their own times. When the clock is set back,
future times are dropped. Buckets are numbered in twelfths of the window. A changed window starts
empty, because the old numbers lie far in its future or past.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from serpline.domain.breaker_settings import BreakerSettings

_BUCKETS = 12
# A report comes less than this after its call. A time further ahead of a report was recorded
# before the clock was set back.
_REPORT_DELAY_MAX = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Calls that ended within one twelfth of the rate window."""

    start: int
    successes: int
    failures: int


@dataclass(frozen=True, slots=True)
class RecentCalls:
    """``failure_times``: failures since the last success, oldest first, bounded."""

    failure_times: tuple[datetime, ...] = ()
    last_success_at: datetime | None = None
    buckets: tuple[Bucket, ...] = ()

    @property
    def has_failures(self) -> bool:
        """Whether any failure is recorded. If not, a success changes only a count."""
        return bool(self.failure_times) or any(bucket.failures for bucket in self.buckets)

    def after_successes(self, settings: BreakerSettings, at: datetime, count: int) -> "RecentCalls":
        """Record ``count`` successes, the last at ``at``. Drops failure times up to then."""
        known = self._counted(settings, at, successes=count)
        last = max(at, known.last_success_at or at)
        times = tuple(time for time in known.failure_times if time > last)
        return replace(known, last_success_at=last, failure_times=times)

    def after_failures(self, settings: BreakerSettings, at: datetime, count: int) -> "RecentCalls":
        """Record ``count`` failures, the last at ``at``. If before a success, in the rate only."""
        known = self._counted(settings, at, failures=count)
        if known.last_success_at is not None and at < known.last_success_at:
            return known
        most = settings.failure_threshold
        times = sorted((*known.failure_times, *(at for _ in range(min(count, most)))))
        return replace(known, failure_times=tuple(times[-most:]))

    def must_open(self, settings: BreakerSettings) -> bool:
        """Whether a closed breaker opens: too many consecutive failures, or too high a rate."""
        if len(self.failure_times) >= settings.failure_threshold:
            return True
        failures = sum(bucket.failures for bucket in self.buckets)
        calls = failures + sum(bucket.successes for bucket in self.buckets)
        return calls >= settings.rate_calls_min and failures >= settings.rate_threshold * calls

    def _counted(
        self, settings: BreakerSettings, at: datetime, *, successes: int = 0, failures: int = 0
    ) -> "RecentCalls":
        """Add the calls to their bucket and drop future times.

        If they stayed, no failure would count until the clock reached them again.
        """
        latest = at + _REPORT_DELAY_MAX
        last = self.last_success_at
        by_start = {bucket.start: bucket for bucket in self.buckets}
        start = _bucket_of(at, settings)
        old = by_start.get(start, Bucket(start, 0, 0))
        by_start[start] = Bucket(start, old.successes + successes, old.failures + failures)
        future = _bucket_of(latest, settings)
        kept = sorted(key for key in by_start if key <= future)
        return RecentCalls(
            failure_times=tuple(time for time in self.failure_times if time <= latest),
            last_success_at=None if last is None or last > latest else last,
            buckets=tuple(by_start[key] for key in kept if key > kept[-1] - _BUCKETS),
        )


def _bucket_of(at: datetime, settings: BreakerSettings) -> int:
    return int(at.timestamp() / (settings.rate_window_seconds / _BUCKETS))
