"""The one query we ask. Nothing enters it that is not a domain name, letter by letter."""

import re
from collections.abc import Iterable

from serpline.domain.errors import UserError

_LABEL = re.compile(r"(?!-)(?:[^\W_]|-){1,63}(?<!-)")
_DOMAIN_LENGTH_MAX = 253

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

    Eight addresses, or sixteen for a name in another script (also as punycode). Raises
    ``UserError`` for what is not a domain name: an address is part of a query, so no letter gets
    in that could end it.
    """
    return [
        f"{scheme}://{www}{name}{slash}"
        for name in _spellings(domain)
        for scheme in ("https", "http")
        for www in ("", "www.")
        for slash in ("", "/")
    ]


def _spellings(domain: str) -> list[str]:
    labels = domain.lower().split(".")
    if (
        len(domain) > _DOMAIN_LENGTH_MAX
        or len(labels) < 2
        or not all(_LABEL.fullmatch(label) for label in labels)
    ):
        raise UserError(f"not a domain name: {domain!r}")
    name = ".".join(labels)
    if name.isascii():
        return [name]
    try:
        return [name, name.encode("idna").decode("ascii")]
    except UnicodeError:
        raise UserError(f"not a domain name: {domain!r}") from None
