"""Keep a person from paying twice by mistake: the same run started again within minutes.

It is for runs that a person starts. A schedule starts each of its slots once in any case. Mode
testing is for trying again, and costs five keywords. A run that only computes costs nothing.
"""

from datetime import datetime, timedelta
from typing import Final

from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.names import PhaseName, PipelineMode
from serpline.domain.text import length_of_time
from serpline.pipeline.source_runs import resolve
from serpline.store import projects
from serpline.store.database import Connection
from serpline.store.runs.repeats import find_repeated

WITHIN: Final = timedelta(minutes=10)
_FREE: Final = {PhaseName.DSI_CALCULATION}


class RunRepeatedError(UserError):
    """The same run was started a moment ago."""


async def refuse_repeated(
    conn: Connection, config: PipelineConfig, mode: PipelineMode, now: datetime
) -> None:
    """Raise ``RunRepeatedError`` if a run of the same was started in the last ten minutes.

    The same: keywords, content types, devices and phases, in the same mode.
    """
    if mode is PipelineMode.TESTING or set(config.phases) == _FREE:
        return
    resolved = (await resolve(conn, config.for_mode(mode))).config
    pairs = None
    if resolved.inputs_from is None:
        by_market = await projects.count_pairs(conn, resolved.landscape, resolved.keyword_limit)
        pairs = sum(by_market.values())
    found = await find_repeated(conn, resolved.to_json(), mode, pairs, now - WITHIN)
    if found is not None:
        raise RunRepeatedError(
            f"run {found.run_id}, started {length_of_time(found.seconds_ago)} ago"
            f" ({found.status}), has the same keywords, types, devices and phases"
        )
