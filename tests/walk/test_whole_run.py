"""Whole runs: seven phases over real processes; the simulator's log is the independent auditor.

Eight keywords in two markets, three content types. The first run is undisturbed and checked from
many sides. A second run over the same keywords shows what is bought again and what is not.
"""

import asyncio
import base64
import contextlib
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from harness.databases import copied_database
from harness.tables import Tables, differences, final_tables
from harness.world import SEED, World, open_world, paid, simulated
from psycopg import sql
from psycopg.rows import dict_row

from serpline.core.masking import MASK
from serpline.domain.names import PhaseName
from serpline.domain.states import LaneStatus, RunStatus
from serpline.simulator.dataforseo import COST, LOGIN
from serpline.simulator.journal import CallEntry
from serpline.simulator.scaleserp.batches import Batch
from serpline.simulator.world.companies import Directory, Known
from serpline.simulator.world.videos import Videos
from serpline.store.embedded.server import EmbeddedServer

# One process makes the run that these look at.
pytestmark = pytest.mark.xdist_group("whole run")

WORDS = (
    "best espresso machine",
    "coffee grinder",
    "how to clean a moka pot",
    "decaf beans",
    "吕梁市 三川河",
    "Wisła rzeka",
    "قهوة عربية",
    "кофе в зёрнах",
)
MARKETS = ("US", "PL")
TYPES = ("organic", "news", "video")
PAIRS = len(WORDS) * len(MARKETS)
# A few pages per search: these facts do not depend on their number.
DEPTH = 4
KEYWORDS = "\n".join(["keyword,market", *(f"{w},{m}" for w in WORDS for m in MARKETS)]).encode()
PROVIDERS = ("dataforseo", "llm", "pdl", "scaleserp", "youtube")
# The classic curve as published, in percent; beyond thirty 0.5.
CLASSIC = [28.23, 15.72, 10.73, 7.75, 5.88, 4.59, 3.69, 3.02, 2.52, 2.14, *[1.5] * 10, *[0.8] * 10]


@dataclass(frozen=True)
class Walked:
    """What remains of a run when its world is gone."""

    run_id: UUID
    status: RunStatus
    lanes: Mapping[str, Any]
    tables: Tables
    log: Sequence[CallEntry]
    spent: Mapping[str, float]


