"""The commands, and that no output of anything has a part of a destination's URL."""

import asyncio
import io
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.commands import run_command
from harness.receiver import Receiver, status
from harness.waiting import until
from tests.integration.notifications.conftest import Notifying

from serpline.app.worker import run_worker
from serpline.cli.notifications import URL_VARIABLE
from serpline.core.logging import configure
from serpline.core.settings import load
from serpline.notifications import service
from serpline.notifications.kinds import usual
from serpline.store.database import Database

SECRETS = ("us3rname", "passw0rd", "t0ken-path", "h3ader-value", "127.0.0.1")


def secret_url(receiver: Receiver) -> str:
    return (
        f"json://us3rname:passw0rd@127.0.0.1:{receiver.port}/t0ken-path/?+X-Key=h3ader-value&rto=2"
    )


class Commands:
    """Runs commands on a database, and checks that their output has no secret."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._settings = {"SERPLINE_DATABASE_URL": database_url, "SERPLINE_DATA_DIR": str(folder)}

    def __call__(self, *arguments: str, code: int = 0, **settings: str) -> tuple[str, str]:
        settings = {**self._settings, "SERPLINE_LOG_LEVEL": "DEBUG", **settings}
        done = run_command(*arguments, **settings)
        out, err = done.stdout.decode(), done.stderr.decode()
        database = self._settings["SERPLINE_DATABASE_URL"]
        assert not [one for one in SECRETS if one in (out + err).replace(database, "")], out + err
        assert done.returncode == code, out + err
        return out, err

    def json(self, *arguments: str, code: int = 0) -> Any:
        out, _ = self(*arguments, "--json", code=code)
        return json.loads(out)


def notify(database_url: str, work: Callable[[Notifying], Awaitable[None]]) -> None:
    """Do something with a notifier between commands, which have loops of their own."""

    async def within() -> None:
        database = await Database.connect(database_url)
        try:
            await work(Notifying(database))
        finally:
            await database.close()

    asyncio.run(within())


@pytest.fixture
def commands(database_url: str, tmp_path: Path) -> Commands:
    return Commands(database_url, tmp_path)


def test_the_life_of_a_destination(commands: Commands, receiver: Receiver) -> None:
    """Add, list, test, replace, remove: what a person types, and what it answers."""
    url = secret_url(receiver)
    commands("notifications", "add", "ops", **{URL_VARIABLE: url})
    commands(
        *("notifications", "add", "news", url, "--event", "usual,run.completed"),
        *("--schedule", "news-daily", "--schedule", "a, b"),
    )
    news, ops = commands.json("notifications", "list")
    assert (ops["name"], ops["service"], ops["events"], ops["schedules"]) == (
        *("ops", "json"),
        *(usual(), None),
    )
    assert (news["events"], news["schedules"]) == (
        [*usual(), "run.completed"],
        ["news-daily", "a, b"],
    )
    assert commands.json("notifications", "test", "ops") == {
        "destination": "ops",
        "ok": True,
        "answer": "accepted",
    }
    assert receiver.messages[0].title == "serpline: a test"
    _, err = commands("notifications", "add", "ops", url, code=2)
    assert "--replace" in err
    commands("notifications", "add", "ops", url, "--event", "all", "--replace")
    (_, changed) = commands.json("notifications", "list")
    assert "slot.skipped" in changed["events"]
    out, _ = commands("notifications", "list")
    assert "news-daily" in out
    _, err = commands("notifications", "add", "typo", url, "--schedule", "news-dialy")
    assert "'news-dialy': there is none of that name yet" in err
    commands("notifications", "remove", "typo")
    commands("notifications", "remove", "news")
    assert [one["name"] for one in commands.json("notifications", "list")] == ["ops"]
    _, err = commands("notifications", "remove", "news", code=2)
    assert "there is none" in err


def test_a_failing_destination_is_reported(
    commands: Commands, database_url: str, receiver: Receiver
) -> None:
    """``test`` shows the service's own answer; ``list`` and ``doctor`` show since when it fails."""
    receiver.answer = status(401, b"t0ken-path is not known to passw0rd")
    url = secret_url(receiver)
    notify(database_url, lambda notifying: notifying.add("ops", url))
    answer = commands.json("notifications", "test", "ops", code=2)
    assert answer["ok"] is False
    assert "error=401" in answer["answer"]
    assert "is not known to" in answer["answer"]
    notify(database_url, lambda notifying: notifying.fail_runs([uuid4()]))
    notify(database_url, lambda notifying: notifying.turn())
    (row,) = commands.json("notifications", "list")
    assert (row["pending"], row["attempts"]) == (1, 1)
    assert "error=401" in row["last_error"]
    out, _ = commands("notifications", "list")
    assert out.splitlines()[-1].startswith("ops fails since 20")
    checks = (commands.json("doctor", code=2))["checks"]
    (check,) = [one for one in checks if one["name"] == "notifications"]
    assert check["status"] == "broken"
    assert check["words"].startswith("ops fails since ")
    assert check["words"].endswith(" UTC, 1 wait: see 'serpline notifications list'")
    # A test that is accepted makes what waits due at once.
    receiver.answer = status(200)
    commands("notifications", "test", "ops")
    notify(database_url, lambda notifying: notifying.turn())
    assert len({one.message_id for one in receiver.messages}) == 3
    (row,) = commands.json("notifications", "list")
    assert (row["pending"], row["failing_since"]) == (0, None)


