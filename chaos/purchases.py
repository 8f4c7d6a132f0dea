"""What runs paid for, what they paid again, and which paid replies died with their worker.

The simulator's call log and account are the auditor. A call may be paid again only if its first
reply died with its worker: the simulator charged it, and no reply to it was committed at that
death.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from harness.world import World

from serpline.core.clock import SystemClock
from serpline.simulator.journal import CallEntry, iso

ARRIVAL_SECONDS = 0.1
# On an idle machine a reply is committed within a quarter of a second.
STALE_SECONDS = 5.0
Purchase = tuple[str, str]
STARTED: Purchase = ("scaleserp", "start_batch")


def purchases_of(entry: CallEntry) -> list[Purchase]:
    """The purchases of one charged call: each volume, video or channel, otherwise the call.

    After a death they may be grouped into calls differently.
    """
    if entry.credits <= 0:
        return []
    if entry.provider == "youtube":
        return [(f"youtube/{entry.operation}", part) for part in str(entry.params["id"]).split(",")]
    if entry.operation == "search_volume":
        asked = json.loads(entry.identity.partition(" ")[2])
        market = f"volume/{asked['location_code']}/{asked['language_code']}"
        return [(market, keyword) for keyword in asked["keywords"]]
    return [(entry.provider, entry.identity)]


def count_purchases(entries: Sequence[CallEntry]) -> Counter[Purchase]:
    """How often each purchase was paid, in a form that runs share.

    A batch's id derives from its run's, so all starts of batches count as one purchase.
    """
    return Counter(
        STARTED if entry.operation == STARTED[1] else thing
        for entry in entries
        for thing in purchases_of(entry)
    )


def paid_again(entries: Sequence[CallEntry]) -> Counter[str]:
    """Charged calls of which a later call bought something again, by provider."""
    seen: set[Purchase] = set()
    again: Counter[str] = Counter()
    for entry in reversed(entries):
        bought = set(purchases_of(entry))
        again[entry.provider] += bool(bought & seen)
        seen |= bought
    return again


async def unrecorded_calls(world: World) -> Counter[str]:
    """Calls that the simulator charged and whose reply is not in our tables, by provider."""
    rows = await world.query(
        "SELECT c.provider, count(*) AS calls FROM provider_calls c"
        " JOIN raw_replies r ON r.call_id = c.id WHERE c.status = 'ok' AND c.credits > 0 GROUP BY 1"
    )
    charged = Counter(entry.provider for entry in world.sim.log if entry.credits > 0)
    return charged - Counter({row["provider"]: row["calls"] for row in rows})


@dataclass(slots=True)
class Losses:
    """Charged calls of one run whose replies died with their worker, by provider.

    ``stale`` counts replies that came so long before the death that the running worker lost them.
    ``ages_seconds`` holds the seconds from each reply to the death. A lost reply may be paid again,
    so this bound, unlike the count of such calls, does not grow with the losses.
    """

    calls: Counter[str] = field(default_factory=Counter)
    stale: int = 0
    ages_seconds: list[float] = field(default_factory=list)

    async def count(self, world: World) -> None:
        """Count the losses of a death, while no worker runs."""
        died_at = SystemClock().now()
        # The last calls of the dead worker may still be on their way to the simulator's log.
        await asyncio.sleep(ARRIVAL_SECONDS)
        since = iso(SystemClock().now() - timedelta(seconds=STALE_SECONDS))
        found = await unrecorded_calls(world)
        # A reply that a fault withholds was never sent, so it cannot be lost.
        kept = Counter(entry.provider for entry in world.sim.log if entry.fault)
        for provider, lost in (found - self.calls - kept).items():
            charged = [e for e in world.sim.log if e.provider == provider and e.credits > 0]
            self.ages_seconds += [
                (died_at - datetime.fromisoformat(entry.at)).total_seconds()
                for entry in charged[-lost:]
            ]
        # A call with a fault has a withheld reply.
        fresh = Counter(e.provider for e in world.sim.log if e.at > since or e.fault)
        self.stale += (found - self.calls - fresh).total()
        self.calls = found
