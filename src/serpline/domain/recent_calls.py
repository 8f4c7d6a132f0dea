"""What a closed breaker remembers of calls: failures in a row, and the rate of failures.

Promise: memory is bounded by ``failure_threshold`` times and twelve buckets of one window.

Limits: the order of reports from several processes is only as good as their times. When the clock
is set back, what is remembered of the future is forgotten. Buckets are numbered in twelfths of the
window, so another window starts without any: the old numbers lie far in its future or past.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from serpline.domain.breaker_settings import BreakerSettings

_BUCKETS = 12
# A report is later than its call by less than this. What lies further ahead of a report was
# remembered before the clock was set back.
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
        """Whether a success would change what is remembered, beyond a higher count."""
        return bool(self.failure_times) or any(bucket.failures for bucket in self.buckets)

    def after_successes(self, settings: BreakerSettings, at: datetime, count: int) -> "RecentCalls":
        """``count`` calls succeeded, the last at ``at``. Failures up to then are forgotten."""
        known = self._counted(settings, at, successes=count)
        last = max(at, known.last_success_at or at)
        times = tuple(time for time in known.failure_times if time > last)
        return replace(known, last_success_at=last, failure_times=times)

    def after_failures(self, settings: BreakerSettings, at: datetime, count: int) -> "RecentCalls":
        """``count`` calls failed, the last at ``at``. Before a success they enter the rate only."""
        known = self._counted(settings, at, failures=count)
        if known.last_success_at is not None and at < known.last_success_at:
            return known
        most = settings.failure_threshold
        times = sorted((*known.failure_times, *(at for _ in range(min(count, most)))))
        return replace(known, failure_times=tuple(times[-most:]))

    def must_open(self, settings: BreakerSettings) -> bool:
        """Whether a closed breaker opens: too many failures in a row, or too large a share."""
        if len(self.failure_times) >= settings.failure_threshold:
            return True
        failures = sum(bucket.failures for bucket in self.buckets)
        calls = failures + sum(bucket.successes for bucket in self.buckets)
        return calls >= settings.rate_calls_min and failures >= settings.rate_threshold * calls

    def _counted(
        self, settings: BreakerSettings, at: datetime, *, successes: int = 0, failures: int = 0
    ) -> "RecentCalls":
        """With the calls in their bucket, and without what is remembered of the future.

        Else no failure would count until the clock has come to where it was.
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
