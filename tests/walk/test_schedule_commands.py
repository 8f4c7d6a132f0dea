"""Schedules by command: kept, explained, and started by a process of its own."""

import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from harness.commands import run_command
from harness.environment import clean_environment

from serpline.core.clock import SystemClock
from serpline.scheduling.spec import ScheduleSpec

# A command takes CPU from the scheduler that it waits for.
POLL_SECONDS = 0.5
SPEC = """
# Two content types, one schedule.
- content_type: news
  frequency: daily
  time_of_day: 10:30
  jitter: 5m
- content_type: organic
  frequency: monthly
  day_of_month: 1
"""


class Commands:
    """Commands on one database."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.settings = {"SERPLINE_DATABASE_URL": database_url, "COLUMNS": "200"}
        self.folder = folder

    def write(self, name: str, text: str) -> str:
        """Write a file; returns its path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def read(self, *arguments: str) -> Any:
        """The JSON document of a command that succeeds."""
        done = run_command(*arguments, "--json", **self.settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str) -> str:
        """The one line of a command that is refused."""
        done = run_command(*arguments, **self.settings)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
        return done.stderr.decode().removeprefix("serpline: ").strip()


def test_a_schedule_is_kept(database_url: str, tmp_path: Path) -> None:
    """Added from YAML, edited, paused, resumed and deleted; every fault of a file is named."""
    commands = Commands(database_url, tmp_path)
    spec, name = commands.write("spec.yaml", SPEC), "日次 news"
    added = commands.read("schedule", "add", name, spec, "--reason", "first")
    assert (added["id"], added["status"], added["version"]) == (name, "active", 1)
    assert added["specs"][0]["time_of_day"] == "10:30"
    wrong = commands.write(
        "wrong.yaml", "- {content_type: news, frequency: dayly, jiter: 5m}\n- {frequency: daily}\n"
    )
    assert commands.refused("schedule", "edit", name, wrong) == (
        f"{wrong}: specification 1: unknown key 'jiter'='5m': did you mean jitter?;"
        " specification 1: frequency='dayly': must be one of daily, weekly, monthly, quarterly,"
        " cron, interval; did you mean daily?; specification 2: content_type is missing: give"
        " content_type or content_types"
    )
    other = commands.write("other.json", '{"content_type": "news", "frequency": "weekly"}')
    assert commands.read("schedule", "edit", name, other)["version"] == 2
    same = run_command("schedule", "edit", name, other, **commands.settings)
    assert b"the specifications are those of the newest version" in same.stderr
    first = commands.read("schedule", "show", name, "--version", "1", "--spec")
    order = [*ScheduleSpec.keys()]
    assert all(list(each) == sorted(each, key=order.index) for each in first)
    assert "is at version 2" in commands.refused("schedule", "edit", name, spec, "--version", "1")
    paused = commands.read("schedule", "pause", name, "--reason", "holidays")
    assert (paused["status"], paused["pause_reason"]) == ("paused", "holidays")
    listed = commands.read("schedule", "list")
    assert [(each["id"], each["status"]) for each in listed] == [(name, "paused")]
    assert commands.read("schedule", "resume", name)["status"] == "active"
    assert [each["version"] for each in commands.read("schedule", "show", name)["versions"]] == [
        1,
        2,
    ]
    assert "there is no such schedule" in commands.refused("schedule", "slots", "gone")
    assert "no keywords" in commands.refused("schedule", "trigger", name)
    assert commands.read("schedule", "slots", name) == []
    for command in ("list", "slots", "show"):
        arguments = [] if command == "list" else [name]
        done = run_command("schedule", command, *arguments, **commands.settings)
        assert done.returncode == 0, done.stderr
        assert (b"has no such slot" in done.stderr) == (command == "slots")
    assert commands.read("schedule", "delete", name)["status"] == "deleted"
    assert commands.read("schedule", "list") == []
    assert len(commands.read("schedule", "list", "--deleted")) == 1


def test_the_scheduler_starts_what_is_due(database_url: str, tmp_path: Path) -> None:
    """``serpline scheduler`` starts a slot at its instant, without any worker."""
    commands = Commands(database_url, tmp_path)
    commands.read("keywords", "import", commands.write("k.csv", "keyword,market\nmoka pot,US\n"))
    due = SystemClock().now().replace(microsecond=0) + timedelta(seconds=3)
    spec = {"frequency": "interval", "interval": "1h", "anchor": due.isoformat()}
    written = commands.write("spec.json", json.dumps({"content_type": "news", **spec}))
    commands.read("schedule", "add", "s", written)
    environment = {**clean_environment(), **commands.settings}
    log = tmp_path / "scheduler.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serpline.cli", "scheduler"], env=environment, stderr=file
        )
    try:
        slots: list[Any] = []
        while not slots or slots[0]["outcome"] == "due":
            assert SystemClock().now() < due + timedelta(seconds=120), log.read_text()
            slots = commands.read("schedule", "slots", "s")
            time.sleep(POLL_SECONDS)
        (slot,) = slots
        assert (slot["outcome"], slot["scheduled_for"]) == ("started", due.isoformat())
        assert {"content_type", "started_at", "reason", "run_id"} <= set(slot)
        assert slot["lateness_seconds"] >= 0
        (run,) = commands.read("run", "list")
        assert (run["id"], run["mode"]) == (slot["run_id"], "scheduled")
        assert (run["schedule"], run["scheduled_for"]) == ("s", due.isoformat())
        shown = run_command("run", "show", run["id"], **commands.settings).stdout.decode()
        shown = " ".join(shown.split())  # the title is folded
        assert f"; schedule 's' for the slot {due:%Y-%m-%d %H:%M} UTC" in shown
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0, log.read_text()
