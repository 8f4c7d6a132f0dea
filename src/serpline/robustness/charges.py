"""Credits that a provider spends by itself: it starts a batch by its own calendar.

No call of ours is charged, so the ledger gets an entry for the start: once by its result set, and
in the budgets of the day on which the provider made it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from serpline.core.ids import derived_id, digest
from serpline.robustness import budget
from serpline.robustness.calls import CallScope
from serpline.robustness.groups import RETRY_SECONDS_MAX, retry_transient
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls import ledger
from serpline.store.calls.ledger import Intent
from serpline.store.database import Database

OPERATION = "scheduled_start"
# Providers keep results for two weeks. An older time is not believed.
_AGE_MAX = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Start:
    """A start that the provider made, and charged ``credits`` for."""

    batch_id: str
    result_set_id: int
    started_at: datetime
    credits: float


async def charge_start(
    db: Database, policy: ProviderPolicy, start: Start, scope: CallScope, now: datetime
) -> None:
    """Write a start to the ledger and to its budgets, unless it is there.

    ``scope``: the run that takes its results. Without one it belongs to no run until a run does.
    A statement of its own, because all workers share the budgets.
    """
    whole = digest([policy.provider, OPERATION, start.batch_id, start.result_set_id])
    at = min(max(start.started_at, now - _AGE_MAX), now)
    entry = Intent(
        id=derived_id(OPERATION, policy.provider, start.batch_id, str(start.result_set_id)),
        key=bytes.fromhex(whole),
        provider=policy.provider,
        operation=OPERATION,
        identity=sha256(whole.encode()).digest(),
        freshness=scope.freshness,
        shared=False,
        run_id=scope.run_id,
        chunk_id=scope.chunk_id,
        epoch=scope.epoch,
        started_at=at,
        credits=budget.amount(min(start.credits, float(budget.BILL_MAX))),
        scopes=budget.scopes(policy, scope.run_id, at, scope.backfill_id),
    )

    async def once() -> None:
        async with db.statement() as conn:
            await ledger.charge_start(conn, entry, now)

    await retry_transient(once, RETRY_SECONDS_MAX)
