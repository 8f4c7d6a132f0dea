"""How the database ends calls: which end counts, and what it charges."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from harness.guarded import START, call, policy, rows

from serpline.robustness.calls import CallScope, intent_of
from serpline.robustness.ledger import limits_of
from serpline.store.calls import ledger
from serpline.store.calls.ledger import AdmissionRequest, Answer, End, Intent
from serpline.store.calls.replies import StoredReply
from serpline.store.database import Database
from serpline.store.tables.guards import CallStatus

HOW = policy(credits_per_day=100.0)
REPLY = StoredReply(200, {}, "http://example.test/", b"packed", 6)
# The price of the call is 5 and stays reserved until it ends.
PRICE = 5.0


async def intended(db: Database, scope: CallScope | None = None, key: str = "a") -> Intent:
    """An admitted call of 5 credits."""
    intent = intent_of(call(key, price=PRICE), scope or CallScope("x"), HOW, START)
    async with db.statement() as conn:
        request = AdmissionRequest(intent, limits_of(HOW))
        (decision,) = await ledger.admit(conn, [request], horizon_seconds=1.0, at=START)
    assert decision.answer is Answer.ADMITTED
    return intent


async def end(db: Database, call_id: UUID, status: CallStatus | None, credits_: int = 0) -> bool:
    """End a call. Returns whether it was open. A good end has a reply."""
    ended = End(call_id, status, START, Decimal(credits_))
    async with db.statement() as conn:
        replies = {call_id: REPLY} if status is CallStatus.OK else {}
        return call_id in await ledger.end_calls(conn, [ended], replies)


async def booked(db: Database) -> tuple[list[Any], tuple[int, int]]:
    """The calls' states and credits, and the day's reserved and spent credits."""
    calls = await rows(db, "SELECT status, credits::int FROM provider_calls")
    (budget,) = await rows(
        db,
        "SELECT reserved::int AS reserved, spent::int AS spent FROM provider_budgets"
        " WHERE scope = 'day:2026-03-01'",
    )
    return [tuple(row) for row in calls], (budget.reserved, budget.spent)


@pytest.mark.parametrize(
    ("status", "credits_", "left"),
    [
        (CallStatus.OK, 3, [("ok", 3)]),
        (CallStatus.FAILED, 0, [("failed", 0)]),
        (CallStatus.UNKNOWN, 5, [("unknown", 5)]),
        (None, 0, []),
    ],
)
async def test_an_end_spends_what_the_call_cost_and_frees_the_rest(
    db: Database, status: CallStatus | None, credits_: int, left: list[Any]
) -> None:
    """No credits stay reserved, and a call that was never sent leaves no row."""
    intent = await intended(db)
    assert await booked(db) == ([("intent", 5)], (5, 0))
    assert await end(db, intent.id, status, credits_)
    assert await booked(db) == (left, (0, credits_))


@pytest.mark.parametrize(
    ("first", "then", "counts"),
    [
        ((CallStatus.UNKNOWN, 5), (CallStatus.OK, 3), True),
        ((CallStatus.UNKNOWN, 5), (CallStatus.FAILED, 0), True),
        ((CallStatus.UNKNOWN, 5), (None, 0), True),
        ((CallStatus.OK, 3), (CallStatus.UNKNOWN, 5), False),
        ((CallStatus.OK, 3), (None, 0), False),
        ((CallStatus.FAILED, 2), (CallStatus.OK, 3), False),
        ((CallStatus.FAILED, 2), (None, 0), False),
    ],
)
async def test_a_late_end_replaces_only_an_unknown_one(
    db: Database,
    first: tuple[CallStatus, int],
    then: tuple[CallStatus | None, int],
    counts: bool,
) -> None:
    """An ended call keeps its outcome and credits. An unknown one takes the late outcome."""
    intent = await intended(db)
    assert await end(db, intent.id, *first)
    assert await end(db, intent.id, *then) is counts
    status, credits_ = then if counts else first
    left = [] if status is None else [(status.value, credits_)]
    assert await booked(db) == (left, (0, credits_))
    replies = await rows(db, "SELECT 1 FROM raw_replies")
    assert len(replies) == (status is CallStatus.OK)


@pytest.mark.parametrize(
    ("ended", "left", "spent"),
    [
        (None, ("failed", 0), 0),
        ((CallStatus.UNKNOWN, 5), ("failed", 0), 0),
        ((CallStatus.FAILED, 5), ("failed", 0), 0),
        ((CallStatus.OK, 5), ("ok", 5), 5),
    ],
)
async def test_a_call_without_effect_costs_nothing(
    db: Database, ended: tuple[CallStatus, int] | None, left: tuple[str, int], spent: int
) -> None:
    """Voiding its charges frees reserved and spent credits. A good reply stays paid. Calls of other
    keys do not change."""
    intent = await intended(db)
    if ended is not None:
        await end(db, intent.id, *ended)
    other = await intended(db, key="other")
    await end(db, other.id, CallStatus.UNKNOWN, 5)
    async with db.statement() as conn:
        await ledger.void_charges(conn, intent.key)
    calls, budget = await booked(db)
    assert (sorted(calls), budget) == (sorted([left, ("unknown", 5)]), (0, spent + 5))


async def test_a_refunded_call_costs_nothing_and_stays_answered(db: Database) -> None:
    """Its reply stays, and so do the charges of other keys."""
    intent, other = await intended(db), await intended(db, key="other")
    for call_id in (intent.id, other.id):
        await end(db, call_id, CallStatus.OK, 5)
    async with db.statement() as conn:
        await ledger.void_charges(conn, intent.key, is_refunded=True)
    calls, budget = await booked(db)
    assert (sorted(calls), budget) == ([("ok", 0), ("ok", 5)], (0, 5))
    assert len(await rows(db, "SELECT 1 FROM raw_replies")) == 2


async def test_voiding_keeps_why_a_call_failed(db: Database) -> None:
    """Only its charges are removed."""
    intent = await intended(db)
    failed = End(intent.id, CallStatus.FAILED, START, Decimal(5), 502, "server", "bad gateway")
    async with db.statement() as conn:
        await ledger.end_calls(conn, [failed], {})
        await ledger.void_charges(conn, intent.key)
    (row,) = await rows(
        db, "SELECT finished_at, http_status, error_category, error FROM provider_calls"
    )
    assert tuple(row) == (START, 502, "server", "bad gateway")


async def test_of_two_requests_with_one_shared_key_the_first_is_admitted(db: Database) -> None:
    """Also in one group: the other waits for its reply and is not charged."""
    scope = CallScope("x", chunk_id=1, epoch=1)
    intents = [intent_of(call(price=PRICE), scope, HOW, START) for _ in range(2)]
    requests = [AdmissionRequest(intent, limits_of(HOW)) for intent in intents]
    async with db.statement() as conn:
        decisions = await ledger.admit(conn, requests, horizon_seconds=1.0, at=START)
    assert [one.answer for one in decisions] == [Answer.ADMITTED, Answer.IN_FLIGHT]
    assert await booked(db) == ([("intent", 5)], (5, 0))


async def test_a_refusal_for_want_of_credits_leaves_no_row(db: Database) -> None:
    """A group's calls are admitted in their order while credits last."""
    intents = [intent_of(call(n, price=40.0), CallScope("x"), HOW, START) for n in range(4)]
    requests = [AdmissionRequest(intent, limits_of(HOW)) for intent in intents]
    async with db.statement() as conn:
        decisions = await ledger.admit(conn, requests, horizon_seconds=1.0, at=START)
    admitted, refused = [Answer.ADMITTED] * 2, [Answer.RESERVED] * 2
    assert [one.answer for one in decisions] == admitted + refused
    assert await booked(db) == ([("intent", 40)] * 2, (80, 0))
    assert {row.id for row in await rows(db, "SELECT id FROM provider_calls")} == {
        intent.id for intent in intents[:2]
    }


