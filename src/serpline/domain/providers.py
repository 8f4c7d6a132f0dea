"""The providers that a project may set up, and what to say of one that is not."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo


class Provider(NamedTuple):
    """``name``: the vendor's. ``unset``: why it is not called if its settings are missing."""

    name: str
    unset: str


SET_UP: Mapping[str, Provider] = {
    "dataforseo": Provider(
        "DataForSEO",
        "no key for DataForSEO (SERPLINE_DATAFORSEO_LOGIN and SERPLINE_DATAFORSEO_PASSWORD)",
    ),
    "scaleserp": Provider("ScaleSERP", "no key for ScaleSERP (SERPLINE_SCALESERP_API_KEY)"),
    "pdl": Provider("People Data Labs", "no key for People Data Labs (SERPLINE_PDL_API_KEY)"),
    "wikidata": Provider("Wikidata", "Wikidata is off (SERPLINE_WIKIDATA_BASE_URL is empty)"),
    "youtube": Provider("YouTube", "no key for YouTube (SERPLINE_YOUTUBE_API_KEY)"),
    "llm": Provider("language model", "no language model (SERPLINE_LLM_API_KEY)"),
}
"""By the name that settings, limits and the ledger use. Web pages need no set-up."""

QUOTA_ZONES: Final = dict.fromkeys(("youtube", "youtube_search"), "America/Los_Angeles")
"""The time zone of a provider's quota day; UTC if not listed."""


def period_ends_at(provider: str, scope: str) -> datetime | None:
    """Return when the period of a budget ends; None if ``scope`` is of no period.

    ``scope``: ``day:2026-11-30`` or ``month:2026-11``, in the provider's zone.
    """
    kind, _, named = scope.partition(":")
    try:
        if kind == "day":
            after = date.fromisoformat(named) + timedelta(days=1)
        elif kind == "month":
            after = (date.fromisoformat(f"{named}-01") + timedelta(days=31)).replace(day=1)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    zone = ZoneInfo(QUOTA_ZONES.get(provider, "UTC"))
    return datetime.combine(after, time.min, zone).astimezone(UTC)


def names_of(providers: Sequence[str]) -> str:
    """Name providers of which one is enough: ``People Data Labs or Wikidata``."""
    return " or ".join(SET_UP[each].name for each in providers)


def why_unset(providers: Sequence[str], available: Collection[str]) -> str | None:
    """Why none of ``providers`` is called, or None if one is available or none is needed."""
    if not providers or not set(available).isdisjoint(providers):
        return None
    return " and ".join(SET_UP[each].unset for each in providers)
