"""``serpline notifications list|add|remove|test|log``. No command shows a URL."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from pydantic import SecretStr

from serpline.cli.common import (
    JsonFlag,
    print_json,
    print_message,
    read_name,
    run,
    services,
    split_list,
)
from serpline.cli.tables import Column, format_cell, show_table
from serpline.cli.times import minute
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.notifications.sender import Answer
    from serpline.notifications.service import NotificationService

URL_VARIABLE = "SERPLINE_NOTIFY_URL"
REFUSED = 2
_URL_CHARS_MAX = 10_000

app = typer.Typer(help="Choose who is told what happened, and how.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(callback=read_name, help="The destination's name.")]


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List the destinations: what they hear, what waits, and since when they fail."""

    async def read() -> list[dict[str, Any]]:
        async with _service(ctx) as service:
            return [asdict(row) for row in await service.list_all()]

    rows = run(read())
    if as_json:
        from serpline.notifications.kinds import usual

        print_json([{**row, "events": row["events"] or usual()} for row in rows])
        return
    if not rows:
        print_message("there is no destination yet: add one with 'serpline notifications add'")
        return
    columns: list[str | Column] = [
        "name",
        Column("service", drop=1),
        "hears",
        "waiting",
        "given up",
        "last sent (UTC)",
    ]
    shown = [
        [
            row["name"],
            row["service"],
            _hears(row),
            row["pending"],
            row["failed"],
            minute(row["last_sent_at"]),
        ]
        for row in rows
    ]
    show_table(columns, shown)
    for row in rows:
        if row["failing_since"] is not None:
            since = f"fails since {minute(row['failing_since'])} UTC"
            typer.echo(format_cell(f"{row['name']} {since}: {row['last_error']}"))


def _hears(row: dict[str, Any]) -> str:
    kinds = "usual" if row["events"] is None else format_cell(row["events"])
    return kinds if row["schedules"] is None else f"{kinds} of {format_cell(row['schedules'])}"


# Extra arguments are refused here, because the parser's own message would show a URL.
@app.command("add", context_settings={"allow_extra_args": True})
def add(
    ctx: typer.Context,
    name: Name,
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL]",
            help=f"Apprise URL; - reads it from stdin. Default: {URL_VARIABLE}.",
            show_default=False,
        ),
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(help="Kinds of events, by commas or repeated; 'usual' and 'all' are sets."),
    ] = None,
    schedule: Annotated[
        list[str] | None, typer.Option(help="Only of this schedule. May be repeated.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change the URL and the rules of an existing one.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add a destination. It hears of what happens from now on.

    Users of the machine see a command's arguments: give the URL on stdin or in the environment.
    """
    if ctx.args:
        raise UserError("too many arguments: give NAME and one URL")
    secret = _read_url(url)

    async def work() -> list[str]:
        async with _service(ctx) as service:
            return await service.add(
                name, secret, events=split_list(event), schedules=schedule, replace=replace
            )

    for unknown in run(work()):
        print_message(f"schedule {unknown!r}: there is none of that name yet")
    if as_json:
        print_json({"destination": name, "status": "added"})
    else:
        print_message(f"{name}: added; try it with 'serpline notifications test'")


@app.command("remove")
def remove(ctx: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Remove a destination, with the messages that wait for it."""

    async def work() -> None:
        async with _service(ctx) as service:
            await service.remove(name)

    run(work())
    if as_json:
        print_json({"destination": name, "status": "removed"})
    else:
        print_message(f"{name}: removed")


@app.command("test")
def send_test(ctx: typer.Context, name: Name, as_json: JsonFlag = False) -> int:
    """Send a message now and show the service's answer. Exit code 2 if it was not accepted."""

    async def work() -> "Answer":
        async with _service(ctx) as service:
            return await service.test(name)

    answer = run(work())
    if as_json:
        print_json({"destination": name, "ok": answer.is_sent, "answer": answer.words})
    if not answer.is_sent:
        print_message(f"{name}: not sent: {answer.words}")
        return REFUSED
    print_message(f"{name}: sent: {answer.words}")
    return 0


@app.command("log")
def log(
    ctx: typer.Context,
    destination: Annotated[
        str | None, typer.Option(callback=read_name, help="Only of this destination.")
    ] = None,
    message: Annotated[
        UUID | None, typer.Option(help="Only what this message told; a message ends with its id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List the newest notifications, and whether they were sent."""

    async def read() -> list[dict[str, Any]]:
        async with _service(ctx) as service:
            return await service.log(destination, message, 1000 if message else limit)

    rows = run(read())
    if as_json:
        print_json(rows)
        return
    if not rows:
        print_message("nothing was told yet")
        return
    columns = ["destination", "state", "attempts"]
    shown = [
        [minute(row["occurred_at"]), *(row[name] for name in columns), row["note"]["headline"]]
        for row in rows
    ]
    show_table(["time (UTC)", *columns, "what happened"], shown)


def _read_url(given: str | None) -> SecretStr:
    """The URL from the argument, from stdin, or from the environment."""
    if given == "-":
        try:
            given = sys.stdin.read(_URL_CHARS_MAX)
        except UnicodeDecodeError:
            raise UserError("URL on stdin: must be UTF-8") from None
    elif given is None:
        given = os.environ.get(URL_VARIABLE, "")
    given = given.strip()
    if not given:
        raise UserError(f"URL: give it as an argument, on stdin with -, or as {URL_VARIABLE}")
    return SecretStr(given)


@asynccontextmanager
async def _service(ctx: typer.Context) -> "AsyncIterator[NotificationService]":
    from serpline.notifications.service import NotificationService

    async with services(ctx) as opened:
        yield NotificationService(opened.database)