async def test_ending_a_call_reads_as_many_pages_in_a_large_ledger(db: Database) -> None:
    """Each call is found by its id, never by reading the whole ledger."""
    many = sa.text(
        "INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,"
        " status, attempt, started_at, finished_at) SELECT gen_random_uuid(),"
        " sha256(n::text::bytea), 'example', 'look_up', sha256('x'), 'x', false, 'ok', 1, :at, :at"
        " FROM generate_series(1, CAST(:many AS int)) AS n"
    )
    read = []
    for more in (200, 20_000):
        async with db.transaction() as conn:
            await conn.execute(many, {"at": START, "many": more})
            await conn.execute(sa.text("ANALYZE provider_calls"))
        intent = await intended(db, key=str(more))
        async with db.transaction() as conn:
            found = await conn.execute(
                sa.text(
                    "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM end_calls("
                    "jsonb_build_array(jsonb_build_object('id', CAST(:id AS text), 'status',"
                    " 'ok', 'credits', 1, 'finished_at', CAST(:at AS timestamptz))))"
                ),
                {"id": str(intent.id), "at": START},
            )
            ((plan,),) = found.all()
        top = plan[0]["Plan"]
        read.append(int(top["Shared Hit Blocks"] + top["Shared Read Blocks"]))
    assert read[1] <= read[0] + 20, read