@dataclass(frozen=True)
class Reference:
    """An undisturbed run, the same once more, and the database both are in."""

    url: str
    conninfo: str
    first: Walked
    second: Walked
    batches: Sequence[Batch]

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the database."""
        with psycopg.connect(self.conninfo, row_factory=dict_row) as conn:
            return conn.execute(query.encode(), values).fetchall()


@pytest.fixture(scope="module")
def reference(
    postgres: EmbeddedServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reference]:
    """Two runs, one after the other."""
    with copied_database(postgres, template_database) as url:

        async def walk() -> Reference:
            async with open_world(url, tmp_path_factory.mktemp("walk"), KEYWORDS) as world:
                await world.start_worker()
                first = await _walked(world, await world.run(analysis_depth=DEPTH))
                second = await _walked(world, await world.run(analysis_depth=DEPTH), after=first)
                batches = list(world.sim.scaleserp.account.batches.values())
                conninfo = url.replace("+psycopg", "")
                return Reference(url, conninfo, first, second, batches)

        yield asyncio.run(walk())


async def _walked(world: World, run_id: UUID, *, after: Walked | None = None) -> Walked:
    return Walked(
        run_id=run_id,
        status=(await world.get(run_id)).status,
        lanes={str(lane.key): lane for lane in await world.lanes(run_id)},
        tables=await final_tables(world.services.database, run_id),
        log=world.sim.log.entries[len(after.log) if after else 0 :],
        spent={
            provider: world.sim.ledger.spent(provider) - (after.spent[provider] if after else 0)
            for provider in PROVIDERS
        },
    )


def test_seven_phases_complete(reference: Reference) -> None:
    """Every lane of every phase completes all its planned items."""
    run = reference.first
    assert run.status is RunStatus.COMPLETED
    assert {lane.key.phase for lane in run.lanes.values()} == set(PhaseName)
    assert {lane.status for lane in run.lanes.values()} == {LaneStatus.COMPLETED}
    for lane in run.lanes.values():
        assert lane.completed + lane.failed + lane.skipped == lane.planned, lane
        # Pages that are missing or refuse are the only failed items.
        assert lane.failed == 0 or lane.key.phase is PhaseName.CONTENT_ANALYSIS, lane
    assert run.lanes["keyword_metrics/all"].completed == PAIRS
    assert [run.lanes[f"serp_collection/{kind}"].completed for kind in TYPES] == [PAIRS] * 3
    assert len(run.tables["serps"]) == 3 * PAIRS
    # No result page of the simulator links to a channel; see test_channel_names. Nobody has merged
    # companies.
    empty = {table for table, rows in run.tables.items() if not rows}
    assert empty == {"run_company_aliases", "youtube_channel_refs"}


def test_every_item_has_its_call_and_none_was_paid_twice(reference: Reference) -> None:
    """Every planned item was requested once, and every request was planned."""
    log, run = reference.first.log, reference.first.run_id
    assert max(paid(log).values()) == 1
    asked = Counter((e.provider, e.identity) for e in log if e.operation not in _POLLED)
    assert [call for call, times in asked.items() if times > 1] == []
    assert {e.status for e in log} <= {200, 301, 403, 404}

    volumes = [e for e in log if e.operation == "search_volume"]
    assert sorted(e.params["keywords"] for e in volumes) == [len(WORDS)] * len(MARKETS)

    domains = {e.params["website"] for e in log if e.provider == "pdl"}
    profiles = {row["domain"] for row in _of(reference, "company_profiles", run)}
    assert profiles <= domains
    assert set(_domains(reference, run)) <= profiles

    videos = _ids(log, "videos")
    assert sorted(videos) == sorted(r["video_id"] for r in _of(reference, "youtube_videos", run))
    channels = _ids(log, "channels")
    assert set(channels) >= {r["channel_id"] for r in _of(reference, "youtube_channels", run)}

    analysed = _of(reference, "content_analyses", run)
    unlinked = [r for r in _of(reference, "youtube_channels", run) if r["found"] and not r["links"]]
    assert unlinked
    # No model is asked about a page without content.
    read = [r for r in analysed if r["model"] is not None]
    assert {r["empty_kind"] for r in analysed if r["model"] is None} == {"no_text"}
    assert sum(e.provider == "llm" for e in log) == len(read) + len(unlinked)
    subjects = {r["item"] for r in _items(reference, run, "content_analysis")}
    pages = {s.removeprefix("u:") for s in subjects if s.startswith("u:")}
    fetched = {e.params["url"] for e in log if e.operation == "page"}
    moved = {e.params["url"] for e in log if e.operation == "page" and e.status == 301}
    assert {_bare(url) for url in pages} == {u for u in fetched if "/current/" not in u}
    assert sum("/current/" in url for url in fetched) == len(moved)


_POLLED = frozenset({"get_batch", "list_batches"})


def test_one_batch_per_content_type_started_once(reference: Reference) -> None:
    """A run creates, fills and starts exactly one batch per content type."""
    for run in (reference.first, reference.second):
        batches_of_run = [batch for batch in reference.batches if str(run.run_id) in batch.name]
        kinds = [batch.fields["searches_type"] for batch in batches_of_run]
        assert sorted(kinds) == ["news", "videos", "web"]
        for batch in batches_of_run:
            ids = [search["custom_id"] for search in batch.searches.values()]
            assert len(ids) == len(set(ids)) == PAIRS
            assert len(batch.result_sets) == 1
        calls = Counter(e.operation for e in run.log if e.provider == "scaleserp")
        assert [calls[name] for name in ("create_batch", "update_batch", "start_batch")] == [3] * 3
    assert len(reference.batches) == 6


def test_our_ledger_agrees_with_the_simulators(reference: Reference) -> None:
    """For each provider and run, our credits are those that the provider charged."""
    for run in (reference.first, reference.second):
        rows = reference.rows(
            "SELECT provider, sum(credits) AS credits, count(*) AS calls FROM provider_calls"
            " WHERE run_id = %s GROUP BY provider",
            run.run_id,
        )
        our_credits = {row["provider"]: float(row["credits"]) for row in rows}
        # DataForSEO: one credit is one request, and the simulator counts dollars.
        provider_credits = {**run.spent, "dataforseo": round(run.spent["dataforseo"] / COST)}
        assert {name: our_credits.get(name, 0.0) for name in PROVIDERS} == provider_credits
        calls = {row["provider"]: row["calls"] for row in rows}
        logged = Counter(e.provider for e in run.log)
        # A redirect is one call of ours and two in the simulator.
        logged["page"] = logged.pop("pages") - sum(e.status == 301 for e in run.log)
        assert calls == dict(logged)
    open_calls = reference.rows(
        "SELECT count(*) AS n FROM provider_calls WHERE status IN ('intent', 'unknown')"
    )
    assert open_calls == [{"n": 0}]


def test_no_key_is_stored_anywhere(reference: Reference) -> None:
    """No column of any table holds a provider's key; raw replies are searched too."""
    config = simulated()
    keys = [config.key(name) for name in (*PROVIDERS, "wikidata", "pages")]
    login = f"{LOGIN}:{config.key('dataforseo')}".encode()
    keys.append(base64.b64encode(login).decode())
    searched = masked = 0
    found = []
    with psycopg.connect(reference.conninfo) as conn:
        tables = conn.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE'"
            " AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            rows = conn.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table)))
            for row in rows:
                whole = "\n".join(_readable(value) for value in row)
                searched += WORDS[0] in whole
                masked += MASK in whole
                found += [f"{table}: {key}" for key in keys if key in whole]
    assert found == []
    # The search also covers compressed replies: each market's volumes, each type's page files.
    assert len(tables) > 30
    assert searched > 3 * len(MARKETS)
    # Replies had keys: ScaleSERP repeats the account's key in each result of its files.
    assert masked >= 3


