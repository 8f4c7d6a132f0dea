"""Merged domains are one company in figures that are computed later, and in no others."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from serpline.cli import rankings
from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.domain.phases import lanes_of
from serpline.domain.results import Figure, Ranking
from serpline.domain.states import LaneStatus
from serpline.phases import dsi_figures
from serpline.pipeline import dsi_inputs, series, trends
from serpline.recompute_dsi import recompute
from serpline.store import companies, projects
from serpline.store.database import Connection, Database
from serpline.store.results import combined, reading, scores
from serpline.store.results.selection import Selection
from serpline.store.rows import insert_rows
from serpline.store.runs import runs
from serpline.store.tables import metadata

# Keyword → the domains that rank for it, from position 1.
RANKED = {1: ["booking.de", "rival.com"], 2: ["rival.com", "booking.com", "booking.de"]}


async def _store(conn: Connection, run_id: UUID) -> None:
    lanes = [(key, LaneStatus.COMPLETED) for key in lanes_of([ContentType.ORGANIC])]
    config = {"enable_historical_tracking": True}
    await runs.create(conn, run_id, mode="manual", config=config, lanes=lanes)
    run, place = {"run_id": run_id}, {"market": "US", "device": "desktop"}
    told = {"source": "x", "fetched_at": "2026-11-20T09:30:00Z"}
    page = {**run, **place, "content_type": "organic"}
    rows: dict[str, list[dict[str, Any]]] = {
        "run_keywords": [
            {**run, "keyword_id": n, "keyword": f"word {n}", "market": "US"} for n in RANKED
        ],
        "keyword_metrics": [
            {**run, **told, "keyword_id": n, "market": "US", "search_volume": 100 * n}
            for n in RANKED
        ],
        "serps": [
            {**page, "keyword_id": n, "results": 3, "source": "x"}
            | {"collected_at": "2026-11-20T09:30:00Z"}
            for n in RANKED
        ],
        "serp_results": [
            {**page, "keyword_id": n, "rank": rank, "position": rank, "domain": domain}
            | {"title": "x", "url": f"https://{domain}/", "canonical_url": f"https://{domain}/"}
            for n, domains in RANKED.items()
            for rank, domain in enumerate(domains, 1)
        ],
        "content_analyses": [
            {**run, "content_type": "organic", "subject": f"u:https://{domain}/", "market": "US"}
            | {"relevance": 0.5, "judged_for": [], "sentiment": "neutral", "topics": []}
            | {"content_kind": "other", "brands": [], "summary": "", "model": "m", "prompt": "p"}
            | {"fetched_at": "2026-11-20T09:30:00Z"}
            for domain in ("booking.de", "booking.com", "rival.com")
        ],
    }
    for name, given in rows.items():
        await insert_rows(conn, metadata.tables[name], given)


async def _computed(conn: Connection, run_id: UUID) -> dict[str, Mapping[str, Any]]:
    """The figures of the merges that are stored with the run; recomputed, they are the same."""
    sources = await runs.source_runs(conn, run_id)
    frames = await scores.inputs(conn, sources, "organic")
    merged = companies.merged_domains(await companies.aliases(conn, run_id, "organic"))
    behind = await combined.of_type(conn, run_id, "organic")
    rows = [row for _, row in dsi_figures.typed(*frames, behind, PipelineConfig(), merged=merged)]
    planned = await conn.execute(text(scores.PLAN), {**sources, **_NOTHING_CHOSEN})
    assert {f"US:desktop:{row['company']}" for row in rows} == set(planned.scalars())
    again = {
        each.company: each.dsi
        for each in recompute([record async for record in dsi_inputs.records(conn, run_id)])
        if each.content_type == "organic"
    }
    assert again == pytest.approx({row["company"]: row["dsi"] for row in rows}, rel=1e-9)
    return {row["company"]: row for row in rows}


_NOTHING_CHOSEN = {**combined.chosen([]), "content_type": "organic"}


async def test_a_merge_holds_from_the_next_computation_on(db: Database) -> None:
    """Figures and their exported inputs keep the merges that they were computed with."""
    run_id = uuid4()
    async with db.transaction() as conn:
        await _store(conn, run_id)
        await companies.take_aliases(conn, run_id, "organic")
        apart = await _computed(conn, run_id)
        await companies.merge(conn, "booking.de", "booking.com")
        assert await _computed(conn, run_id) == apart
        await companies.take_aliases(conn, run_id, "organic")
        together = await _computed(conn, run_id)
        wanted = Selection(run_id=run_id, companies=("booking.com",))
        ranked = [row async for row in reading.stream(conn, Ranking, wanted)]
        alone = Selection(run_id=run_id, companies=("booking.de",))
        with pytest.raises(UserError, match=r"'booking.de': run .* counts it as booking.com"):
            assert [row async for row in rankings._rows(conn, alone, 9)]
        assert await companies.split(conn, "booking.de") == "booking.com"
        assert await _computed(conn, run_id) == together
        await companies.take_aliases(conn, run_id, "organic")
        assert await _computed(conn, run_id) == apart
    assert set(apart) == {"booking.com", "booking.de", "rival.com"}
    assert set(together) == {"booking.com", "rival.com"}
    assert together["booking.com"]["coverage"] == 1.0 > apart["booking.com"]["coverage"]
    share = sum(apart[each]["traffic_share"] for each in ("booking.com", "booking.de"))
    assert together["booking.com"]["traffic_share"] == pytest.approx(share, rel=1e-11)
    assert together["booking.com"]["detail"]["merged"] == ["booking.de"]
    assert "merged" not in together["rival.com"]["detail"]
    assert sorted((row.position, row.domain) for row in ranked) == [
        (1, "booking.de"),
        (2, "booking.com"),
        (3, "booking.de"),
    ]


async def test_trends_give_no_change_across_a_merge(db: Database) -> None:
    """The company's figures before and after are not comparable, and the row says why."""
    before, after = uuid4(), uuid4()
    async with db.transaction() as conn:
        for run_id in (before, after):
            await _store(conn, run_id)
            await companies.take_aliases(conn, run_id, "organic")
            rows = (await _computed(conn, run_id)).values()
            found = [{"run_id": run_id, "content_type": "organic", **row} for row in rows]
            await insert_rows(conn, metadata.tables["dsi_scores"], found)
            if run_id == before:
                await companies.merge(conn, "booking.de", "booking.com")
        figures = [
            row async for row in reading.stream(conn, Figure, Selection(companies=("booking.com",)))
        ]
        changes = await trends.between(conn, after, before, ContentType.ORGANIC)
    merged = {row.run_id: row.merged_domains for row in figures}
    assert merged == {before: (), after: ("booking.de",)}
    told = {row["company"]: (row["status"], row["comparable"], row["differs"]) for row in changes}
    assert told == {
        "booking.com": ("kept", False, "merged domains none and booking.de"),
        "booking.de": ("lost", False, "merged into booking.com"),
        "rival.com": ("kept", True, ""),
    }


