"""The tick in virtual time: every instant has one slot, and every slot one outcome."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harness.schedules import MORNING, Schedules, spec

from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.states import RunStatus
from serpline.scheduling.slot_runs import config_of, run_id_of
from serpline.store.database import Database

NINE = MORNING.replace(hour=9)


async def test_a_slot_starts_at_its_time(schedules: Schedules) -> None:
    """Nothing before the instant; at it one slot and one run, with its id, times and event."""
    await schedules.service.add("s", spec())
    assert await schedules.at(NINE - timedelta(seconds=1)) == 1.0
    assert await schedules.slots() == []
    assert await schedules.at(NINE + timedelta(seconds=2)) == 86_398.0
    (slot,) = await schedules.slots()
    run_id = run_id_of("s", NINE)
    assert (slot["scheduled_for"], slot["outcome"], slot["reason_code"]) == (
        NINE,
        "started",
        "on_time",
    )
    assert (slot["run_id"], slot["lateness_seconds"], slot["version"]) == (run_id, 2.0, 1)
    (run,) = await schedules.runs()
    assert (run["id"], run["mode"], run["scheduled_for"]) == (run_id, "scheduled", NINE)
    assert (run["config"]["schedule"], run["config"]["content_types"]) == ("s", ["news"])
    created, started = (await schedules.events())[-2:]
    assert (created["event_type"], started["event_type"]) == ("run.created", "slot.started")
    assert started["detail"]["late_seconds"] == 2.0


async def test_ticks_are_idempotent(schedules: Schedules) -> None:
    """More ticks at the same instant, or after it, change nothing."""
    await schedules.service.add("s", spec())
    await schedules.at(NINE)
    before = await schedules.slots(), await schedules.runs(), await schedules.events()
    for _ in range(3):
        await schedules.after(seconds=5)
    assert (await schedules.slots(), await schedules.runs(), await schedules.events()) == before


async def test_nothing_due_costs_one_statement(schedules: Schedules, statements: list[str]) -> None:
    """A tick with nothing to do executes one statement, whatever waits for later."""
    for number in range(20):
        await schedules.service.add(f"s{number}", spec())
    statements.clear()
    await schedules.tick.run()
    assert len(statements) == 1


async def test_a_run_is_shared(schedules: Schedules) -> None:
    """Content types due at one instant have a slot each, and one run."""
    await schedules.service.add("s", [spec(), spec(content_types=["organic", "video"])])
    await schedules.at(NINE)
    rows = await schedules.slots()
    assert [row["content_type"] for row in rows] == ["video", "organic", "news"]
    assert {row["run_id"] for row in rows} == {run_id_of("s", NINE)}
    (run,) = await schedules.runs()
    assert run["config"]["content_types"] == ["organic", "news", "video"]


async def test_down_for_three_days(schedules: Schedules) -> None:
    """Each catch-up rule starts exactly its slots; every other slot has its reason."""
    rules = {
        "none": "none",
        "latest": "latest",
        "all": "all",
        "within": {"within": "2d", "max": 9},
        "capped": {"within": "4d", "max": 2},
    }
    for name, rule in rules.items():
        await schedules.service.add(name, spec(catch_up=rule))
    await schedules.at(MORNING + timedelta(days=4))
    late = ["03-02 09:00", "03-03 09:00", "03-04 09:00", "03-05 09:00"]
    codes = {
        "none": ["catch_up_none"] * 4,
        "latest": ["superseded"] * 3 + ["caught_up"],
        "all": ["caught_up"] + ["previous_run"] * 3,
        "within": ["too_old"] * 2 + ["caught_up", "previous_run"],
        "capped": ["too_many"] * 2 + ["caught_up", "previous_run"],
    }
    outcome = {"caught_up": "started", "previous_run": "due"}
    for name, expected in codes.items():
        assert await schedules.outcomes(name) == [
            (instant, outcome.get(code, "missed"), code)
            for instant, code in zip(late, expected, strict=True)
        ], name
    for _ in range(4):
        await schedules.end_runs()
        await schedules.after(seconds=5)
    for name, expected in codes.items():
        started = [code for code in expected if code in outcome]
        rows = [row for row in await schedules.slots(name) if row["outcome"] == "started"]
        assert [row["reason_code"] for row in rows] == ["caught_up"] * len(started), name
        assert all(row["lateness_seconds"] > 0 for row in rows)
    assert len(await schedules.runs()) == 0 + 1 + 4 + 2 + 2
    missed = {
        (each["detail"]["schedule"], each["detail"]["code"]): each["detail"]["slots"]
        for each in await schedules.events("slot.missed")
    }
    assert missed == {
        ("none", "catch_up_none"): 4,
        ("latest", "superseded"): 3,
        ("within", "too_old"): 2,
        ("capped", "too_many"): 2,
    }


async def test_a_restart_misses_nothing(schedules: Schedules) -> None:
    """A slot that is five minutes late is on time, also if nothing is caught up."""
    await schedules.service.add("s", spec(catch_up="none"))
    await schedules.at(NINE + timedelta(seconds=300))
    assert await schedules.outcomes() == [("03-02 09:00", "started", "on_time")]
    await schedules.at(NINE + timedelta(days=1, seconds=301))
    assert (await schedules.outcomes())[1:] == [("03-03 09:00", "missed", "catch_up_none")]


@pytest.mark.parametrize(
    ("rule", "second", "third"),
    [
        ("skip", ("skipped", "overlap"), ("skipped", "overlap")),
        ("buffer_one", ("due", "previous_run"), ("skipped", "buffer_full")),
        ("allow", ("started", "on_time"), ("started", "on_time")),
    ],
)
async def test_overlap(
    schedules: Schedules, rule: str, second: tuple[str, str], third: tuple[str, str]
) -> None:
    """While a run goes on, each rule does what it says; the end of the run starts what waits."""
    hourly = {"frequency": "interval", "interval": "1h", "overlap": rule}
    await schedules.service.add("s", spec(**hourly))
    for hour in (9, 10, 11):
        await schedules.at(MORNING.replace(hour=hour))
    rows = await schedules.outcomes()
    assert [row[1:] for row in rows] == [("started", "on_time"), second, third]
    await schedules.end_runs()
    await schedules.after(seconds=5)
    rows = await schedules.outcomes()
    started = ("started", "previous_run") if rule == "buffer_one" else second
    assert [row[1:] for row in rows] == [("started", "on_time"), started, third]
    await schedules.end_runs()
    await schedules.at(MORNING.replace(hour=12))
    assert (await schedules.outcomes())[-1][1:] == ("started", "on_time")


async def test_content_types_overlap_alone(schedules: Schedules) -> None:
    """A content type whose run goes on is skipped, and the others start."""
    hourly = {"frequency": "interval", "interval": "1h"}
    await schedules.service.add(
        "s", [spec(**hourly), spec(content_type="organic", overlap="allow", **hourly)]
    )
    await schedules.at(NINE)
    await schedules.at(NINE + timedelta(hours=1))
    rows = {(r["scheduled_for"], r["content_type"]): r["outcome"] for r in await schedules.slots()}
    assert rows == {
        (NINE, "news"): "started",
        (NINE, "organic"): "started",
        (NINE + timedelta(hours=1), "news"): "skipped",
        (NINE + timedelta(hours=1), "organic"): "started",
    }
    assert [run["config"]["content_types"] for run in await schedules.runs()] == [
        ["organic", "news"],
        ["organic"],
    ]


async def test_a_type_that_goes_on_holds_up_no_other(schedules: Schedules) -> None:
    """Organic has ended in a run whose news hang: its next slot starts, and that of news does not.

    A buffered slot starts when the lanes of its own type have ended, before the run has.
    """
    hourly = {"frequency": "interval", "interval": "1h"}
    await schedules.service.add(
        "s",
        [
            spec(**hourly),
            spec(content_type="organic", **hourly),
            spec(content_type="video", overlap="buffer_one", **hourly),
        ],
    )
    await schedules.at(NINE)
    ended = (
        "UPDATE pipeline_phase_status SET status = :status WHERE content_type = :type"
        " AND pipeline_execution_id = :run"
    )
    run_id = run_id_of("s", NINE)
    for kind, status in (("organic", "completed"), ("news", "running"), ("video", "running")):
        await schedules.query(ended, status=status, type=kind, run=run_id)
    await schedules.at(NINE + timedelta(hours=1))

    async def second() -> dict[str, tuple[str, str]]:
        return {
            row["content_type"]: (row["outcome"], row["reason_code"])
            for row in await schedules.slots()
            if row["scheduled_for"] > NINE
        }

    assert await second() == {
        "organic": ("started", "on_time"),
        "news": ("skipped", "overlap"),
        "video": ("due", "previous_run"),
    }
    await schedules.query(ended, status="failed", type="video", run=run_id)
    await schedules.after(seconds=5)
    assert (await second())["video"] == ("started", "previous_run")
    first, *others = [run["config"]["content_types"] for run in await schedules.runs()]
    assert (first, sorted(others)) == (["organic", "news", "video"], [["organic"], ["video"]])


async def test_a_part_that_waited_has_a_run_of_its_own(schedules: Schedules) -> None:
    """The content type that waited for its previous run starts later, in another run."""
    hourly = {"frequency": "interval", "interval": "1h"}
    await schedules.service.add(
        "s",
        [
            spec(overlap="buffer_one", **hourly),
            spec(content_type="organic", overlap="allow", **hourly),
        ],
    )
    await schedules.at(NINE)
    await schedules.at(NINE + timedelta(hours=1))
    await schedules.end_runs()
    await schedules.after(seconds=5)
    late = [r for r in await schedules.slots() if r["scheduled_for"] > NINE]
    assert [row["outcome"] for row in late] == ["started"] * 2
    assert len({row["run_id"] for row in late}) == 2
    assert len(await schedules.runs()) == 3


async def test_no_more_runs_than_allowed(db: Database) -> None:
    """At most as many scheduled runs as allowed are running; the highest priority starts first."""
    schedules = Schedules(db, runs_max=2)
    await schedules.import_keywords()
    for name, priority in (("a", "low"), ("b", "normal"), ("c", "normal"), ("d", "critical")):
        await schedules.service.add(name, spec(priority=priority))
    await schedules.at(NINE)
    assert {n: (await schedules.outcomes(n))[0][1:] for n in "abcd"} == {
        "d": ("started", "on_time"),
        "b": ("started", "on_time"),
        "c": ("due", "no_place"),
        "a": ("due", "no_place"),
    }
    await schedules.end_runs(run_id=run_id_of("d", NINE))
    await schedules.after(seconds=5)
    assert (await schedules.outcomes("c"))[0][1:] == ("started", "no_place")
    assert (await schedules.outcomes("a"))[0][1:] == ("due", "no_place")


async def test_a_deadline_passes(db: Database) -> None:
    """A slot that finds no place before its deadline is missed."""
    schedules = Schedules(db, runs_max=1)
    await schedules.import_keywords()
    await schedules.service.add("a", spec())
    await schedules.service.add("b", spec(deadline="1h"))
    await schedules.at(NINE)
    await schedules.at(NINE + timedelta(hours=1))
    assert (await schedules.outcomes("b"))[0][1:] == ("due", "no_place")
    await schedules.at(NINE + timedelta(hours=1, seconds=1))
    assert (await schedules.outcomes("b"))[0][1:] == ("missed", "deadline")


async def test_jitter(schedules: Schedules) -> None:
    """A start is delayed by the same part of the jitter in every process; its types together."""
    await schedules.service.add(
        "s", [spec(jitter="1h"), spec(content_type="organic", jitter="10m")]
    )
    await schedules.at(NINE)
    news, organic = await schedules.slots()
    assert news["start_at"] == organic["start_at"]
    assert timedelta(0) < news["start_at"] - NINE < timedelta(hours=1)
    assert (news["outcome"], news["reason_code"]) == ("due", "jitter")
    wait = await schedules.after(seconds=1)
    assert wait == pytest.approx((news["start_at"] - schedules.clock.at).total_seconds())
    await schedules.at(news["start_at"])
    assert await schedules.outcomes() == [("03-02 09:00", "started", "jitter")] * 2
    assert len(await schedules.runs()) == 1


async def test_paused_and_resumed(schedules: Schedules) -> None:
    """Instants of a pause are skipped with its reason; those before and after are not."""
    await schedules.service.add("s", spec())
    schedules.clock.at = NINE + timedelta(seconds=1)
    await schedules.service.pause("s", reason="holidays")
    await schedules.tick.run()
    await schedules.at(NINE + timedelta(days=1, hours=1))
    schedules.clock.at = NINE + timedelta(days=2, seconds=1)
    await schedules.service.resume("s")
    await schedules.tick.run()
    await schedules.at(NINE + timedelta(days=3))
    assert await schedules.outcomes() == [
        # Decided as due by the pause, and not started before it.
        ("03-02 09:00", "skipped", "paused"),
        ("03-03 09:00", "skipped", "paused"),
        ("03-04 09:00", "skipped", "paused"),
        ("03-05 09:00", "started", "on_time"),
    ]
    reasons = {row["reason"] for row in await schedules.slots() if row["outcome"] == "skipped"}
    assert reasons == {"the schedule was paused: holidays"}


async def test_deleted(schedules: Schedules) -> None:
    """A deleted schedule has no more slots, and what waited is skipped. Its name is free again."""
    await schedules.service.add("s", spec(jitter="1h", freshness_target="2h"))
    await schedules.at(NINE)
    await schedules.service.delete("s")
    assert await schedules.after(days=1) is None
    assert await schedules.events("schedule.stale") == []
    assert await schedules.outcomes() == [("03-02 09:00", "skipped", "deleted")]
    await schedules.service.add("s", spec())
    await schedules.at(NINE + timedelta(days=2))
    assert (await schedules.outcomes())[1:] == [("03-04 09:00", "started", "on_time")]
    assert (await schedules.service.get("s"))["version"] == 2


async def test_versions(schedules: Schedules) -> None:
    """Past slots keep the version that decided them, also those that nobody had decided yet."""
    await schedules.service.add("s", spec(catch_up="all"))
    schedules.clock.at = NINE + timedelta(days=1, hours=1)
    await schedules.service.edit("s", spec(time_of_day="12:00"), reason="later")
    await schedules.at(MORNING.replace(hour=12) + timedelta(days=1))
    rows = [(f"{r['scheduled_for']:%d %H}", r["version"]) for r in await schedules.slots()]
    assert rows == [("02 09", 1), ("03 09", 1), ("03 12", 2)]
    stored = (await schedules.service.get("s"))["versions"]
    assert [(each["version"], each["reason"]) for each in stored] == [(1, None), (2, "later")]
    assert stored[0]["specs"][0]["time_of_day"] == "09:00"


async def test_an_equal_edit_changes_nothing(schedules: Schedules) -> None:
    """It makes no version and no event."""
    await schedules.service.add("s", spec())
    assert (await schedules.service.edit("s", spec()))["version"] == 1
    assert await schedules.events("schedule.changed") == []


async def test_a_refused_slot(db: Database) -> None:
    """A run that cannot be created is refused with its line, once, and the next slot is tried."""
    schedules = Schedules(db)
    await schedules.service.add("s", spec())
    for _ in range(3):
        await schedules.at(NINE + timedelta(seconds=5))
    (slot,) = await schedules.slots()
    assert (slot["outcome"], slot["reason_code"]) == ("refused", "refused")
    assert slot["reason"].startswith("no keywords: import some first")
    assert len(await schedules.events("slot.refused")) == 1
    await schedules.import_keywords()
    await schedules.at(NINE + timedelta(days=1))
    assert (await schedules.outcomes())[1:] == [("03-03 09:00", "started", "on_time")]


async def test_an_unexpected_error_is_not_repeated(
    schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ours refuses its slot, starts no run, and keeps no other schedule waiting."""

    def broken(name: str, *more: Any) -> PipelineConfig:
        if name == "a":
            raise RuntimeError("a bug")
        return config_of(name, *more)

    monkeypatch.setattr("serpline.scheduling.starting.config_of", broken)
    await schedules.service.add("a", spec())
    await schedules.service.add("b", spec())
    for _ in range(2):
        await schedules.at(NINE)
    assert await schedules.outcomes("a") == [("03-02 09:00", "refused", "error")]
    assert await schedules.outcomes("b") == [("03-02 09:00", "started", "on_time")]
    assert [run["config"]["schedule"] for run in await schedules.runs()] == ["b"]


