"""Processes that tick at once, and processes that are killed in the middle of a tick."""

import asyncio
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from harness.forks import Fork
from harness.points import TICK_POINTS
from harness.schedules import MORNING, Schedules, spec
from harness.tick_process import tick_until_death
from harness.ticking import TickingProcess

from serpline.scheduling.slot_runs import run_id_of
from serpline.store.database import Database

NINE = MORNING.replace(hour=9)
PROCESSES = 4


async def tick_at_once(database_url: str, tmp_path: Path, **counts: int) -> None:
    """Several processes tick at nine, each so often, all at once."""
    processes = [
        TickingProcess(database_url, tmp_path / f"{number}.log", NINE, **counts)
        for number in range(PROCESSES)
    ]
    for process in processes:
        await process.ready()
    for process in processes:
        process.begin()
    codes = await asyncio.gather(*(process.end(120) for process in processes))
    logs = [log.read_text() for log in sorted(tmp_path.glob("*.log"))]
    assert codes == [0] * PROCESSES, "\n".join(logs)


async def test_a_hundred_at_once(db: Database, database_url: str, tmp_path: Path) -> None:
    """80 ticks and 20 triggers from four processes: one run a slot, and one for each trigger."""
    schedules = Schedules(db)
    await schedules.import_keywords()
    for name in ("s", "t", "u"):
        await schedules.service.add(name, [spec(overlap="allow"), spec(content_type="video")])
    await tick_at_once(database_url, tmp_path, ticks=20, triggers=5)
    # A tick leaves slots due while another process starts slots; the next tick starts them.
    await schedules.at(NINE)
    for name in ("s", "t", "u"):
        # A trigger beside the tick is a run in progress for the overlap rule of video.
        rows = [row for row in await schedules.slots(name) if row["scheduled_for"] == NINE]
        assert len(rows) == 2
        assert {row["outcome"] for row in rows} <= {"started", "skipped"}
        assert {row["run_id"] for row in rows} - {None} == {run_id_of(name, NINE)}
    triggered = [row for row in await schedules.slots("s") if row["reason_code"] == "triggered"]
    assert len({row["run_id"] for row in triggered}) == 5 * PROCESSES
    assert len(await schedules.runs()) == 3 + 5 * PROCESSES
    decided = await schedules.query(
        "SELECT schedule_id, count(*) FROM schedule_slots GROUP BY 1 ORDER BY 1"
    )
    assert [row["count"] for row in decided] == [2 + 10 * PROCESSES, 2, 2]


async def test_the_limit_holds_in_four_processes(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    """40 ticks at once over 12 due schedules start five runs, as allowed, each of one slot."""
    schedules = Schedules(db, runs_max=5)
    await schedules.import_keywords()
    for number in range(12):
        await schedules.service.add(f"s{number}", spec())
    await tick_at_once(database_url, tmp_path, ticks=10, runs_max=5)
    for expected in (5, 10, 12):
        await schedules.at(NINE)
        rows = await schedules.query("SELECT * FROM schedule_slots")
        started = [row["run_id"] for row in rows if row["outcome"] == "started"]
        assert len(started) == expected
        assert len(await schedules.runs()) == len(set(started)) == expected
        assert {r["reason_code"] for r in rows if r["outcome"] == "due"} <= {"no_place"}
        await schedules.end_runs()


@pytest.mark.parametrize("point", TICK_POINTS)
async def test_killed_at(db: Database, database_url: str, tmp_path: Path, point: str) -> None:
    """A kill at any point of the tick leaves one slot and one run after the next tick.

    The killed tick follows the run of the first day, and decides and starts the second.
    """
    schedules = Schedules(db)
    await schedules.import_keywords()
    await schedules.service.add("s", spec())
    await schedules.at(NINE)
    await schedules.end_runs()
    next_day = NINE + timedelta(days=1)
    log = tmp_path / "tick.log"
    process = Fork(tick_until_death, {}, log, database_url, next_day, point)
    try:
        assert await process.wait() == -signal.SIGKILL
    finally:
        process.close()
    assert "Traceback" not in log.read_text()
    for seconds in (0, 5, 10):
        await schedules.at(next_day + timedelta(seconds=seconds))
    first, second = await schedules.query("SELECT * FROM schedule_slots ORDER BY scheduled_for")
    assert (first["outcome"], first["run_status"]) == ("started", "completed")
    assert (second["outcome"], second["run_id"]) == ("started", run_id_of("s", next_day))
    assert len(await schedules.runs()) == 2
    assert len(await schedules.events("slot.started")) == 2
    await schedules.end_runs()
    await schedules.at(next_day + timedelta(days=1))
    assert [row["outcome"] for row in await schedules.slots()] == ["started"] * 3