def _readable(value: Any) -> str:
    if isinstance(value, bytes):
        with contextlib.suppress(zlib.error):
            value = zlib.decompress(value)
        return str(value.decode(errors="replace"))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def test_the_dsi_recomputes_by_hand(reference: Reference) -> None:
    """Every organic score follows, by plain arithmetic, from the stored search results."""
    run = reference.first.run_id
    results = _of(reference, "serp_results", run, "AND content_type = 'organic'")
    overviews = {
        (row["keyword_id"], row["market"]): row["ai_overview"]
        for row in _of(reference, "serps", run, "AND content_type = 'organic'")
    }
    volumes = {
        (row["keyword_id"], row["market"]): row["search_volume"]
        for row in _of(reference, "keyword_metrics", run)
    }
    relevances = {
        (row["subject"], row["market"]): row["relevance"]
        for row in _of(reference, "content_analyses", run, "AND content_type = 'organic'")
        if row["empty_kind"] is None
    }
    scores = _of(reference, "dsi_scores", run, "AND content_type = 'organic'")
    assert {score["company"] for score in scores} == {row["domain"] for row in results}
    known = 0
    for score in scores:
        there = [row for row in results if row["market"] == score["market"]]
        own = [row for row in there if row["domain"] == score["company"]]
        keyword_ids = {row["keyword_id"] for row in own}
        traffic = [_traffic(row, volumes, overviews) for row in own]
        total = math.fsum(t for row in there if (t := _traffic(row, volumes, overviews)))
        urls = {row["canonical_url"] for row in own}
        pages = [(f"u:{url}", score["market"]) for url in urls]
        judged = [relevances[page] for page in pages if page in relevances]
        assert score["keywords_collected"] == len(WORDS)
        assert score["keywords_ranked"] == len(keyword_ids)
        assert score["coverage"] == pytest.approx(len(keyword_ids) / len(WORDS), rel=1e-9)
        assert score["relevance_basis"] == len(judged)
        if not judged or all(t is None for t in traffic):
            assert score["dsi"] is None
            continue
        known += 1
        share = math.fsum(t for t in traffic if t) / total
        relevance = math.fsum(judged) / len(judged)
        assert score["traffic_share"] == pytest.approx(share, rel=1e-9)
        assert score["relevance"] == pytest.approx(relevance, rel=1e-9)
        expected = 100 * len(keyword_ids) / len(WORDS) * share * relevance
        assert score["dsi"] == pytest.approx(expected, rel=1e-9)
        assert score["curve"] == "classic"
    assert known > 20


def _traffic(
    row: Mapping[str, Any],
    volumes: Mapping[tuple[int, str], int | None],
    overviews: Mapping[tuple[int, str], bool],
) -> float | None:
    key = (row["keyword_id"], row["market"])
    volume = volumes[key]
    if volume is None:
        return None
    place = row["position"]
    rate = (CLASSIC[place - 1] if place <= len(CLASSIC) else 0.5) / 100
    return volume * rate * (0.5 if overviews[key] else 1.0)


def test_a_combined_score_is_the_mean_of_its_types(reference: Reference) -> None:
    """The combined figure weighs types equally; a type without the company counts as zero."""
    scores = _of(reference, "dsi_scores", reference.first.run_id)
    typed = {(s["content_type"], s["market"], s["company"]): s["dsi"] for s in scores}
    combined = [score for score in scores if score["content_type"] == "all"]
    assert len(combined) == len({key[1:] for key in typed})
    for score in combined:
        where = (score["market"], score["company"])
        parts = [typed.get((kind, *where), 0.0) for kind in TYPES]
        if None in parts:
            assert score["dsi"] is None
        else:
            assert score["dsi"] == pytest.approx(math.fsum(parts) / 3, rel=1e-9, abs=1e-12)


