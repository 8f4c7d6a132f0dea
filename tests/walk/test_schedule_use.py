"""``serpline schedule`` as people and scripts use it, on a real database."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness.commands import run_command
from harness.schedules import KEYWORDS, Schedules, spec

from serpline.store.database import Database

DAILY = {"content_types": ["news", "video"], "frequency": "daily", "time_of_day": "09:00"}
ADDED = datetime(2026, 11, 1, 8, tzinfo=UTC)
# The spelling of some has joiners, an ideographic space, or a variation selector.
NAMES = (
    "daily news",
    "每日新闻",
    "毎日\u3000ニュース",
    "أخبار يومية",
    "روزنامه\u200cها",
    "\u00e9t\u00e9 \U0001f5de\ufe0f",
    "\U0001f469\u200d\U0001f4bb",
)


class Commands:
    """Commands over one database."""

    def __init__(self, url: str, directory: Path) -> None:
        self.settings = {"SERPLINE_DATABASE_URL": url, "SERPLINE_DATA_DIR": str(directory)}
        self.directory = directory

    def write(self, name: str, content: Any) -> str:
        """Write a file, as JSON unless it is bytes; returns its path."""
        file = self.directory / name
        is_raw = isinstance(content, bytes)
        file.write_bytes(content if is_raw else json.dumps(content).encode())
        return str(file)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; returns its code, stdout and stderr."""
        done = run_command(*arguments, **self.settings)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def json(self, *arguments: str) -> Any:
        """Run a command that succeeds; returns its document."""
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    def error(self, *arguments: str) -> str:
        """Run a command that is refused; returns its one line."""
        code, out, err = self.run(*arguments)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1, err
        return err.removeprefix("serpline: ").rstrip("\n")


@pytest.fixture
def commands(database_url: str, tmp_path: Path) -> Commands:
    """The commands, with three keywords in the database."""
    made = Commands(database_url, tmp_path)
    made.json("keywords", "import", made.write("keywords.csv", KEYWORDS))
    return made


@pytest.fixture
def past(commands: Commands) -> Commands:
    """The commands, with a schedule that was due on three days, of which two were missed."""

    async def prepare() -> None:
        database = await Database.connect(commands.settings["SERPLINE_DATABASE_URL"])
        made = Schedules(database)
        made.clock.at = ADDED
        await made.service.add("daily news", spec(content_types=["news", "video"]))
        await made.at(ADDED + timedelta(days=2, hours=2))
        await made.end_runs(failed=["video"])
        await made.at(ADDED + timedelta(days=2, hours=3))
        await database.close()

    asyncio.run(prepare())
    return commands


def test_the_life_of_a_schedule(commands: Commands) -> None:
    """Each change is a document with the schedule as it is then. Nothing of it is lost."""
    name, file = "daily news", commands.write("spec.json", DAILY)
    plan = commands.json("schedule", "add", name, file, "--dry-run")
    assert len(plan["next_times"]) == 3
    assert plan["cost_per_month"]["providers"]["scaleserp"]["credits"] == pytest.approx(182.5, 0.01)
    assert commands.json("schedule", "list") == []
    made = commands.json("schedule", "add", name, file)
    assert (made["id"], made["status"], made["version"]) == (name, "active", 1)
    changed = commands.write("later.json", {**DAILY, "time_of_day": "10:00"})
    edited = commands.json("schedule", "edit", name, changed, "--reason", "an hour later")
    assert (edited["version"], edited["versions"][1]["reason"]) == (2, "an hour later")
    paused = commands.json("schedule", "pause", name, "--reason", "moving")
    assert (paused["status"], paused["pause_reason"], paused["next_at"]) == (
        "paused",
        "moving",
        None,
    )
    assert len(paused["next_times"]) == 3
    assert commands.json("schedule", "resume", name)["status"] == "active"
    (run_id,) = commands.json("schedule", "trigger", name, "--content-type", "news")["run_ids"]
    (slot,) = commands.json("schedule", "slots", name)
    contract = {"scheduled_for", "content_type", "started_at", "outcome", "reason", "run_id"}
    assert contract <= slot.keys()
    assert (slot["run_id"], slot["outcome"], slot["reason_code"]) == (
        run_id,
        "started",
        "triggered",
    )
    assert commands.json("schedule", "delete", name)["status"] == "deleted"
    assert commands.json("schedule", "list") == []
    (deleted,) = commands.json("schedule", "list", "--deleted")
    assert [each["run_id"] for each in deleted["last"]] == [run_id]


