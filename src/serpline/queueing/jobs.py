"""Jobs and their outcomes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from serpline.domain.errors import UserError
from serpline.domain.names import JobPriority

RETRIES_MAX: Final = 100

Handler = Callable[[dict[str, Any]], Awaitable[None]]
"""Runs a job, given its payload. It may be called more than once for the same job."""


@dataclass(frozen=True, slots=True)
class Job:
    """A stored call of the handler of ``job_type``.

    ``payload``: JSON; ids rather than data. ``max_retries``: retries after the first attempt, 0 to
    100. When they are used up, the job becomes a dead letter.
    """

    job_type: str
    payload: dict[str, Any]
    priority: JobPriority = JobPriority.NORMAL
    max_retries: int = 0

    def __post_init__(self) -> None:
        """Refuse a job that no worker could run."""
        if not self.job_type or ":" in self.job_type:
            raise UserError(f"job_type={self.job_type!r}: must be a name without a colon")
        if not 0 <= self.max_retries <= RETRIES_MAX:
            raise UserError(f"max_retries={self.max_retries}: must be 0 to {RETRIES_MAX}")


class JobOutcome(StrEnum):
    """How one call of a handler ended."""

    DONE = "done"
    FAILED = "failed"
    """It is retried after a delay."""
    DEAD = "dead"
    """A wake-up failed, or a job's attempts are used up: its dead letter was written or counted."""
    POSTPONED = "postponed"
    """The database was unavailable or rolled back: it is retried and no attempt is used."""
    HANDED_BACK = "handed_back"
    """The worker stopped before it finished; another may take it at once."""
    LOST = "lost"
    """Another worker had taken the job over, so this outcome was not written."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A committed outcome, for metrics and for tests to await."""

    job_type: str
    payload: dict[str, Any]
    outcome: JobOutcome
    error: str | None = None


class UnknownJobType(Exception):  # noqa: N818  the name is the message
    """No handler is registered for this job type."""
