"""A retention pass: its steps in order, and a complete manual pass.

The automatic pass runs the steps portion by portion (``pipeline.pruner``).
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from serpline.store.database import Connection, Database, TransactionConflict
from serpline.store.maintenance import housekeeping
from serpline.store.maintenance.expiry import count_expired, delete_expired, expire
from serpline.store.maintenance.prune import (
    Place,
    Portion,
    Step,
    Terms,
    count_items,
    count_table,
    longest_ttl_days,
    prune_items,
    prune_table,
)
from serpline.store.maintenance.retention import OF_RUN, RULES, Retention
from serpline.store.runs import events
from serpline.store.runs.events import Event

Progress = Callable[[str, int], None]
"""Called with a table's name and how many of its rows a step deleted (or would delete)."""

CONFLICTS_MAX: Final = 5
AUTOMATIC: Final = "prune"
BY_HAND: Final = "prune by hand"
FINISHED: Final = "prune.finished"

# Runs come last: their data that has expired by itself is deleted first.
STEPS: Final[Mapping[str, Step]] = {
    "items": prune_items,
    **{rule.table: partial(prune_table, rule=rule) for rule in RULES},
    "expired runs": expire,
    "runs": delete_expired,
}
PRUNED_TABLES: Final = tuple(dict.fromkeys(("items", *(rule.table for rule in RULES), *OF_RUN)))


@dataclass(frozen=True, slots=True)
class Pass:
    """The rows that a pass has deleted so far, by table; ``finished_at`` None: it is in progress.

    ``next_at``: when the next pass, or the rest of this one, is due. ``errors``: by the step that
    raised.
    """

    started_at: datetime
    finished_at: datetime | None
    next_at: datetime | None
    rows: dict[str, int]
    errors: dict[str, str]


async def last_passes(conn: Connection) -> dict[str, Pass | None]:
    """Return the last automatic and the last manual pass; None: there was none."""
    found: dict[str, Pass | None] = {}
    for name, task in (("automatic", AUTOMATIC), ("by hand", BY_HAND)):
        row = await housekeeping.read(conn, task)
        found[name] = None
        if row is not None and row.state:
            started, finished = (row.state[key] for key in ("started_at", "finished_at"))
            found[name] = Pass(
                datetime.fromisoformat(started),
                finished and datetime.fromisoformat(finished),
                row.next_check_at,
                row.state["rows"],
                row.state.get("errors", {}),
            )
    return found


async def prune(
    database: Database,
    retention: Retention,
    *,
    now: datetime,
    dry_run: bool = False,
    progress: Progress | None = None,
    **bounds: int,
) -> dict[str, int]:
    """Run a manual pass: delete expired data; returns the rows deleted, by table.

    ``dry_run``: delete nothing, and return what would be deleted. ``bounds``: of ``Terms``; a
    chunk's items are deleted together, so one chunk may exceed ``items_max``. Raises ``UserError``,
    with nothing deleted, if a run needs reference data for longer than it is kept.
    """
    async with database.transaction() as conn:
        retention.check_reference(await longest_ttl_days(conn))
    terms = Terms.of(retention, now, **bounds)
    deleted: Counter[str] = Counter(dict.fromkeys(PRUNED_TABLES, 0))
    report = progress or _no_progress
    if dry_run:
        async with database.transaction() as conn:
            deleted.update(await _count_expired(conn, terms))
        for table, rows in deleted.items():
            report(table, rows)
    else:
        for step in STEPS.values():
            by_step: Counter[str] = Counter()
            async for portion in _portions(database, step, terms):
                by_step.update(portion.deleted)
            for table, rows in by_step.items():
                report(table, rows)
            deleted.update(by_step)
        found = {table: rows for table, rows in deleted.items() if rows}
        state = {"started_at": now, "finished_at": now, "rows": found}
        async with database.transaction() as conn:
            await housekeeping.write(conn, BY_HAND, state, None)
            await events.append(conn, [Event(FINISHED, detail={"rows": found, "by_hand": True})])
    return dict(deleted)


def _no_progress(_table: str, _rows: int) -> None:
    """Report nothing."""


async def _count_expired(conn: Connection, terms: Terms) -> Counter[str]:
    counted: Counter[str] = Counter(await count_items(conn, terms))
    for rule in RULES:
        counted.update(await count_table(conn, terms, rule=rule))
    of_runs = await count_expired(conn, terms)
    # Items of old runs are counted with the items.
    counted.update({table: rows for table, rows in of_runs.items() if table != "items"})
    return counted


async def _portions(database: Database, step: Step, terms: Terms) -> AsyncGenerator[Portion, None]:
    place: Place | None = []
    while place is not None:
        portion = await _transaction(database, step, terms, place)
        yield portion
        place = portion.place


async def _transaction(database: Database, step: Step, terms: Terms, place: Place) -> Portion:
    """Run one transaction, and repeat it if PostgreSQL rolls it back for another."""
    for _ in range(CONFLICTS_MAX - 1):
        try:
            async with database.transaction() as conn:
                return await step(conn, terms, place)
        except TransactionConflict:
            continue
    async with database.transaction() as conn:
        return await step(conn, terms, place)
