"""The country of a search: from its location or its ``gl``."""

from collections.abc import Mapping

_BY_NAME = {
    "united states": "us",
    "united kingdom": "gb",
    "germany": "de",
    "france": "fr",
    "spain": "es",
    "italy": "it",
    "poland": "pl",
    "canada": "ca",
    "australia": "au",
    "india": "in",
    "japan": "jp",
    "china": "cn",
    "netherlands": "nl",
    "brazil": "br",
    "mexico": "mx",
}


def country_of(params: Mapping[str, str]) -> str:
    """The two-letter country in lower case: of a known location, else ``gl``, else us."""
    location = params.get("location", "")
    named = _BY_NAME.get(location.rsplit(",", 1)[-1].strip().lower())
    if named and params.get("location_auto") != "false":
        return named
    given = params.get("gl", "").lower()
    # Google uses both uk and gb.
    return {"uk": "gb", "": named or "us"}.get(given, given)
