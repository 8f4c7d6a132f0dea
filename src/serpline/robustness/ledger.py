"""The call ledger of this process: admits, ends and finds calls, each in groups.

Promise: when ``admit`` returns, the call's slot has come and its intent and reserved credits are
durable. At that instant the provider was not paused, no reply of the key served, no other such call
was under way, no budget was overdrawn and the retry budget had room. Refused calls leave no row.
When the future of ``end`` is done, the end, the credits and the raw reply (compressed, secrets
replaced) are durable, and so is the reference data that it brought: no worker's death between
the two can have it bought again.

A slot that has come is used in the statement that gives it. One that lies ahead is waited for, and
then the call asks once more, because a 429 may have come. The server says how long to wait, so no
machine's clock decides.

Limits: ends wait up to ``OUTCOME_SECONDS`` for company; ``flush`` hurries them. A process killed in
between leaves its intents behind, which become ``unknown``.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import UUID

from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.domain.http import HttpReply, ProviderCall
from serpline.robustness import limiter
from serpline.robustness.calls import CallScope, intent_of
from serpline.robustness.groups import RETRY_SECONDS_MAX, GroupCommitter, retry_transient
from serpline.robustness.policies import ProviderPolicy
from serpline.robustness.refusals import refusal
from serpline.robustness.replies import PACKED_AT_ONCE_BYTES, pack, unpack
from serpline.store.calls import ledger, reference
from serpline.store.calls.ledger import (
    AdmissionRequest,
    Answer,
    Decision,
    End,
    Intent,
    Limits,
    StoredReply,
)
from serpline.store.calls.reference import Purchase
from serpline.store.clock import time_override
from serpline.store.database import Connection, Database
from serpline.store.tables.guards import CallStatus

T = TypeVar("T")

OUTCOME_SECONDS = 0.25
# A chunkless intent has no owner whose death would show: after this time its caller is gone.
ORPHAN_SECONDS = 900.0
# So much is kept of a reply that is an error: for people, since it is not read again.
FAILED_BYTES_KEPT = 5_000_000
_END_RETRY_SECONDS_MAX = 600.0
_ADMITTED = (Answer.ADMITTED, Answer.WRITTEN)

_log = get("robustness")


class _EndedCall(NamedTuple):
    """A call's end, its reply as it came, with the request's ``secrets`` in it, and its answers."""

    end: End
    reply: HttpReply | None
    secrets: Sequence[str]
    purchase: Purchase | None


class Ledger:
    """Group committers over ``store.calls.ledger``."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._requests: GroupCommitter[AdmissionRequest, Decision] = GroupCommitter(self._admit)
        self._ends: GroupCommitter[_EndedCall, bool] = GroupCommitter(
            self._end, delay_seconds=OUTCOME_SECONDS, retry_seconds_max=_END_RETRY_SECONDS_MAX
        )
        self._lookups: GroupCommitter[bytes, tuple[datetime, StoredReply] | None] = GroupCommitter(
            self._find
        )

    async def admit(
        self,
        call: ProviderCall[T],
        scope: CallScope,
        policy: ProviderPolicy,
        fresh_since: datetime | None,
    ) -> Intent:
        """Wait for a slot; the intent under which the call may now be made.

        ``fresh_since``: a stored reply from then on serves as well. Raises ``CallRefused``:
        ``Limited`` when the slot would come later than ``limiter.WAIT_SECONDS_MAX`` from now.
        """
        give_up_at = self._clock.monotonic() + limiter.WAIT_SECONDS_MAX
        has_slot = False
        while True:
            intent = intent_of(call, scope, policy, self._clock.now())
            decision = await self._decision(
                AdmissionRequest(intent, limits_of(policy), fresh_since, call.third_party, has_slot)
            )
            if decision.answer in _ADMITTED:
                return intent
            is_slot = decision.answer is Answer.SLOT
            waits = is_slot or (decision.answer is Answer.LIMITED and not has_slot)
            if not waits or self._clock.monotonic() + decision.wait_seconds > give_up_at:
                raise refusal(policy, decision, intent.credits, self._clock.now())
            await self._clock.sleep(max(0.0, decision.wait_seconds))
            has_slot = is_slot

    def end(
        self,
        end: End,
        reply: HttpReply | None = None,
        secrets: Sequence[str] = (),
        purchase: Purchase | None = None,
    ) -> asyncio.Future[bool]:
        """Make a call's end durable; True unless the call had its outcome already."""
        ended = self._ends.put(_EndedCall(end, reply, secrets, purchase))
        ended.add_done_callback(partial(_log_loss, end.id))
        return ended

    async def find(self, key: bytes, *, large: bool = False) -> tuple[datetime, HttpReply] | None:
        """The latest usable reply under ``key`` and when it came, or None.

        With ``large`` its body is on disk, unless it is quite small.
        """
        found = await self._lookups.put(key)
        if found is None:
            return None
        came_at, stored = found
        if stored.size_bytes <= PACKED_AT_ONCE_BYTES:
            return came_at, unpack(stored)
        return came_at, await asyncio.to_thread(unpack, stored, large=large)

    async def store(self, purchase: Purchase) -> None:
        """Store what a reply brought that the ledger has had for a while."""

        async def once() -> None:
            async with self._db.statement() as conn:
                await reference.store(conn, purchase)

        await retry_transient(once, RETRY_SECONDS_MAX)

    async def flush(self) -> None:
        """Wait until every end handed over so far is durable or given up.

        An end is given up when the database did not take it for ten minutes, or never takes it. It
        is logged, and the call becomes ``unknown``.
        """
        await self._ends.flush()

    async def _decision(self, request: AdmissionRequest) -> Decision:
        try:
            return await self._requests.put(request)
        except BaseException:
            # Cancelled, or given up: the intent may be there, and nobody will send its call.
            with suppress(OverflowError):  # it becomes unknown with its chunk's next owner
                self.end(End(request.intent.id))
            raise

    async def _admit(self, requests: Sequence[AdmissionRequest]) -> list[Decision]:
        """The group's statement. What an earlier try of this very group had committed (its
        acknowledgement was lost) stays as it is."""
        async with self._db.statement() as conn:
            return await ledger.admit(
                conn,
                requests,
                horizon_seconds=limiter.HORIZON_SECONDS,
                at=time_override(self._clock),
            )

    async def _end(self, group: Sequence[_EndedCall]) -> list[bool]:
        if any(one.end.status is None for one in group):
            # The admission of a cancelled call may still be under way: it is undone afterwards.
            await self._requests.flush()
        size_bytes = sum(one.reply.size_bytes for one in group if one.reply)
        if size_bytes > PACKED_AT_ONCE_BYTES:
            replies = await asyncio.to_thread(_packed, group)
        else:
            replies = _packed(group)
        async with self._db.statement() as conn:
            purchases = [one.purchase for one in group if one.purchase]
            ended = await ledger.end_calls(conn, [one.end for one in group], replies, purchases)
        return [one.end.id in ended for one in group]

    async def _find(self, keys: Sequence[bytes]) -> list[tuple[datetime, StoredReply] | None]:
        async with self._db.statement() as conn:
            found = await ledger.find_replies(conn, keys)
        return [found.get(key) for key in keys]


