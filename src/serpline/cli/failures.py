"""``serpline failures`` and ``serpline run retry``: what failed, and to try it again."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

import typer

from serpline.cli.common import JsonFlag, print_json, print_message, require_utf8, run, services
from serpline.cli.run_tables import item_text
from serpline.cli.runs import RunId, find_run
from serpline.cli.tables import ID_CHARACTERS, Column, show_table
from serpline.core.person import person
from serpline.domain.errors import ErrorCategory, UserError
from serpline.domain.names import ContentType, PhaseName

LIMIT_MAX = 100_000

PhaseOption = Annotated[
    PhaseName | None, typer.Option("--phase", metavar="PHASE", help="Only this phase.")
]
TypeOption = Annotated[
    ContentType | None,
    typer.Option("--content-type", metavar="TYPE", help="Only this content type."),
]
CategoryOption = Annotated[
    ErrorCategory | None,
    typer.Option("--category", metavar="CATEGORY", help="Only failures of this category."),
]


def register(runs_app: typer.Typer) -> None:
    """Add ``retry`` to the group ``run``."""
    runs_app.command("retry")(retry)


def failures(
    ctx: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run",
            help="Run id, its first characters, or latest. Default: the latest run with failures.",
        ),
    ] = None,
    phase: PhaseOption = None,
    content_type: TypeOption = None,
    category: CategoryOption = None,
    provider: Annotated[
        str | None,
        typer.Option(callback=require_utf8, help="Only errors that begin with this provider."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Failures of a page.")] = 50,
    after: Annotated[
        str | None, typer.Option(callback=require_utf8, help="The next page, as the last one says.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the failed items of a run: how many of each kind, then each with its error."""

    async def read() -> tuple[UUID, list[dict[str, Any]], list[dict[str, Any]]]:
        from serpline.store.runs import failures as stored

        chosen = stored.FailureFilter(phase, content_type, category, provider)
        async with services(ctx) as opened:
            given = None if run_id is None else await find_run(opened, run_id)
            async with opened.database.transaction() as conn:
                found = given or await stored.latest_run(conn)
                if found is None:
                    raise UserError("no run has failed items")
                counts = await stored.counts(conn, found, chosen)
                # One more than shown tells whether there are more.
                rows = await stored.page(conn, found, chosen, after=_cursor(after), limit=limit + 1)
        return found, counts, rows

    found, counts, rows = run(read())
    more = f"{rows[limit - 1]['lane_id']}:{rows[limit - 1]['item']}" if len(rows) > limit else None
    rows = rows[:limit]
    if as_json:
        print_json({"run_id": found, "counts": counts, "failures": rows, "next": more})
        return
    total = sum(row["items"] for row in counts)
    name = str(found)[:ID_CHARACTERS]
    if not rows:
        print_message(f"run {name}: no failed item matches")
        return
    if after is None:
        _show_counts(counts, f"{total:,} failed items of run {name}")
        typer.echo()
    _show_items(rows)
    if more:
        print_message(f"more failures: --after {more!r}")


def _show_counts(counts: Sequence[Mapping[str, Any]], title: str) -> None:
    names = ("phase_name", "content_type", "error_category", "items", "example")
    columns = [
        Column("phase", wraps=False),
        Column("type"),
        Column("category"),
        Column("items"),
        Column("example", drop=1),
    ]
    show_table(columns, [[row[name] for name in names] for row in counts], title=title)


def _show_items(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = [
        Column("phase", drop=2, is_key=True, wraps=False),
        Column("type", drop=3, is_key=True),
        Column("failed item"),
        Column("category", drop=1),
        Column("tries", drop=4),
        Column("error"),
    ]
    names = ("phase_name", "content_type", None, "error_category", "attempts", "error")
    show_table(columns, [[row[n] if n else item_text(row) for n in names] for row in rows])


def _cursor(given: str | None) -> tuple[int, str]:
    if given is None:
        return 0, ""
    lane, _, item = given.partition(":")
    if not (lane.isascii() and lane.isdigit() and len(lane) < 19 and item):
        raise UserError(f"--after {given!r}: must be what the page before says")
    return int(lane), item


def retry(
    ctx: typer.Context,
    run_id: RunId,
    phase: PhaseOption = None,
    content_type: TypeOption = None,
    category: CategoryOption = None,
    item: Annotated[
        str | None, typer.Option(callback=require_utf8, help="Only this item; needs --phase.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be retried; change nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Retry what failed in an ended run: all, or by phase, content type, category or item.

    With --category or --item, only such items are tried again.
    """
    if item is not None and phase is None:
        raise UserError(f"--item {item!r}: give its phase with --phase")

    from serpline.pipeline.waiting import named_steps

    async def reopen() -> tuple[UUID, list[str], int]:
        async with services(ctx) as opened:
            found = await find_run(opened, run_id)
            done = await opened.pipeline.retry(
                found,
                phase=phase,
                content_type=content_type,
                item=item,
                category=category,
                by=person(),
                dry_run=dry_run,
            )
            return found, done.lanes, done.items

    found, lanes, items = run(reopen())
    if as_json:
        print_json({"run_id": found, "lanes": lanes, "items": items, "dry_run": dry_run})
        return
    verb = "would reopen" if dry_run else "reopened"
    print_message(f"run {found}: {verb} {named_steps(lanes)}; failed items: {items:,}")
