"""The simulator with serpline's connectors and HTTP client: every provider, end to end."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from serpline.analysis.domains import registrable_domain
from serpline.core.clock import SystemClock
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import ProviderCall
from serpline.domain.markets import builtin_markets
from serpline.domain.names import ContentType, Device
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.llm.client import LlmClient
from serpline.providers.pages.client import PageClient
from serpline.providers.pages.extraction import Extractor
from serpline.providers.pdl.client import PdlClient
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.spec import BatchSearch, SearchSpec
from serpline.providers.youtube.client import YouTubeClient
from serpline.simulator import RateLimit
from serpline.simulator.world.companies import Kind, Known

from .simulator_side import Side, now, opened


@pytest.fixture
async def side(request: pytest.FixtureRequest, monkeypatch: Any) -> AsyncIterator[Side]:
    """A simulator with the test's settings, and serpline configured for it."""
    async with opened(monkeypatch, getattr(request, "param", {})) as both:
        yield both


@pytest.mark.parametrize("content_type", [ContentType.ORGANIC, ContentType.NEWS, ContentType.VIDEO])
async def test_a_search_is_read_completely(side: Side, content_type: ContentType) -> None:
    """Ten readable results with positions and domains, for one credit; the device is echoed."""
    market = builtin_markets()["GB"]
    spec = SearchSpec(
        "Wisła rzeka 吕梁市",
        content_type,
        Device.MOBILE,
        location=market.location,
        gl=market.gl,
        hl=market.hl,
    )
    call = side.scaleserp.search(spec)
    reply = await side.http.send(call.request)
    assert b'"device":"mobile"' in reply.body
    page = call.parse(reply)
    results = page.results(content_type)
    assert [result.overall_position for result in results] == list(range(1, 11))
    assert (page.unreadable, page.credits_used) == (0, 1)
    dated = [result.date_utc for result in results if result.date_utc]
    assert len(dated) == 10 or content_type is ContentType.ORGANIC
    assert side.simulator.ledger.spent("scaleserp") == 1


async def test_a_batch_from_create_to_its_records(side: Side) -> None:
    """Create, find, add, read back, start, poll, result set, and page file under the SSRF guard."""
    client = side.scaleserp
    made = await side.do(client.create_batch("run-1", "news"))
    found = await side.do(client.find_batch_by_name("run-1"))
    assert found is not None
    assert found.id == made.id
    sent = [
        BatchSearch(f"id-{n}", SearchSpec(f"news {n}", ContentType.NEWS, gl="us", hl="en"))
        for n in range(4)
    ]
    await side.do(client.add_searches(made.id, sent))
    stored = await side.do(client.searches_page(made.id, 1))
    assert [s.custom_id for s in stored.searches] == [s.custom_id for s in sent]
    await side.do(client.start(made.id, credits_required=4))
    await side.simulator.settled()
    (result_set,) = await side.do(client.results(made.id))
    fetched = await side.do(client.result_set(made.id, result_set.id))
    records = await side.do(client.page_file(fetched, 1), web=True)
    assert [record.custom_id for record in records] == [f"id-{n}" for n in range(4)]
    assert all(record.success and record.page for record in records)
    account = await side.do(client.account())
    assert account.credits_used == side.simulator.ledger.spent("scaleserp") == 4


async def test_volumes_come_in_batches_per_market(side: Side) -> None:
    """Every keyword has a row, some unknown; GB and US differ; one charge per request."""
    words = [f"flights to {n}" for n in range(60)] + ["三川河"]
    volumes = {}
    for location in (2840, 2826):
        reply = await side.do(side.dataforseo.search_volume(words, location, "en"))
        volumes[location] = {row.keyword: row.search_volume for row in reply.metrics}
        assert set(volumes[location]) == set(words)
    assert None in volumes[2840].values()
    assert volumes[2840] != volumes[2826]
    assert len(side.simulator.ledger.charges) == 2


async def test_one_restricted_keyword_empties_its_batch(side: Side) -> None:
    """The whole batch has no figures, and is charged."""
    call = side.dataforseo.search_volume(["flights to rome", "cocaine price"], 2840, "en")
    assert (await side.do(call)).lost_all_figures
    assert side.simulator.ledger.spent("dataforseo") == 0.09