async def test_pause_after_failures(schedules: Schedules) -> None:
    """A content type that fails as often in a row as allowed is paused; the others go on."""
    daily = {"pause_after_failures": 2}
    await schedules.service.add("s", [spec(**daily), spec(content_type="organic", **daily)])
    for day in range(3):
        await schedules.at(NINE + timedelta(days=day))
        await schedules.end_runs(RunStatus.COMPLETED_WITH_ERRORS, failed=["news"])
        await schedules.after(minutes=1)
    rows = [(r["content_type"], r["outcome"], r["succeeded"]) for r in await schedules.slots()]
    assert sorted(rows, key=lambda row: row[0]) == [
        ("news", "started", False),
        ("news", "started", False),
        ("news", "skipped", None),
        ("organic", "started", True),
        ("organic", "started", True),
        ("organic", "started", True),
    ]
    (event,) = await schedules.events("schedule.paused")
    assert event["detail"]["reason"] == "news: 2 runs in a row failed"
    assert (await schedules.service.get("s"))["status"] == "active"
    await schedules.service.resume("s")
    for day in (3, 4):
        await schedules.at(NINE + timedelta(days=day))
        await schedules.end_runs(RunStatus.FAILED)
        await schedules.after(minutes=1)
    found = await schedules.service.get("s")
    assert found["status"] == "paused"
    assert found["pause_reason"] == "news: 2 runs in a row failed; organic: 2 runs in a row failed"


