"""Every call of a ScaleSERP batch meets every fault: each search returns and is bought once.

One run has a batch of two searches per case, so each case is quick. The worker runs in this
process, against the real simulator and without a circuit breaker, because a hundred faults at once
are an outage. The auditors are the simulator's account, log and ledger.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from harness.databases import copied_database
from harness.world import SEED, World, open_world, simulated
from sqlalchemy import text

from serpline.app import tools
from serpline.app.worker import run_worker
from serpline.config.run import PipelineConfig
from serpline.core.settings import load
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.states import RunStatus
from serpline.robustness.policies import policies
from serpline.simulator.scaleserp.batches import Batch, Status
from serpline.simulator.seeds import hex_id
from serpline.simulator.wire import Operation, Reply, Request
from serpline.store.embedded.server import EmbeddedServer

# All cases are one run: one process makes it, and the first of them waits for it.
pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("batch faults")]

# A malformed reply depends on the batch's name, which depends on the run's id.
RUN_ID = UUID(int=7)
SEARCHES = 2
# Step of a batch's life → the simulator's operation, and how a run gets there.
STEPS: Mapping[str, tuple[str, str | None]] = {
    "create": ("create_batch", None),
    "find by name": ("list_batches", "create_batch"),
    "add": ("update_batch", None),
    "list searches": ("list_searches", "update_batch"),
    "look before the start": ("get_batch", None),
    "start": ("start_batch", None),
    "look": ("get_batch", None),
    "list result sets": ("list_results", None),
    "result set": ("get_results", None),
    "page file": ("download", None),
}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "401": {"fault": "401"},
    "402": {"fault": "402"},
    "429": {"fault": "429"},
    "500": {"fault": "500"},
    "500 after the work": {"fault": "500", "work": True},
    "503 until later": {"fault": "503", "retry_after": 1},
    "hung": {"fault": "hung"},
    "hung after the work": {"fault": "hung", "work": True},
    "cut before the work": {"fault": "cut", "work": False},
    "cut after the work": {"fault": "cut", "work": True},
    "malformed": {"fault": "malformed"},
    "truncated": {"fault": "truncated"},
    "500 twice": {"fault": "500", "attempts": 2},
    "malformed twice": {"fault": "malformed", "work": False, "attempts": 2},
    "deleted": {},
}
NOT_STARTED = ("create", "find by name", "add", "list searches", "look before the start")
CASES = [
    (step, fault)
    for step, fault in product(STEPS, FAULTS)
    # A batch cannot be deleted before it is created.
    if not (fault == "deleted" and step in ("create", "find by name"))
]
KEYWORDS = "keyword,market\n" + "".join(f"word {n:03},PL\n" for n in range(SEARCHES * len(CASES)))


@dataclass(frozen=True)
class Life:
    """The result of one chunk: its items, our batches, those of the account, their cost."""

    items: list[dict[str, Any]]
    first_pass: list[str]
    our_batches: list[dict[str, Any]]
    theirs: list[Batch]
    charges: list[float]


def _name(run_id: UUID, no: int, generation: int = 0) -> str:
    return f"serpline {run_id} organic {no}.{generation}"


def _rules(run_id: UUID) -> list[dict[str, Any]]:
    """The first batch of each chunk meets the fault of its case; later ones meet none."""
    rules = []
    for no, (step, fault) in enumerate(CASES):
        operation, before = STEPS[step]
        if fault == "deleted":
            continue
        rule = {"attempts": 1, **FAULTS[fault]}
        if step == "look":
            # The first status check is the one before the start.
            rule = {**FAULTS[fault], "pattern": "S" + "F" * rule.pop("attempts"), "times": 1}
        rules.append(_at(run_id, no, operation) | rule)
        if before:
            rules.append(_at(run_id, no, before) | {"fault": "cut", "work": True, "attempts": 1})
    for no, (step, fault) in enumerate(CASES):
        if step == "list searches" and fault == "deleted":
            lost = {"fault": "cut", "work": True, "attempts": 1}
            rules.append(_at(run_id, no, "update_batch") | lost)
    return rules


def _at(run_id: UUID, no: int, operation: str) -> dict[str, Any]:
    name = _name(run_id, no)
    key = {"list_batches": "search_term", "download": "batch"}.get(operation, "name")
    value = hex_id(8, SEED, "batch", name, 0) if operation == "download" else name
    return {"provider": "scaleserp", "operation": operation, "match": {key: value}}


def _delete_on_the_way(world: World, run_id: UUID) -> None:
    """Delete the batch at the provider just before the case's call is answered."""
    scaleserp = world.sim.scaleserp
    handle = scaleserp.handle
    doomed = {_name(run_id, no): step for no, (step, f) in enumerate(CASES) if f == "deleted"}

    async def deleting(request: Request, operation: Operation) -> Reply:
        step = doomed.get(str(operation.match.get("name")))
        if step is None or operation.name not in (STEPS[step][0], "get_results"):
            return await handle(request, operation)
        batch = scaleserp.account.find(str(operation.params["batch_id"]))
        if step == "look" and not (batch.status is Status.RUNNING or batch.result_sets):
            # A batch still in the provider's queue costs nothing if it is deleted.
            return await handle(request, operation)
        if step == "page file":
            reply = await handle(request, operation)
            scaleserp.account.delete(batch)
            return reply
        if operation.name == STEPS[step][0]:
            scaleserp.account.delete(batch)
        return await handle(request, operation)

    scaleserp.handle = deleting  # type: ignore[method-assign]


