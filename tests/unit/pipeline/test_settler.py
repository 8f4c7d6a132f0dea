"""When outcomes are settled: by time, by number, and while the database is unavailable."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from harness.virtual import in_virtual_time

from serpline.domain.outcomes import Outcome, Skip
from serpline.pipeline.settler import Settler
from serpline.pipeline.state_tracker import Settled
from serpline.store.database import DatabaseUnavailable


class Tracker:
    """When it settled how many outcomes; until ``away_until`` the database is away."""

    def __init__(self, away_until: float = 0.0) -> None:
        self.away_until = away_until
        self.settled: list[tuple[float, int]] = []

    async def settle(
        self, _: object, outcomes: Sequence[Outcome], *, act: Any, **__: object
    ) -> Settled:
        now = asyncio.get_running_loop().time()
        if now < self.away_until:
            raise DatabaseUnavailable("away")
        self.settled.append((now, len(outcomes)))
        if act is not None:
            await act(len(outcomes))
        return Settled(skipped=len(outcomes))


def settler(tracker: Any) -> Settler:
    nothing: Any = None
    return Settler(tracker, nothing, attempts={}, retries=nothing, write=nothing)


def test_a_trickle_is_settled_every_quarter_of_a_second() -> None:
    """They wait no longer, and share a transaction with outcomes that arrive in that time."""
    tracker = Tracker()

    async def work() -> None:
        made = settler(tracker)
        for number in range(10):
            await made.add(Skip(str(number), "-"))
            await asyncio.sleep(0.1)
        await made.flush()

    in_virtual_time(work())
    assert [count for _, count in tracker.settled] == [3, 3, 3, 1]
    assert [at for at, _ in tracker.settled[:3]] == pytest.approx([0.25, 0.55, 0.85])


def test_five_hundred_are_settled_at_once() -> None:
    """A transaction's size is bounded. A full one starts without waiting."""
    tracker = Tracker()

    async def work() -> None:
        made = settler(tracker)
        for number in range(1_200):
            await made.add(Skip(str(number), "-"))
        await made.flush()

    in_virtual_time(work())
    assert tracker.settled == [(0, 500), (0, 500), (0, 200)]


@pytest.mark.parametrize(
    ("taken", "settled", "with_the_last"),
    [(0, [0], 0), (1, [1], 1), (500, [500], 500), (501, [500, 1], 1), (1_000, [500, 500], 500)],
)
def test_the_act_of_a_flush_is_in_the_last_settlement(
    taken: int, settled: list[int], with_the_last: int
) -> None:
    """This also holds if the outcomes fill a transaction exactly, or if there are none."""
    tracker, written = Tracker(), list[int]()

    async def act(count: Any) -> None:
        written.append(count)

    async def work() -> None:
        made = settler(tracker)
        for number in range(taken):
            await made.add(Skip(str(number), "-"))
        await made.flush(act)
        await made.flush()

    in_virtual_time(work())
    assert [count for _, count in tracker.settled] == settled
    assert written == [with_the_last]


@pytest.mark.parametrize("seconds", [0.2, 0.25, 0.3])
def test_the_act_of_a_flush_waits_for_the_running_settlement(seconds: float) -> None:
    """The next settlement writes it, whether the flush or the deadline starts that settlement."""
    tracker, written = Tracker(away_until=seconds), list[int]()

    async def act(count: Any) -> None:
        written.append(count)

    async def work() -> None:
        made = settler(tracker)
        for number in range(502):
            await made.add(Skip(str(number), "-"))
        await made.flush(act)

    in_virtual_time(work())
    assert [count for _, count in tracker.settled] == [500, 2]
    assert written == [2]


@pytest.mark.parametrize(("seconds", "raises"), [(8.0, False), (12.0, True)])
def test_a_settlement_is_retried_for_ten_seconds(seconds: float, raises: bool) -> None:
    """A short cut does not end the work. A longer outage raises."""
    tracker = Tracker(away_until=seconds)

    async def work() -> None:
        made = settler(tracker)
        await made.add(Skip("a", "-"))
        await made.flush()

    if raises:
        with pytest.raises(DatabaseUnavailable):
            in_virtual_time(work())
    else:
        in_virtual_time(work())
        assert len(tracker.settled) == 1
