"""The log of ``serpline up``: what each run waits for, in a line when the cause changes."""

from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

from serpline.core.logging import get

if TYPE_CHECKING:
    from serpline.app.services import Services

LOOK_SECONDS = 5.0
# The oldest unended runs; others are not logged.
RUNS_MAX = 20

log = get(__name__)


async def log_waits(opened: "Services") -> NoReturn:
    """Log what runs wait for, until cancelled. An unavailable database is asked again later."""
    from serpline.pipeline.waiting import WaitLog, read_waiting
    from serpline.store.database import DatabaseUnavailable, TransactionConflict
    from serpline.store.runs import waits

    logs: dict[UUID, WaitLog] = {}
    while True:
        try:
            async with opened.database.transaction() as conn:
                found = await waits.unended(conn, RUNS_MAX)
                logs = {run_id: logs.get(run_id, WaitLog()) for run_id in found}
                for run_id, known in logs.items():
                    for line in known.changed(*await read_waiting(conn, run_id)):
                        log.info(line, action="run.waits", run=str(run_id))
        except (DatabaseUnavailable, TransactionConflict) as error:
            log.debug("waits.unread", action="waits.unread", error=str(error))
        except Exception:
            # The log of waits ends nothing else, and goes on itself.
            log.exception("waits.unread", action="waits.unread")
        await opened.clock.sleep(LOOK_SECONDS)
