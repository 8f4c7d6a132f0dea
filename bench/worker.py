"""A worker process of ours: ``app.worker.run_worker`` with the settings of its environment.

With an argument, ``keyword_metrics`` is a no-op phase of that many items. The process shuts down at
the end of stdin, which also comes when the benchmark's process dies. It then prints
``{"statements", "resident_mb"}``: the statements it sent, including those of the queue's library,
and its peak resident size.
"""

import asyncio
import json
import sys
from typing import Any

import psycopg
from harness.worker_process import work

from bench.noop import NoopPhase
from bench.walk import resident_mb_max
from serpline.core.logging import configure
from serpline.domain.names import PhaseName
from serpline.phases.base import Phase

sent = 0


def count_statements() -> None:
    """Count this process's statements: all go through the driver's cursor."""
    execute = psycopg.AsyncCursor.execute

    async def counted(cursor: Any, *arguments: Any, **named: Any) -> Any:
        global sent
        sent += 1
        return await execute(cursor, *arguments, **named)

    psycopg.AsyncCursor.execute = counted  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    configure("WARNING")
    count_statements()
    phases: dict[PhaseName, Phase] | None = None
    if len(sys.argv) > 1:
        phases = {PhaseName.KEYWORD_METRICS: NoopPhase(int(sys.argv[1]))}
    asyncio.run(work(phases))
    sys.stdout.write(json.dumps({"statements": sent, "resident_mb": resident_mb_max()}))