async def test_a_success_ends_the_streak(schedules: Schedules) -> None:
    """Failures count in a row only, and a cancelled run counts as nothing."""
    await schedules.service.add("s", spec(pause_after_failures=2))
    ends = (RunStatus.FAILED, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
    for day, status in enumerate(ends):
        await schedules.at(NINE + timedelta(days=day))
        await schedules.end_runs(status)
        await schedules.after(minutes=1)
    found = await schedules.service.get("s")
    assert (found["status"], found["lanes"][0]["failures_in_row"]) == ("active", 1)
    assert [r["run_status"] for r in await schedules.slots()] == [str(each) for each in ends]


async def test_freshness(schedules: Schedules) -> None:
    """Data older than the target raise one alarm, and a success ends it."""
    await schedules.service.add("s", spec(freshness_target="26h"))
    await schedules.at(NINE)
    await schedules.after(hours=2)
    await schedules.end_runs()
    await schedules.after(minutes=1)
    await schedules.at(NINE + timedelta(days=1))
    await schedules.end_runs(RunStatus.FAILED)
    # The first run ended at 11:00.
    await schedules.at(NINE + timedelta(hours=27, minutes=59))
    assert await schedules.events("schedule.stale") == []
    await schedules.after(minutes=2)
    await schedules.after(minutes=2)
    (event,) = await schedules.events("schedule.stale")
    assert (event["content_type"], event["detail"]["schedule"]) == ("news", "s")
    await schedules.at(NINE + timedelta(days=2))
    await schedules.end_runs()
    await schedules.after(minutes=1)
    assert len(await schedules.events("schedule.fresh")) == 1
    assert (await schedules.service.get("s"))["lanes"][0]["stale_since"] is None


async def test_a_deleted_schedule_has_nothing_to_watch(schedules: Schedules) -> None:
    """Nobody waits for its data, even if its last run ends later: no tick has more to do."""
    await schedules.service.add("s", spec(freshness_target="26h"))
    await schedules.at(NINE)
    await schedules.service.delete("s")
    assert await schedules.after(days=3) is None
    await schedules.end_runs()
    assert await schedules.after(minutes=1) is None
    assert await schedules.after(days=3) is None
    assert await schedules.events("schedule.stale") == []


async def test_a_crashed_run_blocks_only_while_it_runs(schedules: Schedules) -> None:
    """A run that ended in any way, or whose row is gone, keeps no slot from starting."""
    await schedules.service.add("s", spec())
    await schedules.at(NINE)
    await schedules.at(NINE + timedelta(days=1))
    await schedules.end_runs(RunStatus.FAILED)
    await schedules.at(NINE + timedelta(days=2))
    await schedules.query("DELETE FROM pipeline_executions WHERE status = 'pending'")
    await schedules.at(NINE + timedelta(days=3))
    assert [row[1:] for row in await schedules.outcomes()] == [
        ("started", "on_time"),
        ("skipped", "overlap"),
        ("started", "on_time"),
        ("started", "on_time"),
    ]


async def test_a_dropped_zone(schedules: Schedules) -> None:
    """A stored zone that the tz database dropped pauses its schedule, and loses no instant."""
    await schedules.service.add("s", spec())
    await schedules.service.add("other", spec())
    await schedules.query(
        "UPDATE schedule_versions SET specs = jsonb_set(specs, '{0,timezone}', '\"Atlantis/Gone\"')"
        " WHERE schedule_id = 's'"
    )
    await schedules.at(NINE)
    found = await schedules.service.get("s")
    assert found["status"] == "paused"
    assert found["pause_reason"].startswith("timezone='Atlantis/Gone': must be an IANA time zone")
    assert await schedules.outcomes("other") == [("03-02 09:00", "started", "on_time")]
    with pytest.raises(UserError, match=r"^schedule 's': timezone='Atlantis/Gone'.*edit it first$"):
        await schedules.service.resume("s")
    await schedules.at(NINE + timedelta(days=1))
    await schedules.service.edit("s", spec(timezone="Europe/Berlin"))
    await schedules.service.resume("s")
    await schedules.at(NINE + timedelta(days=2))
    # Added at 08:00, which is nine in Berlin: that instant came before it.
    assert await schedules.outcomes() == [
        ("03-03 08:00", "skipped", "paused"),
        ("03-04 08:00", "started", "caught_up"),
    ]


async def test_an_instant_in_2200(schedules: Schedules) -> None:
    """A schedule that starts in 2200 waits for it, and starts then."""
    await schedules.service.add("s", spec(start="2200-06-01"))
    seconds = await schedules.after(days=1)
    assert seconds is not None
    assert seconds > 170 * 365 * 86_400
    await schedules.at(datetime(2200, 6, 1, 9, tzinfo=UTC))
    assert await schedules.outcomes() == [("06-01 09:00", "started", "on_time")]


async def test_any_name(schedules: Schedules) -> None:
    """A name in any script is stored and found as it is."""
    names = ["日次ニュース", "أخبار يومية", "nouvelles d'été ☕", "a/b%c_d\\e", "x" * 200]
    for name in names:
        await schedules.service.add(name, spec())
    await schedules.at(NINE)
    for name in names:
        assert await schedules.outcomes(name) == [("03-02 09:00", "started", "on_time")]
    assert {each["id"] for each in await schedules.service.listed()} == set(names)


async def test_a_trigger(schedules: Schedules) -> None:
    """Every trigger starts runs of its own, at once, even of a paused schedule.

    Their ids derive from their slots, as those of all scheduled runs do.
    """
    await schedules.service.add("s", [spec(), spec(content_type="organic")])
    first = await schedules.service.trigger("s")
    await schedules.service.pause("s")
    second = await schedules.service.trigger("s")
    assert len({*first, *second}) == 2
    rows = await schedules.slots()
    assert [(r["outcome"], r["reason_code"]) for r in rows] == [("started", "triggered")] * 4
    instants = [MORNING, MORNING + timedelta(microseconds=1)]
    assert {r["scheduled_for"] for r in rows} == set(instants)
    assert [*first, *second] == [run_id_of("s", instant) for instant in instants]
    await schedules.end_runs()
    await schedules.after(seconds=5)
    assert {r["succeeded"] for r in await schedules.slots()} == {True}
