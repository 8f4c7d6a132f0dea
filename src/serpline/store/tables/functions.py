"""Database functions: every lock that all workers share is taken and released in one statement.

All workers share the rows of ``provider_rates``, ``provider_leases`` and ``provider_budgets``. A
function locks them, decides and commits without a round trip to its caller, so a worker that is cut
off or frozen holds none of them. Each statement in a function sees what was committed before it
(READ COMMITTED, VOLATILE), so it decides on the state after the lock.

A function without a time argument uses the server's clock. Only tests pass a time.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.event import listens_for

from serpline.store.tables import budgets, calls, guards, pace
from serpline.store.tables.base import metadata

# Created after the tables, because their parameters have row types.
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
