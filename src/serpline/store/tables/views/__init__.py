"""The views of the schema ``serpline_v1``, which people's own tools may read.

The promise: in ``serpline_v1`` no view or column is ever removed, renamed or given another type or
meaning; they are only added (docs/adr/0029).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.event import listens_for

from serpline.domain.results import (
    ROWS,
    Company,
    Figure,
    Keyword,
    Ranking,
    Row,
    Run,
    Serp,
    ShareOfVoice,
    Slot,
    Spending,
    columns_of,
)
from serpline.store.tables.base import metadata
from serpline.store.tables.results import dsi_scores
from serpline.store.tables.views.figures import dsi, share_of_voice
from serpline.store.tables.views.operation import RUNS, SLOTS, SPEND
from serpline.store.tables.views.project import COMPANIES, KEYWORDS
from serpline.store.tables.views.searches import rankings, serps
from serpline.store.tables.views.sources import GIVEN, OF_LANE, Sources

SCHEMA: Final = "serpline_v1"
__all__ = ["DDL", "GIVEN", "MADE_AFTER", "SCHEMA", "STATEMENTS"]

_SCHEMA_COMMENT: Final = (
    "Results of serpline, to be read. Views and columns are added, never removed or changed."
)

STATEMENTS: Final[Mapping[type[Row], Callable[[Sources], str]]] = {
    Ranking: rankings,
    Serp: serps,
    Figure: dsi,
    ShareOfVoice: share_of_voice,
    Keyword: lambda _: KEYWORDS,
    Company: lambda _: COMPANIES,
    Run: lambda _: RUNS,
    Slot: lambda _: SLOTS,
    Spending: lambda _: SPEND,
}
"""The statement of each class, for the runs whose results are read."""


def _quoted(comment: str) -> str:
    return "'" + comment.replace("'", "''") + "'"


def _ddl(row: type[Row]) -> list[str]:
    name = f"{SCHEMA}.{row.VIEW}"
    columns = columns_of(row)
    names = ", ".join(f"v.{each.name}" for each in columns)
    lines = (line.rstrip() for line in STATEMENTS[row](OF_LANE).splitlines())
    statement = "\n".join(line for line in lines if line)
    described = " ".join((row.__doc__ or "").split())
    return [
        f"CREATE OR REPLACE VIEW {name} AS SELECT {names} FROM (\n{statement}\n) v",
        f"COMMENT ON VIEW {name} IS {_quoted(described)}",
        *(
            f"COMMENT ON COLUMN {name}.{each.name} IS {_quoted(each.column.comment)}"
            for each in columns
        ),
    ]


# Created after the tables that the views read.
MADE_AFTER: Final = dsi_scores.name
DDL: Final[Sequence[str]] = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"COMMENT ON SCHEMA {SCHEMA} IS {_quoted(_SCHEMA_COMMENT)}",
    *(statement for row in ROWS for statement in _ddl(row)),
)


@listens_for(metadata, "after_create")
def _make_views(
    _metadata: MetaData, connection: Connection, *, tables: Sequence[Table], **_: object
) -> None:
    if any(table.name == MADE_AFTER for table in tables):
        for statement in DDL:
            connection.execute(text(statement))
