"""Row 21: 90 days of a schedule in virtual time, with faults of every kind, and a replay.

News daily, video weekly and organic monthly, with different settings. The provider is down for
hours and days, fails searches, has no credits, slows calls down, cuts them. So lanes end by their
deadlines, and news are paused after failed runs. The worker is killed at named points and away for
hours and days; its clock is set; people pause, resume, edit and trigger. ``chaos.slot_plan`` draws
all of it from a seed. ``chaos.slot_audit`` and ``chaos.slot_lanes`` compute what must be.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from harness.figures import Figure, at_least, zero

from chaos.scorecard import Context, Row
from chaos.slot_audit import Audit, audit, rows_differing, tables
from chaos.slot_plan import DAYS, make_plan
from chaos.slot_world import slot_world
from chaos.standard_run import two_at_a_time

_SLOTS_MIN = 100
_OUTCOMES_MIN = 6
_ZEROS = {
    "slots missing": "missing",
    "slots nobody expected": "unexpected",
    "slots without an outcome": "undecided",
    "slots without a reason": "wordless",
    "slots called late that were looked at in time": "falsely_late",
    "slots called on time that nobody looked at": "falsely_on_time",
    "slots called paused that were not": "falsely_paused",
    "slots of a paused time that were not skipped": "falsely_unpaused",
    "lanes that ended before their deadline": "deadlines_early",
    "runs of one slot, beyond the first": "runs_twice",
    "runs without a slot": "runs_without_slot",
    "slots with another end than their run": "ends_differing",
    "figures computed although their searches failed": "scored_unsearched",
    "kills that did not happen": "deaths_missing",
    "credits that our ledger lacks": "credits_unexplained",
    "credits that only we count, beyond calls left unknown": "credits_uncharged",
    "credits of no slot": "credits_of_no_slot",
    "credits by which budgets and ledger differ": "budgets_differing",
    "batches charged twice": "batches_charged_twice",
}


@dataclass(frozen=True, slots=True)
class _Lived:
    audit: Audit
    rows: dict[str, list[str]]


async def campaign(context: Context) -> Sequence[Figure]:
    """Live every seed's 90 days; in the full form, some of them again."""
    seeds, replays = context.sized((2, 0), (20, 5))
    worlds = [(number, 1) for number in range(seeds)]
    worlds += [(number, 2) for number in range(replays)]
    lived = await two_at_a_time(_live(context, *world) for world in worlds)
    audits = [each.audit for each in lived]
    differing = sum(
        rows_differing(lived[number].rows, lived[seeds + number].rows) for number in range(replays)
    )
    outcomes = {outcome for each in audits for outcome in each.outcomes}
    return [
        at_least("slots of the shortest seed", min(each.slots for each in audits), _SLOTS_MIN),
        at_least("different outcomes with their reasons", len(outcomes), _OUTCOMES_MIN),
        at_least("lanes ended by their deadline", sum(each.deadlines for each in audits), 1),
        at_least("pauses after failed runs", sum(each.types_paused for each in audits), 1),
        *(zero(name, sum(getattr(each, key) for each in audits)) for name, key in _ZEROS.items()),
        *(
            [zero(f"rows differing between {replays} seeds and their replays", differing)]
            if replays
            else []
        ),
    ]


async def _live(context: Context, number: int, turn: int) -> _Lived:
    seed = f"{context.seed} {number}"
    folder = context.folder(f"seed-{number}-{turn}")
    async with (
        context.database() as url,
        slot_world(url, folder, make_plan(seed, number), seed, context.seed + number) as world,
    ):
        async with asyncio.timeout(600):
            await world.live()
        return _Lived(await audit(world), await tables(world.services.database))


ROW = Row(
    number=21,
    test=(
        f"{DAYS} days of a schedule (news daily, video weekly, organic monthly) in virtual time,"
        " with outages, no credits, deadlines, failures that pause news, kills, downtimes, clock"
        " steps, pauses and edits; 20 seeds"
    ),
    passes=(
        "every instant has one slot with an outcome and a true reason, and at most one run; the"
        " simulator's ledger and ours agree; a replay gives the same tables"
    ),
    campaign=campaign,
    switched_off=(
        "The cursor committed before the slots: a kill at `in slots` lost 1 of 6 slots. The slot"
        " committed before its run: a kill at `in run` left 1 of 8 slots without a run. No `follow`"
        " portion: 5 of 7 slots without the end of their run (5 to 7 days of one seed). A random"
        " run id: 20 rows differed from the replay. No pause after failed runs: 7 slots of a paused"
        " time were not skipped. Deadlines two hours early: 3 of 3 lanes (14 days of one seed)."
    ),
    covered_by=(
        "tests/faults/test_schedule_ticks.py",
        "tests/integration/scheduling/test_clock_changes.py",
        "tests/integration/scheduling/test_daylight.py",
        "tests/integration/scheduling/test_tick.py",
        "tests/integration/scheduling/test_changes.py",
        "tests/integration/pipeline/test_orchestrator.py::test_a_lane_past_its_deadline_fails_its_unfinished_items",
        "tests/walk/test_provider_downtime.py::test_every_missed_day_has_the_results_of_its_day",
        "tests/faults/test_kill_each_phase.py",
    ),
)
