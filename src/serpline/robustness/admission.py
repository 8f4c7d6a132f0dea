"""The way in: a call's slot, its retry token, its intent and its credits, in one statement.

Promise: when ``admit`` returns, the call's slot has come, its intent and its reserved credits are
durable, and at that instant the provider was not paused, the key was neither bought nor being
bought by somebody else, no budget was overdrawn and the retry budget had room. What is refused
leaves no row; nor does, once ``withdraw`` has been heard, what the database did not answer.

A slot that has come is used in the statement that gives it. One that lies ahead is waited for,
and then the call asks once more: a 429 recorded meanwhile holds for it too. How long to wait is the
server's answer, so no machine's clock has a say in it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from serpline.core.clock import Clock
from serpline.domain.errors import CallRefused
from serpline.robustness import budget, limiter
from serpline.robustness.groups import GroupCommitter
from serpline.robustness.limiter import Limited
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls import ledger
from serpline.store.calls.budgets import Shortage
from serpline.store.calls.ledger import Answer, Decision, Intent, Limits
from serpline.store.clock import given_time
from serpline.store.database import Database

BUSY_SECONDS = 2.0


class BeingBought(CallRefused):
    """Somebody alive is making the same call; its reply will serve both."""


class AlreadyBought(CallRefused):
    """The ledger has a reply that is fresh enough."""


class RetryBudgetSpent(CallRefused):
    """Too many of the provider's calls are retries already."""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """A call that would be made, and the policy it goes by."""

    wanted: ledger.Wanted
    policy: ProviderPolicy


class Admission:
    """All calls of this process that want to be made, in groups."""

    def __init__(self, db: Database, clock: Clock, withdraw: Callable[[UUID], object]) -> None:
        """``withdraw`` is told the admitted calls whose callers have gone meanwhile, and those that
        may have been admitted unheard: none of them will be sent."""
        self._db = db
        self._clock = clock
        self._withdraw = withdraw
        self._requests: GroupCommitter[AdmissionRequest, Decision] = GroupCommitter(
            self._admit, abandoned=self._abandoned, given_up=self._take_back
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
        give_up_at = self._clock.monotonic() + limiter.WAIT_SECONDS_MAX
        has_slot = False
        while True:
            intent = intent_at(self._clock.now())
            wanted = ledger.Wanted(intent, fresh_since, elsewhere, has_slot)
            decision = await self._decision(AdmissionRequest(wanted, policy))
            if decision.answer in _ADMITTED:
                return intent
            is_slot = decision.answer is Answer.SLOT
            waits = is_slot or (decision.answer is Answer.LIMITED and not has_slot)
            if not waits or self._clock.monotonic() + decision.wait_seconds > give_up_at:
                raise self._refusal(policy, decision, intent.credits)
            await self._clock.sleep(max(0.0, decision.wait_seconds))
            has_slot = is_slot

    async def _decision(self, request: AdmissionRequest) -> Decision:
        deciding = self._requests.put(request)
        try:
            return await deciding
        except asyncio.CancelledError:
            if not deciding.cancelled() and not deciding.exception():
                # Answered in the very instant in which its caller went.
                self._abandoned(request, deciding.result())
            raise

    async def flush(self) -> None:
        """Wait until every request so far is answered."""
        await self._requests.flush()

    def _abandoned(self, request: AdmissionRequest, decision: Decision) -> None:
        if decision.answer in _ADMITTED:
            self._take_back(request)

    def _take_back(self, request: AdmissionRequest) -> None:
        with suppress(OverflowError):  # it becomes unknown with its chunk's next owner
            self._withdraw(request.wanted.intent.id)

    async def _admit(self, requests: Sequence[AdmissionRequest]) -> list[Decision]:
        """The group's statement. What an earlier try of this very group had committed (its
        acknowledgement was lost) stays as it is."""
        limits = {request.policy.provider: _limits(request.policy) for request in requests}
        async with self._db.statement() as conn:
            return await ledger.admit(
                conn,
                [request.wanted for request in requests],
                limits,
                horizon_seconds=limiter.HORIZON_SECONDS,
                at=given_time(self._clock),
            )

    def _refusal(
        self, policy: ProviderPolicy, decision: Decision, credits_: Decimal
    ) -> CallRefused:
        now = self._clock.now()
        until = now + timedelta(seconds=decision.wait_seconds)
        match decision.answer:
            case Answer.BOUGHT:
                return AlreadyBought("its reply is in the ledger", until=now)
            case Answer.BUSY:
                again = now + timedelta(seconds=BUSY_SECONDS)
                return BeingBought("the same call is under way", until=again)
            case Answer.RETRIES:
                return RetryBudgetSpent(f"{policy.provider}: too many retries", until=until)
            case Answer.HELD | Answer.SPENT:
                is_spent = decision.answer is Answer.SPENT
                shortage = Shortage(decision.detail or "", is_spent)
                return budget.refusal(policy, shortage, credits_, now)
            case _:
                reason = decision.detail or "its rate is used up"
                return Limited(f"{policy.provider}: {reason}", until=until)


_ADMITTED = (Answer.ADMITTED, Answer.WRITTEN)


def _limits(policy: ProviderPolicy) -> Limits:
    return Limits(
        rate=policy.rate_per_second,
        retry_share=policy.retry_share,
        retry_floor=policy.retry_floor,
        tokens_max=policy.retry_tokens_max,
    )
