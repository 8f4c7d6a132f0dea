"""The one query we ask. Nothing enters it that is not a domain name, letter by letter."""

from collections.abc import Iterable

import idna

from serpline.domain.companies import is_domain_name
from serpline.domain.errors import UserError

# MIN and MAX make the answer one row for each website and item, however many values a property
# has, and the same row every time it is asked.
_QUERY = """\
SELECT ?site ?company (MIN(?name) AS ?companyLabel) (MIN(?industryName) AS ?industryLabel)
 (MIN(?countryName) AS ?countryLabel) (MIN(?hqName) AS ?hqLabel) (MAX(?staff) AS ?employees)
 (MIN(?began) AS ?inception) (MIN(?parentName) AS ?parentLabel) (MIN(?linkedinId) AS ?linkedin)
 (MIN(?symbol) AS ?ticker)
WHERE {
 VALUES ?site { %s }
 ?company wdt:P856 ?site .
 FILTER NOT EXISTS { ?company wdt:P31 wd:Q5 }
 OPTIONAL { ?company rdfs:label ?name . FILTER(LANG(?name) = "en") }
 OPTIONAL { ?company wdt:P452/rdfs:label ?industryName . FILTER(LANG(?industryName) = "en") }
 OPTIONAL { ?company wdt:P17/rdfs:label ?countryName . FILTER(LANG(?countryName) = "en") }
 OPTIONAL { ?company wdt:P159/rdfs:label ?hqName . FILTER(LANG(?hqName) = "en") }
 OPTIONAL { ?company wdt:P1128 ?staff }
 OPTIONAL { ?company wdt:P571 ?began }
 OPTIONAL { ?company wdt:P749/rdfs:label ?parentName . FILTER(LANG(?parentName) = "en") }
 OPTIONAL { ?company wdt:P4264 ?linkedinId }
 OPTIONAL { ?company p:P414/pq:P249 ?symbol }
}
GROUP BY ?site ?company
"""


def companies_query(domains: Iterable[str]) -> str:
    """The SPARQL query for the items whose official website is that of any of ``domains``."""
    return _QUERY % " ".join(f"<{site}>" for domain in domains for site in sites(domain))


def sites(domain: str) -> list[str]:
    """Every way Wikidata commonly writes the website of ``domain``.

    Eight addresses, or sixteen for a name in another script (as punycode and in that script).
    Raises ``UserError`` for what is not a domain name: an address is part of a query, so no letter
    gets in that could end it.
    """
    return [
        f"{scheme}://{www}{name}{slash}"
        for name in _spellings(domain)
        for scheme in ("https", "http")
        for www in ("", "www.")
        for slash in ("", "/")
    ]


def _spellings(domain: str) -> list[str]:
    if not is_domain_name(domain):
        raise UserError(f"not a domain name: {domain!r}")
    name = domain.lower()
    try:
        ascii_name = idna.encode(name, uts46=True).decode()
        return list(dict.fromkeys([name, ascii_name, idna.decode(ascii_name)]))
    except (idna.IDNAError, UnicodeError):
        return [name]