async def test_merges_lead_to_one_company(db: Database) -> None:
    """A merge of merges counts as the last company; undoing one restores what was before."""
    run_id = uuid4()
    async with db.transaction() as conn:
        lanes = [(key, LaneStatus.PENDING) for key in lanes_of([ContentType.ORGANIC])]
        await runs.create(conn, run_id, mode="manual", config={}, lanes=lanes)
        await companies.merge(conn, "a.de", "a.com")
        await companies.merge(conn, "a.com", "group.com")
        await companies.take_aliases(conn, run_id, "organic")
        assert await companies.aliases(conn, run_id, "organic") == {
            "a.com": "group.com",
            "a.de": "group.com",
        }
        for domain, into in (("group.com", "a.de"), ("a.de", "a.de")):
            with pytest.raises(UserError, match=f"{domain}: a.de is the same company already"):
                await companies.merge(conn, domain, into)
        await companies.split(conn, "a.com")
        await companies.take_aliases(conn, run_id, "organic")
        assert await companies.aliases(conn, run_id, "organic") == {"a.de": "a.com"}
        with pytest.raises(UserError, match=r"a\.com is not merged"):
            await companies.split(conn, "a.com")


async def test_a_mark_passes_to_the_company_that_figures_name(db: Database) -> None:
    """It is the last one of several merges, and its mark is the one that may be in the way."""
    async with db.transaction() as conn:
        await companies.merge(conn, "a.com", "group.com")
        await companies.mark(conn, "a.de", "ours")
        await companies.merge(conn, "a.de", "a.com")
        assert await companies.counts_as(conn, "a.de") == "group.com"
        assert await companies.counts_as(conn, "group.com") == "group.com"
        rows = {row["domain"]: row["relation"] for row in await projects.companies(conn, 10)}
        assert rows == {"a.de": "ours", "a.com": None, "group.com": "ours"}
        await companies.mark(conn, "b.com", "competitor")
        with pytest.raises(UserError, match=r"b\.com is marked competitor and group\.com ours"):
            await companies.merge(conn, "b.com", "a.com")


