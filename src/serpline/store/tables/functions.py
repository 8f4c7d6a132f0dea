"""Functions of the database: what takes a lock that all workers share is one statement.

The rows of ``provider_rates``, ``provider_leases`` and ``provider_budgets`` are every worker's. A
function locks them, decides and commits without asking its caller anything in between, so a worker
that is cut off, or frozen, holds none of them. Each statement in a function sees what was committed
before it (READ COMMITTED, VOLATILE): what is judged after a lock is judged as it is then.

A function that is given no time takes the server's own clock, which all workers share. Only a test
gives it another.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.event import listens_for

from serpline.store.tables import budgets, calls, guards, pace
from serpline.store.tables.base import metadata

# After the tables, whose rows are types of their parameters.
MADE_AFTER: Final = guards.provider_rates.name
FUNCTIONS: Final[Sequence[str]] = (*pace.FUNCTIONS, *budgets.FUNCTIONS, *calls.FUNCTIONS)
NAMES: Final = tuple(re.findall(r"FUNCTION (\w+)\(", "\n".join(FUNCTIONS)))


@listens_for(metadata, "after_create")
def _make_functions(
    _metadata: MetaData, connection: Connection, *, tables: Sequence[Table], **_: Any
) -> None:
    if any(table.name == MADE_AFTER for table in tables):
        for function in FUNCTIONS:
            connection.execute(text(function))