async def _forget_ids_of_result_sets(world: World, run_id: UUID) -> None:
    """Remove the id of the next result set, as if the provider had not given it."""
    names = [_name(run_id, n) for n, (step, _) in enumerate(CASES) if step == "list result sets"]
    listed = ", ".join(f"'{name}'" for name in names)
    async with world.services.database.transaction() as conn:
        await conn.execute(
            text(
                "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " NEW.next_result_set_id := NULL; RETURN NEW; END $$"
            )
        )
        await conn.execute(
            text(
                "CREATE TRIGGER forget BEFORE UPDATE ON provider_batches FOR EACH ROW"
                f" WHEN (NEW.status = 'running' AND NEW.name IN ({listed}))"
                " EXECUTE FUNCTION forget()"
            )
        )


async def _walk(world: World) -> dict[int, Life]:
    world.sim.set_faults(_rules(RUN_ID))
    _delete_on_the_way(world, RUN_ID)
    await _forget_ids_of_result_sets(world, RUN_ID)
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(load(), stop))
    try:
        config = PipelineConfig(
            content_types=(ContentType.ORGANIC,),
            phases=(PhaseName.KEYWORD_METRICS, PhaseName.SERP_COLLECTION),
            batch_size=SEARCHES,
        )
        await world.services.pipeline.start(config, run_id=RUN_ID)
        run = await world.wait_for_end(RUN_ID, seconds=240)
        # Only searches of batches refused for a wrong key have failed.
        refused = sum(fault == "401" and step in NOT_STARTED for step, fault in CASES) * SEARCHES
        whole = SEARCHES * len(CASES)
        assert run.status is RunStatus.COMPLETED_WITH_ERRORS
        assert run.error_message == f"organic: {whole - refused} of {whole} searches collected"
        first_pass = await _items(world)
        await world.services.pipeline.retry(RUN_ID, phase=PhaseName.SERP_COLLECTION)
        assert (await world.wait_for_end(RUN_ID)).status is RunStatus.COMPLETED
    finally:
        stop.set()
        await worker
    items = await _items(world)
    rows = await world.query(
        "SELECT b.*, c.no FROM provider_batches b JOIN chunks c ON c.id = b.chunk_id ORDER BY b.id"
    )
    charged = defaultdict(list)
    for charge in world.sim.ledger:
        if charge.provider == "scaleserp":
            charged[charge.reference.removeprefix("batch ")].append(charge.amount)
    lives = {}
    for no in range(len(CASES)):
        our_batches = [row for row in rows if row["no"] == no]
        ids = [row["provider_batch_id"] for row in our_batches]
        lives[no] = Life(
            items=items[no],
            first_pass=[row["status"] for row in first_pass[no]],
            our_batches=our_batches,
            theirs=[
                b
                for b in world.sim.scaleserp.account.batches.values()
                if b.name.startswith(_name(RUN_ID, no)[:-1])
            ],
            charges=[amount for batch_id in ids for amount in charged[batch_id]],
        )
    assert sum(sum(life.charges) for life in lives.values()) == world.sim.ledger.spent("scaleserp")
    assert not world.sim.log.of("scaleserp", "search")
    return lives