async def has_orphans(conn: Connection, clock: Clock) -> bool:
    """Whether ``reconcile`` may find something."""
    return await ledger.has_orphans(conn, before=_orphans_before(clock))


async def reconcile(db: Database, clock: Clock) -> int:
    """Give up the intents whose owner is gone (as ``unknown``); how many.

    That of a chunk shows by the chunk; one of no chunk is given up after ``ORPHAN_SECONDS``.
    """
    async with db.statement() as conn:
        return await ledger.reconcile(conn, now=clock.now(), before=_orphans_before(clock))


def _orphans_before(clock: Clock) -> datetime:
    return clock.now() - timedelta(seconds=ORPHAN_SECONDS)


def limits_of(policy: ProviderPolicy) -> Limits:
    """What the admission has to know of a provider's policy."""
    return Limits(
        rate=policy.rate_per_second,
        retry_share=policy.retry_share,
        retry_floor=policy.retry_floor,
        tokens_max=policy.retry_tokens_max,
    )


def _packed(group: Sequence[_EndedCall]) -> dict[UUID, StoredReply]:
    return {
        end.id: pack(
            reply,
            secrets,
            size_bytes_max=FAILED_BYTES_KEPT if end.status is CallStatus.FAILED else None,
        )
        for end, reply, secrets, _ in group
        if reply is not None
    }


def _log_loss(call_id: UUID, ended: asyncio.Future[bool]) -> None:
    error = None if ended.cancelled() else ended.exception()
    if error is not None:
        _log.error(
            "outcome lost", action="outcome_lost", call=str(call_id), reason=described(error)
        )
