"""Count the rows that the server handles for a statement, by the plan it really executes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

_PLANNED = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")
_HANDLED = (
    "Actual Rows",
    "Rows Removed by Filter",
    "Rows Removed by Join Filter",
    "Rows Removed by Index Recheck",
)


@dataclass(slots=True)
class HandledRows:
    """The rows handled so far."""

    rows: int = 0


@contextmanager
def count_handled_rows() -> Iterator[HandledRows]:
    """Count the rows that every node of every statement's plan handles, in this process.

    Each statement runs twice. The first time it is explained, with the same settings and
    parameters, in a savepoint that is rolled back.
    """
    seen = HandledRows()
    explaining = False

    def explain(conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal explaining
        if explaining or not _PLANNED.match(statement):
            return
        explaining = True
        try:
            conn.exec_driver_sql("SAVEPOINT explained")
            explained = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + statement
            plan = conn.exec_driver_sql(explained, parameters).scalar_one()[0]["Plan"]
            conn.exec_driver_sql("ROLLBACK TO SAVEPOINT explained")
        finally:
            explaining = False
        seen.rows += _handled(plan)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", explain)
    try:
        yield seen
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", explain)


def _handled(node: dict[str, Any]) -> int:
    own: float = sum(node.get(name, 0) for name in _HANDLED) * node["Actual Loops"]
    return round(own) + sum(_handled(inner) for inner in node.get("Plans", ()))
