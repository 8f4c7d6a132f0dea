"""What working on an item may come to. Work returns one of these; an exception is a bug."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serpline.domain.errors import ErrorCategory


@dataclass(frozen=True, slots=True)
class Done:
    """Finished. ``result`` is what the phase's store function writes, in the same transaction."""

    item: str
    result: Any = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing to do for this item, for a reason that is stored."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt failed and may be repeated; it is counted."""

    item: str
    category: ErrorCategory
    error: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Snooze:
    """No attempt was made (refused, or someone else is buying the same thing): look again.

    ``waits_on`` names the breaker that refused it, whose closing is a reason to look at once.
    """

    item: str
    reason: str
    until: datetime | None = None
    waits_on: str | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """Failed for good; repeating cannot help."""

    item: str
    category: ErrorCategory
    error: str


Outcome = Done | Skip | Retry | Snooze | Reject