def test_a_schedule_that_names_nobody(commands: Commands, database_url: str) -> None:
    """``doctor`` reports a schedule whose destination does not exist: nobody would hear of it."""

    async def store(notifying: Notifying) -> None:
        await notifying.query(
            "INSERT INTO schedules (id, version, decided_until) VALUES ('s', 1, now())"
        )
        await notifying.query(
            "INSERT INTO schedule_versions (schedule_id, version, specs)"
            """ VALUES ('s', 1, '[{"notify": ["opps"]}]')"""
        )

    notify(database_url, store)
    checks = commands.json("doctor", code=2)["checks"]
    (check,) = [one for one in checks if one["name"] == "notifications"]
    assert check["words"] == "no such destination: schedule 's' names 'opps'"


def test_what_was_sent(commands: Commands, database_url: str, receiver: Receiver) -> None:
    """``log`` lists notifications, and those of one message."""
    url, runs = secret_url(receiver), [uuid4() for _ in range(3)]
    notify(database_url, lambda notifying: notifying.add("ops", url))
    notify(database_url, lambda notifying: notifying.fail_runs(runs))
    notify(database_url, lambda notifying: notifying.turn())
    (message,) = receiver.messages
    rows = commands.json("notifications", "log", "--message", message.message_id)
    assert [row["note"]["subject"] for row in rows] == [str(one)[:8] for one in reversed(runs)]
    assert len(commands.json("notifications", "log", "--limit", "2")) == 2
    assert len(commands.json("notifications", "log", "--destination", "ops")) == 3
    out, _ = commands("notifications", "log")
    assert f"Run {str(runs[0])[:8]} failed" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "URL"], URL_VARIABLE),
        (["add", "URL", "URL"], "a URL comes after it"),
        (["add", "ops"], URL_VARIABLE),
        (["add", "two", "words", "URL"], "too many arguments"),
        (["add", "ops", "passw0rd-t0ken-path"], "service '?': Apprise cannot use"),
        (["add", "ops", "slack://passw0rd"], "service 'slack': Apprise cannot use"),
        (["add", "ops", "URL", "--event", "run.fail"], "must be one of usual, all, run.failed"),
        (["add", "", "URL"], "an argument is empty"),
        (["add", "o" * 201, "URL"], "NAME="),
        (["add", "ops", "json://passw0rd" + "x" * 4000], "at most 4000 characters"),
        (["test", "URL"], "not its URL"),
        (["remove", "URL"], "not its URL"),
        (["add", "ops", "json://passw0rd\udcff"], "URL of 'ops': must be UTF-8"),
        (["test", "nobody"], "there is none"),
        (["log", "--destination", "nobody"], "there is none"),
        (["log", "--destination", "\udcff"], "is not UTF-8"),
        (["log", "--destination", "URL"], "not its URL"),
    ],
)
def test_mistakes(
    commands: Commands, receiver: Receiver, arguments: list[str], message: str
) -> None:
    """A mistake is one line that shows no part of a URL, wherever the URL was typed."""
    given = [secret_url(receiver) if one == "URL" else one for one in arguments]
    _, err = commands("notifications", *given, code=2, SERPLINE_LOG_LEVEL="WARNING")
    assert message in err
    assert err.count("\n") == 1


def test_the_url_on_stdin(
    commands: Commands, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL on stdin is in no list of processes and no history."""
    monkeypatch.setattr("sys.stdin", io.StringIO(secret_url(receiver) + "\n"))
    commands("notifications", "add", "ops", "-")
    commands("notifications", "test", "ops")
    assert len(receiver.messages) == 1


def test_a_url_on_stdin_that_is_no_text(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, whatever the encoding of stdin does with such bytes."""
    given = io.TextIOWrapper(io.BytesIO(b"json://us3rname:passw0rd\xff@x/"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", given)
    _, err = commands("notifications", "add", "ops", "-", code=2, SERPLINE_LOG_LEVEL="WARNING")
    assert err == "serpline: URL on stdin: must be UTF-8\n"


def test_a_bug_shows_no_url(
    commands: Commands, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback shows no URL, and neither does a plugin's own exception."""

    def fail(url: Any) -> None:
        raise RuntimeError(f"a bug with {url}")

    monkeypatch.setattr(service, "check_url", fail)
    url = secret_url(receiver)
    _, err = commands("notifications", "add", "ops", code=70, **{URL_VARIABLE: url})
    assert "a bug with **********" in err


async def test_no_log_has_a_secret(
    notifying: Notifying, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    """At the most detailed level no library logs a part of the URL, also for broken answers."""
    saved = logging.getLogger().level
    configure("DEBUG")
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        await notifying.add("ops", secret_url(receiver))
        for answer in (
            status(200),
            status(500, b"t0ken-path"),
            status(200, Transfer_Encoding="t0ken-path"),
            lambda request: request.wfile.write(b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n"),
            lambda request: request.connection.close(),
        ):
            receiver.answer = answer
            await notifying.fail_runs([uuid4()])
            await notifying.turn()
            await notifying.pass_time(4000)
    finally:
        logging.getLogger().setLevel(saved)
    out, err = capfd.readouterr()
    assert "notify.sent" in err
    assert "notify.refused" in err
    assert not [one for one in SECRETS if one in out + err]


async def test_a_worker_notifies(
    notifying: Notifying, receiver: Receiver, database_url: str, tmp_path: Path
) -> None:
    """A worker process notifies, and ends when it is told to."""
    await notifying.add("ops", receiver.url())
    await notifying.fail_runs([uuid4()])
    stop = asyncio.Event()
    worker = asyncio.create_task(
        run_worker(load(database_url=database_url, data_dir=tmp_path), stop, phases={})
    )

    async def has_arrived() -> bool:
        assert not worker.done()
        return bool(receiver.messages)

    try:
        await until(has_arrived, "the message")
    finally:
        stop.set()
        await worker
