"""``force_refresh`` buys fresh reference data of every kind again, once in the run."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from harness.commands import fork_command
from harness.waiting import until
from harness.world import World, open_world, paid

from serpline.domain.names import PhaseName, PipelineMode
from serpline.domain.states import RunStatus
from serpline.simulator.journal import CallEntry

KEYWORDS = b"keyword,market\nbest espresso machine,US\n"
# Enough questions that some are left when the first are under way.
MANY_KEYWORDS = KEYWORDS + b"coffee grinder,US\ndecaf beans,US\n"
# Every purchase of reference data; the last one is of volumes.
BOUGHT = ("pdl", "wikidata", "youtube", "llm", "dataforseo")
DATED = (
    "keyword_metrics", "company_profiles", "youtube_videos", "youtube_channels", "content_analyses"
)  # fmt: skip
DEPTH = 2
REFUSED = (
    "SELECT l.phase_name FROM items i JOIN pipeline_phase_status l ON l.id = i.lane_id"
    " WHERE l.pipeline_execution_id = :run AND i.error_category = 'auth'"
)


def _bought(log: Sequence[CallEntry]) -> Counter[tuple[str, str]]:
    """Count the purchases by provider and question."""
    return Counter((e.provider, e.operation) for e in log if e.provider in BOUGHT)


async def _log_of(world: World, **config: Any) -> list[CallEntry]:
    """The calls of one run, from its start to its end."""
    before = len(world.sim.log.entries)
    run_id = await world.run(analysis_depth=DEPTH, **config)
    assert (await world.get(run_id)).status is RunStatus.COMPLETED
    return list(world.sim.log.entries[before:])


async def test_every_kind_is_bought_again_once(database_url: str, tmp_path: Path) -> None:
    """The second run buys no reference data; one with ``force_refresh`` buys each item once."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        first = await _log_of(world)
        assert {provider for provider, _ in _bought(first)} == set(BOUGHT)
        await world.query("UPDATE reference_data SET fetched_at = fetched_at - interval '20 days'")
        assert _bought(await _log_of(world)) == Counter()
        # Use renews nothing, and a result tells when it was bought.
        aged = "SELECT 1 FROM {} WHERE fetched_at < now() - interval '19 days'"
        renewed = "SELECT 1 FROM reference_data WHERE fetched_at >= now() - interval '19 days'"
        assert await world.query(renewed) == []
        for table in DATED:
            assert await world.query(aged.format(table)), table
        forced = await _log_of(world, force_refresh=True)
        assert _bought(forced) == _bought(first)
        assert set(paid(forced).values()) == {1}
        kinds = await world.query("SELECT DISTINCT kind FROM reference_data ORDER BY kind")
        assert [row["kind"] for row in kinds] == [
            "analysis", "channel_owner", "company", "keyword_metrics", "llm_dialect",
            "youtube_channel", "youtube_video",
        ]  # fmt: skip
        assert _bought(await _log_of(world)) == Counter()


async def test_a_take_over_and_a_retry_buy_nothing_again(database_url: str, tmp_path: Path) -> None:
    """Data bought in the run is fresh for the run's next worker and for its retry."""
    async with open_world(database_url, tmp_path, MANY_KEYWORDS) as world:
        await world.start_worker()
        expected = _bought(await _log_of(world))
        before = len(world.sim.log.entries)
        # One question, about a page or a channel, is refused for good. The others are slow enough
        # for the worker to be met in the middle.
        world.sim.set_faults(
            [
                {"provider": "llm", "fault": "401", "pattern": "F", "times": 1},
                {"provider": "llm", "fault": "slow", "seconds": 0.3},
            ]
        )
        run_id = await world.start(analysis_depth=DEPTH, force_refresh=True)

        async def under_way() -> bool:
            return len([e for e in world.sim.log.entries[before:] if e.provider == "llm"]) > 3

        await until(under_way, "the first analyses")
        await world.pool.processes[0].end(10)
        await world.start_worker()
        await world.wait_for_end(run_id)
        world.sim.set_faults([])
        (refused,) = await world.query(REFUSED, run=run_id)
        await world.services.pipeline.retry(run_id, phase=PhaseName(refused["phase_name"]))
        await world.wait_for_end(run_id)
        assert await world.query(REFUSED, run=run_id) == []
        log = world.sim.log.entries[before:]
        assert set(paid(log).values()) == {1}
        # A question may also have been refused, or cut off with its worker before it was whole.
        answered = [entry for entry in log if entry.provider != "llm" or entry.status == 200]
        assert _bought(answered) == expected


async def _asked(world: World, *command: str) -> dict[str, Any]:
    """The JSON that a command prints."""
    settings = {n: v for n, v in world.environment.items() if n.startswith("SERPLINE_")}
    done = await fork_command(*command, "--json", **settings)
    assert done.returncode == 0, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


async def test_estimates_after_a_run_that_bought_nothing(database_url: str, tmp_path: Path) -> None:
    """A month is estimated from what the run found; another run would buy none of it again.

    ``--force-refresh`` is stored with the run, and its estimate includes all purchases.
    """
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"content_type": "video", "frequency": "daily"}))
    month = ("schedule", "add", "s", str(spec), "--dry-run")
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        bases = []
        for _ in range(2):
            await world.run(analysis_depth=DEPTH, content_types=["video"])
            cost = (await _asked(world, *month))["cost_per_month"]["providers"]["llm"]
            assert cost["credits_max"] > cost["credits"] > 0
            bases.append((cost["basis"], cost["credits_max"]))
        assert all(basis.startswith("estimate: as in run") for basis, _ in bases)
        assert bases[0][1] == bases[1][1]
        start = ("run", "start", "--content-types", "video")
        forced = (*start, "--force-refresh")
        plain, again = [
            (await _asked(world, *each, "--dry-run"))["providers"]["llm"]
            for each in (start, forced)
        ]
        assert plain["calls"] == 0
        assert "100% to 100% of it fresh" in plain["basis"]
        assert again["calls"] > 0
        run = await world.get(UUID((await _asked(world, *forced, "--again"))["run_id"]))
        assert run.config["force_refresh"] is True
        assert run.mode == PipelineMode.MANUAL
