"""Just enough SPARQL to answer a company query: SELECT variables, VALUES lists, P-properties.

Limits: no joins beyond one item per website; a query without a VALUES list of websites counts as
a scan, which the real service does not finish in time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VALUES = re.compile(r"VALUES\s+\(?\s*\?(\w+)\s*\)?\s*\{(.*?)\}", re.IGNORECASE | re.DOTALL)
_IRI = re.compile(r"<([^<>\s]+)>")
_SELECT = re.compile(r"SELECT\s+(?:DISTINCT\s+|REDUCED\s+)?(.*?)\s*(?:WHERE)?\s*\{", re.I | re.S)
_ALIAS = re.compile(
    r"\(\s*(?:\w+\s*\(\s*(?:DISTINCT\s+)?)?\?(\w+)[^()]*\)?\s*AS\s+\?(\w+)\s*\)", re.I
)
_VARIABLE = re.compile(r"\?(\w+)")
_PROPERTY = re.compile(
    r"(?:(?P<subject>\?\w+)\s+)?(?P<path>[^\s;.{}]*?(?:wdt|ps|psn?|p):(?P<p>P\d+)[^\s]*)\s+"
    r"\?(?P<object>\w+)"
)
_LABEL = re.compile(r"(?:\?(\w+)|;)\s*(?:rdfs:label|schema:description)\s+\?(\w+)")


@dataclass(frozen=True, slots=True)
class Query:
    """What a query asks for.

    ``sites``: the websites of its VALUES list. ``variables``: the selected names in order.
    ``meaning``: a name → a property ("P452"), a property path ("P17/P297"), "item" or "site";
    a label of any of them is "label:" and its meaning.
    """

    sites: tuple[str, ...]
    variables: tuple[str, ...]
    meaning: Mapping[str, str]


class Unparsable(ValueError):  # noqa: N818  answered with a 400
    """Not a SELECT query."""


def parse(text: str) -> Query:
    """Read a query; raises ``Unparsable``."""
    selected = _SELECT.search(text)
    if selected is None:
        raise Unparsable("expected: SELECT")
    values = _VALUES.search(text)
    site = values.group(1) if values else ""
    meaning: dict[str, str] = {site: "site"} if site else {}
    _read_properties(text, site, meaning)
    for subject, label in _LABEL.findall(text):
        meaning[label] = f"label:{meaning.get(subject, 'item')}"
    head = selected.group(1)
    aliases = {new: old for old, new in _ALIAS.findall(head)}
    plain = _ALIAS.sub(lambda found: f"?{found.group(2)}", head)
    names = tuple(_VARIABLE.findall(plain)) or tuple(meaning)
    for name in names:
        source = aliases.get(name, name)
        if source in meaning:
            meaning[name] = meaning[source]
        elif source.endswith("Label") and source[:-5] in meaning:
            meaning[name] = f"label:{meaning[source[:-5]]}"
        elif source.endswith("Description") and source[:-11] in meaning:
            meaning[name] = "description"
    sites = tuple(_IRI.findall(values.group(2))) if values else ()
    return Query(sites, names, meaning)


def _read_properties(text: str, site: str, meaning: dict[str, str]) -> None:
    subject = ""
    for found in _PROPERTY.finditer(text):
        subject = (found["subject"] or subject).lstrip("?")
        path = "/".join(re.findall(r"P\d+", found["path"]))
        if found["object"] == site and path == "P856":
            meaning.setdefault(subject, "item")
        elif path == "P297" and meaning.get(subject) == "P17":
            meaning[found["object"]] = "P17/P297"
        else:
            label = "label:" if "rdfs:label" in found["path"] else ""
            meaning.setdefault(found["object"], label + path)
