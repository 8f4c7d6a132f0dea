"""What was charged, or would be, in the unit of its provider."""


def amount(provider: str, credits_: float) -> str:
    """Credits with the provider's unit, such as ``12 matches``; ``free`` if it has no price."""
    from serpline.config.prices import UNITS

    unit = UNITS.get(provider, "credits")
    return unit if unit == "free" else f"{credits_:,.0f} {unit}"
