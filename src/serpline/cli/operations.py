"""``serpline backup``, ``serpline restore``, ``serpline prune``."""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    JsonFlag,
    configure_logging,
    load_settings,
    print_json,
    print_message,
    run,
    services,
)
from serpline.cli.tables import Column, show_table
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.store.maintenance.backup import BackupResult

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup file.")]


def _days(help_: str) -> Any:
    return typer.Option(metavar="DAYS", help=help_, show_default="see docs/retention.md")


def backup(
    ctx: typer.Context,
    file: BackupFile,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a consistent snapshot of the database to one file. Workers keep running."""

    async def work() -> "BackupResult":
        from serpline.store.maintenance.backup import backup as write

        async with services(ctx) as opened:
            return await write(
                opened.database,
                file,
                now=opened.clock.now(),
                overwrite=overwrite,
                progress=_progress("rows"),
            )

    done = run(work())
    rows = sum(done.rows.values())
    print_message(
        f"{file}: {rows:,} rows, {done.size_bytes / 1e6:,.1f} MB, schema {done.manifest.revision}"
    )
    if as_json:
        print_json(
            {
                "file": file,
                "size_bytes": done.size_bytes,
                "schema": done.manifest.revision,
                "created_at": done.manifest.created_at,
                "tables": done.rows,
            }
        )


def restore(
    ctx: typer.Context,
    file: BackupFile,
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="URL|-",
            help="URL of the empty database; -: read it from stdin. Default: the configured"
            " database. Other users of this machine can see command lines: pass a password on"
            " stdin or in SERPLINE_DATABASE_URL.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Load a backup into an empty database. Active runs continue where they were."""
    if into == "-":
        into = sys.stdin.readline().strip()
        if not into:
            raise UserError("--into -: no URL on stdin")
    settings = load_settings(ctx, database_url=into)
    configure_logging(settings)
    from serpline.store.maintenance.archive import ArchiveReader

    # Open the file first: a damaged file must not start a database.
    with ArchiveReader(file) as archive:

        async def work() -> dict[str, int]:
            from serpline.app.server import database_url
            from serpline.store.database import Database
            from serpline.store.maintenance.restore import restore as load

            # Not ``open_services``, which would migrate the database.
            database = await Database.connect(await database_url(settings), pool_size=2)
            try:
                return await load(database, archive, progress=_progress("rows"))
            finally:
                await database.close()

        rows = run(work())
        created = archive.manifest.created_at
    print_message(f"restored {sum(rows.values()):,} rows from {created:%Y-%m-%d %H:%M:%S %Z}")
    if as_json:
        print_json({"file": file, "created_at": created, "tables": rows})


def prune(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count the rows that would be deleted.")
    ] = False,
    items_days: Annotated[int | None, _days("Days to keep items of ended runs.")] = None,
    retries_days: Annotated[int | None, _days("Days to keep failed attempts.")] = None,
    raw_replies_days: Annotated[int | None, _days("Days to keep providers' replies.")] = None,
    events_days: Annotated[int | None, _days("Days to keep run events.")] = None,
    calls_days: Annotated[int | None, _days("Days to keep the call ledger; at least 33.")] = None,
    reference_days: Annotated[int | None, _days("Days to keep bought reference data.")] = None,
    webhooks_days: Annotated[int | None, _days("Days to keep received webhooks.")] = None,
    dead_letters_days: Annotated[
        int | None, _days("Days to keep failed jobs that a person settled.")
    ] = None,
    breaker_events_days: Annotated[int | None, _days("Days to keep breaker events.")] = None,
    workers_days: Annotated[int | None, _days("Days to keep ended workers.")] = None,
    slots_days: Annotated[
        int | None, _days("Days to keep slots of schedules, ended backfills and proposals.")
    ] = None,
    notifications_days: Annotated[
        int | None, _days("Days to keep notifications that were sent or given up.")
    ] = None,
    results_days: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            help="Days to keep a run with its results after its end.",
            show_default="for ever",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Only show the last passes and when the next is due.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete expired operational data now. Active runs stay, and results unless given days.

    Workers prune every SERPLINE_PRUNE_HOURS (default 24) with SERPLINE_RETENTION_DAYS; --show lists
    their passes. Safe to interrupt and repeat. See docs/retention.md.
    """
    if show:
        _show_passes(ctx, as_json=as_json)
        return
    given = {
        "items_days": items_days,
        "retries_days": retries_days,
        "raw_replies_days": raw_replies_days,
        "events_days": events_days,
        "calls_days": calls_days,
        "reference_days": reference_days,
        "webhooks_days": webhooks_days,
        "dead_letters_days": dead_letters_days,
        "breaker_events_days": breaker_events_days,
        "workers_days": workers_days,
        "slots_days": slots_days,
        "notifications_days": notifications_days,
        "results_days": results_days,
    }
    from serpline.store.maintenance.passes import prune as delete
    from serpline.store.maintenance.retention import Retention

    defaults = Retention.of(load_settings(ctx).retention_days)
    retention = replace(
        defaults, **{name: days for name, days in given.items() if days is not None}
    )

    async def work() -> dict[str, int]:
        verb = "rows would be deleted" if dry_run else "rows deleted"
        async with services(ctx) as opened:
            return await delete(
                opened.database,
                retention,
                now=opened.clock.now(),
                dry_run=dry_run,
                progress=_progress(verb),
            )

    gone = run(work())
    if as_json:
        print_json({"dry_run": dry_run, "days": asdict(retention), "rows": gone})
    else:
        title = "would be deleted" if dry_run else "deleted"
        show_table(["table", title], [[table, count] for table, count in gone.items()])


def _show_passes(ctx: typer.Context, *, as_json: bool) -> None:
    from serpline.store.maintenance.passes import Pass, last_passes
    from serpline.store.maintenance.retention import Retention

    settings = load_settings(ctx)
    days = asdict(Retention.of(settings.retention_days))

    async def work() -> "dict[str, Pass | None]":
        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await last_passes(conn)

    found = run(work())
    passes = {name: each and asdict(each) for name, each in found.items()}
    if as_json:
        print_json({"every_hours": settings.prune_hours, "days": days, "passes": passes})
        return
    columns = ["started_at", "finished_at", "next_at"]
    rows = []
    for name, each in passes.items():
        times = [each[column] if each else None for column in columns]
        deleted = ", ".join(f"{table} {n:,}" for table, n in each["rows"].items()) if each else ""
        rows.append([name, *times, deleted or "nothing"])
    started = Column("started", drop=1)
    show_table(["pass", started, "finished", "next", Column("deleted", drop=2)], rows)
    for name, each in passes.items():
        for step, error in (each["errors"] if each else {}).items():
            print_message(f"{name}: {step} failed and was skipped: {error}")


def _progress(what: str) -> Callable[[str, int], None]:
    """A callback that prints one line per table with rows."""

    def report(table: str, rows: int) -> None:
        if rows:
            print_message(f"{table}: {rows:,} {what}")

    return report
