"""The one query we ask. Only domain names and language tags enter it, checked letter by letter.

A row of the answer is one statement about an item, with one of its labels. So the service's work
grows with the sum of an item's statements; one row per item would take their product. A statement
counts if it has the best rank of its property (https://www.wikidata.org/wiki/Help:Ranking) and has
not ended (``P582``). Which of several counts most, and in which language, ``wire`` decides.
"""

import re
from collections.abc import Iterable

import idna

from serpline.domain.companies import is_domain_name
from serpline.domain.errors import UserError

# More would make an answer of 25 companies too long.
LANGUAGES_MAX = 20
# English, then what is the label in every language without one of its own:
# https://www.wikidata.org/wiki/Help:Default_values_for_labels_and_aliases.
_ALWAYS = ("en", "mul")
_TAG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,3}")
# Wikidata's own codes, where they are not the tag itself.
_CODES = {
    "no": ("nb", "nn"),
    "zh-cn": ("zh-cn", "zh-hans", "zh"),
    "zh-tw": ("zh-tw", "zh-hant", "zh"),
}
# The names of the facts are those of ``Company``. Each alternative names its properties, because a
# query service looks for a property it is not told in all of its statements.
_ITEMS = {"industry": "P452", "country": "P17", "headquarters": "P159", "parent": "P749"}
_LITERALS = {"employee_count": "P1128", "founded": "P571", "linkedin_url": "P4264"}
_STATEMENT = '{ ?company p:%s ?s . ?s a wikibase:BestRank ; %s ?value . BIND("%s" AS ?fact) }'
_STATEMENTS = "\n   UNION ".join(
    [
        *(_STATEMENT % (p, f"ps:{p}", fact) for fact, p in (_ITEMS | _LITERALS).items()),
        # The symbol is said of the exchange it is listed at.
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
    """The SPARQL query for the items whose official website is that of any of ``domains``.

    ``languages``: what ``label_languages`` gives.
    """
    return _QUERY % {
        "sites": " ".join(f"<{site}>" for domain in domains for site in sites(domain)),
        "tags": ", ".join(f'"{language}"' for language in languages),
    }


def label_languages(tags: Iterable[str]) -> tuple[str, ...]:
    """Wikidata's codes of the languages a label may be in, the most wanted first.

    English and Wikidata's default, then those of ``tags`` (BCP 47), ``LANGUAGES_MAX`` in all. What
    is no language tag is left out.
    """
    codes = list(_ALWAYS)
    for tag in (tag.strip().lower() for tag in tags):
        if _TAG.fullmatch(tag):
            codes += _CODES.get(tag, (tag, tag.partition("-")[0]))
    return tuple(dict.fromkeys(codes))[:LANGUAGES_MAX]


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
