"""The database connection is lost as a batch's next state, or the reading of a page, is written.

Nobody dies: the call before it was answered, and the ledger knows. What was done over there must
be found there, not done again. The auditor is the simulator's account.
"""

from pathlib import Path

from harness.world import open_world, simulated

from serpline.domain.states import BatchStatus, RunStatus

SEARCHES = 6
KEYWORDS = "keyword,market\n" + "".join(f"kettle {n},PL\n" for n in range(SEARCHES))
# After the create, the last add, the start, and the last page.
CUT = (BatchStatus.CREATED, BatchStatus.FILLED, BatchStatus.RUNNING, BatchStatus.INGESTED)
# A sequence counts on whatever becomes of the transaction.
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
    " EXECUTE FUNCTION cut_once('pages')"
)


async def test_what_was_done_over_there_is_not_done_again(
    database_url: str, tmp_path: Path
) -> None:
    """One batch made, filled with each search once, started once; and every search came."""
    async with open_world(
        database_url,
        tmp_path,
        KEYWORDS.encode(),
        config=simulated(),
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
