"""Whatever the clock does, every instant has one slot, and no slot starts twice."""

import random
from datetime import datetime, timedelta

import pytest
from harness.schedules import MORNING, Schedules, spec

from serpline.scheduling.occurrences import occurrences

STEPS = {
    "an hour ahead": timedelta(hours=1),
    "an hour back": timedelta(hours=-1),
    "a day ahead": timedelta(days=1),
    "a day back": timedelta(days=-1),
    "five seconds back": timedelta(seconds=-5),
    "suspended for three days": timedelta(days=3),
}
RULES = [
    {"catch_up": "none"},
    {"catch_up": "latest", "overlap": "buffer_one"},
    {"catch_up": "all", "overlap": "allow"},
    {"catch_up": {"within": "1d", "max": 3}, "jitter": "20m"},
]


async def check(schedules: Schedules, since: datetime, until: datetime) -> None:
    """Every instant has exactly one slot with an outcome, and every run one slot."""
    for number, rule in enumerate(RULES):
        slots = await schedules.slots(f"s{number}")
        expected = []
        for found in occurrences(spec(frequency="interval", interval="1h", **rule), since):
            if found.scheduled_for > until:
                break
            expected.append(found.scheduled_for)
        assert [slot["scheduled_for"] for slot in slots] == expected
        assert all(slot["reason"] for slot in slots)
        runs = [slot["run_id"] for slot in slots if slot["outcome"] == "started"]
        assert len(set(runs)) == len(runs)
        assert None not in runs
    started = "SELECT run_id FROM schedule_slots WHERE outcome = 'started'"
    assert len(await schedules.query(started)) == len(await schedules.runs())


@pytest.mark.parametrize("name", STEPS)
async def test_one_step(schedules: Schedules, name: str) -> None:
    """A step of the clock between two ticks loses and repeats nothing, and later instants start."""
    for number, rule in enumerate(RULES):
        await schedules.service.add(f"s{number}", spec(frequency="interval", interval="1h", **rule))
    for _ in range(3):
        await schedules.after(minutes=31)
        await schedules.end_runs()
    latest = schedules.clock.at
    for step in (STEPS[name], timedelta(0), -STEPS[name]):
        await schedules.at(schedules.clock.at + step)
        latest = max(latest, schedules.clock.at)
        await schedules.end_runs()
    last = latest + timedelta(hours=3)
    while schedules.clock.at < last:
        await schedules.after(minutes=10)
        await schedules.end_runs()
    await schedules.after(minutes=21)
    await check(schedules, MORNING, schedules.clock.at)
    newest = [(await schedules.slots(f"s{number}"))[-2] for number in range(len(RULES))]
    assert {slot["outcome"] for slot in newest} == {"started"}


@pytest.mark.parametrize("seed", range(3))
async def test_many_steps(schedules: Schedules, seed: int) -> None:
    """Forty seeded steps in both directions, with runs that end now and then."""
    chance = random.Random(seed)
    for number, rule in enumerate(RULES):
        await schedules.service.add(f"s{number}", spec(frequency="interval", interval="1h", **rule))
    latest = schedules.clock.at
    for _ in range(40):
        step = chance.choice([*STEPS.values(), *[timedelta(minutes=chance.randint(1, 90))] * 6])
        await schedules.at(max(MORNING, schedules.clock.at + step))
        latest = max(latest, schedules.clock.at)
        if chance.random() < 0.6:
            await schedules.end_runs()
    await schedules.at(latest)
    await check(schedules, MORNING, latest)
