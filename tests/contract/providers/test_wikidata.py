"""Wikidata's query service on the wire: the queries, and the meaning of each reply."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import QueryResultsFormat, QuerySolutions, RdfFormat, Store

from serpline.domain.companies import Company
from serpline.domain.errors import ErrorCategory, ProviderError, UserError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.providers.wikidata import client
from serpline.providers.wikidata.client import WikidataClient
from serpline.providers.wikidata.sparql import LANGUAGES_MAX, companies_query, label_languages
from serpline.simulator.wikidata_items import PREFIXES

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROWS = (Path(__file__).parent / "documents" / "wikidata_companies.json").read_bytes()
ITEMS = (Path(__file__).parent / "documents" / "wikidata_items.ttl").read_bytes()
TAGS = label_languages(["de"])
MANY = [f"{letter}a-{letter}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
WIKIDATA = WikidataClient(
    base_url="http://wd.example", contact="ops@northwind.example", now=lambda: NOW
)


def only_call(*domains: str) -> ProviderCall[dict[str, Company | None]]:
    (call,) = WIKIDATA.companies_by_domains(domains, ["de"])
    return call


def reply(body: Any, status: int = 200, **headers: str) -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=status, headers=names, body=raw)


def sites_in(query: str) -> list[str]:
    values = re.search(r"VALUES \?site \{ (.*?) \}", query)
    assert values is not None
    return re.findall(r"<([^<>\s]+)>", values[1])


@pytest.mark.parametrize("domain", ["xn--bcher-kva.example", "bücher.example"])
def test_a_name_in_another_script_is_searched_in_both_spellings(domain: str) -> None:
    """Wikidata writes such a website in its script or as punycode, whichever we store."""
    asked = sites_in(only_call(domain).request.params["query"])
    assert len(asked) == 16
    assert {"https://www.bücher.example/", "http://xn--bcher-kva.example"} <= set(asked)


def test_a_domain_is_searched_in_all_eight_spellings() -> None:
    """https or http, with www or not, with a slash or not: one list of URLs, no scan."""
    call = only_call("northwind.com")
    assert call.request.url == "http://wd.example/sparql"
    assert call.request.params["format"] == "json"
    assert set(sites_in(call.request.params["query"])) == {
        f"{scheme}://{www}northwind.com{slash}"
        for scheme in ("https", "http")
        for www in ("", "www.")
        for slash in ("", "/")
    }


def test_a_name_in_another_script_is_also_searched_in_punycode() -> None:
    """Editors write such a website either way."""
    sites = sites_in(only_call("müller.de").request.params["query"])
    assert "https://www.müller.de/" in sites
    assert "https://www.xn--mller-kva.de/" in sites
    assert len(sites) == 16


def test_the_user_agent_names_a_contact() -> None:
    """Wikidata refuses clients without a contact."""
    assert "ops@northwind.example" in only_call("a.com").request.headers["User-Agent"]


@given(st.sets(st.from_regex(r"[a-z]{1,60}\.(com|example)", fullmatch=True), max_size=120))
def test_chunks_hold_every_domain_once_within_the_bounds(domains: set[str]) -> None:
    """Each of any number of domains is in one query, and no query exceeds its bounds."""
    calls = WIKIDATA.companies_by_domains(domains, MANY)
    asked = [domain for call in calls for domain in call.identity["domains"]]
    assert asked == sorted(domains)
    for call in calls:
        assert 1 <= len(call.identity["domains"]) <= client.DOMAINS_MAX
        assert len(quote(call.request.params["query"], safe="")) <= client.QUERY_BYTES_MAX


def test_the_same_domains_make_the_same_calls() -> None:
    """Order and repeats do not matter, so the same question is bought once."""
    one = WIKIDATA.companies_by_domains(["b.com", "a.com", "b.com"], ["de"])
    two = WIKIDATA.companies_by_domains(["a.com", "b.com"], ["de"])
    assert [call.identity for call in one] == [call.identity for call in two]
    assert [call.request for call in one] == [call.request for call in two]
    assert WIKIDATA.companies_by_domains([], ["de"]) == []


@given(st.text(max_size=40) | st.text('abc.<>"{}|\\^` \n\t#?/@-_%', max_size=20))
@settings(max_examples=200)
def test_no_text_can_break_out_of_the_query(text: str) -> None:
    """Any text is rejected or leaves the query with exactly its own URLs."""
    try:
        query = companies_query([text], TAGS)
    except UserError:
        return
    sites = sites_in(query)
    assert len(sites) in (8, 16)
    for site in sites:
        assert re.fullmatch(r"https?://[\w.-]+/?", site)
    rest = query
    for site in sorted(sites, key=len, reverse=True):
        rest = rest.replace(f"<{site}>", "")
    assert re.sub(r"\s+", " ", rest) == re.sub(r"\s+", " ", companies_query([], TAGS))


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "com",
        "a..com",
        ".com",
        "a.com.",
        "-a.com",
        "a-.com",
        "a b.com",
        "a.com> } DROP ALL #",
        "a.com/path",
        "https://a.com",
        "a_b.com",
        "a.com\n",
        "x" * 64 + ".com",
        "a." * 130 + "com",
    ],
)
def test_an_invalid_domain_name_is_rejected(domain: str) -> None:
    """The error is one line with the value; no query is built."""
    with pytest.raises(UserError, match="not a domain name"):
        WIKIDATA.companies_by_domains([domain], [])


def test_rows_become_companies_by_domain() -> None:
    """Of several items with one website the one with staff wins; labels and facts are read."""
    found = only_call("northwind.com", "fabrikam.org", "unknown.net").parse(reply(ROWS))
    assert found == {
        "northwind.com": Company(
            name="Northwind Traders",
            domain="northwind.com",
            source="wikidata",
            source_id="Q4711",
            industry="tourism",
            country="United States",
            headquarters="Seattle",
            employee_count=3120,
            founded=1998,
            linkedin_url="https://www.linkedin.com/company/northwind-traders",
            ticker="NWND",
            parent="Contoso Group",
        ),
        "fabrikam.org": Company(
            name="fabrikam.org", domain="fabrikam.org", source="wikidata", source_id="Q77"
        ),
    }


def companies_of_items(languages: list[str], now: datetime = NOW) -> dict[str, Company | None]:
    """The query's result over the document's items, from a real SPARQL engine."""
    store = Store()
    store.load(ITEMS, format=RdfFormat.TURTLE)
    wikidata = WikidataClient(base_url="http://wd.example", contact="c@d", now=lambda: now)
    (call,) = wikidata.companies_by_domains(["northwind.com", "fabrikam.org"], languages)
    table = store.query(call.request.params["query"], prefixes=PREFIXES)
    assert isinstance(table, QuerySolutions)
    return call.parse(reply(table.serialize(format=QueryResultsFormat.JSON)))


def test_current_statements_are_read() -> None:
    """The newest of equal rank that has not ended; never a deprecated or former one."""
    assert companies_of_items(["de"]) == {
        "northwind.com": Company(
            name="Northwind",
            domain="northwind.com",
            source="wikidata",
            source_id="Q1",
            industry="tourism",
            country="United States",
            headquarters="Seattle (Stadt)",
            employee_count=3120,
            founded=1998,
            linkedin_url="https://www.linkedin.com/company/northwind",
            ticker="NWND",
            parent="Contoso",
        ),
        "fabrikam.org": Company(
            name="fabrikam.org", domain="fabrikam.org", source="wikidata", source_id="Q3"
        ),
    }


def test_a_name_in_no_requested_language_is_unknown() -> None:
    """A headquarters with only a German name; a former one does not replace it."""
    found = companies_of_items(["pl"])["northwind.com"]
    assert found is not None
    assert (found.name, found.headquarters) == ("Northwind", None)


def test_future_statements_are_ignored() -> None:
    """Before 2012 today's headquarters was at most announced; before 2024 its count too."""
    found = companies_of_items(["de"], datetime(2011, 1, 1, tzinfo=UTC))["northwind.com"]
    assert found is not None
    assert (found.headquarters, found.employee_count) == (None, 9000)


