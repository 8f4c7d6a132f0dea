"""Why a call was not admitted, as the exception that its caller gets."""

from datetime import datetime, timedelta
from decimal import Decimal

from serpline.domain.errors import CallRefused
from serpline.robustness import budget
from serpline.robustness.limiter import Limited
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls.budgets import Shortage
from serpline.store.calls.ledger import Answer, Decision

IN_FLIGHT_SECONDS = 2.0


class CallInFlight(CallRefused):
    """The same call is under way for a living owner; its reply will serve both."""


class ReplyCached(CallRefused):
    """The ledger has a reply that is fresh enough."""


class RetryBudgetSpent(CallRefused):
    """Too many of the provider's calls are retries already."""


def refusal(
    policy: ProviderPolicy, decision: Decision, credits_: Decimal, now: datetime
) -> CallRefused:
    """The refusal of a call for ``credits_``, saying when it may be made."""
    until = now + timedelta(seconds=decision.wait_seconds)
    match decision.answer:
        case Answer.CACHED:
            return ReplyCached("its reply is in the ledger", until=now)
        case Answer.IN_FLIGHT:
            again = now + timedelta(seconds=IN_FLIGHT_SECONDS)
            return CallInFlight("the same call is under way", until=again)
        case Answer.RETRIES:
            return RetryBudgetSpent(f"{policy.provider}: too many retries", until=until)
        case Answer.RESERVED | Answer.SPENT:
            is_spent = decision.answer is Answer.SPENT
            shortage = Shortage(decision.detail or "", is_spent)
            return budget.refusal(policy, shortage, credits_, now)
        case _:
            reason = decision.detail or "its rate is used up"
            return Limited(f"{policy.provider}: {reason}", until=until)
