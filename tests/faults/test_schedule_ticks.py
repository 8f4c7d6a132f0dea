"""Processes that tick at once, and processes that are killed in the middle of a tick."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from harness.environment import clean_environment
from harness.ready_process import ReadyProcess
from harness.schedules import MORNING, Schedules, spec
from harness.ticking import POINTS

from serpline.scheduling.slot_runs import run_id_of
from serpline.store.database import Database

NINE = MORNING.replace(hour=9)
PROCESSES = 4


async def load(
    database_url: str, tmp_path: Path, number: int, ticks: int, triggers: int, *more: str
) -> ReadyProcess:
    arguments = ["-m", "harness.ticking", NINE.isoformat(), str(ticks), str(triggers), *more]
    environment = {**clean_environment(), "SERPLINE_DATABASE_URL": database_url}
    return await ReadyProcess.load(arguments, environment, tmp_path / f"{number}.log")


async def test_a_hundred_at_once(db: Database, database_url: str, tmp_path: Path) -> None:
    """80 ticks and 20 triggers from four processes: one run a slot, and one for each trigger."""
    schedules = Schedules(db)
    await schedules.import_keywords()
    for name in ("s", "t", "u"):
        await schedules.service.add(name, [spec(overlap="allow"), spec(content_type="video")])
    processes = await asyncio.gather(
        *(load(database_url, tmp_path, number, 20, 5) for number in range(PROCESSES))
    )
    for process in processes:
        process.begin()
    results = await asyncio.gather(*(process.result(120) for process in processes))
    assert results == [b"done\n"] * PROCESSES
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


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(db: Database, database_url: str, tmp_path: Path, point: str) -> None:
    """A kill at any point of the tick leaves one slot and one run after the next tick."""
    schedules = Schedules(db)
    await schedules.import_keywords()
    await schedules.service.add("s", spec())
    process = await load(database_url, tmp_path, 1, 1, 0, point)
    process.begin()
    with pytest.raises(AssertionError):  # without its last line
        await process.result(60)
    assert "Traceback" not in (tmp_path / "1.log").read_text()
    for seconds in (0, 5, 10):
        await schedules.at(NINE + timedelta(seconds=seconds))
    (slot,) = await schedules.slots()
    assert (slot["outcome"], slot["run_id"]) == ("started", run_id_of("s", NINE))
    assert len(await schedules.runs()) == 1
    assert len(await schedules.events("slot.started")) == 1
    await schedules.end_runs()
    await schedules.at(NINE + timedelta(days=1))
    assert [row["outcome"] for row in await schedules.slots()] == ["started", "started"]
