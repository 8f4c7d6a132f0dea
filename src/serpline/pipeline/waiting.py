"""What a run waits for, as sentences for people and as a document. Times are UTC."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from serpline.domain.errors import UserError
from serpline.domain.phases import LaneKey
from serpline.domain.states import BreakerState
from serpline.domain.text import length_of_time
from serpline.domain.waits import Wait, WaitCause, Waiting, waits_of
from serpline.store.database import Connection
from serpline.store.runs import waits

STEPS_NAMED_MAX = 3
ERROR_CHARS_MAX = 160


async def read_waiting(conn: Connection, run_id: UUID) -> tuple[Waiting, datetime]:
    """Read what a run works on and waits for, and the time at which that is so.

    Raises ``UserError`` for an unknown run.
    """
    facts = await waits.read(conn, run_id)
    if facts is None:
        raise UserError(f"run {run_id}: there is no such run")
    return waits_of(facts), facts.now


def lines(waiting: Waiting, now: datetime) -> list[str]:
    """One sentence for the work and one for each cause; empty if the run has ended."""
    found = [sentence(wait, now) for wait in waiting.waits]
    if waiting.steps:
        # A step that is being planned has no items yet.
        items = f" {_items(waiting.items)} of" if waiting.items else ""
        found.insert(0, f"working on{items} {named_steps(waiting.steps)}")
    return found


def document(waiting: Waiting, now: datetime) -> dict[str, Any]:
    """The same for programs: the lines (``doing``), ``working``, and ``waits`` by cause."""
    return {
        "doing": lines(waiting, now),
        "working": {"items": waiting.items, "steps": [str(key) for key in waiting.steps]},
        "waits": [
            {
                "cause": wait.cause,
                "subject": wait.subject or None,
                "since": wait.since,
                "until": wait.until,
                "next_at": wait.next_at,
                "items": wait.items,
                "steps": [str(key) for key in wait.steps],
                "later_steps": [str(key) for key in wait.later],
                "sentence": sentence(wait, now),
            }
            for wait in waiting.waits
        ],
    }


class WaitLog:
    """Tells when the causes change, not when a figure does, and not for a moment between two."""

    def __init__(self) -> None:
        self._last: frozenset[tuple[str, str]] = frozenset()
        self._told: frozenset[tuple[str, str]] = frozenset()

    def changed(self, waiting: Waiting, now: datetime) -> list[str]:
        """The lines to write after a further look; empty if there is nothing new.

        A cause is told when two looks have found it.
        """
        found = frozenset((str(wait.cause), wait.subject) for wait in waiting.waits)
        is_new = found == self._last and found != self._told
        self._last = found
        if not is_new:
            return []
        self._told = found
        return lines(waiting, now)


def sentence(wait: Wait, now: datetime) -> str:
    """One cause in one sentence, and how many later steps wait for it."""
    said = _SENTENCES[wait.cause](wait, now)
    if not wait.later:
        return said
    steps = "step waits" if len(wait.later) == 1 else "steps wait"
    return f"{said}; {len(wait.later)} later {steps} for this"


def _paused(wait: Wait, now: datetime) -> str:
    by = f" by {wait.by}" if wait.by else ""
    return f"paused{by}{_since(wait.since, now)}; 'serpline run resume' continues it"


def _no_worker(wait: Wait, now: datetime) -> str:
    return f"no worker is running{_since(wait.since, now)}: start one with 'serpline up'"


def _budget(wait: Wait, now: datetime) -> str:
    provider, _, scope = wait.subject.partition(" ")
    kind, _, period = scope.partition(":")
    spent = ""
    if wait.budget is not None and wait.budget.limit is not None:
        spent = f" ({_number(wait.budget.spent)} of {_number(wait.budget.limit)} credits)"
    setting = f"SERPLINE_CREDITS_PER_{kind.upper()}"
    if wait.cause is WaitCause.BUDGET_TOO_SMALL:
        return (
            f"waiting for credits: one call to {provider} costs more than {setting} allows{spent};"
            " raise it and restart the workers, or start a run with a smaller batch_size"
        )
    return (
        f"waiting for credits: the limit of {provider} for {period} is used up{spent}"
        f"{_until(wait.until, now)}; raise {setting} and restart the workers to go on now"
    )


def _breaker(wait: Wait, now: datetime) -> str:
    state = wait.breaker.state if wait.breaker else BreakerState.OPEN
    if state is BreakerState.ISOLATED:
        return f"waiting for {wait.subject}, isolated by hand; 'serpline breakers reset' closes it"
    if state is BreakerState.HALF_OPEN or wait.until is None or wait.until <= now:
        return f"waiting for {wait.subject}, breaker {state}: the next calls test it"
    return f"waiting for {wait.subject}, breaker open{_until(wait.until, now)}"


def _quota(wait: Wait, now: datetime) -> str:
    ends = _until(wait.until, now) or _again(wait.next_at, now)
    return f"waiting for {wait.subject}, its quota is used up{ends}"


def _incident(wait: Wait, now: datetime) -> str:
    return f"waiting for {wait.subject}, which reports an incident{_again(wait.next_at, now)}"


def _provider_queue(wait: Wait, now: datetime) -> str:
    found = list(wait.batches)
    if not found:
        return "a batch is at ScaleSERP, polling"
    types = ", ".join(dict.fromkeys(str(batch.lane.content_type) for batch in found))
    since = f" since {length_of_time((now - wait.since).total_seconds())}" if wait.since else ""
    errors = [batch.error for batch in found if batch.error]
    answer = f"; last problem: {_short(errors[0])}" if errors else ""
    one = found[0]
    if len(found) == 1 and one.since is None:
        return f"preparing batch {one.number} of {one.total} ({types}) at ScaleSERP{answer}"
    if len(found) == 1:
        said = f"batch {one.number} of {one.total} ({types}) at ScaleSERP{since}"
    else:
        total = sum({batch.lane: batch.total for batch in found}.values())
        oldest = f", the oldest{since}" if since else ""
        said = f"{len(found)} of {total} batches ({types}) at ScaleSERP{oldest}"
    return f"{said}, polling{answer}"


def _purchase(wait: Wait, now: datetime) -> str:
    return f"waiting for run {wait.subject[:8]}, which buys the same data"


def _retry(wait: Wait, now: datetime) -> str:
    error = f" (last error: {wait.error})" if wait.error else ""
    waits = "waits" if wait.items == 1 else "wait"
    until = _until(wait.until, now)
    return f"{_items(wait.items)} {waits} for another attempt{until}{error}"


def _rate(wait: Wait, now: datetime) -> str:
    until = _until(wait.until, now)
    return f"waiting for {wait.subject}, which takes no more calls{until or ' now'}"


def _capacity(wait: Wait, now: datetime) -> str:
    return "all workers are busy with other runs: more workers would start it sooner"


_SENTENCES: Final[Mapping[WaitCause, Callable[[Wait, datetime], str]]] = MappingProxyType(
    {
        WaitCause.PAUSED: _paused,
        WaitCause.NO_WORKER: _no_worker,
        WaitCause.BUDGET_TOO_SMALL: _budget,
        WaitCause.BUDGET: _budget,
        WaitCause.BREAKER: _breaker,
        WaitCause.QUOTA: _quota,
        WaitCause.INCIDENT: _incident,
        WaitCause.PROVIDER_QUEUE: _provider_queue,
        WaitCause.PURCHASE: _purchase,
        WaitCause.RETRY: _retry,
        WaitCause.RATE: _rate,
        WaitCause.CAPACITY: _capacity,
    }
)


def named_steps(steps: Sequence[LaneKey | str]) -> str:
    """The names of the first steps, and how many more there are."""
    named = ", ".join(str(key) for key in steps[:STEPS_NAMED_MAX])
    more = len(steps) - STEPS_NAMED_MAX
    return f"{named} and {more} more" if more > 0 else named


def _until(at: datetime | None, now: datetime) -> str:
    return f" until {_time(at, now)}" if at is not None and at > now else ""


def _again(at: datetime | None, now: datetime) -> str:
    return f" (asked again at {_time(at, now)})" if at is not None and at > now else ""


def _since(at: datetime | None, now: datetime) -> str:
    return f" since {_time(at, now)}" if at is not None else ""


def _time(at: datetime, now: datetime) -> str:
    """The time of the day; with its date, unless it is of the same day."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return f"{at:%H:%M}" + " UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"


def _number(credits_: Decimal) -> str:
    return f"{credits_:,.2f}".rstrip("0").rstrip(".")


def _short(said: str) -> str:
    return said if len(said) <= ERROR_CHARS_MAX else f"{said[:ERROR_CHARS_MAX]}…"
