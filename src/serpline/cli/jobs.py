"""``serpline jobs list|retry|discard``: dead letters, kept until an operator settles them."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from serpline.cli.common import JsonFlag, print_json, print_message, run, services
from serpline.cli.tables import Column, show_table
from serpline.domain.errors import UserError

app = typer.Typer(help="Jobs that failed all their attempts.", no_args_is_help=True)

# The column's largest value.
LETTER_ID_MAX = 2**63 - 1


def _letter_id(given: int) -> int:
    if not 1 <= given <= LETTER_ID_MAX:
        raise UserError(f"job {given}: must be 1 to {LETTER_ID_MAX}")
    return given


LetterId = Annotated[
    int, typer.Argument(callback=_letter_id, help="Id of the failed job, as in 'jobs list'.")
]


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Maximum number of jobs.")] = 100,
    settled: Annotated[
        bool, typer.Option("--all", help="Include retried and discarded ones.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List failed jobs, newest first."""

    async def read() -> list[dict[str, Any]]:
        from serpline.store.queue.dead_letters import DeadLetterStatus, list_dead_letters

        status = None if settled else DeadLetterStatus.DEAD
        async with services(ctx) as opened, opened.database.transaction() as conn:
            found = await list_dead_letters(conn, status=status, limit=limit)
        return [asdict(letter) for letter in found]

    found = run(read())
    if as_json:
        print_json(found)
    else:
        columns = ["id", "job_type", "target", "status", "attempts", "failed_at", "error"]
        drops = {"status": 1, "attempts": 2, "target": 3}
        named = [Column(name, drop=drops.get(name, 0)) for name in columns]
        show_table(named, [[row[name] for name in columns] for row in found])


@app.command()
def retry(ctx: typer.Context, letter_id: LetterId) -> None:
    """Enqueue a failed job again, with all its attempts."""

    async def write() -> None:
        from serpline.store.queue import dead_letters

        async with services(ctx) as opened, opened.database.transaction() as conn:
            await dead_letters.retry(conn, letter_id)

    run(write())
    print_message(f"job {letter_id}: enqueued again")


@app.command()
def discard(ctx: typer.Context, letter_id: LetterId) -> None:
    """Discard a failed job. Its record stays."""

    async def write() -> None:
        from serpline.store.queue import dead_letters

        async with services(ctx) as opened, opened.database.transaction() as conn:
            await dead_letters.discard(conn, letter_id)

    run(write())
    print_message(f"job {letter_id}: discarded")