async def test_series_say_where_merges_differ(db: Database) -> None:
    """A figure that jumps with a merge has no change, and no position is won or lost by one."""
    before, after = uuid4(), uuid4()
    async with db.transaction() as conn:
        for run_id in (before, after):
            await _store(conn, run_id)
            await conn.execute(
                text(
                    "UPDATE pipeline_executions SET created_at = clock_timestamp(),"
                    " config = CAST(:config AS jsonb) WHERE id = :run"
                ),
                {"run": run_id, "config": json.dumps(PipelineConfig().to_json())},
            )
            await companies.take_aliases(conn, run_id, "organic")
            rows = (await _computed(conn, run_id)).values()
            found = [{"run_id": run_id, "content_type": "organic", **row} for row in rows]
            await insert_rows(conn, metadata.tables["dsi_scores"], found)
            if run_id == before:
                await companies.merge(conn, "booking.de", "booking.com")
        chosen = Selection(run_id=after)
        figures = await series.of_figures(conn, chosen, ContentType.ORGANIC, "coverage", 2, 9)
        positions = await series.of_positions(
            conn, replace(chosen, companies=("booking.com", "rival.com")), ContentType.ORGANIC, 2
        )
    differs = {row["company"]: (len(row["values"]), row["differs"]) for row in figures}
    assert differs == {
        "booking.com": (2, "changed: merged domains (booking.de)"),
        "rival.com": (2, ""),
    }
    won = {(row["company"], row["keyword"]): row["won"] for row in positions}
    assert won["booking.com", "word 1"] is None
    assert won["rival.com", "word 1"] == []


async def test_a_company_keeps_its_mark_and_its_name(db: Database) -> None:
    """A merged domain's mark passes to the company; two marks that differ refuse the merge."""
    async with db.transaction() as conn:
        await companies.mark(conn, "a.de", "ours")
        await companies.merge(conn, "a.de", "a.com")
        await companies.rename(conn, "a.com", "Alpha")
        rows = {row["domain"]: row for row in await projects.companies(conn, 10)}
        assert (rows["a.com"]["relation"], rows["a.com"]["name"]) == ("ours", "Alpha")
        assert rows["a.de"]["merged_into"] == "a.com"
        await companies.mark(conn, "b.com", "competitor")
        with pytest.raises(UserError, match=r"b\.com is marked competitor and a\.com ours"):
            await companies.merge(conn, "b.com", "a.com")
        await companies.split(conn, "a.de")
        for domain in rows:
            await companies.mark(conn, domain, None)
            await companies.rename(conn, domain, None)
        assert [row["domain"] for row in await projects.companies(conn, 10)] == ["b.com"]
