"""The call ledger of this process: looks up, intends and records calls in groups.

Promise: when ``intend`` returns, the intent and its reserved credits are durable, and at that
instant the provider was not paused, the key was not being bought by somebody else, no budget was
overdrawn and the retry budget had room. When the future of ``record`` is done, the outcome, the
credits and the raw reply (compressed, secrets replaced) are durable.

Limits: outcomes wait up to ``OUTCOME_SECONDS`` for company; ``flush`` hurries them. A process
killed in between leaves its intents behind, which become ``unknown``.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from serpline.core.clock import Clock
from serpline.core.masking import MASK, spellings
from serpline.domain.errors import CallRefused
from serpline.domain.http import HttpReply
from serpline.net.redaction import redact, redact_url
from serpline.robustness import budget
from serpline.robustness.groups import GroupCommitter
from serpline.robustness.limiter import Limited
from serpline.robustness.policies import ProviderPolicy
from serpline.store import budgets, ledger, limits
from serpline.store.database import Connection, Database
from serpline.store.ledger import CallOutcome, Intent, Seen, StoredReply

LOOK_UP_SECONDS = 0.002
INTENT_SECONDS = 0.005
OUTCOME_SECONDS = 0.25
INTENTS_MAX = 500
OUTCOMES_MAX = 250
BUSY_SECONDS = 2.0
ERROR_CHARS_MAX = 500
# A chunkless intent has no owner whose death would show: after this time its caller is gone.
ORPHAN_SECONDS = 900.0
_OUTCOME_PATIENCE_SECONDS = 600.0
_COMPRESSION = 3
_HEADERS_KEPT = ("content-type", "date", "etag", "retry-after", "x-ratelimit-", "x-call-credits-")


class BeingBought(CallRefused):
    """Somebody alive is making the same call; its reply will serve both."""


class RetryBudgetSpent(CallRefused):
    """Too many of the provider's calls are retries already."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended, as the guard knows it; ``reply`` is raw, with the request's secrets."""

    outcome: CallOutcome
    reply: HttpReply | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)


class Ledger:
    """Group committers over ``store.ledger``."""

    def __init__(
        self, db: Database, clock: Clock, policy_of: Callable[[str], ProviderPolicy]
    ) -> None:
        self._db = db
        self._clock = clock
        self._policy_of = policy_of
        self._look_ups: GroupCommitter[bytes, tuple[datetime, StoredReply] | None] = GroupCommitter(
            self._find, delay_seconds=LOOK_UP_SECONDS, size_max=INTENTS_MAX
        )
        self._intents: GroupCommitter[Intent, CallRefused | None] = GroupCommitter(
            self._intend,
            delay_seconds=INTENT_SECONDS,
            size_max=INTENTS_MAX,
            abandoned=self._abandoned,
        )
        self._withdrawals: GroupCommitter[UUID, None] = GroupCommitter(
            self._withdraw,
            delay_seconds=INTENT_SECONDS,
            size_max=INTENTS_MAX,
            patience_seconds=_OUTCOME_PATIENCE_SECONDS,
            keep=True,
        )
        self._endings: GroupCommitter[Ending, bool] = GroupCommitter(
            self._record,
            delay_seconds=OUTCOME_SECONDS,
            size_max=OUTCOMES_MAX,
            patience_seconds=_OUTCOME_PATIENCE_SECONDS,
            keep=True,
        )

    async def find(self, key: bytes) -> tuple[datetime, HttpReply] | None:
        """The latest usable reply under ``key`` and when it came, or None."""
        found = await self._look_ups.put(key)
        return None if found is None else (found[0], unpack(found[1]))

    async def intend(self, intent: Intent) -> None:
        """Make the intent durable; the call may then be made. Raises ``CallRefused``."""
        refusal = await self._intents.put(intent)
        if refusal is not None:
            raise refusal

    def withdraw(self, call_id: UUID) -> asyncio.Future[None]:
        """The intended call was never sent: forget it, and free its credits."""
        return self._withdrawals.put(call_id)

    def record(self, ending: Ending) -> asyncio.Future[bool]:
        """Make a call's end durable; True unless the call had its outcome already."""
        return self._endings.put(ending)

    async def flush(self) -> None:
        """Wait until every outcome and withdrawal handed over so far is durable."""
        await self._intents.flush()
        await self._withdrawals.flush()
        await self._endings.flush()

    def _abandoned(self, intent: Intent, refusal: CallRefused | None) -> None:
        if refusal is None:
            self.withdraw(intent.id)

    async def _find(self, keys: Sequence[bytes]) -> list[tuple[datetime, StoredReply] | None]:
        async with self._db.transaction() as conn:
            found = await ledger.find_replies(conn, keys)
        return [found.get(key) for key in keys]

    async def _intend(self, intents: Sequence[Intent]) -> list[CallRefused | None]:
        """The group's transaction. What is refused leaves no row; what an earlier try of this very
        group had committed (its acknowledgement was lost) stays as it is."""
        now = self._clock.now()
        async with self._db.transaction() as conn:
            pace = await limits.lock_rates(conn, [intent.provider for intent in intents])
            answers = _paused(intents, pace, now)
            left = [intent for intent in intents if intent.id not in answers]
            seen = await ledger.look_back(conn, left, now)
            new = [
                (intent, seen.attempts.get(intent.key, 0) + 1)
                for intent in left
                if intent.id not in seen.written
            ]
            answers |= await self._over(conn, [intent for intent, _ in new], seen, pace, now)
            new = [(intent, number) for intent, number in new if intent.id not in answers]
            written = await ledger.insert_intents(conn, *_unzip(new))
            busy = BeingBought(
                "the same call is under way", until=now + timedelta(seconds=BUSY_SECONDS)
            )
            answers |= {intent.id: busy for intent, _ in new if intent.id not in written}
            kept = [intent for intent, _ in new if intent.id in written]
            scopes = await budgets.reserve(conn, [intent.want for intent in kept])
            full = {item.id: scope for item, scope in zip(kept, scopes, strict=True) if scope}
            await ledger.remove(conn, list(full))
        for intent in kept:
            if intent.id in full:
                policy = self._policy_of(intent.provider)
                answers[intent.id] = budget.refusal(policy, full[intent.id], now)
        return [answers.get(intent.id) for intent in intents]

    async def _over(
        self,
        conn: Connection,
        intents: Sequence[Intent],
        seen: Seen,
        pace: Mapping[str, Mapping[str, Any]],
        now: datetime,
    ) -> dict[UUID, CallRefused]:
        """The retries for which the retry budget has no room.

        A retry repeats what failed. A poll is none, nor is what a dead worker left unfinished:
        neither says that the provider is unwell, and a restart must not wait for tokens.
        """
        refused: dict[UUID, CallRefused] = {}
        firsts = Counter(intent.provider for intent in intents if intent.key not in seen.failed)
        for name in sorted({intent.provider for intent in intents}):
            retries = [
                intent
                for intent in intents
                if intent.provider == name and intent.key in seen.failed
            ]
            policy = self._policy_of(name)
            granted, left = await limits.take_retry_tokens(
                conn,
                pace[name],
                now=now,
                firsts=firsts[name],
                retries=len(retries),
                share=policy.retry_share,
                floor_per_minute=policy.retry_floor,
                tokens_max=policy.retry_tokens_max,
            )
            wait = (1 - left) * 120 / policy.retry_floor
            until = now + timedelta(seconds=min(60.0, max(1.0, wait)))
            for intent in retries[granted:]:
                refused[intent.id] = RetryBudgetSpent(f"{name}: too many retries", until=until)
        return refused

    async def _withdraw(self, ids: Sequence[UUID]) -> list[None]:
        async with self._db.transaction() as conn:
            await ledger.withdraw(conn, ids)
        return [None] * len(ids)

    async def _record(self, endings: Sequence[Ending]) -> list[bool]:
        outcomes = await asyncio.to_thread(lambda: [_packed(ending) for ending in endings])
        async with self._db.transaction() as conn:
            settled = await ledger.settle_calls(conn, outcomes)
        return [outcome.id in settled for outcome in outcomes]


