"""A DBOS step per item; DBOS stores its result: ``URL COUNT one|many``.

"one": a workflow runs its steps side by side (coroutines). "many": workflows side by side
(threads), each with its share of the steps one after another. Runs in ``.venv-bench``.
"""

import asyncio
import json
import sys
import time

from dbos import DBOS

RESULT = '{"n": 1, "note": "a result of an ordinary width, some sixty bytes"}'
AT_ONCE, WORKFLOWS, POOL = 50, 8, 20


@DBOS.step()
async def item(n: int) -> str:
    """A step as a coroutine."""
    return RESULT


@DBOS.step()
def item_in_thread(n: int) -> str:
    """A step in a thread."""
    return RESULT


@DBOS.workflow()
async def side_by_side(count: int) -> None:
    """``AT_ONCE`` steps at a time."""
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*[item(n) for n in range(first, min(first + AT_ONCE, count))])


@DBOS.workflow()
def one_after_another(count: int) -> None:
    """One step after another."""
    for n in range(count):
        item_in_thread(n)


async def one(count: int) -> float:
    """Seconds of one workflow of coroutines."""
    started = time.perf_counter()
    handle = await DBOS.start_workflow_async(side_by_side, count)
    await handle.get_result(polling_interval_sec=0.02)
    return time.perf_counter() - started


def many(count: int) -> float:
    """Seconds of several workflows in threads."""
    shares = [count // WORKFLOWS + (n < count % WORKFLOWS) for n in range(WORKFLOWS)]
    started = time.perf_counter()
    handles = [DBOS.start_workflow(one_after_another, share) for share in shares]
    for handle in handles:
        handle.get_result(polling_interval_sec=0.02)
    return time.perf_counter() - started


def main(url: str, count: int, mode: str) -> float:
    """Seconds of ``count`` steps."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "sys_db_pool_size": POOL,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    seconds = asyncio.run(one(count)) if mode == "one" else many(count)
    DBOS.destroy()
    return seconds


if __name__ == "__main__":
    seconds = main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    sys.stdout.write(json.dumps({"seconds": seconds}))
