"""Builds calls to Wikidata's query service, which finds companies by domain; does no I/O.

The service is free and needs no key. One call covers many domains; a domain without a company is
absent from the answer. Limits: the query is in the URL, so a call has at most ``DOMAINS_MAX``
domains and ``QUERY_BYTES_MAX`` bytes; the service allows a client 60 s of processing per minute and
requires a User-Agent with a contact.
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
# Percent-encoded; servers and proxies commonly limit a request line to 8 kB.
QUERY_BYTES_MAX = 7_500


class WikidataClient:
    """Builds the calls. ``contact``: the operator's mail address or URL.

    ``now`` is the clock for ``Retry-After`` dates.
    """

    def __init__(self, *, base_url: str, contact: str, now: Callable[[], datetime]) -> None:
        self._base_url = base_url
        self._user_agent = f"serpline/0.1 (search intelligence pipeline; {contact})"
        self._now = now

    def companies_by_domains(
        self, domains: Iterable[str], languages: Iterable[str]
    ) -> list[ProviderCall[dict[str, Company | None]]]:
        """Build the calls for ``domains`` (registrable; order and repeats are ignored).

        A name is English, else Wikidata's default for all languages, else in the first of
        ``languages`` (BCP 47) that has one. A call's result maps a domain, as given, to its
        company. The same domains and languages make the same calls. Raises ``UserError`` for an
        invalid domain name.
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
                # The service gives up after 60 s. A shorter timeout would miss its answer.
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
