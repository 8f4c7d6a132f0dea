"""The database connection is lost while a batch's next state, or a page, is written.

The worker survives: the call before the write was answered, and the write is repeated. Nothing is
repeated at the provider. The auditor is the simulator's account.
"""

from pathlib import Path

import pytest
from harness.world import open_world, simulated

from serpline.domain.states import BatchStatus, RunStatus

SEARCHES = 6
KEYWORDS = "keyword,market\n" + "".join(f"kettle {n},PL\n" for n in range(SEARCHES))
# After the create, the last add, the start, and the last page.
CUT = (BatchStatus.CREATED, BatchStatus.FILLED, BatchStatus.RUNNING, BatchStatus.INGESTED)
# A sequence counts even if the transaction rolls back.
CUTTER = """
CREATE FUNCTION cut_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('cut_' || coalesce(TG_ARGV[0], NEW.status)) = 1 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NEW;
END $$
"""
STATES = (
    "CREATE TRIGGER states BEFORE UPDATE OF status ON provider_batches FOR EACH ROW"
    f" WHEN (NEW.status = ANY('{{{','.join(CUT)}}}')) EXECUTE FUNCTION cut_once()"
)
PAGES = (
    "CREATE TRIGGER pages BEFORE UPDATE OF pages_ingested ON provider_batches FOR EACH ROW"
    " WHEN (NEW.status = 'ready') EXECUTE FUNCTION cut_once('pages')"
)
# Checked before each commit: if all searches of a chunk have ended, so has its batch.
CHECK = """
CREATE FUNCTION check_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM provider_batches b WHERE b.chunk_id = NEW.id
               AND b.status NOT IN ('ingested', 'lost')) THEN
        PERFORM nextval('unended');
    END IF;
    PERFORM nextval('ended');
    RETURN NEW;
END $$
"""
ENDS = (
    "CREATE CONSTRAINT TRIGGER ends AFTER UPDATE ON chunks DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW WHEN (NEW.completed + NEW.failed + NEW.skipped = NEW.planned"
    " AND OLD.completed + OLD.failed + OLD.skipped < NEW.planned) EXECUTE FUNCTION check_end()"
)


async def test_a_cut_repeats_nothing_at_the_provider(database_url: str, tmp_path: Path) -> None:
    """One batch is created, filled with each search once, and started once.

    Every search returns.
    """
    async with open_world(
        database_url,
        tmp_path,
        KEYWORDS.encode(),
        config=simulated(results_per_page=SEARCHES // 2),
        SERPLINE_BATCH_POLL_SECONDS="0.05",
        SERPLINE_LOOK_AGAIN_SECONDS="1",
    ) as world:
        cuts = [*CUT, "pages"]
        for statement in [*(f"CREATE SEQUENCE cut_{cut}" for cut in cuts), CUTTER, STATES, PAGES]:
            await world.query(statement)
        await world.start_worker()
        run_id = await world.run(
            content_types=("organic",), phases=("keyword_metrics", "serp_collection")
        )
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        for cut in cuts:
            (written,) = await world.query(f"SELECT last_value FROM cut_{cut}")
            assert written["last_value"] == 2, f"{cut}: cut and written"
        account = world.sim.scaleserp.account
        assert account.created == 1
        assert [len(batch.searches) for batch in account.batches.values()] == [SEARCHES]
        assert len(world.sim.log.of("scaleserp", "start_batch")) == 1
        assert world.sim.ledger.spent("scaleserp") == SEARCHES
        lane = await world.lane(run_id, "serp_collection/organic")
        assert (lane.completed, lane.failed) == (SEARCHES, 0)


@pytest.mark.parametrize("missing", [0, 2])
async def test_a_batch_ends_with_the_last_of_its_searches(
    database_url: str, tmp_path: Path, missing: int
) -> None:
    """No commit ends a chunk's last search and leaves its batch open."""
    lost = {"provider": "scaleserp", "operation": "batch_search", "fault": "missing_records"}
    async with open_world(
        database_url,
        tmp_path,
        KEYWORDS.encode(),
        config=simulated(results_per_page=SEARCHES // 2),
        SERPLINE_BATCH_POLL_SECONDS="0.05",
    ) as world:
        world.sim.set_faults([lost | {"match": {"q": f"kettle {n}"}} for n in range(missing)])
        for name in ("ended", "unended"):
            await world.query(f"CREATE SEQUENCE {name}")
        for statement in (CHECK, ENDS):
            await world.query(statement)
        await world.start_worker()
        run_id = await world.run(
            content_types=("organic",),
            phases=("keyword_metrics", "serp_collection"),
            retry_attempts=1,
        )
        lane = await world.lane(run_id, "serp_collection/organic")
        assert (lane.completed, lane.failed) == (SEARCHES - missing, missing)
        (found,) = await world.query("SELECT status, received FROM provider_batches")
        assert found == {"status": "ingested", "received": SEARCHES - missing}
        (event,) = await world.query(
            "SELECT detail FROM pipeline_events WHERE event_type = 'batch.ingested'"
        )
        assert (event["detail"]["received"], event["detail"]["missing"]) == (
            SEARCHES - missing,
            missing,
        )
        for name, is_called in (("ended", True), ("unended", False)):
            (called,) = await world.query(f"SELECT is_called FROM {name}")
            assert called["is_called"] is is_called