def test_the_specifications_of_any_version_can_be_edited(commands: Commands) -> None:
    """'show --spec' prints what 'edit' reads, so an old version can be stored again."""
    commands.json("schedule", "add", "s", commands.write("spec.json", DAILY))
    later = commands.write("later.json", {**DAILY, "time_of_day": "10:00"})
    commands.json("schedule", "edit", "s", later)
    _, old, _ = commands.run("schedule", "show", "s", "--spec", "--version", "1")
    _, new, _ = commands.run("schedule", "show", "s", "--spec")
    assert (json.loads(old), json.loads(new)) == ([DAILY], [{**DAILY, "time_of_day": "10:00"}])
    done = run_command(
        "schedule", "edit", "s", "-", "--json", stdin=old.encode(), **commands.settings
    )
    restored = json.loads(done.stdout)
    assert (restored["version"], restored["specs"]) == (3, [DAILY])
    assert commands.json("schedule", "edit", "s", commands.write("a.json", DAILY))["version"] == 3
    assert "--version=9: schedule 's' has versions 1 to 3" in commands.error(
        "schedule", "show", "s", "--version", "9"
    )


def test_a_specification_comes_from_stdin(commands: Commands) -> None:
    """JSON or YAML. A fault names stdin."""
    yaml = b"content_type: news\nfrequency: daily\ntime_of_day: 06:30\n"
    for number, given in enumerate((yaml, json.dumps(DAILY, indent="\t").encode())):
        done = run_command("schedule", "add", f"s{number}", "-", stdin=given, **commands.settings)
        assert done.returncode == 0, done.stderr
    films = b"content_type: films\n"
    refused = run_command("schedule", "add", "s", "-", stdin=films, **commands.settings)
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"serpline: stdin: content_type")
    assert [row["id"] for row in commands.json("schedule", "list")] == ["s0", "s1"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_script(commands: Commands, name: str) -> None:
    """It is stored, found and shown as it was given."""
    commands.json("schedule", "add", name, commands.write("spec.json", DAILY))
    assert [row["id"] for row in commands.json("schedule", "list")] == [name]
    for arguments in (["list"], ["show", name], ["pause", name]):
        code, out, err = commands.run("schedule", *arguments)
        assert code == 0
        assert name in out + err


def test_two_spellings_of_a_name_are_one(commands: Commands) -> None:
    """An accent may be a character of its own (NFD) or part of its letter (NFC)."""
    file = commands.write("spec.json", DAILY)
    apart, together = "e\u0301te\u0301", "\u00e9t\u00e9"
    assert commands.json("schedule", "add", apart, file)["id"] == together
    for name in (apart, together):
        assert "exists already" in commands.error("schedule", "add", name, file)
        assert commands.json("schedule", "show", name)["id"] == together
    commands.json("schedule", "delete", apart)
    assert commands.json("schedule", "list") == []


@pytest.mark.parametrize(
    "name",
    [
        "a\x1b[31mb",
        "tab\there",
        "line\nend",
        "\u202eabc",
        "",
        "x" * 201,
        " before",
        "after\u00a0",
        "\u200d",
    ],
)
def test_a_name_that_a_terminal_would_obey(commands: Commands, name: str) -> None:
    """It is refused, and the message shows it escaped."""
    line = commands.error("schedule", "add", name, commands.write("spec.json", DAILY))
    assert line.isprintable()
    assert "must be 1 to 200 printable characters" in line or "argument is empty" in line


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("a.yaml", b"a: &x 1\nb: *x\n", "aliases are not read"),
        ("a.yaml", b"content_type: !!python/object:os.system news\n", "not YAML: line 1"),
        ("a.yaml", b"content_type: news\nforce_refresh: !!bool x\n", "2, column 16: the tag"),
        ("a.yaml", b"frequency: daily\nfrequency: weekly\n", "'frequency'='weekly': the key is"),
        ("a.json", b'{"frequency": "daily", "frequency": "weekly"}', "the key is given twice"),
        ("a.json", b'"' + b"x" * 1_100_000 + b'"', "larger than 1000000 bytes"),
        ("a.yaml", b"- " * 100_000, "nested too deeply"),
        ("a.yaml", b"", "must be an object, not None"),
        ("a.yaml", b"[]", "a schedule has 1 to 50 specifications, not 0"),
        ("a.yaml", b"content_type: news\nstart: 2026-01-31 09:00:00\n", "start='2026-01-31 09:0"),
        ("a.json", b"\xff", "not UTF-8"),
        ("a.json", b"content_type: news", "not JSON"),
        ("a.json", {**DAILY, "timezone": "Europe/Berlim"}, "(did you mean Europe/Berlin?)"),
        ("a.json", {**DAILY, "start": "2201-01-01", "end": "2200-01-01"}, "is before start="),
        ("a.json", {**DAILY, "end": "2001-01-01"}, "would never be due after"),
    ],
)
def test_a_hostile_file(commands: Commands, file: str, content: Any, words: str) -> None:
    """It is refused in one line that names the file, and nothing is stored."""
    path = commands.write(file, content)
    line = commands.error("schedule", "add", "s", path)
    assert words in line
    assert len(line) < 2_000
    assert commands.json("schedule", "list") == []


