"""Many rows of a result table in one statement, inside the transaction that settles their items.

The rows travel as one JSON document and PostgreSQL turns them into records of the table's own
types, so arrays, objects, times and NULLs need no code here. What PostgreSQL's text cannot hold
(NUL and lone surrogates, which replies from the web do contain) is replaced on the way in.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, text

from serpline.store.database import Connection

_UNSTORABLE = {0: "\ufffd"} | dict.fromkeys(range(55296, 57344), "�")


async def insert_rows(
    conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, replace: bool = False
) -> None:
    """Insert rows (all with the same keys).

    A row whose primary key is there stays as it is, or is overwritten if ``replace``.
    """
    if not rows:
        return
    names = ", ".join(rows[0])
    key = [column.name for column in table.primary_key]
    clash = "NOTHING"
    if replace:
        sets = ", ".join(f"{name} = excluded.{name}" for name in rows[0] if name not in key)
        clash = f"UPDATE SET {sets}"
    await conn.execute(
        text(
            f"INSERT INTO {table.name} ({names}) SELECT {names}"
            f" FROM jsonb_populate_recordset(CAST(NULL AS {table.name}), CAST(:rows AS jsonb))"
            f" ON CONFLICT ({', '.join(key)}) DO {clash}"
        ),
        {"rows": document(rows)},
    )


def document(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as one JSON document that PostgreSQL can store."""
    written = json.dumps(rows, ensure_ascii=False, default=_plain)
    # Only where a value may be unstorable is every value walked: of 100,000 rows that takes as long
    # as all the rest.
    if "\\u0000" in written or not _is_text(written):
        written = json.dumps(storable(rows), ensure_ascii=False, default=str)
    return written


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _is_text(written: str) -> bool:
    try:
        written.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def storable(value: Any) -> Any:
    """The value with every text in it made storable, names in mappings too."""
    if isinstance(value, str):
        return value if value.isascii() and "\0" not in value else value.translate(_UNSTORABLE)
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value
