"""Wikidata's query service: who is behind a domain, free and without a key.

Promise: builds calls and reads replies; does no I/O. One call answers for many domains, and a
domain without a company is simply absent from the answer. Limits: a query travels in the URL, so
domains are cut into chunks of at most ``DOMAINS_MAX`` and ``QUERY_BYTES_MAX``; the service gives a
client 60 s of processing per minute and demands a User-Agent with a contact.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from urllib.parse import quote

from serpline.domain.companies import Company
from serpline.domain.http import HttpRequest, ProviderCall
from serpline.providers.wikidata import sparql, wire

PROVIDER = "wikidata"
DOMAINS_MAX = 25
# Percent-encoded; servers and proxies commonly stop reading a request line at 8 kB.
QUERY_BYTES_MAX = 7_500


class WikidataClient:
    """Builds Wikidata calls. ``contact``: an address or URL at which the operator can be reached.

    ``now`` tells the instant a reply is read at, for a ``Retry-After`` that is a date.
    """

    def __init__(self, *, base_url: str, contact: str, now: Callable[[], datetime]) -> None:
        self._base_url = base_url
        self._user_agent = f"serpline/0.1 (search intelligence pipeline; {contact})"
        self._now = now

    def companies_by_domains(
        self, domains: Iterable[str], languages: Iterable[str]
    ) -> list[ProviderCall[dict[str, Company | None]]]:
        """Calls that together answer for all ``domains`` (registrable; order and repeats ignored).

        Names are English; where Wikidata has none, its default for all languages, else the first
        of ``languages`` (BCP 47) that has one. Each call's result maps a domain, written as given,
        to its company. The same domains and languages always make the same calls. Raises
        ``UserError`` for what is not a domain name.
        """
        codes = sparql.label_languages(languages)
        return [self._call(chunk, codes) for chunk in _chunks(sorted(set(domains)), codes)]

    def _call(
        self, domains: list[str], languages: tuple[str, ...]
    ) -> ProviderCall[dict[str, Company | None]]:
        return ProviderCall(
            provider=PROVIDER,
            operation="companies_by_domains",
            request=HttpRequest(
                method="GET",
                url=f"{self._base_url}/sparql",
                params={"query": sparql.companies_query(domains, languages), "format": "json"},
                headers={
                    "User-Agent": self._user_agent,
                    "Accept": "application/sparql-results+json",
                },
                # The service itself gives up after 60 s; a shorter wait would hide its answer.
                timeout_seconds=65.0,
                size_bytes_max=10_000_000,
            ),
            identity={"domains": domains, "languages": list(languages)},
            parse=partial(
                wire.companies, domains=tuple(domains), languages=languages, now=self._now
            ),
        )


def _chunks(domains: list[str], languages: tuple[str, ...]) -> Iterator[list[str]]:
    base = len(quote(sparql.companies_query([], languages), safe=""))
    chunk: list[str] = []
    size = base
    for domain in domains:
        added = sum(len(quote(f"<{site}> ", safe="")) for site in sparql.sites(domain))
        if chunk and (len(chunk) == DOMAINS_MAX or size + added > QUERY_BYTES_MAX):
            yield chunk
            chunk, size = [], base
        chunk.append(domain)
        size += added
    if chunk:
        yield chunk
