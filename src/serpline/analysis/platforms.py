"""Sites that channels link to but that do not own them: a list in ``data/platforms.txt``.

- ``everywhere``: names that count under every public suffix (``amazon.de``, ``ebay.co.uk``,
  ``yandex.com.tr``). These brands run national sites, and no other company uses their names.
- ``sites``: exact domains, whose names are common words elsewhere.
- ``shorteners``: sites of short links. We follow none, so the target is unknown.
- ``bio-pages``: link-in-bio hosts with their subdomains: ``anna.carrd.co`` is a list of links.

Limit: a platform's own channel, such as Amazon's, gets no owner from its links.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from importlib import resources

from serpline.analysis.hosts import registered


def is_platform(domain: str) -> bool:
    """Whether a registrable domain is a platform's, a short link's or a link-in-bio page's."""
    lists, known = _lists(), registered(domain)
    with_subdomains = lists["shorteners"] | lists["bio-pages"]
    if domain in lists["sites"] or {domain, known.domain} & with_subdomains:
        return True
    # amazon.blogspot.com is a blog, not a national site of Amazon.
    return known.domain == domain and known.name in lists["everywhere"]


def is_shortener(domain: str) -> bool:
    """Whether that registrable domain belongs to a link shortener."""
    return domain in _lists()["shorteners"]


@cache
def _lists() -> Mapping[str, frozenset[str]]:
    source = resources.files("serpline.analysis").joinpath("data", "platforms.txt")
    names: dict[str, set[str]] = defaultdict(set)
    section = ""
    for line in source.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif not line.startswith("#"):
            names[section] |= set(line.split())
    return {kind: frozenset(members) for kind, members in names.items()}
