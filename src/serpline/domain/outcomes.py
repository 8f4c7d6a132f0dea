"""The outcomes of work on an item. Work returns one of them; an exception is a bug."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serpline.domain.errors import ErrorCategory
from serpline.domain.waits import WaitReason


@dataclass(frozen=True, slots=True)
class Done:
    """Finished. The phase's store function writes ``result`` in the same transaction."""

    item: str
    result: Any = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing to do for this item. The reason is stored."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class NotStored(Skip):
    """A recomputation has no stored reply for this item, and makes no call."""


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt failed. It counts, and may be repeated."""

    item: str
    category: ErrorCategory
    error: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Snooze:
    """No attempt was made (refused, or the same purchase is in flight). Try again later.

    ``waits_on`` names the breaker that refused it. When it closes, the item is due at once.
    ``wait``: what people are told that it waits for.
    """

    item: str
    reason: str
    until: datetime | None = None
    waits_on: str | None = None
    wait: WaitReason | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """Failed permanently. Repeating cannot help."""

    item: str
    category: ErrorCategory
    error: str


Outcome = Done | Skip | Retry | Snooze | Reject
