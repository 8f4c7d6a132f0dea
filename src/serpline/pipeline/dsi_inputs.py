"""Export the inputs of a run's DSI as records, so that anyone can recompute it.

``docs/figures.md`` describes the records; ``serpline/recompute_dsi.py`` reads them.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

from serpline.analysis.combined import DEFAULT_WEIGHTS
from serpline.analysis.ctr import get_curve
from serpline.analysis.traffic import LANDSCAPE
from serpline.config.run import PipelineConfig
from serpline.core.escaping import json_text
from serpline.store import companies, projects
from serpline.store.database import Connection
from serpline.store.results import combined, scores
from serpline.store.results.combined import Source
from serpline.store.runs import runs

Record = dict[str, Any]


async def write_lines(conn: Connection, run_id: UUID, write: Callable[[bytes], object]) -> int:
    """Pass each record to ``write`` as a line of JSON; return the number of records."""
    count = 0
    async with aclosing(records(conn, run_id)) as found:
        async for record in found:
            write(json_text(record, indent=None, default=str).encode() + b"\n")
            count += 1
    return count


async def records(conn: Connection, run_id: UUID) -> AsyncGenerator[Record, None]:
    """Yield methods, then pages, then results, for each content type in the run's figures.

    When the combined figure takes a type from an earlier run, that run's method and inputs are
    yielded. An unknown run or a run without figures yields nothing.
    """
    run = await runs.get(conn, run_id)
    if run is None:
        return
    weights = {**DEFAULT_WEIGHTS, **PipelineConfig.from_json(run.config).content_type_weights}
    groups: dict[tuple[UUID, str], list[Source]] = defaultdict(list)
    for source in await combined.choose(conn, run_id):
        groups[source.scored_by, source.searches.content_type].append(source)
    for (scored_by, kind), sources in groups.items():
        scored = await runs.get(conn, scored_by)
        if scored is not None:
            config = PipelineConfig.from_json(scored.config)
            used = await companies.aliases(conn, scored_by, kind)
            for source in sources:
                yield _method(source, config, weights[kind], used)
        async for record in _inputs(conn, scored_by, kind, {s.landscape for s in sources}):
            yield record


def _method(
    source: Source, config: PipelineConfig, weight: float, merged: Mapping[str, str]
) -> Record:
    curve = get_curve(config.curve)
    content_type, market, device = source.landscape
    return {
        "record": "method",
        "content_type": content_type,
        "market": market,
        "device": device,
        "run_id": str(source.scored_by),
        "collected_on": str(source.searches.collected_on),
        "curve": {
            "name": curve.name,
            "version": curve.version,
            "percents": curve.percents,
            "tail": curve.tail,
            "rest_percent": curve.rest_percent,
        },
        "ai_overview_factor": config.ai_overview_factor,
        "unknown_volume": config.unknown_volume,
        "weight": weight,
        "merged": merged,
    }


async def _inputs(
    conn: Connection, run_id: UUID, kind: str, landscapes: set[tuple[str, str, str]]
) -> AsyncGenerator[Record, None]:
    """Yield the pages of all devices (they share volumes) and the results of ``landscapes``."""
    read = await runs.source_runs(conn, run_id)
    names = await projects.run_keywords(conn, read["serp_collection"])
    async with aclosing(scores.stream_inputs(conn, scores.COLLECTED, read, kind)) as pages:
        async for page in pages:
            yield _record("page", page, names, ("volume", "ai_overview"))
    async with aclosing(scores.stream_inputs(conn, scores.RESULTS, read, kind)) as results:
        async for row in results:
            if (kind, row["market"], row["device"]) in landscapes:
                yield _record("result", row, names, ("url", "company", "position", "relevance"))


def _record(
    record: str, row: Mapping[Any, Any], names: Mapping[int, str], fields: Sequence[str]
) -> Record:
    return {
        "record": record,
        **{name: row[name] for name in LANDSCAPE},
        "keyword": names[row["keyword_id"]],
        **{name: row[name] for name in fields},
    }
