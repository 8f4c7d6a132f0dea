"""Suspect chunks: which items are in flight together, which item is poison, who holds the lock."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.domain.states import StateStatus
from serpline.pipeline.quarantine import (
    ALONE_DEATHS_MAX,
    NARROWING,
    Quarantine,
    groups,
    is_poison,
)
from serpline.store.runs.chunks import ItemRow


def row(name: str, deaths: int = 0) -> ItemRow:
    return ItemRow(name, StateStatus.PENDING, 0, deaths)


def test_a_group_is_a_tenth_after_every_death() -> None:
    """Suspects first run together, then in tenths, finally alone. The least suspect go first."""
    rows = [row(f"{deaths}-{n:03}", deaths) for deaths in (2, 0, 1) for n in range(100)]
    sizes = [(group[0].deaths, len(group)) for group in groups(rows, planned=100)]
    assert sizes == [(0, 100)] + [(1, 10)] * 10 + [(2, 1)] * 100


@pytest.mark.parametrize(("planned", "deaths"), [(1, 3), (19, 4), (100, 5), (199, 5), (15_000, 7)])
def test_only_deaths_alone_make_poison(planned: int, deaths: int) -> None:
    """An item is poison at its third death alone in its group, and never earlier."""
    alone = 0
    for count in range(deaths):
        assert not is_poison(row("x", count), planned)
        others = [row(f"y{n}", count) for n in range(planned - 1)]
        (group_of_x,) = [g for g in groups([row("x", count), *others], planned) if g[0].item == "x"]
        alone += len(group_of_x) == 1
    assert is_poison(row("x", deaths), planned)
    assert alone == 3


@given(st.data())
def test_poison_is_isolated_within_so_many_deaths(data: st.DataObject) -> None:
    """Wherever it is, and whatever of the chunk was settled before: exactly the poison fails.

    All of it dies once with the whole chunk, then each once in every smaller group, and alone.
    """
    planned = data.draw(st.integers(1, 300), "planned")
    live = {f"{n:03}": 0 for n in data.draw(st.sets(st.integers(0, planned - 1), min_size=1))}
    poison = data.draw(st.sets(st.sampled_from(sorted(live)), min_size=1, max_size=4), "poison")
    failed, deaths = set[str](), 0
    while live:
        rows = [row(name, count) for name, count in live.items()]
        failed |= {one.item for one in rows if is_poison(one, planned)}
        for group in groups([one for one in rows if one.item not in failed], planned):
            names = {one.item for one in group}
            if names & poison:
                deaths += 1
                live |= {name: live[name] + 1 for name in names}
                break
            live = {name: count for name, count in live.items() if name not in names}
        live = {name: count for name, count in live.items() if name not in failed}
    assert failed == poison
    sizes_between = sum(1 for exponent in (1, 2) if planned // NARROWING**exponent > 1)
    whole = planned > 1
    assert deaths <= whole + len(poison) * (sizes_between + ALONE_DEATHS_MAX)


async def test_a_suspect_chunk_has_the_process_to_itself() -> None:
    """It waits until all other chunks have left; later chunks wait until it has left."""
    quarantine, log = Quarantine(), list[str]()
    leave = {name: asyncio.Event() for name in ("first", "suspect", "last")}

    async def visit(name: str) -> None:
        async with quarantine.hold(alone=name == "suspect"):
            log.append(f"{name} in")
            await leave[name].wait()
            log.append(f"{name} out")

    visits = []
    for name in leave:
        visits.append(asyncio.create_task(visit(name)))
        await asyncio.sleep(0)
    for name in leave:
        leave[name].set()
        while f"{name} out" not in log:
            await asyncio.sleep(0)
    await asyncio.gather(*visits)
    assert log == [f"{name} {where}" for name in leave for where in ("in", "out")]


async def test_a_cancelled_suspect_blocks_no_other_chunk() -> None:
    """A suspect chunk that is cancelled while waiting frees the lock."""
    quarantine = Quarantine()
    async with quarantine.hold(alone=False):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), quarantine.hold(alone=True):
                raise AssertionError("let in")
        async with quarantine.hold(alone=False):
            pass
