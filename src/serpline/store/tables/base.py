"""The metadata that all tables register with, and their shared types."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import CheckConstraint, Connection, DateTime, MetaData, Table, text
from sqlalchemy.event import listens_for

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Instant = DateTime(timezone=True)
NOW: Final = text("now()")
ZERO: Final = text("0")

_RUN_COLUMNS: Final = frozenset({"run_id", "lane_id", "pipeline_execution_id"})


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Return the check that ``column`` holds a value of the enumeration."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def without_statistics(table: Table) -> list[str]:
    """Return the DDL that turns off statistics for the columns that name a row's run or lane.

    With statistics, the planner knows the runs it has seen and estimates no rows for a new one. Any
    index that begins with the run then seems as good as the right one. Without, it estimates one
    row in two hundred for a run or lane, which is wrong and harmless.
    """
    return [
        f"ALTER TABLE {table.name} ALTER COLUMN {column.name} SET STATISTICS 0"
        for column in table.columns
        if column.name in _RUN_COLUMNS
    ]


@listens_for(metadata, "after_create")
def _leave_without_statistics(
    _metadata: MetaData, connection: Connection, *, tables: Sequence[Table], **_: Any
) -> None:
    for table in tables:
        for statement in without_statistics(table):
            connection.execute(text(statement))
