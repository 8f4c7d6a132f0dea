"""The task that observes slots and makes proposals. One worker at a time runs it.

Level-triggered: a slot that is over and not observed is observed, a content type with enough new
observations is looked at, an open proposal with nothing left to change expires. The rows that say
so stay as they are until the transaction that does it commits.

It runs every ``EVERY_SECONDS``, apart from the tick, because nobody waits for a proposal. With
nothing to do it makes a few statements on small partial indexes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.errors import UserError
from serpline.domain.schedules import ProposalStatus
from serpline.scheduling.adjustment import ALPHA, SLOTS_MAX, Observation, find_patterns, look_after
from serpline.scheduling.evidence import evidence_of, sentence_of
from serpline.scheduling.observing import observation, zone_of
from serpline.scheduling.proposals import proposal_event
from serpline.scheduling.proposed_change import apply_change, change_for
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.database import Connection, Database
from serpline.store.maintenance import housekeeping
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import observations, proposals
from serpline.store.schedules.observations import LaneToLookAt, Window
from serpline.store.schedules.proposals import NewProposal

log = get(__name__)

TASK: Final = "proposals"
EVERY_SECONDS: Final = 300.0
BUSY_SECONDS: Final = 10.0
# How long the task waits after it used up ``BUSY_SECONDS``.
NEXT_SECONDS: Final = 5.0
_SLOTS_AT_ONCE: Final = 200
_LANES_AT_ONCE: Final = 20
_OPEN_MAX: Final = 200


class Adjuster:
    """Makes the proposals of all schedules."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def register(self) -> None:
        """Store the task, so that the timer wakes it."""
        async with self._database.transaction() as conn:
            await housekeeping.ensure(conn, TASK, EVERY_SECONDS, EVERY_SECONDS)

    async def run(self) -> None:
        """Handle the task's wake-up: observe, look, expire, for ``BUSY_SECONDS`` at most."""
        busy_until = self._clock.monotonic() + BUSY_SECONDS
        is_done = False
        while not is_done and self._clock.monotonic() < busy_until:
            async with self._database.transaction() as conn:
                if await housekeeping.hold(conn, TASK) is None:
                    return
                is_done = await self._portion(conn)

    async def _portion(self, conn: Connection) -> bool:
        """Do one portion and set the next check; return whether nothing is left."""
        now = self._clock.now()
        observed = await observations.observe(conn, _SLOTS_AT_ONCE)
        lanes = await observations.to_look_at(conn, _LANES_AT_ONCE)
        written = await _expire(conn, now)
        if lanes:
            made = await proposals.insert(conn, await _look(conn, lanes), now)
            written += [proposal_event("made", number, proposal) for number, proposal in made]
        is_done = observed < _SLOTS_AT_ONCE and len(lanes) < _LANES_AT_ONCE
        await housekeeping.write(conn, TASK, {}, EVERY_SECONDS if is_done else NEXT_SECONDS)
        await events.append(conn, written)
        return is_done


async def _look(conn: Connection, lanes: Sequence[LaneToLookAt]) -> list[NewProposal]:
    """Look for patterns in each lane; return the clearest that a change may end."""
    wanted = [Window(ln.schedule_id, ln.content_type, ln.version, ln.since) for ln in lanes]
    found = await observations.windows(conn, wanted, SLOTS_MAX)
    proposed, looks = [], []
    for lane, slots in zip(lanes, found, strict=True):
        look, following = look_after(lane.observed_slots)
        looks.append((lane.schedule_id, lane.content_type, following))
        try:
            zone = zone_of(lane.specs, lane.content_type)
            proposal = propose(lane, [observation(slot, zone) for slot in slots], look)
        except UserError as error:
            # The newest specifications cannot be read any more. The tick reports it.
            log.warning("proposals.unreadable", action="proposals.unreadable", error=str(error))
            continue
        except Exception:
            # One schedule must not keep the others from being looked at.
            log.exception("proposals.error", action="proposals.error", schedule=lane.schedule_id)
            continue
        if proposal is not None:
            proposed.append(proposal)
    await observations.looked(conn, looks)
    return proposed


def propose(lane: LaneToLookAt, seen: Sequence[Observation], look: int) -> NewProposal | None:
    """Return the change that may end the clearest pattern of a content type, or None."""
    specs = [ScheduleSpec.from_json(document) for document in lane.specs]
    types = {kind for spec in specs for kind in spec.content_types}
    if lane.content_type not in types:
        return None
    # The content types of a schedule share the probability of a proposal by chance.
    for pattern in find_patterns(seen, look, ALPHA / len(types)):
        change = change_for(pattern, lane.content_type, lane.specs, seen)
        if change is not None:
            return NewProposal(
                lane.schedule_id,
                lane.content_type,
                change.kind,
                change.values,
                {
                    "version": lane.version,
                    **evidence_of(pattern),
                    "summary": f"{sentence_of(pattern)}: {change.sentence}",
                },
            )
    return None


async def _expire(conn: Connection, now: datetime) -> list[Event]:
    """Expire open proposals of which a person's edit left nothing to change."""
    written = []
    for proposal, specs in await proposals.open_with_specs(conn, _OPEN_MAX):
        try:
            changed = apply_change(specs, proposal.content_type, proposal.kind, proposal.change)
        except UserError:
            continue
        if changed is None and await proposals.decide(
            conn, proposal.id, ProposalStatus.OPEN, ProposalStatus.EXPIRED, now
        ):
            written.append(proposal_event("expired", proposal.id, proposal))
    return written
