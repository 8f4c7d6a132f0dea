"""``serpline backup``, ``serpline restore``, ``serpline prune``."""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serpline.cli.common import (
    JsonFlag,
    configure_logging,
    load_settings,
    print_json,
    print_message,
    run,
    services,
    show_table,
)
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.store.maintenance.backup import BackedUp

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup's file.")]
Days = typer.Option(metavar="DAYS", help="Keep so many days.", show_default="see docs/retention.md")


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)
    app.command("prune")(prune)


def backup(
    ctx: typer.Context,
    file: BackupFile,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write everything into one file, as it is at one instant; work may go on meanwhile."""

    async def work() -> "BackedUp":
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
            help="The fresh database. Whatever is written here, others see in the list of"
            " processes: give a URL with a password as SERPLINE_DATABASE_URL, or on stdin"
            " (--into -).",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Load a backup into a fresh database; runs that were running go on from where they were."""
    if into == "-":
        into = sys.stdin.readline().strip()
        if not into:
            raise UserError("--into -: no URL on stdin")
    settings = load_settings(ctx, database_url=into)
    configure_logging(settings)
    from serpline.store.maintenance.archive import ArchiveReader

    # The file first: a damaged one must not even start a database.
    with ArchiveReader(file) as archive:

        async def work() -> dict[str, int]:
            from serpline.app import database_url
            from serpline.store.database import Database
            from serpline.store.maintenance.restore import restore as load

            # Not as services, which would migrate whatever database it is.
            database = await Database.connect(await database_url(settings), pool_size=2)
            try:
                return await load(database, archive, progress=_progress("rows"))
            finally:
                await database.close()

        rows = run(work())
        created = archive.manifest.created_at
    print_message(f"restored {sum(rows.values()):,} rows of {created:%Y-%m-%d %H:%M:%S %Z}")
    if as_json:
        print_json({"file": file, "created_at": created, "tables": rows})


def prune(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many rows would go.")
    ] = False,
    items_days: Annotated[int | None, Days] = None,
    retries_days: Annotated[int | None, Days] = None,
    raw_replies_days: Annotated[int | None, Days] = None,
    events_days: Annotated[int | None, Days] = None,
    calls_days: Annotated[int | None, Days] = None,
    reference_days: Annotated[int | None, Days] = None,
    webhooks_days: Annotated[int | None, Days] = None,
    dead_letters_days: Annotated[int | None, Days] = None,
    breaker_events_days: Annotated[int | None, Days] = None,
    workers_days: Annotated[int | None, Days] = None,
    results_days: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            help="Keep the results of a run for so many days after its end.",
            show_default="for ever",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Only show what the last passes did, and when.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete expired data now. Results, unless they were given days, and active runs stay.

    Workers do it by themselves (SERPLINE_PRUNE_HOURS, SERPLINE_RETENTION_DAYS); --show says what
    they did. May be stopped at any time, and run again. See docs/retention.md.
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
        "results_days": results_days,
    }
    from serpline.store.maintenance.passes import prune as delete
    from serpline.store.maintenance.retention import Retention

    usual = Retention.of(load_settings(ctx).retention_days)
    retention = replace(usual, **{name: days for name, days in given.items() if days is not None})

    async def work() -> dict[str, int]:
        verb = "rows would go" if dry_run else "rows deleted"
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
        title = "would go" if dry_run else "deleted"
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
    show_table(["pass", "began", "ended", "next", "deleted"], rows)
    for name, each in passes.items():
        for step, error in (each["errors"] if each else {}).items():
            print_message(f"{name}: {step} was passed over: {error}")


def _progress(what: str) -> Callable[[str, int], None]:
    """A line on stderr for each table that had something to do."""

    def report(table: str, rows: int) -> None:
        if rows:
            print_message(f"{table}: {rows:,} {what}")

    return report