async def reconcile(db: Database, clock: Clock) -> int:
    """Give up the intents whose owner is gone (as ``unknown``); how many.

    That of a chunk shows by the chunk; one of no chunk is given up after ``ORPHAN_SECONDS``.
    """
    now = clock.now()
    async with db.transaction() as conn:
        before = now - timedelta(seconds=ORPHAN_SECONDS)
        return await ledger.reconcile(conn, now=now, before=before)


def _paused(
    intents: Sequence[Intent], pace: Mapping[str, Mapping[str, Any]], now: datetime
) -> dict[UUID, CallRefused]:
    """A 429 recorded since the slot was given holds for this call too."""
    refused: dict[UUID, CallRefused] = {}
    for intent in intents:
        row = pace[intent.provider]
        if row["paused_until"] is not None and row["paused_until"] > now:
            message = f"{intent.provider}: {row['pause_reason']}"
            refused[intent.id] = Limited(message, until=row["paused_until"])
    return refused


def _unzip(numbered: Sequence[tuple[Intent, int]]) -> tuple[list[Intent], list[int]]:
    return [intent for intent, _ in numbered], [number for _, number in numbered]


def pack(reply: HttpReply, secrets: tuple[str, ...]) -> StoredReply:
    """A reply for keeping: compressed, its secrets replaced however they are spelled."""
    body = reply.body
    for spelling in spellings(secrets):
        body = body.replace(spelling.encode("utf-8", "surrogatepass"), MASK.encode())
    headers = {
        name: _text(redact(value, secrets))
        for name, value in reply.headers.items()
        if name.startswith(_HEADERS_KEPT)
    }
    return StoredReply(
        http_status=reply.status,
        headers=headers,
        url=_text(redact(redact_url(reply.url), secrets)),
        body=zlib.compress(body, _COMPRESSION),
        size_bytes=len(body),
    )


def unpack(stored: StoredReply) -> HttpReply:
    """A kept reply as it came, save its secrets."""
    body = zlib.decompress(stored.body)
    return HttpReply(stored.http_status, dict(stored.headers), body, stored.url)


def _packed(ending: Ending) -> CallOutcome:
    outcome = ending.outcome
    if outcome.error is not None:
        outcome = replace(outcome, error=_text(redact(outcome.error, ending.secrets)))
    if ending.reply is None:
        return outcome
    return replace(outcome, reply=pack(ending.reply, ending.secrets))


def _text(value: str) -> str:
    """Text that PostgreSQL can store, of bounded length."""
    storable = value.replace("\x00", "�").encode("utf-8", "replace").decode()
    return storable[:ERROR_CHARS_MAX]
