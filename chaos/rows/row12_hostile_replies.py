"""Row 12: endless and huge replies. The call ends, memory stays, other providers are not slowed.

Three processes: a hostile provider, a healthy one, and ours, which calls both while its resident
size is read from outside. The healthy provider's latency is measured in blocks, calm and under
attack by turns, so that other load on this machine hits both alike. All calm calls are compared
with all others. Two more processes of ours fetch the largest accepted replies, page files and web
pages, as many at once as a worker may, from a host that sends bombs instead.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
from harness.figures import Figure, at_least, at_most, equal, zero
from harness.ready_process import ready_process

from chaos.scorecard import Context, Row
from chaos.under_attack import KINDS

SAMPLE_SECONDS = 0.01
MEGABYTE = 1_000_000
PLAN = [
    {"fault": "slowloris", "seconds": 0.05, "match": {"q": "slowloris"}},
    {"fault": "endless_headers", "match": {"q": "endless_headers"}},
    {"fault": "huge_body", "match": {"q": "announced"}},
    {"fault": "huge_body", "match": {"q": "unannounced"}, "announced": False},
    {"fault": "gzip_bomb", "match": {"q": "gzip_bomb"}},
    {"fault": "gzip_bomb", "provider": "scaleserp", "operation": "download"},
    {"fault": "gzip_bomb", "provider": "pages", "operation": "page"},
]
# One file per chunk that a worker owns, and as many pages as its guard sends at once.
FILES, PAGES = 4, 64
GROWTH_MEGABYTES_MAX = 50.0
PROCESS_SECONDS_MAX = 300.0


@asynccontextmanager
async def simulator(
    folder: Path, name: str, plan: Any, nice: int = 0
) -> AsyncIterator[dict[str, str]]:
    """A simulator in a process of its own; yields its variables.

    A real hostile server runs on another machine, so ``nice`` keeps its work from delaying ours.
    """
    file = folder / f"{name}.json"
    code = (
        "import os, sys, json; from pathlib import Path; os.nice(int(sys.argv[3]));"
        "from serpline.simulator import SimulatorConfig, serve;"
        "serve(SimulatorConfig(faults=json.loads(sys.argv[2])), environment_file=Path(sys.argv[1]),"
        "started=lambda _: print('serving', flush=True))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        str(file),
        json.dumps(plan),
        str(nice),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"serving\n"
        yield json.loads(file.read_text())
    finally:
        process.kill()
        await process.wait()


async def largest_resident(process: psutil.Process) -> int:
    """Until cancelled, sample a process's resident size; returns its growth in bytes."""
    first = peak = process.memory_info().rss
    try:
        while True:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(SAMPLE_SECONDS)
    except (asyncio.CancelledError, psutil.NoSuchProcess):
        return peak - first


async def run_attacked(
    folder: Path, database: str, ours: dict[str, str], theirs: dict[str, str], **more: Any
) -> Any:
    """Run our process; returns its report and its growth in bytes."""
    options = {
        "database": database,
        "hostile": theirs["SERPLINE_SCALESERP_BASE_URL"],
        "key": theirs["SERPLINE_SCALESERP_API_KEY"],
        "other": ours["SERPLINE_PDL_BASE_URL"],
        "hosts": theirs["SERPLINE_NET_HOST_MAP"],
        "ca": theirs["SERPLINE_NET_TEST_CA"],
        **more,
    }
    arguments = ["-m", "chaos.under_attack", json.dumps(options)]
    log = folder / f"under-attack-{'-'.join(more)}.log"
    async with ready_process(arguments, os.environ, log) as process:
        sampling = asyncio.create_task(largest_resident(psutil.Process(process.pid)))
        report = await process.result(PROCESS_SECONDS_MAX)
        sampling.cancel()
        return json.loads(report), await sampling


def p95_milliseconds(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(seconds, n=20)[-1] * 1_000


async def campaign(context: Context) -> list[Figure]:
    """Measure blocks of calls, calm and under attack by turns, then the floods."""
    folder = context.folder("simulators")
    size = {"blocks": context.sized(4, 20), "calls": context.sized(60, 120)}
    # The tests run beside other work. Our own thread's time during a call is the delay we cause,
    # whatever other processes do.
    clock = context.sized("thread_time", "monotonic")
    async with (
        context.database() as database,
        simulator(folder, "ours", []) as ours,
        simulator(folder, "theirs", PLAN, nice=19) as theirs,
    ):
        report, grown = await run_attacked(folder, database, ours, theirs, **size, clock=clock)
        files, by_files = await run_attacked(
            folder, database, ours, theirs, files=FILES, clock=clock
        )
        pages, by_pages = await run_attacked(
            folder, database, ours, theirs, pages=PAGES, clock=clock
        )
    calm, attacked = (
        p95_milliseconds([*chain.from_iterable(report[name])]) for name in ("calm", "under_attack")
    )
    fewest = min(map(len, report["late"].values()))
    late = [max(report["late"][kind], default=-1.0) for kind in KINDS]
    return [
        at_least("hostile calls of each kind", fewest, size["blocks"]),
        equal("page files and pages refused", files["flooded"] + pages["flooded"], FILES + PAGES),
        zero("hostile calls without a typed error",
             sum(len(each["unexpected"]) for each in (report, files, pages))),
        at_most("longest time beyond a deadline, s", max(late), 1.0),
        at_most("growth of resident size, MB", grown / MEGABYTE, GROWTH_MEGABYTES_MAX),
        at_most(f"growth with {FILES} page files at once, MB", by_files / MEGABYTE,
                GROWTH_MEGABYTES_MAX),
        at_most(f"growth with {PAGES} pages at once, MB", by_pages / MEGABYTE,
                GROWTH_MEGABYTES_MAX),
        at_most("growth of another provider's p95, ms", attacked - calm, 20.0),
    ]  # fmt: skip


ROW = Row(
    number=12,
    test=(
        "slowloris, endless headers, 10 GB bodies, gzip bombs; bombs instead of"
        f" {FILES} page files and of {PAGES} pages at once"
    ),
    passes=(
        "calls end within 1 s of their deadline; resident size grows by ≤ 50 MB; other providers'"
        " p95 by ≤ 20 ms"
    ),
    campaign=campaign,
    switched_off=(
        "No limits on a reply's size: 116 MB of growth. No deadline of a call: no slow call ended"
        " under attack, and one was 5.2 s beyond its deadline. Incomplete bodies in memory, not on"
        " disk: 662 MB of growth with the page files, 300 MB with the pages. Reads that wait in the"
        " event loop: 101 ms of growth of the other provider's p95."
    ),
    covered_by=(
        "tests/faults/test_net_faults.py::test_slow_peer_is_left_at_the_deadline",
        "tests/faults/test_net_faults.py::test_endless_reply_ends_at_its_limit_with_bounded_memory",
        "tests/faults/test_net_faults.py::test_other_calls_go_on_while_a_peer_floods",
        "tests/integration/test_net.py::test_a_body_is_whole_and_without_the_secrets",
    ),
)