def test_a_video_belongs_to_its_channels_owner(reference: Reference) -> None:
    """YouTube itself has no figure: a video counts for its channel's owner, or for the channel."""
    scores = _of(reference, "dsi_scores", reference.first.run_id, "AND content_type = 'video'")
    companies = {score["company"] for score in scores}
    owned = {row["domain"] for row in _of(reference, "channel_owners", reference.first.run_id)} - {
        None
    }
    assert "youtube.com" not in companies
    assert owned & companies
    assert any(company.startswith("youtube.com/channel/") for company in companies)


def test_a_channel_without_a_website_is_asked_about(reference: Reference) -> None:
    """The model names the owner of a channel that links to no website, or nobody.

    The simulator's world knows who runs each channel.
    """
    channels = Videos(SEED, Directory(SEED))
    methods: Counter[str] = Counter()
    for row in _of(reference, "channel_owners", reference.first.run_id):
        channel = channels.find_channel(channel_id=row["channel_id"])
        assert channel is not None
        methods[row["method"]] += 1
        if row["method"] == "llm":
            assert channel.owner is not None
            assert row["domain"] == channel.owner.domain
        if row["method"] == "none":
            assert row["domain"] is None
            assert channel.owner is None or channel.owner.known is Known.NOWHERE
    assert methods["llm"]
    assert methods["none"]


def test_keywords_in_any_script_are_walked_to_the_end(reference: Reference) -> None:
    """Chinese, Polish, Arabic and Russian keywords have pages and results of their own."""
    rows = reference.rows(
        "SELECT r.keyword, r.market, m.search_volume, count(DISTINCT s.content_type) AS types,"
        " count(x.*) AS results FROM run_keywords r"
        " JOIN keyword_metrics m USING (run_id, keyword_id, market)"
        " JOIN serps s USING (run_id, keyword_id, market)"
        " LEFT JOIN serp_results x USING (run_id, keyword_id, market, content_type, device)"
        " WHERE run_id = %s GROUP BY 1, 2, 3",
        reference.first.run_id,
    )
    found = {(row["keyword"], row["market"]): row for row in rows}
    assert set(found) == {(word, market) for word in WORDS for market in MARKETS}
    assert {row["types"] for row in rows} == {3}
    assert min(row["results"] for row in rows) >= 10
    titles = reference.rows(
        "SELECT title FROM serp_results WHERE run_id = %s AND content_type = 'organic'",
        reference.first.run_id,
    )
    for word in WORDS[4:]:
        assert any(word.casefold() in row["title"].casefold() for row in titles), word


def test_a_second_run_buys_searches_again_and_nothing_else(reference: Reference) -> None:
    """SERPs are collected again; volumes, companies, videos and pages serve both runs."""
    first, second = reference.first, reference.second
    assert second.status is RunStatus.COMPLETED
    assert second.spent == {
        **dict.fromkeys(PROVIDERS, 0.0),
        "scaleserp": first.spent["scaleserp"],
    }
    bought = {e.provider for e in second.log if e.provider != "scaleserp"}
    assert bought <= {"pages"}
    # Only unreadable pages are tried again; they cost nothing.
    unread = [
        row["item"]
        for row in _items(reference, first.run_id, "content_analysis")
        if row["status"] == "failed"
    ] + [
        row["subject"]
        for row in _of(reference, "content_analyses", first.run_id)
        if row["model"] is None
    ]
    failed = {_bare(subject.removeprefix("u:")) for subject in unread}
    again = {e.params["url"] for e in second.log if e.operation == "page"}
    assert {url for url in again if "/current/" not in url} == failed
    assert differences(first.tables, second.tables) == []


def _bare(url: str) -> str:
    """A URL as the simulator's log shows it: scheme, host and path."""
    parts = urlsplit(url)
    return f"https://{parts.hostname}{parts.path or '/'}"


def _ids(log: Sequence[CallEntry], operation: str) -> list[str]:
    calls = [e for e in log if e.provider == "youtube" and e.operation == operation]
    return [one for e in calls for one in e.params.get("id", "").split(",") if one]


def _of(reference: Reference, table: str, run_id: UUID, more: str = "") -> list[dict[str, Any]]:
    return reference.rows(f"SELECT * FROM {table} WHERE run_id = %s {more}", run_id)


def _domains(reference: Reference, run_id: UUID) -> list[str]:
    rows = _of(reference, "serp_results", run_id, "AND domain <> 'youtube.com'")
    return sorted({row["domain"] for row in rows})


def _items(reference: Reference, run_id: UUID, phase: str) -> list[dict[str, Any]]:
    return reference.rows(
        "SELECT i.* FROM items i JOIN pipeline_phase_status l ON l.id = i.lane_id"
        " WHERE l.pipeline_execution_id = %s AND l.phase_name = %s",
        run_id,
        phase,
    )