def test_a_label_is_english_the_default_or_a_market_language() -> None:
    """In this order; some languages have codes of Wikidata's own, and invalid tags none."""
    assert label_languages([]) == ("en", "mul")
    assert label_languages(["de", "EN", " pt-BR "]) == ("en", "mul", "de", "pt-br", "pt")
    assert label_languages(["no"]) == ("en", "mul", "nb", "nn")
    assert label_languages(["zh-TW"]) == ("en", "mul", "zh-tw", "zh-hant", "zh")
    assert label_languages(["", "deutsch!", 'de") }', "x" * 9, "d"]) == ("en", "mul")
    assert len(label_languages(MANY)) == LANGUAGES_MAX
    query = companies_query(["a.com"], label_languages(["de"]))
    assert query.count('LANG(?label) IN ("en", "mul", "de")') == 2


def test_the_order_of_rows_does_not_matter() -> None:
    """The service guarantees no order; the answer is the same in any."""
    document = json.loads(ROWS)
    document["results"]["bindings"].reverse()
    call = only_call("northwind.com", "fabrikam.org")
    assert call.parse(reply(document)) == call.parse(reply(ROWS))


def test_an_empty_table_is_an_answer() -> None:
    """An empty table of results means that no domain has a company."""
    empty = {"head": {"vars": ["site"]}, "results": {"bindings": []}}
    assert only_call("northwind.com").parse(reply(empty)) == {}