@pytest.mark.parametrize(
    "side", [{"limits": {"dataforseo": RateLimit(1, 60), "pdl": RateLimit(1, 60)}}], indirect=True
)
async def test_each_vendors_rate_limit_is_recognised(side: Side) -> None:
    """DataForSEO's limit is inside a 200, PDL's is a 429; both are read as rate limits."""
    calls: list[Any] = [
        side.dataforseo.search_volume(["a"], 2840, "en"),
        side.pdl.enrich(side.simulator.world.directory.all[0].domain),
    ]
    for call in calls:
        await side.do(call)
        with pytest.raises(ProviderError) as caught:
            await side.do(call)
        assert caught.value.category is ErrorCategory.RATE_LIMIT


@pytest.mark.parametrize(
    ("known", "by_pdl", "by_wikidata"), [(Known.FREE, 0, 1), (Known.NOWHERE, 0, 0)]
)
async def test_companies_are_known_to_pdl_wikidata_or_neither(
    side: Side, known: Known, by_pdl: int, by_wikidata: int
) -> None:
    """Wikidata knows some companies that PDL does not; a miss is a free answer."""
    pool = side.simulator.world.directory.of(Kind.TAIL)
    domains = [company.domain for company in pool if company.known is known][:10]
    bought = [await side.do(side.pdl.enrich(domain)) for domain in domains]
    assert sum(company is not None for company in bought) == by_pdl
    found: dict[str, Any] = {}
    for call in side.wikidata.companies_by_domains(domains, []):
        found |= await side.do(call)
    assert len(found) == by_wikidata * len(domains)
    assert side.simulator.ledger.spent("pdl") == 0


async def test_a_strong_company_is_described(side: Side) -> None:
    """PDL gives name, size and place for www and the bare domain, at one credit each."""
    company = side.simulator.world.directory.of(Kind.STRONG)[0]
    found = await side.do(side.pdl.enrich(company.domain))
    assert found is not None
    assert (found.domain, found.employee_count) == (company.domain, company.employees)
    assert registrable_domain(f"https://www.{company.domain}/x") == company.domain
    assert side.simulator.ledger.spent("pdl") == 1


async def test_current_wikidata_statements_are_read(side: Side) -> None:
    """The current ones of untidy statements are read; a name may have one language only."""
    directory = side.simulator.world.directory
    asked = {c.domain: c for c in (*directory.of(Kind.MID), *directory.of(Kind.TAIL)[:100])}
    strong = directory.of(Kind.STRONG)
    found = await companies(side, asked, ["de", "fr", "ja", "pl"])
    assert found.keys() >= {c.domain for c in asked.values() if c.known is Known.FREE}
    for domain, read in found.items():
        company = asked[domain]
        country, _, _, city, _ = company.country
        owned = company.kind is Kind.MID and company.index % 6 == 0
        assert (read.name, read.country) == (company.name, country.title())
        assert (read.employee_count, read.founded) == (company.employees, company.founded)
        assert (read.headquarters, read.industry) == (city.title(), company.industry)
        assert read.parent == (strong[company.index % len(strong)].name if owned else None)
    assert any(read.parent for read in found.values())
    english = await companies(side, asked, [])
    nameless = {domain for domain, read in english.items() if read.name == domain}
    assert 0 < len(nameless) < len(english)
    assert english == {d: replace(c, name=d) if d in nameless else c for d, c in found.items()}


