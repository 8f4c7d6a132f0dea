"""The way in: a call's turn, its retry token, its intent and its credits, in one transaction.

Promise: when ``admit`` returns, the call's turn has come, its intent and its reserved credits are
durable, and at that instant the provider was not paused, the key was neither bought nor being
bought by somebody else, no budget was overdrawn and the retry budget had room. What is refused
leaves no row; nor does, once ``withdraw`` has been heard, what the database did not answer.

A turn that has come is used in the transaction that gives it. One that lies ahead is waited for,
and then the call asks once more: a 429 recorded meanwhile holds for it too.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from serpline.core.clock import Clock
from serpline.domain.errors import CallRefused
from serpline.robustness import budget, limiter, rates
from serpline.robustness.groups import GroupCommitter
from serpline.robustness.limiter import Limited
from serpline.robustness.policies import ProviderPolicy
from serpline.store import budgets, ledger, limits
from serpline.store.database import Connection, Database
from serpline.store.ledger import Intent, Seen

ADMISSION_SECONDS = 0.01
ADMISSIONS_MAX = 500
BUSY_SECONDS = 2.0


class BeingBought(CallRefused):
    """Somebody alive is making the same call; its reply will serve both."""


class AlreadyBought(CallRefused):
    """The ledger has a reply that is fresh enough."""


class RetryBudgetSpent(CallRefused):
    """Too many of the provider's calls are retries already."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A call that would be made. ``fresh_since``: a reply from then on serves as well; None: none.

    ``elsewhere``: it goes to an address of the web (``ProviderCall``). ``has_turn``: it was given
    one, and has waited for it.
    """

    intent: Intent
    policy: ProviderPolicy
    fresh_since: datetime | None = None
    elsewhere: bool = False
    has_turn: bool = False


# None: admitted. A time: that of its turn, which is then to be asked with.
Answer = datetime | CallRefused | None
Answers = dict[UUID, Answer]
Rates = Mapping[str, Mapping[str, Any]]


class Admission:
    """All calls of this process that want to be made, in groups."""

    def __init__(self, db: Database, clock: Clock, withdraw: Callable[[UUID], object]) -> None:
        """``withdraw`` is told the admitted calls whose callers have gone meanwhile, and those that
        may have been admitted unheard: none of them will be sent."""
        self._db = db
        self._clock = clock
        self._withdraw = withdraw
        self._wishes: GroupCommitter[Wish, Answer] = GroupCommitter(
            self._admit,
            delay_seconds=ADMISSION_SECONDS,
            size_max=ADMISSIONS_MAX,
            abandoned=self._abandoned,
            given_up=self._take_back,
        )

    async def admit(
        self,
        policy: ProviderPolicy,
        intent_at: Callable[[datetime], Intent],
        fresh_since: datetime | None,
        *,
        elsewhere: bool = False,
    ) -> Intent:
        """Wait for a turn; the intent under which the call may now be made.

        Raises ``CallRefused``: ``Limited`` when the turn would come later than
        ``limiter.WAIT_SECONDS_MAX`` from now.
        """
        give_up_at = self._clock.now() + timedelta(seconds=limiter.WAIT_SECONDS_MAX)
        has_turn = False
        while True:
            intent = intent_at(self._clock.now())
            answer = await self._answer(Wish(intent, policy, fresh_since, elsewhere, has_turn))
            if answer is None:
                return intent
            turn = isinstance(answer, datetime)
            at = answer if isinstance(answer, datetime) else answer.until
            now = self._clock.now()
            waits = turn or (isinstance(answer, Limited) and not has_turn)
            if not waits or at is None or at > give_up_at:
                raise answer if isinstance(answer, CallRefused) else Limited("no turn", until=at)
            if at > now:
                await self._clock.sleep((at - now).total_seconds())
            has_turn = turn

    async def _answer(self, wish: Wish) -> Answer:
        answering = self._wishes.put(wish)
        try:
            return await answering
        except asyncio.CancelledError:
            if not answering.cancelled() and not answering.exception():
                # Answered in the very instant in which its caller went.
                self._abandoned(wish, answering.result())
            raise

    async def flush(self) -> None:
        """Wait until every wish so far is answered."""
        await self._wishes.flush()

    def _abandoned(self, wish: Wish, answer: Answer) -> None:
        if answer is None:
            self._take_back(wish)

    def _take_back(self, wish: Wish) -> None:
        with suppress(OverflowError):  # it becomes unknown with its chunk's next owner
            self._withdraw(wish.intent.id)

    async def _admit(self, wishes: Sequence[Wish]) -> list[Answer]:
        """The group's transaction. What an earlier try of this very group had committed (its
        acknowledgement was lost) stays as it is."""
        async with self._db.transaction() as conn:
            pace = await limits.lock_rates(conn, [wish.intent.provider for wish in wishes])
            now = self._clock.now()
            seen = await ledger.look_back(conn, [wish.intent for wish in wishes], now)
            answers = _known(wishes, seen, now)
            changes = _Changes(pace)
            # Turns come last: whoever is refused anyway must not use one up.
            answers |= _retries(_left(wishes, answers), seen, changes, now)
            answers |= _turns(_left(wishes, answers), changes, now)
            _count(_left(wishes, answers), seen, changes, now)
            await changes.save(conn)
            answers |= await _write(conn, _left(wishes, answers), seen, now)
        return [answers.get(wish.intent.id) for wish in wishes]


class _Changes:
    """The providers' rows, locked, and what is to be written to them at the end."""

    def __init__(self, rows: Rates) -> None:
        self.rows = rows
        self._changed: dict[str, dict[str, Any]] = {}

    def set(self, provider: str, **values: Any) -> None:
        self._changed.setdefault(provider, {}).update(values)

    async def save(self, conn: Connection) -> None:
        for provider, values in self._changed.items():
            await limits.save_rate(conn, provider, values)


