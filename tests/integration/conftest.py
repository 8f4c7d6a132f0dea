"""What tests of guarded calls share; a file with another clock has a fixture of its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.guarded import MakeGuard, ManualClock, Provider, policy

from serpline.robustness.guard import Guard
from serpline.store.database import Database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def guards(db: Database, clock: ManualClock) -> AsyncIterator[MakeGuard]:
    """Makes guards, each like a process of its own, and closes them."""
    made: list[Guard] = []

    def make(provider: Provider, **changes: Any) -> Guard:
        made.append(Guard(db, provider.send, [policy(**changes)], clock=clock))
        return made[-1]

    yield make
    for guard in made:
        await guard.close()
