"""A worker process whose network falls silent during a paid call's statement."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import sqlalchemy as sa
from bench.lane_runs import count_completed, start_planned_run
from harness.silence import line_to, url_over
from harness.waiting import until
from harness.worker_pool import END_SECONDS
from harness.world import World, open_world

from serpline.core.clock import SystemClock
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.store.embedded.files import SOCKET_NAME
from serpline.store.embedded.server import EmbeddedServer

LANE = LaneKey(PhaseName.COMPANY_ENRICHMENT_SERP, ContentType.ORGANIC)
# The time after which the server ends a transaction that holds what others wait for.
SERVER_SECONDS = 2.0
# Extra time for a busy machine.
SPARE_SECONDS = 3.0
# When the silent worker's sessions are ended, and with them whatever they hold.
DEAD_AFTER_SECONDS = 8.0
# Every admission of calls names this in its parameters.
ADMISSION = b'"third_party"'


def calls(world: World) -> list[datetime]:
    """The times at which each company was asked for."""
    return [datetime.fromisoformat(entry.at) for entry in world.sim.log.of("pdl")]


async def test_a_silenced_worker_stops_no_other_and_opens_no_breaker(
    database_url: str, postgres: EmbeddedServer, tmp_path: Path
) -> None:
    """Others continue within the server's time-out; its own failures open no breaker."""
    settings = {
        "SERPLINE_WORKER_HEARTBEAT_SECONDS": "0.3",
        "SERPLINE_WORKER_DEAD_AFTER_SECONDS": str(DEAD_AFTER_SECONDS),
        "SERPLINE_PROVIDER_RATES": '{"pdl": 40, "wikidata": 100}',
    }
    async with (
        line_to(postgres.socket_dir / SOCKET_NAME) as to_database,
        open_world(database_url, tmp_path, b"keyword,market\na,US\n", **settings) as world,
        line_to(sa.make_url(world.sim.url).port or 0) as to_provider,
    ):
        victim = await world.start_worker(
            SERPLINE_DATABASE_URL=url_over(to_database, database_url),
            SERPLINE_PDL_BASE_URL=f"http://127.0.0.1:{to_provider.port}/pdl",
        )
        for _ in range(2):
            await world.start_worker()
        database = world.services.database

        async def ready() -> bool:
            return len(await world.query("SELECT FROM workers")) == 3

        await until(ready, "the workers")
        domains = [f"company-{n:04}.example" for n in range(300)]
        run_id = await start_planned_run(database, LANE, domains, chunk_size=30)

        async def begun() -> bool:
            owners = "SELECT DISTINCT owner FROM chunks WHERE status = 'owned'"
            return len(await world.query(owners)) == 3

        await until(begun, "the work of all three")
        # Some of its calls reach nobody any more; then it is silenced within an admission.
        to_provider.fall_silent()

        async def under_way() -> bool:
            return to_provider.kept > BreakerSettings().failure_threshold

        await until(under_way, "calls of the one to be cut off")
        to_database.fall_silent(ADMISSION)
        await to_database.silent.wait()
        cut_at = SystemClock().now()

        def seconds() -> list[float]:
            return [0.0, *((at - cut_at).total_seconds() for at in calls(world) if at >= cut_at)]

        async def went_on() -> bool:
            return seconds()[-1] > SERVER_SECONDS

        await until(went_on, "calls of the others", seconds=SERVER_SECONDS + SPARE_SECONDS)
        longest = max(b - a for a, b in pairwise(seconds()))
        assert longest <= SERVER_SECONDS + SPARE_SECONDS

        async def lapsed() -> bool:
            late = "heartbeat_at < clock_timestamp() - make_interval(secs => :most)"
            silent = f"SELECT FROM workers WHERE pid = :pid AND {late}"
            lease_seconds = 0.75 * DEAD_AFTER_SECONDS
            return bool(await world.query(silent, pid=victim.pid, most=lease_seconds))

        await until(lapsed, "the end of its lease")
        to_provider.cut()
        to_database.heal()

        async def failed() -> bool:
            own = "SELECT FROM provider_calls WHERE error_category = 'network'"
            return len(await world.query(own)) > BreakerSettings().failure_threshold

        await until(failed, "the failures of its calls")
        await victim.end(END_SECONDS)  # with all that it had to report
        assert await world.query(
            "SELECT state, failure_count FROM circuit_breakers WHERE name = 'pdl_api'"
        ) == [{"state": "closed", "failure_count": 0}]
        assert await world.query("SELECT * FROM circuit_breaker_events") == []

        async def is_done() -> bool:
            return await count_completed(database, run_id) == len(domains)

        await until(is_done, "all companies")
