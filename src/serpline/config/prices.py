"""What providers charge, in US$ a unit, from a file that a person edits.

The file is YAML or JSON. A price that it does not name is the built-in one (``BUILT_IN``); null is
a price that is not known. Prices are used where costs are shown. They limit nothing: limits are in
each provider's own unit.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from serpline.config.documents import SIZE_BYTES_MAX, read_json, read_yaml
from serpline.config.model import ConfigModel
from serpline.config.values import Allowed, Amount, Text, number
from serpline.domain.errors import UserError

# Provider → the unit in which the ledger counts its credits.
UNITS: Mapping[str, str] = {
    "dataforseo": "requests",
    "scaleserp": "credits",
    "pdl": "matches",
    "wikidata": "free",
    "youtube": "quota units (free, 10,000 a day)",
    "youtube_search": "quota units (free, 100 a day)",
    "page": "free",
    "llm": "tokens",
}


class Price(ConfigModel):
    """US$ for a number of units."""

    usd: Amount = Field(description="US$ for `per` units.")
    per: Annotated[float, number("above 0", gt=0, lt=1e12)] = Field(
        1.0, description="How many of the provider's units that buys."
    )
    as_of: Text | None = Field(None, description="When the price was read.")
    source: Text | None = Field(None, description="Where the price was read.")


def _price(given: Any) -> Any:
    """Read a bare number as US$ a unit."""
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return {"usd": given} if is_number else given


GivenPrice = Annotated[
    Price | None,
    BeforeValidator(_price),
    Allowed("US$ a unit, an object with usd, per, as_of and source, or null (not known)"),
]
_FREE = Price(usd=0.0, as_of="2026-11-30", source="the provider takes no money")


class Prices(ConfigModel):
    """The price of each provider's unit. None: not known, because it depends on the contract."""

    dataforseo: GivenPrice = Price(
        usd=0.09,
        as_of="2026-11-30",
        source="dataforseo.com/pricing, Google Ads search volume, live",
    )
    scaleserp: GivenPrice = None
    pdl: GivenPrice = None
    wikidata: GivenPrice = _FREE
    youtube: GivenPrice = _FREE
    youtube_search: GivenPrice = _FREE
    page: GivenPrice = _FREE
    llm: GivenPrice = None

    def usd(self, provider: str, credits_: float) -> float | None:
        """Price ``credits_`` of a provider in US$; None if the price is not known."""
        price: Price | None = getattr(self, provider, None)
        return None if price is None else round(price.usd * credits_ / price.per, 2)


BUILT_IN = Prices()
# A mixture of the two prices of tokens, because the ledger counts both together. Analyses send
# about four tokens for each one that they get.
MODELS: Mapping[str, Price] = {
    "gpt-4o-mini": Price(
        usd=0.24,
        per=1e6,
        as_of="2026-11-05",
        source="openai.com/api/pricing: $0.15 a million sent (4 of 5), $0.60 received",
    )
}


def built_in(model: str | None) -> Prices:
    """Return the built-in prices. ``model``: the model at OpenAI, or None for another server."""
    return BUILT_IN.model_copy(update={"llm": MODELS.get(model or "")})


def read_prices(path: Path, default: Prices = BUILT_IN) -> Prices:
    """Read a file of prices over ``default``. Raises ``UserError`` with the file and the key."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_BYTES_MAX + 1)
        given = read_json(content) if path.suffix.lower() == ".json" else read_yaml(content)
        found = Prices.from_json({} if given is None else given)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return default.model_copy(
        update={name: getattr(found, name) for name in found.model_fields_set}
    )
