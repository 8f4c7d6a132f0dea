"""What a job is, and what can become of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from serpline.domain.errors import UserError
from serpline.domain.names import JobPriority

RETRIES_MAX: Final = 100

Handler = Callable[[dict[str, Any]], Awaitable[None]]
"""Does a job, given its payload. It may be called more than once for the same job."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done by the handler of ``job_type``.

    ``payload``: JSON, ids rather than data. ``max_retries``: further attempts after a failed one,
    0 to 100; then the job becomes a dead letter.
    """

    job_type: str
    payload: dict[str, Any]
    priority: JobPriority = JobPriority.NORMAL
    max_retries: int = 0

    def __post_init__(self) -> None:
        """Refuse what could never be served."""
        if not self.job_type or ":" in self.job_type:
            raise UserError(f"job_type={self.job_type!r}: must be a name without a colon")
        if not 0 <= self.max_retries <= RETRIES_MAX:
            raise UserError(f"max_retries={self.max_retries}: must be 0 to {RETRIES_MAX}")


class JobOutcome(StrEnum):
    """How one call of a handler ended."""

    DONE = "done"
    FAILED = "failed"
    """It will be tried again after a delay."""
    DEAD = "dead"
    """Its attempts are used up, or it was a wake-up: a dead letter was written or counted up."""
    POSTPONED = "postponed"
    """The database was away or undid the work: tried again, no attempt burned."""
    HANDED_BACK = "handed_back"
    """The worker stopped first; another may take it at once."""
    LOST = "lost"
    """Somebody else had taken the job over, so this outcome was not written."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One outcome, told after it was committed: for metrics, and for tests to await."""

    job_type: str
    payload: dict[str, Any]
    outcome: JobOutcome
    error: str | None = None


class UnknownJobType(Exception):  # noqa: N818  named for what it says
    """No handler is registered for this job type."""