def test_a_file_with_several_faults_names_all(commands: Commands) -> None:
    """Every fault has its key, its value and what is allowed; the specification has a number."""
    faulty = {"content_type": "films", "frequency": "cron", "time_of_day": "09:00"}
    more = {"jitterr": "5m", "timezone": "Mars/Base"}
    path = commands.write("spec.json", [DAILY, {**faulty, **more}])
    line = commands.error("schedule", "add", "s", path)
    assert line.startswith(f"{path}: specification 2: unknown key 'jitterr'='5m'")
    for words in (
        "content_type='films': must be",
        "timezone='Mars/Base': must be an IANA time zone",
        "time_of_day='09:00': goes with frequency daily or weekly or",
        "cron is missing: frequency='cron' needs it",
    ):
        assert words in line
    two = {"content_type": "news", "frequency": "daily", "cron": "* * * * *", "interval": "1h"}
    line = commands.error("schedule", "add", "s", commands.write("spec.json", two))
    assert "cron='* * * * *': goes with frequency cron, not daily; interval=3600: goes" in line
    clash = [DAILY, {**DAILY, "devices": ["mobile"], "force_refresh": True}]
    line = commands.error("schedule", "add", "s", commands.write("spec.json", clash))
    assert "devices=['mobile']: another specification of news" in line
    assert "force_refresh=True: another specification of news" in line


def test_an_instant_in_2200(commands: Commands) -> None:
    """A schedule may begin then. It costs nothing within a year."""
    spec_ = commands.write("spec.json", {**DAILY, "start": "2200-01-01"})
    made = commands.json("schedule", "add", "far", spec_)
    assert made["next_at"] == "2200-01-01T09:00:00+00:00"
    code, out, _ = commands.run("schedule", "show", "far")
    assert code == 0
    assert "2200-01-01 09:00" in out
    assert "0.0 runs, 0 searches" in out
    code, out, _ = commands.run("schedule", "preview", spec_, "--after", "2199-12-31T10:00Z")
    assert (code, "Wed 2200-01-01 09:00+00:00" in out) == (0, True)


def test_a_new_person_is_told_what_is_missing(commands: Commands) -> None:
    """No worker, no landscape, no schedule, no keywords: a line on stderr names the next step."""
    assert "'serpline schedule add'" in commands.run("schedule", "list")[2]
    assert "'serpline notifications add'" in commands.run("notifications", "list")[2]
    path = commands.write("spec.json", {**DAILY, "landscape": "brands"})
    code, _, err = commands.run("schedule", "add", "s", path)
    assert code == 0
    assert "no worker is running" in err
    assert "no run can start yet: landscape='brands': there is no such landscape" in err
    shown = commands.json("schedule", "show", "s")["cost_per_month"]
    assert (shown["searches"], shown["providers"]) == (None, {})


