"""The deadline of a chunk's next outcome."""

import asyncio

import pytest
from harness.virtual import in_virtual_time

from serpline.pipeline.silence import WorkHung, progress_deadline


def test_silent_work_is_cut_at_its_deadline() -> None:
    """Not before the time that it may take, nor noticeably later."""

    async def work() -> float:
        with pytest.raises(WorkHung, match="no outcome within 1800 s"):
            async with progress_deadline(1800):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert 1800 <= in_virtual_time(work()) <= 1.02 * 1800


def test_an_outcome_moves_the_deadline() -> None:
    """Work that brings something each half hour goes on for days; then it is cut all the same."""

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


def test_a_time_out_of_the_work_itself_is_its_own() -> None:
    """Only the deadline is told as silence."""

    async def work() -> None:
        async with progress_deadline(1800):
            raise TimeoutError("a bug of the phase")

    with pytest.raises(TimeoutError, match="a bug of the phase"):
        in_virtual_time(work())
