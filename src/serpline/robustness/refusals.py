"""The exceptions for calls that were not admitted."""

from datetime import datetime, timedelta
from decimal import Decimal

from serpline.domain.errors import CallRefused
from serpline.domain.waits import WaitCause, WaitReason
from serpline.robustness import budget
from serpline.robustness.limiter import QUOTA_USED_UP, Limited
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls.budgets import Shortage
from serpline.store.calls.ledger import Answer, Decision

IN_FLIGHT_SECONDS = 2.0


class CallInFlight(CallRefused):
    """The same call is in flight for a running owner. Its reply will serve both."""


class ReplyCached(CallRefused):
    """The ledger has a fresh enough reply."""


class RetryBudgetSpent(CallRefused):
    """The content type's retry budget at the provider is used up."""


def refusal(
    policy: ProviderPolicy, decision: Decision, credits_: Decimal, now: datetime
) -> CallRefused:
    """The refusal of a call for ``credits_``, with the time of the next try."""
    until = now + timedelta(seconds=decision.wait_seconds)
    match decision.answer:
        case Answer.CACHED:
            return ReplyCached("its reply is in the ledger", until=now)
        case Answer.IN_FLIGHT:
            again = now + timedelta(seconds=IN_FLIGHT_SECONDS)
            return CallInFlight("the same call is in flight", until=again)
        case Answer.RETRIES:
            rate = WaitReason(WaitCause.RATE, policy.provider)
            return RetryBudgetSpent(f"{policy.provider}: too many retries", until=until, wait=rate)
        case Answer.RESERVED | Answer.SPENT:
            is_spent = decision.answer is Answer.SPENT
            shortage = Shortage(decision.detail or "", is_spent)
            return budget.refusal(policy, shortage, credits_, now)
        case _:
            reason = decision.detail or "its rate is used up"
            cause = WaitCause.QUOTA if reason == QUOTA_USED_UP else WaitCause.RATE
            wait = WaitReason(cause, policy.provider)
            return Limited(f"{policy.provider}: {reason}", until=until, wait=wait)
