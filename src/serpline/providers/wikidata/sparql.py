"""The SPARQL query for companies. Only validated domain names and language tags enter it.

A row of the answer is one statement about an item with one of its labels, so the service's work
grows with the sum of an item's statements; one row per item would need their product. A statement
counts if it has the best rank of its property (https://www.wikidata.org/wiki/Help:Ranking) and has
not ended (``P582``). ``wire`` chooses among several statements and languages.
"""

import re
from collections.abc import Iterable

import idna

from serpline.domain.companies import is_domain_name
from serpline.domain.errors import UserError

# More would make an answer of 25 companies too long.
LANGUAGES_MAX = 20
# English, then the default label for languages without their own:
# https://www.wikidata.org/wiki/Help:Default_values_for_labels_and_aliases.
_ALWAYS = ("en", "mul")
_TAG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,3}")
# Wikidata's codes that differ from the tag.
_CODES = {
    "no": ("nb", "nn"),
    "zh-cn": ("zh-cn", "zh-hans", "zh"),
    "zh-tw": ("zh-tw", "zh-hant", "zh"),
}
# The facts are fields of ``Company``. Each alternative names its properties, because a query
# service would search all of its statements for an unnamed property.
_ITEMS = {"industry": "P452", "country": "P17", "headquarters": "P159", "parent": "P749"}
_LITERALS = {"employee_count": "P1128", "founded": "P571", "linkedin_url": "P4264"}
_STATEMENT = '{ ?company p:%s ?s . ?s a wikibase:BestRank ; %s ?value . BIND("%s" AS ?fact) }'
_STATEMENTS = "\n   UNION ".join(
    [
        *(_STATEMENT % (p, f"ps:{p}", fact) for fact, p in (_ITEMS | _LITERALS).items()),
        # The ticker symbol is a qualifier of the stock exchange.
        _STATEMENT % ("P414", "pq:P249", "ticker"),
    ]
)
_QUERY = f"""\
SELECT DISTINCT ?site ?company ?fact ?value ?label ?since WHERE {{
 VALUES ?site {{ %(sites)s }}
 ?company wdt:P856 ?site .
 FILTER NOT EXISTS {{ ?company wdt:P31 wd:Q5 }}
 OPTIONAL {{
  {{ ?company rdfs:label ?label . FILTER(LANG(?label) IN (%(tags)s)) BIND("name" AS ?fact) }}
  UNION {{
   {_STATEMENTS}
   FILTER NOT EXISTS {{ ?s pq:P582 ?end }}
   OPTIONAL {{ ?s pq:P580|pq:P585 ?since }}
   OPTIONAL {{ ?value rdfs:label ?label . FILTER(LANG(?label) IN (%(tags)s)) }}
  }}
 }}
}}
"""


def companies_query(domains: Iterable[str], languages: Iterable[str]) -> str:
    """The query for the items whose official website has one of ``domains``.

    ``languages``: from ``label_languages``.
    """
    return _QUERY % {
        "sites": " ".join(f"<{site}>" for domain in domains for site in sites(domain)),
        "tags": ", ".join(f'"{language}"' for language in languages),
    }


def label_languages(tags: Iterable[str]) -> tuple[str, ...]:
    """Wikidata's codes of the label languages, the preferred first.

    English and Wikidata's default, then those of ``tags`` (BCP 47), at most ``LANGUAGES_MAX``.
    Invalid tags are left out.
    """
    codes = list(_ALWAYS)
    for tag in (tag.strip().lower() for tag in tags):
        if _TAG.fullmatch(tag):
            codes += _CODES.get(tag, (tag, tag.partition("-")[0]))
    return tuple(dict.fromkeys(codes))[:LANGUAGES_MAX]


def sites(domain: str) -> list[str]:
    """Every common spelling of the website of ``domain`` in Wikidata.

    Eight URLs, or sixteen for a name in another script (as punycode and in that script). Raises
    ``UserError`` for an invalid domain name, because a URL in a query must not be able to end it.
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
