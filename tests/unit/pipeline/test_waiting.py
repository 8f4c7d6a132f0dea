"""What a run waits for: from facts to sentences."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey, lanes_of
from serpline.domain.states import BreakerState, LaneStatus, RunStatus
from serpline.domain.waits import (
    BatchFact,
    BreakerFact,
    BudgetFact,
    ChunkGroup,
    RunFacts,
    WaitCause,
    WaitReason,
    most_telling,
    waits_of,
)
from serpline.pipeline.waiting import WaitLog, document, lines

NOW = datetime(2026, 11, 30, 21, 0, tzinfo=UTC)
SOON, TOMORROW = NOW + timedelta(minutes=6), NOW + timedelta(hours=3)
METRICS = LaneKey(PhaseName.KEYWORD_METRICS, ContentType.ALL)
SERP = LaneKey(PhaseName.SERP_COLLECTION, ContentType.NEWS)
ORGANIC = LaneKey(PhaseName.SERP_COLLECTION, ContentType.ORGANIC)
BREAKER = WaitReason(WaitCause.BREAKER, "dataforseo_api")
DAY = "scaleserp day:2026-11-30"


def facts(*groups: ChunkGroup, **given: Any) -> RunFacts:
    """A running run over news and organic, in which the lanes of ``groups`` run."""
    running = {group.lane for group in groups}
    lanes = {
        key: LaneStatus.RUNNING if key in running else LaneStatus.PENDING
        for key in lanes_of([ContentType.ORGANIC, ContentType.NEWS])
    }
    known = {"now": NOW, "status": RunStatus.RUNNING, "lanes": lanes, "groups": groups}
    return RunFacts(**{**known, **given})


def chunks(
    lane: LaneKey = SERP,
    cause: WaitCause | None = None,
    subject: str = "",
    *,
    owned: bool = False,
    due: bool = False,
    items: int = 40,
) -> ChunkGroup:
    """Chunks that wait until ``SOON``."""
    reason = WaitReason(cause, subject) if cause else None
    return ChunkGroup(lane, owned, due, reason, items, SOON)


def said(found: RunFacts) -> list[str]:
    """The sentences."""
    return lines(waits_of(found), NOW)


OPEN = {"dataforseo_api": BreakerFact(BreakerState.OPEN, SOON)}
BUDGET = {DAY: BudgetFact(Decimal(1500), Decimal("1499.50"))}
BATCHES = [BatchFact(SERP, 3, 5, NOW - timedelta(minutes=12)), BatchFact(ORGANIC, 1, 2, NOW)]
QUEUE = WaitCause.PROVIDER_QUEUE
RUN = "0198f2aa-0000-7000-8000-000000000000"

LATER = "; {} later steps wait for this"
PROBLEM = ("HTTP 500 " * 18)[:160]

CASES: dict[str, tuple[RunFacts, str]] = {
    "breaker": (
        facts(chunks(METRICS, WaitCause.BREAKER, "dataforseo_api"), breakers=OPEN),
        "waiting for dataforseo_api, breaker open until 21:06 UTC" + LATER.format(13),
    ),
    "breaker, being asked": (
        facts(chunks(METRICS, WaitCause.BREAKER, "dataforseo_api", owned=True), breakers=OPEN),
        "waiting for dataforseo_api, breaker open until 21:06 UTC" + LATER.format(13),
    ),
    "breaker, time over": (
        facts(
            chunks(SERP, WaitCause.BREAKER, "a"),
            breakers={"a": BreakerFact(BreakerState.OPEN, NOW)},
        ),
        "waiting for a, breaker open: the next calls test it" + LATER.format(6),
    ),
    "breaker, half-open": (
        facts(
            chunks(SERP, WaitCause.BREAKER, "a"),
            breakers={"a": BreakerFact(BreakerState.HALF_OPEN)},
        ),
        "waiting for a, breaker half_open: the next calls test it" + LATER.format(6),
    ),
    "breaker, by hand": (
        facts(
            chunks(SERP, WaitCause.BREAKER, "a"), breakers={"a": BreakerFact(BreakerState.ISOLATED)}
        ),
        "waiting for a, isolated by hand; 'serpline breakers reset' closes it" + LATER.format(6),
    ),
    "budget": (
        facts(chunks(SERP, WaitCause.BUDGET, DAY), budgets=BUDGET),
        "waiting for credits: the limit of scaleserp for 2026-11-30 is used up"
        " (1,499.5 of 1,500 credits) until 2026-12-01 00:00 UTC; raise SERPLINE_CREDITS_PER_DAY and"
        " restart the workers to go on now" + LATER.format(6),
    ),
    "budget of another zone": (
        facts(chunks(SERP, WaitCause.BUDGET, "youtube day:2026-11-30")),
        "waiting for credits: the limit of youtube for 2026-11-30 is used up until 2026-12-01 08:00"
        " UTC; raise SERPLINE_CREDITS_PER_DAY and restart the workers to go on now"
        + LATER.format(6),
    ),
    "budget of a month": (
        facts(chunks(SERP, WaitCause.BUDGET, "pdl month:2026-12")),
        "waiting for credits: the limit of pdl for 2026-12 is used up until 2027-01-01 00:00 UTC;"
        " raise SERPLINE_CREDITS_PER_MONTH and restart the workers to go on now" + LATER.format(6),
    ),
    "budget too small": (
        facts(chunks(SERP, WaitCause.BUDGET_TOO_SMALL, DAY), budgets=BUDGET),
        "waiting for credits: one call to scaleserp costs more than SERPLINE_CREDITS_PER_DAY"
        " allows (1,499.5 of 1,500 credits); raise it and restart the workers,"
        " or start a run with a smaller batch_size" + LATER.format(6),
    ),
    "quota": (
        facts(chunks(SERP, WaitCause.QUOTA, "youtube"), pauses={"youtube": TOMORROW}),
        "waiting for youtube, its quota is used up until 2026-12-01 00:00 UTC" + LATER.format(6),
    ),
    "no credits": (
        facts(chunks(SERP, WaitCause.QUOTA, "scaleserp")),
        "waiting for scaleserp, its quota is used up (asked again at 21:06 UTC)" + LATER.format(6),
    ),
    "incident": (
        facts(chunks(SERP, WaitCause.INCIDENT, "scaleserp")),
        "waiting for scaleserp, which reports an incident (asked again at 21:06 UTC)"
        + LATER.format(6),
    ),
    "one batch": (
        facts(chunks(SERP, QUEUE, "scaleserp"), batches=BATCHES[:1]),
        "batch 3 of 5 (news) at ScaleSERP since 12 min, polling" + LATER.format(6),
    ),
    "one batch, polled now": (
        facts(
            chunks(SERP, QUEUE, "scaleserp", owned=True),
            batches=[replace(BATCHES[0], error="HTTP 500 " * 100)],
        ),
        f"batch 3 of 5 (news) at ScaleSERP since 12 min, polling; last problem: {PROBLEM}…"
        + LATER.format(6),
    ),
    "one batch, not started": (
        facts(
            chunks(SERP, QUEUE, "scaleserp"),
            batches=[replace(BATCHES[0], since=None, error="HTTP 500")],
        ),
        "preparing batch 3 of 5 (news) at ScaleSERP; last problem: HTTP 500" + LATER.format(6),
    ),
    "batches": (
        facts(
            chunks(SERP, QUEUE, "scaleserp"), chunks(ORGANIC, QUEUE, "scaleserp"), batches=BATCHES
        ),
        "2 of 7 batches (news, organic) at ScaleSERP, the oldest since 12 min, polling"
        + LATER.format(11),
    ),
    "purchase": (
        facts(chunks(SERP, WaitCause.PURCHASE, RUN, owned=True)),
        "waiting for run 0198f2aa, which buys the same data" + LATER.format(6),
    ),
    "retry": (
        facts(chunks(SERP, WaitCause.RETRY), last_error="timeout"),
        "40 items wait for another attempt until 21:06 UTC (last error: timeout)" + LATER.format(6),
    ),
    "rate": (
        facts(chunks(SERP, WaitCause.RATE, "pdl"), pauses={}),
        "waiting for pdl, which takes no more calls until 21:06 UTC" + LATER.format(6),
    ),
    "capacity": (
        facts(chunks(SERP, due=True), others=7),
        "all workers are busy with other runs: more workers would start it sooner"
        + LATER.format(6),
    ),
    "no worker": (
        facts(chunks(METRICS, WaitCause.BREAKER, "a"), workers=0, silent_since=NOW),
        "no worker is running since 21:00 UTC: start one with 'serpline up'",
    ),
    "never a worker": (
        facts(status=RunStatus.PENDING, workers=0),
        "no worker is running: start one with 'serpline up'",
    ),
    "paused": (
        facts(chunks(), status=RunStatus.PAUSED, paused_at=NOW, paused_by="anna", workers=0),
        "paused by anna since 21:00 UTC; 'serpline run resume' continues it",
    ),
    "not started": (
        facts(status=RunStatus.PENDING, others=3),
        "all workers are busy with other runs: more workers would start it sooner",
    ),
    "working": (
        facts(chunks(SERP, owned=True), chunks(ORGANIC, due=True)),
        "working on 80 items of serp_collection/organic, serp_collection/news",
    ),
    "the reason is over": (
        facts(
            chunks(SERP, WaitCause.BREAKER, "a", owned=True),
            chunks(SERP, WaitCause.RETRY, due=True),
            chunks(SERP, WaitCause.BUDGET, DAY, owned=True),
            breakers={"a": BreakerFact(BreakerState.CLOSED)},
            others=3,
        ),
        "working on 120 items of serp_collection/news",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_cause_is_one_sentence(name: str) -> None:
    """Each cause has its sentence; the steps that wait with it are counted, not listed."""
    found, expected = CASES[name]
    assert said(found) == [expected]


def test_an_ended_run_waits_for_nothing() -> None:
    """Whatever its chunks say."""
    ended = facts(chunks(METRICS, WaitCause.BREAKER, "a"), status=RunStatus.CANCELLED, workers=0)
    assert said(ended) == []


def test_items_of_a_step_that_has_not_started_are_no_work() -> None:
    """After a retry they are there before the step starts. Nobody takes them."""
    retried = facts(chunks(METRICS, owned=True, items=2), chunks(SERP, due=True), others=3)
    lanes = {**retried.lanes, SERP: LaneStatus.PENDING}
    assert said(replace(retried, lanes=lanes)) == ["working on 2 items of keyword_metrics/all"]


def test_equal_causes_are_one() -> None:
    """Chunks of several steps that wait for one breaker are one cause, beside the work."""
    both = facts(
        chunks(SERP, WaitCause.RETRY),
        chunks(SERP, WaitCause.BREAKER, "dataforseo_api"),
        chunks(ORGANIC, WaitCause.BREAKER, "dataforseo_api"),
        chunks(ORGANIC, owned=True, items=7),
        breakers=OPEN,
    )
    waiting = waits_of(both)
    assert [(wait.cause, wait.items, len(wait.later)) for wait in waiting.waits] == [
        (WaitCause.BREAKER, 80, 11),
        (WaitCause.RETRY, 40, 6),
    ]
    assert said(both)[0] == "working on 7 items of serp_collection/organic"
    told = document(waiting, NOW)
    assert told["working"] == {"items": 7, "steps": ["serp_collection/organic"]}
    assert told["waits"][0] | {"later_steps": None} == {
        "cause": "breaker",
        "subject": "dataforseo_api",
        "since": None,
        "until": SOON,
        "next_at": None,
        "items": 80,
        "steps": ["serp_collection/organic", "serp_collection/news"],
        "later_steps": None,
        "sentence": "waiting for dataforseo_api, breaker open until 21:06 UTC; 11 later steps wait"
        " for this",
    }


def test_a_log_has_a_line_when_the_causes_change() -> None:
    """Not for other figures, not for a moment between two looks, and again when work goes on."""
    refused = facts(chunks(METRICS, WaitCause.BREAKER, "dataforseo_api"), breakers=OPEN)
    fewer = replace(refused, groups=[replace(refused.groups[0], items=1)])
    working = facts(chunks(METRICS, owned=True))
    log = WaitLog()

    def told(*found: RunFacts) -> list[list[str]]:
        return [log.changed(waits_of(each), NOW) for each in found]

    assert told(working, working, refused, working) == [[], [], [], []]
    assert told(refused, refused, fewer) == [[], said(refused), []]
    assert told(working, fewer) == [[], []]
    assert told(working, working) == [[], said(working)]


def test_a_planned_step_counts_as_work() -> None:
    """A step that is being planned has no chunks yet."""
    assert said(facts(unplanned=[METRICS])) == ["working on keyword_metrics/all"]


def test_a_chunk_stores_the_most_telling_reason() -> None:
    """A breaker says more than a retry, and a reason more than none."""
    retry = WaitReason(WaitCause.RETRY)
    assert most_telling(retry, BREAKER) == most_telling(BREAKER, retry) == BREAKER
    assert most_telling(None, retry) == most_telling(retry, None) == retry
    assert most_telling(None, None) is None
