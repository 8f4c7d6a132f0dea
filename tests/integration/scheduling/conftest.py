"""Fixtures: schedules over a fresh database."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from harness.schedules import Schedules

from serpline.store.database import Database


@pytest.fixture
async def schedules(db: Database) -> Schedules:
    """The scheduling service and a tick, over a project of three keywords."""
    made = Schedules(db)
    await made.import_keywords()
    return made


@pytest.fixture
def statements(db: Database) -> Iterator[list[str]]:
    """Every statement that is executed on the database."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = db._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)
