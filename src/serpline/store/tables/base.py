"""The metadata all tables register with, and the types they share."""

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

_BELONGS_TO: Final = frozenset({"run_id", "lane_id", "pipeline_execution_id"})


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    """The check that ``column`` holds one of the words of an enumeration."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def without_statistics(table: Table) -> list[str]:
    """The DDL that keeps statistics off the columns that say whose run or lane a row is.

    Counted, they tell the planner of the runs it has seen, and so that a new one has no rows: any
    index that begins with the run then seems as good as the one that answers the question. Not
    counted, a run or lane is taken for one in two hundred, which is wrong and harmless.
    """
    return [
        f"ALTER TABLE {table.name} ALTER COLUMN {column.name} SET STATISTICS 0"
        for column in table.columns
        if column.name in _BELONGS_TO
    ]


@listens_for(metadata, "after_create")
def _leave_without_statistics(
    _metadata: MetaData, connection: Connection, *, tables: Sequence[Table], **_: Any
) -> None:
    for table in tables:
        for statement in without_statistics(table):
            connection.execute(text(statement))
