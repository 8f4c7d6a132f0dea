"""The call ledger of this process: admits, ends and finds calls in groups.

Promise: when ``admit`` returns, the call's slot is due and its intent and reserved credits are
durable. At that instant the provider was not paused, no stored reply of the key was fresh enough,
no call of the same key was in flight, no budget was overdrawn and the retry budget had room.
Refused calls leave no row. When the future of ``end`` resolves, one transaction has stored the end,
the credits, the raw reply (compressed, secrets replaced) and the reference data in it. A worker's
death cannot separate them, so nothing is bought twice.

The statement that finds a slot due also admits the call. If the slot lies ahead, the caller sleeps
and asks again, because a 429 may have come. The server computes the wait, so worker clocks do not
matter.

Limits: an end waits up to ``OUTCOME_SECONDS`` to join a group; ``flush`` cuts that short. Intents
of a process killed in that time become ``unknown``.
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
from serpline.store.calls import ledger, reference, replies
from serpline.store.calls.ledger import (
    AdmissionRequest,
    Answer,
    Decision,
    End,
    Intent,
    Limits,
)
from serpline.store.calls.reference import Purchase
from serpline.store.calls.replies import Lookup, StoredReply
from serpline.store.clock import time_override
from serpline.store.database import Connection, Database
from serpline.store.tables.guards import CallStatus

T = TypeVar("T")

OUTCOME_SECONDS = 0.25
# An intent without a chunk has no owner to check. After this time its caller counts as gone.
ORPHAN_SECONDS = 900.0
# How much of an error's body is stored. Only people read it.
FAILED_BYTES_KEPT = 5_000_000
_END_RETRY_SECONDS_MAX = 600.0
_ADMITTED = (Answer.ADMITTED, Answer.WRITTEN)

_log = get("robustness")


class _EndedCall(NamedTuple):
    """A call's end, its unredacted reply, the request's ``secrets`` and the reference data."""

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
        self._lookups: GroupCommitter[Lookup, tuple[datetime, StoredReply] | None] = GroupCommitter(
            self._find
        )

    async def admit(
        self,
        call: ProviderCall[T],
        scope: CallScope,
        policy: ProviderPolicy,
        fresh_since: datetime | None,
    ) -> Intent:
        """Wait for a slot. Returns the intent that allows the call now.

        ``fresh_since``: a stored reply from then on refuses the call as cached. Raises
        ``CallRefused``: ``Limited`` when the slot is more than ``limiter.WAIT_SECONDS_MAX`` away.
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
        """Make a call's end durable. The future is False if the call already had its outcome."""
        ended = self._ends.put(_EndedCall(end, reply, secrets, purchase))
        ended.add_done_callback(partial(_log_loss, end.id))
        return ended

    async def find(
        self, lookup: Lookup, *, large: bool = False
    ) -> tuple[datetime, HttpReply] | None:
        """The latest usable reply and when it came, or None.

        With ``large`` its body is on disk, unless it has at most ``PACKED_AT_ONCE_BYTES``.
        """
        found = await self._lookups.put(lookup)
        if found is None:
            return None
        came_at, stored = found
        if stored.size_bytes <= PACKED_AT_ONCE_BYTES:
            return came_at, unpack(stored)
        return came_at, await asyncio.to_thread(unpack, stored, large=large)

    async def store(self, purchase: Purchase) -> None:
        """Store the reference data of a reply that was already in the ledger."""

        async def once() -> None:
            async with self._db.statement() as conn:
                await reference.store(conn, purchase)

        await retry_transient(once, RETRY_SECONDS_MAX)

    async def flush(self) -> None:
        """Wait until every end queued so far is durable or given up.

        An end is given up after ten minutes without the database, or if it cannot be stored. It is
        logged, and the call becomes ``unknown``.
        """
        await self._ends.flush()

    async def _decision(self, request: AdmissionRequest) -> Decision:
        try:
            return await self._requests.put(request)
        except BaseException:
            # Cancelled or given up: the intent may exist, and its call will not be sent.
            with suppress(OverflowError):  # the chunk's next owner makes it unknown
                self.end(End(request.intent.id))
            raise

    async def _admit(self, requests: Sequence[AdmissionRequest]) -> list[Decision]:
        """Admit the group in one statement. It leaves calls alone that an earlier try admitted
        before its acknowledgement was lost."""
        async with self._db.statement() as conn:
            return await ledger.admit(
                conn,
                requests,
                horizon_seconds=limiter.HORIZON_SECONDS,
                at=time_override(self._clock),
            )

    async def _end(self, group: Sequence[_EndedCall]) -> list[bool]:
        if any(one.end.status is None for one in group):
            # The admission of a cancelled call may be in flight: undo it afterwards.
            await self._requests.flush()
        size_bytes = sum(one.reply.size_bytes for one in group if one.reply)
        if size_bytes > PACKED_AT_ONCE_BYTES:
            packed = await asyncio.to_thread(_packed, group)
        else:
            packed = _packed(group)
        async with self._db.statement() as conn:
            purchases = [one.purchase for one in group if one.purchase]
            ended = await ledger.end_calls(conn, [one.end for one in group], packed, purchases)
        return [one.end.id in ended for one in group]

    async def _find(self, lookups: Sequence[Lookup]) -> list[tuple[datetime, StoredReply] | None]:
        async with self._db.statement() as conn:
            found = await replies.find_replies(conn, lookups)
        return [found.get(lookup) for lookup in lookups]


async def has_orphans(conn: Connection, clock: Clock) -> bool:
    """Whether ``reconcile`` has anything to do."""
    return await ledger.has_orphans(conn, before=_orphans_before(clock))


async def reconcile(db: Database, clock: Clock) -> int:
    """Make intents whose owner is gone ``unknown``. Returns how many.

    A chunk's intent loses its owner with the chunk. Others are given up after ``ORPHAN_SECONDS``.
    """
    async with db.statement() as conn:
        return await ledger.reconcile(conn, now=clock.now(), before=_orphans_before(clock))


def _orphans_before(clock: Clock) -> datetime:
    return clock.now() - timedelta(seconds=ORPHAN_SECONDS)


def limits_of(policy: ProviderPolicy) -> Limits:
    """The part of a provider's policy that the admission uses."""
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
