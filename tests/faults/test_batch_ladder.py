"""Missing searches go through the repair stages, and the run shows how far they went."""

from pathlib import Path

from harness.world import open_world

from serpline.domain.states import RunStatus
from serpline.pipeline.report import run_report

# So few fail for good that no circuit breaker opens.
COUNTS = {"fine": 30, "once": 30, "twice": 30, "alone": 30, "never": 3}
ALL = sum(COUNTS.values())
KEYWORDS = "keyword,market\n" + "".join(
    f"{kind} {n:02},PL\n" for kind, count in COUNTS.items() for n in range(count)
)
TOLD = ("batch 1 (first, high priority)", "batch 2 (again, high priority)", "real time")


async def test_missing_searches_pass_every_repair_stage(database_url: str, tmp_path: Path) -> None:
    """First, again, smaller at another priority, in real time; then they fail, naming each."""
    in_batch = {"provider": "scaleserp", "operation": "batch_search", "fault": "failed_searches"}
    fails = {"once": 1, "twice": 2, "alone": 9, "never": 9}
    rules = [in_batch | {"match": {"q": f"{k} *"}, "attempts": n} for k, n in fails.items()]
    alone = {"provider": "scaleserp", "operation": "search", "fault": "malformed", "work": False}
    async with open_world(database_url, tmp_path, KEYWORDS.encode()) as world:
        world.sim.set_faults([*rules, alone | {"match": {"q": "never *"}}])
        await world.start_worker()
        run_id = await world.start(
            content_types=("organic",),
            phases=("keyword_metrics", "serp_collection"),
            retry_attempts=4,
        )
        run = await world.wait_for_end(run_id)
        assert run.status is RunStatus.COMPLETED_WITH_ERRORS
        assert run.error_message == f"organic: {ALL - 3} of {ALL} searches collected"
        lane = await world.lane(run_id, "serp_collection/organic")
        assert (lane.completed, lane.failed) == (ALL - 3, 3)

        report = await run_report(world.services.database, run_id, run.created_at)
        made = [(b["stage"], b["priority"], b["searches"], b["missing"]) for b in report["batches"]]
        assert made[:2] == [("first", "high", ALL, ALL - 30), ("again", "high", ALL - 30, ALL - 60)]
        size = ALL // 4
        assert [(stage, priority) for stage, priority, *_ in made[2:]] == [
            ("smaller", "highest")
        ] * 3
        assert [searches for _, _, searches, _ in made[2:]] == [size, size, ALL - 60 - 2 * size]
        assert sum(missing or 0 for *_, missing in made[2:]) == 33
        assert all(b["status"] == "ingested" for b in report["batches"])
        shown = [b.fields["priority"] for b in world.sim.scaleserp.account.batches.values()]
        assert shown == ["high", "high", "highest", "highest", "highest"]

        assert len(world.sim.log.of("scaleserp", "search")) == 33
        assert {f["keyword"].split()[0] for f in report["failures"]} == {"never"}
        for failure in report["failures"]:
            assert failure["attempts"] == 4
            told = failure["error"].split("; ")
            assert [told[0].split(":")[0], told[1].split(":")[0], told[3].split(":")[0]] == [*TOLD]
            assert "(smaller, highest priority)" in told[2]

        ends = await world.query(
            "SELECT detail FROM pipeline_events WHERE event_type = 'batch.ingested' ORDER BY id"
        )
        first = ends[0]["detail"]
        assert (first["searches"], first["received"], first["missing"]) == (ALL, 30, ALL - 30)
        assert [end["detail"]["next"] for end in ends[:2]] == [
            {"again": ALL - 30},
            {"smaller": ALL - 60},
        ]
        later = [end["detail"]["next"].get("real_time", 0) for end in ends[2:]]
        assert sum(later) == 33