async def companies(side: Side, domains: Iterable[str], languages: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for call in side.wikidata.companies_by_domains(domains, languages):
        found |= await side.do(call)
    return found


async def test_wikidata_answers_any_query(side: Side) -> None:
    """A SPARQL engine answers nested functions and aggregates; malformed queries and scans fail."""
    company = side.simulator.world.directory.of(Kind.TAIL)[0]
    company = next(c for c in side.simulator.world.directory.of(Kind.TAIL) if c.known is Known.FREE)
    values = " ".join(
        f"<https://{www}{company.domain}{slash}>" for www in ("", "www.") for slash in ("", "/")
    )
    counted = (
        "SELECT (SUBSTR(STRAFTER(MAX(CONCAT(STR(?at), ' n', STR(?n))), ' '), 2) AS ?newest)"
        f" WHERE {{ VALUES ?site {{ {values} }} ?item wdt:P856 ?site ; p:P1128 ?s ."
        " ?s a wikibase:BestRank ; ps:P1128 ?n ; pq:P585 ?at }"
    )
    url = f"{side.settings.wikidata_base_url}/sparql"
    headers = {"user-agent": "test (mailto:a@b.example)"}
    async with httpx2.AsyncClient(trust_env=False, headers=headers) as plain:

        async def ask(query: str) -> Any:
            return await plain.get(url, params={"query": query, "format": "json"})

        (row,) = (await ask(counted)).json()["results"]["bindings"]
        assert row["newest"]["value"].lstrip("+") == str(company.employees)
        assert (
            await ask(f"SELECT (MAX( WHERE {{ <https://{company.domain}> }}")
        ).status_code == 400
        assert (await ask(f"ASK {{ <https://{company.domain}> ?p ?o }}")).status_code == 400
        assert (await ask("SELECT * WHERE { ?s ?p ?o }")).status_code == 500


async def test_pdl_capitalises_names_on_request(side: Side) -> None:
    """Names are in lower case, as the real API's; titlecase=true capitalises each word."""
    company = side.simulator.world.directory.of(Kind.STRONG)[0]
    found = await side.do(side.pdl.enrich(company.domain))
    country, _, _, city, region = company.country
    assert (found.country, found.industry) == (country.title(), company.industry.title())
    assert found.headquarters == f"{city}, {region}, {country}".title()
    async with httpx2.AsyncClient(trust_env=False) as plain:
        reply = await plain.get(
            f"{side.settings.pdl_base_url}/v5/company/enrich",
            params={"website": company.domain},
            headers={"x-api-key": side.settings.pdl_api_key.get_secret_value()},
        )
    assert reply.json()["location"]["country"] == country
    assert reply.json()["industry"] == company.industry


async def test_wikidata_requires_a_contact(side: Side) -> None:
    """A User-Agent without a contact gets a 403."""
    async with httpx2.AsyncClient(trust_env=False) as plain:
        url = f"{side.settings.wikidata_base_url}/sparql"
        reply = await plain.get(url, params={"query": "x"}, headers={"user-agent": "curl/8"})
    assert reply.status_code == 403


async def test_videos_have_channels_and_channels_have_owners(side: Side) -> None:
    """Most ids of result pages exist; most channels name their owner's domain."""
    ids = []
    for number in range(5):
        spec = SearchSpec(f"tour {number}", ContentType.VIDEO)
        for result in (await side.do(side.scaleserp.search(spec))).video:
            ids += parse_qs(urlsplit(result.url).query).get("v", [])
    unique = list(dict.fromkeys(ids))
    videos: dict[str, Any] = {}
    for start in range(0, len(unique), 50):
        videos |= await side.do(side.youtube.videos(unique[start : start + 50]))
    assert 0.85 * len(unique) < len(videos) <= len(unique)
    assert all("tour" in video.title.lower() for video in videos.values())
    ids = sorted({video.channel_id for video in videos.values()})[:50]
    channels = await side.do(side.youtube.channels(ids))
    assert set(channels) == set(ids)
    owned = [c for c in channels.values() if any(".example" in link for link in c.links)]
    assert len(owned) > len(channels) / 2


@pytest.mark.parametrize("side", [{"credits": {"youtube/general": 2}}], indirect=True)
async def test_a_spent_quota_stops_until_the_pacific_midnight(side: Side) -> None:
    """A third unit of two is a quota error, not a rate limit."""
    calls = [side.youtube.videos([f"abcdefghij{n}"]) for n in range(3)]
    for call in calls[:2]:
        await side.do(call)
    with pytest.raises(ProviderError) as caught:
        await side.do(calls[2])
    assert caught.value.category is ErrorCategory.QUOTA


async def test_pages_are_read_and_analysed(side: Side) -> None:
    """Most pages yield their text without navigation, and their relevance differs."""
    spec = SearchSpec("hotels in 三川河", ContentType.ORGANIC, max_page=3)
    results = (await side.do(side.scaleserp.search(spec))).organic
    pages = PageClient(now=now)
    relevance, refused = [], 0
    async with Extractor(processes=1) as extractor:
        for result in results[:25]:
            try:
                document = await side.do(pages.fetch_page(result.url), web=True)
                page = await extractor.extract(document)
            except ProviderError:
                refused += 1
                continue
            assert "cookies" not in page.text
            assert "All rights reserved" not in page.text
            call = side.llm.analyse_page(result.url, page.title or "", page.text, [spec.q], "en")
            relevance.append((await side.do(call)).relevance)
    assert refused < 8
    assert len(set(relevance)) > 5
    assert max(relevance) > 0.6
    assert side.simulator.ledger.spent("llm") > 1_000


async def test_every_provider_refuses_a_wrong_key(side: Side) -> None:
    """Every provider answers a wrong key with an authentication error, unbilled."""
    given, clock = side.settings, SystemClock()
    calls: list[ProviderCall[Any]] = [
        ScaleSerpClient(given.scaleserp_base_url, "x", clock).search(SearchSpec("a")),
        YouTubeClient(base_url=given.youtube_base_url, api_key="x", now=now).videos(
            ["abcdefghijk"]
        ),
        DataForSeoClient(given.dataforseo_base_url, "l", "x", clock).search_volume(
            ["a"], 2840, "en"
        ),
        PdlClient(base_url=given.pdl_base_url, api_key="x", now=now).enrich("a.example"),
        LlmClient(given.llm_base_url, "x", "m", clock).analyse_page("u", "t", "x", ["k"], "en"),
    ]
    for call in calls:
        with pytest.raises(ProviderError) as caught:
            await side.do(call)
        assert (caught.value.category, caught.value.permanent) == (ErrorCategory.AUTH, True)
    assert side.simulator.ledger.charges == []


@pytest.mark.parametrize("fault", ["429", "500", "503", "malformed"])
@pytest.mark.parametrize("side", [{}], indirect=True)
async def test_every_provider_has_its_own_way_to_fail(side: Side, fault: str) -> None:
    """Each connector reads its vendor's failure as retryable."""
    side.simulator.set_faults([{"fault": fault}])
    calls: list[ProviderCall[Any]] = [
        side.scaleserp.search(SearchSpec("a")),
        side.youtube.videos(["abcdefghijk"]),
        side.dataforseo.search_volume(["a"], 2840, "en"),
        side.pdl.enrich("a.example"),
        side.wikidata.companies_by_domains(["a.example"], [])[0],
        side.llm.analyse_page("u", "t", "x", ["k"], "en"),
    ]
    for call in calls:
        with pytest.raises(ProviderError) as caught:
            await side.do(call)
        assert not caught.value.permanent, call.provider


async def test_replies_do_not_depend_on_earlier_calls(side: Side) -> None:
    """Any order of the same calls gives the same replies."""
    urls = [f"https://www.{c.domain}/guides/rome" for c in side.simulator.world.directory.all[:3]]
    seen: set[tuple[bytes, ...]] = set()
    for order in itertools.permutations(urls):
        bodies = {
            url: (await side.http.fetch(PageClient(now=now).fetch_page(url).request)).body
            for url in order
        }
        seen.add(tuple(bodies[url] for url in urls))
    assert len(seen) == 1


async def test_it_serves_as_a_process_of_its_own_until_it_is_terminated(tmp_path: Path) -> None:
    """The variables are in a file, calls work, and SIGTERM ends it with exit code 0."""
    file = tmp_path / "environment.json"
    code = (
        "import sys, pathlib; from serpline.simulator import SimulatorConfig, serve;"
        "serve(SimulatorConfig(seed=5), environment_file=pathlib.Path(sys.argv[1]),"
        "started=lambda variables: print(variables['SERPLINE_LLM_BASE_URL'], flush=True))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(file), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        base = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        assert base in file.read_text()
        async with httpx2.AsyncClient(trust_env=False) as http:
            state = await http.get(base.removesuffix("/llm") + "/_sim/state")
        assert state.json()["seed"] == 5
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_command_serves_the_plan_of_a_file(tmp_path: Path) -> None:
    """``simulator serve --faults plan.yaml`` applies the rules; a bad one exits with 2."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("- {fault: 503, provider: pdl, retry_after: 9}")
    command = [sys.executable, "-m", "serpline.cli", "simulator", "serve", "--faults", str(plan)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = ""
        while "PDL_BASE_URL" not in line:
            line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
            assert line
        async with httpx2.AsyncClient(trust_env=False) as http:
            reply = await http.get(f"{line.strip().partition('=')[2]}/v5/company/enrich")
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "9")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    plan.write_text("- {fault: 503, provider: pld}")
    refused = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, stderr = await asyncio.wait_for(refused.communicate(), 60)
    assert (refused.returncode, stderr.count(b"\n")) == (2, 1)
    assert f"{plan}, rule 1: provider='pld'".encode() in stderr
