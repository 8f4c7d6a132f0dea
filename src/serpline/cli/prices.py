"""``serpline prices``: what costs are computed with, and where each price comes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from serpline.cli.common import JsonFlag, load_settings, print_json, print_message
from serpline.cli.tables import Column, show_table

if TYPE_CHECKING:
    from serpline.config.prices import Prices
    from serpline.core.settings import Settings
    from serpline.pipeline.estimate import Providers

FILE = "prices.yaml"


def file_of(settings: "Settings") -> Path | None:
    """The file of prices: SERPLINE_PRICES, else ``prices.yaml`` of the data directory, if any."""
    if settings.prices is not None:
        return settings.prices
    usual = settings.data_dir / FILE
    return usual if usual.exists() else None


def prices_of(settings: "Settings") -> "Prices":
    """The prices that costs are computed with. Raises ``UserError`` for an invalid file."""
    from urllib.parse import urlsplit

    from serpline.config.prices import built_in, read_prices

    is_openai = urlsplit(settings.llm_base_url).hostname == "api.openai.com"
    default = built_in(settings.llm_model if is_openai else None)
    path = file_of(settings)
    return default if path is None else read_prices(path, default)


def charged(report: Mapping[str, Any], prices: "Prices") -> dict[str, float | None]:
    """US$ of a run's report by provider; None: the price is not known."""
    return {name: prices.usd(name, report["credits"].get(name, 0)) for name in report["calls"]}


def providers_of(settings: "Settings") -> "Providers":
    """What estimates need to know: which providers are set up, and the prices."""
    from serpline.domain.providers import SET_UP
    from serpline.pipeline.estimate import Providers

    given = settings.providers
    return Providers("pdl" in given, "llm" in given, prices_of(settings), frozenset(SET_UP) - given)


def prices(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Show the price of each provider's unit, in US$, with its date and source."""
    from serpline.config.prices import UNITS

    settings = load_settings(ctx)
    path, used = file_of(settings), prices_of(settings)
    rows: list[dict[str, Any]] = []
    for provider, unit in UNITS.items():
        price = getattr(used, provider)
        known = {name: None if price is None else getattr(price, name) for name in _KEYS}
        if price is None:
            known["source"] = "not known: it depends on your contract"
        rows.append({"provider": provider, "unit": unit, **known})
    if as_json:
        print_json({"file": path, "prices": rows})
        return
    columns: list[str | Column] = [
        "provider",
        "unit",
        Column("usd", digits=4),
        "per",
        "as_of",
        "source",
    ]
    show_table(columns, [[row[name] for name in ("provider", "unit", *_KEYS)] for row in rows])
    where = path or f"no file: write {settings.data_dir / FILE}, or set SERPLINE_PRICES"
    print_message(f"prices: {where}")


_KEYS = ("usd", "per", "as_of", "source")