def test_a_year_before_the_common_era_is_not_a_founding_year() -> None:
    """A year before the common era is unknown."""
    document = json.loads(ROWS)
    for row in document["results"]["bindings"]:
        if row["fact"]["value"] == "founded":
            row["value"] = {"type": "literal", "value": "-0050-01-01T00:00:00Z"}
    assert only_call("northwind.com").parse(reply(document))["northwind.com"].founded is None


@pytest.mark.parametrize(
    ("status", "category", "permanent"),
    [
        (400, ErrorCategory.BAD_REQUEST, True),
        (403, ErrorCategory.ACCESS_DENIED, True),
        (404, ErrorCategory.BAD_REQUEST, True),
        (408, ErrorCategory.TIMEOUT, False),
        (429, ErrorCategory.RATE_LIMIT, False),
        (500, ErrorCategory.SERVER, False),
        (504, ErrorCategory.TIMEOUT, False),
    ],
)
def test_a_status_decides_the_category(
    status: int, category: ErrorCategory, permanent: bool
) -> None:
    """Each status has one category; a 429 has the service's wait."""
    with pytest.raises(ProviderError) as caught:
        only_call("a.com").parse(reply(b"java.util.concurrent", status, retry_after="31"))
    assert (caught.value.category, caught.value.permanent) == (category, permanent)
    assert caught.value.retry_after_seconds == (None if permanent else 31.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"results":{"bindings":{}}}',
        b'{"results":{"bindings":[1]}}',
        b'{"results":{"bindings":[{}]}}',
        ROWS[:-300],
        ROWS + b"\nSPARQL-QUERY: queryStr=... java.util.concurrent.TimeoutException",
    ],
)
def test_an_unreadable_table_is_malformed(body: bytes) -> None:
    """A result cut short by the service's time-out is a failure, not an empty answer."""
    with pytest.raises(ProviderError) as caught:
        only_call("northwind.com").parse(reply(body))
    assert (caught.value.category, caught.value.permanent) == (ErrorCategory.MALFORMED, False)


def test_an_unreadable_row_affects_only_its_domain() -> None:
    """The others keep their companies; the row's domain is unreadable, not unknown."""
    table = json.loads(ROWS)
    rows = table["results"]["bindings"]
    rows.append({"site": {"type": "uri", "value": "https://acme.com"}})
    found = only_call("northwind.com", "acme.com", "nobody.com").parse(reply(table))
    assert found["northwind.com"] is not None
    assert found["acme.com"] is None
    assert "nobody.com" not in found
    rows.append({"site": 7})
    found = only_call("northwind.com", "acme.com", "nobody.com").parse(reply(table))
    assert found["northwind.com"] is not None
    assert found["nobody.com"] is None