def _left(wishes: Sequence[Wish], answers: Answers) -> list[Wish]:
    return [wish for wish in wishes if wish.intent.id not in answers]


def _by_provider(wishes: Sequence[Wish]) -> dict[str, list[Wish]]:
    found: dict[str, list[Wish]] = {}
    for wish in wishes:
        found.setdefault(wish.intent.provider, []).append(wish)
    return found


def _known(wishes: Sequence[Wish], seen: Seen, now: datetime) -> Answers:
    """What was written by an earlier try, what has been bought by now, and what is being bought."""
    answers: Answers = {}
    for wish in wishes:
        replied_at = seen.replied.get(wish.intent.key)
        if wish.intent.id in seen.written:
            answers[wish.intent.id] = None
        elif replied_at and wish.fresh_since is not None and replied_at >= wish.fresh_since:
            answers[wish.intent.id] = AlreadyBought("its reply is in the ledger", until=now)
        elif wish.intent.shared and wish.intent.key in seen.busy:
            answers[wish.intent.id] = _busy(now)
    return answers


def _busy(now: datetime) -> BeingBought:
    return BeingBought("the same call is under way", until=now + timedelta(seconds=BUSY_SECONDS))


def _turns(wishes: Sequence[Wish], changes: _Changes, now: datetime) -> Answers:
    """Turns for those who have none, if it lies ahead; a pause since a turn was given holds."""
    answers: Answers = {}
    for provider, group in _by_provider(wishes).items():
        row, policy = changes.rows[provider], group[0].policy
        waited = [wish for wish in group if wish.has_turn]
        if waited and row["paused_until"] is not None and row["paused_until"] > now:
            paused = Limited(f"{provider}: {row['pause_reason']}", until=row["paused_until"])
            answers |= {wish.intent.id: paused for wish in waited}
        asking = [wish for wish in group if not wish.has_turn]
        if asking:
            after, turns = limiter.turns(limiter.pace_of(row), policy, now, len(asking))
            changes.set(provider, next_slot_at=after.next_slot_at)
            for wish, turn in zip(asking, turns, strict=True):
                if isinstance(turn, Limited) or turn > now:
                    answers[wish.intent.id] = turn
    return answers


def _retries(wishes: Sequence[Wish], seen: Seen, changes: _Changes, now: datetime) -> Answers:
    """The retries for which the retry budget has no room.

    A retry repeats what failed. A poll is none, nor is what a dead worker left unfinished, nor
    what failed elsewhere: none says that the provider is unwell, and a restart must not wait for
    tokens.
    """
    answers: Answers = {}
    for provider, group in _by_provider(wishes).items():
        policy = group[0].policy
        retries = [wish.intent.id for wish in group if _is_retry(wish, seen)]
        tokens = _tokens(changes.rows[provider], policy, 0, now)
        granted = min(len(retries), int(tokens))
        wait = (1 - (tokens - granted)) * 120 / policy.retry_floor
        until = now + timedelta(seconds=min(60.0, max(1.0, wait)))
        for call_id in retries[granted:]:
            answers[call_id] = RetryBudgetSpent(f"{provider}: too many retries", until=until)
    return answers


def _count(wishes: Sequence[Wish], seen: Seen, changes: _Changes, now: datetime) -> None:
    """Of the calls that go now, first attempts earn retry tokens and retries spend them."""
    for provider, group in _by_provider(wishes).items():
        retries = sum(_is_retry(wish, seen) for wish in group)
        earned = _tokens(changes.rows[provider], group[0].policy, len(group) - retries, now)
        changes.set(provider, retry_tokens=max(0.0, earned - retries), tokens_at=now)


def _is_retry(wish: Wish, seen: Seen) -> bool:
    return wish.intent.key in seen.failed and not wish.elsewhere


def _tokens(row: Mapping[str, Any], policy: ProviderPolicy, firsts: int, now: datetime) -> float:
    return rates.earned(
        row["retry_tokens"],
        row["tokens_at"],
        now,
        firsts=firsts,
        share=policy.retry_share,
        floor_per_minute=policy.retry_floor,
        tokens_max=policy.retry_tokens_max,
    )


async def _write(conn: Connection, wishes: Sequence[Wish], seen: Seen, now: datetime) -> Answers:
    """The intents and their credits; the refusals of those whose key or budget is taken."""
    intents = [wish.intent for wish in wishes]
    numbers = [seen.attempts.get(intent.key, 0) + 1 for intent in intents]
    written = await ledger.insert_intents(conn, intents, numbers)
    busy = [intent.id for intent in intents if intent.id not in written]
    answers: Answers = dict.fromkeys(busy, _busy(now))
    kept = _left(wishes, answers)
    shortages = await budgets.reserve(conn, [wish.intent.want for wish in kept])
    full = {wish: found for wish, found in zip(kept, shortages, strict=True) if found}
    await ledger.remove(conn, [wish.intent.id for wish in full])
    for wish, shortage in full.items():
        answers[wish.intent.id] = budget.refusal(wish.policy, shortage, now)
    return answers
