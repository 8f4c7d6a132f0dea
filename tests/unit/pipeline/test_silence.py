"""The deadline of a chunk's next outcome."""

import asyncio

import pytest
from harness.virtual import in_virtual_time

from serpline.pipeline.silence import WorkHung, progress_deadline


def test_silent_work_ends_at_its_deadline() -> None:
    """It ends not before the allowed time, and not noticeably later."""

    async def work() -> float:
        with pytest.raises(WorkHung, match="no outcome within 1800 s"):
            async with progress_deadline(1800):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert 1800 <= in_virtual_time(work()) <= 1.02 * 1800


def test_an_outcome_moves_the_deadline() -> None:
    """Work with an outcome every half hour continues for days, and ends once it falls silent."""

    async def go_on() -> None:
        async with progress_deadline(1800) as progress:
            for _ in range(100):
                await asyncio.sleep(1790)
                progress()
            await asyncio.Event().wait()

    async def work() -> float:
        with pytest.raises(WorkHung):
            await go_on()
        return asyncio.get_running_loop().time()

    assert 100 * 1790 + 1800 <= in_virtual_time(work()) <= 100 * 1790 + 1.02 * 1800


def test_a_timeout_inside_the_work_is_not_silence() -> None:
    """Only the deadline raises ``WorkHung``; a timeout of the work is passed on."""

    async def work() -> None:
        async with progress_deadline(1800):
            raise TimeoutError("a bug of the phase")

    with pytest.raises(TimeoutError, match="a bug of the phase"):
        in_virtual_time(work())