def test_slots_are_filtered(past: Commands) -> None:
    """By time, content type and outcome. Reasons are sentences."""
    every = past.json("schedule", "slots", "daily news")
    assert [(row["outcome"], row["reason_code"]) for row in every[::2]] == [
        ("started", "caught_up"),
        ("missed", "superseded"),
        ("missed", "superseded"),
    ]
    missed = past.json("schedule", "slots", "daily news", "--outcome", "missed,skipped")
    assert len(missed) == 4
    one = past.json(
        "schedule", "slots", "daily news", "--type", "video", "--from", "2026-11-02", "--to",
        "2026-11-02T09:00Z",
    )  # fmt: skip
    assert [(row["content_type"], row["scheduled_for"]) for row in one] == [
        ("video", "2026-11-02T09:00:00+00:00")
    ]
    code, out, _ = past.run("schedule", "slots", "daily news")
    assert code == 0
    assert "only the latest slot is caught up" in out
    assert "1 h after its time" in out


def test_a_list_shows_the_last_outcome(past: Commands) -> None:
    """It is that of the newest time, with how its run ended."""
    (row,) = past.json("schedule", "list")
    assert {each["run_status"] for each in row["last"]} == {"completed"}
    assert row["last"][0]["scheduled_for"] == "2026-11-03T09:00:00+00:00"
    code, out, _ = past.run("schedule", "list")
    assert code == 0
    assert "2026-11-03 09:00" in out
    assert "completed" in out


def test_a_schedule_shows_its_health(past: Commands) -> None:
    """Lateness, failures in a row and the last success, by content type."""
    found = past.json("schedule", "show", "daily news")
    news, video = found["lanes"]
    assert (news["failures_in_row"], video["failures_in_row"]) == (0, 1)
    assert video["last_success_at"] is None
    assert (news["recent"]["slots"], news["recent"]["missed"]) == (3, 2)
    assert (news["recent"]["failed"], video["recent"]["failed"]) == (0, 1)
    assert news["recent"]["lateness_seconds_median"] == pytest.approx(3_600)
    code, out, _ = past.run("schedule", "show", "daily news")
    assert code == 0
    for words in ("Next times", "Health", "Cost per month", "Specifications of version 1"):
        assert words in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "gone"], "schedule 'gone': there is no such schedule"),
        (["slots", "daily news", "--from", "2026-11-03", "--to", "2026-11-01"], "not be after to="),
        (["slots", "daily news", "--from", "soon"], "--from='soon': must be an ISO 8601 time"),
        (
            ["slots", "daily news", "--type", "films"],
            "--type='films': must be one of organic, news",
        ),
        (
            ["slots", "daily news", "--outcome", "lost"],
            "--outcome='lost': must be one of due, started",
        ),
        (["slots", "daily news", "--limit", "0"], "limit=0: must be 1 to 10000"),
        (["resume", "daily news"], "schedule 'daily news' is active: 'resume' is not possible"),
        (["trigger", "daily news", "--content-type", "organic"], "content_type='organic'"),
        (["add", "s", "nowhere.json"], "nowhere.json: No such file"),
        (["pause", "\udcff"], r"'\udcff' is not UTF-8"),
    ],
)
def test_a_mistake_is_one_line(past: Commands, arguments: list[str], words: str) -> None:
    """It names the key, the value and what is allowed."""
    assert words in past.error("schedule", *arguments)


def test_an_edit_that_the_past_contradicts(past: Commands) -> None:
    """The line says what the past is, and the old version stays."""
    path = past.write("spec.json", {**DAILY, "start": "2199-01-01"})
    line = past.error("schedule", "edit", "daily news", path)
    assert line == (
        "start='2199-01-01': the schedule has slots since 2026-11-01T09:00:00+00:00; to stop it"
        " until then, pause it"
    )
    assert past.json("schedule", "show", "daily news")["version"] == 1