async def _items(world: World) -> dict[int, list[dict[str, Any]]]:
    rows = await world.query(
        "SELECT i.chunk_no, i.item, i.status, i.attempts, i.error, count(s.*) AS pages"
        " FROM items i JOIN pipeline_phase_status l ON l.id = i.lane_id"
        " LEFT JOIN serps s ON s.run_id = l.pipeline_execution_id"
        " AND s.keyword_id || ':' || s.market || ':' || s.device = i.item"
        " WHERE l.phase_name = 'serp_collection' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2"
    )
    found = defaultdict(list)
    for row in rows:
        found[row["chunk_no"]].append(row)
    return found


@pytest.fixture(scope="module")
def lives(
    postgres: EmbeddedServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Life]]:
    """The run of all cases, by chunk."""
    settings = {
        "SERPLINE_BATCH_CALL_SECONDS": "8",
        "SERPLINE_BATCH_FILE_SECONDS": "8",
        "SERPLINE_BATCH_POLL_SECONDS": "1",
        "SERPLINE_WORKER_CONCURRENCY": "16",
        "SERPLINE_WORKER_DEAD_AFTER_SECONDS": "60",
        "SERPLINE_PROVIDER_RATES": '{"scaleserp": 5000, "dataforseo": 50}',
    }
    config = simulated(limits={"scaleserp/list_batches": None})
    with (
        copied_database(postgres, template_database) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(tools, "policies", lambda s: [replace(p, breaker=None) for p in policies(s)])

        async def walk() -> dict[int, Life]:
            directory = tmp_path_factory.mktemp("cases")
            async with open_world(
                url, directory, KEYWORDS.encode(), config=config, **settings
            ) as world:
                for name, value in world.environment.items():
                    if name.startswith("SERPLINE_"):
                        patch.setenv(name, value)
                return await _walk(world)

        yield asyncio.run(walk())


@pytest.mark.parametrize("no", range(len(CASES)), ids=[f"{s}: {f}" for s, f in CASES])
def test_a_batch_survives_every_fault_of_every_call(lives: dict[int, Life], no: int) -> None:
    """All searches return once, and each batch exists once and is charged once."""
    step, fault = CASES[no]
    life = lives[no]
    assert [(row["status"], row["pages"]) for row in life.items] == [("completed", 1)] * SEARCHES
    for batch in life.theirs:
        ids = [search["custom_id"] for search in batch.searches.values()]
        assert len(ids) == len({*ids}) == SEARCHES
    names = [batch.name for batch in life.theirs]
    assert len(names) == len({*names})
    if fault == "401" and step in NOT_STARTED:
        # A person corrects a wrong key, then the same batch continues.
        assert life.first_pass == ["failed"] * SEARCHES
    else:
        assert life.first_pass == ["completed"] * SEARCHES
    if fault == "deleted":
        assert [row["status"] for row in life.our_batches] == ["lost", "ingested"]
        assert [row["stage"] for row in life.our_batches] == ["first", "again"]
        # A started batch was paid for and is lost; an unstarted one cost nothing.
        paid_twice = step not in (*NOT_STARTED, "start")
        assert life.charges == [SEARCHES] * (2 if paid_twice else 1)
        assert [row["attempts"] for row in life.items] == [1] * SEARCHES
    else:
        ended = [(row["status"], row["error_message"]) for row in life.our_batches]
        assert [status for status, _ in ended] == ["ingested"], ended
        assert life.charges == [SEARCHES]
        assert [row["attempts"] for row in life.items] == [0] * SEARCHES
