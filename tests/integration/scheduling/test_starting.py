"""How a tick starts the runs of many due slots."""

from harness.schedules import MORNING, Schedules, spec

from serpline.store.database import Database

NINE = MORNING.replace(hour=9)


async def test_due_slots_are_read_once_for_many_runs(
    schedules: Schedules, statements: list[str]
) -> None:
    """Twenty runs start after one read of all due slots."""
    for number in range(20):
        await schedules.service.add(f"s{number}", spec())
    statements.clear()
    await schedules.at(NINE)
    assert sum("WITH running AS MATERIALIZED" in each for each in statements) == 1
    assert len(await schedules.runs()) == 20


async def test_a_slot_that_waits_for_a_place_is_written_once(db: Database) -> None:
    """The next place goes to one of them, and the others stay as they are."""
    schedules = Schedules(db, runs_max=1)
    await schedules.import_keywords()
    for number in range(4):
        await schedules.service.add(f"s{number}", spec())
    await schedules.at(NINE)
    waiting = "SELECT xmin::text FROM schedule_slots WHERE schedule_id > 's1' ORDER BY schedule_id"
    before = await schedules.query(waiting)
    await schedules.end_runs()
    await schedules.after(seconds=5)
    assert (await schedules.outcomes("s1"))[0][1:] == ("started", "no_place")
    assert (await schedules.outcomes("s2"))[0][1:] == ("due", "no_place")
    assert await schedules.query(waiting) == before


async def test_a_refused_run_leaves_its_place(db: Database) -> None:
    """The slot after a refused one starts in the same tick."""
    schedules = Schedules(db, runs_max=1)
    await schedules.import_keywords()
    await schedules.service.add("a", spec(priority="critical", landscape="none of this name"))
    await schedules.service.add("b", spec())
    await schedules.service.add("c", spec())
    await schedules.at(NINE)
    assert {name: (await schedules.outcomes(name))[0][1:] for name in "abc"} == {
        "a": ("refused", "refused"),
        "b": ("started", "no_place"),
        "c": ("due", "no_place"),
    }
